"""What the handlers of the page are given beside a model."""

import dataclasses

import pytest

from coladlm.baseline.bundled import BundledBaseline
from coladlm.latent import reference_cloud
from coladlm.serve import Scheduler


@pytest.fixture(scope="session")
def scheduler():
    one = Scheduler()
    yield one
    one.close(grace=0)


@pytest.fixture(scope="module")
def short_survey(model):
    """For tests that have the small model surveyed: of fewer sentences, in shorter runs of fewer steps."""
    few = reference_cloud.load_sentences()[:90]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_cloud, "NEW_TOKENS", 12)
        patch.setattr("app.shared.cloud_holder.load_sentences", lambda: few)
        patch.setattr(model, "defaults", dataclasses.replace(model.defaults, steps=4))
        yield


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
