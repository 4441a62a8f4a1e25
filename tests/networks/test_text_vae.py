"""The text VAE against plain loops in float64, switch by switch, and against the golden answers."""

import math

import pytest
import torch
from torch import Tensor

from coladlm.checkpoint import find_checkpoint, load_networks
from coladlm.networks.config import TextVAEConfig
from coladlm.networks.slot_cache import SlotCache
from coladlm.networks.text_vae import LOGVAR_RANGE, Posterior, TextVAE

SMALL = {
    "vocab_size": 13, "encoder_num_blocks": 2, "decoder_num_blocks": 2, "dim": 24, "ffn_dim": 20, "num_heads": 3,
    "latent_dim": 4, "block_size": 3, "rope_theta": 50.0,
}  # fmt: skip
# How far a float32 result may be from the exact one: about ten roundings of 6e-8 along the path, each of sums of up to
# 24 products, with logits of size 10; and scores that no norm keeps small (`qk_norm` False) multiply what reaches them
# by their own size. Two such results may be twice as far from each other.
EXACT = 1e-4
SWITCHES = [
    {},
    {"post_norm": False},
    {"qk_norm": False},
    {"qk_norm_affine": False},
    {"qk_bias": True},
    {"bias": False},
    {"layer_norm_affine": False},
    {"layer_norm_eps": 0.3},
    {"shared_heads_kv": 3},
    {"shared_heads_kv": 3, "post_norm": False, "qk_norm": False},
    {"clip_qkv": 0.4, "qk_norm": False},
    {"clip_qkv": 0.4},
    {"act": "gelu"},
    {"act": "silu"},
    {"use_variation": False},
    {"use_variation": False, "encoder_last_ln": False},
    {"encoder_last_ln": False},
    {"patch_size": 2},
    {"patch_size": 3, "block_size": 2},
    {"rope_full_precision": False},
    {"rope_theta": 500000.0},
    {"block_size": 1},
    {"encoder_num_blocks": 0, "decoder_num_blocks": 3},
    {"num_heads": 1},
]
IDS = [f"{switch}" for switch in SWITCHES]


def small_vae(**switches) -> TextVAE:
    """A tiny VAE whose every parameter, those of its norms too, is random."""
    torch.manual_seed(7)
    vae = TextVAE(TextVAEConfig.from_dict({**SMALL, **switches})).requires_grad_(False)
    for name, parameter in vae.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.4)
    return vae


