"""Pieces of a tokenized text put together until each is readable.

A byte-level tokenizer cuts a character that it has no token for into its bytes, and a byte alone decodes to U+FFFD, the
mark for what cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNREADABLE = "\ufffd"
FOLLOWING = 4  # tokens that are looked at after a piece: a character has at most four bytes


def whole_characters(units: Sequence[Sequence[int]], decode: Callable[[list[int]], str]) -> list[slice]:
    """Neighbouring units that share a character, as slices of `units`; together they are all of them, in order.

    units: token ids of each. decode: from token ids to text. What is no text in any grouping stays apart.
    """
    found, start, held = [], 0, list[int]()
    for end, unit in enumerate(units, 1):
        held += unit
        if _is_whole(held, units[end : end + FOLLOWING], decode):
            found.append(slice(start, end))
            start, held = end, []
    return [*found, slice(start, len(units))] if held else found


def _is_whole(ids: list[int], after: Sequence[Sequence[int]], decode: Callable[[list[int]], str]) -> bool:
    """Whether no character of these tokens goes on in those after them: then both decode apart as they do together."""
    text = decode(ids)
    if UNREADABLE not in text:
        return True
    following = [token for unit in after for token in unit]
    return text + decode(following) == decode([*ids, *following])
