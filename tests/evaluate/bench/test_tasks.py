"""The eight tasks on rows of our own in the published form, and on the published files where they lie beside us."""

import dataclasses
import functools
import json
import lzma
import os
import time
from pathlib import Path

import pytest

from coladlm.checkpoint import find_checkpoint
from coladlm.cli import main
from coladlm.evaluate.bench.item_log import ItemLog
from coladlm.evaluate.bench.results import ResultError, load
from coladlm.evaluate.bench.tasks.answering import PUBLISHED, Shard, answer, head
from coladlm.evaluate.bench.tasks.data import TASKS, Item, TaskDataError, read_tasks
from coladlm.evaluate.bench.tasks.ranks import Ranks
from coladlm.evaluate.bench.tasks.report import Scored, score, score_logged, score_shipped, table
from coladlm.evaluate.bench.tasks.scoring import answer_in, equal_choice, is_right, named_choice

from ...app.api.server_process import free_port
from ...forked import command, started

ROOT = Path(__file__).parents[3]
PUBLISHED_FILES = ROOT.parent / "shared" / "data" / "tasks"
FRUIT = ("A pear", "Two plums", "The plum tree", "No fruit")
PREFIX = "Question: What barks?\n(A) a dog\n(B) a stone\nAnswer: a dog\n\nQuestion: "


