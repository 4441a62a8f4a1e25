"""Where the last whole sentence of a text ends. Functions on texts and token ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# a sign that ends a sentence, what closes a quotation after it, then a space or the end; in scripts without spaces
# between sentences the sign alone
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|\Z)|[。！？]+[」』”’）]*")


def last_sentence_end(text: str, going_on: bool = False) -> int:
    """How many characters of a text end with its last whole sentence, 0 where there is none.

    A sentence that ends within straight double quotes that are still open is none, but where there is no other.
    going_on: more of the text is still to come, so that nothing at its very end is certain: the number never falls as
    the text grows.
    """
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    if going_on:
        ends = [end for end in ends if end < len(text)]
    outside = [end for end in ends if text.count('"', 0, end) % 2 == 0]
    if outside:
        return outside[-1]
    return ends[-1] if ends and not going_on else 0


def whole_sentences(ids: Sequence[int], read: Callable[[list[int]], str]) -> list[int]:
    """The tokens up to the end of the last whole sentence; all of them where there is none. read: token ids -> text."""
    kept = list(ids)
    end = last_sentence_end(read(kept))
    if end == 0:
        return kept
    while len(read(kept).rstrip()) > end:
        kept.pop()
    while len(read(kept[:-1])) >= end:  # a space of its own
        kept.pop()
    return kept
