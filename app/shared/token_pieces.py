"""Token ids as the pieces of text that they add, for showing a text token by token."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from coladlm import ColaDLM

CONTEXT = 4  # tokens before that may hold the first bytes of a character: it has at most 4 bytes
BROKEN = "\ufffd"  # what a decoder writes for bytes that are no whole character, one for the start of a character


def pieces(
    tokenizer: Tokenizer,
    ids: Sequence[int],
    before: Sequence[int] = (),
    special: frozenset[int] = frozenset(),
    whole: bool = False,
) -> list[str]:
    """The piece of text that each token of `ids` adds after the tokens `before`; joined they are the text.

    The bytes of a character may lie in several tokens: the last of them gets the character, the others an empty piece.
    A token in `special` gets its name; what is before it ends there, and what follows begins anew. whole: the text ends
    with the last of them. Otherwise what looks like the start of a character waits for tokens to come, and U+FFFD
    itself looks like that.
    """
    window = [token for token in before[-CONTEXT:] if token not in special]
    shown = _settled(tokenizer, window)
    out = []
    for token in ids:
        if token in special:
            if window and out:
                out[-1] += _begun(tokenizer, window, shown)
            out.append(tokenizer.id_to_token(token) or "")
            window, shown = [], ""
            continue
        window = [*window, token]
        text = _settled(tokenizer, window)
        out.append(text[len(shown) :])
        if out[-1]:  # else still inside a character
            shown = text
            if len(window) > 2 * CONTEXT:  # a long text takes time in proportion to its length
                window = window[-CONTEXT:]
                shown = _settled(tokenizer, window)
    if whole and window and out:
        out[-1] += _begun(tokenizer, window, shown)
    return out


def _settled(tokenizer: Tokenizer, window: Sequence[int]) -> str:
    """The text of tokens, without the start of a character at its end."""
    return tokenizer.decode(window, skip_special_tokens=False).removesuffix(BROKEN)


def _begun(tokenizer: Tokenizer, window: Sequence[int], shown: str) -> str:
    """What a decoder writes for the start of a character, of which no more comes."""
    return tokenizer.decode(window, skip_special_tokens=False)[len(shown) :]


def word_of(model: ColaDLM, token: int) -> str:
    """A token as people can read it."""
    text = model.tokenizer.decode([token], skip_special_tokens=False)
    return text.strip() or {"\n": "⏎"}.get(text, "␣")
