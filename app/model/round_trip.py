"""A text through the VAE and back: what each token comes back as, how wide its posterior is, its latents as files."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from coladlm import ColaDLM
from coladlm.latent.round_trip import Posteriors, posteriors, read_back
from coladlm.recipe import Described, RecipeError

from ..components.saver import not_saved, saved
from ..shared.encoding import safe_cell
from ..shared.token_pieces import pieces, word_of

MOST_TOKENS = 512


def round_trip(model: ColaDLM, text: str) -> dict[str, Any]:
    """The value of a RoundTrip: every token, what its latent reads as, and how wide its posterior is.

    Raises RecipeError, PromptError.
    """
    _check_length(model, text)
    back = read_back(model, text)
    found = back.posteriors
    right, right_drawn = (sum(a == b for a, b in zip(found.ids, x, strict=True)) for x in (back.read, back.drawn))
    spread = _spread(found)
    words = pieces(model.tokenizer, found.ids, whole=True)
    tokens = [
        [words[i], word_of(model, token), int(token == back.read[i]), word_of(model, back.read[i]),
         round(back.probabilities[i], 4), round(spread[i // model.patch_size], 4)]
        for i, token in enumerate(found.ids)
    ]  # fmt: skip
    count = len(found.ids)
    note = [f"{right} of {count} tokens come back from the means of their posteriors."]
    if found.std is not None:
        note.append(f"Drawn from the posteriors instead, {right_drawn} of {count} do. A posterior is "
                    f"{100 * float(np.median(spread)):.1f} % as wide as a latent is large (median).")  # fmt: skip
    return {"tokens": tokens, "note": " ".join(note), "most": max(spread)}


def _check_length(model: ColaDLM, text: str) -> None:
    count = len(model.tokenize(text, limited=False))
    if not 1 <= count <= MOST_TOKENS:
        raise RecipeError("the text", Described(f"{count:,} tokens long"), f"1 to {MOST_TOKENS} tokens")


def _spread(found: Posteriors) -> list[float]:
    """The width of each posterior over the size of a latent (both as root mean squares over the channels)."""
    if found.std is None:
        return [0.0] * len(found.mean)
    size = float(np.sqrt(np.square(found.mean).mean())) or 1.0
    return (np.sqrt(np.square(found.std).mean(1)) / size).tolist()


def latent_file(model: ColaDLM, kind: str, text: str) -> dict[str, Any]:
    """The latents of a text for a Saver, as npz or as CSV. What is wrong with it comes as a sentence."""
    try:
        _check_length(model, text)
        found = posteriors(model, text)
    except ValueError as error:
        return not_saved(str(error))
    if kind == "npz":
        out = io.BytesIO()
        arrays = {"token_ids": np.array(found.ids, np.int32), "mean": found.mean}
        if found.std is not None:
            arrays["std"] = found.std
        np.savez_compressed(out, **arrays)
        return saved("latents.npz", "application/octet-stream", out.getvalue())
    return saved("latents.csv", "text/csv", _table(model, found).encode())


def _table(model: ColaDLM, found: Posteriors) -> str:
    """A row for each latent: its tokens, the means of its channels, then their standard deviations."""
    out = io.StringIO()
    table = csv.writer(out)
    d, ps = found.mean.shape[1], model.patch_size
    names = [f"mean_{i + 1}" for i in range(d)] + ([] if found.std is None else [f"std_{i + 1}" for i in range(d)])
    table.writerow(["latent", "tokens", *names])
    for i, mean in enumerate(found.mean):
        words = model.tokenizer.decode(found.ids[i * ps : (i + 1) * ps], skip_special_tokens=False)
        numbers = [*mean, *(() if found.std is None else found.std[i])]
        table.writerow([i + 1, safe_cell(words), *(f"{x:.6g}" for x in numbers)])
    return out.getvalue()
