"""The whole model in float64, written from its definition: plain tensors, no caches, one sequence at a time.

Independent of `coladlm`'s networks and sampler, of which it reads configs and weights alone. Every pass runs over the
whole text so far; under the block-causal mask that is what caches must give.
"""

import dataclasses
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Weights:
    """The parameters of a network in float64, and the layers that read them by name."""

    def __init__(self, network: torch.nn.Module):
        self.config = network.config
        self.tensors = {key: value.double() for key, value in network.state_dict().items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def norm(self, x: Tensor, eps: float, name: str | None = None) -> Tensor:
        weight, bias = self.tensors.get(f"{name}.weight"), self.tensors.get(f"{name}.bias")
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def attention(q: Tensor, k: Tensor, v: Tensor, block_size: int) -> Tensor:
    """Block-causal softmax attention. q: (n, heads, c); k, v: (n, heads or 1, c) -> (n, heads * c)."""
    block = torch.arange(len(q)) // block_size
    scores = torch.einsum("ihc,jhc->hij", q, k.expand_as(q)) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(block[None, :] > block[:, None], -torch.inf).softmax(-1)
    return torch.einsum("hij,jhc->ihc", weights, v.expand_as(q)).flatten(1)


class ReferenceVAE(Weights):
    def rotate(self, x: Tensor) -> Tensor:
        """Rotates the halves of a head, x: (n, heads, c)."""
        n, _, c = x.shape
        angles = torch.arange(n).double()[:, None] * self.config.rope_theta ** (-torch.arange(0, c, 2).double() / c)
        turned = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
        return torch.cat((turned.real, turned.imag), -1)

    def block(self, name: str, x: Tensor) -> Tensor:
        c, eps = self.config, self.config.layer_norm_eps
        c_head = c.dim // c.num_heads
        h = x if c.post_norm else self.norm(x, eps, f"{name}.norm_attn")
        qkv = self.linear(f"{name}.qkv_proj", h)
        if c.clip_qkv is not None:
            qkv = qkv.clamp(-c.clip_qkv, c.clip_qkv)
        kv = c.dim // c.shared_heads_kv
        q, k, v = qkv.split((c.dim, kv, kv), -1)
        if c.qk_norm:
            q, k = self.norm(q, eps, f"{name}.q_norm"), self.norm(k, eps, f"{name}.k_norm")
        q, k, v = (y.unflatten(-1, (-1, c_head)) for y in (q, k, v))
        a = self.linear(f"{name}.attn_out_proj", attention(self.rotate(q), self.rotate(k), v, c.block_size))
        x = (self.norm(x, eps, f"{name}.norm_attn") if c.post_norm else x) + a
        h = self.linear(f"{name}.ffn_proj", x if c.post_norm else self.norm(x, eps, f"{name}.norm_ffn"))
        if c.act == "swiglu":
            value, gate = h.chunk(2, -1)
            h = F.silu(gate) * value
        else:
            h = {"gelu": F.gelu, "silu": F.silu}[c.act](h)
        f = self.linear(f"{name}.ffn_out", h)
        return x + (self.norm(f, eps, f"{name}.norm_ffn") if c.post_norm else f)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """(L,) -> mean and logvar, (n, d)."""
        c = self.config
        x = self.tensors["encoder.wte.weight"][ids].T
        name = "encoder.patch_embedder"
        x = F.conv1d(x[None], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], c.patch_size)[0].T
        for layer in range(c.encoder_num_blocks):
            x = self.block(f"encoder.blocks.{layer}", x)
        x = self.linear("encoder.final_layer", x)
        if not c.use_variation:
            return self.norm(x, c.layer_norm_eps), None
        mean, logvar = x.chunk(2, -1)
        return self.norm(mean, c.layer_norm_eps) if c.encoder_last_ln else mean, logvar.clamp(-30, 20)

    def decode(self, z: Tensor) -> Tensor:
        """(n, d) -> (n * patch_size, vocab)."""
        c = self.config
        x = self.linear("decoder.in_layer", z)
        for layer in range(c.decoder_num_blocks):
            x = self.block(f"decoder.blocks.{layer}", x)
        x = self.linear("decoder.unpatch_layer", x).view(len(x), c.dim, c.patch_size).transpose(1, 2).flatten(0, 1)
        return self.linear("decoder.final_layer", self.norm(x, c.layer_norm_eps, "decoder.final_norm"))