class Reference:
    """The arithmetic of the text VAE in float64, one sequence and one position at a time."""

    def __init__(self, vae: TextVAE):
        self.c = vae.config
        self.weights = {key: value.double() for key, value in vae.state_dict().items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def norm(self, x: Tensor, name: str | None = None) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.c.layer_norm_eps).sqrt()
        if f"{name}.weight" in self.weights:
            x = x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return x

    def rotate(self, x: Tensor) -> Tensor:
        """x: (n, heads, head_dim)."""
        out, half = x.clone(), x.shape[2] // 2
        for position in range(x.shape[0]):
            for i in range(half):
                angle = position * self.c.rope_theta ** (-i / half)
                a, b = x[position, :, i], x[position, :, i + half]
                out[position, :, i] = a * math.cos(angle) - b * math.sin(angle)
                out[position, :, i + half] = b * math.cos(angle) + a * math.sin(angle)
        return out

    def attention(self, name: str, h: Tensor) -> Tensor:
        c, n = self.c, len(h)
        head_dim = c.dim // c.num_heads
        kv_heads = c.num_heads // c.shared_heads_kv
        qkv = self.linear(f"{name}.qkv_proj", h)
        if c.clip_qkv is not None:
            qkv = qkv.clip(-c.clip_qkv, c.clip_qkv)
        q, k, v = qkv[:, : c.dim], qkv[:, c.dim : c.dim + kv_heads * head_dim], qkv[:, c.dim + kv_heads * head_dim :]
        if c.qk_norm:
            q, k = self.norm(q, f"{name}.q_norm"), self.norm(k, f"{name}.k_norm")
        q = self.rotate(q.reshape(n, c.num_heads, head_dim))
        k, v = self.rotate(k.reshape(n, kv_heads, head_dim)), v.reshape(n, kv_heads, head_dim)
        out = torch.zeros(n, c.num_heads, head_dim, dtype=torch.float64)
        for i in range(n):
            seen = [j for j in range(n) if j // c.block_size <= i // c.block_size]
            for head in range(c.num_heads):
                shared = head if kv_heads > 1 else 0
                scores = torch.stack([q[i, head] @ k[j, shared] for j in seen]) / math.sqrt(head_dim)
                weights = scores.exp() / scores.exp().sum()
                out[i, head] = sum(w * v[j, shared] for w, j in zip(weights, seen, strict=True))
        return self.linear(f"{name}.attn_out_proj", out.reshape(n, c.dim))

    def feed_forward(self, name: str, h: Tensor) -> Tensor:
        h = self.linear(f"{name}.ffn_proj", h)
        if self.c.act == "swiglu":
            value, gate = h[:, : h.shape[1] // 2], h[:, h.shape[1] // 2 :]
            h = gate / (1 + (-gate).exp()) * value
        elif self.c.act == "silu":
            h = h / (1 + (-h).exp())
        else:
            h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        return self.linear(f"{name}.ffn_out", h)

    def block(self, name: str, x: Tensor) -> Tensor:
        normed = self.norm(x, f"{name}.norm_attn")
        if self.c.post_norm:
            x = normed + self.attention(name, x)
            return x + self.norm(self.feed_forward(name, x), f"{name}.norm_ffn")
        x = x + self.attention(name, normed)
        return x + self.feed_forward(name, self.norm(x, f"{name}.norm_ffn"))

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        c = self.c
        x = self.weights["encoder.wte.weight"][ids]
        kernel, bias = self.weights["encoder.patch_embedder.weight"], self.weights["encoder.patch_embedder.bias"]
        patches = [x[i : i + c.patch_size] for i in range(0, len(x), c.patch_size)]
        x = torch.stack([sum(kernel[:, :, k] @ patch[k] for k in range(c.patch_size)) + bias for patch in patches])
        for layer in range(c.encoder_num_blocks):
            x = self.block(f"encoder.blocks.{layer}", x)
        x = self.linear("encoder.final_layer", x)
        if not c.use_variation:
            return self.norm(x), None
        mean, logvar = x[:, : c.latent_dim], x[:, c.latent_dim :].clip(-30, 20)
        return self.norm(mean) if c.encoder_last_ln else mean, logvar

    def decode(self, z: Tensor) -> Tensor:
        c = self.c
        x = self.linear("decoder.in_layer", z.double())
        for layer in range(c.decoder_num_blocks):
            x = self.block(f"decoder.blocks.{layer}", x)
        x = self.linear("decoder.unpatch_layer", x)
        tokens = [row.reshape(c.dim, c.patch_size)[:, k] for row in x for k in range(c.patch_size)]
        return self.linear("decoder.final_layer", self.norm(torch.stack(tokens), "decoder.final_norm"))


def random_ids(config: TextVAEConfig, latents: int, batch: int = 1) -> Tensor:
    return torch.randint(config.vocab_size, (batch, latents * config.patch_size))


@pytest.mark.parametrize("switches", SWITCHES, ids=IDS)
def test_encode_is_the_reference_arithmetic(switches):
    vae = small_vae(**switches)
    ids = random_ids(vae.config, 8, batch=2)
    posterior = vae.encode(ids)
    for row in range(2):
        mean, logvar = Reference(vae).encode(ids[row])
        torch.testing.assert_close(posterior.mean[row].double(), mean, atol=EXACT, rtol=1e-4)
        if logvar is None:
            assert posterior.logvar is None
        else:
            torch.testing.assert_close(posterior.logvar[row].double(), logvar, atol=EXACT, rtol=1e-4)


@pytest.mark.parametrize("switches", SWITCHES, ids=IDS)
def test_decode_is_the_reference_arithmetic(switches):
    vae = small_vae(**switches)
    z = torch.randn(2, 8, vae.config.latent_dim)
    logits = vae.decode(z)
    for row in range(2):
        torch.testing.assert_close(logits[row].double(), Reference(vae).decode(z[row]), atol=EXACT, rtol=1e-4)


@pytest.mark.parametrize("switches", SWITCHES, ids=IDS)
def test_decoding_through_a_cache_equals_the_whole_sequence(switches):
    vae = small_vae(**switches)
    c, b = vae.config, vae.config.block_size
    z = torch.randn(2, 4 * b, c.latent_dim)
    cache = SlotCache(c.decoder_num_blocks, c.kv_heads, c.head_dim, 2, 4 * b, b, torch.float32, "cpu")
    parts = []
    for start, end in ((0, 2 * b), (2 * b, 3 * b), (3 * b, 4 * b)):
        cache.place(torch.arange(start, end).expand(2, -1))
        parts.append(vae.decode(z[:, start:end], vae.rope(torch.arange(start, end)), cache))
    torch.testing.assert_close(torch.cat(parts, 1), vae.decode(z), atol=2 * EXACT, rtol=1e-4)


def test_encoding_through_a_cache_equals_the_whole_sequence():
    vae = small_vae(patch_size=2)
    c, b = vae.config, vae.config.block_size
    ids = random_ids(c, 3 * b, batch=2)
    cache = SlotCache(c.encoder_num_blocks, c.kv_heads, c.head_dim, 2, 3 * b, b, torch.float32, "cpu")
    means = []
    for block in range(3):
        cache.place(torch.arange(block * b, (block + 1) * b).expand(2, -1))
        part = ids[:, block * b * 2 : (block + 1) * b * 2]
        means.append(vae.encode(part, vae.rope(torch.arange(block * b, (block + 1) * b)), cache).mean)
    torch.testing.assert_close(torch.cat(means, 1), vae.encode(ids).mean, atol=2 * EXACT, rtol=1e-4)


def test_a_padded_row_equals_the_same_row_alone():
    vae = small_vae(shared_heads_kv=3)
    c, b = vae.config, vae.config.block_size
    long, short = torch.randn(1, 3 * b, c.latent_dim), torch.randn(1, 2 * b, c.latent_dim)
    padding = torch.tensor([0, b])
    batch = torch.cat((long, torch.cat((torch.full((1, b, c.latent_dim), 1e3), short), 1)))
    cache = SlotCache(c.decoder_num_blocks, c.kv_heads, c.head_dim, 2, 3 * b, b, torch.float32, "cpu")
    parts = []
    for start, end in ((0, 2 * b), (2 * b, 3 * b)):
        positions = torch.arange(start, end) - padding[:, None]
        cache.place(positions)
        parts.append(vae.decode(batch[:, start:end], vae.rope(positions.clamp(min=0)), cache))
    logits = torch.cat(parts, 1)
    torch.testing.assert_close(logits[:1], vae.decode(long), atol=2 * EXACT, rtol=1e-4)
    torch.testing.assert_close(logits[1:, b:], vae.decode(short), atol=2 * EXACT, rtol=1e-4)


@pytest.mark.parametrize("lengths", [[4, 4], [4, 2], [1, 5]])
def test_rows_of_a_cache_are_read_alone_and_in_blocks_that_are_not_whole_yet(lengths):
    """One more position after histories of these lengths, written and read, then read again for each row alone."""
    vae = small_vae(shared_heads_kv=3)
    c, b = vae.config, vae.config.block_size
    longest, ends = max(lengths), torch.tensor(lengths)
    rows = [torch.randn(1, n + 2, c.latent_dim) for n in lengths]
    cache = SlotCache(c.decoder_num_blocks, c.kv_heads, c.head_dim, 2, 8, b, torch.float32, "cpu")
    cache.k.fill_(7.0)  # what was there before: nobody may see it
    cache.v.fill_(7.0)
    history = [torch.nn.functional.pad(z[:, :n], (0, 0, longest - n, 0)) for n, z in zip(lengths, rows, strict=True)]
    positions = torch.arange(longest) - (longest - ends)[:, None]
    cache.place(positions)
    vae.decode_hidden(torch.cat(history), vae.rope(positions.clamp(min=0)), cache)
    first = min(n // b * b for n in lengths) - longest  # a block under way is read anew
    for step in range(2):
        placed = torch.arange(first, step + 1) + ends[:, None]
        new = torch.cat([
            torch.cat([z[:, p : p + 1] if p >= 0 else torch.ones(1, 1, c.latent_dim) for p in of_row.tolist()], 1)
            for z, of_row in zip(rows, placed, strict=True)
        ])  # fmt: skip
        cache.place(placed)
        ropes = vae.rope(placed.clamp(min=0))
        kept = cache.k.clone(), cache.v.clone()
        for row, (n, z) in enumerate(zip(lengths, rows, strict=True)):
            index = torch.tensor([row])
            alone = vae.decode(new[index], tuple(r[index] for r in ropes), cache.beside(index))
            wanted = vae.decode(z[:, : n + step + 1])[:, -1]
            torch.testing.assert_close(alone[:, -1], wanted, atol=2 * EXACT, rtol=1e-4)
        assert torch.equal(cache.k, kept[0]) and torch.equal(cache.v, kept[1])
        together = vae.decode(new, ropes, cache)
        for row, (n, z) in enumerate(zip(lengths, rows, strict=True)):
            wanted = vae.decode(z[:, : n + step + 1])[0, -1]
            torch.testing.assert_close(together[row, -1], wanted, atol=2 * EXACT, rtol=1e-4)


def test_a_later_block_changes_no_earlier_one():
    vae = small_vae()
    ids = random_ids(vae.config, 9)
    changed = ids.clone()
    changed[0, 6:] = (changed[0, 6:] + 1) % vae.config.vocab_size
    before, after = vae.encode(ids).mean, vae.encode(changed).mean
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().max() > 1e-3


def test_means_lie_on_the_sphere_of_radius_sqrt_d():
    mean = small_vae(layer_norm_eps=1e-6).encode(torch.arange(12)[None]).mean
    torch.testing.assert_close(mean.sum(-1), torch.zeros(1, 12), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.norm(dim=-1), torch.full((1, 12), 2.0), atol=1e-3, rtol=0)


def test_logvar_stays_in_its_range():
    vae = small_vae()
    vae.encoder.final_layer.weight.mul_(1e4)
    logvar = vae.encode(random_ids(vae.config, 9)).logvar
    assert (logvar.min().item(), logvar.max().item()) == LOGVAR_RANGE


@pytest.mark.parametrize("full", [True, False])
def test_rope_full_precision_decides_the_dtype_of_the_rotation(full):
    vae = small_vae(rope_full_precision=full, qk_norm=False).bfloat16()
    block, h = vae.decoder.blocks[0], torch.randn(1, 5, vae.config.dim)
    positions = torch.arange(1000, 1005)
    q, _, v = block.project(h, vae.rope(positions))
    before = block.qkv_proj(h)[..., : vae.config.dim].unflatten(-1, (3, 8))
    dtype = torch.float32 if full else torch.bfloat16
    a, b = before.to(dtype).chunk(2, -1)
    angle = positions[:, None, None] * 50.0 ** (-torch.arange(4) / 4)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    wanted = torch.cat((a * cos - b * sin, b * cos + a * sin), -1).bfloat16()
    assert q.dtype == v.dtype == torch.bfloat16
    torch.testing.assert_close(q, wanted, atol=0.01 if full else 0.05, rtol=0.01)
    a, b, cos, sin = a.double(), b.double(), angle.double().cos(), angle.double().sin()
    exact = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    if full:  # nothing but the final rounding is lost
        torch.testing.assert_close(q.double(), exact, atol=2e-3, rtol=2**-8)


def test_scale_is_shift_then_factor():
    vae = small_vae(scaling_factor=1.3, shifting_factor=0.2)
    z = torch.randn(5, 4)
    torch.testing.assert_close(vae.scale(z), (z - 0.2) * 1.3)


def test_a_sample_of_the_posterior_has_its_mean_and_variance():
    posterior = Posterior(torch.full((20000, 1), 3.0), torch.full((20000, 1), math.log(0.25)))
    sample = posterior.sample(torch.Generator().manual_seed(1))
    assert abs(sample.mean().item() - 3.0) < 0.02
    assert abs(sample.std().item() - 0.5) < 0.02
    assert torch.equal(sample, posterior.sample(torch.Generator().manual_seed(1)))
    assert torch.equal(Posterior(posterior.mean, None).sample(), posterior.mean)


def test_inputs_of_a_wrong_shape_are_refused():
    vae = small_vae(patch_size=2)
    with pytest.raises(ValueError, match=r"ids have shape \(1, 5\), expected \(batch, a multiple of 2\)"):
        vae.encode(torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"latents have shape \(1, 3, 5\), expected \(batch, n, 4\)"):
        vae.decode(torch.zeros(1, 3, 5))


@pytest.mark.parametrize("i", range(3))
def test_golden_answers(golden_folder, golden, i):
    vae, _ = load_networks(find_checkpoint(golden_folder), "cpu", torch.float32)
    posterior = vae.encode(golden[f"encode.{i}.ids"][None])
    torch.testing.assert_close(posterior.mean[0], golden[f"encode.{i}.mean"], atol=1e-5, rtol=0)
    torch.testing.assert_close(posterior.logvar[0], golden[f"encode.{i}.logvar"], atol=1e-5, rtol=0)
    logits = vae.decode(golden[f"encode.{i}.mean"][None])
    torch.testing.assert_close(logits[0], golden[f"decode.{i}.logits"], atol=1e-5, rtol=0)


def test_bfloat16_weights_give_nearly_the_answers_of_float32(golden_folder, golden):
    vae, _ = load_networks(find_checkpoint(golden_folder), "cpu", torch.bfloat16)
    mean = vae.encode(golden["encode.0.ids"][None]).mean[0]
    logits = vae.decode(golden["encode.0.mean"][None])[0]
    assert mean.dtype == logits.dtype == torch.float32
    for found, wanted in ((mean, golden["encode.0.mean"]), (logits, golden["decode.0.logits"])):
        assert (found - wanted).norm() / wanted.norm() < 0.03
