"""What a word could have become: the words that were weighed at the moment at which the word was most open.

A DiT that names tokens is asked itself, at every step of the word; of another one the decoder reads the clean estimate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from coladlm import ColaDLM
from coladlm.latent.branch import History
from coladlm.latent.naming import name_states, names_tokens
from coladlm.latent.point import read_states
from coladlm.trace import NOISE_TIME, Trace

MOST_NOISE = 80.0  # per cent; above it a clean estimate has no shape yet, and the words that are read make no sense
LEAST = 0.01  # of a word that is offered
AMONG = 5  # the first words at a step, among which the one that came of it has to be
WEIGHED = 12  # words that are looked at of a step
MOST_STEPS = 24
WHOLE = 0.3  # a token is a whole word where it is followed by a new one at least as often; torn ones lie below 0.2

WordEnds = Callable[[str, Sequence[str]], list[float]]  # Baseline.word_ends


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read in a state of a token. noise: per cent. first: its likeliest tokens with their probabilities, most
    likely first. chosen: the probability of the token that came of it.
    """

    noise: float
    first: Mapping[int, float]
    chosen: float


@dataclasses.dataclass(frozen=True)
class Open:
    """A word while it was open. noise: per cent. words: probabilities of tokens, most likely first, the one that came
    of it among them.
    """

    noise: float
    words: Mapping[int, float]


def alternatives(
    model: ColaDLM, trace: Trace, sequence: int, place: tuple[int, int], history: History, before: str,
    word_ends: WordEnds, most: int,
) -> Open | None:  # fmt: skip
    """What a token could have become; None where no other word was ever likely.

    place: (block, token). history: what stands before the block, before: the text before the token. most: words.
    """
    block, token = place
    chosen = int(trace.token_ids[sequence, block, token])
    readings = _readings(model, trace, sequence, block, token, history, chosen)
    weighed = sorted({i for reading in readings for i, p in reading.first.items() if p >= LEAST and i != chosen})
    fit = {i for i in weighed if _fits(model.tokenizer.decode([chosen]), model.tokenizer.decode([i]))}
    if not fit:
        return None
    words = {i: model.tokenizer.decode([i]) for i in sorted(fit)}
    spelt = [i for i, word in words.items() if word.strip()[0].isalnum()]  # signs are whole by themselves
    ends = word_ends(before, [words[i] for i in spelt])
    fit -= {i for i, p in zip(spelt, ends, strict=True) if p < WHOLE}
    return most_open(readings, chosen, fit, most)


def most_noise(model: ColaDLM) -> float:
    """Per cent; above it nothing is read."""
    return 100.0 if names_tokens(model) else MOST_NOISE


def most_open(readings: Sequence[Reading], chosen: int, fit: set[int], most: int) -> Open | None:
    """The reading that was least decided between the chosen word and others that fit its place, those of at least 1 %.

    Readings in which the chosen word was not among the first ones are left aside, unless there are no others: then it
    is the last in which another word was likely. None if no other ever was.
    """
    found = []
    for reading in readings:
        others = [(i, p) for i, p in reading.first.items() if i in fit and i != chosen and p >= LEAST]
        if others:
            words = dict(sorted([*others[: most - 1], (chosen, reading.chosen)], key=lambda item: -item[1]))
            among = reading.chosen >= LEAST and chosen in list(reading.first)[:AMONG]
            found.append((among, max(words.values()) / sum(words.values()), Open(reading.noise, words)))
    weighed = [(share, at) for among, share, at in found if among]
    if weighed:
        return min(weighed, key=lambda item: item[0])[1]
    return min((at for _, _, at in found), key=lambda at: at.noise, default=None)


def _readings(
    model: ColaDLM, trace: Trace, s: int, block: int, token: int, history: History, chosen: int
) -> list[Reading]:  # fmt: skip
    """Readings of a token before each recorded step at which it had little enough noise, and of its finished latent."""
    steps, place = np.flatnonzero(trace.recorded[block]), token // model.patch_size
    steps = steps[trace.t[s, block, steps, place] / NOISE_TIME * 100 <= most_noise(model)]
    steps = steps[:: max(1, -(-len(steps) // MOST_STEPS))]
    t, z = trace.t[s, block, steps].astype(np.float32), trace.z[s, block, steps].astype(np.float32)  # (steps, b, ...)
    named = names_tokens(model) and len(steps) > 0
    clean = [] if named else (z - t[..., None] / NOISE_TIME * trace.velocity[s, block, steps]).astype(np.float32)
    read = read_states(model, history, [*clean, trace.latents[s, block]], token)
    if named:
        read = [*name_states(model, history, z, t)[:, token], *read]
    noise = [*(t[:, place] / NOISE_TIME * 100).tolist(), 0.0]
    out = []
    for share, odds in zip(noise, read, strict=True):
        best = odds.topk(min(WEIGHED, len(odds)))
        first = dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        out.append(Reading(share, first, float(odds[chosen])))
    return out


def _fits(chosen: str, other: str) -> bool:
    """Can a token stand in the place of another one? Where that begins a word, only one that does; elsewhere a sign,
    or what joins the word before it only where the other did so too.
    """
    if not other.strip():
        return False
    if chosen.startswith(" ") and chosen[1:2].isalnum():
        return other.startswith(" ") and other[1:2].isalnum()
    return not other[0].isalnum() or chosen[:1].isalnum()