def row(name: str, number: int) -> dict:
    """The number-th row of a task: the first has the right answer, the others a wrong one."""
    choices = (
        [] if name in ("lambada", "squad") else [f"thing {i} of {number}" for i in range(2 + (name != "siqa") * 2)]
    )
    truth = choices[1] if choices else f"thing {number}"
    given = f" {truth}\nQuestion: and" if number == 0 else " nothing of that sort"
    extra = {} if name == "lambada" else {"choices": choices, "few_shot_prefix": PREFIX}
    return {"id": number, "prompt": f"Which of {number}?\nAnswer:", "generate": given, "ground_truth": truth, **extra}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight tasks of three rows each."""
    for name in TASKS:
        lines = "".join(json.dumps(row(name, number)) + "\n" for number in range(3))
        (tmp_path / f"{name}.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    return tmp_path


# scoring


@pytest.mark.parametrize(("text", "answer"), [
    (" Paris\nQuestion: next", " Paris"), ("\n\n Paris \nx", "\n\n Paris "), (" Paris", " Paris"),
    ("...\nParis\nx", "...\nParis"), ("", ""), ("\n\n", "\n\n"), ("a\r\nb", "a\r"),
])  # fmt: skip
def test_an_answer_ends_at_the_first_line_break_after_a_word(text, answer):
    assert answer_in(text) == answer


@pytest.mark.parametrize(("rule", "text", "right"), [
    ("first word", " Two plums.", True), ("first word", "two.", True), ("first word", "plums", False),
    ("first word", "twos", False), ("first word", "", False),
    ("text", "two  PLUMS!", True), ("text", "B", False), ("text", "two plums and", False), ("text", "", False),
    ("choice", "two plums", True), ("choice", " B", True), ("choice", "(b).", True), ("choice", "[ B ]", True),
    ("choice", "The answer is B.", True), ("choice", "the correct answer is: two plums", True),
    ("choice", "option (B) I think", True), ("choice", "it must be (B)", True), ("choice", "two plumss", True),
    ("choice", "I see two plums here", True),
    ("choice", "A", False), ("choice", "E", False), ("choice", "two", False), ("choice", "a pear or two plums", False),
    ("choice", "the plum tree", False), ("choice", "both", False), ("choice", "", False), ("choice", "!?", False),
    ("choice", "it must be as the book says it is (B)", True),
    ("choice", "it must be as the good old book says it is (B)", False),
    ("choice", "choice B, no: choice C", False), ("choice", "Answer: A\nAnswer: B", True),
])  # fmt: skip
def test_answers_are_right_or_wrong_as_found_by_hand(rule, text, right):
    assert is_right(rule, text, Item("", "Two plums", FRUIT, "")) is right


def test_a_truth_may_be_a_letter():
    item = Item("", "C", FRUIT, "")
    assert is_right("choice", "the plum tree", item) and is_right("choice", "c", item)
    assert not is_right("choice", "two plums", item)


def test_an_answer_names_a_choice_by_more_than_its_words():
    assert [named_choice(text, FRUIT) for text in ("b", "a PEAR", "fruit", "F")] == [1, 0, None, None]
    assert [equal_choice(text, FRUIT) for text in ("b", "a PEAR", "a pear tree")] == [None, 0, None]
    assert named_choice("A pear", ()) is None


def test_accuracy_stands_beside_chance_and_what_names_a_choice():
    items = [Item("", "Two plums", FRUIT, ""), Item("", "A pear", FRUIT[:2], "")]
    found = score("obqa", items, ["B\nmore", "who knows"])
    assert found == Scored([True, False], [True, False], [4, 2])
    assert found.chance == pytest.approx(37.5) and found.accuracy.value == 50
    assert found.right_of_named.value == 100 and found.right_of_named.low == pytest.approx(2.5)
    assert score("hellaswag", items, ["B", "a pear"]) == Scored([False, True], [False, True], [4, 2])
    free = score("squad", [Item("", "Rome", (), "")], ["rome"])
    assert free == Scored([True], [], []) and free.chance is None and free.right_of_named is None


def test_the_mean_weighs_every_task_alike():
    rows = table("t", {"lambada": Scored([True] * 3, [], []), "squad": Scored([True] + [False] * 5, [], [])}).rows
    assert rows[-1][2:4] == [9, 4] and rows[-1][4].value == pytest.approx((100 + 100 / 6) / 2)
    assert rows[-1][4].low < rows[-1][4].value < rows[-1][4].high
    assert table("t", {"squad": Scored([False] * 3, [], [])}).rows[-1][4] == 0


# files


def test_plain_and_compressed_files_are_read_alike(folder):
    found = read_tasks(folder)
    assert [len(items) for items in found.values()] == [3] * 8 and list(found) == list(TASKS)
    assert found["mmlu"][1].prompt == PREFIX + "Which of 1?\nAnswer:" and found["lambada"][0].prompt.startswith("Which")
    for file in folder.iterdir():
        file.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
        file.unlink()
    assert read_tasks(folder) == found
    assert list(read_tasks(folder, ["squad"])) == ["squad"]


@pytest.mark.parametrize(("data", "sentence"), [
    (b"", "not whole xz data"),
    (b"no xz at all", "not whole xz data"),
    (lzma.compress(json.dumps(row("obqa", 0)).encode())[:-30], "not whole xz data"),
    (lzma.compress(b"\n"), "no line with a question"),
    (lzma.compress(json.dumps(row("obqa", 0)).encode() + b"\n{"), "line 2: .* expected a JSON object"),
    (lzma.compress(b"\xff"), "line 1: .* expected a JSON object in UTF-8"),
    (lzma.compress(b"[1]"), "line 1: a list of 1, expected a JSON object"),
    (lzma.compress(b'{"prompt": "a", "generate": "b"}'), "line 1: ground_truth is not there, expected a text"),
    (lzma.compress(json.dumps({**row("obqa", 0), "prompt": 3}).encode()), "prompt is 3, expected a text"),
    (lzma.compress(json.dumps({**row("obqa", 0), "choices": "['a', 'b']"}).encode()), "choices is .* expected a list"),
], ids=["empty", "no xz", "cut off", "no row", "no JSON", "no UTF-8", "no object", "no truth", "no text", "no list"],
)  # fmt: skip
def test_a_malformed_file_gets_a_sentence_that_names_it(folder, data, sentence):
    (folder / "obqa.jsonl.xz").write_bytes(data)
    with pytest.raises(TaskDataError, match=rf"obqa\.jsonl\.xz.*{sentence}"):
        read_tasks(folder)


def test_a_missing_file_gets_a_sentence(folder):
    (folder / "race.jsonl.xz").unlink()
    with pytest.raises(TaskDataError, match=r"no race\.jsonl and no race\.jsonl\.xz there"):
        read_tasks(folder)


def test_the_published_answers_have_the_published_counts():
    if not PUBLISHED_FILES.is_dir():
        pytest.skip(
            "the published files are not at ../shared/data/tasks beside the repository; they are never part of it"
        )
    found = score_shipped(read_tasks(PUBLISHED_FILES))
    assert [sum(scored.right) for scored in found.values()] == [508, 193, 115, 107, 196, 289, 309, 144]
    accuracies = [sum(scored.right) / len(scored.right) for scored in found.values()]
    assert round(100 * sum(accuracies) / 8, 2) == 26.75


# running a model


def test_an_answer_is_what_the_model_writes_after_its_prompt(model, folder):
    tasks = read_tasks(folder, ["obqa"])
    settings = dataclasses.replace(PUBLISHED, steps=2)
    with ItemLog(None, {}) as log:
        answer(model, tasks, log, settings)
    prompt = tasks["obqa"][2].prompt
    rest = len(model.tokenize(prompt)) % model.block_size
    assert rest  # so that the prompt's tokens in the first new block count among the 32
    [alone] = model.generate([prompt], dataclasses.replace(settings, max_new_tokens=32 - rest), sequences=[2])
    assert log["obqa/2"]["text"] == alone


def test_shards_and_a_stopped_run_join_to_the_answers_of_one_process(model, folder, tmp_path):
    tasks, settings = read_tasks(folder, ["lambada", "siqa"]), dataclasses.replace(PUBLISHED, steps=2)

    def texts(*parts: tuple[Shard, int]) -> dict[str, str]:
        found = {}
        for shard, limit in parts:
            with ItemLog(tmp_path / f"{shard.index}of{shard.count}.jsonl", head(model, tasks, settings)) as log:
                answer(model, {name: items[:limit] for name, items in tasks.items()}, log, settings, shard, batch=2)
                found |= {key: item["text"] for key, item in log.items.items()}
        return found

    whole = texts((Shard(), 3))
    assert set(whole) == {f"{name}/{number}" for name in ("lambada", "siqa") for number in range(3)}
    assert texts((Shard(1, 2), 1), (Shard(1, 2), 3), (Shard(2, 2), 3)) == whole


def test_the_command_scores_runs_shards_and_merges(golden_folder, folder, tmp_path, capsys):
    def bench(*words: str) -> dict:
        file = tmp_path / "result.json"
        assert main(["bench", "tasks", "--data", str(folder), "--json", str(file), *words]) == 0
        return json.loads(file.read_text())

    scored = bench()
    assert [cells[3] for cells in scored["tables"][0]["rows"]] == [1] * 8 + [8]
    assert scored["command"] == "python -m coladlm bench tasks --data DIR"
    some = ["--tasks", "squad", "lambada", "--limit", "2"]
    place = ["--run", "--model", str(golden_folder), "--device", "cpu", "--dtype", "float32"]
    logs = [str(tmp_path / f"{part}.jsonl") for part in (1, 2)]
    whole = bench(*some, *place)
    for part, log in enumerate(logs, 1):
        bench(*some, *place, "--shard", f"{part}/2", "--log", log)
    merged = bench(*some, "--merge", *logs)
    assert merged["tables"] == whole["tables"] and merged["model"] == whole["model"]
    assert whole["command"].endswith("--tasks squad lambada --run --limit 2 --model PLACE")
    assert main(["bench", "tasks", "--data", str(folder), "--merge", *logs]) == 2
    assert "not of the questions" in capsys.readouterr().err
    of_logs = bench(*some[:3], "--merge", *logs)  # the limit is read from them
    assert (of_logs["tables"], of_logs["command"]) == (merged["tables"], merged["command"])
    assert main(["bench", "tasks", "--data", str(folder), *some[:3], "--merge", logs[1]]) == 2
    assert "2 of 4 answers are not in the logs" in capsys.readouterr().err


def answer_last(first, work):
    """Works when the first process has logged all of its four answers, below a line about the run, and has to wait."""
    while not first.is_file() or len(first.read_text().splitlines()) < 1 + 4:
        time.sleep(0.01)
    work()


def test_processes_of_torchrun_share_the_questions_and_the_first_merges(
    golden_folder, folder, tmp_path, monkeypatch, capsys
):
    """With the environment that torchrun gives them; itself it is started in tests/train/test_ranks.py."""
    log, alone, together = (tmp_path / name for name in ("items.jsonl", "alone.json", "together.json"))
    given = ["bench", "tasks", "--data", str(folder), "--tasks", "lambada", "squad", "--run", "--batch", "2",
             "--own-settings", "--model", str(golden_folder), "--device", "cpu", "--dtype", "float32"]  # fmt: skip
    assert main([*given, "--json", str(alone)]) == 0
    capsys.readouterr()
    shared = [*given, "--log", str(log), "--json", str(together)]
    ranks = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with (tmp_path / "said.txt").open("w+") as file, open(os.devnull) as nothing:
        streams = [nothing.fileno(), file.fileno(), os.dup(file.fileno())]
        second = started(answer_last, log.with_name("items.1of2.jsonl"),
                         functools.partial(command, shared, streams, **ranks, RANK="1", LOCAL_RANK="1"))  # fmt: skip
        try:
            for name, value in {**ranks, "RANK": "0", "LOCAL_RANK": "0"}.items():
                monkeypatch.setenv(name, value)
            assert main(shared) == 0
            second.join(250)
        finally:
            second.kill()
            os.close(streams[-1])
    said = (tmp_path / "said.txt").read_text()
    assert second.exitcode == 0, said
    told = capsys.readouterr().out
    assert "The eight published tasks" in told and "The eight published tasks" not in said  # one process speaks
    assert load(together).tables == load(alone).tables and load(together).command == load(alone).command
    lines = [(tmp_path / f"items.{part}of2.jsonl").read_text().splitlines() for part in (1, 2)]
    assert [len(found) - 1 for found in lines] == [4, 2]  # questions 1 and 3 of both tasks, and 2


def test_ranks_are_read_from_the_environment():
    assert Ranks.of_environment({}) is None
    assert Ranks.of_environment({"RANK": "0", "WORLD_SIZE": "1"}) is None
    found = Ranks.of_environment({"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1"})
    assert found == Ranks(1, 3, 1) and not found.first and found.shard == Shard(2, 3)
    assert [log.name for log in found.logs(Path("a/items.jsonl"))] == [f"items.{i}of3.jsonl" for i in (1, 2, 3)]
    for wrong in ({"RANK": "3", "WORLD_SIZE": "3"}, {"WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}):
        with pytest.raises(ResultError, match="in the environment, expected the number of this process"):
            Ranks.of_environment(wrong)


@pytest.mark.parametrize(("words", "sentence"), [
    (["--run"], "torchrun has started several processes, expected --run and --log FILE"),
    (["--log", "x.jsonl"], "expected --run and --log FILE"),
    (["--run", "--log", "x.jsonl", "--shard", "1/2"], "--shard is 1/2 under torchrun, expected one of the two"),
])  # fmt: skip
def test_options_that_ranks_cannot_share_get_one_line(folder, capsys, words, sentence, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["bench", "tasks", "--data", str(folder), *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("words", "sentence"), [
    (["--shard", "1/2", "--run"], "--shard needs --run and --log"),
    (["--shard", "3/2", "--run", "--log", "x.jsonl"], "the shard is 3/2, expected I/N with I from 1 to N"),
    (["--shard", "half", "--run", "--log", "x.jsonl"], "--shard is half, expected I/N"),
    (["--limit", "0", "--run"], "--limit is 0, expected at least 1"),
    (["--run", "--merge", "x.jsonl"], "expected one of them"),
    (["--merge", "x.jsonl"], "not there, expected a log of the bench"),
])  # fmt: skip
def test_mistakes_get_one_line(folder, capsys, words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "tasks", "--data", str(folder), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_logs_without_answers_are_refused(folder):
    tasks = read_tasks(folder, ["lambada"])
    with pytest.raises(ResultError, match="3 of 3 answers are not in the logs"):
        score_logged(tasks, {})
    with pytest.raises(ResultError, match="is no answer"):
        score_logged(tasks, {f"lambada/{number}": "hello" for number in range(3)})


# what ships


def test_the_result_that_ships_is_of_the_bundled_model_and_has_the_published_counts():
    shipped = load(ROOT / "assets" / "bench" / "tasks.json")
    assert [cells[3] for cells in shipped.tables[0].rows][:8] == [508, 193, 115, 107, 196, 289, 309, 144]
    assert "ByteDance-Seed/Cola-DLM" in shipped.tables[0].title and "bundled model" in shipped.tables[1].title
    assert shipped.model["name"] == "bundled"
    assert shipped.model["fingerprint"] == find_checkpoint(None).fingerprint, f"run {shipped.command} --json FILE"
