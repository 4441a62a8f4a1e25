"""An upper bound on -log p of any text under a Cola-DLM, in nats, with its parts and its standard error.

A unit of text is what the flow writes in one go: a block, or a single token. Its latents z (posterior means, scaled)
are noised to z_t = (1 - t) z + t n; with v* = n - z and v the DiT's velocity there, after the clean latents of what
stands before the unit, the variational bound of diffusion models (Kingma et al. 2021, arXiv:2107.00630) reads

    -log p(unit | before) <= E[-log p(unit | z_e)] + integral from e to 1 of (1 - t) / t E|v - v*|^2 dt

for every e in (0, 1): the flow carries the latents from noise to a share e of it, and the decoder reads the clean
estimate there. The weight is half of |d SNR / dt| times t^2, for SNR = ((1 - t) / t)^2; at t = 1 nothing of z is left,
so there is no third term. It holds for any velocity, a guided one too, and is exact where v is the best guess
E[v* | z_t] of what the text is drawn from and the decoder the posterior that belongs to it.

The text model that it bounds is this one sampled with fresh noise in infinitely many steps from t = 1 to e, tokens
drawn at temperature 1 and encoded again before the next unit. order "blocks" writes all positions of a block at once,
and of the last one those that the text has. order "tokens" writes one token at a time, the later positions of its block
at noise. Expectations are estimated by draws: what is reported is the bound up to its standard error.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..baseline.baseline import Baseline
from ..errors import describe
from ..model import ColaDLM
from ..settings import MAX_SEED
from .stories import EvaluationError
from .text_flow import TextFlow, Units, units_of
from .whole_characters import whole_characters

ORDERS = ("tokens", "blocks")
READ_AT = (0.2, 0.3, 0.4, 0.5)  # among which e is chosen
PILOT_DRAWS = 2  # that choose e; the bound itself rests on other ones
UNITS = 64  # that pass at once
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # borders of the noise levels of `TextBound.levels`


@dataclasses.dataclass(frozen=True)
class BoundSettings:
    """order: one of ORDERS. draws: independent estimates, of which the bound is the mean. seed: of their randomness.
    guidance: of the velocity, 1 for none. read_at: the share of noise e at which the decoder reads; chosen among
    READ_AT by draws of its own if None.
    """

    order: str = "tokens"
    draws: int = 16
    seed: int = 0
    guidance: float = 1.0
    read_at: float | None = None

    def __post_init__(self) -> None:
        for name, fine, wanted in (
            ("order", self.order in ORDERS, f"one of {', '.join(ORDERS)}"),
            ("draws", _lies_in(self.draws, 2, 4096, whole=True), "a whole number from 2 to 4096"),
            ("seed", _lies_in(self.seed, 0, MAX_SEED, whole=True), "a whole number from 0 to 2^53 - 1"),
            ("guidance", _lies_in(self.guidance, 0, 100), "a number from 0 to 100"),
            ("read_at", self.read_at is None or _lies_in(self.read_at, 0.01, 0.99), "a number from 0.01 to 0.99"),
        ):
            if not fine:
                raise EvaluationError(f"{name} is {describe(getattr(self, name))}, expected {wanted}")


def _lies_in(value: Any, low: float, high: float, whole: bool = False) -> bool:
    """Is it a number, and within these bounds? True and False are none."""
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high


@dataclasses.dataclass(frozen=True, eq=False)
class TextBound:
    """-log p(text | context) is at most `nats`, so log p is at least -nats, up to the error of the draws.

    units: the token ids of each unit. read, flow, times: (draws, units), nats of the decoder and of the flow, and the
    time in (e, 1) at which the flow was looked at.
    """

    settings: BoundSettings
    read_at: float
    units: tuple[tuple[int, ...], ...]
    read: Tensor
    flow: Tensor
    times: Tensor

    @property
    def tokens(self) -> int:
        return sum(map(len, self.units))

    @property
    def nats(self) -> float:
        return (self.read + self.flow).sum(1).mean().item()

    @property
    def standard_error(self) -> float:
        """Of `nats`, from how far the draws differ."""
        return _error((self.read + self.flow).sum(1)[:, None]).item()

    @property
    def unit_nats(self) -> Tensor:
        """(units,), how much each adds to `nats`."""
        return (self.read + self.flow).mean(0)

    def levels(self, borders: Sequence[float] = LEVELS) -> list[tuple[float, float, float]]:
        """(from, to, nats) of the flow's part by noise level, from the share of noise at which the decoder reads."""
        inner = [b for b in borders if b > self.read_at + 1e-9]
        edges = [self.read_at, *inner]
        bins = torch.bucketize(self.times, torch.tensor(edges[1:-1], dtype=self.times.dtype), right=True)
        return [(low, high, (self.flow * (bins == i)).sum(1).mean().item())
                for i, (low, high) in enumerate(itertools.pairwise(edges))]  # fmt: skip

    def to_dict(self, model: ColaDLM) -> dict[str, Any]:
        """Plain data for JSON, the units with their text; units that share a character are told as one."""

        def decode(ids: list[int]) -> str:
            return model.tokenizer.decode(ids, skip_special_tokens=False)

        return {
            **dataclasses.asdict(self.settings),
            "read_at": self.read_at,
            "tokens": self.tokens,
            "nats": self.nats,
            "standard_error": self.standard_error,
            "nats_per_token": self.nats / self.tokens,
            "decoder": self.read.sum(1).mean().item(),
            "flow": self.flow.sum(1).mean().item(),
            "levels": [{"from": low, "to": high, "nats": nats} for low, high, nats in self.levels()],
            "units": [self._told(decode, part) for part in whole_characters(self.units, decode)],
        }

    def _told(self, decode: Callable[[list[int]], str], part: slice) -> dict[str, Any]:
        """Neighbouring units together: the error is that of their sum."""
        ids = [token for unit in self.units[part] for token in unit]
        read, nats = self.read[:, part].sum(1), (self.read + self.flow)[:, part].sum(1)
        return {"text": decode(ids), "tokens": len(ids), "nats": nats.mean().item(),
                "standard_error": _error(nats[:, None]).item(), "decoder": read.mean().item()}  # fmt: skip


