"""The quality of the texts of a sweep over its first setting, with the interval in which it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coladlm.baseline.baseline import Baseline, BaselineError
from coladlm.evaluate.generation import Written, measured

from ..components.interval_curve import curve_value
from .sweep_cells import LABELS, PROMPT, Axis, Cell

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
    return curve_value("Perplexity per word", LABELS[first.name], [str(value) for value in first.values], about, found)


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
