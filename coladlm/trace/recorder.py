"""TraceRecorder: events in, a Trace out. Never makes a step of the run wait for the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..recipe import Recipe
from ..sampling.events import BlockDone, Finished, Step
from . import (
    DTYPES,
    PREVIEWS,
    SPECS,
    STOPPED,
    Trace,
    TraceError,
)


@dataclasses.dataclass(frozen=True)
class Preview:
    """What the decoder reads in a clean estimate, each (batch, b * patch_size), on the model's device."""

    ids: Tensor
    confidence: Tensor  # probability of the likeliest token
    margin: Tensor  # its logit minus the second
    entropy: Tensor  # of the distribution, in nats


@torch.inference_mode()
def preview(logits: Tensor) -> Preview:
    """Sums up logits (batch, n, vocab)."""
    logits = logits.float()
    first, second = logits.topk(2, -1).values.unbind(-1)
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    return Preview(
        logits.argmax(-1), (first - logits.logsumexp(-1)).exp().clamp(max=1), first - second, entropy.clamp(min=0)
    )


Watched = TypeVar("Watched")


class TraceRecorder:
    """Makes a Trace out of the events of a run; what has been recorded so far is a trace at any time.

    Steps stay on the model's device until their block is done and then move to the host in one transfer, so that no
    step waits for the device; a block of 16 positions, 16 channels and 16 steps takes about 40 KB a sequence there.
    Nothing of the run itself is kept, so that a run that is closed frees its caches. Events that an operation adds to
    those of the sampler pass by.

    prompts: the text each sequence starts from; the recipe's texts, each `variations` times, if absent. previews:
    decode the clean estimate at each step (costs a pass of the decoder) and keep what it says; `latest` then holds the
    summary of the current step, to show the run while it goes on. dtype: of the steps' states and velocities;
    float16 keeps three digits, halves the file and saturates at 65,504.
    """

    def __init__(
        self, recipe: Recipe, prompts: Sequence[str] | None = None, previews: bool = True, dtype: str = "float16"
    ):
        if dtype not in DTYPES["float"]:
            raise TraceError(f"dtype is {dtype!r}, expected {' or '.join(DTYPES['float'])}")
        self.recipe, self.previews, self.dtype = recipe, previews, dtype
        self.prompts = [text for text, _ in recipe.sequences()] if prompts is None else list(prompts)
        self.latest: Preview | None = None
        self._under_way = _Block()
        self._blocks: list[_Block] = []
        self._texts = [""] * len(self.prompts)
        self._end: Finished | None = None

    def watch(self, events: Iterable[Watched]) -> Generator[Watched]:
        """Records events and passes them on. Closing this generator closes `events`."""
        try:
            for event in events:
                self.add(event)
                yield event
        finally:
            if hasattr(events, "close"):
                events.close()

    def add(self, event: object) -> None:
        """Records one event. Raises TraceError for one that does not follow from those before it."""
        if not isinstance(event, (Step, BlockDone, Finished)):
            return
        if self._end is not None:
            raise TraceError(f"{type(event).__name__} came after Finished, expected nothing")
        if isinstance(event, Finished):
            self._end = event
            return
        if event.block != len(self._blocks):
            raise TraceError(f"{type(event).__name__} is of block {event.block}, expected block {len(self._blocks)}")
        if len(event.active) != len(self.prompts):
            raise TraceError(f"the batch has {len(event.active)} sequences, expected {len(self.prompts)}: one a prompt")
        self._under_way.active = event.active
        if isinstance(event, Step):
            self._under_way.steps = event.steps
            self._add_step(event)
        else:
            self._under_way.done = True
            self._add_result(event)
            self._blocks.append(self._under_way.on_host())
            self._under_way = _Block()
            self._texts = list(event.texts)

    def trace(self) -> Trace:
        """What has been recorded so far, with the steps of an unfinished block. Gathers everything: call it once."""
        blocks = list(self._blocks)
        if self._under_way.arrays:
            blocks.append(self._under_way.on_host())
        arrays = _assemble(blocks, len(self.prompts), self.dtype)
        if self._end is None:
            outcome: dict[str, Any] = {
                "texts": list(self._texts),
                "reasons": [STOPPED] * len(self.prompts),
                "answers": None,
            }
        else:
            end = self._end
            answers = [[int(token) for token in ids] for ids in end.token_ids]
            outcome = {"texts": list(end.texts), "reasons": list(end.reasons), "answers": answers}
        return Trace(recipe=self.recipe, prompts=list(self.prompts), **outcome, **arrays)

    def read(self) -> Preview:
        """`latest`. Raises TraceError where no step with a preview has been recorded."""
        if self.latest is None:
            raise TraceError("no step with a preview has been recorded, expected one")
        return self.latest

    @torch.inference_mode()
    def _add_step(self, step: Step) -> None:
        kept = {"t": step.t.float(), "t_next": step.t_next.float()}
        states = {"z": step.z, "velocity": step.velocity}
        if step.conditional is not None and step.unconditional is not None:
            states |= {"conditional": step.conditional, "unconditional": step.unconditional}
        if self.previews:
            self.latest = preview(step.preview())
            kept["preview_ids"] = self.latest.ids.int()
            states |= {name: getattr(self.latest, name.removeprefix("preview_")) for name in PREVIEWS[1:]}
        dtype = getattr(torch, self.dtype)
        limit = torch.finfo(dtype).max
        kept |= {name: x.clamp(-limit, limit).to(dtype) for name, x in states.items()}
        self._under_way.arrays |= {(name, step.index): x for name, x in kept.items()}

    @torch.inference_mode()
    def _add_result(self, done: BlockDone) -> None:
        kept = {"latents": done.latents.float(), "token_ids": done.token_ids.int(), "logprobs": done.logprobs.float()}
        self._under_way.arrays |= {(name, None): x for name, x in kept.items()}


