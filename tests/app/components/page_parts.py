"""The components of the page as it lays them out: the one place where these tests know where the app keeps them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from app import components
from app.components.curves import Curves
from app.components.distances import Distances
from app.components.flow_line import FlowLine
from app.components.flow_map import FlowMap
from app.components.flow_view import FlowView
from app.components.heat_map import HeatMap
from app.components.help import Help
from app.components.history import History
from app.components.own_html import OwnHTML
from app.components.plotly_html import PLOTLY_JS
from app.components.point_card import PointCard
from app.components.setting_chips import SettingChips
from app.components.share_card import DRAWS, ShareCard
from app.components.text_grid import TextGrid
from app.components.text_map import TextMap
from app.components.token_card import TokenCard
from app.components.tour import Tour
from app.page import build_page, launch_options
from app.runs.registry import Registry
from app.shared.resident import Resident
from coladlm import ColaDLM

KINDS = {
    "candidates": components.CandidateStage,
    "chips": SettingChips,
    "choices": components.ChoiceList,
    "curves": Curves,
    "distances": Distances,
    "flow": FlowMap,
    "paths": FlowView,
    "way": FlowLine,
    "grid": TextGrid,
    "heat": HeatMap,
    "help": Help,
    "history": History,
    "kept": components.RunResult,
    "link": components.ShareLink,
    "map": TextMap,
    "picker": components.TokenPicker,
    "point": PointCard,
    "progress": components.ProgressLine,
    "rows": components.TextRows,
    "share": ShareCard,
    "strip": components.TokenStrip,
    "token": TokenCard,
    "tour": Tour,
    "walk": components.WaypointStage,
    "ways": components.FourWays,
}
LIBRARIES = (Path(PLOTLY_JS), *DRAWS)
_LAUNCH = launch_options()
SCRIPTS = OwnHTML.scripts()
STYLES = "\n".join(
    [
        *re.findall("<style>(.*?)</style>", _LAUNCH["head"], re.DOTALL),
        _LAUNCH["theme"]._get_theme_css(),
        *(Path(file).read_text(encoding="utf-8") for file in _LAUNCH["css_paths"]),
    ]
)


class Part(NamedTuple):
    """A component as the browser gets it. props: `value` among them."""

    html: str
    script: str
    classes: list[str]
    props: dict[str, Any]


class PageParts:
    """The components of a page that is built for a model, but not launched. registry: where it puts its views."""

    def __init__(self, model: ColaDLM | Resident, registry: Registry | None = None) -> None:
        self.page = build_page(model, registry=registry)

    def part(self, kind: str, within: str = "", id: str = "", **props: Any) -> Part:
        """The first component of a kind (see KINDS) that the page lays out within the element with the id `within`.

        id: of the component itself, where there are several. props: what it has in place of the page's.
        """
        for found in self.page.blocks.values():
            if (
                isinstance(found, KINDS[kind])
                and (not id or found.elem_id == id)
                and (not within or _in(found, within))
            ):
                return part_of(found, **props)
        raise LookupError(f"the page has no {kind} {id} within {within or 'it'}")

    def all(self) -> list[Part]:
        """Every component of ours, in the order of the page."""
        return [part_of(found) for found in self.page.blocks.values() if isinstance(found, OwnHTML)]


def part_of(component: OwnHTML, **props: Any) -> Part:
    """A component as the browser gets it."""
    shown = {**component.props, "value": component.value, **props}
    return Part(component.html_template, component.js_on_load, list(component.elem_classes), shown)


def _in(block: gr.blocks.Block, id: str) -> bool:
    above = block.parent
    while above is not None and above.elem_id != id:
        above = above.parent
    return above is not None
