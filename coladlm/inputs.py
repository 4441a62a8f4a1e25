"""What a program may give to the model's methods. Each check raises a sentence: what was found and what was wanted."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import describe
from .sampling.flow import NOISE_TIME
from .sampling.plan import LARGEST
from .settings import SamplerSettings, SettingsError


class PromptError(ValueError):
    """A prompt or a batch of prompts cannot be used; the message says what was found and what was wanted."""


def check_texts(texts: Any, name: str = "prompts") -> None:
    """A list or a tuple of texts, which may be none. What is in it is looked at where it is tokenized."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise PromptError(f"{name} is {describe(texts)}, expected a list of texts")


def check_settings(settings: Any) -> SamplerSettings:
    if not isinstance(settings, SamplerSettings):
        wanted = "SamplerSettings (of a dict: SamplerSettings.from_dict)"
        raise SettingsError(f"settings is {describe(settings)}, expected {wanted}")
    return settings


def checked_sequences(sequences: Any, count: int) -> list[int]:
    """The keys of randomness of so many prompts; 0, 1, ... where there are none."""
    if sequences is None:
        return list(range(count))
    if isinstance(sequences, (str, numbers.Number)) or not hasattr(sequences, "__iter__"):
        raise PromptError(f"sequences is {describe(sequences)}, expected a whole number for each prompt")
    keys = list(sequences)
    if len(keys) != count:
        raise PromptError(f"there are {len(keys)} sequence keys, expected one for each of {count} prompts")
    for key in keys:
        if not isinstance(key, numbers.Integral) or isinstance(key, bool) or int(key) < 0:
            raise PromptError(f"a sequence key is {describe(key)}, expected a whole number from 0")
    return [int(key) for key in keys]


def checked_ids(ids: Any) -> list[int]:
    """Token ids one after another: a list, a tuple or a tensor or array of one axis."""
    found = ids.tolist() if isinstance(ids, (Tensor, np.ndarray)) else ids
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise PromptError(f"ids is {describe(ids)}, expected token ids one after another")
    found = list(found)
    for one in found:
        if not isinstance(one, numbers.Integral) or isinstance(one, bool):
            raise PromptError(f"a token id is {describe(one)}, expected a whole number")
    return [int(one) for one in found]


def check_numbers(x: Any, name: str) -> Tensor:
    """A dense tensor of real numbers that has them."""
    if not isinstance(x, Tensor):
        raise PromptError(f"{name} is {type(x).__name__}, expected a torch.Tensor")
    if x.is_complex() or x.dtype == torch.bool or x.layout != torch.strided or x.device.type == "meta":
        found = "on the meta device" if x.device.type == "meta" else f"of {x.dtype} in {x.layout}"
        raise PromptError(f"{name} is a tensor {found}, expected a dense one of real numbers")
    return x


def check_latents(z: Any, channels: int) -> None:
    """(n, channels)."""
    check_numbers(z, "latents")
    if z.ndim != 2 or z.shape[1] != channels:
        raise PromptError(f"latents have shape {tuple(z.shape)}, expected (n, {channels})")
    if not bool((z.abs() < LARGEST).all()):  # nor NaN
        raise PromptError(f"latents hold numbers that are not finite, or from {LARGEST:g} on")


def check_times(t: Any, count: int) -> None:
    check_numbers(t, "t")
    if t.shape != (count,):
        raise PromptError(f"t has shape {tuple(t.shape)}, expected one time for each of {count} latents")
    if not bool(((t >= 0) & (t <= NOISE_TIME)).all()):  # nor NaN
        raise PromptError(f"t lies between {float(t.min()):g} and {float(t.max()):g}, expected times in [0, 1000]")


def check_noise(noise: Any, batch: int, block_size: int, channels: int) -> None:
    """(blocks, batch, block_size, channels)."""
    check_numbers(noise, "noise")
    wanted = ("blocks", batch, block_size, channels)
    if noise.ndim != 4 or tuple(noise.shape[1:]) != wanted[1:] or not len(noise):
        raise PromptError(f"noise has shape {tuple(noise.shape)}, expected {wanted}".replace("'", ""))


def check_noise_of_one(noise: Any, block_size: int, channels: int) -> None:
    """(blocks, block_size, channels)."""
    check_numbers(noise, "noise")
    if noise.ndim != 3 or tuple(noise.shape[1:]) != (block_size, channels) or not len(noise):
        raise PromptError(f"noise has shape {tuple(noise.shape)}, expected (blocks, {block_size}, {channels})")


def check_ids(ids: Any, last: int) -> None:
    """(batch, n), token ids from 0 to `last`."""
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        found = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise PromptError(f"ids is {found}, expected a tensor of token ids")
    if ids.ndim != 2:
        raise PromptError(f"ids has shape {tuple(ids.shape)}, expected (batch, n)")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) <= last:
        raise PromptError(f"ids lie between {int(ids.min())} and {int(ids.max())}, expected 0 to {last}")
