"""axe-core finds no serious violation on any tab, light or dark, wide or narrow. Dialogs: tests/app/components."""

from collections.abc import Sequence

from playwright.sync_api import Page, expect

from app.page import TABS

from .conftest import NARROW, WIDE
from .driving import be_still, grave_violations, open_tab, overflow, write

CONTRAST = ("color-contrast",)  # half of the time of all rules
RULES = {"dark": CONTRAST}  # what a scheme changes; all rules are for the other one


def wear(page: Page, scheme: str) -> None:
    """Has the browser prefer a colour scheme, and waits until the page wears it."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")


def look_at_every_tab(page: Page, *schemes: str, without: Sequence[str] = ()) -> None:
    for tab in TABS:
        open_tab(page, tab.label)
        be_still(page)  # JavaScript of a tab starts when it is first shown
        for scheme in schemes:
            wear(page, scheme)
            assert grave_violations(page, RULES.get(scheme, ()), without) == [], (tab.label, scheme)
        assert overflow(page) <= 0, tab.label


def test_no_tab_and_no_finished_text_with_everything_open_has_a_serious_violation(visit):
    page = visit(WIDE)
    look_at_every_tab(page, "light", "dark")
    open_tab(page, "Generate")
    write(page, tokens=8)
    page.locator("#text .answer .token").first.dispatch_event("click")
    expect(page.locator("#token .card")).to_be_visible()
    for view in ("Other settings", "An autoregressive model", "A sweep", "Decoded again"):
        page.get_by_role("button", name=view).click()
    page.get_by_role("button", name="Decode again", exact=True).click()
    expect(page.locator("#again-rows .rows")).to_have_attribute("data-state", "done")
    # all at once, for axe-core passes over what is hidden
    page.evaluate("document.querySelectorAll('.run-panel').forEach(panel => panel.toggleAttribute('data-shown', true))")
    page.mouse.move(0, 0)  # else the hint of what is pointed at is looked at while it appears
    be_still(page)
    for scheme in ("dark", "light"):
        wear(page, scheme)
        assert grave_violations(page, RULES.get(scheme, ())) == [], scheme


def test_no_tab_has_a_serious_violation_on_a_phone(visit):
    look_at_every_tab(visit(NARROW), "light", without=CONTRAST)  # the colours are those of the wide page
