"""The text VAE: token ids -> Posterior over latents, latents -> logits (Cola-DLM, arXiv:2605.06548, section 2).

Block-causal in both directions: a position sees its own block and every block before it. Knows nothing of noise, time
or the DiT. Module names are those of the published checkpoint.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import TextVAEConfig
from .layers import (
    Attend,
    LayerNorm,
    Linear,
    attend_under,
    block_causal_mask,
    rotary_halves,
    rotate_halves,
)

LOGVAR_RANGE = (-30.0, 20.0)


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q(z | x), a diagonal Gaussian. mean and logvar: (..., n, d); logvar is None where the model has no variance."""

    mean: Tensor
    logvar: Tensor | None

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Mean plus noise of the posterior's size, (..., n, d); the noise is drawn on the generator's device."""
        if self.logvar is None:
            return self.mean
        device = generator.device if generator is not None else self.mean.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype)
        return self.mean + (0.5 * self.logvar).exp() * noise.to(self.mean.device)


class VAEBlock(nn.Module):
    """One transformer block of the encoder or decoder. With post_norm it is the residual stream that is normalised."""

    def __init__(self, config: TextVAEConfig):
        super().__init__()
        c, kv_dim = config, config.kv_heads * config.head_dim
        self.norm_attn = LayerNorm(c.dim, eps=c.layer_norm_eps, elementwise_affine=c.layer_norm_affine)
        self.norm_ffn = LayerNorm(c.dim, eps=c.layer_norm_eps)  # affine in any case, as published
        self.qkv_proj = Linear(c.dim, c.dim + 2 * kv_dim, bias=c.qk_bias)
        if c.qk_norm:
            self.q_norm = LayerNorm(c.dim, eps=c.layer_norm_eps, elementwise_affine=c.qk_norm_affine)
            self.k_norm = LayerNorm(kv_dim, eps=c.layer_norm_eps, elementwise_affine=c.qk_norm_affine)
        self.attn_out_proj = Linear(c.dim, c.dim, bias=c.bias)
        self.ffn_proj = Linear(c.dim, c.ffn_dim, bias=c.bias)
        self.ffn_out = Linear(c.ffn_dim // 2 if c.act == "swiglu" else c.ffn_dim, c.dim, bias=c.bias)
        self.config = config

    def forward(self, x: Tensor, layer: int, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        c = self.config
        normed = self.norm_attn(x)
        q, k, v = self.project(x if c.post_norm else normed, rope)
        a = self.attn_out_proj(attend(layer, q, k, v))
        x = (normed if c.post_norm else x) + a
        f = self.feed_forward(x if c.post_norm else self.norm_ffn(x))
        return x + (self.norm_ffn(f) if c.post_norm else f)

    def project(self, h: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        c = self.config
        qkv = self.qkv_proj(h)
        if c.clip_qkv is not None:
            qkv = qkv.clamp(-c.clip_qkv, c.clip_qkv)
        kv_dim = c.kv_heads * c.head_dim
        q, k, v = qkv.split((c.dim, kv_dim, kv_dim), -1)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        angle_dtype = torch.float32 if c.rope_full_precision else v.dtype
        cos, sin = (r.to(angle_dtype) for r in rope)
        q, k = (rotate_halves(x.unflatten(-1, (-1, c.head_dim)).to(angle_dtype), cos, sin).to(v.dtype) for x in (q, k))
        return q, k, v.unflatten(-1, (-1, c.head_dim))

    def feed_forward(self, h: Tensor) -> Tensor:
        h = self.ffn_proj(h)
        if self.config.act == "swiglu":
            value, gate = h.chunk(2, -1)
            return self.ffn_out(F.silu(gate) * value)
        return self.ffn_out(F.gelu(h) if self.config.act == "gelu" else F.silu(h))


class Encoder(nn.Module):
    """Token ids (B, L) -> (B, n, 2d), or (B, n, d) without `use_variation`."""

    def __init__(self, config: TextVAEConfig):
        super().__init__()
        c = config
        self.wte = nn.Embedding(c.vocab_size + 1, c.dim)  # the last row is the mask token of training
        self.patch_embedder = nn.Conv1d(c.dim, c.dim, c.patch_size, stride=c.patch_size)
        self.blocks = nn.ModuleList(VAEBlock(c) for _ in range(c.encoder_num_blocks))
        self.final_layer = Linear(c.dim, c.latent_dim * (2 if c.use_variation else 1), bias=c.bias)

    def forward(self, ids: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        conv = self.patch_embedder
        patches = self.wte(ids).unflatten(1, (-1, conv.kernel_size[0])).transpose(2, 3).flatten(2)  # (B, n, dim * ps)
        x = F.linear(patches, conv.weight.flatten(1), conv.bias)
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, rope, attend)
        return self.final_layer(x)


class Decoder(nn.Module):
    """Latents (B, n, d) -> hidden states (B, n * patch_size, dim); `logits` takes those to the vocabulary."""

    def __init__(self, config: TextVAEConfig):
        super().__init__()
        c = config
        self.in_layer = Linear(c.latent_dim, c.dim, bias=c.bias)
        self.blocks = nn.ModuleList(VAEBlock(c) for _ in range(c.decoder_num_blocks))
        self.unpatch_layer = Linear(c.dim, c.dim * c.patch_size)
        self.final_norm = LayerNorm(c.dim, eps=c.layer_norm_eps)  # affine in any case, as published
        self.final_layer = Linear(c.dim, c.vocab_size, bias=c.bias)
        self.patch_size = c.patch_size

    def forward(self, z: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        x = self.in_layer(z)
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, rope, attend)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states (B, n, dim) -> logits (B, n * patch_size, vocab_size) in float32."""
        x = self.unpatch_layer(x).unflatten(-1, (-1, self.patch_size)).transpose(2, 3).flatten(1, 2)
        return self.final_layer(self.final_norm(x)).float()


