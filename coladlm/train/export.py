"""A checkpoint from a run's folder: moving averages of weights, in bfloat16."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import save_checkpoint
from ..model import ColaDLM
from ..networks.config import DiTConfig
from ..settings import SamplerSettings
from ..tokenizer import load_tokenizer
from .stages import load_dit, load_vae

# What suits small models of this make (docs/training.md): strong guidance; a re-encoded history, which keeps their
# errors from building up; words that follow each other through the noise, so that the later ones fit the earlier.
SMALL_MODEL_SAMPLER = SamplerSettings(
    steps=16,
    stagger=0.5,
    guidance=4.0,
    stochasticity=0.0,
    time_shift=2.0,
    history="reencoded",
    max_new_tokens=128,
    repetition_penalty=1.0,
    whole_sentences=True,
)
# What names tokens can be guided between their logits, which keeps more of the variety, leave out those that do not
# fit, and say which words that come at once fit each other. Chosen under a judge, see docs/training.md.
TOKEN_MODEL_SAMPLER = dataclasses.replace(
    SMALL_MODEL_SAMPLER, guidance=2.5, guidance_space="logits", flow_temperature=0.8, min_p=0.1, noises=4
)


def sampler_of(config: DiTConfig) -> SamplerSettings:
    """The settings that suit a small DiT of this form."""
    return TOKEN_MODEL_SAMPLER if config.token_output else SMALL_MODEL_SAMPLER


def export(run: Path, folder: Path, sampler: dict[str, Any] | None = None, name: str = "dit") -> None:
    """Writes the checkpoint of the run so far to `folder`, whole or not at all. Raises CheckpointError."""
    tokenizer = load_tokenizer(run / "tokenizer.json")
    dit = load_dit(run, name)
    sampler = sampler_of(dit.config).to_dict() if sampler is None else sampler
    save_checkpoint(folder, load_vae(run), dit, tokenizer, sampler, torch.bfloat16)


def load_run(run: Path, name: str = "dit") -> ColaDLM:
    """The run so far as a model ready to sample, in float32 on the CPU."""
    tokenizer = load_tokenizer(run / "tokenizer.json")
    dit = load_dit(run, name)
    return ColaDLM(load_vae(run), dit, tokenizer, sampler_of(dit.config), name=run.name)
