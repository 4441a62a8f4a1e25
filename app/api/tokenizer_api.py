"""What clients ask of a tokenizer, as vLLM's server answers it: /tokenize, /detokenize, /tokenizer_info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coladlm import ColaDLM
from coladlm.model import END_TOKENS, PAD_TOKEN
from coladlm.recipe import describe

from .errors import ApiError


def info(model: ColaDLM) -> dict[str, Any]:
    """The names of the special tokens. The name of an end token alone is read as that token by `tokenize`."""
    return {"tokenizer_class": type(model.tokenizer).__name__, "bos_token": None, "eos_token": END_TOKENS[0],
            "pad_token": PAD_TOKEN, "chat_template": None, "model_max_length": model.max_tokens}  # fmt: skip


def tokenize(data: Mapping[str, Any], model: ColaDLM) -> dict[str, Any]:
    """{"prompt": text} -> {"tokens": ids, "count", "max_model_len"}. Raises ApiError, PromptError."""
    text = data.get("prompt")
    if not isinstance(text, str):
        raise ApiError(f"prompt is {describe(text)}, expected a text", "prompt")
    # a client that wants to know the number of the end token asks for its name
    ids = [model.tokenizer.token_to_id(text)] if text in END_TOKENS else model.tokenize(text)
    return {"tokens": ids, "count": len(ids), "max_model_len": model.max_tokens}


def detokenize(data: Mapping[str, Any], model: ColaDLM) -> dict[str, Any]:
    """{"tokens": ids} -> {"prompt": text}. Raises ApiError."""
    ids = data.get("tokens")
    if not isinstance(ids, list):
        raise ApiError(f"tokens is {describe(ids)}, expected a list of token ids", "tokens")
    check_ids(ids, model, "tokens")
    return {"prompt": model.tokenizer.decode(ids, skip_special_tokens=False)}


def check_ids(ids: list[Any], model: ColaDLM, field: str) -> None:
    """Raises ApiError for what is no token of the model. field: where the ids came from."""
    most = model.vae.config.vocab_size - 1
    for token in ids:
        if type(token) is not int or not 0 <= token <= most:
            raise ApiError(f"{field} has {describe(token)}, expected token ids from 0 to {most:,}", field)
