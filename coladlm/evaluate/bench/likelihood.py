"""The part `likelihood` of the bench: bounds on held-out stories beside a transformer's exact value, and BrierLM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...baseline.baseline import Baseline, BaselineSettings, perplexity
from ...model import ColaDLM
from ...sampling.events import Finished
from ...settings import SamplerSettings
from ..brier import ORDERS, brier_lm, brier_means, brier_scores
from ..stories import EvaluationError
from ..text_likelihood import BoundSettings, text_bound
from .intervals import Interval, interval, ratio_interval
from .measuring import Measuring
from .results import Cell, Chart, Line, Table

TRANSFORMER = "transformer, exact"
LONGEST_CONTEXT = 128  # tokens before the place that BrierLM looks at
FEWEST = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """stories: held-out ones that are bounded. draws, seed: see BoundSettings; seed also of BrierLM's places and
    samples. contexts: places in stories for BrierLM, samples: after each. guidances: besides 1. batch: of samples.
    """

    COUNTS: ClassVar[tuple[str, ...]] = ("stories", "contexts")  # a longer run takes over the items of a shorter one

    stories: int = 24
    draws: int = 4
    contexts: int = 256
    samples: int = 4
    guidances: tuple[float, ...] = (1.5, 4.0)
    seed: int = 0
    batch: int = 32

    def __post_init__(self) -> None:
        for name, least in (("stories", 2), ("draws", 2), ("contexts", 2), ("samples", 2), ("batch", 1)):
            if getattr(self, name) < least:
                raise EvaluationError(f"{name} is {getattr(self, name)}, expected {least} or more")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What was found of the stories in one way of writing them; a list has an entry for each story.

    decoder, error: nats of the decoder, the standard error of `nats`. levels: [from, to, nats] by noise. places: nats
    and number of tokens by place in the block.
    """

    nats: list[float]
    tokens: list[int]
    decoder: list[float]
    error: list[float]
    levels: list[list[list[float]]]
    places: list[list[list[float]]]


def chosen_stories(model: ColaDLM, baseline: Baseline, stories: Sequence[str], count: int) -> list[str]:
    """The first stories that both models can read whole. Raises EvaluationError."""
    longest = min(model.max_tokens, baseline.network.config.max_tokens) - 1
    found = []
    for story in stories:
        text = story.strip()
        if text and max(len(model.tokenize(text)), len(baseline.tokenize(text))) <= longest:
            found.append(text)
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories have at most {longest} tokens, expected {count}")


def bounds(model: ColaDLM, stories: Sequence[str], settings: BoundSettings, measuring: Measuring) -> Bounds:
    """Bounds every story with its end token. The share of noise at which the decoder reads is chosen on the first."""
    name = f"{settings.order}, guidance {settings.guidance:g}"
    found = []
    for number, story in enumerate(stories):
        first = found[0]["read_at"] if found else None
        own = dataclasses.replace(settings, read_at=first, seed=settings.seed + number)
        found.append(measuring.item(f"bound, {name}, {number}", lambda s=story, o=own: _bound(model, s, o)))
        measuring.progress(f"bounds, {name}", number + 1, len(stories))
    names = [field.name for field in dataclasses.fields(Bounds)]
    return Bounds(**{name: [item[name] for item in found] for name in names})


def _bound(model: ColaDLM, story: str, settings: BoundSettings) -> dict[str, Any]:
    bound = text_bound(model, story, settings=settings, ended=True)
    places = [[0.0, 0] for _ in range(model.block_size)]
    start = 0
    for unit, nats in zip(bound.units, bound.unit_nats.tolist(), strict=True):
        place = places[start % model.block_size]
        place[0], place[1] = place[0] + nats, place[1] + len(unit)
        start += len(unit)
    return {
        "read_at": bound.read_at,
        "nats": bound.nats,
        "tokens": bound.tokens,
        "decoder": bound.read.sum(1).mean().item(),
        "error": bound.standard_error,
        "levels": [list(level) for level in bound.levels()],
        "places": places,
    }


def exact(baseline: Baseline, stories: Sequence[str], block_size: int) -> tuple[list[float], list[int], list[Any]]:
    """Nats and tokens of every story under the transformer, and both by place in a block, were it written in blocks."""
    found = baseline.log_likelihood(stories, ended=True)
    places = [[[-sum(x.log_probs[p::block_size]), len(x.log_probs[p::block_size])] for p in range(block_size)]
              for x in found]  # fmt: skip
    return [-x.total for x in found], [len(x.log_probs) for x in found], places


def likelihood_table(ways: Mapping[str, Bounds], found: tuple[list[float], list[int], list[Any]],
                     words: Sequence[int]) -> Table:  # fmt: skip
    """A row for the transformer and for each way of writing with the Cola-DLM."""

    def row(name: str, nats: list[float], tokens: list[int], *more: Cell) -> list[Cell]:
        token, word = ratio_interval(nats, tokens), ratio_interval(nats, words)
        each = Interval(perplexity(word.value), perplexity(word.low), perplexity(word.high), word.count)
        return [name, token, each, *more]

    rows = [row(TRANSFORMER, *found[:2], None, None)]
    for name, b in ways.items():
        error = float(np.sqrt(np.square(b.error).sum()) / sum(b.tokens))
        rows.append(row(name, b.nats, b.tokens, sum(b.decoder) / sum(b.tokens), error))
    return Table(
        "How likely held-out stories are",
        "Nats a token, end tokens included: for the transformer the exact value, for the Cola-DLM an upper bound, so "
        "its true value is at most this. Intervals are over stories; the error of the draws is the bound's own.",
        ["who", "nats a token", "perplexity a word", "of which decoder", "standard error of the draws"],
        rows,
    )


