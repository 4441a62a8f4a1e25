"""What views of runs share: whose run they look into, errors in the words of the controls, the end of a stopped run."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from typing import Any

from ..components.progress_line import stopped_value
from ..runs.registry import Frame, RunContext

FRAME_SECONDS = 0.05  # at most 20 frames a second: faster than people read, and the browser keeps up


def owner_of(context: RunContext, kept: Any) -> str:
    """The visitor who made the run that a RunResult's value names: the one of this run.

    A browser that keeps no cookies is another visitor with every run (see runs/access.py): there the named run is its
    own visitor.
    """
    run = kept.get("run") if isinstance(kept, Mapping) else None
    return f"run {run}" if run and context.visitor == f"run {context.id}" else context.visitor


def with_stopped_frame(context: RunContext, frames: Generator[Frame], part: str) -> Generator[Frame]:
    """The frames, and where they break off a last one that shows the run as stopped, with what there is so far.

    part: the name of what shows the texts, a value with "state"; the progress is the part "progress".
    """
    latest: dict[str, Any] = {}
    try:
        with contextlib.closing(frames):
            for frame in frames:
                latest |= frame
                yield frame
    finally:
        progress = latest.get("progress")
        if progress and progress["state"] in ("waiting", "running"):
            stopped = {"progress": stopped_value(progress)}
            if latest.get(part):
                stopped[part] = {**latest[part], "state": "stopped"}
            context.show(stopped)
