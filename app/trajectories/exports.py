"""What is on the map as files: the trace, its measures as a table, and a page that plays without a server."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from coladlm.trace.measures import measure

from ..components.curves import Curves
from ..components.flow_map import FlowMap, flow_value
from ..components.heat_map import HeatMap
from ..components.own_html import OwnHTML
from ..components.plotly_html import PLOTLY_JS
from ..shared.token_pieces import pieces
from ..shared.trace_store import Run
from ..theme import CSS
from .records import Charts, compact

COLUMNS = (
    *("run", "block", "place", "step", "t", "word", "confidence", "margin_nats", "entropy_nats", "settled"),
    *("speed", "curvature", "distance_to_end", "guidance_angle_degrees", "guidance_pull"),
)


class Table(Protocol):
    """What a row can be written to, such as a csv.writer."""

    def writerow(self, row: Iterable[Any], /) -> Any: ...


def trace_file(run: Run) -> bytes:
    """The trace as .npz, which opens again here and in a notebook."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.npz"
        run.trace.save(file)
        return file.read_bytes()


def measures_table(charts: Charts, runs: Sequence[Run]) -> bytes:
    """A row for every state of every place of the runs, as CSV in UTF-8; empty where there is no number."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for run in runs:
        _write_rows(table, charts, run)
    return out.getvalue().encode()


def _write_rows(table: Table, charts: Charts, run: Run) -> None:
    trace, s, ps = run.trace, run.sequence, charts.model.patch_size
    found = measure(trace)
    guidance = found.guidance
    for block in map(int, np.flatnonzero(trace.active[s])):
        free = np.flatnonzero(trace.free()[s, block]).tolist()
        for step in map(int, np.flatnonzero(trace.recorded[block])):
            at = (s, block, step)
            words = [] if trace.preview_ids is None else pieces(charts.model.tokenizer, trace.preview_ids[at].tolist())
            for place in free:
                first, last = place * ps, (place + 1) * ps
                word = "".join(words[first:last])
                read = [_least(part, at, first, last) for part in (trace.preview_confidence, trace.preview_margin)]
                most = None if trace.preview_entropy is None else trace.preview_entropy[at][first:last].max()
                settled = found.settled[s, block, first:last].max()
                numbers = (part[(*at, place)] for part in (found.speed, found.curvature, found.distance_to_end,
                                                           guidance.angle, guidance.pull))  # fmt: skip
                table.writerow([safe_cell(run.label), block + 1, place + 1, step, f"{trace.t[(*at, place)]:g}",
                                safe_cell(word), *map(_cell, read), _cell(most),
                                "" if settled < 0 else int(step >= settled), *map(_cell, numbers)])  # fmt: skip


def _least(values: np.ndarray | None, at: tuple[int, int, int], first: int, last: int) -> float | None:
    return None if values is None else values[at][first:last].min()


def _cell(value: float | None) -> str:
    return f"{float(value):.5g}" if value is not None and np.isfinite(value) else ""


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def playable_page(charts: Charts, lines: str, curves: dict[str, Any]) -> bytes:
    """The flow map, its heat map and curves as one HTML file that plays without a server or a network."""
    flow = {"name": "flow", "cloud": charts.text, "value": flow_value("done", lines, play=True), "start_label": "",
            "alone": True}  # fmt: skip
    parts = [(FlowMap, flow), (HeatMap, {"name": "flow", "value": None}), (Curves, {"name": "flow", "value": curves})]
    return standalone_page("Flow map", parts)


def standalone_page(title: str, parts: Sequence[tuple[type[OwnHTML], dict[str, Any]]]) -> bytes:
    """Components with their props as one HTML file that asks nobody for anything."""
    colours = "\n".join(re.findall(r"^(?::root|\.dark) \{.*?^\}", CSS.read_text(encoding="utf-8"), re.M | re.S))
    body, scripts, styles = [], [], []
    for kind, props in parts:
        html, css = kind.source("html"), kind.source("css")
        body.append(f"<div id='{kind.FILE}'>{html}</div>")
        styles.append(f"#{kind.FILE} {{ {css} }}")
        scripts.append(
            f"(function (element, props, trigger, watch) {{\n{kind.script()}\n}})"
            f"(document.getElementById('{kind.FILE}'), {_in_script(props)}, () => {{}}, () => {{}});"
        )
    page = PAGE.format(
        title=title, colours=colours, styles="\n".join(styles), body="\n".join(body),
        plotly=PLOTLY_JS.read_text(encoding="utf-8"), scripts="\n".join(scripts),
    )  # fmt: skip
    return page.encode()


def _in_script(data: object) -> str:
    """JSON that can stand in a script element: no text of it ends the element."""
    return (
        compact(json.loads(json.dumps(data)))
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Cola-DLM Explorer</title>
<style>
{colours}
:root {{ --font: "Source Sans 3", ui-sans-serif, system-ui, sans-serif; --font-text: Lora, Georgia, serif; }}
body {{ max-width: 1080px; margin: 0 auto; padding: 24px; background: var(--sheet); color: var(--ink); }}
body {{ font-family: var(--font); }}
#heat_map, #curves {{ margin-top: 24px; }}
{styles}
</style></head>
<body>
{body}
<script>{plotly}</script>
<script>
{scripts}
</script>
</body></html>
"""
