"""The page as a whole: header, tabs, footer, API endpoints.

A tab is a module with `build(model, page)`, which lays it out in the current context and says how texts leave it and
come in, and `add_api(model)`; and its line in TABS.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM

from . import edit, generate, interpolate, map, trajectories
from .components.own_html import OwnHTML
from .send import Ways, connect
from .share import recipe_from
from .theme import CSS, CSS_OPERATIONS, FAVICON, HEAD, make_theme

TITLE = "Cola-DLM Explorer"
PURPOSE = "See a language model write: continuous noise flows, block by block, until it has become words."


class Tab(NamedTuple):
    """A tab of the page: its label, the name of its address, what lays it out, and what adds its API if it has one."""

    label: str
    name: str
    build: Callable[[ColaDLM, gr.Blocks], Ways]
    add_api: Callable[[ColaDLM], None] | None = None


TABS = (
    Tab("Generate", "generate", generate.build, generate.add_api),
    Tab("Interpolate", "interpolate", interpolate.build, interpolate.add_api),
    Tab("Edit", "edit", edit.build, edit.add_api),
    Tab("Trajectories", "trajectories", trajectories.build),
    Tab("Map", "map", map.build),
)


def build_page(model: ColaDLM) -> gr.Blocks:
    """The page for a resident model. Launch it with `launch_options`."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        title = gr.HTML(header(model), elem_id="header", js_on_load=None)
        ways = {}
        with gr.Tabs(elem_id="tabs") as tabs:
            for tab in TABS:
                with gr.Tab(tab.label, id=tab.name):
                    ways[tab.name] = tab.build(model, page)
        connect(tabs, ways)
        page.load(tab_of_link, None, tabs, show_progress="hidden", queue=False, api_visibility="private")
        gr.HTML(FOOTER, elem_id="footer", js_on_load=None)
        for tab in TABS:
            if tab.add_api:
                tab.add_api(model)
        spare_the_browser(page, title)
    return page


def spare_the_browser(page: gr.Blocks, place: gr.components.Component) -> None:
    """Lets every event that hides its progress hide it in one place.

    At every frame of any run gradio's browser side visits each component whose progress any event has ever shown, with
    a search of the whole page for each: 15 ms a frame with a few tabs, most of what a frame costs there.
    """
    for event in page.fns.values():
        if event.show_progress == "hidden" and not event.show_progress_on:
            event.show_progress_on = [place]


def tab_of_link(request: gr.Request) -> Any:
    """Opens the tab whose operation the recipe in the address asks for; a link that cannot be read opens none."""
    for tab in TABS:
        try:
            if recipe_from(request.query_params, tab.name) is not None:
                return gr.Tabs(selected=tab.name)
        except ValueError:  # the tabs themselves say what is wrong with it
            break
    return gr.skip()


def launch_options() -> dict[str, Any]:
    """What belongs to `launch()` and is the same everywhere. No history of runs: the server keeps nobody's text."""
    return {
        "theme": make_theme(),
        "css_paths": [CSS, CSS_OPERATIONS],
        "favicon_path": FAVICON,
        "head": f"{HEAD}<style>{OwnHTML.styles()}</style>",
        "footer_links": ["api", "settings"],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "_frontend": False,  # no request to itself before it serves: a busy machine misses that one's 3 seconds
    }


def header(model: ColaDLM) -> str:
    """The title, what the page is for, and which model is loaded, as HTML."""
    name = "Bundled model" if model.name == "bundled" else html.escape(model.name or "unnamed model")
    dtype = str(model.dtype).removeprefix("torch.")
    facts = [_millions(model.parameters) + " parameters", f"blocks of {model.block_size * model.patch_size} tokens"]
    facts += [html.escape(str(model.device)), dtype]
    return (
        f"<header><h1>{TITLE}</h1><p class='purpose'>{PURPOSE}</p>"
        f"<p class='model'><span class='name'>{name}</span> {' · '.join(facts)}</p></header>"
    )


def _millions(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} billion"
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"


FOOTER = (
    "<footer><p>Program: Apache-2.0. Method: Cola-DLM, <a href='https://arxiv.org/abs/2605.06548' rel='noreferrer'>"
    "arXiv:2605.06548</a>; a checkpoint published in its form loads here unchanged. Your texts stay in this browser "
    "and in the link that you copy; the server keeps none.</p></footer>"
)
