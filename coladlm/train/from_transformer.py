"""A DiT that begins with what an autoregressive transformer of its size knows of the text.

What stands clean before a block goes through the DiT at t = 0. Read one token after another that is what a transformer
reads, and it learns to read it from far fewer tokens. So its embeddings become those of the input layer, its
projections those of the attention, and its output layer becomes that of the DiT. Its layers are not quite a DiT's
(queries and keys without norms, another MLP, a start token), so first each layer learns to do what the transformer's
does, from the same hidden states (`LayerStage`), and then all of them together to predict the next token
(`CleanStage`). Times and noise come afterwards, in the usual training.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..baseline.transformer import Block, Transformer, TransformerConfig, attend_causally
from ..networks.config import DiTConfig
from ..networks.token_output import TokenInput
from .dit import DiTStage
from .loop import Stage

TAUGHT = 0.8  # share of the transformer's probabilities in what is to be predicted
HIDDEN_WEIGHT = 0.3  # of the distance between the last hidden states
READ_SHARE = 0.5  # of the positions whose next token is predicted
FAINT = 0.05  # of what latents themselves say at the beginning, beside the embeddings of their tokens
FRESH_OUTPUT = 0.003  # size of the weights with which a fresh MLP writes to the residual stream


def config_like(config: DiTConfig, transformer: TransformerConfig) -> DiTConfig:
    """The config of a DiT that can begin with this transformer: it names tokens and reads them, and positions turn all
    channels of a head. Raises ValueError where the sizes differ.
    """
    for name, own, wanted in (
        ("txt_dim", config.txt_dim, transformer.dim),
        ("heads", config.heads, transformer.num_heads),
        ("head_dim", config.head_dim, transformer.head_dim),
        ("num_layers", config.num_layers, transformer.num_layers),
    ):
        if own != wanted:
            raise ValueError(f"{name} of the DiT is {own}, expected {wanted}, that of the transformer it begins with")
    return dataclasses.replace(
        config, token_output=transformer.vocab_size, token_input=True, rope_dim=transformer.head_dim
    )


@torch.no_grad()
def take_over(stage: DiTStage, transformer: Transformer) -> None:
    """Puts the transformer's weights where they belong in the DiT. Its MLPs are fresh."""
    dit, embedding = stage.dit, transformer.embedding.weight
    cast(TokenInput, dit.txt_in["tokens"]).proj.weight.copy_(embedding.T)
    dit.txt_in["proj"].get_parameter("weight").mul_(FAINT)
    dit.txt_in["proj"].get_parameter("bias").zero_()
    half = dit.config.head_dim // 2
    pairs = torch.stack((torch.arange(half), torch.arange(half) + half), 1).flatten()  # rotated together, see layers.py
    for block, layer in zip(dit.layers, transformer.blocks, strict=True):
        known = cast(Block, layer)
        qkv = known.qkv.weight * known.attention_norm.weight
        qkv = qkv.unflatten(0, (3, dit.config.heads, dit.config.head_dim))
        qkv = torch.cat((qkv[:2, :, pairs], qkv[2:]))
        block.msa.proj_qkv.weight.copy_(qkv.flatten(0, 2))
        block.msa.proj_out.weight.copy_(known.attention_out.weight)
        for gate in ("msa_out", "mlp_out"):
            block.ada.get_submodule(f"{gate}.1").get_parameter("bias").fill_(1.0)
        nn.init.normal_(block.mlp.proj_in.weight, std=dit.config.txt_dim**-0.5)
        nn.init.normal_(block.mlp.proj_out.weight, std=FRESH_OUTPUT)
        nn.init.zeros_(block.mlp.proj_in.bias)
        nn.init.zeros_(block.mlp.proj_out.bias)
    dit.txt_out_norm.weight.copy_(transformer.final_norm.weight)
    dit.tokens.proj.weight.copy_(embedding)
    dit.tokens.proj.bias.zero_()


@torch.no_grad()
def share_output(stage: DiTStage) -> None:
    """Gives the next-token head, where there is one, what the output layer has learned of the next token."""
    if stage.next_head is None:
        return
    norm, output = stage.dit.txt_out_norm, stage.dit.tokens.proj
    stage.next_head.weight.copy_(output.weight * norm.weight)
    stage.next_head.bias.copy_(output.bias + output.weight @ norm.bias)


