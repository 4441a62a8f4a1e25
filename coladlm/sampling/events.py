"""The events of a run. Tensors have the whole batch as first axis and live on the model's device.

Rows of sequences that have ended already are False in `active` and zero in the tensors. Tensors are the run's own, so
that no step copies any, and made in torch's inference mode: `clone()` one before you change it or give it to autograd.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

from ..hardware.transfer import upload
from .flow import clean_estimate


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One solver step of a block, from time t to t_next.

    block: counted from the first new one. index: of the step, 0 to steps - 1. start: (batch, b) times in [0, 1000] from
    which the positions set out in this block, 0 where they are pinned. t, t_next: theirs now, the same shape. z,
    velocity: (batch, b, d), the state before the step and the (guided) velocity there.
    conditional, unconditional: the two velocities behind a guided one, None where there was a single pass, and where
    nobody asked for them and guidance acts on logits (see `Sampler.run`).
    """

    block: int
    index: int
    steps: int
    start: Tensor
    t: Tensor
    t_next: Tensor
    z: Tensor
    velocity: Tensor
    conditional: Tensor | None
    unconditional: Tensor | None
    active: Tensor
    decode: Callable[[Tensor], Tensor] = dataclasses.field(repr=False)

    @property
    def clean(self) -> Tensor:
        """The clean estimate z - t/1000 v, (batch, b, d)."""
        return clean_estimate(self.z, self.velocity, self.t)

    @property
    def noise(self) -> Tensor:
        """Mean share of noise of the positions that are not pinned, in per cent, (batch,)."""
        free = self.start > 0
        return (self.t * free).sum(-1) / free.sum(-1).clamp(min=1) / 10

    def preview(self) -> Tensor:
        """Logits (batch, b * patch_size, vocab) of the clean estimate, read after the text so far.

        Only while the run stands at this step, since it works in the run's own cache; RuntimeError afterwards.
        """
        return self.decode(self.clean)

    def of_rows(self, rows: Tensor, decode: Callable[[Tensor], Tensor]) -> Step:
        """The same of some of the rows of its tensors, (n,) on the CPU; `active` stays."""
        there = upload(rows, self.z.device)

        def of(x: Tensor) -> Tensor:
            return x.index_select(0, there)

        conditional, unconditional = (None if x is None else of(x) for x in (self.conditional, self.unconditional))
        return Step(self.block, self.index, self.steps, of(self.start), of(self.t), of(self.t_next), of(self.z),
                    of(self.velocity), conditional, unconditional, self.active, decode)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class BlockDone:
    """A block is done.

    latents: (batch, b, d), scaled (the noise reached, where the run inverts). token_ids: (batch, b * patch_size).
    logprobs: of these tokens under the decoder, the same shape. logits: (batch, b * patch_size, vocab), before the
    repetition penalty. texts: each sequence's answer so far.
    """

    block: int
    latents: Tensor
    token_ids: Tensor
    logprobs: Tensor
    logits: Tensor
    texts: list[str]
    active: Tensor

    def likeliest(self, row: int, count: int) -> list[tuple[list[int], list[float], float]]:
        """For each place of a sequence, before the repetition penalty: its `count` likeliest tokens, most likely first,
        their log-probabilities, and that of the token in `token_ids`.
        """
        logprobs = self.logits[row].float().log_softmax(-1)
        values, ids = logprobs.topk(count)
        taken = logprobs.gather(-1, self.token_ids[row, :, None])[:, 0]
        return list(zip(ids.tolist(), values.tolist(), taken.tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Drafted:
    """A step of drafts, one of which is kept at the end of the block (see `SamplerSettings.noises`): its steps come as
    events then. It stays inside the sampler, where others may be served between two steps.
    """


@dataclasses.dataclass(frozen=True)
class Finished:
    """All sequences have ended. reasons: "end" (an end token) or "length" for each sequence.

    token_ids: the answers, cut at the end token and at max_new_tokens.
    """

    reasons: list[str]
    texts: list[str]
    token_ids: list[list[int]]


Event = Step | BlockDone | Finished
