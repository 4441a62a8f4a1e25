"""Counts of what was answered: right or wrong, and where an answer goes wrong first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ....structured.generators import Instance
from ....structured.validators import first_error, is_balanced, is_right
from ..intervals import Interval, exact_at_the_ends, ratio_interval, share_interval
from .answers import Cell
from .writers import Answer


def rights(cell: Cell) -> list[bool]:
    """For each answer whether it is exactly right and has ended."""
    return [is_answer_right(x, a) for x, a in zip(cell.instances, cell.answers, strict=True)]


def is_answer_right(instance: Instance, answer: Answer) -> bool:
    """Is it exactly right, and has it ended?"""
    return answer.ended and is_right(instance.prompt, answer.text)


def share_right(cells: Iterable[Cell]) -> Interval:
    """Over all answers of several cells."""
    return share_interval([value for cell in cells for value in rights(cell)])


def share_balanced(cells: Iterable[Cell]) -> Interval:
    """Of free words: balanced and not empty, whatever their length."""
    kinds = {"1": "()", "2": "()[]", "3": "()[]{}"}
    return share_interval(
        [a.ended and a.text != "" and is_balanced(a.text, kinds[x.prompt[1]])
         for cell in cells for x, a in zip(cell.instances, cell.answers, strict=True)]
    )  # fmt: skip


def wrong_at(instance: Instance, answer: Answer) -> int | None:
    """The place of the first error, the end token counted as the last symbol; None where nothing is wrong."""
    found = first_error(instance.prompt, answer.text)
    return len(answer.text) if found is None and not answer.ended else found


def risk(cells: Iterable[Cell], group: Callable[[Instance, int], int | None],
         groups: Sequence[int]) -> list[Interval | None]:  # fmt: skip
    """How often an answer that is right so far goes wrong at its next symbol, by the group of that symbol's place.

    group: (instance, place in the answer) -> one of `groups`, or None for a place that is left out. None where no
    answer came so far.
    """
    errors: dict[int, list[int]] = {name: [] for name in groups}
    chances: dict[int, list[int]] = {name: [] for name in groups}
    for cell in cells:
        for instance, answer in zip(cell.instances, cell.answers, strict=True):
            wrong = wrong_at(instance, answer)
            reached = [group(instance, place) for place in range((len(answer.text) if wrong is None else wrong) + 1)]
            for name in groups:
                if name in reached:
                    chances[name].append(reached.count(name))
                    errors[name].append(int(wrong is not None and reached[-1] == name))
    return [
        exact_at_the_ends(ratio_interval(errors[name], chances[name])) if chances[name] else None for name in groups
    ]
