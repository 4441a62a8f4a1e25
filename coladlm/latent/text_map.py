"""Clusters of points that stand for texts, and words that name the clusters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_CLUSTERS = 12
COMMON = 0.05  # of all texts: a word in more of them ("the", "and") says little of what a cluster is about
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?", re.UNICODE)


def cluster(vectors: NDArray[np.float32], clusters: int | None = None, seed: int = 0) -> NDArray[np.int64]:
    """A cluster for every vector (n,), by k-means (Lloyd 1982), the largest cluster being 0.

    clusters: how many; about the square root of n / 8 if absent, from 2 to MOST_CLUSTERS.
    """
    from sklearn.cluster import KMeans  # imports slowly

    different = len(np.unique(vectors, axis=0))
    wanted = clusters or min(MOST_CLUSTERS, max(2, round((len(vectors) / 8) ** 0.5)))
    if min(wanted, different) < 2:
        return np.zeros(len(vectors), np.int64)
    found = KMeans(min(wanted, different), n_init=4, random_state=seed).fit_predict(vectors)
    sizes = np.bincount(found)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[found]


def cluster_words(texts: Sequence[str], clusters: NDArray[np.int64], count: int = 3) -> list[list[str]]:
    """The words that tell each cluster from all texts together, best first; common ones only where there are no others.

    A word scores p ln(p / q), what it adds to the divergence of the cluster's words from all words (Kullback and
    Leibler 1951); p and q are its frequencies here and everywhere. It must be commoner here, and stand in two texts of
    the cluster, where that has as many. Where no other cluster has words, the most frequent are named. Where the best
    words are those of another cluster already, in whatever order, the last gives way to the next that tells them apart.
    """
    number = int(clusters.max()) + 1 if len(clusters) else 0
    words: list[Counter[str]] = [Counter() for _ in range(number)]
    spread: list[Counter[str]] = [Counter() for _ in range(number)]
    for text, which in zip(texts, clusters, strict=True):
        found = [word.lower() for word in WORD.findall(text)]
        words[which].update(found)
        spread[which].update(set(found))
    everywhere, standing = sum(words, Counter()), sum(spread, Counter())
    common = {word for word, times in standing.items() if times > COMMON * len(texts)}
    all_words = max(1, everywhere.total())
    sizes = np.bincount(clusters, minlength=number)
    named: list[list[str]] = []
    for which in range(number):
        here = max(1, words[which].total())
        alone = here == all_words
        scores = {}
        for word, times in words[which].items():
            p, q = times / here, everywhere[word] / all_words
            if spread[which][word] >= min(2, sizes[which]) and (p > q or alone):
                scores[word] = p if alone else p * np.log(p / q)
        ranked = sorted(scores, key=lambda word: (word in common, -scores[word], word))
        choices = [ranked[:count], *([*ranked[: count - 1], word] for word in ranked[count:])]
        taken = [set(words) for words in named]
        named.append(next((words for words in choices if set(words) not in taken), ranked[:count]))
    return named
