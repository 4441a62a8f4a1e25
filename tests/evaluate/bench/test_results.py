import dataclasses
import json

import numpy as np
import pytest

from coladlm.evaluate.bench.intervals import Interval, interval, mean_interval, ratio_interval
from coladlm.evaluate.bench.item_log import ItemLog
from coladlm.evaluate.bench.picture import draw
from coladlm.evaluate.bench.results import (
    Chart,
    Line,
    Result,
    ResultError,
    Table,
    figure_of,
    lines_of,
    load,
    plain_number,
)

FIGURE = Interval(0.5, 0.25, 0.75, 40)
RESULT = Result(
    "tasks", "Eight tasks", "python -m coladlm bench tasks", {"name": "golden"}, {"cores": 2}, 1.5, ["It works."],
    [Table("Accuracy", "Of all.", ["task", "accuracy"], [["lambada", FIGURE], ["none", None]])],
    [Chart("Cost", "By steps.", "steps", "accuracy", [Line("ours", [1, 2], [FIGURE, FIGURE], labels=["a", "b"])],
           ["x"])],
)  # fmt: skip


def test_the_interval_of_a_mean_is_that_of_the_normal_law_for_many_items():
    values = np.random.default_rng(1).normal(3, 2, 4000)
    found = mean_interval(values)
    error = values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    # 2,000 resamples give an end of the interval to about 0.06 standard errors
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.25 * error)
    assert found.count == 4000 and found == mean_interval(values)


def test_a_ratio_weighs_its_items_by_their_denominators():
    assert ratio_interval([1, 9], [1, 3]).value == 2.5
    assert ratio_interval([2], [4]) == Interval(0.5, 0.5, 0.5, 1)


@pytest.mark.parametrize("items", [np.zeros((0, 1)), np.array([[np.nan]]), np.zeros(3)])
def test_an_interval_of_nothing_is_refused(items):
    with pytest.raises(ValueError, match="expected"):
        interval(items, lambda drawn: drawn[..., 0].mean(-1))


def test_a_result_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "new" / "tasks.json"
    RESULT.save(file)
    read = load(file)
    assert dataclasses.asdict(read) == json.loads(json.dumps(dataclasses.asdict(RESULT)))
    assert read.tables[0].rows[0][1] == FIGURE and read.charts[0].lines[0].y == [FIGURE, FIGURE]
    assert [path.name for path in file.parent.iterdir()] == ["tasks.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "tables": []}'])
def test_what_is_no_result_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ResultError, match=r"x\.json: "):
        load(tmp_path / "x.json")


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells, expected 2"):
        Table("t", "c", ["a", "b"], [[1]])


def test_cells_and_results_in_words():
    assert [figure_of(cell) for cell in (FIGURE, None, "a", 26.75, 1234567, 0.0, 12345.6, 1e-7)] == [
        "0.500 [0.250, 0.750]", "–", "a", "26.8", "1234567", "0", "12,346", "0.000000100",
    ]  # fmt: skip
    said = "\n".join(lines_of(RESULT))
    for part in ("made by: python -m coladlm bench tasks", "lambada", "0.500 [0.250, 0.750]", "It works."):
        assert part in said


def test_a_picture_is_drawn_and_another_ending_is_refused(tmp_path):
    draw(RESULT, tmp_path / "x.svg")
    assert "<svg" in (tmp_path / "x.svg").read_text()
    with pytest.raises(ValueError, match="ends in"):
        draw(RESULT, tmp_path / "x.doc")
    with pytest.raises(ValueError, match="no chart"):
        draw(dataclasses.replace(RESULT, charts=[]), tmp_path / "x.svg")


def test_a_log_goes_on_after_a_kill_that_cut_its_last_line_off(tmp_path):
    file = tmp_path / "items.jsonl"
    with ItemLog(file, {"model": "a"}) as log:
        log.add("one", {"text": "é"})
        log.add("two", 2)
    whole = file.read_bytes()
    for cut in range(whole.index(b'"two"'), len(whole)):
        file.write_bytes(whole[:cut])
        with ItemLog(file, {"model": "a"}) as log:
            assert log.items == {"one": {"text": "é"}}
            log.add("three", 3)
        with ItemLog(file, {"model": "a"}) as log:
            assert log.items == {"one": {"text": "é"}, "three": 3}


def test_a_log_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    file = tmp_path / "items.jsonl"
    with ItemLog(file, {"model": "a"}) as log:
        log.add("one", 1)
    before = file.read_bytes()
    with pytest.raises(ResultError, match='have model "a", expected "b"'):
        ItemLog(file, {"model": "b"})
    assert file.read_bytes() == before
    file.write_text("a shopping list\n")
    with pytest.raises(ResultError, match="not a log"):
        ItemLog(file, {"model": "a"})
    assert file.read_text() == "a shopping list\n"


def test_a_log_without_a_file_keeps_items_in_memory():
    with ItemLog(None, {}) as log:
        log.add("one", 1)
        assert "one" in log and "two" not in log and log["one"] == 1


@pytest.mark.parametrize(("value", "told"), [
    (5.49e8, "549,000,000"), (2.32e-4, "0.000232"), (9.999, "10.0"), (5003.51, "5,004"), (-1.3, "-1.30"), (1.0, "1.00"),
    (1e-9, "1.00e-09"), (999_999.7, "1,000,000"),
])  # fmt: skip
def test_a_number_is_written_out(value, told):
    assert plain_number(value) == told


def test_a_picture_names_the_sizes_that_were_used_and_has_no_powers(tmp_path):
    chart = Chart("Long", "", "tokens", "nats", [Line("ours", [16, 64, 4096], [FIGURE] * 3)], ["x", "y"])
    draw(dataclasses.replace(RESULT, charts=[chart]), tmp_path / "x.svg")
    drawn = (tmp_path / "x.svg").read_text()
    assert all(f"<!-- {size} -->" in drawn for size in ("16", "64", "4,096")) and "mathdefault" not in drawn
