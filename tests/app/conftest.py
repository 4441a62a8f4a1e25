"""A resident model for the handlers of the page."""

import pytest

from app.bundled_baseline import BundledBaseline
from coladlm import ColaDLM
from coladlm.serve import Scheduler


@pytest.fixture(scope="session")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def scheduler():
    one = Scheduler()
    yield one
    one.close(grace=0)


@pytest.fixture(scope="session")
def baseline() -> BundledBaseline:
    return BundledBaseline()
