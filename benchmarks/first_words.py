"""How long a visitor waits from the click on Run to the first words, and where that time goes.

    python -m benchmarks.first_words [--runs 12]

Serves the bundled model and presses Run in a Chromium without a window, the page and the model being warm. Each line
is the time since the click, in ms, of one thing on the way: median and slowest. The machine should have nothing else
to do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

from playwright.sync_api import Page, sync_playwright

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm import ColaDLM
from coladlm.serve import Limits

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MOST_SECONDS = 0.3
STAGES = {
    "asked": "gradio has gathered the controls",
    "starting": "the page says that a run begins",
    "accepted": "the server has taken the run",
    "opened": "the stream of its events is open",
    "heard": "the first event of the stream",
    "words": "the first event with words",
    "painted": "words are on the screen",
}
# Marks what happens, from the capture of the click on; a fetch and its stream are the run client's own.
WATCH = """() => {
  window.marks = {};
  const mark = name => { marks[name] ??= performance.now(); };
  const bench = document.getElementById('generate');
  bench.querySelector('button.run').addEventListener('click', () => { window.marks = {}; mark('click'); }, true);
  bench.addEventListener('run-state', ({detail}) => detail.name === 'starting' && mark('starting'));
  const run = runs.run.bind(runs);
  runs.run = (...given) => { mark('asked'); run(...given); };
  const client = runs.client('generate'), dispatch = client.dispatch.bind(client);
  client.dispatch = event => {
    if (event.type === 'accepted') mark('accepted');
    const strip = event.parts && event.parts.strip;
    if (['snapshot', 'delta', 'beat'].includes(event.type)) mark('heard');
    if (strip && JSON.stringify(strip.live ?? []).length > 12) mark('words');
    dispatch(event);
  };
  const request = client.transport.request;
  client.transport.request = async (...given) => {
    const answer = await request(...given);
    if (given[0].includes('/events')) mark('opened');
    return answer;
  };
  new MutationObserver(() => {
    if (bench.querySelector('#text .live .token')) requestAnimationFrame(() => setTimeout(() => mark('painted')));
  }).observe(bench.querySelector('#text'), {subtree: true, childList: true});
}"""


def press_run(page: Page) -> dict[str, float]:
    """ms from the click to each stage of a run, which is then stopped."""
    page.locator("#generate button.run").click()
    page.wait_for_function("marks.painted")
    marks = page.evaluate("marks")
    page.locator("#generate button.stop").first.click()
    page.wait_for_function("document.getElementById('generate').dataset.runState === 'ended'")
    page.wait_for_timeout(500)
    return {stage: marks[stage] - marks["click"] for stage in STAGES if stage in marks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--chromium", default=next(filter(None, map(shutil.which, BROWSERS)), None), help="its path")
    options = parser.parse_args()
    served = Served(ColaDLM.from_pretrained(device="cpu"), Limits(), ApiOptions(), Options(quiet=True))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(served.address)
            page.locator("#generate button.run").click(trial=True)
            page.wait_for_timeout(3000)
            page.evaluate(WATCH)
            press_run(page)  # the first run of a model that has just been loaded is slower
            times = [press_run(page) for _ in range(options.runs)]
            browser.close()
    finally:
        served.close()
    print("| ms since the click | median | slowest |\n|---|---|---|")
    for stage, name in STAGES.items():
        found = [one[stage] for one in times if stage in one]
        if found:
            print(f"| {name} | {statistics.median(found):.0f} | {max(found):.0f} |")
    median = statistics.median(one["painted"] for one in times)
    print(f"{'holds' if median <= 1000 * MOST_SECONDS else 'FAILS'}: first words within {MOST_SECONDS} s")


if __name__ == "__main__":
    main()
