"""The tabs Bench and Model on a phone: the round trip, a file of latents, another model in the place of the first."""

import shutil
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from .conftest import NARROW
from .driving import be_still, fits, open_tab, run, set_up


def the_bench_fits(page: Page) -> None:
    open_tab(page, "Bench")
    be_still(page)
    fits(page)


def a_text_goes_through_the_vae_and_its_latents_are_saved(page: Page, tmp_path: Path) -> None:
    expect(page.locator("#facts")).to_contain_text("What is loaded")
    page.get_by_role("button", name="Encode and decode").click()
    expect(page.locator("#tokens .note")).to_contain_text("tokens come back")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Latents (npz)").click()
    saved.value.save_as(tmp_path / "latents.npz")
    arrays = np.load(tmp_path / "latents.npz", allow_pickle=False)
    assert len(arrays["token_ids"]) == len(arrays["mean"]) > 0
    expect(page.locator("#tokens .tokens li")).to_have_count(len(arrays["mean"]))
    fits(page)


def test_the_bench_fits_and_a_text_goes_through_the_vae_and_another_model_is_loaded(visit, golden_folder, tmp_path):
    folder = tmp_path / "the-other"
    shutil.copytree(golden_folder, folder)
    page = visit(NARROW)
    the_bench_fits(page)
    bench = open_tab(page, "Model")
    a_text_goes_through_the_vae_and_its_latents_are_saved(page, tmp_path)

    def load(path: str) -> None:
        bench.get_by_label("Folder or Hub id").fill(path)
        bench.get_by_role("button", name="Load", exact=True).click()

    load("/nowhere/at/all")
    expect(page.get_by_role("alert").filter(has_text="Not loaded")).to_be_visible()
    load(str(folder))
    expect(page.locator("#facts")).to_contain_text("the-other")
    expect(page.locator("#header")).to_contain_text("the-other")
    open_tab(page, "Generate")
    set_up(page, tokens=4)
    run(page)
    open_tab(page, "Model")
    load(str(golden_folder))  # for everybody who visits this server
    expect(page.locator("#header")).to_contain_text(golden_folder.name)
