"""Texts as points: placed by what the model makes of them, the same in any company."""

import numpy as np
import pytest

from benchmarks.like_meaning import Candidates, load_pairs, normalised, ranks
from coladlm.latent.projection import ProjectionError
from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.sentence_map import SentenceMap, read_sentences
from coladlm.latent.sentence_meaning import TokenWeights, averaged_states, common_part, meaning_vectors


@pytest.fixture(scope="module")
def known(model):
    *_, (_, found) = common_part(model, load_sentences()[:60])
    return found


@pytest.fixture
def vectors_of(model, known):
    def vectors_of(texts):
        *_, (share, vectors) = meaning_vectors(model, texts, known)
        assert share == 1.0
        return vectors

    return vectors_of


def test_a_text_lies_where_it_does_in_any_company(vectors_of):
    texts = ["The cat sat", "", "A much longer text about a little bird that sang a song in the rain", "The cat sat"]
    together = vectors_of(texts)
    np.testing.assert_allclose(together[0], vectors_of(texts[:1])[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(together[0], together[3])
    assert not together[1].any()


def test_every_text_with_a_token_is_as_far_from_the_middle(vectors_of):
    np.testing.assert_allclose(np.linalg.norm(vectors_of(load_sentences()[:20]), axis=1), 1, atol=1e-5)


def test_what_all_texts_have_in_common_is_taken_away(model, known):
    *_, (_, averages) = averaged_states(model, known.texts, TokenWeights(model, known.texts))
    np.testing.assert_allclose(averages.mean(0), known.mean, atol=1e-5)
    np.testing.assert_allclose(known.placed(averages) @ known.component, 0, atol=1e-4)


def test_many_texts_are_read_in_several_passes(model, known):
    shares = [share for share, _ in meaning_vectors(model, [f"The cat {i}" for i in range(150)], known)]
    assert len(shares) == 4
    assert shares == sorted(shares)


@pytest.mark.parametrize("count", [65, 257])  # one more than whole passes of 64
def test_equal_texts_have_equal_vectors(vectors_of, count):
    texts = ["Once upon a time there was a cat", *["The cat sat"] * count, "A dog"]
    assert len(np.unique(vectors_of(texts), axis=0)) == 3


def test_a_rare_token_counts_for_more_than_a_common_one(model):
    weigh = TokenWeights(model, ["a cat", "a dog", "a bird"])
    common, rare = model.tokenize("a cat")[0], model.tokenize("a cat")[-1]
    weights = weigh([common, rare])
    assert weights.sum() == pytest.approx(1) and weights[1] > weights[0]
    assert weigh([common, common]).tolist() == [0.5, 0.5]


def test_a_sentence_of_like_meaning_is_found_better_than_by_the_latents(bundled):
    pairs = load_pairs()
    texts = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
    *_, (_, vectors) = meaning_vectors(bundled, texts, SentenceMap.load().common)
    candidates = Candidates(bundled, texts, [])
    latents = normalised(candidates.latents(texts, candidates.alike))
    found, before = ((1 / ranks(each)).mean() for each in (vectors, latents))
    assert found > 2 * before


# the sentences that ship


def test_the_sentences_come_back_from_their_file_without_being_read_again(model, tmp_path, monkeypatch):
    few = load_sentences()[:120]
    monkeypatch.setattr("coladlm.latent.sentence_map.load_sentences", lambda: few)
    *_, (_, made) = read_sentences(model)
    made.save(tmp_path / "sentences.npz")
    again = SentenceMap.load(tmp_path / "sentences.npz")
    assert again.fingerprint == model.fingerprint
    np.testing.assert_allclose(again.vectors, made.vectors, atol=1e-3)
    np.testing.assert_array_equal(again.clusters, made.clusters)
    np.testing.assert_array_equal(again.common.mean, made.common.mean)
    np.testing.assert_array_equal(again.pca.components, made.pca.components)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip"])
def test_a_damaged_file_of_sentences_is_refused(tmp_path, content):
    file = tmp_path / "sentences.npz"
    file.write_bytes(content)
    with pytest.raises(ProjectionError, match="holds no sentences"):
        SentenceMap.load(file)
