"""An embedding of tokens by the tokens around them, towards which the VAE's latents are drawn.

Positive pointwise mutual information of tokens at distance 1 and 2, left and right apart, then a truncated SVD
(Levy and Goldberg 2014, with singular values to the power one half), every channel to unit variance, LayerNorm over
the channels as the encoder has it. Seconds of work, and near tokens mean like things.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import svds

DISTANCES = (1, 2)


def token_meaning(ids: np.ndarray, vocab_size: int, channels: int, end: int) -> np.ndarray:
    """(vocab_size, channels) float32, each row of zero mean and unit variance. ids: (tokens,), stories end in `end`.

    Pairs across a story's end are not counted. A token that never occurs gets a small random direction.
    """
    story = np.cumsum(ids == end)
    story[ids == end] -= 1
    sides = []
    for distance in DISTANCES:
        left, right = ids[:-distance].astype(np.int64), ids[distance:].astype(np.int64)
        same = story[:-distance] == story[distance:]
        pairs = sparse.coo_array(
            (np.ones(same.sum()), (left[same], right[same])), shape=(vocab_size, vocab_size)
        ).tocsr()
        sides += [_positive_information(pairs), _positive_information(pairs.T.tocsr())]
    matrix = sparse.hstack(sides).tocsr()
    start = np.random.default_rng(0).standard_normal(min(len(sides) * vocab_size, vocab_size))
    u, s, _ = svds(matrix, k=channels, v0=start)
    order = np.argsort(-s)
    embedding = u[:, order] * np.sqrt(s[order])
    embedding = embedding / embedding.std(0)
    unseen = np.abs(embedding).max(1) < 1e-6
    embedding[unseen] = np.random.default_rng(1).standard_normal((unseen.sum(), channels))
    embedding -= embedding.mean(1, keepdims=True)
    return (embedding / embedding.std(1, keepdims=True)).astype(np.float32)


def nearest(embedding: np.ndarray, token: int, count: int) -> list[int]:
    """The `count` other tokens whose rows have the largest cosine with that of `token`, best first."""
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[token]))
    return [int(i) for i in order if i != token][:count]


def _positive_information(pairs: sparse.csr_array) -> sparse.csr_array:
    """max(0, ln p(a, b) / (p(a) p(b))) of a matrix of counts."""
    rows, columns = np.asarray(pairs.sum(1)).ravel(), np.asarray(pairs.sum(0)).ravel()
    total, found = rows.sum(), pairs.tocoo()
    information = np.log(found.data * total / (rows[found.row] * columns[found.col]))
    keep = information > 0
    return sparse.csr_array((information[keep], (found.row[keep], found.col[keep])), shape=pairs.shape)
