"""What the handlers of the page are given beside a model."""

import pytest

from coladlm.baseline.bundled import BundledBaseline
from coladlm.serve import Scheduler


@pytest.fixture(scope="session")
def scheduler():
    one = Scheduler()
    yield one
    one.close(grace=0)


@pytest.fixture
def every_step(monkeypatch) -> None:
    """A frame for every step, however fast they come: a run is seen under way on the fastest machine."""
    for module in ("shared.row_frames", "generate.frames", "trajectories.frames"):
        monkeypatch.setattr(f"app.{module}.FRAME_SECONDS", 0.0)
    monkeypatch.setattr("app.shared.row_frames.SHARE", 1)
    monkeypatch.setattr("coladlm.serve.previews.FRAME_SECONDS", 0.0)
    monkeypatch.setattr("coladlm.serve.previews.PREVIEW_SHARE", 1)


@pytest.fixture(scope="session")
def baseline() -> BundledBaseline:
    return BundledBaseline()
