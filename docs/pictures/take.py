"""Takes the pictures that README and docs show: the bundled model's page in a headless Chromium.

python docs/pictures/take.py          takes those anew that were taken with other weights or settings
python docs/pictures/take.py --all    takes them all
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path.insert(0, str(ROOT))

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

from app.api.openai_api import ApiOptions  # noqa: E402  (found by the line above)
from app.server import Options, Served  # noqa: E402
from coladlm import ColaDLM  # noqa: E402
from coladlm.serve import Limits  # noqa: E402
from coladlm.train.assets import Asset, make, stale  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT = 120_000  # milliseconds for a run


def writing(page: Page) -> None:
    """Generate, with two thirds of a story written."""
    page.locator("#generate button.run").click()
    page.wait_for_function(
        "() => { const [, at, of] = /block (\\d+) of (\\d+)/.exec(document.body.textContent) ?? [];"
        " return at >= 0.7 * of && document.querySelectorAll('#text .live .token').length > 1; }"
    )


def trajectories(page: Page) -> None:
    """The flow map of the recorded run, two thirds through."""
    page.get_by_role("tab", name="Trajectories", exact=True).click()
    page.locator("#flow .flow[data-state=done][data-frame]").wait_for()
    page.locator("#flow input[type=range]").first.evaluate(
        "slider => { slider.value = Math.round(0.66 * slider.max);"
        " slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    page.wait_for_timeout(1000)  # until the map is drawn


def sentences(page: Page) -> None:
    """The sentences that ship, on their UMAP, with those nearest to one."""
    page.get_by_role("tab", name="Map", exact=True).click()
    page.locator("#texts .row").first.wait_for()
    page.locator("#texts .query").fill("The dog ran to the park.")
    page.get_by_role("button", name="Find by meaning").click()
    expect(page.locator("#texts .heading")).to_contain_text("Nearest", timeout=WAIT)
    page.locator("#texts").scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, document.querySelector('#tabs').getBoundingClientRect().top)")
    page.wait_for_timeout(1000)


SCENES: dict[str, tuple[tuple[int, int], Callable[[Page], None]]] = {
    "generate-writing.png": ((1280, 800), writing),
    "trajectories.png": ((1280, 1000), trajectories),
    "map.png": ((1280, 1000), sentences),
}


def take(model: ColaDLM, name: str, file: Path) -> None:
    """Takes one picture, of a page that nobody has looked at before."""
    (width, height), scene = SCENES[name]
    browser_path = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CHROMIUM"), *BROWSERS)))), None)
    if browser_path is None:
        sys.exit(f"found no browser by the names {', '.join(BROWSERS)}: install one (`make browser`) or set CHROMIUM")
    served = Served(model, Limits(), ApiOptions(), Options(quiet=True))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
            page.set_default_timeout(WAIT)
            page.add_init_script("localStorage.setItem('coladlm-tour', 'seen')")
            page.goto(served.address)
            page.wait_for_selector("button.run")
            scene(page)
            page.screenshot(path=file)
            browser.close()
    finally:
        served.close()


def main() -> None:
    model = ColaDLM.from_pretrained()
    settings = model.defaults.to_dict()
    pictures = [Asset(name, settings, lambda model, file, name=name: take(model, name, file)) for name in SCENES]
    wanted = pictures if "--all" in sys.argv[1:] else stale(model, pictures, FOLDER)
    for picture in make(model, wanted, FOLDER):
        print(f"taking docs/pictures/{picture.name}", file=sys.stderr, flush=True)
    print(f"{len(wanted)} of {len(pictures)} pictures taken.")


if __name__ == "__main__":
    main()
