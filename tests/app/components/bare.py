"""A bare page with components of ours on it: their HTML, CSS and JavaScript, and what they need of gradio.

A server of files gives it out; no gradio and no model is behind it. A component is given `element`, `props`, `trigger`
and `watch` as gradio gives them; what it triggers is written down, and `update` stands for what the server sends.

Most of the work of a small test would be to open its page. So the first one opens it, and for the next it begins anew,
with an empty body: nothing of what was on it listens, waits or watches any more, and the browser has no past.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator

from ...browser.heard import Heard
from .file_server import COMPONENTS, STYLE_SHEET, FileServer
from .page_parts import SCRIPTS, STYLES, Part

# As gradio 6.31 does it (its Index of HTML): `update` compares as JSON, then tells the watchers in a microtask.
GRADIO = """window.parts = {};
window.mount = (name, html, script, props) => {
  const element = document.querySelector('#' + name + ' > .html'), watchers = [], triggered = [];
  element.innerHTML = html;
  const trigger = (event, data = {}) => triggered.push([event, JSON.parse(JSON.stringify(data))]);
  const watch = (names, callback) => watchers.push([[names].flat(), callback]);
  const update = news => {
    const changed = Object.keys(news).filter(key => JSON.stringify(props[key]) !== JSON.stringify(news[key]));
    Object.assign(props, JSON.parse(JSON.stringify(news)));
    queueMicrotask(() => watchers.filter(([names]) => names.some(name => changed.includes(name))).forEach(([, act]) => act()));
  };
  parts[name] = {props, triggered, update};
  new Function('element', 'trigger', 'props', 'watch', script)(element, trigger, props, watch);
};"""  # noqa: E501

# What outlives a body: listeners of the window and of the document, observers, timers, frames, what the browser keeps.
ANEW = """const over = [];
for (const target of [window, document]) {
  const listen = target.addEventListener.bind(target);
  target.addEventListener = (...given) => { over.push(() => target.removeEventListener(...given)); listen(...given); };
}
for (const kind of ['MutationObserver', 'ResizeObserver', 'IntersectionObserver']) {
  window[kind] = class extends window[kind] {
    constructor(...given) { super(...given); over.push(() => this.disconnect()); }
  };
}
window.anew = async (html, dark) => {
  // who waits for a library goes on now, and not on the next page
  await Promise.all([window.plotlyLoading, ...Object.values(window.cardScripts ?? {})]);
  over.splice(0).forEach(end => end());
  for (let id = setTimeout(() => {}); id > 0; id -= 1) clearTimeout(id);
  for (let id = requestAnimationFrame(() => {}); id > 0; id -= 1) cancelAnimationFrame(id);
  window.parts = {};
  localStorage.clear();
  sessionStorage.clear();
  history.replaceState(null, '', location.pathname);
  document.title = 'bare';
  const root = document.documentElement, body = document.createElement('body');
  root.getAttributeNames().filter(name => name !== 'lang').forEach(name => root.removeAttribute(name));
  body.className = dark ? 'dark' : '';
  body.innerHTML = html;
  document.body.replaceWith(body);
  scrollTo(0, 0);
};"""

INLINE = f"<style>{STYLES}</style><script>{SCRIPTS}</script>"
# what a browser reads once, and not with every page
LINK = f'<link rel="stylesheet" href="{STYLE_SHEET}"><script src="{COMPONENTS}"></script>'


class Bare:
    """What is on the page, by the names it was put there with."""

    def __init__(self, heard: Heard, server: FileServer) -> None:
        self.heard, self.page, self.server = heard, heard.page, server
        self.parts: dict[str, Part] = {}
        self.kept = ""  # what stays on the page for the next test, by a name of the tests
        self.opened = False
        self.moves: bool | None = None  # does its visitor want to see things move?
        self.spoiled = False  # has a test changed what `ANEW` does not put right?

    def show(self, parts: Mapping[str, Part], bench: str | None = None, dark: bool = False) -> None:
        """Puts parts on an empty page of a browser without a past. bench, dark: see `document`."""
        self.parts, self.kept = dict(parts), ""
        self.server.page = document(self.parts, bench, dark, styles=f"{LINK}<script>{ANEW}</script>")
        if self.opened:
            self.page.evaluate("given => anew(...given)", [_body(self.parts, bench), dark])
            self._mount()
            return
        self.server.anew = self.opened = True
        self.open()

    def open(self) -> None:
        """Opens the page, or opens it once more: components begin again, with what the browser has kept."""
        self.page.goto(self.server.address)
        self._mount()

    def _mount(self) -> None:
        given = [[name, part.html, part.script, part.props] for name, part in self.parts.items()]
        self.page.evaluate("all => all.forEach(given => mount(...given))", given)

    def leave(self) -> None:
        """Leaves the page, so that nothing on it moves any more."""
        self.page.goto(self.server.nothing)
        self.kept, self.opened, self.spoiled = "", False, False

    def update(self, name: str, value: Any, **props: Any) -> None:
        """Sends a part a value, and further props, as the server does."""
        self.page.evaluate("([name, news]) => parts[name].update(news)", [name, {"value": value, **props}])

    def frame(self, name: str, value: Any) -> None:
        """Gives a part what a run shows in it, as the page does for a run by its id (app/runs/run_client.js)."""
        self.page.evaluate(
            """([name, detail]) => document.querySelector('#' + name + ' > [data-run-part]')
            .dispatchEvent(new CustomEvent('frame', {detail}))""",
            [name, value],
        )

    def run_state(self, state: str, outcome: str = "", message: str = "") -> None:
        """Tells the bench how its run stands, likewise."""
        self.page.evaluate(
            """detail => document.querySelector('.workbench').dispatchEvent(new CustomEvent('run-state', {detail}))""",
            {"name": state, "id": "a-run", "outcome": outcome, "message": message, "shown": True},
        )

    def value(self, name: str) -> Any:
        """The value of a part, which it may have changed itself."""
        return self.page.evaluate("name => parts[name].props.value", name)

    def triggered(self, name: str, event: str | None = None) -> list[Any]:
        """What a part has triggered: the data of every such event, or [event, data] of all of them."""
        triggered = self.page.evaluate("name => parts[name].triggered", name)
        return triggered if event is None else [data for kind, data in triggered if kind == event]

    def locator(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def overflow(self) -> int:
        """By how much the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def save(self, button: Locator, folder: Path) -> Path:
        """The file that a button saves."""
        with self.page.expect_download() as download:
            button.click()
        file = folder / download.value.suggested_filename
        download.value.save_as(file)
        return file


def document(
    parts: Mapping[str, Part], bench: str | None, dark: bool = False, scripts: str = "", styles: str = INLINE
) -> str:
    """The HTML of a page with places for parts, which `mount` fills, as soon as something calls it.

    bench: the id of a workbench around them, with Run and Stop; None for none. scripts: HTML at the end of the page.
    styles: HTML that brings the styles of the page and the JavaScript of the components.
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>bare</title>'
        f'<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{styles}<script>{GRADIO}</script></head><body{' class=dark' if dark else ''}>"
        f"{_body(parts, bench)}{scripts}</body></html>"
    )


def _body(parts: Mapping[str, Part], bench: str | None) -> str:
    places = "".join(_place(name, part) for name, part in parts.items())
    if bench is not None:
        places = (
            f'<div class="workbench" id="{bench}"><div class="run-controls"><button class="run">Run</button>'
            f'<button class="stop">Stop</button></div><div class="results">{places}</div></div>'
        )
    return f'<main class="gradio-container"><h1>Bare</h1>{places}</main>'


def _place(name: str, part: Part) -> str:
    assert re.fullmatch(r"[a-z0-9_-]+", name)
    return f'<div id="{name}" class="block {html.escape(" ".join(part.classes))}"><div class="html"></div></div>'
