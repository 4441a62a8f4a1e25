"""Curves: measures of runs over the noise level, as lines, a sentence and a table."""

from __future__ import annotations

from typing import Any

from ..plotly_html import PlotlyHTML


class Curves(PlotlyHTML):
    """Shows {"kinds": [{name, label, unit, about, note}], "runs": [{label, index, noise, values}], "summary": text}.

    noise: in percent; values: by the name of a kind, a number or None for each noise. name: the FlowMap it follows.
    """

    FILE = "curves"
    SCRIPTS = ("plotly_library.js", "save_file.js", "curves/curves.js")

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__({"kinds": [], "runs": [], "summary": ""}, name=name, **kwargs)

    def example_payload(self) -> Any:
        return {"kinds": [], "runs": [], "summary": ""}

    example_value = example_payload
