"""The sentences that ship, read once by the small model."""

import pytest

from coladlm import ColaDLM
from coladlm.latent.sentence_map import SentenceMap, read_sentences


@pytest.fixture(scope="session")
def read(model: ColaDLM) -> SentenceMap:
    *_, (_, found) = read_sentences(model)
    return found
