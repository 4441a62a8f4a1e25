"""A chart of the bench as an SVG: lines with intervals over one axis, in the colours of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from coladlm.evaluate.bench.results import Chart, Line, figure_of
from coladlm.evaluate.bench.ticks import sizes_used, tick_text

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 46  # margins
COLOURS = 6  # of operations.css, then again from the first
TICKS = 6  # at most about so many
CHARACTER, HEIGHT_OF_TEXT = 12, 22  # in the larger type of a phone
CROWD, NEAR = 3, 24  # so many points within so many pixels: a label there would not say whose it is
LEFT_OUT = "Labels that would overlap are left out: the tables have all figures."


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
        parts.append(_text(LEFT - 8, y(tick) + 4, tick_text(tick), "end"))
    parts += [_text(x(tick), HEIGHT - BOTTOM + 20, name, "middle") for tick, name in _x_ticks(chart, xs, x)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, chart.x + (", log scale" if x.log else ""), "middle"))
    parts.append(_text(0, 14, chart.y + (", log scale" if y.log else ""), "start"))
    labels = _Labels([(x(at), y(figure.value)) for line in lines for at, figure in zip(line.x, line.y, strict=True)])
    parts += [_line(line, number, x, y, labels) for number, line in enumerate(lines)]
    note = f"<p class='caption'>{LEFT_OUT}</p>" * labels.left_out
    return "".join([*parts, "</svg>", _legend(lines), note])


def _x_ticks(chart: Chart, xs: Sequence[float], x: Axis) -> list[tuple[float, str]]:
    """Places along the x-axis with what stands there: sizes that were used, where they are few, or round numbers."""
    if chart.names:
        return [(float(number), name) for number, name in enumerate(chart.names, 1)]
    found: list[tuple[float, str]] = []
    for tick in sizes_used(xs) or x.ticks():
        text = tick_text(tick)
        room = CHARACTER * (len(text) + len(found[-1][1])) / 2 + 6 if found else 0
        if not found or x(tick) - x(found[-1][0]) >= room:
            found.append((tick, text))
    return found


class _Labels:
    """Labels of points that have been placed. points: all of the chart. left_out: whether there was no room for one."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points, self.boxes, self.left_out = points, list[tuple[float, float, float, float]](), False
        self.labelled: set[tuple[int, int]] = set()

    def place(self, x: float, y: float, text: str) -> str:
        """The label of a point beside it, or "" where it would lie on another label or point, or at a point that has
        one already.
        """
        wide, point = CHARACTER * len(text), (round(x), round(y))
        if len({(round(a), round(b)) for a, b in self.points if abs(a - x) < NEAR and abs(b - y) < NEAR}) >= CROWD:
            self.left_out = True
            return ""
        for side, anchor, up in ((7, "start", -6), (-7, "end", -6), (7, "start", 18), (-7, "end", 18)):
            left, base = (x + side if side > 0 else x + side - wide), y + up
            box = (left, base - 0.8 * HEIGHT_OF_TEXT, left + wide, base + 2)
            inside = left >= LEFT and box[2] <= WIDTH and box[1] >= TOP - 16 and base <= HEIGHT - BOTTOM
            if point not in self.labelled and inside and not self._is_taken(box):
                self.boxes.append(box)
                self.labelled.add(point)
                return _text(x + side, base, text, anchor)
        self.left_out = True
        return ""

    def _is_taken(self, box: tuple[float, float, float, float]) -> bool:
        left, top, right, bottom = box
        on_label = any(left < r and right > x and top < b and bottom > t for x, t, r, b in self.boxes)
        return on_label or any(left < x + 4 and right > x - 4 and top < y + 4 and bottom > y - 4
                               for x, y in self.points)  # fmt: skip


def _line(line: Line, number: int, x: Axis, y: Axis, labels: _Labels) -> str:
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
            parts.append(labels.place(at, y(figure.value), label))
    return f'<g class="series s{number % COLOURS}">{"".join(parts)}</g>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _legend(lines: Sequence[Line]) -> str:
    names = "".join(f'<li class="s{i % COLOURS}">{html.escape(line.name)}</li>' for i, line in enumerate(lines))
    return f'<ul class="legend">{names}</ul>'
