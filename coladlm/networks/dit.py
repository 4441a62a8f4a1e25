"""The block-causal Diffusion Transformer: the velocity field v(z, t) on latents (arXiv:2605.06548, section 2).

t = 1000 is noise, t = 0 data, and v = noise - data. Every position has its own time. The time enters through the AdaLN
modulations only, so those are tabulated for the times of a run (`modulations`) and looked up at each step. Knows
nothing of tokens, solvers or guidance. Module names are those of the published checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import DiTConfig
from .layers import (
    Attend,
    LayerNorm,
    Linear,
    StackedNorms,
    angle_dtype,
    attend_under,
    block_causal_mask,
    rotary_pairs,
    rotate_pairs,
)
from .slot_cache import BlockAttention
from .token_output import MORE_COEFFICIENTS, TokenInput, TokenOutput

if TYPE_CHECKING:
    from .compiled_pieces import CompiledPieces

ROPE_THETA = 10000.0
TIME_CHANNELS = 256
NOISE_TIME = 1000.0

Tables: TypeAlias = "list[Tensor] | _Lazy"
GATHERED_AT_ONCE = 1 << 24  # numbers of a lookup in all layers together, 64 MB


@dataclasses.dataclass(frozen=True)
class Modulations:
    """AdaLN modulations tabulated for T times: what `blocks` and the output layer need of each time.

    layers: for each layer (T, 6, dim), float32: shift and 1 + scale before attention, gate after it, and the same
    three for the MLP. output: (T, 2, dim), shift and 1 + scale; (T, 3, dim) where the output layer names tokens, with
    its coefficients at the beginning of the third.
    """

    layers: Tables
    output: Tensor

    def at(self, index: int | Tensor) -> Modulations:
        """The rows for one time (an int: (6, dim), the fast path), or for a time at each position (an index tensor)."""
        if isinstance(index, int):
            return Modulations([table[index] for table in self.layers], self.output[index])
        return _Gathered(self.layers, self.output, index)


class LookedUp:
    """The same of one time, or of a time at each position, out of a table (see `ModulationTable`).

    layers, output: six (..., dim) a layer and two or three at the end, taken apart, when they are first asked for.
    Compiled pieces look up for themselves.
    """

    def __init__(self, rows: Tensor, index: int | Tensor):
        self.rows, self.index = rows, index

    @property
    def layers(self) -> list[tuple[Tensor, ...]] | _Lazy:
        if self._parts is None:  # only one layer's are in memory at a time
            return _Lazy([self.rows[:, first : first + 6] for first in self._firsts()], cast(Tensor, self.index))
        return [self._parts[first : first + 6] for first in self._firsts()]

    @property
    def output(self) -> tuple[Tensor, ...]:
        end = self._firsts().stop
        return self.rows[:, end:][self.index].unbind(-2) if self._parts is None else self._parts[end:]

    def _firsts(self) -> range:
        return range(0, self.rows.shape[1] // 6 * 6, 6)

    @functools.cached_property
    def _parts(self) -> tuple[Tensor, ...] | None:
        """All that is looked up, at once; None where it would take too much memory."""
        rows, index = self.rows, self.index
        if isinstance(index, int):
            return rows[index].unbind(-2)
        if index.numel() * rows[0].numel() > GATHERED_AT_ONCE:
            return None
        # and never `rows[index]`, which asks the device for an index without axes
        parts = rows.index_select(0, index.flatten()).unflatten(0, index.shape or (1,))
        return (parts if index.ndim else parts[0]).unbind(-2)

    def each(self, rows: int, positions: int) -> Tensor:
        """(rows * positions,), where in the table the time of each position is."""
        if isinstance(self.index, int):
            return torch.full((rows * positions,), self.index, device=self.rows.device)
        return self.index.expand(rows, positions).flatten().contiguous()  # a single time has a stride of 0


class ModulationTable:
    """The modulations of T times in one tensor, so that those of all layers are looked up at once.

    rows: (T, 6 * layers + 2, dim), or + 3, float32, see `Modulations`.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows

    @classmethod
    def of_times(cls, dit: BlockCausalDiT, t: Tensor, min_p: float = 0.0, temperature: float = 1.0) -> ModulationTable:
        """Of these T times, t (T,) in [0, 1000], float32 or float64. min_p, temperature: see
        `TokenOutput.coefficients`.
        """
        e = dit.emb_in(t)
        output = dit.output_modulations(e, t, min_p, temperature)
        return cls(torch.cat([*(block.modulations(e) for block in dit.layers), output], 1))

    def at(self, index: int | Tensor) -> LookedUp:
        """For one time (an int, or a tensor without axes), or for a time at each position."""
        return LookedUp(self.rows, index)


