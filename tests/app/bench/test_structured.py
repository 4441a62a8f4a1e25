"""The tab Bench: a few questions for the pair that ships, as the page asks them."""

import dataclasses
import functools

import pytest

from app.bench.structured import QUESTIONS, RULES, SEED, TASK, ShippedPair, ask_pair
from coladlm.evaluate.bench.structured.answers import Cell
from coladlm.evaluate.bench.structured.scores import rights
from coladlm.structured.generators import TASKS, held_out_instances

from ..viewing import Viewer, parts_of

ASKED = {"task": "recall", "size": "0", "count": 2, "seed": 3}


@pytest.fixture(scope="module")
def pair():
    return ShippedPair()


@pytest.fixture
def view(scheduler, pair):
    return functools.partial(ask_pair, scheduler, pair)


def test_the_answers_and_who_is_right_are_those_of_the_bench(view, pair):
    parts = parts_of(view, ASKED)
    instances = held_out_instances("recall", TASKS["recall"].sizes[0], 2, 3)
    own = pair.get()
    own = dataclasses.replace(own, settings=dataclasses.replace(own.settings, seed=3))
    found = [own.write_cola(instances), own.write_transformer(instances)]
    right = [rights(Cell(instances, answers, 0.0)) for answers in found]
    shown = parts["answers"]
    assert [row[:2] for row in shown["rows"]] == [[x.prompt, x.answer] for x in instances]
    for row, (_, _, cells) in enumerate(shown["rows"]):
        for cell, answers, is_right in zip(cells, found, right, strict=True):
            assert cell == [answers[row].text + " (goes on)" * (not answers[row].ended),
                            "right" if is_right[row] else "wrong"]  # fmt: skip
    assert parts["progress"]["state"] == shown["state"] == "done"
    told = [f"{who} {sum(hits)} of 2 right" for who, hits in zip(("Cola-DLM", "Transformer"), right, strict=True)]
    assert parts["progress"]["parts"][:3] == ["key-value recall, 2 pairs", *told]


def test_it_says_at_once_that_it_starts_and_what_is_stopped_stays(view, scheduler):
    context = Viewer()
    frames = view(context, {**ASKED, "task": "copy", "size": "-1"})
    first = next(frames)
    assert (first["progress"]["state"], first["progress"]["parts"]) == ("running", ["starting"])
    assert scheduler.numbers()["running"] == 0  # no model has been asked yet
    while not any(cell and cell[1] == "forming" for row in (first.get("answers") or {"rows": []})["rows"]
                  for cell in row[2]):  # fmt: skip
        first = next(frames)
    frames.close()
    assert [frame["progress"]["state"] for frame in context.shown] == ["stopped"]
    assert context.shown[0]["answers"]["state"] == "stopped" and scheduler.numbers()["running"] == 0


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"task": "juggling"}, "he task is 'juggling', expected one of dyck1"),
    ({"size": "9"}, "he size is 9 pairs, expected one of 2, 4, 8, 16"), ({"size": None}, "Size is empty, expected"),
    ({"count": 9}, "here are 9 questions, expected 1 to 8"), ({"count": 1.5}, "expected a whole number"),
    ({"count": "many"}, "expected a number"), ({"seed": -1}, "expected a number from 0"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_a_sentence(view, changed, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        parts_of(view, {**ASKED, **changed})


def test_a_task_of_many_right_answers_says_that_one_is_an_example(view):
    shown = parts_of(view, {"task": "dyck1", "size": 0, "count": 1, "seed": 0})["answers"]
    [(asked, right, _)] = shown["rows"]
    assert asked == "F1:8=" and right.startswith("such as ") and "Other answers" in shown["note"]
    assert "one question for each length" in shown["note"] and shown["note"].startswith("F1:16= asks for")


def test_the_questions_that_the_page_begins_with_differ():
    questions = held_out_instances(TASK, TASKS[TASK].sizes[0], QUESTIONS, SEED)
    assert len({x.prompt for x in questions}) == QUESTIONS


def test_every_task_has_its_form_and_rules_beside_its_questions():
    assert set(RULES) == set(TASKS)
    for name, task in TASKS.items():
        beginning = held_out_instances(name, task.sizes[0], 1, 0)[0].prompt.partition(":")[0]
        assert RULES[name].startswith(f"{beginning}:")
