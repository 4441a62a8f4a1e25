"""A log-probability for each token of a text, as programs expect that were made for autoregressive models.

A diffusion model has none. What stands here is minus the bound of `text_likelihood` for each token after those before
it: at most the log-probability, up to the error of the draws, under the model that writes one token at a time. Sums
over any run of tokens bound that run after what stands before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..model import ColaDLM
from .stories import EvaluationError
from .text_flow import TextFlow, Units, units_of
from .text_likelihood import BoundSettings, TextBound, bound_steps, text_bound_steps

SCORING = BoundSettings(order="tokens", draws=16, read_at=0.3)  # one e for all texts, so that choices compare
GUESSES = 4  # noises from which the rival of a token is read
CHUNK = 64  # units whose logits are held at once


@dataclasses.dataclass(frozen=True)
class TokenScores:
    """log_probs: of each of `ids`, as the module says. rivals: at each place another token, the likeliest that the
    model guesses there in a single step from noise, with its value by the same draws. standard_error: of the sum.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    rivals: tuple[tuple[int, float], ...]
    standard_error: float

    @property
    def total(self) -> float:
        return sum(self.log_probs)

    @property
    def greedy(self) -> bool:
        """Has no token a likelier rival?"""
        return all(own >= rival for own, (_, rival) in zip(self.log_probs, self.rivals, strict=True))


def token_scores(model: ColaDLM, ids: Sequence[int], context: Sequence[int] = (),
                 settings: BoundSettings = SCORING) -> TokenScores:  # fmt: skip
    """The scores of tokens after others. Raises EvaluationError as `text_bound_steps`."""
    for step in token_score_steps(model, ids, context, settings):
        if isinstance(step, TokenScores):
            return step
    raise RuntimeError("the steps of the scores ended without them")


@torch.inference_mode()
def token_score_steps(model: ColaDLM, ids: Sequence[int], context: Sequence[int] = (),
                      settings: BoundSettings = SCORING) -> Iterator[int | TokenScores]:  # fmt: skip
    """`token_scores` in steps, so that others may come between: a number after each, then the scores."""
    if settings.order != "tokens":
        raise EvaluationError(f"order is {settings.order!r}, expected tokens for a score of each")
    own: TextBound | None = None
    for step in text_bound_steps(model, ids, context, settings):
        if isinstance(step, TextBound):
            own = step
        else:
            yield step
    assert own is not None  # the last step
    flow, units = units_of(model, list(context), list(ids), settings.order)
    rivals = _rivals(flow, units, settings.seed)
    yield settings.draws
    for step in bound_steps(flow, _replaced(flow, units, rivals), dataclasses.replace(settings, read_at=own.read_at)):
        if isinstance(step, TextBound):
            values = [-nats for nats in step.unit_nats.tolist()]
            yield TokenScores(tuple(ids), tuple(-nats for nats in own.unit_nats.tolist()),
                              tuple(zip(rivals.tolist(), values, strict=True)), own.standard_error)  # fmt: skip
        else:
            yield settings.draws + step


def _rivals(flow: TextFlow, units: Units, seed: int) -> Tensor:
    """(units,) ids: the likeliest token that is not the text's, read from the clean estimate of noise alone."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for start in range(0, len(units), CHUNK):
        part = units.part(slice(start, start + CHUNK))
        total = torch.zeros((), device=part.latents.device)
        for _ in range(GUESSES):
            noise = torch.randn(part.latents.shape, generator=generator).to(part.latents)
            z = torch.where(part.given[..., None], part.latents, noise)[None]
            times = torch.where(part.given, 0.0, 1.0)[None].to(z)
            clean = z - times[..., None] * flow.velocity(part.block, z, times)
            hidden = flow.decoded(part.block, clean)[0, part.written.flatten()]
            total = total + flow.vae.decoder.logits(hidden[None])[0].float().log_softmax(-1)
        found.append(total.scatter(1, part.ids[part.written][:, None], -torch.inf).argmax(-1))
    return torch.cat(found)


def _replaced(flow: TextFlow, units: Units, tokens: Tensor) -> Units:
    """The units with other tokens (units,) in the place of their own."""
    ids = torch.where(units.written, tokens[:, None], units.ids)
    pad = torch.full((), flow.model.pad_id, device=ids.device)
    latents = flow.encoded(units.block, torch.where(units.given | units.written, ids, pad))
    return dataclasses.replace(units, ids=ids, latents=torch.where(units.given[..., None], units.latents, latents))
