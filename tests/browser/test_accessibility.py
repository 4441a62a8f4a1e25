"""axe-core finds no serious violation on any tab, and what opens works by keyboard alone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.page import TABS

from .conftest import NARROW, WIDE
from .driving import be_still
from .test_generate import run, set_up

GRAVE = ("serious", "critical")


def violations(page: Page) -> list[str]:
    """Each grave finding of axe-core with the first places that it names."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {[node['html'][:160] for node in rule['nodes'][:4]]}"
        for rule in found
        if rule["impact"] in GRAVE
    ]


def open_tab(page: Page, label: str) -> None:
    page.get_by_role("tab", name=label, exact=True).click()
    be_still(page)  # JavaScript of a tab starts when it is first shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_has_a_serious_violation(visit, scheme):
    page = visit(WIDE, color_scheme=scheme)
    for tab in TABS:
        open_tab(page, tab.label)
        assert violations(page) == [], tab.label


def test_a_phone_has_no_serious_violation(visit):
    assert violations(visit(NARROW)) == []


def test_a_finished_text_with_everything_open_has_no_serious_violation(visit):
    page = visit(WIDE)
    set_up(page, "Once upon a time", tokens=8)
    run(page)
    page.locator(".answer .token").first.click()
    expect(page.locator("#token .card")).to_be_visible()
    for fold in ("Same noise", "Decode again, without", "Beside an", "Sweep over"):
        page.get_by_role("button", name=fold).click()
    page.get_by_role("button", name="Decode again", exact=True).click()
    expect(page.locator("#again-rows .rows")).to_have_attribute("data-state", "done")
    assert violations(page) == []


@pytest.mark.parametrize("name", ["History", "Help: shortcuts and glossary", "See in five steps what happens"])
def test_dialogs_have_no_serious_violation_and_close_by_escape(visit, name):
    page = visit(WIDE)
    page.get_by_role("button", name=name, exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(1)
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
