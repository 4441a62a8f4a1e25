"""The tab Model in a real browser: the round trip, a file of latents, another model in the place of the first."""

import shutil

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE, serving
from .test_generate import overflow


@pytest.fixture(scope="module")
def server(golden_folder, tmp_path_factory):
    """A server of its own: a test puts another model in place for everybody."""
    with serving(tmp_path_factory.mktemp("server"), "--checkpoint", str(golden_folder), "--allow-loading") as address:
        yield address


def open_model(page: Page) -> Page:
    tab = page.get_by_role("tab", name="Model", exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu button").first.click()
        tab = page.locator(".overflow-dropdown button", has_text="Model")
    tab.click()
    expect(page.locator("#facts")).to_contain_text("What is loaded")
    return page


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_a_text_goes_through_the_vae_and_its_latents_are_saved(visit, size, tmp_path):
    page = open_model(visit(size))
    page.get_by_role("button", name="Encode and decode").click()
    expect(page.locator("#tokens .said")).to_contain_text("tokens come back")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Latents (npz)").click()
    saved.value.save_as(tmp_path / "latents.npz")
    arrays = np.load(tmp_path / "latents.npz", allow_pickle=False)
    assert page.locator("#tokens .tokens li").count() == len(arrays["token_ids"])
    assert overflow(page) <= 0


def test_another_model_is_loaded_while_the_page_stays(visit, golden_folder, tmp_path):
    folder = tmp_path / "the-other"
    shutil.copytree(golden_folder, folder)
    page = open_model(visit())
    page.get_by_label("Folder or Hub id").fill("/nowhere/at/all")
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Not loaded")).to_be_visible()
    page.get_by_label("Folder or Hub id").fill(str(folder))
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator("#facts")).to_contain_text("the-other")
    expect(page.locator("#header")).to_contain_text("the-other")
    page.get_by_role("tab", name="Generate").click()
    page.get_by_label("number input for New tokens").fill("4")
    page.get_by_label("number input for New tokens").blur()
    page.locator("#generate button.run").click()
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
