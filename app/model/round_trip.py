"""A text through the VAE and back: what each token comes back as, how wide its posterior is, its latents as files."""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple

import numpy as np
import torch

from coladlm import ColaDLM
from coladlm.recipe import Described, RecipeError

from ..components.saver import not_saved, saved
from ..generate.inspection import word_of
from ..shared.token_pieces import pieces

MOST_TOKENS = 512
SAFE = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula


class Posteriors(NamedTuple):
    """A text's posteriors. ids: (tokens,). mean, std: (latents, d), unscaled; no std for a VAE without variance."""

    ids: list[int]
    mean: np.ndarray
    std: np.ndarray | None


@torch.inference_mode()
def posteriors(model: ColaDLM, text: str) -> Posteriors:
    """Encodes a text. Raises RecipeError, PromptError."""
    ids = model.tokenize(text)
    if not 1 <= len(ids) <= MOST_TOKENS:
        raise RecipeError("the text", Described(f"{len(ids):,} tokens long"), f"1 to {MOST_TOKENS} tokens")
    posterior = model.encode(text)
    n = -(-len(ids) // model.patch_size)
    std = None if posterior.logvar is None else (0.5 * posterior.logvar[:n]).exp().float().cpu().numpy()
    return Posteriors(ids, posterior.mean[:n].float().cpu().numpy(), std)


@torch.inference_mode()
def round_trip(model: ColaDLM, text: str) -> dict[str, Any]:
    """The value of a RoundTrip: every token, what its latent reads as, and how wide its posterior is."""
    found = posteriors(model, text)
    posterior = model.encode(text)  # with the padding of the last block, as the sampler has it
    logits = model.decode(model.vae.scale(posterior.mean)).float().cpu()[: len(found.ids)]
    read, p = logits.argmax(-1).tolist(), logits.softmax(-1).amax(-1).tolist()
    sample = posterior.sample(torch.Generator(posterior.mean.device).manual_seed(0))
    drawn = model.decode(model.vae.scale(sample)).argmax(-1).tolist()[: len(found.ids)]
    right, right_drawn = (sum(a == b for a, b in zip(found.ids, x, strict=True)) for x in (read, drawn))
    spread = _spread(found)
    words = pieces(model.tokenizer, found.ids, whole=True)
    tokens = [
        [words[i], word_of(model, token), int(token == read[i]), word_of(model, read[i]), round(p[i], 4),
         round(spread[i // model.patch_size], 4)]
        for i, token in enumerate(found.ids)
    ]  # fmt: skip
    count = len(found.ids)
    said = [f"{right} of {count} tokens come back from the means of their posteriors."]
    if found.std is not None:
        said.append(f"Drawn from the posteriors instead, {right_drawn} of {count} do. A posterior is "
                    f"{100 * float(np.median(spread)):.1f} % as wide as a latent is large (median).")  # fmt: skip
    return {"tokens": tokens, "said": " ".join(said), "most": max(spread)}


def _spread(found: Posteriors) -> list[float]:
    """The width of each posterior over the size of a latent (both as root mean squares over the channels)."""
    if found.std is None:
        return [0.0] * len(found.mean)
    size = float(np.sqrt(np.square(found.mean).mean())) or 1.0
    return (np.sqrt(np.square(found.std).mean(1)) / size).tolist()


def latent_file(model: ColaDLM, kind: str, text: str) -> dict[str, Any]:
    """The latents of a text for a Saver, as npz or as CSV. What is wrong with it comes as a sentence."""
    try:
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
        table.writerow([i + 1, "'" + words if words.startswith(SAFE) else words, *(f"{x:.6g}" for x in numbers)])
    return out.getvalue()
