"""The words of a filled text that were given: on the stage they are grey as a prompt is, also after a hole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.sampling.tokens import NO_TOKEN
from coladlm.trace import Trace

from ..components.token_strip import State, with_given
from ..shared.generation import FILL
from .filling import start_of
from .inspection import look_value
from .steered import marks_of


def stage_text(model: ColaDLM, trace: Trace, sequence: int, run: str, state: State = "done") -> dict[str, Any]:
    """The value of a TokenStrip for a sequence of a run that is over: `look_value`, with marks for what was given."""
    value: dict[str, Any] = {**look_value(model, trace, sequence, run, state), **marks_of(trace.recipe)}
    if trace.recipe.operation != FILL:
        return value
    given = [token != NO_TOKEN for token in start_of(model, trace.recipe).answers[sequence]]
    return {**value, "settled": with_given(value["settled"], given), "look": _look(value["look"], given)}


def _look(look: str, given: Sequence[bool]) -> str:
    """The blocks of a run with `given`, for each token of one 1 if it was given, else 0."""
    blocks, at = json.loads(look) if look else [], 0
    for block in blocks:
        block["given"] = [int(one) for one in given[at : at + block["count"]]]
        at += block["count"]
    return json.dumps(blocks, ensure_ascii=False, separators=(",", ":")) if blocks else ""
