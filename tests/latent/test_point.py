"""What the decoder reads at a place is what the sampler reads there, and the radius is where the word changes."""

import math

import numpy as np
import pytest
import torch

from coladlm.latent.branch import History
from coladlm.latent.point import SEARCH, BlockReader, nearest_words, read_point, read_states, read_token


@pytest.fixture(scope="module")
def text(model):
    return model.encode_texts(["Once upon a time there was a little cat and a rainy day"])[0]


@pytest.fixture(scope="module", params=[0, 8])
def spot(request, text):
    """(history of a length, the block after it)"""
    n = request.param
    return History(text.latents[:n], text.padded_ids[:n]), text.latents[n : n + 4]


def test_a_block_reads_the_same_as_in_the_whole_sequence(model, spot):
    history, block = spot
    whole = model.decode(torch.cat((history.latents, block)))[-4:]
    found = BlockReader(model, history, 3).logits(block.expand(3, -1, -1))
    torch.testing.assert_close(found, whole.expand(3, -1, -1), rtol=1e-4, atol=1e-4)


def test_the_reading_of_a_place_is_its_distribution(model, spot):
    history, block = spot
    logits = model.decode(torch.cat((history.latents, block)))[-4 + 2]
    found = read_point(model, history, block.numpy(), 2, words=4)
    values, ids = logits.topk(4)
    assert found.token_ids == ids.tolist()
    assert found.probabilities == pytest.approx(logits.softmax(-1)[ids].tolist(), rel=1e-3)
    assert found.margin == pytest.approx(float(values[0] - values[1]), abs=1e-3)


def test_a_token_is_read_with_the_probability_of_the_one_that_was_taken(model, spot):
    history, block = spot
    p = model.decode(torch.cat((history.latents, block)))[-4 + 1].softmax(-1)
    unlikely = int(p.argmin())
    found = read_token(model, history, block.numpy(), 1, unlikely, words=3)
    assert found.token_ids == p.topk(3).indices.tolist()
    assert found.chosen == pytest.approx(float(p[unlikely]), rel=1e-3)
    assert found.margin == pytest.approx(float(p[found.token_ids[0]].log() - p[found.token_ids[1]].log()), abs=1e-3)


def test_states_of_a_block_are_read_one_by_one_after_the_same_history(model, spot):
    history, block = spot
    states = [block.numpy(), -block.numpy()]
    for odds, state in zip(read_states(model, history, states, 1), states, strict=True):
        alone = read_token(model, history, state, 1, 5, words=3)
        assert odds.topk(3).indices.tolist() == alone.token_ids
        assert float(odds[5]) == pytest.approx(alone.chosen, rel=1e-3)


def test_within_the_radius_the_word_stays_in_every_direction_that_was_sought(model, spot):
    history, block = spot
    found = read_point(model, history, block.numpy(), 1)
    rng = np.random.default_rng(0)
    directions = torch.from_numpy(rng.standard_normal((12, 8)).astype(np.float32))
    directions /= directions.norm(dim=1, keepdim=True)
    moved = block.repeat(12, 1, 1)
    moved[:, 1] += (found.radius - 2 * SEARCH * math.sqrt(8) / 2**6) * directions
    if found.radius > 4 * SEARCH * math.sqrt(8) / 2**6:
        read = BlockReader(model, history, 12).logits(moved)[:, 1].argmax(-1)
        assert (read == found.token_ids[0]).float().mean() > 0.9
    assert 0 < found.radius <= SEARCH * math.sqrt(8)


def test_a_reading_is_the_same_twice(model, spot):
    history, block = spot
    assert read_point(model, history, block.numpy(), 0) == read_point(model, history, block.numpy(), 0)


def test_the_nearest_words_are_different_words_in_order():
    latents = np.array([[0.0, 0], [0, 1], [0, 2], [0, 3]])
    assert nearest_words(np.array([0.0, 1.2]), latents, np.array([7, 8, 8, 9])) == [
        (8, pytest.approx(0.2)),
        (7, pytest.approx(1.2)),
        (9, pytest.approx(1.8)),
    ]