class _Gathered(Modulations):
    """Rows looked up layer by layer, so that only one layer's are in memory at a time."""

    def __init__(self, layers: Tables, output: Tensor, index: Tensor):
        super().__init__(layers=_Lazy(layers, index), output=output[index])


class _Lazy:
    def __init__(self, layers: Tables, index: Tensor):
        self.tables, self.index = layers, index

    def __getitem__(self, layer: int) -> Tensor:
        return self.tables[layer][self.index]


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """LayerNorm(x) * scale + shift in float32. A time shared by all positions, (dim,), needs a single kernel."""
    if scale.ndim == 1:
        return F.layer_norm(x, scale.shape, scale, shift, eps)
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale)


class TimeEmbedding(nn.Module):
    """t (T,) in [0, 1000] -> SiLU of the embedding (T, dim), which is all that the AdaLN layers read."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj_in = Linear(TIME_CHANNELS, dim)
        self.proj_hid = Linear(dim, dim)
        self.proj_out = Linear(dim, dim)

    def forward(self, t: Tensor) -> Tensor:
        half, dtype = TIME_CHANNELS // 2, angle_dtype(t.device)
        frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, device=t.device, dtype=dtype))
        angles = t.to(dtype)[:, None] * frequencies
        x = torch.cat((angles.sin(), angles.cos()), -1).float()
        return F.silu(self.proj_out(F.silu(self.proj_hid(F.silu(self.proj_in(x))))))


class AdaLN(nn.Module):
    """Linear layers from SiLU(embedding) to modulations; index 1 in their names is the published Sequential's."""

    def __init__(self, dim: int, names: dict[str, int]):
        super().__init__()
        for name, parts in names.items():
            self.add_module(name, nn.ModuleDict({"1": Linear(dim, parts * dim)}))

    def forward(self, name: str, e: Tensor) -> Tensor:
        """(T, dim) -> (T, parts, dim), float32."""
        return self.get_submodule(f"{name}.1")(e).float().unflatten(-1, (-1, e.shape[-1]))


