"""Texts that models write, and their measures next to those of real text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..baseline.baseline import (
    MOST_NATS,
    Baseline,
    BaselineSettings,
    Chosen,
    Likelihood,
    perplexities,
)
from ..model import ColaDLM
from ..sampling.events import BlockDone, Finished
from ..settings import SamplerSettings
from .judge import Judge
from .measures import NgramSet, complete_share, count_ngrams, distinct_share, repeated_share
from .stories import Excerpt

Progress = Callable[[int, int], None]
RESAMPLES = 1000
WORD = re.compile(r"\S+")


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written after a prompt. ended: an end token came within the requested length."""

    prompt: str
    text: str
    ended: bool
    tokens: int


def written_by_model(model: ColaDLM, prompts: Sequence[str], settings: SamplerSettings, batch: int = 16,
                     progress: Progress = lambda done, total: None) -> list[Written]:  # fmt: skip
    """One answer to each prompt, in batches; a sample's key of randomness is its number.

    All of it is measured, the sentence in whose middle the length is reached, too.
    """
    settings = dataclasses.replace(settings, whole_sentences=False)

    def run(part: Sequence[str], keys: list[int]) -> Iterable[float | Finished]:
        per_block = model.in_blocks_of(settings).block_size * model.patch_size
        blocks = 1 + -(-settings.max_new_tokens // per_block)  # with a prompt's left-over
        for event in model.sample(part, settings, sequences=keys):
            if isinstance(event, BlockDone):
                yield (event.block + 1) / blocks
            elif isinstance(event, Finished):
                yield event

    return _written(run, prompts, batch, progress)


def written_by_baseline(baseline: Baseline, prompts: Sequence[str], settings: BaselineSettings, batch: int = 32,
                        progress: Progress = lambda done, total: None) -> list[Written]:  # fmt: skip
    """The same by the baseline."""

    def run(part: Sequence[str], keys: list[int]) -> Iterable[float | Finished]:
        for event in baseline.sample(part, settings, keys):
            yield (event.index + 1) / settings.max_new_tokens if isinstance(event, Chosen) else event

    return _written(run, prompts, batch, progress)


def _written(
    run: Callable[[Sequence[str], list[int]], Iterable[float | Finished]],
    prompts: Sequence[str],
    batch: int,
    progress: Progress,
) -> list[Written]:
    found: list[Written] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        for event in run(part, list(range(start, start + len(part)))):
            if isinstance(event, Finished):
                rows = zip(part, event.texts, event.reasons, event.token_ids, strict=True)
                found += [Written(prompt, text, reason == "end", len(ids)) for prompt, text, reason, ids in rows]
                progress(len(found), len(prompts))
            else:
                progress(start + int(event * len(part)), len(prompts))
    return found


def written_in_excerpts(excerpts: Sequence[Excerpt], baseline: Baseline) -> list[Written]:
    """Held-out text as if it had been written after its prompts."""
    return [Written(e.prompt, e.text, e.ended, len(baseline.tokenize(e.text))) for e in excerpts]


def cut_to_words(written: Sequence[Written], words: int) -> list[Written]:
    """The first `words` words of each text; what is longer has not come to its end."""
    found = []
    for w in written:
        ends = [match.end() for match in WORD.finditer(w.text)]
        found.append(w if len(ends) <= words else dataclasses.replace(w, text=w.text[: ends[words - 1]], ended=False))
    return found


# measures


def compare(sources: Mapping[str, Sequence[Written]], baseline: Baseline, training: NgramSet | None,
            seed: int = 0, judge: Judge | None = None) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The measures of every source of texts side by side.

    Distinct 2-grams are counted over equally many of each source, as many as the shortest has. training: the 8-grams
    of the training text; without them copying is not measured.
    """
    limit = min(count_ngrams([w.text for w in written], 2) for written in sources.values())
    return {name: measured(written, baseline, training, limit, seed, judge) for name, written in sources.items()}


def measured(written: Sequence[Written], baseline: Baseline, training: NgramSet | None = None,
             limit: int | None = None, seed: int = 0, judge: Judge | None = None) -> dict[str, Any]:  # fmt: skip
    """The measures of one source of texts; prompts are read and not counted.

    perplexity_*: under the baseline, of all texts together; per_word_interval: 95 % by resampling texts. judged_*: the
    same under a judge, where there is one. distinct_2,
    repeated_4, copied_8, complete: see measures.py, distinct_2 over the first `limit` 2-grams. words, tokens: the mean
    length. ends: share of texts with an end token.
    """
    texts = [w.text for w in written]
    likelihoods = _likelihoods(written, baseline)
    perplexity = perplexities(likelihoods)
    return {
        "texts": len(texts),
        "perplexity_per_token": perplexity["per_token"],
        "perplexity_per_word": perplexity["per_word"],
        "per_word_interval": _interval(likelihoods, seed),
        "distinct_2": distinct_share(texts, 2, limit),
        "distinct_2_of": min(limit or count_ngrams(texts, 2), count_ngrams(texts, 2)),
        "repeated_4": repeated_share(texts, 4),
        "copied_8": None if training is None else training.copied_share(texts),
        "words": sum(likelihood.words for likelihood in likelihoods) / len(texts),
        "tokens": sum(w.tokens for w in written) / len(texts),
        "ends": sum(w.ended for w in written) / len(texts),
        "complete": complete_share(texts),
        **({} if judge is None else judged(written, judge, seed)),
    }


def judged(written: Sequence[Written], judge: Judge, seed: int = 0) -> dict[str, Any]:
    """Perplexity per word under the judge of all texts together, and 95 % of resamplings of the texts."""
    likelihoods = judge.log_likelihood([w.text for w in written], [w.prompt for w in written])
    return {
        "judged_per_word": perplexities(likelihoods)["per_word"],
        "judged_per_word_interval": _interval(likelihoods, seed),
    }


def _likelihoods(written: Sequence[Written], baseline: Baseline) -> list[Likelihood]:
    texts = []
    for w in written:  # a text's tokens by the book can be more than those it was written with
        most = baseline.network.config.max_tokens - len(baseline.tokenize(w.prompt))
        ids = baseline.tokenize(w.text)
        texts.append(w.text if len(ids) <= most else baseline.read(ids[: most - 1]))
    return baseline.log_likelihood(texts, [w.prompt for w in written])


def _interval(likelihoods: Sequence[Likelihood], seed: int) -> list[float]:
    """Between which perplexities per word the middle 95 % of resamplings of the texts lie."""
    totals, words = (np.array([getattr(x, name) for x in likelihoods], float) for name in ("total", "words"))
    rows = np.random.default_rng(seed).integers(0, len(totals), (RESAMPLES, len(totals)))
    nats = -totals[rows].sum(1) / np.maximum(1, words[rows].sum(1))
    values = np.exp(np.minimum(nats, MOST_NATS))
    return [float(v) for v in np.quantile(values, (0.025, 0.975))]


def as_rows(written: Sequence[Written]) -> list[dict[str, Any]]:
    """The texts as plain data, each with the key of its randomness."""
    return [{"sequence": key, **dataclasses.asdict(w)} for key, w in enumerate(written)]


def table(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a table: a row for each measure, a column for each source."""
    names = ("perplexity_per_word", "perplexity_per_token", "judged_per_word", "distinct_2", "repeated_4", "copied_8",
             "words", "ends", "complete")  # fmt: skip
    shares = {"distinct_2", "repeated_4", "copied_8", "ends", "complete"}

    def cell(name: str, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.3f}" if name in shares else f"{value:.1f}"

    lines = ["  ".join([f"{'':22}", *(f"{source:>10}" for source in measures)])]
    names = [name for name in names if all(name in values for values in measures.values())]
    compared = {"model", "real"} <= measures.keys()
    if compared:
        lines[0] += f"  {'model/real':>10}"
    for name in names:
        cells = [f"{cell(name, values[name]):>10}" for values in measures.values()]
        if compared:
            mine, real = measures["model"][name], measures["real"][name]
            cells.append(f"{mine / real:>10.2f}" if mine is not None and real else f"{'-':>10}")
        lines.append("  ".join([f"{name.replace('_', ' '):22}", *cells]))
    return lines