class ReferenceDiT(Weights):
    def rotate(self, x: Tensor) -> Tensor:
        """Rotates neighbouring pairs of the first channels of a head, x: (n, heads, c)."""
        r = self.config.rope_dim
        angles = torch.arange(len(x)).double()[:, None] * 10000.0 ** (-torch.arange(0, r, 2).double() / r)
        pairs = torch.complex(x[..., 0:r:2], x[..., 1:r:2]) * torch.polar(torch.ones_like(angles), angles)[:, None]
        return torch.cat((torch.stack((pairs.real, pairs.imag), -1).flatten(-2), x[..., r:]), -1)

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """(n, d), (n,) -> (n, d)."""
        c, eps = self.config, self.config.norm_eps
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128).double() / 128)
        e = torch.cat((angles.sin(), angles.cos()), -1)
        e = F.silu(self.linear("emb_in.proj_hid", F.silu(self.linear("emb_in.proj_in", e))))
        e = F.silu(self.linear("emb_in.proj_out", e))

        def modulated(x: Tensor, name: str, norm: str | None = None) -> Tensor:
            shift, scale = self.linear(f"{name}.1", e).chunk(2, -1)
            return self.norm(x, eps, norm) * (1 + scale) + shift

        x = self.linear("txt_in.proj", z)
        if c.token_input:
            prior = self.tensors["txt_in.tokens.prior"]
            x = x + self.linear("txt_in.tokens.proj", (prior + self.densities(z, t / 1000)).softmax(-1))
        for layer in range(c.num_layers):
            name = f"blocks.{layer}"
            qkv = self.linear(f"{name}.msa.proj_qkv", modulated(x, f"{name}.ada.msa_in"))
            q, k, v = qkv.view(len(z), 3, c.heads, c.head_dim).unbind(1)
            q, k = self.norm(q, eps, f"{name}.msa.norm_q"), self.norm(k, eps, f"{name}.msa.norm_k")
            a = self.linear(f"{name}.msa.proj_out", attention(self.rotate(q), self.rotate(k), v, c.block_size))
            x = x + self.linear(f"{name}.ada.msa_out.1", e) * a
            h = self.linear(f"{name}.mlp.proj_in", modulated(x, f"{name}.ada.mlp_in"))
            m = self.linear(f"{name}.mlp.proj_out", F.gelu(h, approximate="tanh"))
            x = x + self.linear(f"{name}.ada.mlp_out.1", e) * m
        h = modulated(x, "txt_out_ada.out_in", "txt_out_norm")
        return self.by_tokens(h, z, t / 1000) if c.token_output else self.linear("txt_out.proj", h)

    def by_tokens(self, h: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """The mean of noise - data where the output layer names tokens, see `networks/token_output.py`."""
        logits, (means, spread) = self.linear("txt_out.tokens.proj", h), self.tokens
        velocities = []
        for own, density, state, time in zip(logits, self.densities(z, t), z, t, strict=True):
            variance = time**2 + (1 - time) ** 2 * spread
            off = state - (1 - time) * means  # (V, d)
            shares = (own + density).softmax(0)
            velocities.append(shares @ (time / variance * off - means - (1 - time) * spread / variance * off))
        return torch.stack(velocities)

    def densities(self, z: Tensor, t: Tensor) -> Tensor:
        """(n, V), the logarithm of each state's density under each token, but for what all tokens share."""
        means, spread = self.tokens
        variance = t.square() + (1 - t).square() * spread
        off = z[:, None] - (1 - t)[:, None, None] * means
        return -off.square().sum(-1) / (2 * variance[:, None])

    @property
    def tokens(self) -> tuple[Tensor, Tensor]:
        return self.tensors["txt_out.tokens.means"], self.tensors["txt_out.tokens.spread"]


@dataclasses.dataclass
class Generation:
    """answer: the tokens after the prompt. Of each block its latents (b, d), its logits (b * patch_size, vocab), and
    those after the penalty, of which the greatest was chosen.
    """

    answer: list[int]
    latents: list[Tensor]
    logits: list[Tensor]
    scores: list[Tensor]


class ReferenceSampler:
    """The published sampler: greedy, Euler, pinned positions, guidance, repetition penalty."""

    def __init__(self, vae: torch.nn.Module, dit: torch.nn.Module, pad_id: int, block_size: int | None = None):
        """block_size: of the DiT, in place of its config's; the VAE keeps its own."""
        self.vae, self.dit, self.pad_id = ReferenceVAE(vae), ReferenceDiT(dit), pad_id
        if block_size is not None:
            self.dit.config = dataclasses.replace(self.dit.config, block_size=block_size)

    def encode_prompt(self, ids: list[int]) -> Tensor:
        """Scaled posterior means (n, d) of the positions that hold at least one token."""
        c = self.vae.config
        padding = -len(ids) % (c.patch_size * c.block_size)
        if not ids:
            return torch.zeros(0, c.latent_dim, dtype=torch.float64)
        mean, _ = self.vae.encode(torch.tensor(ids + [self.pad_id] * padding))
        return (mean[: -(-len(ids) // c.patch_size)] - c.shifting_factor) * c.scaling_factor

    def transport(self, history: Tensor, pinned: Tensor, noise: Tensor, steps: int, guidance: float) -> Tensor:
        """The finished block (b, d) that follows `history`, its first positions pinned."""
        x, r = noise.double().clone(), len(pinned)
        for t, t_next in itertools.pairwise(torch.linspace(1000, 0, steps + 1, dtype=torch.float64).tolist()):
            x[:r] = pinned
            time = torch.full((len(x),), t, dtype=torch.float64)
            time[:r] = 0
            v = self.dit.velocity(x, time)
            if len(history):
                whole = self.dit.velocity(torch.cat((history, x)), torch.cat((time.new_zeros(len(history)), time)))
                v = v + guidance * (whole[-len(x) :] - v)
            x = x - (t - t_next) / 1000 * v
        x[:r] = pinned
        return x

    def generate(self, ids: list[int], noise: Tensor, steps: int, guidance: float, penalty: float,
                 penalise_pinned: bool = True) -> Generation:  # fmt: skip
        """Continues a prompt; noise (blocks, b, d).

        penalise_pinned: false leaves out of the penalty what was decoded at pinned positions, which is wrong.
        """
        b, ps = self.dit.config.block_size, self.vae.config.patch_size
        prompt = self.encode_prompt(ids)
        history, pinned = prompt[: len(prompt) // b * b], prompt[len(prompt) // b * b :]
        seen: set[int] = set()
        made = Generation([], [], [], [])
        for of_block in noise:
            history = torch.cat((history, self.transport(history, pinned, of_block, steps, guidance)))
            made.latents.append(history[-b:])
            made.logits.append(self.vae.decode(history)[-b * ps :])
            scores = made.logits[-1].clone()
            for token in seen:
                scores[:, token] = torch.where(scores[:, token] > 0, scores[:, token] / penalty,
                                               scores[:, token] * penalty)  # fmt: skip
            tokens = scores.argmax(-1).tolist()
            own = tokens[len(pinned) * ps :]
            seen |= set(tokens if penalise_pinned else own)
            made.answer.extend(own)
            made.scores.append(scores)
            pinned = pinned[:0]
        return made
