"""Which of several noises of a block is kept, where all its words come at once.

Such words are chosen each by itself: likely after the text, and yet perhaps strangers to each other. A DiT that names
tokens can say how well they fit: how much likelier they are one after another than each without the others,

    sum over i of  log p(x_i | text, x_1 ... x_(i-1)) - log p(x_i | text)

which is the pointwise total correlation of the block. Half of log p(block | no text) is taken off as well, so that what
is likely anywhere is not preferred. Searching among noises: Ma et al. 2025 (arXiv:2501.09732). The weights were chosen
under a judge, see docs/training.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..hardware.transfer import upload
from ..networks.dit import BlockCausalDiT, Modulations
from ..networks.layers import Attend
from ..networks.slot_cache import SlotCache, additive, attended, whole
from .flow import NOISE_TIME
from .history import History
from .randomness import fit_noise

ANYWHERE = 0.5  # weight of the likelihood without the text

# parts of the one pass, each of which has every position of the block
WORDS, AFTER_EACH_OTHER, AT_ONCE, WORDS_ALONE, AFTER_NOTHING = range(5)
ASKED = [AFTER_EACH_OTHER, AT_ONCE, AFTER_NOTHING]  # for what could stand there


def times_of(dit: BlockCausalDiT) -> Modulations:
    """The modulations of words and of noise, which are the same for every block."""
    return dit.modulations(torch.tensor([0.0, NOISE_TIME], device=dit.device))


def fitness(dit: BlockCausalDiT, times: Modulations, history: History, ids: Tensor, given: Tensor) -> Tensor:
    """How well the words of each row's block fit each other and the text before it, in nats, (rows,).

    dit: names tokens, one a latent. times: see `times_of`. history: of the rows, placed on the block. ids: (rows, b),
    the block's tokens. given: (rows, b) bool, which of them stood there from the beginning.
    """
    rows, b = ids.shape
    clean = dit.tokens.means[ids]
    noise = upload(fit_noise(0, 0, 0, (b, clean.shape[2])), dit.device)  # says next to nothing of any token
    noise = noise.expand_as(clean)
    at_once = torch.where(given[..., None], clean, noise)
    states = torch.cat((clean, noise, at_once, clean, noise), 1).to(dit.dtype)
    word, no_word = torch.zeros_like(ids), torch.ones_like(ids)
    index = torch.stack((word, no_word, torch.where(given, word, no_word), word, no_word), 1)  # (rows, parts, b)
    places = torch.arange(b)
    after = history.lengths[:, None] + places
    positions = torch.cat((after, after, after, places.expand(rows, -1), places.expand(rows, -1)), 1)
    attend = _attention(history.flow_cache, history.lengths, b)
    hidden = dit.hidden(states, times.at(index.flatten(1)), dit.rope(upload(positions, dit.device)), attend)
    hidden, states = (x.unflatten(1, (-1, b))[:, ASKED].flatten(1, 2) for x in (hidden, states))
    named = dit.token_logits(hidden, times.at(index[:, ASKED].flatten(1)), states).float().log_softmax(-1)
    likelihoods = named.gather(-1, ids.repeat(1, len(ASKED))[..., None])[..., 0]
    after_each_other, at_once, after_nothing = likelihoods.chunk(len(ASKED), 1)  # each (rows, b)
    return (after_each_other - at_once.masked_fill(given, 0.0) - ANYWHERE * after_nothing).sum(-1)


def _attention(cache: SlotCache, lengths: Tensor, b: int) -> Attend:
    """Attention of the parts, which writes nothing to the cache."""
    visible = _visible(b)
    n, rows = len(visible), len(lengths)
    before = whole(n) if cache.steady else n  # so that a row has the same sums beside others, as in a step
    longest = int(lengths.max())
    span = cache.span(longest, before)
    seen = torch.zeros(rows, n, before + span, dtype=torch.bool)
    seen[:, :, :n] = visible
    seen[:, : WORDS_ALONE * b, before:] = (torch.arange(span) < lengths[:, None])[:, None]
    mask = additive(seen[:, None], cache.k)
    keys, values = cache.k.new_zeros(2, rows, cache.k.shape[2], before + span, cache.k.shape[4])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for seen, new, kept in ((keys, k, cache.k), (values, v, cache.v)):
            seen[:, :, :n] = new.transpose(1, 2)
            seen[:, :, before : before + longest] = kept[layer, :rows, :, cache.lead : cache.lead + longest]
        return attended(q, keys, values, mask)

    return attend


def _visible(b: int) -> Tensor:
    """(5 b, 5 b) bool, which places of the parts each of them sees."""
    seen = torch.zeros(5, b, 5, b, dtype=torch.bool)
    itself, earlier = torch.eye(b, dtype=torch.bool), torch.ones(b, b, dtype=torch.bool).tril(-1)
    for words, named in ((WORDS, AFTER_EACH_OTHER), (WORDS_ALONE, AFTER_NOTHING)):
        seen[words, :, words] = earlier | itself
        seen[named, :, words], seen[named, :, named] = earlier, itself
    seen[AT_ONCE, :, AT_ONCE] = True
    return seen.flatten(2, 3).flatten(0, 1)
