"""Two tasks of our own for lm-evaluation-harness: one scores choices, one generates."""

import json
from pathlib import Path

CHOICE = """\
task: tiny_choice
dataset_path: json
dataset_kwargs: {folder}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
"""
ANSWER = """\
task: tiny_answer
dataset_path: json
dataset_kwargs: {folder}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{wanted}}}}"
generation_kwargs:
  until: ["e"]
  max_gen_toks: 7
  do_sample: false
metric_list:
  - metric: exact_match
"""
ROWS = (
    {"question": "A cat", "choices": ["sat", "is red", "it"], "answer": 0, "wanted": "x"},
    {"question": "She hid", "choices": ["so", "a toy"], "answer": 1, "wanted": ""},
)


def write_tasks(folder: Path) -> Path:
    """The folder that a TaskManager includes."""
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    kwargs = json.dumps({"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")})
    for name, text in (("choice", CHOICE), ("answer", ANSWER)):
        (folder / f"{name}.yaml").write_text(text.format(folder=kwargs))
    return folder
