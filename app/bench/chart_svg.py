"""A chart of the bench as an SVG: lines with intervals over one axis, in the colours of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from coladlm.evaluate.bench.results import Chart, Line, figure_of

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 46  # margins
COLOURS = 6  # of bench.css, then again from the first
TICKS = 6  # at most about so many


class Axis:
    """From the numbers of an axis to pixels. values: all that it has to hold. log: by ratios, where all are above 0."""

    def __init__(self, values: Sequence[float], log: bool, start: float, end: float) -> None:
        self.log = log and min(values) > 0
        low, high = min(values), max(values)
        if self.log:
            low, high = math.log10(low), math.log10(high)
        room = 0.05 * (high - low) or 0.5
        self.low, self.high, self.start, self.end = low - room, high + room, start, end

    def __call__(self, value: float) -> float:
        at = math.log10(value) if self.log else value
        return self.start + (self.end - self.start) * (at - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers within the axis."""
        if self.log:
            steps = (1, 2, 5) if self.high - self.low < 2 else (1,)
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            ticks = [step * 10.0**power for power in powers for step in steps]
            found = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
            if len(found) > 1:
                return found
            return [10**self.low * 10 ** ((self.high - self.low) * share) for share in (0.1, 0.5, 0.9)]
        step = _round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, and at least so much."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def chart_svg(chart: Chart) -> str:
    """The picture of a chart that has at least one point, and "" for another. Everything in it is escaped."""
    lines = [line for line in chart.lines if line.y]
    if not lines:
        return ""
    xs = [x for line in lines for x in line.x]
    ys = [end for line in lines for figure in line.y for end in (figure.low, figure.high, figure.value)]
    x = Axis(xs, "x" in chart.log, LEFT, WIDTH - RIGHT)
    y = Axis(ys, "y" in chart.log, HEIGHT - BOTTOM, TOP)
    label = html.escape(f"{chart.title}: {chart.y} over {chart.x}", quote=True)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for tick in y.ticks():
        parts.append(f'<path class="rule" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, _tick(tick), "end"))
    for tick, name in enumerate(chart.names, 1) if chart.names else ((tick, _tick(tick)) for tick in x.ticks()):
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 20, name, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, chart.x + (", log scale" if x.log else ""), "middle"))
    parts.append(_text(0, 14, chart.y + (", log scale" if y.log else ""), "start"))
    parts += [_line(line, number, x, y) for number, line in enumerate(lines)]
    return "".join([*parts, "</svg>", _legend(lines)])


def _line(line: Line, number: int, x: Axis, y: Axis) -> str:
    points = [(x(at), figure) for at, figure in zip(line.x, line.y, strict=True)]
    parts = []
    if not line.points and len(points) > 1:
        path = " ".join(f"{at:.1f},{y(figure.value):.1f}" for at, figure in points)
        parts.append(f'<polyline class="line" points="{path}"/>')
    for i, (at, figure) in enumerate(points):
        label = line.labels[i] if i < len(line.labels) else ""
        told = html.escape(", ".join(filter(None, (line.name, label, figure_of(figure)))))
        parts.append(
            f'<g><title>{told}</title><path class="whisker" d="M{at:.1f} {y(figure.low):.1f}V{y(figure.high):.1f}"/>'
            f'<circle cx="{at:.1f}" cy="{y(figure.value):.1f}" r="4"/></g>'
        )
        if label:
            side = ("end", -7) if at > 0.75 * WIDTH else ("start", 7)
            parts.append(_text(at + side[1], y(figure.value) - 6, label, side[0]))
    return f'<g class="series s{number % COLOURS}">{"".join(parts)}</g>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _tick(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e5 else f"{value:.3g}"


def _legend(lines: Sequence[Line]) -> str:
    names = "".join(f'<li class="s{i % COLOURS}">{html.escape(line.name)}</li>' for i, line in enumerate(lines))
    return f'<ul class="legend">{names}</ul>'
