"""Who wins, by paired intervals: both models answer the same items, so that what an item costs both cancels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ....baseline.baseline import Likelihood, perplexity
from ..cost import per_word
from ..findings.points import ALIKE, LOSES, WINS, Outcome
from ..intervals import Interval, interval
from ..measuring import Measuring
from ..results import Cell, Table

COLUMNS = ("question", "the Cola-DLM", "Cola-DLM", "transformer", "difference")


class Reader(Protocol):
    """Says how likely texts are after their prompts: a Baseline or a Judge."""

    def log_likelihood(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> Sequence[Likelihood]: ...


Readers = Mapping[str, Reader]  # by what the tables call them


class Remembered:
    """A reader that reads every text once, since tables and verdicts ask for the same ones, and keeps it in the log."""

    def __init__(self, reader: Reader, name: str, measuring: Measuring) -> None:
        self._reader, self._name, self._measuring = reader, name, measuring
        self._read: dict[tuple[str, str], Likelihood] = {}

    def log_likelihood(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> list[Likelihood]:
        """As the reader itself has it, but for the single tokens: each text is as one."""
        asked = list(zip(prompts or [""] * len(texts), texts, strict=True))
        new = list(dict.fromkeys(pair for pair in asked if pair not in self._read))
        if new:
            digest = hashlib.sha256(json.dumps(new).encode()).hexdigest()[:16]
            found = self._measuring.item(f"read by {self._name}, {digest}", lambda: self._likelihoods(new))
            self._read.update({pair: Likelihood((total,), words) for pair, (total, words)
                               in zip(new, found, strict=True)})  # fmt: skip
            self._measuring.progress(f"texts read by {self._name}", len(self._read), len(self._read))
        return [self._read[pair] for pair in asked]

    def _likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        found = self._reader.log_likelihood([text for _, text in pairs], [prompt for prompt, _ in pairs])
        return [[x.total, x.words] for x in found]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A question, both figures, and how far apart they are over the same items. verdict: of the Cola-DLM."""

    question: str
    cola: Interval
    other: Interval
    difference: Interval
    verdict: Outcome


def of_shares(question: str, cola: Sequence[float], other: Sequence[float]) -> Verdict:
    """Of what should be much, in per cent of each item; the difference in points."""
    pairs = np.array([cola, other], float).T
    first, second = (interval(pairs[:, [i]], lambda drawn: drawn[..., 0].mean(-1)) for i in (0, 1))
    difference = interval(pairs, lambda drawn: (drawn[..., 0] - drawn[..., 1]).mean(-1))
    return Verdict(question, first, second, difference, _verdict(difference, 0.0))


def of_perplexities(question: str, cola: Sequence[Any], other: Sequence[Any]) -> Verdict:
    """Of likelihoods of texts on the same items, perplexity a word. The difference is a ratio, less than 1 better."""
    items = np.array([(-a.total, max(1, a.words), -b.total, max(1, b.words))
                      for a, b in zip(cola, other, strict=True)])  # fmt: skip
    found = interval(items, lambda x: x[..., 0].sum(-1) / x[..., 1].sum(-1) - x[..., 2].sum(-1) / x[..., 3].sum(-1))
    ratio = Interval(perplexity(found.value), perplexity(found.low), perplexity(found.high), found.count)
    turned = Interval(-found.value, -found.high, -found.low, found.count)
    return Verdict(question, per_word(cola), per_word(other), ratio, _verdict(turned, 0.0))


def _verdict(gain: Interval, even: float) -> Outcome:
    return WINS if gain.low > even else LOSES if gain.high < even else ALIKE


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """A row for each question."""
    rows: list[list[Cell]] = [[v.question, v.verdict, v.cola, v.other, v.difference] for v in verdicts]
    return Table(
        "Who wins",
        "Both on the same items. The difference is one of points where the question is a share, and a ratio where it "
        "is a perplexity; a side wins where the 95 % interval of the difference leaves out 0 points, or a ratio of 1.",
        COLUMNS,
        rows,
    )
