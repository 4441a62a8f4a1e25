"""Token ids as the pieces of text that they add, for showing a text token by token."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

CONTEXT = 4  # tokens before that may hold the first bytes of a character: it has at most 4 bytes
BROKEN = "\ufffd"  # what a decoder writes for bytes that are no whole character, one for the start of a character


def pieces(
    tokenizer: Tokenizer, ids: Sequence[int], before: Sequence[int] = (), special: frozenset[int] = frozenset()
) -> list[str]:
    """The piece of text that each token of `ids` adds after the tokens `before`; joined they are the text.

    The bytes of a character may lie in several tokens: the last of them gets the character, the others an empty piece.
    A token in `special` gets its name, and what follows it begins anew.
    """
    window = [token for token in before[-CONTEXT:] if token not in special]
    shown = tokenizer.decode(window, skip_special_tokens=False)
    out = []
    for token in ids:
        if token in special:
            out.append(tokenizer.id_to_token(token) or "")
            window, shown = [], ""
            continue
        window = [*window, token]
        text = tokenizer.decode(window, skip_special_tokens=False)
        whole = shown.removesuffix(BROKEN)
        out.append(text.removesuffix(BROKEN)[len(whole) :])
        if out[-1]:  # else still inside a character
            shown = text
    return out
