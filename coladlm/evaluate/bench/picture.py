"""A result of the bench as a picture: a panel for each chart, with intervals as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...extras import require
from .results import Chart, Result
from .ticks import sizes_used, tick_text

ENDINGS = (".png", ".svg", ".pdf")  # of a picture's name


def draw(result: Result, file: Path) -> None:
    """Draws the charts of a result below each other into a .png, .svg or .pdf file.

    Raises MissingExtraError without matplotlib, ValueError where there is no chart or the ending is another.
    """
    require("matplotlib", "The picture of a bench")
    if file.suffix.lower() not in ENDINGS:
        raise ValueError(f"the picture is {file.name}, expected a name that ends in one of {', '.join(ENDINGS)}")
    if not result.charts:
        raise ValueError(f"{result.title} has no chart to draw")
    import matplotlib  # here, since only this function needs it and it takes a second to load

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = len(result.charts)
    figure, panels = pyplot.subplots(count, 1, figsize=(9, 4.5 * count), layout="constrained", squeeze=False)
    for axes, chart in zip(panels[:, 0], result.charts, strict=True):
        for line in chart.lines:
            y = [figure.value for figure in line.y]
            spread = [[max(0.0, f.value - f.low) for f in line.y], [max(0.0, f.high - f.value) for f in line.y]]
            axes.errorbar(list(line.x), y, yerr=spread, marker="o", markersize=4, capsize=2,
                          linestyle="none" if line.points else "-", label=line.name)  # fmt: skip
            for x, height, label in zip(line.x, y, line.labels, strict=False):
                axes.annotate(label, (x, height), fontsize=7, xytext=(4, 3), textcoords="offset points")
        axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
        _set_ticks(axes, chart)
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))  # below, never over a point
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _set_ticks(axes: Any, chart: Chart) -> None:
    """Sizes that were used, where they are few, and plain numbers on logarithmic axes."""
    from matplotlib import ticker

    for name in chart.log:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: tick_text(value)))
        axis.set_minor_locator(ticker.NullLocator())
    sizes = sizes_used([x for line in chart.lines for x in line.x])
    if chart.names:
        axes.set_xticks(range(1, len(chart.names) + 1), list(chart.names), fontsize=8)
    elif sizes:
        axes.set_xticks(sizes, [tick_text(size) for size in sizes])
