"""Dialogs open by keyboard, have no serious violation of accessibility, and close by Escape."""

import pytest
from playwright.sync_api import expect

from ...browser.driving import grave_violations
from .conftest import WIDE

NAMES = ["History", "Help: shortcuts and glossary"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_dialogs_have_no_serious_violation_and_close_by_escape(parts, bare, name, dark):
    page = bare({kind: parts.part(kind) for kind in ("history", "help")}, WIDE, dark=dark)
    page.page.get_by_role("button", name=name, exact=True).focus()
    page.page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(1)
    assert grave_violations(page.page) == []
    page.page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
