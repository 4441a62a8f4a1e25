"""Runs of the tab Generate on a page without gradio's browser side, which takes seconds to start.

What a run goes through is the real thing: the run client, its routes and registry, the view, the model, and the
components that show the parts of a run. Only Run, Stop and one setting stand for the controls that gradio would read.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.runs.access import VisitorCookie
from app.runs.registry import Registry
from app.runs.routes import run_routes
from app.shared.errors import sentence
from app.shared.links import recipe_from
from app.shared.resident import Resident
from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.serve import Limits, Scheduler

from ..app.components.bare import document
from ..app.components.page_parts import PageParts
from ..app.components.values import controls_of
from .net import Net, listening

BENCH = "generate"
# The client first and then the components, as in the page; `runs` is the client's.
WIRING = """<script type="module" src="runs/run_client.js"></script><script type="module">
const {parts, bench, names, values} = JSON.parse(document.querySelector('#given').textContent);
for (const [name, part] of Object.entries(parts)) mount(name, part.html, part.script, part.props);
const field = document.querySelector('#tokens input'), place = names.indexOf('settings.max_new_tokens');
field.value = values[place];
const press = (name, act) => document.querySelector('.run-controls .' + name).addEventListener('click', act);
press('run', () => runs.run(bench, bench, names, values.with(place, Number(field.value))));
press('stop', () => runs.stop(bench));
</script>"""
FIELD = '<label id="tokens">New tokens <input type="number"></label>'


class BareRuns:
    """The tab's runs, served on a bare page whose address holds the recipe that Run starts."""

    def __init__(self, model: ColaDLM, scheduler: Scheduler) -> None:
        self.registry = _registry()
        found = PageParts(Resident(model, False, scheduler), self.registry)
        self.parts = {
            "progress": found.part("progress", BENCH),
            "link": found.part("link", BENCH),
            "text": found.part("strip", BENCH),
            "kept": found.part("kept", BENCH),
        }
        self.net = Net(self._application())

    def start_anew(self) -> None:
        """A server in the place of the first: it has the same views and has never heard of any run."""
        self.net.cut()
        self.registry.close(seconds=0)
        views, self.registry = self.registry.views, _registry()
        for name, view in views.items():
            self.registry.add_view(name, view)
        self.net.app = self._application()

    def _application(self) -> FastAPI:
        self.registry.open()
        app = FastAPI(openapi_url=None)
        app.include_router(run_routes(self.registry))
        app.add_middleware(VisitorCookie, opened=self.registry.come_back)
        app.get("/")(self._page)
        app.mount("/static", StaticFiles(directory=Path(gr.__file__).parent / "templates" / "frontend" / "static"))
        return app

    def _page(self, request: Request) -> HTMLResponse:
        recipe = recipe_from(request.query_params, BENCH)
        assert recipe is not None, "the address has no recipe"
        given = {"parts": {name: part._asdict() for name, part in self.parts.items()}, "bench": BENCH}
        given |= dict(zip(("names", "values"), _flat(recipe), strict=True))
        data = json.dumps(given).replace("<", "\\u003c")
        scripts = f'{FIELD}<script type="application/json" id="given">{data}</script>{WIRING}'
        return HTMLResponse(document(self.parts, BENCH, scripts=scripts))


def _registry() -> Registry:
    return Registry(explain=sentence)


def _flat(recipe: Recipe) -> tuple[list[str], list[Any]]:
    """Names and values of the controls, as the page hands them to the run client."""
    controls = controls_of(recipe.settings, recipe.texts[0])
    settings = controls.pop("settings")
    flat = {**controls, **{f"settings.{name}": value for name, value in settings.items()}}
    return list(flat), list(flat.values())


@contextlib.contextmanager
def bare_runs(model: ColaDLM, limits: Limits) -> Iterator[tuple[str, BareRuns]]:
    """(the address, what is served there)."""
    scheduler = Scheduler(limits)
    served = BareRuns(model, scheduler)
    try:
        with listening(served.net) as address:
            yield address, served
    finally:
        served.registry.close(seconds=0)
        scheduler.close(grace=0)
