"""The part `cost` of the bench: what each setting of the sampler costs and what it gives, a transformer among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...baseline.baseline import Baseline, perplexity
from ...model import ColaDLM
from ...sampling.events import BlockDone, Step
from ...sampling.settling import Settling
from ...settings import SamplerSettings
from ..judge import Judge
from ..measures import count_ngrams, distinct_share, repeated_share
from ..stories import EvaluationError, Excerpt
from .intervals import (
    Interval,
    exact_at_the_ends,
    interval,
    jackknife_interval,
    mean_interval,
    mean_share_interval,
    ratio_interval,
    share_interval,
)
from .results import Cell, Chart, Line, Table
from .turns import Texts

# setting: its values, one varied at a time over the model's own
VARIED: dict[str, tuple[Any, ...]] = {
    "steps": (4, 8, 16, 32),
    "guidance": (1.0, 2.0, 4.0, 7.0),
    "stagger": (0.0, 0.5, 1.0),
    "stochasticity": (0.0, 0.5, 1.0),
    "stop_when_settled": (0, 1, 2, 3, 4),
}
TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0)
PATIENCES = (1, 2, 3, 4)
OWN = "as it ships"


@dataclasses.dataclass(frozen=True)
class Request:
    """prompts: first sentences of held-out stories. max_new_tokens: after each. batch: texts at once. alone: prompts
    that are gone on with one by one, for what `stop_when_settled` saves there. Of fewer than six batches, or texts
    alone, no two times are told apart (see `findings/cost.py`).
    """

    prompts: int = 32
    max_new_tokens: int = 32
    batch: int = 4
    alone: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("prompts", 2), ("max_new_tokens", 4), ("batch", 1), ("alone", 1)):
            if getattr(self, name) < least:
                raise EvaluationError(f"{name} is {getattr(self, name)}, expected {least} or more")


def varied(block_sizes: Sequence[int] = ()) -> dict[str, tuple[Any, ...]]:
    """The settings that vary, with their values. block_sizes: those of blocks, which vary where there are any."""
    return {**VARIED, "block_size": tuple(block_sizes)} if block_sizes else VARIED


def settings_to_try(own: SamplerSettings, block_sizes: Sequence[int] = ()) -> dict[str, SamplerSettings]:
    """The model's own settings, and each with one other value, by a name to show (see `varied`)."""
    found = {OWN: own}
    for name, values in varied(block_sizes).items():
        for value in values:
            if value != getattr(own, name):
                found[f"{name.replace('_', ' ')} {value:g}"] = dataclasses.replace(own, **{name: value})
    return found


@dataclasses.dataclass(frozen=True)
class Figures:
    """What the texts of one setting are worth. times: its seconds over those of the model as it ships, of the same
    batches; None for that one. judged: under a judge, None without one.
    """

    seconds: Interval | None
    times: Interval | None
    fluency: Interval
    judged: Interval | None
    distinct: Interval
    repeated: Interval


def figures(found: Texts, own: Texts, prompts: Sequence[str], reader: Baseline, judge: Judge | None,
            limit: int) -> Figures:  # fmt: skip
    """own: what the model wrote as it ships. limit: how many 2-grams are looked at, the same for every setting."""
    distinct = jackknife_interval(found.texts, lambda texts: distinct_share(texts, 2, limit) or 0.0, 0.0, 1.0)
    repeated = mean_share_interval([repeated_share([text], 4) or 0.0 for text in found.texts])
    return Figures(
        mean_interval(found.seconds) if found.seconds else None,
        ratio_interval(found.seconds, own.seconds) if found.seconds and found is not own else None,
        per_word(reader.log_likelihood(found.texts, prompts)),
        None if judge is None else per_word(judge.log_likelihood(found.texts, prompts)),
        distinct,
        repeated,
    )


def per_word(likelihoods: Sequence[Any]) -> Interval:
    """Perplexity per word of texts together."""
    items = np.array([(-x.total, max(1, x.words)) for x in likelihoods])
    found = interval(items, lambda drawn: drawn[..., 0].sum(-1) / drawn[..., 1].sum(-1))
    return Interval(perplexity(found.value), perplexity(found.low), perplexity(found.high), found.count)


def count_to_look_at(every: Sequence[Texts]) -> int:
    """As many 2-grams as the shortest set of texts has, but for one text of each."""
    return max(1, min(count_ngrams(found.texts[1:], 2) for found in every))


def cost_table(found: Mapping[str, Figures], judged: bool) -> Table:
    """A row for every setting, the real text and the transformer's temperatures."""
    columns = ["setting", "processor seconds a text", "times that as it ships",
               "perplexity a word, read by the transformer"]  # fmt: skip
    columns += ["perplexity a word, read by the judge"] if judged else []
    columns += ["distinct 2-grams", "repeated 4-grams"]
    rows: list[list[Cell]] = []
    for name, f in found.items():
        judgement = [f.judged] if judged else []
        rows.append([name, f.seconds, f.times, f.fluency, *judgement, f.distinct, f.repeated])
    return Table(
        "What settings cost and give",
        "One setting changed at a time. Fluency is how little the texts surprise a reader (less is better, until it is "
        "below that of real text: then they say the obvious). " + _readers(judged) + " Distinct 2-grams: more is "
        "more varied. Seconds are those of the processor, which vary with what else the machine does: every batch was "
        "written with all settings in turn, and the times of one batch are compared.",
        columns, rows,
    )  # fmt: skip


def _readers(judged: bool) -> str:
    bias = "the transformer that writes here, which finds its own texts the least surprising"
    return f"Two read: {bias}, and the judge, a model apart." if judged else f"The reader is {bias}."


