"""The recorded run that the tab Generate opens with: a text is seen being written before anything was asked for."""

from __future__ import annotations

from pathlib import Path

from coladlm import ColaDLM
from coladlm.trace import Trace

from ..shared.trace_store import TRACES, Run

RECORDED = "recorded"  # its id


def recorded_run(model: ColaDLM, folder: Path = TRACES) -> Run | None:
    """The first recorded run of the folder, if it is one of this model."""
    for file in sorted(folder.glob("*.npz"))[:1]:
        trace = Trace.load(file)
        if model.fingerprint and trace.recipe.model == model.fingerprint:
            return Run(RECORDED, "recorded", trace, 0)
    return None
