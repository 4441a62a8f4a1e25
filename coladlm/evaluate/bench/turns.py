"""Texts that several ways of writing give for the same prompts, batch by batch and all of them in turn.

What else the machine does makes a batch slower or quicker than the next one by more than many settings do. So every way
writes a batch before the next one comes, and times are compared of the same batch.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...baseline.baseline import Baseline, BaselineSettings
from ...model import ColaDLM
from ...sampling.events import BlockDone, Finished, Step
from ...settings import SamplerSettings
from .measuring import Measuring

Writer = Callable[[Sequence[str], list[int]], Iterable[Any]]  # prompts and keys of randomness -> events


@dataclasses.dataclass(frozen=True)
class Texts:
    """What was written in one way: an entry for each text. seconds: of the processor for a text, of each batch.
    steps, blocks: how many all batches took, 0 where there are none.
    """

    texts: list[str]
    token_ids: list[list[int]]
    seconds: list[float]
    steps: int = 0
    blocks: int = 0

    @property
    def steps_a_block(self) -> float:
        """Mean number of steps that the blocks took in their batches."""
        return self.steps / max(1, self.blocks)

    def __add__(self, other: Texts) -> Texts:
        """Those of further batches after these."""
        names = [field.name for field in dataclasses.fields(Texts)]
        return Texts(**{name: getattr(self, name) + getattr(other, name) for name in names})


def model_writer(model: ColaDLM, settings: SamplerSettings) -> Writer:
    """Texts of the Cola-DLM."""
    return lambda prompts, keys: model.sample(prompts, settings, sequences=keys)


def baseline_writer(baseline: Baseline, settings: BaselineSettings) -> Writer:
    """Texts of the transformer."""
    return lambda prompts, keys: baseline.sample(prompts, settings, keys)


def in_turn(writers: Mapping[str, Writer], prompts: Sequence[str], batch: int, measuring: Measuring,
            what: str) -> dict[str, Texts]:  # fmt: skip
    """The texts of every writer for all prompts. what: of the items in the log and of the progress.

    Every other batch has the writers in the opposite order, so that a machine that slowly gets busier favours none.
    """
    found, names = {name: Texts([], [], []) for name in writers}, list(writers)
    for number, start in enumerate(range(0, len(prompts), batch)):
        part = prompts[start : start + batch]
        for name in names[:: -1 if number % 2 else 1]:
            make = lambda w=writers[name], p=part, s=start: _written(w, p, s)  # noqa: E731
            found[name] += Texts(**measuring.item(f"{what}, {name}, {start}", make))
        measuring.progress(f"{what}, in all ways", min(start + batch, len(prompts)), len(prompts))
    return found


def _written(writer: Writer, prompts: Sequence[str], first: int) -> dict[str, Any]:
    """One batch, as plain JSON with the fields of `Texts`. first: number of its first prompt, which keys its noise."""
    texts: list[str] = []
    ids: list[list[int]] = []
    steps = blocks = 0
    begun = time.process_time()
    for event in writer(prompts, list(range(first, first + len(prompts)))):
        steps, blocks = steps + isinstance(event, Step), blocks + isinstance(event, BlockDone)
        if isinstance(event, Finished):
            texts, ids = event.texts, event.token_ids
    seconds = (time.process_time() - begun) / len(prompts)
    return dataclasses.asdict(Texts(texts, ids, [seconds], steps, blocks))