def curves(found: Mapping[str, Figures], own: SamplerSettings, judged: bool,
           block_sizes: Sequence[int] = ()) -> list[Chart]:  # fmt: skip
    """Fluency over seconds, and fluency over diversity, a line for each setting that varies. See `varied`."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, values in varied(block_sizes).items():
        word = name.replace("_", " ")
        for value in values:
            key = OWN if value == getattr(own, name) else f"{word} {value:g}"
            groups.setdefault(word, []).append((key, f"{value:g}"))
    groups["transformer, temperature"] = [(f"transformer, temperature {t:g}", f"{t:g}") for t in TEMPERATURES]

    def of(f: Figures) -> Interval:
        return f.judged if judged and f.judged is not None else f.fluency

    who = "the judge" if judged else "the transformer"
    charts = []
    for x_of, title, x in (
        (lambda f: f.seconds.value if f.seconds else 0.0, "Fluency and cost", "processor seconds a text"),
        (lambda f: f.distinct.value, "Fluency and variety", "distinct 2-grams"),
    ):
        lines = [Line(word, [x_of(found[key]) for key, _ in keys], [of(found[key]) for key, _ in keys],
                      labels=[label for _, label in keys]) for word, keys in groups.items()]  # fmt: skip
        charts.append(Chart(title, "Every line varies one setting, whose values stand at the points. Down is more "
                            "fluent.", x, f"perplexity a word, read by {who}", lines, ["y"]))  # fmt: skip
    return charts


# stop_when_settled


def settled_blocks(model: ColaDLM, prompts: Sequence[str], settings: SamplerSettings, batch: int) -> list[list[Any]]:
    """For each text and each of PATIENCES: [blocks, steps, tokens, tokens that would change].

    Every step is taken; where each block would have been ended is seen from its words at each step, so that an early
    change does not hide what comes after it.
    """
    settings = dataclasses.replace(settings, stop_when_settled=0)
    counts = np.zeros((len(prompts), len(PATIENCES), 4), np.int64)
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        steps: list[Step] = []
        words: list[Any] = []
        for event in model.sample(part, settings, sequences=list(range(start, start + len(part)))):
            if isinstance(event, Step):
                steps.append(event)
                words.append(event.preview().argmax(-1))
            elif isinstance(event, BlockDone):
                counts[start : start + len(part)] += _count(steps, words, event)
                steps, words = [], []
    return counts.tolist()


def _count(steps: Sequence[Step], words: Sequence[Any], done: BlockDone) -> np.ndarray:
    free = steps[0].start > 0
    counts = np.zeros((len(free), len(PATIENCES), 4), np.int64)
    for column, patience in enumerate(PATIENCES):
        settling = Settling(patience, free)
        ended = [(len(steps), words[-1][row]) for row in range(len(free))]
        for index, (step, ids) in enumerate(zip(steps, words, strict=True)):
            if bool(((step.t == step.start) & free).any()):  # a position waits
                continue
            before = settling.done
            settling.look(ids, step.active)
            for row in (settling.done & ~before).nonzero()[:, 0].tolist():
                ended[row] = (index + 1, ids[row])
        for row, (taken, ids) in enumerate(ended):
            if done.active[row]:  # a text that has ended is not looked at
                own = free[row].repeat_interleave(len(ids) // free.shape[1])
                counts[row, column] = 1, taken, own.sum(), ((ids != words[-1][row]) & own).sum()
    return counts


def settled_table(counts: Sequence[Any], steps: int, online: Mapping[int, Texts], alone: Mapping[int, Texts],
                  batch: int) -> Table:  # fmt: skip
    """A row for each patience. online: texts in batches of `batch`, alone: some of them one by one, both from 0 on."""
    each = np.array(counts, float)  # (texts, patiences, 4)

    def cost(patience: int) -> list[Cell]:
        """Steps, and seconds at once and alone, each with what they are of those of all steps."""
        base = not patience
        times = [None if base else ratio_interval(way[patience].seconds, way[0].seconds) for way in (online, alone)]
        seconds = [mean_interval(way[patience].seconds) for way in (online, alone)]
        return [online[patience].steps_a_block, *(cell for pair in zip(seconds, times, strict=True) for cell in pair)]

    rows: list[list[Cell]] = [[0, None, None, None, *cost(0)]]
    for column, patience in enumerate(PATIENCES):
        items = each[:, column]
        saved = interval(items, lambda x: 100 * (1 - x[..., 1].sum(-1) / x[..., 0].sum(-1) / steps))
        changed = interval(items, lambda x: 100 * x[..., 3].sum(-1) / x[..., 2].sum(-1))
        pairs = zip(online[0].token_ids, online[patience].token_ids, strict=True)
        saved, changed = (exact_at_the_ends(share, 100.0) for share in (saved, changed))
        rows.append([patience, saved, changed, share_interval([a == b for a, b in pairs], 100.0), *cost(patience)])
    at_once = f"{batch} at once"
    return Table(
        "Ending a block when its words have settled",
        f"A block has {steps} steps and is ended when its words have not changed for k of them; 0 takes all. Tokens "
        "changed: of a block after the same text. Texts unchanged: whole, where one changed token changes all that "
        "follows. A batch goes on until its last text has settled, so it saves less than a text alone. Each batch, and "
        "each text alone, was written with every k in turn, and the times of the same texts are compared.",
        ["k", "steps saved, alone, %", "tokens changed, %", "texts unchanged, %", f"steps a block, {at_once}",
         f"seconds a text, {at_once}", f"times those of k = 0, {at_once}", "seconds a text, alone",
         "times those of k = 0, alone"],
        rows,
    )  # fmt: skip


def real_texts(excerpts: Sequence[Excerpt]) -> Texts:
    """Held-out text as if it had been written, at no cost."""
    return Texts([e.text for e in excerpts], [[] for _ in excerpts], [])
