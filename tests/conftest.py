"""Settings and fixtures for all tests. The environment is set before torch, gradio and huggingface_hub are imported.

What takes a second to import is imported where it is used: the process that hands out the tests reads this file, too,
before it starts those that run them.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks another machine for anything
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # or a question to a cluster that has gone starts another one
os.environ.setdefault("OMP_NUM_THREADS", "2")  # the models of the tests are tiny: more threads only wait for each other
# In it torch keeps what operators give for shapes that it has met: with shapes that may be any, looking takes longer.
os.environ["TORCH_FAKE_TENSOR_DISPATCH_CACHE"] = "0"
# Of every HTTP client, which otherwise reads all certificates of the machine first, for 25 ms. Nothing is signed by it.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "fixtures" / "nobody.pem")

import numpy as np
import pytest

import app  # noqa: F401  (before any test imports gradio, which then writes no stubs)
from coladlm.garbage_collection import collect_seldom, keep_what_is_there

if TYPE_CHECKING:
    from torch import Tensor

    from coladlm import ColaDLM
    from coladlm.latent.reference_cloud import ReferenceCloud, Survey

collect_seldom()  # before all that the tests import

GOLDEN = Path(__file__).parent / "fixtures" / "golden"
STAND_IN = Path(__file__).parent / "fixtures" / "stand_in"  # for umap-learn, on the path of the process that fits
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHELL_NAMES = ("chromium-headless-shell", "chrome-headless-shell")
CHROMIUM_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# ms, for a busy machine: whatever is awaited on a page is there sooner, or never
PATIENCE = int(os.environ.get("BROWSER_PATIENCE", 60_000))
# ms; Playwright by itself looks at every frame, and has a page that waits draw each of them, a tenth of its work
POLLING = 100
OTHER_NAME = "explorer.example"  # by which the browser reaches this machine, too
# of the browser tests those that have a server of their own, or none; the others share one
OWN_SERVER = ("test_heard.py", "test_run_client.py", "test_runs.py", "test_waiting_line.py")
LONG_FOLDERS = ("browser", "components", "api", "latent", "trajectories")  # whose files take longest, in that order
# and of the rest; a long one that began last would leave the other worker without work
LONG_FILES = ("test_ray.py", "test_ranks.py", "test_wheel.py", "test_every_processor.py", "test_compiled_pieces.py",
              "test_tasks.py", "test_stages.py", "test_map.py", "test_scheduler.py", "test_operations.py")  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keeps what is there before the first test, a million objects, out of every garbage collection to come."""
    gc.disable()
    try:
        return (yield)
    finally:
        keep_what_is_there()
        gc.enable()


def pytest_sessionfinish() -> None:
    """Keeps what is left of the tests out of the collections with which pytest and Python end, seconds for nothing."""
    keep_what_is_there()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first: workers that take one file after the other then come to their end together."""
    order = {name: place for place, name in enumerate((*LONG_FOLDERS, *LONG_FILES))}
    items.sort(key=lambda item: min(order.get(name, len(order)) for name in (item.path.parent.name, item.path.name)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile, tests of the page stay with the worker that has started its server."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFolder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(super()._split_scope(nodeid))
            shared = path.parent.name == "browser" and path.name not in OWN_SERVER
            return "the page" if shared else str(path)

    return ByFolder(config, log)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """A small random checkpoint of the published form, with answers computed in float64 and rounded once.

    Its sampler.json has few steps: most tests ask what a run does, not how well.
    """
    return GOLDEN


@pytest.fixture(scope="session")
def golden() -> dict[str, Tensor]:
    """The inputs and answers that belong to `golden_folder`, by the keys `encode.0.ids`, `velocity.0.v`, ..."""
    from safetensors.torch import load_file

    return load_file(GOLDEN / "golden.safetensors")


@pytest.fixture(scope="session")
def golden_settings() -> dict:
    """Prompts, sampler settings and generated texts that belong to `golden`."""
    return json.loads((GOLDEN / "golden.json").read_text())


@pytest.fixture(scope="session")
def model(golden_folder: Path) -> ColaDLM:
    """A small model of random weights, with scaled latents: every structure holds, no text means anything."""
    from coladlm import ColaDLM

    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def survey(model: ColaDLM) -> Survey:
    """What `model` says of some sentences: words, and states of short runs."""
    from coladlm.latent import reference_cloud

    kept = model.defaults
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_cloud, "NEW_TOKENS", 12)
        model.defaults = dataclasses.replace(kept, steps=4)
        try:
            *_, (share, _, found) = reference_cloud.surveyed(model, reference_cloud.load_sentences()[:90])
        finally:
            model.defaults = kept
    assert share == 1.0
    return found


@pytest.fixture(scope="session")
def golden_cloud(survey: Survey) -> ReferenceCloud:
    """The reference cloud of `model`, with maps of the form of a UMAP: how one is fitted is tested by itself."""
    from coladlm.latent.projection import UMAPMap
    from coladlm.latent.reference_cloud import with_pca, with_umap

    cloud = with_pca(survey)
    states = cloud.pca.place(survey.fitted_on()[:200])
    for dimensions in (2, 3):
        embedding = np.random.default_rng(0).normal(size=(200, dimensions)).astype(np.float32)
        cloud = with_umap(cloud, survey, UMAPMap(cloud.pca, states, embedding))
    return cloud


@pytest.fixture
def layout_without_umap(monkeypatch) -> None:
    """A fit takes the place of the points from their first components: everything around it is the real thing.

    umap-learn needs ten seconds for its first fit in a process; one test makes a real one.
    """
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser for Playwright's `executable_path`. A test that needs it fails where there is none."""
    for name in filter(None, (os.environ.get("CHROMIUM"), *CHROMIUM_NAMES)):
        if found := shutil.which(name):
            return found
    if CHROMIUM_MAC.exists():
        return str(CHROMIUM_MAC)
    pytest.fail(
        f"found no browser by the names {', '.join(CHROMIUM_NAMES)}: install one (`make browser`) or set CHROMIUM"
    )


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    """Playwright, of which a thread can start only one."""
    from playwright.sync_api import Page, expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as started, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Page, "wait_for_function", functools.partialmethod(Page.wait_for_function, polling=POLLING))
        yield started


@pytest.fixture(scope="session")
def headless(chromium: str) -> str:
    """Path of a Chromium without windows, in which a page opens in two thirds of the time; else of the other one."""
    found = None if os.environ.get("CHROMIUM") else next(filter(None, map(shutil.which, SHELL_NAMES)), None)
    return found or chromium


@pytest.fixture(scope="session")
def browser(playwright: Any, headless: str) -> Iterator[Any]:
    """One browser for all tests of a worker."""
    resolve = f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1"
    browser = playwright.chromium.launch(executable_path=headless, args=["--no-sandbox", resolve])
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def bundled() -> ColaDLM:
    """The model that ships with the project."""
    from coladlm import ColaDLM
    from coladlm.checkpoint import BUNDLED

    return ColaDLM.from_pretrained(BUNDLED, device="cpu", dtype="float32")