def level_chart(ways: Mapping[str, Bounds]) -> Chart:
    """Where on the way from noise to words the nats are spent."""
    lines = []
    for name, b in ways.items():
        count = len(b.levels[0])
        middle = [100 * (b.levels[0][i][0] + b.levels[0][i][1]) / 2 for i in range(count)]
        y = [ratio_interval([story[i][2] / (story[i][1] - story[i][0]) / 10 for story in b.levels], b.tokens)
             for i in range(count)]  # fmt: skip
        lines.append(Line(name, middle, y))
    return Chart(
        "The bound by noise level",
        "What the flow pays at each level of noise, in nats a token for each tenth of the way. Near 100 % noise "
        "nothing is decided yet; the words are decided in the middle.",
        "noise, %", "nats a token for a tenth of the way", lines,
    )  # fmt: skip


def place_chart(ways: Mapping[str, Bounds], places: list[Any]) -> Chart:
    """Nats of a token by its place in the block."""
    lines = []
    for name, rows in {**{name: b.places for name, b in ways.items()}, TRANSFORMER: places}.items():
        kept = [p for p in range(len(rows[0])) if all(row[p][1] for row in rows)]
        y = [ratio_interval([row[p][0] for row in rows], [row[p][1] for row in rows]) for p in kept]
        lines.append(Line(name, [p + 1 for p in kept], y))
    return Chart("The bound by place in the block", "Nats of a token by its place in its block of tokens.",
                 "place in the block", "nats a token", lines)  # fmt: skip


# BrierLM


@dataclasses.dataclass(frozen=True)
class Place:
    """A place in a story: the text before it, and the token ids after it."""

    context: str
    truth: list[int]


def places(model: ColaDLM, baseline: Baseline, stories: Sequence[str], count: int, seed: int) -> list[Place]:
    """Places in stories that only the seed decides, one a story at most and in any place of a block.

    Both models read the context as the same tokens as the story has there, and the tokens after it as the same ids.
    Raises EvaluationError where too few are left.
    """
    random, found = np.random.default_rng(seed), []
    for index in random.permutation(len(stories)):
        ids = model.tokenize(stories[index].strip())
        last = min(LONGEST_CONTEXT, len(ids) - ORDERS, baseline.network.config.max_tokens - ORDERS)
        if last < FEWEST:
            continue
        cut = int(random.integers(FEWEST, last + 1))
        context = model.tokenizer.decode(ids[:cut], skip_special_tokens=False)
        if model.tokenize(context) == ids[:cut] == baseline.tokenize(context):
            found.append(Place(context, ids[cut : cut + ORDERS]))
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories have a place for BrierLM, expected {count}")


Sampler = Callable[[Sequence[str], list[int]], list[list[int]]]  # contexts and keys of randomness -> token ids


def model_sampler(model: ColaDLM, settings: SamplerSettings) -> Sampler:
    """Samples of four tokens by the Cola-DLM, all of them, however a sentence goes on."""
    own = dataclasses.replace(settings, max_new_tokens=ORDERS, whole_sentences=False)
    return lambda contexts, keys: _ids(model.sample(contexts, own, sequences=keys))


def baseline_sampler(baseline: Baseline, settings: BaselineSettings) -> Sampler:
    """Samples of four tokens by the transformer."""
    own = dataclasses.replace(settings, max_new_tokens=ORDERS)
    return lambda contexts, keys: _ids(baseline.sample(contexts, own, keys))


def _ids(events: Any) -> list[list[int]]:
    return next(event.token_ids for event in events if isinstance(event, Finished))


def brier_of(name: str, sampler: Sampler, found: Sequence[Place], request: Request,
             measuring: Measuring) -> np.ndarray:  # fmt: skip
    """(contexts, 4) estimates of Brier-1 to Brier-4."""
    each, scores = max(1, request.batch // request.samples), []
    for start in range(0, len(found), each):
        part = found[start : start + each]

        def measure(part: Sequence[Place] = part, start: int = start) -> list[list[float]]:
            contexts = [place.context for place in part for _ in range(request.samples)]
            first = start * request.samples
            ids = sampler(contexts, list(range(first, first + len(contexts))))
            groups = [ids[i : i + request.samples] for i in range(0, len(ids), request.samples)]
            return [brier_scores(group, place.truth) for group, place in zip(groups, part, strict=True)]

        scores += measuring.item(f"brier, {name}, {start}", measure)
        measuring.progress(f"BrierLM, {name}", len(scores), len(found))
    return np.array(scores)


def brier_table(scores: Mapping[str, np.ndarray]) -> Table:
    """BrierLM and its four parts for each way of sampling."""
    rows: list[list[Cell]] = []
    for name, values in scores.items():
        each = [interval(values[:, [n]], lambda drawn: 100 * brier_means(drawn)[..., 0]) for n in range(ORDERS)]
        together = interval(values, brier_lm)
        rows.append([name, together if together.low < together.high else together.value, *each])
    return Table(
        "BrierLM, from samples alone",
        "How well the next four tokens of held-out stories are forecast, out of 100: the geometric mean of the Brier "
        "scores of the next 1, 2, 3 and 4 tokens, from independent samples after each context. More is better; both "
        "certainty and variety in the wrong place cost. Where one of the four is not above 0 the mean is 0; where it "
        "is 0 in nearly every resample of the contexts, too, no interval can be given.",
        ["samples of", "BrierLM", *(f"Brier-{n + 1}" for n in range(ORDERS))],
        rows,
    )
