"""The steps of texts beside each other, with which rows of a TextRows are played: see `row_value`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from coladlm import ColaDLM
from coladlm.trace import Trace

from ..components.token_strip import Token, settled_line
from ..shared.token_pieces import pieces
from .inspection import MOST_STATES, look_value

Steps = dict[str, str]


def steps_of(model: ColaDLM, trace: Trace, sequence: int, lead: str | None = None, texts: int = 1) -> Steps | None:
    """The steps of a sequence of a run that is over; None where none were recorded.

    lead: what stands before it in its row, the prompt if absent. texts: how many there are to send, each with its share
    of what one text alone may have.
    """
    strip = look_value(model, trace, sequence, "", most=MOST_STATES // texts)
    if not strip["look"]:
        return None
    return {"lead": strip["prompt"] if lead is None else lead, "settled": strip["settled"], "look": strip["look"]}


def with_steps(rows: dict[str, Any], model: ColaDLM, trace: Trace, sequences: Sequence[int], lead: str | None) -> Any:
    """The value of a TextRows with the steps of each row. sequences: that of each of them. lead: see `steps_of`."""
    made = [steps_of(model, trace, sequence, lead, len(sequences)) for sequence in sequences]
    return {**rows, "rows": [{**row, "steps": steps} for row, steps in zip(rows["rows"], made, strict=True)]}


def word_by_word(tokenizer: Tokenizer, ids: Sequence[int], before: Sequence[int], lead: str) -> Steps | None:
    """The steps of a text that was written token after token: one for each. before: ids of what stands before it."""
    texts = pieces(tokenizer, ids, before, whole=True)
    if not texts:
        return None
    step = {"first": 0, "count": 1, "steps": [0], "of": 1, "ids": [0], "sure": [100], "t": [0], "noise": [0.0]}
    blocks = [{"block": i, "words": [[text, 0]], **step} for i, text in enumerate(texts)]
    lines = "".join(settled_line([Token(text, 1.0)]) for text in texts)
    return {"lead": lead, "settled": lines, "look": json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))}
