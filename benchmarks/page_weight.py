"""What a first visit costs: bytes over the wire, requests, and how soon something and then everything is there.

    python -m benchmarks.page_weight [--visits 5]

Serves the bundled model and opens the page in a Chromium without a window, each time with an empty cache; then every
tab. The last row is a phone's: a network of 10 Mbit/s with 60 ms to the server and back, a processor four times slower.
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import statistics

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

from playwright.sync_api import Browser, sync_playwright

from app.api.openai_api import ApiOptions
from app.page import TABS
from app.server import Options, Served
from coladlm import ColaDLM
from coladlm.serve import Limits

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SLOW = {"offline": False, "latency": 60, "downloadThroughput": 10e6 / 8, "uploadThroughput": 10e6 / 8}
TIMES = """() => [performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"""


def first_visit(browser: Browser, address: str, phone: bool) -> tuple[list[float], collections.Counter, int]:
    """(ms to the first paint with something in it and to a page that takes a click, bytes by kind, requests)."""
    context = browser.new_context(viewport=PHONE if phone else DESK, reduced_motion="reduce")
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    if phone:
        session.send("Network.emulateNetworkConditions", SLOW)
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    kinds, sizes = {}, {}
    session.on("Network.responseReceived", lambda event: kinds.__setitem__(event["requestId"], event["type"]))
    session.on("Network.loadingFinished",
               lambda event: sizes.__setitem__(event["requestId"], event["encodedDataLength"]))  # fmt: skip
    page.goto(address)
    page.locator("#generate button.run").click(trial=True)
    times = page.evaluate(TIMES)
    page.wait_for_timeout(3000)  # the connection that a page keeps open never lets the network be idle
    weight = collections.Counter()
    for request, size in sizes.items():
        weight[kinds.get(request, "Other")] += size
    context.close()
    return times, weight, len(sizes)


def every_tab(browser: Browser, address: str) -> dict[str, int]:
    """Bytes that each tab asks for when it is first opened, one after the other."""
    page = browser.new_page(viewport=DESK, reduced_motion="reduce")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    received, found = [0], {}
    session.on("Network.loadingFinished",
               lambda event: received.__setitem__(0, received[0] + event["encodedDataLength"]))  # fmt: skip
    page.goto(address)
    page.locator("#generate button.run").wait_for()
    page.wait_for_timeout(2000)
    for tab in TABS[1:]:
        before = received[0]
        page.get_by_role("tab", name=tab.label, exact=True).click()
        page.wait_for_timeout(2500)
        found[tab.label] = received[0] - before
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--chromium", default=next(filter(None, map(shutil.which, BROWSERS)), None), help="its path")
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(device="cpu")
    served = Served(model, Limits(), ApiOptions(), Options(quiet=True))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        print("| visit | requests | KB | first paint, ms | takes a click, ms |\n|---|---|---|---|---|")
        for name, phone in (("1280 x 800", False), ("a phone", True)):
            visits = [first_visit(browser, served.address, phone) for _ in range(options.visits)]
            paint, ready = (statistics.median(part) for part in zip(*(times for times, _, _ in visits), strict=True))
            _, weight, count = visits[-1]
            print(f"| {name} | {count} | {sum(weight.values()) / 1e3:.0f} | {paint:.0f} | {ready:.0f} |", flush=True)
        parts = ", ".join(f"{kind.lower()} {size / 1e3:.0f} KB" for kind, size in weight.most_common() if size > 1000)
        print(f"\nOf these: {parts}.")
        tabs = every_tab(browser, served.address)
        print("Further, when a tab is first opened:", ", ".join(f"{n} {size / 1e3:.0f} KB" for n, size in tabs.items()))
        browser.close()
    served.close()


if __name__ == "__main__":
    main()
