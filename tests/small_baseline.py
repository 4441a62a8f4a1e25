"""A small baseline on the golden tokenizer, with random weights, and stories that are written by rule."""

import pytest
import torch
from tokenizers import Tokenizer

from coladlm.baseline.baseline import Baseline
from coladlm.baseline.transformer import Transformer, TransformerConfig


@pytest.fixture(scope="session")
def baseline(golden_folder) -> Baseline:
    tokenizer = Tokenizer.from_file(str(golden_folder / "tokenizer.json"))
    config = TransformerConfig(vocab_size=tokenizer.get_vocab_size(), dim=32, num_layers=3, num_heads=2, ffn_dim=48)
    network = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():  # large weights: what follows depends on all that came before
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return Baseline(network.requires_grad_(False), tokenizer)


STORY = "Once there was a {}. It {} to the {}. It was happy there. The end."


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return [STORY.format(who, how, where) for who in ("cat", "dog", "bird") for how in ("ran", "went")
            for where in ("park", "hill")]  # fmt: skip
