"""Decoding again: other tokens out of the latents of a recorded run, by other decoding settings, without sampling.

The latents stay as they are, so this is what the run would have written where later blocks read latents (`history` is
"latents"). Where they read the chosen tokens (`history` is "reencoded"), other tokens would have led to other latents
from the next block on; then it shows what else these very latents can be read as.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import torch

from ..model import ColaDLM
from ..networks.layers import KVCache
from ..sampling.randomness import token_uniforms
from ..sampling.sentences import whole_sentences
from ..sampling.tokens import NO_TOKEN, choose, choose_unrepeated, penalised
from ..settings import SamplerSettings
from ..trace import Trace
from .branch import OPERATION, BranchError, history_of, in_blocks_of, sequence_key

FILL = "fill"  # the operation whose words around its holes are pinned


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A sequence decoded again. token_ids, probabilities: a row a block (patch_size * b,), the prompt's tokens among
    them; probabilities are those of the decoder before penalty and temperature. answer: up to its end. reason: "end",
    or "length" where the recorded blocks were used up.
    """

    token_ids: list[list[int]]
    probabilities: list[list[float]]
    answer: list[int]
    text: str
    reason: str


@torch.inference_mode()
def redecode(model: ColaDLM, trace: Trace, sequence: int, settings: SamplerSettings) -> Decoded:
    """Decodes the finished blocks of a sequence of a recorded run with what `settings` say about tokens.

    That is temperature, top-k, top-p, penalties of repetition, seed, length and end; of a text with holes the words
    around them stay, and so does its length. Raises BranchError for a run of another operation than these.
    """
    model = in_blocks_of(model, trace)
    if trace.recipe.operation not in (OPERATION, "branch", FILL):
        raise BranchError(f"the run is of operation {trace.recipe.operation!r}, expected {OPERATION!r} or {FILL!r}")
    if trace.recipe.operation == FILL:
        settings = dataclasses.replace(settings, stop_at_end=False, whole_sentences=False,
                                       max_new_tokens=len(trace.answer(sequence)))  # fmt: skip
    blocks = np.flatnonzero(trace.active[sequence] & trace.finished)
    prompt = model.encode_texts([trace.prompts[sequence]])[0]
    b, ps = model.block_size, model.patch_size
    rest, before = len(prompt.latents) % b * ps, len(prompt.latents) // b * b
    key = sequence_key(trace, sequence)
    seen = torch.zeros(1, model.vae.config.vocab_size, dtype=torch.bool)
    found_ids, found_p, answer, reason = [], [], [], "length"
    for block, logits in zip(blocks, _logits(model, trace, sequence, prompt.latents[:before]), strict=True):
        uniforms = None
        if settings.temperature > 0:
            uniforms = token_uniforms([(settings.seed, key, int(block))], b * ps)
        of_block = penalised(logits, seen, settings.repetition_penalty)
        how = (uniforms, settings.temperature, settings.top_k, settings.top_p)
        pinned = rest if block == 0 else 0
        fixed = _fixed(trace, sequence, int(block), pinned)
        if settings.no_repeat_ngram_size:
            so_far = torch.tensor([*prompt.padded_ids[: before * ps].tolist(), *itertools.chain(*found_ids)]).long()
            text = torch.cat((so_far[None], fixed), 1)
            ids = choose_unrepeated(of_block, *how, text, settings.no_repeat_ngram_size,
                                    model.sampler.words.cpu(), fixed, fixed == NO_TOKEN)[0]  # fmt: skip
        else:
            ids = choose(of_block, *how)[0]
        seen[0, ids] = True
        ids = torch.where(fixed[0] == NO_TOKEN, ids, fixed[0])
        found_ids.append(ids.tolist())
        found_p.append(logits[0].softmax(-1).gather(-1, ids[:, None])[:, 0].tolist())
        written, ended = _until_end(found_ids[-1][pinned:], model, settings, settings.max_new_tokens - len(answer))
        answer += written
        if ended:
            reason = "end"
            break
    if settings.whole_sentences and reason == "length":
        answer = whole_sentences(answer, model.read)
    return Decoded(found_ids, found_p, answer, model.read(answer), reason)


def _logits(model: ColaDLM, trace: Trace, sequence: int, prefix: torch.Tensor) -> Iterator[torch.Tensor]:
    """What the decoder reads in each finished block of a sequence, (1, patch_size * b, vocab), on the CPU. prefix:
    latents of the prompt's whole blocks.
    """
    latents = torch.from_numpy(trace.latents[sequence, trace.active[sequence] & trace.finished])
    blocks, b = latents.shape[:2]
    context = history_of(model, trace, sequence, blocks).latents.to(model.device)[None]
    came_out = torch.cat((prefix, latents.flatten(0, 1))).to(model.device)[None]
    config, vae = model.vae.config, model.vae
    cache = KVCache(config.decoder_num_blocks, config.kv_heads, config.head_dim, max(context.shape[1], 1),
                    torch.zeros(1, dtype=torch.long), config.block_size, model.dtype, model.device)  # fmt: skip
    if len(prefix):
        cache.place(0, len(prefix))
        vae.decode_hidden(context[:, : len(prefix)], vae.rope(torch.arange(len(prefix), device=model.device)), cache)
    for start in range(len(prefix), context.shape[1], b):
        first = start // config.block_size * config.block_size  # of the VAE's block, which may have begun before
        cache.place(first, start + b)
        rope = vae.rope(torch.arange(first, start + b, device=model.device))
        yield vae.decode(came_out[:, first : start + b], rope, cache)[:, -b * model.patch_size :].float().cpu()
        vae.decode_hidden(context[:, first : start + b], rope, cache)


def _fixed(trace: Trace, sequence: int, block: int, pinned: int) -> torch.Tensor:
    """The tokens of a block that stay, (1, patch_size * b), NO_TOKEN elsewhere: the first `pinned`, which are the
    prompt's, and the words around holes.
    """
    known = torch.from_numpy(trace.token_ids[sequence, block].astype(np.int64))
    stays = torch.arange(len(known)) < pinned
    if trace.recipe.operation == FILL:
        held = torch.from_numpy(~trace.free()[sequence, block])
        stays |= held.repeat_interleave(len(known) // len(held))
    return torch.where(stays, known, NO_TOKEN)[None]


def _until_end(ids: list[int], model: ColaDLM, settings: SamplerSettings, most: int) -> tuple[list[int], bool]:
    """The tokens of a block that belong to the answer, and whether it ends there. most: tokens that still fit."""
    ends = [i for i, token in enumerate(ids) if token in model.end_ids] if settings.stop_at_end else []
    ended = bool(ends) and ends[0] <= most
    return ids[: min(ends[0], most)] if ends else ids[:most], ended
