"""Drafts: what a step looks like as text, in place of the step itself, for who wants every one of them."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ..sampling.events import Step

UNREAD = 64  # events that lie unread for a visitor before further drafts are left out


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """What the decoder reads in the clean estimate of a step. block, index, steps, active: as in a Step.

    token_ids: (batch, b * patch_size), the likeliest tokens, on the CPU: a few bytes, while a Step that waits to be
    read keeps all logits on the model's device.
    """

    block: int
    index: int
    steps: int
    token_ids: Tensor
    active: Tensor


def draft_of(step: Step) -> Draft:
    """The draft of a step at which its run stands."""
    return Draft(step.block, step.index, step.steps, step.preview().argmax(-1).cpu(), step.active)
