"""Directions come from what two lists of sentences do not share."""

import pytest
import torch

from coladlm.latent import (
    DirectionError,
    LatentSpace,
    build,
    build_shipped,
    load_pairs,
    principal_components,
    shipped,
)


def test_four_directions_ship(model):
    assert shipped() == ("day-night", "happy-sad", "he-she", "past-present")


@pytest.mark.parametrize("name", shipped())
def test_shipped_pairs_are_whole_distinct_and_held_out(name):
    pairs = load_pairs(name)
    assert len(pairs.fit) >= 20 and len(pairs.held_out) >= 10
    assert all(len(pair) == 2 and pair[0] != pair[1] and all(pair) for pair in pairs.fit + pairs.held_out)
    assert not set(pairs.fit) & set(pairs.held_out)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_direction_points_from_first_to_second(model, name):
    direction, pairs, space = build_shipped(model, name), load_pairs(name), LatentSpace(model.vae.config)
    assert float(direction.vector.norm()) == pytest.approx(1, abs=1e-5)
    means = [
        torch.cat([space.unscaled(text.latents) for text in model.encode_texts(side)]).mean(0)
        for side in zip(*pairs.fit, strict=True)
    ]
    difference = means[1] - means[0]
    assert float(difference @ direction.vector) == pytest.approx(float(difference.norm()), rel=1e-4)


def test_the_way_back_is_the_opposite(model):
    first, second = ["The cat sat", "A cat ran"], ["She sang a song", "They sang"]
    there, back = build(model, first, second), build(model, second, first)
    torch.testing.assert_close(there.vector, -back.vector, rtol=0, atol=1e-6)
    assert there.sentences == (2, 2) and there.length == pytest.approx(back.length)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (["one"], ["two", "three"], "the first list has 1 sentences, expected 2 to 256"),
        (["two", "three"], [], "the second list has 0 sentences"),
        ("one text", ["two", "three"], "the first list has a single text"),
        (["two", ""], ["three", "four"], "sentence 2 of the first list is empty"),
        (["two", "three"], ["four", ""], "sentence 2 of the second list is empty"),
        (["two", "three"], ["two", "three"], "the same mean latent"),
        (["x"] * 300, ["a", "b"], "300 sentences"),
    ],
)
def test_lists_that_make_no_direction_get_a_sentence(model, first, second, sentence):
    with pytest.raises(DirectionError, match=sentence):
        build(model, first, second)


def test_unknown_names_get_a_sentence():
    with pytest.raises(DirectionError, match=r"direction is '\.\./x', expected one of"):
        load_pairs("../x")


def test_components_are_orthonormal_ordered_and_miss_what_never_varies(model):
    components = principal_components(model)
    d = model.latent_dim
    torch.testing.assert_close(components.vectors @ components.vectors.T, torch.eye(d), rtol=0, atol=1e-5)
    assert (components.shares[:-1] >= components.shares[1:]).all()
    assert float(components.shares.sum()) == pytest.approx(1, abs=1e-5)
    assert float(components.shares[-1]) < 1e-6 and float(components.vectors[-1].std()) < 1e-4
