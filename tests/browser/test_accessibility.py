"""axe-core finds no serious violation on any tab of a wide page, light or dark.

Dialogs: tests/app/components. Narrow pages: what visitors do on each tab of a phone ends with a look at it (`fits`).
"""

from playwright.sync_api import Page, expect

from app.page import TABS

from .conftest import WIDE
from .driving import CONTRAST, be_still, grave_violations, is_no_wider, open_tab, write

OPEN_TAB = "#tabs > [role=tabpanel]:not([style*='display: none'])"
READY = {"Trajectories": "#flow .start", "Map": "#texts .row"}  # what comes to a tab after it is shown
RULES = {"dark": CONTRAST}  # what a scheme changes; all rules are for the other one

USED_TWICE = """[...document.querySelectorAll('[id]:not([id=""])')].map(box => box.id)
  .filter((id, i, all) => all.indexOf(id) !== i)"""


def wear(page: Page, scheme: str) -> None:
    """Has the browser prefer a colour scheme, and waits until the page wears it."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")


def violations(page: Page, scheme: str, within: str = "html") -> list[str]:
    """Those of the page in this scheme. What is found before a map has been drawn in its new colours is none."""
    wear(page, scheme)
    found = grave_violations(page, RULES.get(scheme, ()), within=within)
    if not found:
        return []
    be_still(page)
    return grave_violations(page, RULES.get(scheme, ()), within=within)


def test_no_tab_and_no_finished_text_with_everything_open_has_a_serious_violation(visit):
    page = visit(WIDE)
    # axe-core walks over what is hidden too: the tables of the bench come last
    first, *others = sorted(TABS, key=lambda tab: tab.label == "Bench")
    look_at(page, first.label)
    with_everything_open(page)  # and what is around the tabs is looked at, too
    for tab in others:
        look_at(page, tab.label)
    assert page.evaluate(USED_TWICE) == []  # also of tabs that are not open, which axe-core is not shown


def look_at(page: Page, tab: str) -> None:
    open_tab(page, tab)
    if tab in READY:
        expect(page.locator(READY[tab]).first).to_be_visible()
    be_still(page)  # JavaScript of a tab starts when it is first shown
    expect(page.locator(OPEN_TAB)).to_have_count(1)
    for scheme in ("light", "dark"):
        assert violations(page, scheme, OPEN_TAB) == [], (tab, scheme)
    is_no_wider(page)


def with_everything_open(page: Page) -> None:
    """A text on Generate, what can be done with it, and all of its panels."""
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
        assert violations(page, scheme) == [], scheme
