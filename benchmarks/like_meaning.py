"""Which vector of a text finds a text of like meaning: the table of docs/trajectories.md.

    python -m benchmarks.like_meaning [--checkpoint FOLDER]

`like_meaning.txt` holds pairs of sentences of like meaning in other words, a pair a line. Each of their sentences is
compared with all others; its rank is the place of its partner among them. The sentences that ship with the page stand
for how rare a token is, for the mean and for the first principal component.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from coladlm import ColaDLM
from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.sentence_meaning import TokenWeights, averaged_states
from coladlm.latent.text_map import WORD

PAIRS = Path(__file__).with_suffix(".txt")
COMMONEST = 50

Vectors = NDArray[np.floating]
Weigh = Callable[[Sequence[int]], NDArray[np.float64]]


def load_pairs() -> list[tuple[str, str]]:
    """Sentences of like meaning."""
    return [tuple(line.split("\t")) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def ranks(vectors: Vectors) -> NDArray[np.int64]:
    """(2n,): the rank of each vector's partner, 1 is the nearest; vector i is the partner of i + n."""
    distances = np.square(vectors[:, None].astype(np.float64) - vectors[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    everyone, half = np.arange(len(vectors)), len(vectors) // 2
    to_partner = distances[everyone, (everyone + half) % len(vectors)]
    return 1 + (distances < to_partner[:, None]).sum(1)


def normalised(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def without_component(vectors: Vectors, sentences: Vectors) -> Vectors:
    """Less the mean of the sentences and their first principal component."""
    centred = sentences - sentences.mean(0)
    component = np.linalg.svd(centred, full_matrices=False)[2][0]
    vectors = vectors - sentences.mean(0)
    return vectors - (vectors @ component)[:, None] * component


class Candidates:
    """Vectors of texts, in the ways that are compared."""

    def __init__(self, model: ColaDLM, texts: Sequence[str], sentences: Sequence[str]) -> None:
        self.model, self.texts, self.sentences = model, texts, sentences
        self.by_rarity = TokenWeights(model, sentences)
        counts = Counter(token for text in sentences for token in model.tokenize(text))
        self.commonest = {token for token, _ in counts.most_common(COMMONEST)}

    def alike(self, ids: Sequence[int]) -> NDArray[np.float64]:
        return np.full(len(ids), 1 / len(ids))

    def without_commonest(self, ids: Sequence[int]) -> NDArray[np.float64]:
        rare = np.array([token not in self.commonest for token in ids], float)
        return rare / rare.sum() if rare.any() else self.alike(ids)

    def latents(self, texts: Sequence[str], weigh: Weigh, spread: bool = False) -> Vectors:
        found = []
        for text in texts:
            encoded = self.model.encode_texts([text])[0]
            latents, weights = encoded.latents.numpy(), weigh(encoded.ids.tolist())
            weights = np.add.reduceat(weights, np.arange(0, len(weights), self.model.patch_size))
            found.append(np.concatenate((weights @ latents, latents.std(0))) if spread else weights @ latents)
        return np.stack(found)

    def states(self, texts: Sequence[str], weigh: Weigh) -> Vectors:
        *_, (_, found) = averaged_states(self.model, texts, weigh)
        return found

    def words(self) -> Vectors:
        """A coordinate for every word of the texts, its inverse document frequency, without any model."""
        found = [Counter(word.lower() for word in WORD.findall(text)) for text in self.texts]
        everywhere = Counter(word for text in self.sentences for word in {w.lower() for w in WORD.findall(text)})
        rarity = {w: np.log((len(self.sentences) + 1) / (everywhere[w] + 1)) for words in found for w in words}
        return np.array([[words[word] * rarity[word] for word in rarity] for words in found])

    def all(self) -> dict[str, Vectors]:
        found: dict[str, Vectors] = {"words by rarity, without a model": self.words()}
        for name, read in (("latents", self.latents), ("states of the DiT", self.states)):
            for how, weigh in (
                ("mean of the", self.alike),
                (f"the same without the {COMMONEST} commonest tokens,", self.without_commonest),
                ("mean by rarity of the", self.by_rarity),
            ):
                vectors, sentences = read(self.texts, weigh), read(self.sentences, weigh)
                found[f"{how} {name}"] = vectors
                found[f"{how} {name}, less the first component"] = without_component(vectors, sentences)
        found["mean and standard deviation of the latents"] = self.latents(self.texts, self.alike, spread=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    options = parser.parse_args()
    model, pairs = ColaDLM.from_pretrained(options.checkpoint), load_pairs()
    texts = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
    print(f"{len(pairs)} pairs, model {model.fingerprint}, torch {torch.__version__}\n")
    print("| vector of a text | mean reciprocal rank | nearest | of length 1: mean reciprocal rank | nearest |")
    print("|---|---|---|---|---|")
    for name, vectors in Candidates(model, texts, load_sentences()).all().items():
        found = [ranks(vectors), ranks(normalised(vectors))]
        cells = [cell for rank in found for cell in (f"{(1 / rank).mean():.2f}", f"{(rank == 1).sum()} of {len(rank)}")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
