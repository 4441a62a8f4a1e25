"""A picture of a stage's metrics.jsonl: the training loss and validation by time, over minutes of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..extras import require
from .dit_validation import TIME_BINS, learned_nothing

MARGINS = {"left": 0.075, "right": 0.985, "bottom": 0.12, "top": 0.92, "wspace": 0.15}  # of the two plots


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `folder`/metrics.jsonl; a line that a kill cut short at the end is left out."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def draw_curves(folder: Path, file: Path | None = None) -> None:
    """Draws the metrics of a stage's folder to `file`, by default curves.png beside them. Raises MissingExtraError."""
    require("matplotlib", "The picture of the curves")
    from matplotlib.figure import Figure  # here, since only this function needs it and it takes a second to load

    metrics = read_metrics(folder)
    trained = [m for m in metrics if m["kind"] == "train"]
    valid = [m for m in metrics if m["kind"] == "valid"]
    figure = Figure(figsize=(11, 4))  # without a layout that fits what is drawn: that draws everything twice
    left, right = figure.subplots(1, 2, gridspec_kw=MARGINS)
    for name in ("loss", "flow", "head", "next", "restored", "pull"):
        points = [(m["seconds"] / 60, m[name]) for m in trained if name in m]
        if points:
            left.plot(*zip(*points, strict=True), label=name, linewidth=1)
    left.set(title="training", xlabel="minutes", yscale="log")
    left.legend()
    timed = [t for t in TIME_BINS if valid and f"flow_{t}" in valid[-1]]
    for number, time in enumerate(timed):
        right.plot([m["seconds"] / 60 for m in valid], [m[f"flow_{time}"] for m in valid], color=f"C{number}",
                   label=f"t = {time}")  # fmt: skip
        right.axhline(learned_nothing(time), color=f"C{number}", linestyle=":", linewidth=0.8)
    if timed:
        right.set(title="velocity error, held-out text (dotted: learned nothing)", xlabel="minutes")
    else:
        for name in [name for name in (valid[-1] if valid else ()) if name.startswith("accuracy")]:
            points = [(m["seconds"] / 60, m[name]) for m in valid]
            right.plot(*zip(*points, strict=True), label=name.replace("accuracy_", "noise "))
        right.set(title="tokens restored, held-out text", xlabel="minutes", ylim=(0.8, 1.0))
    if valid:
        right.legend()
    figure.savefig(file or folder / "curves.png", dpi=110)
