"""The page as a whole: header, tabs, footer, API endpoints.

A tab is a module with `build(model, page)`, which lays it out in the current context, and its line in TABS.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM

from . import generate
from .theme import CSS, FAVICON, HEAD, make_theme

TITLE = "Cola-DLM Explorer"
PURPOSE = "See a language model write: continuous noise flows, block by block, until it has become words."


class Tab(NamedTuple):
    """A tab of the page: its label, the name of its address, and what lays it out."""

    label: str
    name: str
    build: Callable[[ColaDLM, gr.Blocks], None]


TABS = (Tab("Generate", "generate", generate.build),)


def build_page(model: ColaDLM) -> gr.Blocks:
    """The page for a resident model. Launch it with `launch_options`."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(header(model), elem_id="header", js_on_load=None)
        if len(TABS) == 1:
            TABS[0].build(model, page)
        else:
            with gr.Tabs():
                for tab in TABS:
                    with gr.Tab(tab.label, id=tab.name):
                        tab.build(model, page)
        gr.HTML(FOOTER, elem_id="footer", js_on_load=None)
        generate.add_api(model)
    return page


def launch_options() -> dict[str, Any]:
    """What belongs to `launch()` and is the same everywhere. No history of runs: the server keeps nobody's text."""
    return {
        "theme": make_theme(),
        "css_paths": [CSS],
        "favicon_path": FAVICON,
        "head": HEAD,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "ssr_mode": False,
        "enable_monitoring": False,
    }


def header(model: ColaDLM) -> str:
    """The title, what the page is for, and which model is loaded, as HTML."""
    name = html.escape(model.name or "unnamed model")
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
