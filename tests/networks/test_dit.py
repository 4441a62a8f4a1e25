"""The block-causal DiT against plain loops in float64, switch by switch, and against the golden answers."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from coladlm.checkpoint import find_checkpoint, load_networks
from coladlm.networks.config import DiTConfig
from coladlm.networks.dit import BlockCausalDiT, ModulationTable
from coladlm.networks.layers import KVCache, Linear, attend_under, block_causal_mask

SMALL = {
    "txt_in_channels": 4, "txt_out_channels": 4, "txt_dim": 20, "emb_dim": 20, "heads": 3, "head_dim": 8, "rope_dim": 6,
    "expand_ratio": 2, "num_layers": 2, "block_size": 3,
}  # fmt: skip
SWITCHES = [
    {},
    {"qk_bias": True},
    {"rope_dim": 2},
    {"rope_dim": 8},
    {"norm_eps": 0.3},
    {"expand_ratio": 3},
    {"heads": 1},
    {"block_size": 1},
    {"num_layers": 0},
    {"txt_in_channels": 7, "txt_out_channels": 7},
    {"token_output": 11},
    {"token_output": 11, "token_input": True},
]
IDS = [f"{switch}" for switch in SWITCHES]


def small_dit(**switches) -> BlockCausalDiT:
    """A tiny DiT whose every parameter, those of its norms too, is random."""
    torch.manual_seed(11)
    dit = BlockCausalDiT(DiTConfig.from_dict({**SMALL, **switches})).requires_grad_(False)
    for name, parameter in dit.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    if dit.config.token_output:
        dit.tokens.means.normal_()
        dit.tokens.spread.fill_(0.2)
    if dit.config.token_input:
        dit.txt_in["tokens"].prior.normal_()
    return dit


def random_input(dit: BlockCausalDiT, n: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, n, dit.config.txt_in_channels), torch.rand(batch, n) * 1000


class Reference:
    """The arithmetic of the DiT in float64, one sequence and one position at a time."""

    def __init__(self, dit: BlockCausalDiT):
        self.c = dit.config
        self.weights = {key: value.double() for key, value in dit.state_dict().items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def norm(self, x: Tensor, name: str | None = None) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.c.norm_eps).sqrt()
        return x if name is None else x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def embedding(self, t: float) -> Tensor:
        angles = [t * math.exp(-math.log(10000) * i / 128) for i in range(128)]
        x = torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles], dtype=torch.float64)
        for name in ("proj_in", "proj_hid"):
            x = silu(self.linear(f"emb_in.{name}", x))
        return self.linear("emb_in.proj_out", x)

    def modulation(self, name: str, e: Tensor, parts: int) -> list[Tensor]:
        return list(self.linear(f"{name}.1", silu(e)).chunk(parts, -1))

    def rotate(self, x: Tensor) -> Tensor:
        """x: (n, heads, head_dim)."""
        out = x.clone()
        for position in range(x.shape[0]):
            for i in range(self.c.rope_dim // 2):
                angle = position * 10000.0 ** (-2 * i / self.c.rope_dim)
                a, b = x[position, :, 2 * i], x[position, :, 2 * i + 1]
                out[position, :, 2 * i] = a * math.cos(angle) - b * math.sin(angle)
                out[position, :, 2 * i + 1] = b * math.cos(angle) + a * math.sin(angle)
        return out

    def attention(self, name: str, h: Tensor) -> Tensor:
        c, n = self.c, len(h)
        qkv = self.linear(f"{name}.proj_qkv", h).reshape(n, 3, c.heads, c.head_dim)
        q = self.rotate(self.norm(qkv[:, 0], f"{name}.norm_q"))
        k, v = self.rotate(self.norm(qkv[:, 1], f"{name}.norm_k")), qkv[:, 2]
        out = torch.zeros_like(v)
        for i in range(n):
            seen = [j for j in range(n) if j // c.block_size <= i // c.block_size]
            for head in range(c.heads):
                weights = torch.stack([(q[i, head] @ k[j, head]) / math.sqrt(c.head_dim) for j in seen]).exp()
                out[i, head] = sum(w * v[j, head] for w, j in zip(weights, seen, strict=True)) / weights.sum()
        return self.linear(f"{name}.proj_out", out.flatten(1))

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        e = torch.stack([self.embedding(float(time)) for time in t])
        x = self.linear("txt_in.proj", z.double())
        if self.c.token_input:
            x = x + self.linear("txt_in.tokens.proj", self.likely(z.double(), t.double() / 1000))
        for layer in range(self.c.num_layers):
            block = f"blocks.{layer}"
            shift, scale = self.modulation(f"{block}.ada.msa_in", e, 2)
            (gate,) = self.modulation(f"{block}.ada.msa_out", e, 1)
            x = x + gate * self.attention(f"{block}.msa", self.norm(x) * (1 + scale) + shift)
            shift, scale = self.modulation(f"{block}.ada.mlp_in", e, 2)
            (gate,) = self.modulation(f"{block}.ada.mlp_out", e, 1)
            h = self.linear(f"{block}.mlp.proj_in", self.norm(x) * (1 + scale) + shift)
            h = 0.5 * h * (1 + (math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)).tanh())
            x = x + gate * self.linear(f"{block}.mlp.proj_out", h)
        shift, scale = self.modulation("txt_out_ada.out_in", e, 2)
        h = self.norm(x, "txt_out_norm") * (1 + scale) + shift
        return (
            self.by_tokens(h, z.double(), t.double() / 1000) if self.c.token_output else self.linear("txt_out.proj", h)
        )

    def by_tokens(self, h: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """The mean of noise - data, each token's as it is known of two normal variables that add up to the state."""
        logits = self.linear("txt_out.tokens.proj", h)
        means, spread = self.weights["txt_out.tokens.means"], float(self.weights["txt_out.tokens.spread"])
        velocity, densities = torch.zeros_like(z), self.densities(z, t)
        for i, time in enumerate(t.tolist()):
            variance = time**2 + (1 - time) ** 2 * spread
            for p, mean in zip((logits[i] + densities[i]).softmax(0), means, strict=True):
                off = z[i] - (1 - time) * mean
                velocity[i] += p * (time / variance * off - (mean + (1 - time) * spread / variance * off))
        return velocity

    def likely(self, z: Tensor, t: Tensor) -> Tensor:
        """What each state says by itself of its token, before which only how often each comes is known."""
        return (self.weights["txt_in.tokens.prior"] + self.densities(z, t)).softmax(-1)

    def densities(self, z: Tensor, t: Tensor) -> Tensor:
        """Of each state under each token, the logarithm, (n, V)."""
        means, spread = self.weights["txt_out.tokens.means"], float(self.weights["txt_out.tokens.spread"])
        rows = []
        for state, time in zip(z, t.tolist(), strict=True):
            deviation = math.sqrt(time**2 + (1 - time) ** 2 * spread)
            rows.append(torch.distributions.Normal((1 - time) * means, deviation).log_prob(state).sum(-1))
        return torch.stack(rows)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


