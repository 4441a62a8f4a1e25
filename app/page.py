"""The page as a whole: header, tabs, footer, API endpoints.

A tab is a module with `build(resident, page)`, which lays it out in the current context and says how texts leave it
and come in, and `add_api(resident)`; and its line in TABS.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import gradio as gr

from coladlm import ColaDLM
from coladlm.recipe import Recipe

from .bench import tab as bench
from .components.help import Help
from .components.history import History
from .components.own_html import OwnHTML
from .components.progress_line import again, progress_value, restored_from
from .components.tour import Tour
from .edit import api as edit_api
from .edit import tab as edit
from .generate import api as generate_api
from .generate import tab as generate
from .interpolate import api as interpolate_api
from .interpolate import tab as interpolate
from .light_sessions import keep_sessions_light
from .map import tab as map
from .model import tab as model_card
from .no_applications import no_applications
from .runs.registry import Registry
from .shared.amounts import in_millions
from .shared.errors import sentence
from .shared.generation import MOST_VARIATIONS
from .shared.links import KEY, recipe_from
from .shared.resident import Resident
from .shared.tab_links import QUICK, Restore, TabLinks, connect
from .signatures import keep_signatures
from .theme import CSS, CSS_OPERATIONS, FAVICON, FRAME, HEAD, make_theme
from .trajectories import tab as trajectories

TITLE = "Cola-DLM Explorer"
PURPOSE = "See a language model write: continuous noise flows, block by block, until it has become words."


ICON = '<link rel="icon" type="image/svg+xml" href="favicon.ico">'  # else browsers ask the root of the host for it
EARLY = (Path(__file__).parent / "runs" / "early_calls.js").read_text(encoding="utf-8")
TOURED = (Path(__file__).parent / "components" / "tour" / "toured.js").read_text(encoding="utf-8")
SCRIPTS = f"<script>{EARLY}{TOURED}</script>" + "".join(  # relative: the page may lie at a sub-path
    f'<script type="module" src="runs/{name}.js"></script>' for name in ("gradio_connection", "run_client")
)
API_PAGE = "api"
# gradio lists endpoints when this button is pressed, which our style hides; with `view=api` in the address it takes
# them for listed before they are. And it puts the address of the main page in place of this one's, which a reload would
# open then.
SHOW_ENDPOINTS = """() => {
    const here = location.href.replace(/[?#].*/, '');
    for (const change of ['pushState', 'replaceState']) {
        const plain = history[change].bind(history);
        history[change] = (state, unused) => plain(state, unused, here);
    }
    const button = document.querySelector('button.show-api');
    if (new URLSearchParams(location.search).get('view') === 'api') button.click();
    button.click();
}"""
UPLOADS = (60, 300)  # every minute, files of more than 5 minutes go: handlers read them at once and delete none
MAX_UPLOAD = "64mb"


class Tab(NamedTuple):
    """A tab of the page: its label, the name of its address, what lays it out, what adds its API if it has one, and the
    operation whose recipes it opens.
    """

    label: str
    name: str
    build: Callable[[Resident, gr.Blocks], TabLinks]
    add_api: Callable[[Resident], None] | None = None
    operations: tuple[str, ...] = ()


TABS = (
    Tab("Generate", "generate", generate.build, generate_api.add_api, ("generate", "fill")),
    Tab("Interpolate", "interpolate", interpolate.build, interpolate_api.add_api, ("interpolate",)),
    Tab("Edit", "edit", edit.build, edit_api.add_api, ("edit",)),
    Tab("Trajectories", "trajectories", trajectories.build, None, ("generate",)),
    Tab("Map", "map", map.build),
    Tab("Bench", "bench", bench.build),
    Tab("Model", "model", model_card.build),
)


@no_applications()
def build_page(model: ColaDLM | Resident, allow_loading: bool = False, registry: Registry | None = None,
               more_api: Callable[[Resident], None] | None = None) -> gr.Blocks:  # fmt: skip
    """The page for a model, or for a holder of one. Mount it with `page_options`, or launch it with `launch_options`.

    allow_loading: may visitors load another model, and so name folders of this machine; a holder knows that itself.
    registry: where the tabs put the views of their runs. more_api: adds endpoints to those of the tabs; gradio would
    lay out the whole page once more for endpoints that come later.
    """
    resident = model if isinstance(model, Resident) else Resident(model, allow_loading)
    keep_signatures()
    keep_sessions_light()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=UPLOADS) as page:
        title = gr.HTML(header(resident.model), elem_id="header", js_on_load=None)
        with gr.Row(elem_id="tools"):
            Tour()
            openers = [[tab.name, tab.label, list(tab.operations)] for tab in TABS if tab.operations]
            history = History(resident.model.fingerprint, openers)
            Help([tab.label for tab in TABS])
        links = {}
        with gr.Tabs(elem_id="tabs") as tabs:
            for tab in TABS:
                with gr.Tab(tab.label, id=tab.name):
                    links[tab.name] = tab.build(resident, page)
        connect(tabs, links)
        for name, view in ((name, view) for one in links.values() for name, view in one.views.items()):
            if registry is not None:
                registry.add_view(name, view)
        restore_from_address(resident, history, tabs, links)
        restore_from_history(history, tabs, links)

        def about_model() -> list[Any]:
            return [header(resident.model), {"fingerprint": resident.model.fingerprint}]

        for event in (page.load, *(one.loaded for one in links.values() if one.loaded)):
            event(about_model, None, [title, history], **QUICK)
        gr.HTML(FOOTER, elem_id="footer", js_on_load=None)
        spare_the_browser(page, title)
    # a page of their own: in the browser each argument of an endpoint would be one more component to be kept
    with page.route("API", API_PAGE, show_in_navbar=False):
        gr.HTML(API_HEADER, js_on_load=None)
        for tab in TABS:
            if tab.add_api:
                tab.add_api(resident)
        if more_api is not None:
            more_api(resident)
        page.load(None, js=SHOW_ENDPOINTS, **QUICK)
    return page


def spare_the_browser(page: gr.Blocks, place: gr.components.Component) -> None:
    """Lets every event that hides its progress hide it in one place.

    At every frame of any run gradio's browser side visits each component whose progress any event has ever shown, with
    a search of the whole page for each: 15 ms a frame with a few tabs, most of what a frame costs there.
    """
    for event in page.fns.values():
        if event.show_progress == "hidden" and not event.show_progress_on:
            event.show_progress_on = [place]


def restore_from_address(resident: Resident, history: History, tabs: gr.Tabs, links: Mapping[str, TabLinks]) -> None:
    """Opens the tab that the address asks for, fills in the recipe that it holds, and runs it for its result.

    Not as the page loads, since gradio makes every component that may get a value anew then, a hundred and sixty, for
    all the visitors whose address asks for nothing.
    """

    def opened(event: gr.EventData) -> Any:
        return gr.Tabs(selected=found) if (found := tab_of(_query_of(event))) else gr.skip()

    history.linked(opened, None, tabs, **QUICK)
    for name, one in links.items():
        if one.restore is not None:
            restored = history.linked(_restored(resident, name, one.restore), None, list(one.restore.outputs), **QUICK)
            if bench := one.restore.bench:
                js = f"line => {{ if (line.press) runs.follow({json.dumps(bench)}); return []; }}"
                restored.then(None, one.restore.outputs[-1], None, js=js, **QUICK)


def restore_from_history(history: History, tabs: gr.Tabs, links: Mapping[str, TabLinks]) -> None:
    """Opens a recipe of the history, or one from a file, on the tab that it belongs to."""
    for name, one in links.items():
        if one.restore is not None:
            event = getattr(history, f"open_{name}")
            event(_opened(name, one.restore), None, [tabs, *one.restore.outputs], **QUICK)


def _opened(name: str, restore: Restore) -> Callable[[gr.EventData], list[Any]]:
    def on_open(event: gr.EventData) -> list[Any]:
        try:
            query = {KEY: Recipe.from_json(event.recipe).to_url()}
        except ValueError as error:  # on the tab's own line: gradio shows no error of an event that hides its progress
            unchanged = [gr.skip() for _ in restore.outputs[:-1]]
            note = progress_value("error", message=f"The {event.source} could not be read: {sentence(error)}")
            return [gr.Tabs(selected=name), *unchanged, note]
        *values, progress = restore.values(query)
        return [gr.Tabs(selected=name), *values, restored_from(progress, event.source)]

    return on_open


def _query_of(event: gr.EventData) -> dict[str, str]:
    return dict(parse_qsl(str(event.query).removeprefix("?"), keep_blank_values=True))


def _restored(resident: Resident, name: str, restore: Restore) -> Callable[[gr.EventData], Sequence[Any]]:
    def on_linked(event: gr.EventData) -> Sequence[Any]:
        query = _query_of(event)
        opened = tab_of(query)
        *values, progress = restore.values(query if opened in (None, name) else {})
        if opened == name and (recipe := recipe_from(query, *restore.operations)) is not None:
            shown = restore.options is None or recipe.options.keys() <= set(restore.options)
            progress = again(progress) if shown and repeats(resident.model, recipe) else progress
        return [*values, progress]

    return on_linked


def repeats(model: ColaDLM, recipe: Recipe | None) -> bool:
    """Does this page give the very result of a recipe? Not with another model, which a visitor is told before it runs,
    and not of more texts than one run has here.
    """
    if recipe is None or not recipe.model or recipe.model != model.fingerprint:
        return False
    if recipe.operation == "fill":
        return 1 < recipe.variations <= MOST_VARIATIONS
    return recipe.operation != "generate" or (len(recipe.texts) == 1 and recipe.variations <= MOST_VARIATIONS)


def tab_of(query: Mapping[str, str]) -> str | None:
    """The name of the tab that an address asks for: the one it names, if the recipe is one of that tab's, else the
    first whose operation the recipe has. None without a recipe, and for one that cannot be read: the first tab says so.
    """
    named = query.get("tab", "")
    if named in [tab.name for tab in TABS] and not query.get(KEY):
        return named
    try:
        fits = [tab.name for tab in TABS if tab.operations and recipe_from(query, *tab.operations) is not None]
    except ValueError:
        return None
    return named if named in fits else next(iter(fits), None)


def page_options(api: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How the page looks and what it may do, wherever it is mounted.

    api: what the page is to know of /v1/completions beside it, as plain data; None where there is none.

    Without gradio's history of runs: the server keeps nobody's text.
    """
    about = html.escape(json.dumps(api))
    beside = "" if api is None else f'<meta name="coladlm-api" content="{about}">'
    return {
        "theme": make_theme(),
        "css_paths": [CSS, CSS_OPERATIONS],
        "favicon_path": FAVICON,
        "head": f"{ICON}{beside}{HEAD}{SCRIPTS}<style>{FRAME}{OwnHTML.styles()}</style>",
        "footer_links": ["api"],
        "run_history": False,
        "max_file_size": MAX_UPLOAD,
        "ssr_mode": False,
        "enable_monitoring": False,
    }


def launch_options() -> dict[str, Any]:
    """The same for gradio's own `launch()`, where runs and components have no server: for what asks for the page or its
    API alone.
    """
    options = page_options()
    # no request to itself before it serves: a busy machine misses that one's 3 seconds
    return {**options, "head": f"{options['head']}<script>{OwnHTML.scripts()}</script>", "_frontend": False}


def header(model: ColaDLM) -> str:
    """The title, what the page is for, and which model is loaded, as HTML."""
    name = "Bundled model" if model.name == "bundled" else html.escape(model.name or "unnamed model")
    dtype = str(model.dtype).removeprefix("torch.")
    facts = [f"{in_millions(model.parameters)} parameters", f"blocks of {model.block_size * model.patch_size} tokens"]
    facts += [html.escape(str(model.device)), dtype]
    return (
        f"<header><h1>{TITLE}</h1><p class='purpose'>{PURPOSE}</p>"
        f"<p class='model'><span class='name'>{name}</span> {' · '.join(facts)}</p></header>"
    )


FOOTER = (
    "<footer><p>Program: Apache-2.0. Method: Cola-DLM, <a href='https://arxiv.org/abs/2605.06548' rel='noreferrer'>"
    "arXiv:2605.06548</a>; a checkpoint published in its form loads here unchanged. Your texts stay in this browser, "
    "in the link that you copy and, for some hours at most, in the memory of the server.</p>"
    f"<p class='api'><a href='{API_PAGE}'>Use via API</a></p></footer>"
)
API_HEADER = (
    f"<header><h1>The API of {TITLE}</h1><p>The same operations for programs: with the Python, JavaScript and command "
    f"line clients of gradio, or by HTTP. <a href='{API_PAGE}'>List the endpoints</a> · "
    "<a href='./'>Back to the page</a></p></header>"
)
