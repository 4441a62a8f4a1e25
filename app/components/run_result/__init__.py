"""RunResult: which run a workbench shows, for what gradio itself does with it afterwards."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class RunResult(OwnHTML):
    """Its value is what the view gives under its part, in {"run": id, ...}; None while there is none to look into.

    Shows nothing. Triggers `ended` with `outcome` when a run is over, once its value is there.
    """

    FILE = "run_result"

    def __init__(self, part: str, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, part=part, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload
