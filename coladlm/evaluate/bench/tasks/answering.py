"""A model answers the questions of the tasks as the published one did, in batches, in any number of processes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ....model import ColaDLM, EncodedText
from ....sampling.events import Finished
from ....sampling.plan import Plan
from ....settings import SamplerSettings
from ..item_log import ItemLog
from ..machine import machine_facts
from ..measuring import Progress
from ..results import ResultError
from .data import Item, digest

PUBLISHED = SamplerSettings(steps=16, guidance=7.0, max_new_tokens=32, temperature=0.0)
Tasks = Mapping[str, Sequence[Item]]


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part `index` of `count`, from 1: of each task every count-th question."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ResultError(f"the shard is {self.index}/{self.count}, expected I/N with I from 1 to N")

    def keys(self, tasks: Tasks) -> list[tuple[str, int]]:
        """Its questions: the name of the task and the number of the item."""
        return [(name, number) for name, items in tasks.items()
                for number in range(self.index - 1, len(items), self.count)]  # fmt: skip


def log_key(name: str, number: int) -> str:
    """The key of an item in the log."""
    return f"{name}/{number}"


def head(model: ColaDLM, tasks: Tasks, settings: SamplerSettings) -> dict[str, Any]:
    """What decides the answers, for the head of the log, and what they were made on."""
    facts = machine_facts(model.device)
    machine = {name: facts[name] for name in ("processor", "accelerator", "torch") if name in facts}
    about = {"name": model.name, "fingerprint": model.fingerprint, "parameters": model.parameters}
    return {
        "bench": "tasks",
        "model": about,
        "machine": {**machine, "dtype": str(model.dtype).removeprefix("torch.")},
        "settings": settings.to_dict(),
        "questions": {name: digest(items) for name, items in tasks.items()},
    }


def answer(model: ColaDLM, tasks: Tasks, log: ItemLog, settings: SamplerSettings = PUBLISHED,
           shard: Shard | None = None, batch: int = 16,
           progress: Progress = lambda what, done, total: None) -> None:  # fmt: skip
    """Writes the model's answers to the questions of a shard (all if absent) that the log does not hold yet.

    Each item of the log is {"text": what the model wrote, "seconds": its share of the batch's}. Questions of similar
    length share a batch; an item's noise is that of its number in its task, so batches and shards change no answer.
    Raises PromptError for a question that is too long for the model.
    """
    keys = (shard or Shard()).keys(tasks)
    left = [key for key in keys if log_key(*key) not in log]
    lengths = {(name, number): len(model.tokenize(tasks[name][number].prompt)) for name, number in left}
    left.sort(key=lambda key: lengths[key])
    for start in range(0, len(left), batch):
        progress("answers", len(keys) - len(left) + start, len(keys))
        part, began = left[start : start + batch], time.monotonic()
        texts = _written(model, [tasks[name][number].prompt for name, number in part], [n for _, n in part], settings)
        seconds = (time.monotonic() - began) / len(part)
        for key, text in zip(part, texts, strict=True):
            log.add(log_key(*key), {"text": text, "seconds": round(seconds, 3)})
    progress("answers", len(keys), len(keys))


def _written(model: ColaDLM, prompts: Sequence[str], numbers: Sequence[int], settings: SamplerSettings) -> list[str]:
    encoded = model.encode_texts(prompts)
    plans = [_plan(model, text, number, settings) for text, number in zip(encoded, numbers, strict=True)]
    for event in model.run_plans(plans, settings):
        if isinstance(event, Finished):
            return event.texts
    raise RuntimeError("the sampler ended without a result")


def _plan(model: ColaDLM, text: EncodedText, number: int, settings: SamplerSettings) -> Plan:
    """The plan of an answer. As in the published evaluation, the prompt's tokens in its first new block count among
    the new ones: of 32 tokens in blocks of 16 an answer has 17 to 32.
    """
    per_block = model.in_blocks_of(settings).block_size * model.patch_size
    _, rest = model.new_blocks(len(text.ids), settings)
    tokens = -(-settings.max_new_tokens // per_block) * per_block - rest * model.patch_size
    return model.plan_encoded(text, dataclasses.replace(settings, max_new_tokens=tokens), number)
