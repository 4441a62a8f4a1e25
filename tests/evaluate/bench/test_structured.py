"""The bench of structured generation, on a pair that has hardly been trained: what is counted is counted right."""

import dataclasses
import json

import pytest

from coladlm.cli import main as command
from coladlm.evaluate.bench.results import ResultError, load
from coladlm.evaluate.bench.structured.answers import Answers, Cell, Request, ask
from coladlm.evaluate.bench.structured.holes import draw_holes, fill
from coladlm.evaluate.bench.structured.report import SECONDS, report
from coladlm.evaluate.bench.structured.scores import rights, risk, share_balanced, wrong_at
from coladlm.evaluate.bench.structured.writers import Answer, Pair, room
from coladlm.structured.generators import TASKS, Instance, held_out_instances
from coladlm.train.structured import main as train

WAYS = ("cola", "transformer", "transformer_scores")
COPY = Instance("copy", 4, "C:abca=", "abca")
FREE = Instance("dyck1", 8, "F1:8=", "()()()()")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pair after one step of each stage: it answers with anything at all."""
    folder = tmp_path_factory.mktemp("pair")
    assert train(f"--out {folder} --steps 1 --instances 8 --tokens 128".split()) == 0
    return folder


@pytest.fixture(scope="module")
def pair(folder):
    return Pair.load(folder)


@pytest.fixture(scope="module")
def results(folder):
    """Two results of the same command."""
    files = [folder / "a.json", folder / "b.json"]
    assert [bench(folder, "--json", str(file)) for file in files] == [0, 0]
    return [load(file) for file in files]


def bench(folder, *more):
    options = "--tasks arithmetic recall --items 2 --no-longer --steps 2"
    return command(["bench", "structured", "--models", str(folder), *options.split(), *more])


def test_an_answer_is_right_only_if_it_has_ended():
    answers = [Answer("abca", True), Answer("abca", False), Answer("abcb", True), Answer("abca<|pad|>", True)]
    assert rights(Cell([COPY] * 4, answers, 0.0)) == [1, 0, 0, 0]


def test_a_free_word_may_be_balanced_in_another_length_but_not_empty():
    words = ["()", "()()()()", "", "(()"]
    assert share_balanced([Cell([FREE] * 4, [Answer(word, True) for word in words], 0.0)]).value == 0.5


def test_the_end_token_counts_as_a_symbol():
    assert wrong_at(COPY, Answer("abca", True)) is None
    assert wrong_at(COPY, Answer("abca", False)) == 4
    assert wrong_at(COPY, Answer("abcaa", True)) == 4
    assert wrong_at(COPY, Answer("ab", True)) == 2


def test_risk_counts_chances_up_to_the_first_error():
    """By hand: all four reach place 0, of which one errs; three reach 1 and 2; two of them go wrong at 3."""
    answers = [Answer("abca", True), Answer("xbca", True), Answer("abcx", True), Answer("abc", True)]
    found = risk([Cell([COPY] * 4, answers, 0.0)], lambda instance, place: place, range(6))
    assert [None if f is None else round(f.value, 6) for f in found] == [0.25, 0, 0, round(2 / 3, 6), 0, None]
    assert [f.count for f in found if f is not None] == [4, 3, 3, 3, 1]


@pytest.mark.parametrize("task", TASKS)
def test_every_right_answer_has_room(task):
    for size in (*TASKS[task].sizes, *TASKS[task].longer):
        drawn = held_out_instances(task, size, 6, 1)
        assert all(len(x.answer) + 1 <= room(x) == room(drawn[0]) for x in drawn)


def test_the_longest_prompts_and_answers_are_within_what_the_transformer_reads(pair):
    for task in TASKS:
        for size in (*TASKS[task].sizes, *TASKS[task].longer):
            drawn = held_out_instances(task, size, 6, 1)
            assert max(len(x.prompt) for x in drawn) + room(drawn[0]) <= pair.transformer.network.config.max_tokens


def test_a_hole_has_its_place_and_its_bracket_completes_the_block():
    holes = draw_holes(5, 4, 0)
    assert [hole.place for hole in holes] == [0, 1, 2, 3] * 5
    for hole in holes:
        assert len(hole.before) % 4 == hole.place and (len(hole.before) + 1 + len(hole.after)) % 4 == 0
        assert hole.bracket in "()[]{}" and hole.before.startswith("F3:32=")
    assert holes == draw_holes(5, 4, 0) != draw_holes(5, 4, 1)


def test_every_way_fills_every_hole_with_one_symbol(pair):
    holes = draw_holes(2, pair.cola.block_size, 0)
    settings = dataclasses.replace(pair.settings, steps=2)
    filled = fill(Pair(pair.cola, pair.transformer, settings), holes)
    assert tuple(filled) == WAYS
    assert all(len(found) == len(holes) for found in filled.values())
    assert all(text in "()[]{}" for text in filled["transformer_scores"])


def test_a_stopped_run_goes_on_from_its_log(pair, tmp_path):
    log, request = tmp_path / "log.jsonl", Request(("arithmetic",), 1, False)
    pair = Pair(pair.cola, pair.transformer, dataclasses.replace(pair.settings, steps=2))
    whole = ask(pair, request, log, lambda *_: None)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]))
    again = ask(pair, request, log, lambda *_: None)
    assert [cell.answers for cell in again.cells.values()] == [cell.answers for cell in whole.cells.values()]
    assert log.read_text().splitlines(keepends=True)[:3] == lines[:3]
    with pytest.raises(ResultError, match="items"):
        ask(pair, Request(("arithmetic",), 3, False), log, lambda *_: None)


def test_the_same_command_gives_the_same_tables(results):
    first, second = results
    assert [t for t in first.tables if t.title != SECONDS] == [t for t in second.tables if t.title != SECONDS]
    assert first.charts == second.charts
    assert first.command == (
        "python -m coladlm bench structured --models DIR --items 2 --tasks arithmetic recall --no-longer --steps 2"
    )


def test_the_table_counts_what_was_answered(pair):
    """Half of the answers of a made-up run are right, in both sizes."""
    request = Request(("recall",), 2, False)
    cells = {}
    for size in TASKS["recall"].sizes:
        drawn = held_out_instances("recall", size, 2, 0)
        for writer in ("cola", "vae", "transformer"):
            cells[writer, "recall", size] = Cell(drawn, [Answer(drawn[0].answer, True), Answer("x", True)], 1.0)
    result = report(pair, request, Answers(cells, draw_holes(1, 4, 0), {way: ["("] * 4 for way in WAYS}), "", {})
    row = result.tables[0].rows[-1]
    assert row[0] == "all" and [cell.value for cell in row[1:]] == [0.5] * 3 and row[1].count == 8
    assert any("The Cola-DLM wins no task; it loses no task" in finding for finding in result.findings)


def test_a_folder_that_holds_no_pair_gets_one_line(tmp_path, capsys):
    assert bench(tmp_path / "none") == 2
    assert "no such folder" in capsys.readouterr().err
    assert bench(tmp_path) == 2
    assert "cola" in capsys.readouterr().err


def test_models_of_other_tokens_are_refused(folder, golden_folder, tmp_path):
    (tmp_path / "cola").symlink_to(golden_folder)
    (tmp_path / "transformer").symlink_to(folder / "transformer")
    with pytest.raises(ResultError, match="not the symbols"):
        Pair.load(tmp_path)


def test_the_facts_of_the_training_are_in_the_table_of_the_pair(folder, results):
    facts = json.loads((folder / "training.json").read_text())
    table = next(t for t in results[0].tables if t.title == "The pair")
    assert [row[2] for row in table.rows] == [facts[stage]["steps"] for stage in ("vae", "dit", "transformer")]
