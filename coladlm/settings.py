"""SamplerSettings: everything that a user sets about sampling, as plain validated data. Knows nothing of tensors."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from .found import brief
from .sampling.flow import GRIDS, SOLVERS

HISTORIES = ("latents", "reencoded")
MAX_SEED = 2**53 - 1  # a browser holds every whole number up to here, and takes greater ones for their neighbours


class SettingsError(ValueError):
    """A sampler setting is not what it should be; the message names field, found and wanted."""


@dataclasses.dataclass(frozen=True)
class SamplerSettings:
    """How to sample. The defaults are those of the published sampler (see `model.md`, Sampling).

    steps: solver steps a block. guidance: weight of the conditional velocity, 1 for none. solver: see flow.SOLVERS.
    max_new_tokens: length of the answer. temperature: of the token choice, 0 is greedy; top_k (0: off), top_p (1: off).
    repetition_penalty: 0.01 to 100, 1 is off. no_repeat_ngram_size: no word is written from noise that would complete
    an n-gram of so many tokens which stands in the text already, see tokens.choose_unrepeated; 0 is off. seed: of all
    randomness, 0 to MAX_SEED. stop_at_end: stop at an end token and cut the answer there. stochasticity: share of noise
    replaced at each step, in [0, 1]. history: what enters the context of later blocks, the finished "latents" or the
    "reencoded" tokens.
    time_grid: see flow.GRIDS; time_shift > 1 spends more steps at high noise. guidance_interval: times in [0, 1000] in
    which guidance acts. stagger: how far each position of a block follows the one before it, in [0, 1], see
    flow.staggered_grid; 0 is all at once, 1 one after another.
    """

    # flow
    steps: int = 16
    guidance: float = 7.0
    solver: str = "euler"
    # tokens
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 50
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    # run
    seed: int = 0
    stop_at_end: bool = True
    # beyond the published sampler, off by default
    stochasticity: float = 0.0
    history: str = "latents"
    time_grid: str = "linear"
    time_shift: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1000.0)
    stagger: float = 0.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _typed(getattr(self, field.name), kinds[field.name], field.name))
        self._within("steps", 1, 1000)
        self._within("guidance", 0, 100)
        self._within("max_new_tokens", 1, 65536)
        self._within("temperature", 0, 100)
        self._within("top_k", 0, 2**31 - 1)
        self._within("top_p", 0, 1, open_low=True)
        self._within("repetition_penalty", 0.01, 100)  # so that no penalised logit overflows
        self._within("no_repeat_ngram_size", 0, 64)
        if self.no_repeat_ngram_size == 1:
            raise SettingsError("no_repeat_ngram_size is 1, expected 0 for off or a whole number from 2 to 64")
        self._within("seed", 0, MAX_SEED)
        self._within("stochasticity", 0, 1)
        self._within("time_shift", 0.01, 100)
        self._within("stagger", 0, 1)
        self._one_of("solver", SOLVERS)
        self._one_of("history", HISTORIES)
        self._one_of("time_grid", GRIDS)
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1000:
            found = self.guidance_interval
            raise SettingsError(f"guidance_interval is {found!r}, expected two times, 0 <= low <= high <= 1000")

    def _within(self, name: str, low: float, high: float, open_low: bool = False) -> None:
        value = getattr(self, name)
        if not low <= value <= high or (open_low and value == low):
            above = f"more than {low} and at most {high}" if open_low else f"from {low} to {high}"
            raise SettingsError(f"{name} is {brief(value)}, expected a number {above}")

    def _one_of(self, name: str, known: typing.Collection[str]) -> None:
        value = getattr(self, name)
        if value not in known:
            raise SettingsError(f"{name} is {brief(value)}, expected one of {', '.join(known)}")

    @property
    def flow(self) -> SamplerSettings:
        """These settings with the seed, the length and the choice of tokens at one fixed value.

        Sequences for which it is equal can share a run (see shared_run.py).
        """
        return dataclasses.replace(self, seed=0, max_new_tokens=1, temperature=0.0, top_k=0, top_p=1.0,
                                   repetition_penalty=1.0, no_repeat_ngram_size=0, stop_at_end=True)  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**dataclasses.asdict(self), "guidance_interval": list(self.guidance_interval)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: SamplerSettings | None = None) -> SamplerSettings:
        """The settings in `data` over those of `base` (the published defaults if absent). Raises SettingsError."""
        if not isinstance(data, Mapping):
            raise SettingsError(f"sampler settings are {type(data).__name__}, expected an object of names and values")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = [key for key in data if key not in known]
        if unknown:
            raise SettingsError(
                f"unknown sampler setting {brief(unknown[0])}, expected some of {', '.join(sorted(known))}"
            )
        return dataclasses.replace(base or cls(), **data)


def _typed(value: Any, kind: Any, name: str) -> Any:
    if kind == tuple[float, float]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise SettingsError(f"{name} is {brief(value)}, expected two numbers")
        return tuple(_typed(part, float, name) for part in value)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else math.inf
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind]
        raise SettingsError(f"{name} is {brief(value)}, expected {wanted}")
    return value + 0.0 if kind is float else value  # there is one zero: -0.0 is written and read as another number
