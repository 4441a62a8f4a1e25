"""The quality of the texts of a sweep over its first setting, with the interval in which it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coladlm.baseline.baseline import Baseline, BaselineError
from coladlm.evaluate.generation import Written, measured

from ..components.interval_curve import curve_value
from .sweep_cells import LABELS, PROMPT, Axis, Cell

# Of the published model of 2.3 billion parameters, by its authors: the mean over their tasks in per cent, guidance at
# 16 steps a block, steps at guidance 7 (arXiv:2605.06548).
PUBLISHED: dict[str, dict[str, float]] = {
    "guidance": {"1": 13.7, "3": 26.1, "7": 31.3, "10": 29.3, "20": 17.6},
    "steps": {"4": 22.1, "8": 28.1, "16": 31.3, "32": 32.2},
}
OF_THE_PAPER = (
    "The authors' own numbers for the published model of 2.3 billion parameters (arXiv:2605.06548), {held}: the mean "
    "of their tasks, in per cent, higher is better. Another model and another measure: what the two curves share is "
    "the setting."
)
REPEATS = ("seed", PROMPT)  # what is no choice of a setting: texts that differ in these alone are counted together
Point = tuple[float, float, float]


def curve_of(axes: Sequence[Axis], cells: Sequence[Cell], baseline: Baseline) -> dict[str, Any] | None:
    """The value of an IntervalCurve: the perplexity over the values of the first axis, a line for each combination of
    other settings. None where the first axis is a seed or a prompt, and where no two texts differ in these alone.

    axes: the first one first. cells: all of them with their outcome.
    """
    first, *others = axes
    lines = [axis for axis in others if axis.name not in REPEATS]
    if first.name in REPEATS or not any(axis.name in REPEATS and len(axis.values) > 1 for axis in others):
        return None
    groups: dict[str, dict[Any, list[Cell]]] = {}
    for cell in cells:
        label = ", ".join(axis.labels()[axis.values.index(getattr(cell.settings, axis.name))] for axis in lines)
        values = groups.setdefault(label, {value: [] for value in first.values})
        values[getattr(cell.settings, first.name)].append(cell)
    found = [(label, [_point(group, baseline) for group in values.values()]) for label, values in groups.items()]
    if not any(point for _, points in found for point in points):
        return None
    count = len(cells) // (len(first.values) * len(groups))
    about = (f"Perplexity per word under the bundled baseline, of {count} texts together for each point: other seeds "
             "or prompts, the same settings. In brackets, and drawn as bars, where it lies in 95 % of 1,000 "
             "resamplings of these texts. Lower reads more like the training stories, or repeats itself.")  # fmt: skip
    values = [str(value) for value in first.values]
    return curve_value("Perplexity per word", LABELS[first.name], values, about, found, published_curve(first.name))


def published_curve(setting: str) -> dict[str, Any] | None:
    """The value of an IntervalCurve with what the paper says of a setting, None where it says nothing."""
    if setting not in PUBLISHED:
        return None
    held = {"guidance": "at 16 steps a block", "steps": "at guidance 7"}[setting]
    scores = PUBLISHED[setting]
    points = [(score, score, score) for score in scores.values()]
    return curve_value("Tasks of the paper, mean in %", LABELS[setting], list(scores), OF_THE_PAPER.format(held=held),
                       [("", points)])  # fmt: skip


def _point(cells: Sequence[Cell], baseline: Baseline) -> Point | None:
    """The perplexity of texts together, and the ends of its interval; None where there is nothing to measure."""
    done = [cell.outcome for cell in cells if cell.outcome is not None]
    written = [Written(c.prompt, o.text, o.ended, o.tokens) for c, o in zip(cells, done, strict=True)]
    try:
        numbers = measured(written, baseline)
    except BaselineError:
        return None
    low, high = numbers["per_word_interval"]
    return numbers["perplexity_per_word"], low, high