@dataclasses.dataclass
class _Block:
    """What is kept of a block: arrays (batch, ...) by name and step, those of the finished block under None."""

    arrays: dict[tuple[str, int | None], Any] = dataclasses.field(default_factory=dict)
    steps: int = 0
    active: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    done: bool = False

    @torch.inference_mode()
    def on_host(self) -> _Block:
        """The same with numpy arrays, by way of a single buffer and so a single transfer."""
        tensors = self.arrays
        buffer = torch.cat([x.contiguous().flatten().view(torch.uint8) for x in tensors.values()]).cpu().numpy()
        arrays, offset = {}, 0
        for key, x in tensors.items():
            data = buffer[offset : offset + x.nbytes]
            arrays[key] = data.view(str(x.dtype).removeprefix("torch.")).reshape(x.shape)
            offset += x.nbytes
        return dataclasses.replace(self, arrays=arrays)


def _assemble(blocks: list[_Block], sequences: int, dtype: str) -> dict[str, Any]:
    """Blocks side by side, in arrays of their final size, by the names of Trace."""
    sizes = {"s": sequences, "b": len(blocks), "k": max((block.steps for block in blocks), default=0)}
    for block in blocks:
        for (name, _), array in block.arrays.items():
            sizes |= dict(zip(SPECS[name].axes.replace("b", "").replace("k", ""), array.shape, strict=True))
    sizes = {"p": 0, "d": 0, "w": sizes.get("p", 0)} | sizes  # no token was ever seen: as if a position were one
    seen = {name for block in blocks for name, _ in block.arrays}

    arrays = {}
    for name, spec in SPECS.items():
        if name in seen or not spec.optional:
            shape = [sizes[axis] for axis in spec.axes]
            kind = dtype if spec.kind == "float" else DTYPES[spec.kind][0]
            arrays[name] = np.full(shape, -1 if spec.kind == "int" else 0, kind)
    for b, block in enumerate(blocks):
        arrays["finished"][b] = block.done
        arrays["active"][:, b] = block.active.cpu().numpy()
        for (name, step), array in block.arrays.items():
            if step is None:
                arrays[name][:, b] = array
                continue
            arrays[name][:, b, step] = array
            arrays["recorded"][b, step] = True
            arrays["guided"][b, step] |= name == "conditional"
    if "conditional" in arrays:
        arrays["conditional"][:, ~arrays["guided"]] = arrays["velocity"][:, ~arrays["guided"]]
    for name in ("token_ids", "logprobs", *PREVIEWS):
        if name in arrays:  # rows of zeros decode to something, which means nothing
            arrays[name][~arrays["active"]] = -1 if SPECS[name].kind == "int" else 0
    return arrays