class Attention(nn.Module):
    def __init__(self, config: DiTConfig):
        super().__init__()
        c, inner = config, config.heads * config.head_dim
        self.proj_qkv = Linear(c.txt_dim, 3 * inner, bias=c.qk_bias)
        self.proj_out = Linear(inner, c.txt_dim, bias=c.qk_bias)
        self.norm_q = LayerNorm(c.head_dim, eps=c.norm_eps)
        self.norm_k = LayerNorm(c.head_dim, eps=c.norm_eps)
        self.stacked = StackedNorms()
        self.config = config

    def forward(self, x: Tensor, layer: int, rope: Tensor, attend: Attend) -> Tensor:
        qkv = self.proj_qkv(x).view(*x.shape[:-1], 3, -1, self.config.head_dim)  # (B, n, 3, heads, head_dim)
        one_by_one = x.device.type == "cpu" and qkv.dtype == torch.float32
        q, k = self._turned(qkv, rope) if one_by_one else self._turned_at_once(qkv, rope)
        return self.proj_out(attend(layer, q, k, qkv[:, :, 2]))

    def _turned(self, qkv: Tensor, rope: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys after their norms and the rotation, each (B, n, heads, head_dim)."""
        q, k = self.norm_q(qkv[:, :, 0]), self.norm_k(qkv[:, :, 1])
        return rotate_pairs(q, rope).to(qkv.dtype), rotate_pairs(k, rope).to(qkv.dtype)

    def _turned_at_once(self, qkv: Tensor, rope: Tensor) -> tuple[Tensor, Tensor]:
        """The same in four operators in place of ten, for where a launch costs more than what it computes: the values
        are normed too, though nobody reads that, since of a part torch would make a copy first.
        """
        weights, biases = self.stacked(self.norm_q, self.norm_k)
        normed = F.layer_norm(qkv, self.norm_q.normalized_shape, eps=self.norm_q.eps)[:, :, :2]
        turned = rotate_pairs(torch.addcmul(biases, normed, weights), rope.unsqueeze(-3)).to(qkv.dtype)
        return turned[:, :, 0], turned[:, :, 1]


class MLP(nn.Module):
    def __init__(self, config: DiTConfig):
        super().__init__()
        self.proj_in = Linear(config.txt_dim, config.hidden_dim)
        self.proj_out = Linear(config.hidden_dim, config.txt_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj_out(self.proj_in.gelu_tanh(x))


class DiTBlock(nn.Module):
    def __init__(self, config: DiTConfig):
        super().__init__()
        self.msa = Attention(config)
        self.mlp = MLP(config)
        self.ada = AdaLN(config.txt_dim, {"msa_in": 2, "msa_out": 1, "mlp_in": 2, "mlp_out": 1})
        self.eps = config.norm_eps

    def modulations(self, e: Tensor) -> Tensor:
        """(T, dim) -> (T, 6, dim), see `Modulations`."""
        parts = torch.cat([self.ada(name, e) for name in ("msa_in", "msa_out", "mlp_in", "mlp_out")], 1)
        one = torch.zeros(6, 1, device=e.device)
        one[1] = one[4] = 1.0
        return parts + one

    def forward(
        self, x: Tensor, layer: int, modulation: Tensor | tuple[Tensor, ...], rope: Tensor, attend: Attend
    ) -> Tensor:
        parts = modulation if isinstance(modulation, tuple) else modulation.unbind(-2)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts
        a = self.msa(modulated_norm(x, shift_a, scale_a, self.eps), layer, rope, attend)
        x = torch.addcmul(x, gate_a, a)  # float32, whatever the dtype of `a`
        m = self.mlp(modulated_norm(x, shift_m, scale_m, self.eps))
        return torch.addcmul(x, gate_m, m)


class BlockCausalDiT(nn.Module):
    """The velocity field. The residual stream, norms and modulations are float32 in every compute dtype.

    pieces: the same compiled, for the steps of a block, where `sampling/form.py` has put them.
    """

    pieces: CompiledPieces | None = None

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.config = config
        self.txt_in = nn.ModuleDict({"proj": Linear(config.txt_in_channels, config.txt_dim)})
        if config.token_input:
            self.txt_in["tokens"] = TokenInput(config.txt_dim, config.token_output)
        self.emb_in = TimeEmbedding(config.txt_dim)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.num_layers))
        self.txt_out_norm = LayerNorm(config.txt_dim, eps=config.norm_eps)
        self.txt_out_ada = AdaLN(config.txt_dim, {"out_in": 2})
        if config.token_output:
            output = {"tokens": TokenOutput(config.txt_dim, config.txt_out_channels, config.token_output)}
        else:
            output = {"proj": Linear(config.txt_dim, config.txt_out_channels)}
        self.txt_out: nn.ModuleDict = nn.ModuleDict(output)

    @property
    def layers(self) -> list[DiTBlock]:
        """`blocks`, whose name is that of the published checkpoint, as what they are."""
        return [cast(DiTBlock, block) for block in self.blocks]

    @property
    def device(self) -> torch.device:
        return self.txt_in["proj"].get_parameter("weight").device

    @property
    def dtype(self) -> torch.dtype:
        """The compute dtype, that of the linear weights."""
        return self.txt_in["proj"].get_parameter("weight").dtype

    def rope(self, positions: Tensor) -> Tensor:
        """Rotary factors for integer positions (n,) or (B, n)."""
        return rotary_pairs(positions, self.config.head_dim, self.config.rope_dim, ROPE_THETA)

    def modulations(self, t: Tensor) -> Modulations:
        """Tabulates the modulations of T times, t (T,) in [0, 1000], float32 or float64."""
        e = self.emb_in(t)
        return Modulations([block.modulations(e) for block in self.layers], self.output_modulations(e, t))

    def output_modulations(self, e: Tensor, t: Tensor, min_p: float = 0.0, temperature: float = 1.0) -> Tensor:
        """Those of the output layer from the time embedding e (T, dim) of t (T,), see `Modulations`."""
        output = self.txt_out_ada("out_in", e)
        output = output + torch.tensor([[0.0], [1.0]], device=output.device)
        if not self.config.token_output:
            return output
        coefficients = self.tokens.coefficients(t / NOISE_TIME, min_p, temperature).to(output.dtype)
        padded = F.pad(coefficients, (0, output.shape[-1] - coefficients.shape[-1]))
        return torch.cat((output, padded[:, None]), 1)

    @property
    def tokens(self) -> TokenOutput:
        """The output layer that names tokens, where it does."""
        return cast(TokenOutput, self.txt_out["tokens"])

    def enter(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """The first hidden state (..., dim), float32, of z (..., d). coefficients: for a `TokenInput`."""
        x = self.txt_in["proj"](z).float()
        return x if coefficients is None else x + self.txt_in["tokens"](z, coefficients, self.tokens)

    def coefficients(self, modulations: Modulations | LookedUp) -> Tensor | None:
        """What a network whose input layer reads tokens needs to know of the times there, see `TokenInput`."""
        return self._coefficients(modulations) if self.config.token_input else None

    def _coefficients(self, modulations: Modulations | LookedUp) -> Tensor:
        output = modulations.output
        rows = output[2] if isinstance(output, tuple) else output[..., 2, :]
        return rows[..., : self.config.txt_in_channels + MORE_COEFFICIENTS]

    def hidden(self, z: Tensor, modulations: Modulations | LookedUp, rope: Tensor, attend: Attend) -> Tensor:
        """The last hidden state, before the output layer: (B, n, d) -> (B, n, dim), float32."""
        layers = modulations.layers
        x = self.enter(z, self.coefficients(modulations))
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, layers[layer], rope, attend)
        return x

    def output(self, x: Tensor, modulations: Modulations | LookedUp, z: Tensor) -> Tensor:
        """The last hidden state (B, n, dim) of z (B, n, d) -> velocity (B, n, d), float32."""
        return self.velocity_of(self.raw_output(x, modulations), z, modulations)

    def raw_output(self, x: Tensor, modulations: Modulations | LookedUp) -> Tensor:
        """The output layer on the last hidden state (B, n, dim): the velocity (B, n, d), or, where it names tokens,
        their logits (B, n, V) by the context alone; float32. It is what guidance can combine.
        """
        output = modulations.output
        parts = output if isinstance(output, tuple) else output.unbind(-2)
        x = torch.addcmul(parts[0], self.txt_out_norm(x), parts[1])
        return self.tokens.logits(x) if self.config.token_output else self.txt_out["proj"](x).float()

    def velocity_of(self, raw: Tensor, z: Tensor, modulations: Modulations | LookedUp) -> Tensor:
        """The velocity (B, n, d), float32, of z (B, n, d) from its `raw_output`."""
        return self.tokens(raw, z, self._coefficients(modulations)) if self.config.token_output else raw

    def velocities_of(
        self, logits: Sequence[Tensor], z: Tensor, modulations: Modulations | LookedUp, plausible: Tensor
    ) -> tuple[Tensor, ...]:
        """Of guided logits and of those behind them, see `TokenOutput.velocities`. modulations: of these n positions,
        or of others and then these.
        """
        coefficients = self._coefficients(modulations)
        if coefficients.ndim > 1:
            coefficients = coefficients[..., -z.shape[1] :, :]
        return self.tokens.velocities(logits, z, coefficients, plausible)

    def token_logits(self, x: Tensor, modulations: Modulations | LookedUp, z: Tensor) -> Tensor:
        """As `output`, where that names tokens: their logits given the state, too, (B, n, V), none left out."""
        coefficients = self._coefficients(modulations).expand(*z.shape[:2], -1)
        logits, z, coefficients = (part.flatten(0, 1) for part in (self.raw_output(x, modulations), z, coefficients))
        return self.tokens.with_state(logits, z, coefficients).unflatten(0, x.shape[:2])

    def predict(self, z: Tensor, modulations: Modulations | LookedUp, rope: Tensor, attend: Attend) -> Tensor:
        """The `raw_output` for z (B, n, d): by the compiled pieces where there are any for it."""
        if self.pieces is not None and isinstance(attend, BlockAttention) and isinstance(modulations, LookedUp):
            raw = self.pieces.predict(z, modulations, rope, attend)
            if raw is not None:
                return raw
        return self.raw_output(self.hidden(z, modulations, rope, attend), modulations)

    def velocity(self, z: Tensor, modulations: Modulations | LookedUp, rope: Tensor, attend: Attend) -> Tensor:
        """The velocity (B, n, d), float32, of z (B, n, d)."""
        return self.velocity_of(self.predict(z, modulations, rope, attend), z, modulations)

    def forward(self, z: Tensor, t: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """Velocity (B, n, d) of whole sequences z (B, n, d) at times t (B, n), in [0, 1000].

        mask: (n, n), true where a position sees another; block-causal if absent. positions: (n,), 0, 1, ... if absent.
        """
        if z.ndim != 3 or z.shape[2] != self.config.txt_in_channels or t.shape != z.shape[:2]:
            raise ValueError(
                f"z has shape {tuple(z.shape)} and t {tuple(t.shape)}, "
                f"expected (batch, n, {self.config.txt_in_channels}) and (batch, n)"
            )
        times, index = torch.unique(t, return_inverse=True)
        modulations = self.modulations(times).at(index)
        if positions is None:
            positions = torch.arange(z.shape[1], device=z.device)
        if mask is None:
            mask = block_causal_mask(z.shape[1], self.config.block_size, z.device)
        attend = attend_under(mask)
        return self.velocity(z, modulations, self.rope(positions), attend)
