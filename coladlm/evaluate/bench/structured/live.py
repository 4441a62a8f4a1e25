"""A few questions asked of both models while somebody looks on: by the same steps as the bench, event by event."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ....sampling.events import BlockDone, Finished, Step
from ....structured.generators import TASKS, Instance, held_out_instances
from ....structured.vocabulary import decode
from ..results import ResultError
from .scores import is_answer_right
from .writers import Answer, Pair, answers_of, room

MOST_QUESTIONS = 8
WRITERS = ("transformer", "cola")  # the quick one first


@dataclasses.dataclass(frozen=True)
class Asked:
    """How far it is. instances: the questions. answers: by writer, as far as they are written; an answer has ended only
    when all have. right: by writer, for those who are done. share: of all, in [0, 1].
    """

    instances: Sequence[Instance]
    answers: dict[str, Sequence[Answer]]
    right: dict[str, Sequence[bool]]
    share: float


def check_question(task: str, size: int, count: int) -> None:
    """Raises ResultError for what cannot be asked."""
    if task not in TASKS:
        raise ResultError(f"the task is {task!r}, expected one of {', '.join(TASKS)}")
    sizes = (*TASKS[task].sizes, *TASKS[task].longer)
    if size not in sizes:
        raise ResultError(f"the size is {size} {TASKS[task].unit}, expected one of {', '.join(map(str, sizes))}")
    if not 1 <= count <= MOST_QUESTIONS:
        raise ResultError(f"there are {count} questions, expected 1 to {MOST_QUESTIONS}")


def ask_live(pair: Pair, task: str, size: int, count: int, seed: int) -> Iterator[Asked]:
    """The questions of the bench with this seed, and its answers, with what there is of them at every event.

    Raises ResultError, SettingsError.
    """
    check_question(task, size, count)
    pair = dataclasses.replace(pair, settings=dataclasses.replace(pair.settings, seed=seed))
    instances = held_out_instances(task, size, count, seed)
    answers: dict[str, Sequence[Answer]] = {}
    right: dict[str, Sequence[bool]] = {}
    yield Asked(instances, {}, {}, 0.0)
    blocks = -(
        -(max(len(x.prompt) for x in instances) % pair.cola.block_size + room(instances[0])) // pair.cola.block_size
    )
    for writer in WRITERS:
        written: list[list[int]] = [[] for _ in instances]
        share = {"transformer": 0.0, "cola": 0.05}[writer]
        for event in pair.events(writer, instances):
            if isinstance(event, Finished):
                answers[writer] = answers_of(event)
                right[writer] = [is_answer_right(x, a) for x, a in zip(instances, answers[writer], strict=True)]
            elif isinstance(event, BlockDone):
                for row, ids in enumerate(event.token_ids.tolist()):
                    if event.active[row]:
                        skip = len(instances[row].prompt) % pair.cola.block_size if event.block == 0 else 0
                        written[row] += ids[skip:]
                answers[writer] = [Answer(decode(ids), False) for ids in written]
            elif isinstance(event, Step):
                share = 0.05 + 0.95 * (event.block + (event.index + 1) / event.steps) / blocks
            yield Asked(instances, dict(answers), dict(right), min(1.0, share))
    yield Asked(instances, answers, right, 1.0)
