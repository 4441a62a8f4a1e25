"""The symbols that the structured tasks are written in, and their tokenizer: one token a symbol."""

from __future__ import annotations

import string
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models

from ..tokenizer import text_alone

SPECIAL = ("<|endoftext|>", "<|im_end|>", "<|pad|>")
END_ID = 0
SYMBOLS = string.ascii_lowercase + string.digits + "()[]{}" + 'ACFJKPRS"' + ":,=+-?"


def make_tokenizer() -> Tokenizer:
    """A tokenizer with a token for each of SYMBOLS and no merges; the special tokens are its first ids."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *SYMBOLS))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIAL))
    return text_alone(tokenizer)


def encode(text: str) -> list[int]:
    """Text -> token ids, one a symbol. Raises ValueError for a character that is no symbol."""
    try:
        return [len(SPECIAL) + SYMBOLS.index(symbol) for symbol in text]
    except ValueError as error:
        strange = next(symbol for symbol in text if symbol not in SYMBOLS)
        raise ValueError(f"the text has {strange!r}, expected some of {SYMBOLS}") from error


def decode(ids: Sequence[int]) -> str:
    """Token ids -> text, in which a special token stands by its name, so that no validator takes it for nothing."""
    return "".join(SPECIAL[i] if i < len(SPECIAL) else SYMBOLS[i - len(SPECIAL)] for i in ids)
