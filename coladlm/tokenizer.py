"""Tokenizers as this library uses them: text is text, and the name of a special token inside it is no token.

A special token (the end of a text, padding) is something that a model writes, or that code puts in its place by its
id. Somebody who types `<|endoftext|>` has typed 13 characters.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer


def load_tokenizer(file: str | Path) -> Tokenizer:
    """The tokenizer in a file, with `text_alone`. Raises what the tokenizers library raises, a bare Exception."""
    return text_alone(Tokenizer.from_file(str(file)))


def text_alone(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, which from now on encodes the names of special tokens like any other characters.

    This is no part of a tokenizer's file, and a copy of a tokenizer does not have it.
    """
    tokenizer.encode_special_tokens = True
    return tokenizer
