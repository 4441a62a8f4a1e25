"""A resident model for the doors."""

import pytest

from coladlm import ColaDLM


@pytest.fixture(scope="session")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
