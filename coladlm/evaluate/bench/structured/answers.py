"""What was answered, task by task and size by size, kept so that a stopped run goes on and counts stay countable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ....structured.generators import TASKS, Instance, held_out_instances
from ..item_log import ItemLog
from ..measuring import Progress
from .holes import Hole, draw_holes, fill
from .writers import Answer, Pair, timed

WRITERS = ("cola", "vae", "transformer")


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked. items: of each task and size. tasks: names of TASKS. seed: of all instances and answers."""

    tasks: Sequence[str] = tuple(TASKS)
    items: int = 40
    longer: bool = True
    seed: int = 0

    def cells(self) -> Iterator[tuple[str, int]]:
        """Every task and size."""
        for task in self.tasks:
            yield from ((task, size) for size in TASKS[task].sizes)
            yield from ((task, size) for size in TASKS[task].longer if self.longer)


@dataclasses.dataclass(frozen=True)
class Cell:
    """The instances of a task and size, and what each writer answered, in that order. seconds: of all together."""

    instances: Sequence[Instance]
    answers: Sequence[Answer]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Answers:
    """cells: by writer, task and size. holes, fills: the holes and what each way put into them."""

    cells: dict[tuple[str, str, int], Cell]
    holes: Sequence[Hole]
    fills: dict[str, Sequence[str]]

    @property
    def seconds(self) -> float:
        return sum(cell.seconds for cell in self.cells.values())


def ask(pair: Pair, request: Request, log: Path | None, progress: Progress) -> Answers:
    """Lets everybody answer everything that `log` does not hold yet. Raises ResultError for a log of another run."""
    writers, cells = pair.writers(), {}
    wanted = [(writer, *cell) for cell in request.cells() for writer in WRITERS]
    with ItemLog(log, _head(pair, request)) as kept:
        for done, (writer, task, size) in enumerate(wanted):
            progress("answers", done, len(wanted))
            instances, key = held_out_instances(task, size, request.items, request.seed), f"{writer} {task} {size}"
            if key not in kept:
                answers, seconds = timed(writers[writer], instances)
                kept.add(key, {"answers": [[a.text, a.ended] for a in answers], "seconds": round(seconds, 3)})
            answers = [Answer(*answer) for answer in kept[key]["answers"]]
            cells[writer, task, size] = Cell(instances, answers, kept[key]["seconds"])
        progress("answers", len(wanted), len(wanted))
        holes = draw_holes(request.items, pair.cola.block_size, request.seed)
        if "holes" not in kept:
            kept.add("holes", fill(pair, holes))
        return Answers(cells, holes, kept["holes"])


def _head(pair: Pair, request: Request) -> dict[str, Any]:
    """What decides every answer."""
    baseline = pair.transformer.network
    return {
        "part": "structured",
        "cola": pair.cola.fingerprint,
        "transformer": float(sum(p.double().abs().sum() for p in baseline.parameters())),
        "settings": pair.settings.to_dict(),
        "items": request.items,
        "seed": request.seed,
    }
