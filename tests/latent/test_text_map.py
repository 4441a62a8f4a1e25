"""Texts as points: the mean of their latents, the same in any company, in clusters that their own words name."""

import numpy as np
import pytest

from coladlm.latent.text_map import cluster, cluster_words, text_vectors


def vectors_of(model, texts):
    *_, (share, vectors) = text_vectors(model, texts)
    assert share == 1.0
    return vectors


def test_a_text_lies_at_the_mean_of_its_latents(model):
    text = "Once upon a time there was a cat"
    latents = model.encode_texts([text])[0].latents
    np.testing.assert_allclose(vectors_of(model, [text])[0], latents.mean(0), rtol=1e-5, atol=1e-6)


def test_a_text_lies_where_it_does_in_any_company(model):
    texts = ["The cat sat", "", "A much longer text about a little bird that sang a song in the rain", "The cat sat"]
    together = vectors_of(model, texts)
    np.testing.assert_allclose(together[0], vectors_of(model, texts[:1])[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(together[0], together[3])
    assert not together[1].any()


def test_many_texts_are_encoded_in_several_passes(model):
    shares = [share for share, _ in text_vectors(model, [f"The cat {i}" for i in range(150)])]
    assert len(shares) == 4
    assert shares == sorted(shares)


@pytest.mark.parametrize("count", [65, 257])  # one more than whole passes of 64
def test_equal_texts_have_equal_vectors(model, count):
    texts = ["Once upon a time there was a cat", *["The cat sat"] * count, "A dog"]
    assert len(np.unique(vectors_of(model, texts), axis=0)) == 3


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    rng = np.random.default_rng(0)
    middles = 10 * rng.normal(size=(3, 5))
    return np.concatenate([middle + rng.normal(size=(n, 5)) for middle, n in zip(middles, (10, 40, 25), strict=True)])


def test_clusters_are_those_that_the_points_make_the_largest_first(blobs):
    found = cluster(blobs, 3)
    assert found[:10].tolist() == [2] * 10
    assert found[10:50].tolist() == [0] * 40
    assert found[50:].tolist() == [1] * 25


def test_clusters_are_the_same_twice(blobs):
    np.testing.assert_array_equal(cluster(blobs), cluster(blobs))


@pytest.mark.parametrize("vectors", [np.zeros((5, 3)), np.zeros((1, 3)), np.zeros((0, 3))])
def test_points_that_are_all_one_make_one_cluster(vectors):
    assert not cluster(vectors).any()


def test_words_that_all_clusters_have_name_none_of_them():
    texts = ["the cat and the cat", "the cat ran", "the dog and the dog", "the dog ran"]
    assert cluster_words(texts, np.array([0, 0, 1, 1]), 1) == [["cat"], ["dog"]]
    assert all("the" not in words for words in cluster_words(texts, np.array([0, 0, 1, 1])))


def test_a_cluster_is_named_by_what_it_is_about_before_common_words():
    texts = [f"was was was {animal} {i}" for animal in ("cat", "dog", "fox") for i in range(2)] + ["the end"] * 60
    clusters = np.array([0, 0, 1, 1, 2, 2] + [3] * 60)
    assert [words[0] for words in cluster_words(texts, clusters)] == ["cat", "dog", "fox", "end"]


def test_words_of_other_scripts_and_none_at_all():
    assert cluster_words(["кот спит", "кот ест", "123 !"], np.array([0, 0, 1])) == [["кот"], []]


def test_no_two_clusters_have_the_same_name_where_their_words_differ():
    texts = ["cat runs", "cat runs", "runs cat far", "cat runs far", "dog", "dog"]
    first, second, third = cluster_words(texts, np.array([0, 0, 1, 1, 2, 2]), 2)
    assert set(first) == {"cat", "runs"} and second == ["far", *second[1:]] and set(second) != set(first)
    assert third == ["dog"]
    twins = cluster_words(["cat runs far"] * 2 + ["far cat runs"] * 2 + ["dog"] * 2, np.array([0, 0, 1, 1, 2, 2]), 2)
    assert set(twins[0]) != set(twins[1])
