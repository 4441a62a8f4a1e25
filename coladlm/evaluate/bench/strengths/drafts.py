"""Drafts: how much of a text stands before all steps are done, and what a text costs with fewer steps than words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ....baseline.baseline import Baseline, BaselineSettings
from ....model import ColaDLM
from ....sampling.events import BlockDone, Step
from ....settings import SamplerSettings
from ...measures import distinct_share
from ..cost import count_to_look_at, per_word
from ..intervals import Interval, interval, jackknife_interval, mean_interval, mean_share_interval
from ..measuring import Measuring
from ..results import Cell, Chart, Line, Table
from ..turns import Texts, baseline_writer, in_turn, model_writer
from .passages import Request
from .verdicts import Readers, Verdict, of_perplexities, of_shares

AT_ONCE, OWN, IN_TURN = "all words of a block at once (stagger 0)", "as it ships", "one word after another (stagger 1)"
FEW = (1, 2, 4)  # steps a block; then as it ships
TRANSFORMER = "transformer"
QUARTERS = (0.25, 0.5, 0.75)


def ways(own: SamplerSettings) -> dict[str, SamplerSettings]:
    """The staggers whose drafts are looked at. Texts go on to their length."""
    own = dataclasses.replace(own, stop_at_end=False, whole_sentences=False)
    return {OWN: own, AT_ONCE: dataclasses.replace(own, stagger=0.0), IN_TURN: dataclasses.replace(own, stagger=1.0)}


def standing(model: ColaDLM, prompts: Sequence[str], settings: SamplerSettings, first: int) -> list[list[list[int]]]:
    """For each text and each step: [free tokens of all blocks, those that stood as they came out in the end].

    What stands at a step is what the decoder reads in the clean estimate there, and the final words are the model's.
    """
    counts = np.zeros((len(prompts), settings.steps, 2), np.int64)
    steps: list[Step] = []
    words = []
    for event in model.sample(prompts, settings, sequences=list(range(first, first + len(prompts)))):
        if isinstance(event, Step):
            steps.append(event)
            words.append(event.preview().argmax(-1))
        elif isinstance(event, BlockDone):
            free = (steps[0].start > 0).repeat_interleave(model.patch_size, -1) & event.active[:, None]
            for index, ids in enumerate(words):
                counts[:, index, 0] += free.sum(-1).cpu().numpy()
                counts[:, index, 1] += ((ids == event.token_ids) & free).sum(-1).cpu().numpy()
            steps, words = [], []
    return counts.tolist()


def all_standing(model: ColaDLM, prompts: Sequence[str], request: Request,
                 measuring: Measuring) -> dict[str, np.ndarray]:  # fmt: skip
    """(texts, steps, 2) for each of `ways`."""
    found = {}
    own = dataclasses.replace(model.defaults, max_new_tokens=request.tokens, seed=request.seed)
    for name, settings in ways(own).items():
        rows = []
        for start in range(0, len(prompts), request.batch):
            part = prompts[start : start + request.batch]
            rows += measuring.item(f"standing, {name}, {start}",
                                   lambda p=part, s=settings, n=start: standing(model, p, s, n))  # fmt: skip
            measuring.progress(f"drafts, {name}", len(rows), len(prompts))
        found[name] = np.array(rows, float)
    return found


def shares_after(counts: np.ndarray, step: int) -> np.ndarray:
    """For each text the share of its tokens that stand after so many steps, in per cent."""
    return 100 * counts[:, step - 1, 1] / counts[:, step - 1, 0]


def standing_chart(found: Mapping[str, np.ndarray], block: int, passes: int) -> Chart:
    """What stands by the share of the steps. passes: through the network that the Cola-DLM needs for a block."""
    lines = []
    for name, counts in found.items():
        steps = counts.shape[1]
        y = [interval(counts[:, n], lambda x: 100 * x[..., 1].sum(-1) / x[..., 0].sum(-1)) for n in range(steps)]
        lines.append(Line(f"Cola-DLM, {name}", [100 * (n + 1) / steps for n in range(steps)], y))
    shares = [100 * (n + 1) / block for n in range(block)]
    lines.append(Line(f"{TRANSFORMER}, a word a pass", shares, [Interval(x, x, x, 1) for x in shares]))
    return Chart(
        "How much of the final text stands early",
        f"Share of the tokens of a block of {block} that are the final ones already, after a share of the steps. A "
        "transformer has nothing of a word before its turn, and all of it after. In passes it is the quicker one: one "
        f"for each word, where the Cola-DLM needs {passes} for a block.",
        "steps done, %", "tokens that stand, %", lines,
    )  # fmt: skip


def standing_table(found: Mapping[str, np.ndarray]) -> Table:
    """The same in numbers, after a quarter, a half and three quarters of the steps."""
    rows: list[list[Cell]] = []
    for name, counts in found.items():
        steps = counts.shape[1]
        after = [shares_after(counts, max(1, round(q * steps))).tolist() for q in QUARTERS]
        rows.append([f"Cola-DLM, {name}", *(mean_share_interval(shares, 100.0) for shares in after)])
    rows.append([f"{TRANSFORMER}, a word a pass", *(100 * q for q in QUARTERS)])
    columns = [f"after {100 * q:.0f} % of the steps" for q in QUARTERS]
    return Table("What stands early, % of the tokens", "Mean over texts.", ["who", *columns], rows)


# fewer steps than words


def few_steps(own: SamplerSettings) -> dict[str, SamplerSettings]:
    """The settings whose texts are written: few steps, all at once and staggered, and as it ships. From one noise a
    block, since passes are counted.
    """
    found = {}
    for steps in FEW:
        few = dataclasses.replace(own, steps=steps, noises=1)
        for settings in (dataclasses.replace(few, stagger=0.0), few):
            found[f"{steps} step{'s' * (steps > 1)} a block, stagger {settings.stagger:g}"] = settings
    return {**found, OWN: own}


def texts(model: ColaDLM, baseline: Baseline, prompts: Sequence[str], request: Request,
          measuring: Measuring) -> dict[str, Texts]:  # fmt: skip
    """What was written with each of `few_steps`, and by the transformer at temperature 0.8."""
    own = dataclasses.replace(model.defaults, max_new_tokens=request.tokens, seed=request.seed)
    tried = few_steps(dataclasses.replace(own, stop_at_end=False, whole_sentences=False))
    writers = {name: model_writer(model, settings) for name, settings in tried.items()}
    settings = BaselineSettings(request.tokens, seed=request.seed, stop_at_end=False)
    writers[TRANSFORMER] = baseline_writer(baseline, settings)
    return in_turn(writers, prompts, request.batch, measuring, "texts in few steps")


def draft_table(found: Mapping[str, Texts], prompts: Sequence[str], model: ColaDLM, tokens: int,
                readers: Readers) -> Table:  # fmt: skip
    """A row for each setting and one for the transformer."""
    tried = few_steps(model.defaults)
    limit = count_to_look_at(list(found.values()))
    rows: list[list[Cell]] = []
    for name, written_ in found.items():
        per_step, passes = 1.0, 1.0
        if name in tried:
            per_step = model.block_size * model.patch_size / tried[name].steps
            passes = (1 if tried[name].guidance == 1 else 2) / per_step
        judged = [per_word(reader.log_likelihood(written_.texts, prompts)) for reader in readers.values()]
        distinct = jackknife_interval(written_.texts, lambda t: distinct_share(t, 2, limit) or 0.0, 0.0, 1.0)
        each = mean_interval([1000 * s / tokens for s in written_.seconds])
        rows.append([name, per_step, passes, *judged, distinct, each])
    return Table(
        "Fewer steps than words",
        "A step of the Cola-DLM may settle several words. Guidance doubles its passes; each goes over a whole block. "
        "Perplexity is that of what was written, so less may also be dull: see distinct 2-grams.",
        ["who", "tokens a step", "network passes a token", *(f"perplexity a word, read by {name}" for name in readers),
         "distinct 2-grams", "processor milliseconds a token"], rows,
    )  # fmt: skip


def draft_verdicts(stands: Mapping[str, np.ndarray], found: Mapping[str, Texts], prompts: Sequence[str],
                   readers: Readers) -> list[Verdict]:  # fmt: skip
    """What stands after a quarter of the passes, and texts of two words a step."""
    counts = stands[AT_ONCE]
    quarter = max(1, round(counts.shape[1] / 4))
    after = shares_after(counts, quarter).tolist()
    verdicts = [of_shares("tokens of a block that stand after a quarter of its steps, all at once, %", after,
                          [100 * quarter / counts.shape[1]] * len(after))]  # fmt: skip
    two = next(name for name in found if name.startswith("2 steps"))
    for name, reader in readers.items():
        cola, other = (reader.log_likelihood(found[key].texts, prompts) for key in (two, TRANSFORMER))
        verdicts.append(of_perplexities(f"texts in 2 steps a block, perplexity read by {name}", cola, other))
    return verdicts
