"""FlowView: the paths of a text's words from noise to where they belong, drawn beside the text as it is written."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML
from ..token_strip import State


class FlowView(OwnHTML):
    """Shows the value made by `paths_value`, at the moment that the TokenStrip of its workbench shows. Triggers
    `submit` where the same run without fresh noise is wanted.

    The value is cumulative: the lines of a run only grow, and the new ones alone are sent.
    """

    FILE = "flow_view"
    SCRIPTS = ("label_room.js", "flow_view/flow_names.js", "flow_view/flow_view.js")

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value or paths_value("", "empty"), **kwargs)

    def example_payload(self) -> Any:
        return paths_value("", "empty")

    example_value = example_payload


def paths_value(
    run: str, state: State, lines: str = "", cloud: str = "", note: str = "", facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a FlowView shows.

    run: names the run. lines: its states, see app/generate/paths.py. cloud: the words behind the paths,
    `Charts.plane`. note: a sentence in place of paths. facts: of a run that is over, what
    its picture says of it, see app/shared/run_facts.py. A key `fresh` may be added: did every step get fresh noise.
    """
    return {"run": run, "state": state, "lines": lines, "cloud": cloud, "note": note, "facts": facts or {}}
