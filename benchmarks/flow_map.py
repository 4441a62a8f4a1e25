"""The flow map in a real browser: how soon it answers a scrub, and what a minute of playing costs.

    python -m benchmarks.flow_map [--tokens 64] [--steps 16] [--cloud 2000] [--seconds 60]

Runs the bundled model on the page, in a Chromium without a window. A scrub is timed from the event of the slider to the
frame that the browser has painted, for every moment of the run, there and back. While it plays, the heap of the page is
measured after a garbage collection, and every request to the server is counted (but the heartbeat of the connection).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import time

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright

from app.components.flow_map import FlowMap
from app.page import build_page, launch_options
from app.shared.charts import Charts
from app.shared.cloud_holder import CloudHolder
from coladlm import ColaDLM
from coladlm.latent.reference_cloud import ReferenceCloud

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROUNDS = 1
PLAY = {"name": "Play", "exact": True}
SCRUB = """async rounds => {
  const root = document.querySelector('.flow'), scrub = root.querySelector('.scrub');
  const last = Number(scrub.max), times = [];
  const painted = () => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 0)));
  const to = async value => {
    const start = performance.now();
    scrub.value = value;
    scrub.dispatchEvent(new Event('input'));
    while (root.dataset.frame !== String(value)) await new Promise(resolve => setTimeout(resolve, 0));
    const drawn = performance.now() - start;
    await painted();
    times.push([drawn, performance.now() - start]);
  };
  await to(last);
  times.length = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (let value = 0; value <= last; value += 1) await to(value);
    for (let value = last - 1; value >= 0; value -= 1) await to(value);
  }
  return times;
}"""


def larger(cloud: ReferenceCloud, points: int) -> ReferenceCloud:
    """A cloud of as many points: its own, and where those are too few, copies of them drawn in towards the middle."""
    rows = np.arange(points) % len(cloud.latents)
    share = np.where(np.arange(points) < len(cloud.latents), 1.0, 0.9)[:, None]
    latents = cloud.pca.mean + share * (cloud.latents[rows] - cloud.pca.mean)
    return dataclasses.replace(cloud, token_ids=cloud.token_ids[rows], latents=latents.astype(np.float32))


def served(points: int) -> tuple[gr.Blocks, str]:
    """The page with the bundled model and a cloud of so many points, and its address."""
    model = ColaDLM.from_pretrained(device="cpu")
    page = build_page(model)
    charts = CloudHolder(model).charts
    if charts is None:
        raise SystemExit("the shipped cloud is not one of the bundled model: python -m coladlm.latent.reference_cloud")
    [flow] = [block for block in page.blocks.values() if isinstance(block, FlowMap)]
    flow.props["cloud"] = Charts(model, larger(charts.cloud, points)).text
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    return page, address


def one_run(page: Page, tokens: int, steps: int) -> None:
    """Runs the model on the page and waits for its end."""
    page.locator("#trajectories").get_by_role("button", name="Sampler").click()
    for label, value in (("New tokens", tokens), ("Steps", steps)):
        field = page.locator("#trajectories .setting").filter(has_text=label).locator("input[type=number]").first
        field.fill(str(value))
        field.blur()
    page.locator("#trajectories button.run").click()
    page.locator(".flow[data-state=running]").wait_for()
    page.locator(".flow[data-state=done]").wait_for(timeout=300_000)


def heap_megabytes(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return metrics["JSHeapUsedSize"] / 2**20


def play(page: Page, session: CDPSession, seconds: float) -> None:
    """Plays again and again, and prints the heap after every quarter of the time."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "heartbeat" not in request.url else None)
    print("| played, s | heap, MB |\n|---|---|")
    start, shown = time.monotonic(), -1
    while (now := time.monotonic() - start) < seconds or shown < 4:
        if now >= (shown + 1) * seconds / 4:
            shown += 1
            print(f"| {now:.0f} | {heap_megabytes(session):.1f} |", flush=True)
        button = page.get_by_role("button", **PLAY)
        if button.count():
            button.click()
        page.wait_for_timeout(250)
    print(f"\nRequests while it played: {len(asked)}", *asked[:5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cloud", type=int, default=2000, help="points of the reference cloud")
    parser.add_argument("--seconds", type=float, default=60, help="how long it is played")
    parser.add_argument("--chromium", default=next(filter(None, map(shutil.which, BROWSERS)), None), help="its path")
    options = parser.parse_args()
    blocks, address = served(options.cloud)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        page.goto(address)
        page.get_by_role("tab", name="Trajectories").click()
        page.locator(".flow[data-frame]").wait_for()
        shown = page.evaluate("document.querySelector('#flow .map').data[0].x.length")
        one_run(page, options.tokens, options.steps)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        print(f"{options.tokens} tokens, {options.steps} steps, a cloud of {shown:,} points, 1280 x 800\n")
        print("| map | moments | drawn, median ms | painted, median ms | 95 % | most |\n|---|---|---|---|---|---|")
        for chart in ("pca", "umap"):
            page.locator(f".chart[value={chart}]").check()
            page.wait_for_timeout(1000)
            times = page.evaluate(SCRUB, ROUNDS)
            drawn, painted = (sorted(part) for part in zip(*times, strict=True))
            print(
                f"| {chart} 2D | {len(times)} | {statistics.median(drawn):.0f} | {statistics.median(painted):.0f} "
                f"| {painted[int(0.95 * len(painted))]:.0f} | {painted[-1]:.0f} |",
                flush=True,
            )
        print()
        page.locator(".speed").select_option("4")
        play(page, session, options.seconds)
        browser.close()
    blocks.close()


if __name__ == "__main__":
    main()
