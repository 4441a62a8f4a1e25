"""What the handlers of the page are given beside a model."""

import pytest

from coladlm.baseline.bundled import BundledBaseline
from coladlm.serve import Scheduler


@pytest.fixture(scope="session")
def scheduler():
    one = Scheduler()
    yield one
    one.close(grace=0)


@pytest.fixture(scope="session")
def baseline() -> BundledBaseline:
    return BundledBaseline()