def _error(values: Tensor) -> Tensor:
    """The standard error of the mean over the first axis."""
    return values.std(0) / math.sqrt(len(values))


def text_bound(model: ColaDLM, text: str | Sequence[int], context: str | Sequence[int] = "",
               settings: BoundSettings | None = None, ended: bool = False) -> TextBound:  # fmt: skip
    """The bound for a text after a context, each a text or token ids; tokenised apart from each other.

    ended: with the end token behind the text.
    Raises EvaluationError for an empty text or a model with several tokens in a latent, PromptError for a long one.
    """
    return last_of(text_bound_steps(model, text, context, settings, ended))


@torch.inference_mode()
def text_bound_steps(model: ColaDLM, text: str | Sequence[int], context: str | Sequence[int] = "",
                     settings: BoundSettings | None = None,
                     ended: bool = False) -> Iterator[int | TextBound]:  # fmt: skip
    """`text_bound` in steps, so that others may come between: the number of draws done after each, then the bound."""
    settings = settings or BoundSettings()
    before, ids = (model.tokenize(part) if isinstance(part, str) else list(part) for part in (context, text))
    if ended:
        ids.append(model.end_ids[0])
    if not ids:
        raise EvaluationError("the text has no token, expected at least one")
    if len(before) + len(ids) > model.max_tokens:
        most = f"at most {model.max_tokens:,}"
        told = f"{len(ids):,} tokens and its context {len(before):,}, expected {most} together"
        raise EvaluationError(
            f"the text has {told}" if before else f"the text has {len(ids):,} tokens, expected {most}"
        )
    if model.patch_size != 1:
        raise EvaluationError(f"patch_size is {model.patch_size}, expected 1 for the likelihood of a text")
    flow, units = units_of(model, before, ids, settings.order)
    yield from bound_steps(flow, units, settings)


def last_of(steps: Iterable[int | TextBound]) -> TextBound:
    """The bound that stands at the end of its steps."""
    for step in steps:
        if isinstance(step, TextBound):
            return step
    raise RuntimeError("the steps of a bound ended without one")