class TextVAE(nn.Module):
    """The text VAE. Latents are unscaled in `encode`; `decode` takes what the decoder is to read, as it is."""

    def __init__(self, config: TextVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @property
    def mask_id(self) -> int:
        """The token id that stands for a masked token in training."""
        return self.config.vocab_size

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary factors for integer positions (n,) or (B, n) of latents."""
        return rotary_halves(positions, self.config.head_dim, self.config.rope_theta)

    def encode(self, ids: Tensor, rope: tuple[Tensor, Tensor] | None = None, attend: Attend | None = None) -> Posterior:
        """ids (B, L), L a multiple of patch_size -> Posterior of shape (B, L / patch_size, d), float32, unscaled.

        Without `attend`, the whole sequence from position 0 under the block-causal mask.
        """
        if ids.ndim != 2 or ids.shape[1] % self.config.patch_size:
            wanted = f"(batch, a multiple of {self.config.patch_size})"
            raise ValueError(f"ids have shape {tuple(ids.shape)}, expected {wanted}")
        n = ids.shape[1] // self.config.patch_size
        rope, attend = self._whole(n, ids.device, rope, attend)
        out = self.encoder(ids, rope, attend).float()
        d = self.config.latent_dim
        mean, logvar = (out[..., :d], out[..., d:].clamp(*LOGVAR_RANGE)) if self.config.use_variation else (out, None)
        if self.config.encoder_last_ln or logvar is None:
            mean = F.layer_norm(mean, (d,), eps=self.config.layer_norm_eps)
        return Posterior(mean, logvar)

    def decode(self, z: Tensor, rope: tuple[Tensor, Tensor] | None = None, attend: Attend | None = None) -> Tensor:
        """Latents z (B, n, d) -> logits (B, n * patch_size, vocab_size), float32."""
        return self.decoder.logits(self.decode_hidden(z, rope, attend))

    def decode_hidden(
        self, z: Tensor, rope: tuple[Tensor, Tensor] | None = None, attend: Attend | None = None
    ) -> Tensor:
        """The decoder without its way to the vocabulary, for filling a cache. (B, n, d) -> (B, n, dim)."""
        if z.ndim != 3 or z.shape[2] != self.config.latent_dim:
            raise ValueError(f"latents have shape {tuple(z.shape)}, expected (batch, n, {self.config.latent_dim})")
        rope, attend = self._whole(z.shape[1], z.device, rope, attend)
        return self.decoder(z, rope, attend)

    def _whole(
        self, n: int, device: torch.device, rope: tuple[Tensor, Tensor] | None, attend: Attend | None
    ) -> tuple[tuple[Tensor, Tensor], Attend]:
        if rope is None:
            rope = self.rope(torch.arange(n, device=device))
        if attend is None:
            attend = attend_under(block_causal_mask(n, self.config.block_size, device))
        return rope, attend

    def scale(self, z: Tensor) -> Tensor:
        """Posterior latents as the DiT and the sampler know them."""
        return (z - self.config.shifting_factor) * self.config.scaling_factor
