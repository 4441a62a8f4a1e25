"""axe-core finds no serious violation on any tab, light or dark, wide or narrow. Dialogs: tests/components."""

import pytest
from playwright.sync_api import expect

from app.page import TABS

from .conftest import NARROW, WIDE
from .driving import be_still, grave_violations, open_tab, overflow, write


@pytest.mark.parametrize("size, scheme", [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light")], ids=str)
def test_no_tab_has_a_serious_violation(visit, size, scheme):
    page = visit(size, color_scheme=scheme)
    for tab in TABS:
        open_tab(page, tab.label)
        be_still(page)  # JavaScript of a tab starts when it is first shown
        assert grave_violations(page) == [], tab.label
        assert overflow(page) <= 0, tab.label


def test_a_finished_text_with_everything_open_has_no_serious_violation(visit):
    page = visit(WIDE)
    write(page, tokens=8)
    page.locator("#text .answer .token").first.dispatch_event("click")
    expect(page.locator("#token .card")).to_be_visible()
    for fold in ("Same noise", "Decode again, without", "Beside an", "Sweep over"):
        page.get_by_role("button", name=fold).click()
    page.get_by_role("button", name="Decode again", exact=True).click()
    expect(page.locator("#again-rows .rows")).to_have_attribute("data-state", "done")
    assert grave_violations(page) == []
