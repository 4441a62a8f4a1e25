"""What is on the map as files: the trace, its measures as a table, and a page that plays without a server."""

from __future__ import annotations

import csv
import html
import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from coladlm.trace.measures import measure

from ..components.curves import Curves
from ..components.flow_map import FlowMap, flow_value
from ..components.heat_map import HeatMap
from ..shared.charts import Charts
from ..shared.encoding import safe_cell
from ..shared.run_facts import run_facts
from ..shared.standalone_page import link_to, standalone_page
from ..shared.token_pieces import pieces
from ..shared.trace_store import Run

COLUMNS = (
    *("run", "block", "place", "step", "t", "word", "confidence", "margin_nats", "entropy_nats", "settled"),
    *("speed", "curvature", "distance_to_end", "guidance_angle_degrees", "guidance_pull"),
)
SHOWN = ("clean", "words", "trails", "blocks", "together", "coloured")  # what a map may show besides
MOST_PROMPT = 400  # characters of it in a caption
EXPLAINED = (
    "Each line is a word on its way: its latent, from noise along the flow to where it is that word. Play goes through "
    "the steps of the run."
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


def playable_page(
    charts: Charts, runs: Sequence[Run], lines: str, curves: dict[str, Any], look: Any = None, address: Any = None
) -> bytes:
    """The flow map, its heat map and curves as one HTML file that plays without a server or a network.

    look: how the visitor looks at the map, as its browser says: see `look_of`. address: of the page, for links.
    """
    flow = {"name": "flow", "cloud": charts.text, "value": flow_value("done", lines, play=True), "start_label": "",
            "alone": True, "look": look_of(look)}  # fmt: skip
    parts = [(FlowMap, flow), (HeatMap, {"name": "flow", "value": None}), (Curves, {"name": "flow", "value": curves})]
    return standalone_page("Flow map", _caption(charts, runs, address), parts)


def look_of(sent: Any) -> dict[str, Any] | None:
    """How a map is looked at, of what a browser sent; None where it did not send that."""
    if not isinstance(sent, dict) or sent.get("chart") not in ("pca", "umap") or sent.get("dims") not in (2, 3):
        return None
    return {
        **{name: sent[name] for name in ("chart", "dims")},
        **{name: sent.get(name) is True for name in SHOWN},
        "chosen": _path_of(sent.get("chosen")),
    }


def _path_of(sent: Any) -> dict[str, Any] | None:
    """A path that is chosen, of what a browser sent. place: None where a block's places are one path."""
    if not isinstance(sent, dict):
        return None
    run, block, place = (sent.get(name) for name in ("run", "block", "place"))
    if not isinstance(run, str) or type(block) is not int or not (place is None or type(place) is int):
        return None
    return {"run": run, "block": block, "place": place}


def _caption(charts: Charts, runs: Sequence[Run], address: Any) -> str:
    """What the map shows, and of each run its prompt, how it was made and where it can be repeated; as HTML."""
    lines = [EXPLAINED]
    for run in runs:
        facts, prompt = run_facts(charts.model, run.trace.recipe, run.sequence), run.trace.prompts[run.sequence]
        begun = prompt[:MOST_PROMPT].rstrip() + "…" if len(prompt) > MOST_PROMPT else prompt.strip()
        name = f"{html.escape(run.label)}: " if len(runs) > 1 else ""
        text = f'from the prompt <q dir="auto">{html.escape(begun)}</q>' if begun else "without a prompt"
        made = html.escape(f"{facts['model']}, {facts['line']}")
        link = link_to(address, f"{facts['query']}&tab=trajectories", "The same run on its page")
        lines.append(f"{name}Written {text}: {made}. {link if facts['query'] else ''}")
    return "".join(f"<p>{line}</p>" for line in lines)
