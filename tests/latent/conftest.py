"""The models that the tests of latent operations run on."""

from pathlib import Path

import pytest

from coladlm import ColaDLM


@pytest.fixture(scope="session")
def model(golden_folder: Path) -> ColaDLM:
    """A small model of random weights, with scaled latents: every structure holds, no text means anything."""
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
