"""The baseline's network: an autoregressive transformer of the usual make, token ids -> logits of the next token.

LayerNorm before attention and MLP, rotary embeddings, SwiGLU, no biases, embeddings tied to the output layer. Knows
nothing of texts, sampling or training. A cache is the caller's: `layers.KVCache` with blocks of one position is causal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.config import FieldCheck, read_fields
from ..networks.layers import (
    Attend,
    KVCache,
    LayerNorm,
    Linear,
    rotary_halves,
    rotate_halves,
)

MODEL_TYPE = "autoregressive_transformer"


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """The fields of the baseline's config.json. max_tokens: the longest text that it was trained to read."""

    vocab_size: int = 4096
    dim: int = 256
    num_layers: int = 6
    num_heads: int = 4
    ffn_dim: int = 672
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    max_tokens: int = 256
    settled: ClassVar[Mapping[str, Any]] = {}

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: str = "config.json") -> TransformerConfig:
        """Reads the listed keys of `data` and checks them. Raises ConfigError."""
        config = read_fields(cls, data, file, model_type=MODEL_TYPE)
        check = FieldCheck(config, file)
        for key in ("vocab_size", "dim", "num_heads", "ffn_dim", "max_tokens"):
            check(key, getattr(config, key) >= 1, "a positive integer")
        check("num_layers", config.num_layers >= 0, "0 or more")
        wanted = f"an even number of channels for each of {config.num_heads} heads"
        check("dim", config.dim % (2 * config.num_heads) == 0, wanted)
        check("norm_eps", config.norm_eps > 0, "a positive number")
        check("rope_theta", config.rope_theta > 0, "a positive number")
        return config

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self)}


class Block(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        c = config
        self.attention_norm = LayerNorm(c.dim, eps=c.norm_eps, bias=False)
        self.qkv = Linear(c.dim, 3 * c.dim, bias=False)
        self.attention_out = Linear(c.dim, c.dim, bias=False)
        self.mlp_norm = LayerNorm(c.dim, eps=c.norm_eps, bias=False)
        self.mlp_in = Linear(c.dim, 2 * c.ffn_dim, bias=False)
        self.mlp_out = Linear(c.ffn_dim, c.dim, bias=False)
        self.head_dim = c.head_dim

    def forward(self, x: Tensor, layer: int, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, -1, self.head_dim))  # (B, n, 3, heads, head_dim)
        q, k, v = qkv.unbind(2)
        q, k = (rotate_halves(y, *rope).to(v.dtype) for y in (q, k))
        x = x + self.attention_out(attend(layer, q, k, v))
        value, gate = self.mlp_in(self.mlp_norm(x)).chunk(2, -1)
        return x + self.mlp_out(F.silu(gate) * value)


class Transformer(nn.Module):
    """The network. Norms and the residual stream are float32 in every compute dtype."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = LayerNorm(config.dim, eps=config.norm_eps, bias=False)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Normal weights of size 0.02, smaller by sqrt(2 layers) where they write to the residual stream (GPT-2)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                written = name.endswith(("attention_out.weight", "mlp_out.weight"))
                size = 0.02 / (2 * self.config.num_layers) ** 0.5 if written else 0.02
                nn.init.normal_(parameter, std=size, generator=generator)

    def hidden(self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None) -> Tensor:
        """ids (B, n) -> hidden states (B, n, dim) that `logits` reads. Without `attend`, whole sequences, causal.

        positions: (n,) or (B, n), 0, 1, ... if absent.
        """
        *_, last = self.states(ids, positions, attend)
        return self.final_norm(last)

    def states(self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None) -> Iterator[Tensor]:
        """The hidden states (B, n, dim) before its layers and after each, before the last norm; else as `hidden`."""
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        rope = rotary_halves(positions, self.config.head_dim, self.config.rope_theta)
        x = self.embedding(ids).float()
        yield x
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, rope, attend or attend_causally)
            yield x

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., dim) -> logits of the next token (..., vocab_size), float32."""
        return F.linear(hidden.to(self.embedding.weight.dtype), self.embedding.weight).float()

    def cache(self, capacity: int, padding: Tensor) -> KVCache:
        """An empty cache for `capacity` positions; padding: (batch,) empty slots at the start of each row."""
        c, weight = self.config, self.embedding.weight
        return KVCache(c.num_layers, c.num_heads, c.head_dim, capacity, padding, block_size=1,
                       dtype=weight.dtype, device=weight.device)  # fmt: skip


def attend_causally(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over whole sequences, each position seeing itself and what came before. (B, n, heads, c) each."""
    q, k, v = (y.transpose(1, 2) for y in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