class ReadingStage(Stage):
    """The DiT of a stage at t = 0 in one of its two lessons, and the frozen transformer that gives them.

    start_id: the token that every text of the transformer starts with. The DiT reads texts without it.
    """

    def __init__(self, stage: DiTStage, transformer: Transformer, start_id: int, parts: tuple[str, ...]):
        """parts: beginnings of the names of the parameters that learn, but for those of modulations."""
        super().__init__()
        self.of, self.transformer, self.start_id = stage, transformer.requires_grad_(False), start_id
        for name, parameter in stage.named_parameters():
            parameter.requires_grad_(name.startswith(parts) and ".ada." not in name)

    @torch.no_grad()
    def states(self, ids: Tensor) -> list[Tensor]:
        """The transformer's hidden states after these tokens, ids (B, n): before its layers and after each."""
        return [x[:, 1:] for x in self.transformer.states(F.pad(ids, (1, 0), value=self.start_id))]

    def hidden(self, ids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The DiT's last hidden state (B, n, dim) of the latents of tokens, each of which sees those before it.
        generator: draws the noise that histories have in training; none without.
        """
        dit, z = self.of.dit, self.of.latents(ids)
        if generator is not None:
            size = torch.rand(len(z), 1, 1, generator=generator, device=z.device)
            noise = torch.randn(z.shape, generator=generator, device=z.device)
            z = z + self.of.objective.history_noise * size * noise
        clean = dit.modulations(torch.zeros(1, device=z.device)).at(0)
        rope = dit.rope(torch.arange(ids.shape[1], device=z.device))
        return dit.hidden(z, clean, rope, attend_causally)

    def next_logits(self, hidden: Tensor) -> Tensor:
        """(m, dim) -> (m, V), float32, of the token after a position."""
        dit = self.of.dit
        return dit.tokens.proj(dit.txt_out_norm(hidden)).float()

    @torch.no_grad()
    def next_entropy(self, batches: list[Tensor]) -> float:
        """Mean cross-entropy of the next token, in nats."""
        found = []
        for ids in batches:
            after = ids[:, 1:]
            real = after != self.of.pad
            logits = self.next_logits(self.hidden(ids)[:, :-1][real])
            found.append(F.cross_entropy(logits, after[real], reduction="none"))
        return torch.cat(found).mean().item()


class LayerStage(ReadingStage):
    """Each layer by itself: from the transformer's state before its own layer to the one after it."""

    def __init__(self, stage: DiTStage, transformer: Transformer, start_id: int):
        super().__init__(stage, transformer, start_id, ("dit.blocks.",))

    def forward(self, ids: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """ids (B, n) -> the sum over layers of the square error, as a share of the square of what a layer adds."""
        dit, states = self.of.dit, self.states(ids)
        real = (ids != self.of.pad)[..., None]
        rope = dit.rope(torch.arange(ids.shape[1], device=ids.device))
        clean = dit.modulations(torch.zeros(1, device=ids.device)).at(0)
        parts = {}
        for layer, (block, x, wanted) in enumerate(zip(dit.layers, states[:-1], states[1:], strict=True)):
            found = block(x, layer, clean.layers[layer], rope, attend_causally)
            parts[f"layer_{layer}"] = ((found - wanted).square() * real).sum() / ((wanted - x).square() * real).sum()
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """The same of held-out rows, and the cross-entropy of the next token by all layers together."""
        found = [self(ids) for ids in batches]
        means = {name: sum(part[name].item() for part in found) / len(found) for name in found[0]}
        return {**means, "next": self.next_entropy(batches)}


class CleanStage(ReadingStage):
    """All layers together, from latents to the next token: its loss is the cross-entropy, most of it of the
    transformer's probabilities, and the distance from its last hidden state.
    """

    def __init__(self, stage: DiTStage, transformer: Transformer, start_id: int):
        parts = ("dit.blocks.", "dit.txt_in.", "dit.txt_out.", "dit.txt_out_norm.")
        super().__init__(stage, transformer, start_id, parts)

    def forward(self, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """ids (B, n) -> the loss and its parts."""
        wanted, hidden = self.states(ids)[-1], self.hidden(ids, generator)
        after = ids[:, 1:]
        places = (after != self.of.pad).flatten().nonzero()[:, 0]
        chosen = torch.randperm(len(places), generator=generator, device=ids.device)
        places = places[chosen[: max(1, int(READ_SHARE * len(places)))]]
        logits = self.next_logits(hidden[:, :-1].flatten(0, 1)[places])
        with torch.no_grad():
            known = self.transformer.final_norm(wanted[:, :-1].flatten(0, 1)[places])
            known = self.transformer.logits(known).softmax(-1)
        taught = -(known * logits.log_softmax(-1)).sum(-1).mean()
        entropy = F.cross_entropy(logits, after.flatten()[places])
        real = (ids != self.of.pad)[..., None]
        distance = ((hidden - wanted).square() * real).sum() / (wanted.square() * real).sum()
        loss = torch.lerp(entropy, taught, TAUGHT) + HIDDEN_WEIGHT * distance
        return {"loss": loss, "next": entropy, "taught": taught, "distance": distance}

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """The cross-entropy of the next token."""
        return {"next": self.next_entropy(batches)}
