"""Plan: what one sequence of a batch is to do. Generate, interpolate, edit and invert differ only in their plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from ..networks.config import TextVAEConfig
from ..settings import SamplerSettings
from .dial import Dial
from .flow import NOISE_TIME
from .pull import Pull

LARGEST = 1e15  # of a number in a plan: float32 holds its square, which a norm takes


class PlanError(ValueError):
    """A plan does not fit the model or the other plans of its batch; the message names what was found and wanted."""


@dataclasses.dataclass
class Plan:
    """What one sequence of a batch is to do. Latents are scaled, times in [0, 1000].

    b is the size of a block, the checkpoint's own or that of the settings (`SamplerSettings.block_size`).
    prefix: (n, d), the latents of whole finished blocks, n a multiple of b. prefix_ids: (n * patch_size,), the tokens
    behind them. source: (blocks, b, d), where positions start that do not start from noise. start: (blocks, b), the
    time they start from: 1000 is noise alone, 0 is pinned to `source`. pinned_ids: (blocks, b * patch_size), the
    tokens of pinned positions and -1 elsewhere. skip: how many tokens at the start of the first block belong to the
    prompt and not to the answer. sequence: the key of its randomness. max_new_tokens: length of the answer. noise:
    (blocks, b, d) in place of drawn noise. first_block: the number of its first new block in the keys of randomness.
    state: (b, d), where the first block stands before step `first_step`, to resume a run in the middle of a block.
    written: (m,), tokens that the resumed run has decoded in earlier blocks, for the repetition penalty. settings: its
    own seed and choice of tokens in place of the run's, whose flow it shares (see `SamplerSettings.flow`). pull: a text
    that its flow is drawn towards. negative: (n, d), whole blocks of a text that stands in guidance where otherwise
    there is no history: guidance leads away from it. dial: two texts; its flow is turned from one to the other.
    """

    prefix: Tensor
    prefix_ids: Tensor
    source: Tensor
    start: Tensor
    pinned_ids: Tensor
    max_new_tokens: int
    skip: int = 0
    sequence: int = 0
    noise: Tensor | None = None
    first_block: int = 0
    state: Tensor | None = None
    first_step: int = 0
    written: Tensor | None = None
    settings: SamplerSettings | None = None
    pull: Pull | None = None
    negative: Tensor | None = None
    dial: Dial | None = None

    @property
    def blocks(self) -> int:
        return self.source.shape[0]


def check_plans(plans: Sequence[Plan], config: TextVAEConfig, settings: SamplerSettings, invert: bool = False) -> None:
    """Raises PlanError where plans do not fit the model, the settings of the run or each other, SettingsError where the
    settings do not fit the model.
    """
    if not plans:
        raise PlanError("there are no plans to run, expected at least one")
    for i, plan in enumerate(plans):
        if not isinstance(plan, Plan):
            raise PlanError(f"plan {i} is {type(plan).__name__}, expected a Plan")
    block_size = settings.block_of(config.block_size)
    if invert and settings.stochasticity > 0:
        found = settings.stochasticity
        raise PlanError(f"stochasticity is {found}, expected 0 for inversion: fresh noise cannot be undone")
    for i, plan in enumerate(plans):
        _check_shapes(plan, i, config, block_size)
        if plan.blocks == 0:
            raise PlanError(f"plan {i} has no new block, expected at least one")
        _check_numbers(plan, i, settings, block_size * config.patch_size)
        _check_ids(plan, i, config.vocab_size)
        if plan.first_step != plans[0].first_step:
            wanted = f"{plans[0].first_step} as in plan 0"
            raise PlanError(f"plan {i}: first_step is {plan.first_step}, expected {wanted}")
        if plan.settings is not None and plan.settings.flow != settings.flow:
            raise PlanError(f"plan {i} has settings of another flow than the run, expected the same")


def _check_shapes(plan: Plan, index: int, config: TextVAEConfig, b: int) -> None:
    d, ps = config.latent_dim, config.patch_size
    wanted = {
        "prefix": (len(plan.prefix) // b * b, d),
        "prefix_ids": (len(plan.prefix) * ps,),
        "source": (plan.blocks, b, d),
        "start": (plan.blocks, b),
        "pinned_ids": (plan.blocks, b * ps),
        "noise": (plan.blocks, b, d),
        "state": (b, d),
    }
    for name, shape in wanted.items():
        value = getattr(plan, name)
        if value is not None and tuple(value.shape) != shape:
            raise PlanError(f"plan {index}: {name} has shape {tuple(value.shape)}, expected {shape}")
        if value is not None and not bool((value.abs() < LARGEST).all()):  # nor NaN
            raise PlanError(f"plan {index}: {name} holds numbers that are not finite, or from {LARGEST:g} on")
    pulled = None if plan.pull is None else plan.pull.latents
    first, second = (None, None) if plan.dial is None else (plan.dial.first, plan.dial.second)
    others = {
        "the text of its pull": pulled,
        "its negative prompt": plan.negative,
        "the first end of its dial": first,
        "the second end of its dial": second,
    }
    for name, latents in others.items():
        if latents is None:
            continue
        if not len(latents) or len(latents) % b:
            raise PlanError(f"plan {index}: {name} has {len(latents)} latents, expected whole blocks")
        if latents.shape[1:] != (d,):
            raise PlanError(f"plan {index}: {name} has shape {tuple(latents.shape)}, expected {(len(latents), d)}")
        if not bool((latents.abs() < LARGEST).all()):
            raise PlanError(f"plan {index}: {name} holds numbers that are not finite, or from {LARGEST:g} on")


def _check_numbers(plan: Plan, index: int, settings: SamplerSettings, block_tokens: int) -> None:
    """block_tokens: how many tokens a block has."""
    wanted = {
        "max_new_tokens": (0, None),
        "skip": (0, plan.blocks * block_tokens),
        "sequence": (0, None),
        "first_block": (0, None),
        "first_step": (0, settings.steps - 1),
    }
    for name, (low, high) in wanted.items():
        value = getattr(plan, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            limits = f"from {low} on" if high is None else f"from {low} to {high}"
            raise PlanError(f"plan {index}: {name} is {value!r}, expected a whole number {limits}")
    low, high = plan.start.aminmax()
    if low < 0 or high > NOISE_TIME:
        raise PlanError(f"plan {index}: start lies between {low:g} and {high:g}, expected times in [0, {NOISE_TIME:g}]")


def _check_ids(plan: Plan, index: int, vocabulary: int) -> None:
    for name, first in (("prefix_ids", 0), ("pinned_ids", -1), ("written", 0)):
        ids = getattr(plan, name)
        if ids is None or not ids.numel():
            continue
        low, high = (int(end) for end in ids.aminmax())
        if low < first or high >= vocabulary:
            wanted = f"{first} to {vocabulary - 1}"
            raise PlanError(f"plan {index}: {name} lie between {low} and {high}, expected {wanted}")
