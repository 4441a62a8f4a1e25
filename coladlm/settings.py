"""SamplerSettings: everything that a user sets about sampling, as plain validated data. Knows nothing of tensors.

DESCRIPTIONS says what each setting is, for the page, the command line and the API to show.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import typing
from collections.abc import Mapping
from typing import Any

from .errors import describe

NOISE_TIME = 1000.0  # the time of noise; that of data is 0
SOLVERS = ("euler", "midpoint", "heun")  # of sampling/flow.py
TIME_GRIDS = ("linear", "cosine", "quadratic")  # of sampling/flow.py
HISTORIES = ("latents", "reencoded")
MAX_SEED = 2**53 - 1  # a browser holds every whole number up to here, and takes greater ones for their neighbours


class SettingsError(ValueError):
    """A sampler setting is not what it should be; the message names field, found and wanted."""


@dataclasses.dataclass(frozen=True)
class Description:
    """What a setting is, for people.

    label: its name in a word or two. help: a sentence or two. low, high: the bounds of a number, in the setting itself;
    open_low: whether `low` is left out. control: (low, high, step) of a slider, the part of the range that is worth
    trying. choices: the only values, each with the words for it. unit: of the number.
    """

    label: str
    help: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    control: tuple[float, float, float] | None = None
    choices: Mapping[str, str] | None = None
    unit: str = ""

    @property
    def text(self) -> str:
        """The help with the values that are allowed, for a command line or an API."""
        if self.choices:
            return f"{self.help} One of {', '.join(self.choices)}."
        if self.low is None or self.high is None:
            return self.help
        return f"{self.help} {'Above ' if self.open_low else ''}{self.low:,} to {self.high:,}."


DESCRIPTIONS: Mapping[str, Description] = {
    "steps": Description(
        "Steps a block",
        "How often each block is refined on its way from noise to words. More is slower and cleaner.",
        1, 1000, control=(1, 128, 1), unit="steps"),
    "guidance": Description(
        "Guidance",
        "How strongly a block is pulled towards what stands before it; 1 is off. A prompt shorter than a block has no "
        "guidance in its first block.",
        0, 100, control=(0, 20, 0.1)),
    "solver": Description(
        "Solver",
        "How a step follows the flow. Midpoint and Heun look twice at each step: slower, more exact.",
        choices={"euler": "Euler", "midpoint": "midpoint", "heun": "Heun"}),
    "max_new_tokens": Description(
        "New tokens",
        "Length of the answer; a token is a word or a part of one.",
        1, 65536, control=(1, 1024, 1), unit="tokens"),
    "temperature": Description(
        "Temperature",
        "0 takes the likeliest token of each place; higher values take chances with the choice of tokens.",
        0, 100, control=(0, 2, 0.05)),
    "top_k": Description(
        "Top-k",
        "Tokens to choose among when the temperature is above 0; 0 is all.",
        0, 2**31 - 1, control=(0, 200, 1), unit="tokens"),
    "top_p": Description(
        "Top-p",
        "Share of the probability to choose from when the temperature is above 0; 1 is all.",
        0, 1, open_low=True, control=(0.05, 1, 0.05)),
    "repetition_penalty": Description(
        "Repetition penalty",
        "Makes tokens of earlier blocks less likely; 1 is off.",
        0.01, 100, control=(1, 2, 0.05)),  # bounded so that no penalised logit overflows
    "seed": Description(
        "Seed",
        "Where the noise comes from; the same seed repeats a run.",
        0, MAX_SEED),
    "stop_at_end": Description("Stop at the end", "Stop where the model ends its text."),
    "stochasticity": Description(
        "Stochasticity",
        "Share of the noise that is renewed at each step. It repairs words that do not fit each other, and costs "
        "variety.",
        0, 1, control=(0, 1, 0.05)),
    "history": Description(
        "History",
        "What later blocks read: the latents as they came out, or the chosen words encoded again, which keeps errors "
        "from building up.",
        choices={"latents": "latents as they are", "reencoded": "words encoded again"}),
    "time_grid": Description(
        "Time grid",
        "Where the steps lie between 100 % noise and 0 %.",
        choices={name: name for name in TIME_GRIDS}),
    "time_shift": Description(
        "Time shift",
        "Above 1, more of the steps are spent at high noise.",
        0.01, 100, control=(0.2, 5, 0.1)),
    "guidance_interval": Description(
        "Guidance interval",
        "Times between which guidance acts; 1000 is noise and 0 words.",
        0, 1000),
    "stagger": Description(
        "Stagger",
        "How far each word of a block follows the one before it: 0 is all at once, 1 one after another. The steps are "
        "shared out among them.",
        0, 1, control=(0, 1, 0.05)),
    "no_repeat_ngram_size": Description(
        "No repeated n-gram",
        "A word that would complete a run of so many tokens which stands in the text already gives way to the next "
        "likeliest word; 0 is off.",
        0, 64, control=(0, 16, 1), unit="tokens"),
    "whole_sentences": Description(
        "Whole sentences",
        "Where the length is reached in the middle of a sentence, that sentence is left out."),
    "stop_when_settled": Description(
        "Stop when settled",
        "A block is done early when its words have stayed the same for so many steps; 0 takes all steps.",
        0, 1000, control=(0, 8, 1), unit="steps"),
    "min_p": Description(
        "Min-p",
        "While a word takes shape, words that are less likely there than this share of the likeliest one are left out; "
        "0 is off. For models whose output layer names tokens, as that of the bundled one does.",
        0, 1, control=(0, 0.5, 0.01)),
    "guidance_space": Description(
        "Guidance between",
        "What guidance compares with and without the text before: velocities, as published, or the logits of words "
        "behind them, which keeps words that follow one another more varied. Words that all come at once (stagger 0) "
        "are guided between velocities whatever is chosen, since they would not fit together. For models whose output "
        "layer names tokens, as that of the bundled one does.",
        choices={"velocities": "velocities", "logits": "logits of words"}),
    "flow_temperature": Description(
        "Flow temperature",
        "Below 1, the flow keeps closer to the words that are likely after the text so far; above 1 it strays from "
        "them. It acts after guidance. For models whose output layer names tokens, as that of the bundled one does.",
        0.01, 100, control=(0.2, 2, 0.05)),
    "noises": Description(
        "Noises a block",
        "For words that come at once (stagger 0), which do not know of each other: each block is carried from so many "
        "noises, and the one is kept whose words fit each other best. 1 takes what comes. For models whose output "
        "layer names tokens, as that of the bundled one does.",
        1, 16, control=(1, 8, 1)),
    "block_size": Description(
        "Block size",
        "How many places are written together, each block after all before it: 1 is one word at a time. Sizes that the "
        "model was not trained with, above 4 for the bundled one, write worse.",
        1, 64, unit="places"),
}  # fmt: skip


# settings that ask a DiT whose output layer names tokens for their logits, and what switches each off
TOKEN_SETTINGS: dict[str, Any] = {"min_p": 0, "flow_temperature": 1, "guidance_space": "velocities", "noises": 1}


@dataclasses.dataclass(frozen=True)
class SamplerSettings:
    """How to sample. The defaults are those of the published sampler (arXiv:2605.06548).

    steps: solver steps a block. guidance: weight of the conditional velocity, 1 for none. solver: one of SOLVERS.
    max_new_tokens: length of the answer. temperature: of the token choice, 0 is greedy; top_k (0: off), top_p (1: off).
    repetition_penalty: 0.01 to 100, 1 is off. no_repeat_ngram_size: no word is written from noise that would complete
    an n-gram of so many tokens which stands in the text already, see tokens.choose_unrepeated; 0 is off. seed: of all
    randomness, 0 to MAX_SEED. stop_at_end: stop at an end token and cut the answer there. stochasticity: share of noise
    replaced at each step, in [0, 1]. history: what enters the context of later blocks, the finished "latents" or the
    "reencoded" tokens. time_grid: one of TIME_GRIDS; time_shift > 1 spends more steps at high noise.
    guidance_interval: times in [0, 1000] in which guidance acts. stagger: how far each position of a block follows the
    one before it, in [0, 1], see flow.staggered_grid; 0 is all at once, 1 one after another.
    whole_sentences: leave out the sentence in whose middle the length is reached, see sentences.py.
    stop_when_settled: for how many steps the words of a block stay the same before it is ended early, see settling.py;
    0 takes all steps. min_p: the least probability, as a share of the likeliest token's, with which a token has a part
    in the clean estimate of a DiT that names tokens, see networks/token_output.py; 0 is off. flow_temperature: what its
    logits are divided by, after guidance, 0.01 to 100. guidance_space: what guidance, pulls and directions act on, the
    "velocities" or, for the same models, the "logits" (see `guides_logits`). noises: that a block is carried from, of
    which one is kept, for the same models, 1 to 16 (see `noises_of`). block_size: positions that the flow
    carries together, see `block_of`; None for the checkpoint's own number.
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
    whole_sentences: bool = False
    stop_when_settled: int = 0
    min_p: float = 0.0
    flow_temperature: float = 1.0
    guidance_space: str = "velocities"
    noises: int = 1
    block_size: int | None = None

    def __post_init__(self) -> None:
        kinds = _kinds(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _typed(getattr(self, field.name), kinds[field.name], field.name))
            self._check_bounds(field.name, DESCRIPTIONS[field.name])
        if self.no_repeat_ngram_size == 1:
            raise SettingsError("no_repeat_ngram_size is 1, expected 0 for off or a whole number from 2 to 64")
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1000:
            found = self.guidance_interval
            raise SettingsError(f"guidance_interval is {found!r}, expected two times, 0 <= low <= high <= 1000")

    def _check_bounds(self, name: str, about: Description) -> None:
        value: Any = getattr(self, name)
        low, high = about.low, about.high
        if about.choices is not None and value not in about.choices:
            raise SettingsError(f"{name} is {describe(value)}, expected one of {', '.join(about.choices)}")
        if not isinstance(value, (int, float)) or low is None or high is None:
            return
        if not low <= value <= high or (about.open_low and value == low):
            wanted = f"more than {low} and at most {high}" if about.open_low else f"from {low} to {high}"
            raise SettingsError(f"{name} is {describe(value)}, expected a number {wanted}")

    @property
    def flow(self) -> SamplerSettings:
        """These settings with the seed, the length and the choice of tokens at one fixed value, and so `noises` where
        positions follow one another, which it does not act on.

        Sequences for which it is equal can share a run (see shared_run.py).
        """
        return dataclasses.replace(self, seed=0, max_new_tokens=1, temperature=0.0, top_k=0, top_p=1.0,
                                   repetition_penalty=1.0, no_repeat_ngram_size=0, stop_at_end=True,
                                   whole_sentences=False, noises=1 if self.stagger else self.noises)  # fmt: skip

    def guides_logits(self, block_size: int) -> bool:
        """Does guidance act on logits, in blocks of this size? Where all positions of a block are carried at once it
        acts on velocities all the same: between logits each position chooses what sets the text apart, whatever the
        others choose (docs/training.md).
        """
        return self.guidance_space == "logits" and not self._carries_at_once(block_size)

    def noises_of(self, block_size: int) -> int:
        """How many noises a block of this size is carried from. Where its positions follow one another they know of
        each other anyway, so that there is one.
        """
        return self.noises if self._carries_at_once(block_size) else 1

    def _carries_at_once(self, block_size: int) -> bool:
        """Do several positions leave the noise together?"""
        return self.stagger == 0 and block_size > 1

    def block_of(self, own: int) -> int:
        """Positions in a block, on a model whose text VAE was trained with blocks of `own`. Raises SettingsError.

        The DiT's masks and caches have this size, the VAE's stay as they were trained: so one of the two sizes must
        divide the other.
        """
        size = own if self.block_size is None else self.block_size
        if size % own and own % size:
            raise SettingsError(
                f"block_size is {size}, expected a number that divides {own}, the block of this model's text VAE, or a "
                "multiple of it"
            )
        return size

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON. Absent are `block_size` where it is the checkpoint's own, and what acts on models that
        name tokens alone where it is off.
        """
        data = {**dataclasses.asdict(self), "guidance_interval": list(self.guidance_interval)}
        if self.block_size is None:
            del data["block_size"]
        for name, off in TOKEN_SETTINGS.items():
            if data[name] == off:
                del data[name]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: SamplerSettings | None = None) -> SamplerSettings:
        """The settings in `data` over those of `base` (the published defaults if absent). Raises SettingsError."""
        if not isinstance(data, Mapping):
            raise SettingsError(f"sampler settings are {type(data).__name__}, expected an object of names and values")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = [key for key in data if key not in known]
        if unknown:
            raise SettingsError(
                f"unknown sampler setting {describe(unknown[0])}, expected some of {', '.join(sorted(known))}"
            )
        return dataclasses.replace(base or cls(), **data)


# Read once: settings are made all the time, and to read the hints takes many times as long as to check the values.
_kinds = functools.cache(typing.get_type_hints)


def _typed(value: Any, kind: Any, name: str) -> Any:
    if kind == int | None:
        if value is None:
            return None
        kind = int
    if kind == tuple[float, float]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise SettingsError(f"{name} is {describe(value)}, expected two numbers")
        return tuple(_typed(part, float, name) for part in value)
    given = value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):  # of numpy, too
        value = _number(value, kind)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind]
        raise SettingsError(f"{name} is {describe(given)}, expected {wanted}")
    return value + 0.0 if kind is float else value  # there is one zero: -0.0 is written and read as another number


def _number(value: numbers.Real, kind: type) -> int | float:
    """As Python's own number of this kind, where it is one."""
    if isinstance(value, numbers.Integral):
        whole = int(value)
        return whole if kind is not float else float(whole) if abs(whole) < 2**63 else math.inf
    try:
        number = float(value)
    except OverflowError:
        return math.inf
    return int(number) if kind is int and number.is_integer() else number
