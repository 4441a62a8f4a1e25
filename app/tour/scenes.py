"""What a newcomer sees first: the scenes of the tour, out of a run that ships with the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from coladlm.checkpoint import BUNDLED
from coladlm.model import END_TOKENS, PAD_TOKEN
from coladlm.tokenizer import load_tokenizer
from coladlm.trace import Trace

from ..components.tour import scene
from ..shared.token_pieces import pieces
from ..shared.trace_store import TRACES

FORMING = 3  # the block that is watched on its way
TEXTS = (
    ("It starts as noise", "You give the beginning. The model does not write the next word: it takes a block of pure "
     "noise, a few places at once, and asks what text might be hidden in it. Pale and grainy: still being decided."),
    ("Step by step it clears", "Each step carries the block a little way from noise to text. Words appear and change "
     "their minds; each is a little behind the one before it, and all of them read each other on the way."),
    ("A block has settled", "The words are in ink now and what stands there is read by the next block. So the text "
     "goes on, block by block."),
    ("How sure it was", "Yellowish where the decoder had hardly a doubt, blue where it could have been another word. "
     "In a finished text, click a word: you see the others, and can write on from one of them. Drag along the strip "
     "of steps to go back in time."),
    ("Now your own", "Press Run and watch. Then change the seed or the guidance and compare; the other tabs mix texts, "
     "edit them, and show the paths from noise to word. A question mark at the top explains the words used here."),
)  # fmt: skip


def scenes(folder: Path = TRACES, tokenizer_file: Path = BUNDLED / "tokenizer.json") -> list[dict[str, Any]]:
    """The five steps, out of the first recorded run in the folder; none where nothing is recorded."""
    files = sorted(folder.glob("*.npz"))
    if not files or not tokenizer_file.is_file():
        return []
    trace, tokenizer = Trace.load(files[0]), load_tokenizer(tokenizer_file)
    found = [tokenizer.token_to_id(token) for token in (*END_TOKENS, PAD_TOKEN)]
    special = frozenset(token for token in found if token is not None)
    block = min(FORMING, len(trace.finished) - 1)
    skip = _skipped(trace, tokenizer)
    prompt_ids = tokenizer.encode(trace.prompts[0], add_special_tokens=False).ids

    def settled(until: int) -> list[list[Any]]:
        ids = trace.token_ids[0, :until].reshape(-1)[skip:]
        sure = np.exp(trace.logprobs[0, :until].reshape(-1)[skip:])
        kept = min(len(ids), len(trace.answer(0)))
        return _tokens(tokenizer, ids[:kept], sure[:kept], prompt_ids, special)

    def live(share: float) -> list[list[Any]]:
        steps = np.flatnonzero(trace.recorded[block])
        at = (0, block, steps[int(share * (len(steps) - 1))])
        before = [*prompt_ids, *trace.token_ids[0, :block].reshape(-1)[skip:].tolist()]
        if trace.preview_ids is None or trace.preview_confidence is None:
            return []
        return _tokens(tokenizer, trace.preview_ids[at], trace.preview_confidence[at], before, special)

    states = [(settled(block), live(0)), (settled(block), live(0.5)), (settled(block + 1), []),
              (settled(len(trace.finished)), []), (settled(len(trace.finished)), [])]  # fmt: skip
    return [scene(title, text, trace.prompts[0], *state) for (title, text), state in zip(TEXTS, states, strict=True)]


def _skipped(trace: Trace, tokenizer: Tokenizer) -> int:
    """Tokens of the first new block that belong to the prompt."""
    places, width = trace.z.shape[3], trace.token_ids.shape[2]
    patch = width // places
    count = len(tokenizer.encode(trace.prompts[0], add_special_tokens=False).ids)
    return -(-count // patch) % places * patch


def _tokens(tokenizer: Tokenizer, ids: Any, sure: Any, before: list[int], special: frozenset[int]) -> list[list[Any]]:
    texts = pieces(tokenizer, [int(i) for i in ids], before[-8:], special)
    return [[text, round(float(p), 3), int(int(i) in special)] for text, p, i in zip(texts, sure, ids, strict=True)]