@pytest.mark.parametrize("switches", SWITCHES, ids=IDS)
def test_velocity_is_the_reference_arithmetic(switches):
    dit = small_dit(**switches)
    z, t = random_input(dit, 8)
    v = dit(z, t)
    for row in range(2):
        torch.testing.assert_close(v[row].double(), Reference(dit).velocity(z[row], t[row]), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("switches", SWITCHES, ids=IDS)
def test_velocity_through_a_cache_equals_the_whole_sequence(switches):
    dit = small_dit(**switches)
    c, b = dit.config, dit.config.block_size
    z, t = random_input(dit, 4 * b)
    cache = KVCache(c.num_layers, c.heads, c.head_dim, 4 * b, torch.zeros(2, dtype=torch.long), b, torch.float32, "cpu")
    times, index = torch.unique(t, return_inverse=True)
    parts = []
    for start, end in ((0, 2 * b), (2 * b, 3 * b), (3 * b, 4 * b)):
        cache.place(start, end)
        modulations = dit.modulations(times).at(index[:, start:end])
        hidden = dit.hidden(z[:, start:end], modulations, dit.rope(torch.arange(start, end)), cache)
        parts.append(dit.output(hidden, modulations, z[:, start:end]))
    torch.testing.assert_close(torch.cat(parts, 1), dit(z, t), atol=1e-5, rtol=1e-4)


def test_a_padded_row_equals_the_same_row_alone():
    dit = small_dit()
    c, b = dit.config, dit.config.block_size
    z, t = random_input(dit, 3 * b)
    z[1, :b] = 1e3  # what lies in the padding must not matter
    padding = torch.tensor([0, b])
    cache = KVCache(c.num_layers, c.heads, c.head_dim, 3 * b, padding, b, torch.float32, "cpu")
    times, index = torch.unique(t, return_inverse=True)
    parts = []
    for start, end in ((0, 2 * b), (2 * b, 3 * b)):
        cache.place(start, end)
        modulations = dit.modulations(times).at(index[:, start:end])
        rope = dit.rope((torch.arange(start, end) - padding[:, None]).clamp(min=0))
        parts.append(dit.output(dit.hidden(z[:, start:end], modulations, rope, cache), modulations, z[:, start:end]))
    v = torch.cat(parts, 1)
    torch.testing.assert_close(v[:1], dit(z[:1], t[:1]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(v[1:, b:], dit(z[1:, b:], t[1:, b:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_table_of_all_layers_gives_what_the_tables_of_each_give(at_once, monkeypatch):
    monkeypatch.setattr("coladlm.networks.dit.GATHERED_AT_ONCE", 1 << 24 if at_once else 0)
    dit, times = small_dit(), torch.tensor([0.0, 10.0, 321.0])
    plain, table = dit.modulations(times), ModulationTable.of_times(dit, times)
    for index in (1, torch.tensor(2), torch.tensor([2, 0]), torch.tensor([[0, 1], [2, 2]])):
        wanted, found = plain.at(index), table.at(index)
        for layer in range(dit.config.num_layers):
            parts = found.layers[layer]
            parts = torch.stack(parts, -2) if isinstance(parts, tuple) else parts
            assert torch.equal(parts, wanted.layers[layer])
        output = found.output
        assert torch.equal(torch.stack(output, -2) if isinstance(output, tuple) else output, wanted.output)


def test_a_modulation_of_one_time_equals_that_time_at_every_position():
    dit = small_dit()
    z, _ = random_input(dit, 6)
    t = torch.full((2, 6), 321.0)
    table = dit.modulations(torch.tensor([0.0, 321.0])).at(1)
    attend = attend_under(block_causal_mask(6, dit.config.block_size))
    v = dit.output(dit.hidden(z, table, dit.rope(torch.arange(6)), attend), table, z)
    torch.testing.assert_close(v, dit(z, t), atol=1e-5, rtol=1e-4)


def test_a_later_block_changes_no_earlier_one():
    dit = small_dit()
    z, t = random_input(dit, 9)
    changed = z.clone()
    changed[:, 6:] += 1
    before, after = dit(z, t), dit(changed, t)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().max() > 1e-3


def test_every_position_has_its_own_time():
    dit = small_dit(block_size=1)
    z, t = random_input(dit, 4)
    changed = t.clone()
    changed[:, 2] = 1000 - changed[:, 2]
    before, after = dit(z, t), dit(z, changed)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert (before[:, 2] - after[:, 2]).abs().max() > 1e-3


def test_inputs_of_a_wrong_shape_are_refused():
    dit = small_dit()
    with pytest.raises(ValueError, match=r"z has shape \(1, 3, 5\) and t \(1, 3\), expected \(batch, n, 4\)"):
        dit(torch.zeros(1, 3, 5), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"t \(1, 2\)"):
        dit(torch.zeros(1, 3, 4), torch.zeros(1, 2))


@pytest.mark.parametrize("i", range(3))
def test_golden_answers(golden_folder, golden, i):
    _, dit = load_networks(find_checkpoint(golden_folder), "cpu", torch.float32)
    v = dit(golden[f"velocity.{i}.z"][None], golden[f"velocity.{i}.t"][None])
    torch.testing.assert_close(v[0], golden[f"velocity.{i}.v"], atol=1e-5, rtol=0)


def test_bfloat16_weights_give_nearly_the_answers_of_float32(golden_folder, golden):
    _, dit = load_networks(find_checkpoint(golden_folder), "cpu", torch.bfloat16)
    v = dit(golden["velocity.0.z"][None], golden["velocity.0.t"][None])[0]
    assert v.dtype == torch.float32
    assert (v - golden["velocity.0.v"]).norm() / golden["velocity.0.v"].norm() < 0.03


# where launches cost more than what they compute


def random_qkv(dit: BlockCausalDiT, dtype: torch.dtype) -> Tensor:
    return torch.randn(2, 5, 3, dit.config.heads, dit.config.head_dim).to(dtype)


def test_queries_and_keys_turned_at_once_are_those_turned_one_by_one():
    dit = small_dit()
    msa, qkv, rope = dit.layers[0].msa, random_qkv(dit, torch.float32), dit.rope(torch.arange(10).view(2, 5))
    for one, both in zip(msa._turned(qkv, rope), msa._turned_at_once(qkv, rope), strict=True):
        torch.testing.assert_close(both, one)


def test_in_bfloat16_they_are_rounded_twice_and_no_more():
    """Once as they come out of the norm, where the rotation adds up the errors of a pair, and once at the end."""
    dit = small_dit()
    msa, qkv, rope = dit.layers[0].msa, random_qkv(dit, torch.bfloat16), dit.rope(torch.arange(5))
    half = torch.finfo(torch.bfloat16).eps / 2
    for part, norm, found in zip((0, 1), (msa.norm_q, msa.norm_k), msa._turned_at_once(qkv, rope), strict=True):
        x = qkv[:, :, part].double()
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        x = x * norm.weight.double()
        exact = torch.view_as_real(torch.view_as_complex((x + norm.bias).unflatten(-1, (-1, 2))) * rope).flatten(-2)
        pairs = x.abs().unflatten(-1, (-1, 2)).sum(-1).repeat_interleave(2, -1)
        assert found.dtype == torch.bfloat16
        assert ((found.double() - exact).abs() <= half * (1 + half) * (pairs + exact.abs()) + 1e-5).all()


class Launches(TorchDispatchMode):
    """Counts operators that are neither views nor room for results."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        self.count += not is_view and "empty" not in func.__name__ and "_unsafe_view" not in func.__name__
        return func(*args, **(kwargs or {}))


def launches(layers: int) -> int:
    dit = small_dit(num_layers=layers)
    for module in dit.modules():
        if isinstance(module, Linear):
            module.bfloat16()
    cache = KVCache(layers, 3, 8, 3, torch.zeros(1, dtype=torch.long), 3, torch.bfloat16, "cpu")
    cache.place(0, 3)
    z, rope, modulations = torch.randn(1, 3, 4), dit.rope(torch.arange(3)), dit.modulations(torch.zeros(1)).at(0)
    with torch.no_grad():  # and not in inference mode, where the mode sees operators before they are taken apart
        dit.hidden(z, modulations, rope, cache)  # makes what is made once
        with Launches() as seen:
            dit.hidden(z, modulations, rope, cache)
    return seen.count


def test_a_layer_in_bfloat16_takes_eighteen_launches():
    """Norms 3, conversions 3, products 4, weights of norms and rotation 2, cache 2, attention, GELU, gates 2."""
    assert launches(3) - launches(2) == 18