def exact_beside(baseline: Baseline, text: str, context: str = "", ended: bool = False) -> dict[str, Any]:
    """The exact value of -log p(text | context) under an autoregressive model, as plain data.

    nats, tokens and nats_per_token, or `left_out` with the reason where it cannot read the text.
    """
    count, most = sum(map(len, map(baseline.tokenize, (context, text)))) + ended, baseline.network.config.max_tokens
    if count > most:
        told = "This text and its context have" if context else "This text has"
        return {"left_out": f"{told} {count:,} tokens; the transformer reads at most {most:,}."}
    found = baseline.log_likelihood([text], [context], ended)[0]
    tokens = len(found.log_probs)
    return {"nats": -found.total, "tokens": tokens, "nats_per_token": -found.total / max(1, tokens)}


@torch.inference_mode()
def bound_of(flow: TextFlow, units: Units, settings: BoundSettings) -> TextBound:
    """The bound of the units of a text."""
    return last_of(bound_steps(flow, units, settings))


def bound_steps(flow: TextFlow, units: Units, settings: BoundSettings) -> Iterator[int | TextBound]:
    """`bound_of` in steps: the number of draws done after each, then the bound."""
    generator = torch.Generator().manual_seed(settings.seed)
    e = settings.read_at or _best_end(flow, units, settings, generator)
    read, looked, times = [], [], []
    for done in range(settings.draws):
        read.append(_read(flow, units, e, settings.guidance, generator))
        nats, t = _integral(flow, units, e, settings.guidance, generator)
        looked.append(nats)
        times.append(t)
        yield done + 1
    tokens = tuple(tuple(ids[own].tolist()) for ids, own in zip(units.ids, units.written, strict=True))
    yield TextBound(settings, e, tokens, *(torch.stack(rows) for rows in (read, looked, times)))


def _best_end(flow: TextFlow, units: Units, settings: BoundSettings, generator: torch.Generator) -> float:
    """The e of READ_AT with the lowest bound over a few draws of its own."""
    totals = dict.fromkeys(READ_AT, 0.0)
    for _ in range(PILOT_DRAWS):
        nats, times = _integral(flow, units, min(READ_AT), settings.guidance, generator)
        for e in READ_AT:
            read = _read(flow, units, e, settings.guidance, generator)
            totals[e] += (read + nats * (times >= e)).sum().item()
    return min(totals, key=totals.__getitem__)


def _integral(flow: TextFlow, units: Units, e: float, guidance: float,
              generator: torch.Generator) -> tuple[Tensor, Tensor]:  # fmt: skip
    """An unbiased estimate of the integral for each unit, (units,), and the time at which each was looked at.

    The times of a draw are stratified over the units, each of which has a uniform one.
    """
    strata = torch.randperm(len(units), generator=generator) + torch.rand(len(units), generator=generator)
    t = (e + (1 - e) * strata / len(units)).double()
    errors = []
    for part, times, noise in _parts(units, t, generator):
        z, own_times = _noised(part, times, noise)
        error = flow.velocity(part.block, z, own_times, guidance) - (noise - part.latents)
        errors.append((error.square().sum(-1) * part.written).sum((0, 2)).double().cpu())
    return (1 - e) * (1 - t) / t * torch.cat(errors), t


def _read(flow: TextFlow, units: Units, e: float, guidance: float, generator: torch.Generator) -> Tensor:
    """An unbiased estimate of what the decoder has left to say of each unit, (units,)."""
    found = []
    for part, times, noise in _parts(units, torch.full((len(units),), e), generator):
        z, own_times = _noised(part, times, noise)
        velocity = flow.velocity(part.block, z, own_times, guidance)
        clean = z - own_times[..., None] * velocity
        nats = -flow.log_probs(part.block, clean, part.ids)
        found.append((nats * part.written).sum((0, 2)).double().cpu())
    return torch.cat(found)


def _parts(units: Units, t: Tensor, generator: torch.Generator) -> list[tuple[Units, Tensor, Tensor]]:
    """Units that pass at once, with their times (1, units, 1) and noise (1, units, b, d)."""
    found = []
    for start in range(0, len(units), UNITS):
        rows = slice(start, start + UNITS)
        part = units.part(rows)
        noise = torch.randn(part.latents.shape, generator=generator).to(part.latents)
        found.append((part, t[rows].to(part.latents)[None, :, None], noise[None]))
    return found


def _noised(units: Units, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The state (1, units, b, d) at these times, and the times (1, units, b) of its positions."""
    times = torch.where(units.written, t, torch.where(units.given, 0.0, 1.0))
    share = times[..., None]
    return (1 - share) * units.latents + share * noise, times
