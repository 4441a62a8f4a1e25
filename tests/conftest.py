"""Settings and fixtures for all tests. The environment is set before torch, gradio and huggingface_hub are imported."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks another machine for anything
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")  # the models of the tests are tiny: more threads only wait for each other

import pytest
from safetensors.torch import load_file
from torch import Tensor

from coladlm import ColaDLM
from coladlm.checkpoint import BUNDLED

GOLDEN = Path(__file__).parent / "fixtures" / "golden"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
LONG_FOLDERS = ("browser", "latent", "serving", "app")  # whose files take longest, in that order
BUNDLED_PAGES = ("test_map.py", "test_model.py", "test_trajectories.py")  # not served with the golden model alone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first: workers that take one file after the other then come to their end together."""
    order = {folder: place for place, folder in enumerate(LONG_FOLDERS)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile, files of browser tests that share a page's server stay with one worker, which starts it."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(super()._split_scope(nodeid))
            if path.parent.name != "browser":
                return str(path)
            return "pages of the bundled model" if path.name in BUNDLED_PAGES else "pages of the golden model"

    return ByServer(config, log)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """A small random checkpoint of the published form, with answers computed in float64 and rounded once."""
    return GOLDEN


@pytest.fixture(scope="session")
def golden() -> dict[str, Tensor]:
    """The inputs and answers that belong to `golden_folder`, by the keys `encode.0.ids`, `velocity.0.v`, ..."""
    return load_file(GOLDEN / "golden.safetensors")


@pytest.fixture(scope="session")
def golden_settings() -> dict:
    """Prompts, sampler settings and generated texts that belong to `golden`."""
    return json.loads((GOLDEN / "golden.json").read_text())


@pytest.fixture
def uncompiled_umap(monkeypatch) -> None:
    """Fits a UMAP in plain Python: for a few points that takes a quarter of the time that numba's compilation takes."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")


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
def bundled() -> ColaDLM:
    """The model that ships with the project."""
    return ColaDLM.from_pretrained(BUNDLED, device="cpu", dtype="float32")
