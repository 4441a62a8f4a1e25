"""Texts as points in clusters that their own words name."""

import numpy as np
import pytest

from coladlm.latent.text_map import cluster, cluster_words


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
