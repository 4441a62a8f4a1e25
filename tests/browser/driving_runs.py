"""What the tests of runs by id do on a page, be it the real one or a bare one."""

from __future__ import annotations

import functools

from playwright.sync_api import Page

from app.shared.links import link_of
from app.shared.token_pieces import pieces
from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from .heard import Heard

PROMPT = "Once upon a time"
SHORT = SamplerSettings(steps=4, max_new_tokens=24, stop_at_end=False)
LONG = SamplerSettings(steps=8, max_new_tokens=1024, stop_at_end=False)  # many seconds of a `slow_model`, to be stopped


def link(settings: SamplerSettings, model: str = "") -> str:
    """The query of an address with a recipe. model: a fingerprint, with which the real page runs it at once."""
    return link_of(Recipe("generate", (PROMPT,), settings, model=model))["query"]


@functools.cache
def written(model: ColaDLM, settings: SamplerSettings = SHORT) -> str:
    """The answer as the page shows it."""
    *_, finished = run(model, Recipe("generate", (PROMPT,), settings))
    ids, special = finished.token_ids[0], frozenset((*model.end_ids, model.pad_id))
    texts = pieces(model.tokenizer, ids, model.tokenize(PROMPT)[-8:], special, whole=True)
    return "".join("∎" if token in special else text for text, token in zip(texts, ids, strict=True))


def press(page: Page, button: str) -> None:
    page.locator(f"#generate .run-controls button.{button}").click()


def press_in_one_go(page: Page, *buttons: str) -> None:
    page.evaluate(
        "names => names.forEach(name => document.querySelector('#generate .run-controls .' + name).click())", buttons
    )


def state(page: Page, *names: str) -> None:
    """Waits until the run client is in one of the states."""
    page.wait_for_function("names => names.includes(document.getElementById('generate').dataset.runState)", arg=names)


def came_to(page: Page, outcome: str) -> None:
    """Waits until the progress line says that the run has come to this."""
    page.wait_for_function("outcome => document.getElementById('generate').dataset.run === outcome", arg=outcome)


def note(page: Page) -> str:
    return page.locator("#generate .own-progress_line .note").first.inner_text()


def answer(page: Page) -> str:
    return page.locator("#text .answer").text_content()


def shows(page: Page, text: str, what: str = ".answer") -> None:
    """Waits until the strip shows this text, letter for letter: a strip that starts late gets it then."""
    arg = {"text": text, "what": f"#text {what}"}
    page.wait_for_function("({text, what}) => document.querySelector(what)?.textContent === text", arg=arg)


def words(page: Page, count: int) -> None:
    """Waits until so many tokens are written."""
    page.wait_for_function("n => document.querySelectorAll('#text .answer .token').length >= n", arg=count)


def faults(heard: Heard) -> list[str]:
    """What went wrong on a page, but for what a browser says itself on its console of a connection that breaks."""
    if heard.page.is_closed():
        return []
    return [what for what in heard.wrong() if "net::" not in what and "Failed to load resource" not in what]


def leave(page: Page) -> None:
    """Leaves the page, and has the browser forget what the page has kept until then."""
    page.goto(page.evaluate("new URL('runs/run_client.js', location.href).href"))  # the same origin, and no page
    page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.goto("about:blank")
    page.context.clear_cookies()
