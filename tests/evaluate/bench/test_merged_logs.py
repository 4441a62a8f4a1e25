"""The logs of several processes as one."""

import pytest

from coladlm.evaluate.bench.item_log import ItemLog, merged
from coladlm.evaluate.bench.results import ResultError


def written(file, head, **items):
    with ItemLog(file, head) as log:
        for key, item in items.items():
            log.add(key, item)
    return file


def test_logs_of_one_head_have_all_of_their_items(tmp_path):
    files = [written(tmp_path / "1", {"model": "a"}, one=1, two=2), written(tmp_path / "2", {"model": "a"}, three=3)]
    files[1].write_bytes(files[1].read_bytes() + b'{"key": "four", "it')  # as a kill leaves it
    assert merged(files) == ({"model": "a"}, {"one": 1, "two": 2, "three": 3})


def test_logs_of_different_heads_are_refused_by_what_differs(tmp_path):
    files = [written(tmp_path / "1", {"model": "a"}), written(tmp_path / "2", {"model": "b"})]
    with pytest.raises(ResultError, match='2: model is "b", expected "a" as in'):
        merged(files)


@pytest.mark.parametrize(("content", "sentence"), [
    (None, "not there"), ("", "empty"), ("a list\n", "not a log of the bench"),
    ('{"head": 3}\n', "not a log of the bench"),
])  # fmt: skip
def test_what_is_no_log_is_refused_in_a_sentence(tmp_path, content, sentence):
    file = tmp_path / "x.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ResultError, match=sentence):
        merged([file])


def test_no_logs_are_refused():
    with pytest.raises(ResultError, match="no logs to merge"):
        merged([])
