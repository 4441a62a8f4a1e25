"""The pieces of a step between two attentions, compiled: on a CPU nine kernels a layer where operators are eighteen.

    products of queries, keys and values | norms of heads, rotation, both writes into the cache | attention |
    output product | gate, residual, norm, modulation | product | GELU | product | gate, residual, norm, modulation

A piece goes from one attention to the next, so the last kernel of a layer is the first of the next one. All layers
share the compiled code, which takes their weights as arguments, and every number of rows and positions does: positions
are one axis, and modulations are looked up within the kernels. Attention and cache stay what they are, so a captured
graph records the kernels like any others.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dit import BlockCausalDiT, DiTBlock, LookedUp, ModulationTable
from .layers import Linear
from .slot_cache import BlockAttention, SlotCache

log = logging.getLogger(__name__)

# How far apart the velocities of both forms may be, in roundings of the dtype, for the square root of the number of
# products in a row, since each rounds for itself and errors add up like independent ones. Products of half precision
# add up in float32; in float32 itself, sums of thousands of numbers in another order count as well.
ROUNDINGS, ROUNDINGS_OF_SUMS = 2.0, 8.0
PROBE_TIMES = torch.tensor([100.0, 500.0, 900.0])


def compiled_pieces(dit: BlockCausalDiT, backend: str | Callable[..., Any] = "inductor") -> CompiledPieces | None:
    """The compiled pieces of a DiT, once they have given the velocities that its operators give: by then all that
    a run asks for is compiled, which takes seconds to minutes. None, and a line in the log, where that fails or they
    differ.
    """
    try:
        pieces = CompiledPieces(dit, backend)
        found = [disagreement(dit, pieces, rows, guided) for rows in (1, 2) for guided in (False, True)]
    except Exception as error:  # of a compiler, a driver, a disk: a run needs none of them
        log.warning("Layers are not compiled and run one operator after another: %s", _first_line(error))
        return None
    most = most_disagreement(dit)
    if all(distance <= most for distance in found):  # and none of them is NaN
        return pieces
    log.warning(
        "Compiled layers are off by %s, expected at most %.1e: they run one operator after another",
        ", ".join(f"{distance:.1e}" for distance in found),
        most,
    )
    return None


def _first_line(error: Exception) -> str:
    """What an error says first; where a compiler only names what has raised it, the next line too."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith("raised:") else 1])


def most_disagreement(dit: BlockCausalDiT) -> float:
    """The relative distance that compiled pieces may have."""
    products, rounding = 4 * len(dit.layers) + 2, torch.finfo(dit.dtype).eps / 2
    return (ROUNDINGS_OF_SUMS if dit.dtype == torch.float32 else ROUNDINGS) * rounding * products**0.5


@torch.inference_mode()
def disagreement(dit: BlockCausalDiT, pieces: CompiledPieces, rows: int, guided: bool) -> float:
    """The relative distance between the velocities of compiled pieces and of operators, of a made-up block after a
    history of as many positions.
    """
    c, b, generator = dit.config, dit.config.block_size, torch.Generator().manual_seed(0)
    n = 2 * b if guided else b
    cache = SlotCache(c.num_layers, c.heads, c.head_dim, rows, b, b, dit.dtype, dit.device)
    for past in (cache.k, cache.v):
        past.copy_(torch.randn(past.shape, generator=generator))
    z = torch.randn(rows, n, c.txt_in_channels, generator=generator).to(dit.device)
    rows_of_times = ModulationTable.of_times(dit, PROBE_TIMES.to(dit.device)).rows
    modulations = LookedUp(rows_of_times, torch.arange(n, device=dit.device) % len(PROBE_TIMES))
    rope = dit.rope(torch.arange(n, device=dit.device).expand(rows, n))
    attend = BlockAttention(cache, torch.full((rows,), b), b, guided)
    compiled = dit.output(pieces.compiled_hidden(z, modulations, rope, attend), modulations)
    kept, dit.pieces = dit.pieces, None
    try:
        eager = dit.output(dit.hidden(z, modulations, rope, attend), modulations)
    finally:
        dit.pieces = kept
    return float((compiled - eager).norm() / eager.norm())


class CompiledPieces:
    """The layers of a DiT for the steps of a block, compiled when they are first called.

    broken: something had to be compiled anew and could not be; operators run from then on.
    """

    def __init__(self, dit: BlockCausalDiT, backend: str | Callable[..., Any] = "inductor") -> None:
        """Raises ValueError for layers other than `Linear`, whose weights are not plain numbers."""
        odd = {type(layer).__name__ for layer in _products(dit)} - {Linear.__name__}
        if odd:
            raise ValueError(f"layers are {min(odd)}, expected Linear: only those are compiled")
        self.dit, self.eps, self.broken = dit, dit.config.norm_eps, False
        self.first, self.between, self.last = (_compiled(piece, backend) for piece in (_first, _between, _last))

    def hidden(self, z: Tensor, modulations: LookedUp, rope: Tensor, attend: BlockAttention) -> Tensor | None:
        """As `BlockCausalDiT.hidden`, with the attention of a block's steps: (B, n, d) -> (B, n, dim), float32. None
        where operators are to run.
        """
        if self.broken or z.shape[1] < 2:  # a compiler makes code of its own for a length of 1
            return None
        try:
            return self.compiled_hidden(z, modulations, rope, attend)
        except Exception as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            self.broken = True
            log.warning("Layers could not be compiled anew and run one operator after another: %s", _first_line(error))
            return None

    def compiled_hidden(self, z: Tensor, modulations: LookedUp, rope: Tensor, attend: BlockAttention) -> Tensor:
        """The same, whatever the compiler raises."""
        shape, layers, last = z.shape[:2], self.dit.layers, len(self.dit.layers) - 1
        x = self.dit.txt_in["proj"](z).float().flatten(0, 1)
        index, turn = modulations.each(*shape), torch.view_as_real(rope).flatten(0, 1)
        tables = [modulations.rows[:, 6 * layer : 6 * layer + 6] for layer in range(len(layers))]
        _of_any_length((0,), x, index, turn, *tables)
        _of_any_length((0, 1), *(part for layer in range(len(layers)) for part in attend.own(layer)))
        q = self.first(x, tables[0], index, turn, self.eps, _before(layers[0]), *attend.own(0))
        for layer in range(last):
            attended = attend.over(layer, q.unflatten(0, shape)).flatten(0, 1)
            _of_any_length((0,), attended)
            x, q = self.between(x, attended, tables[layer], tables[layer + 1], index, turn, self.eps,
                                _after(layers[layer]), _before(layers[layer + 1]), *attend.own(layer + 1))  # fmt: skip
        attended = attend.over(last, q.unflatten(0, shape)).flatten(0, 1)
        _of_any_length((0,), x, attended)
        return self.last(x, attended, tables[last], index, self.eps, _after(layers[last])).unflatten(0, shape)


def _compiled(piece: Callable[..., Any], backend: str | Callable[..., Any]) -> Callable[..., Any]:
    """A piece, compiled for one DiT: torch keeps what it compiles with the code of a function, a few times at most, so
    each DiT has a copy of the code.
    """
    assert isinstance(piece, types.FunctionType)
    own = types.FunctionType(piece.__code__.replace(), piece.__globals__, piece.__name__)
    # the number of threads is no part of the code: a tuner changes it between two steps
    options: dict[str, Any] = {"guard_filter_fn": lambda guards: [g.guard_type != "GLOBAL_STATE" for g in guards]}
    if backend == "inductor":
        options["cpp.dynamic_threads"] = True
    return torch.compile(own, backend=backend, options=options)


def _of_any_length(axes: tuple[int, ...], *tensors: Tensor) -> None:
    """Has what is compiled serve every length of these axes, where one that was seen first would be compiled in."""
    for tensor in tensors:
        torch._dynamo.maybe_mark_dynamic(tensor, axes)


def _products(dit: BlockCausalDiT) -> list[torch.nn.Module]:
    return [part for block in dit.layers for part in (block.msa.proj_qkv, block.msa.proj_out, block.mlp.proj_in,
                                                      block.mlp.proj_out)]  # fmt: skip


class Before(NamedTuple):
    """Of a layer, what its piece before the attention multiplies with."""

    weight: Tensor  # of queries, keys and values
    bias: Tensor | None
    q_weight: Tensor  # of the norms of heads
    q_bias: Tensor
    k_weight: Tensor
    k_bias: Tensor


class After(NamedTuple):
    """Of a layer, what its piece after the attention multiplies with."""

    out: Tensor  # of the attention
    out_bias: Tensor | None
    wide: Tensor  # of the MLP
    wide_bias: Tensor | None
    narrow: Tensor
    narrow_bias: Tensor | None


def _before(block: DiTBlock) -> Before:
    msa = block.msa
    return Before(msa.proj_qkv.weight, msa.proj_qkv.bias, msa.norm_q.weight, msa.norm_q.bias, msa.norm_k.weight,
                  msa.norm_k.bias)  # fmt: skip


def _after(block: DiTBlock) -> After:
    msa, mlp = block.msa, block.mlp
    return After(msa.proj_out.weight, msa.proj_out.bias, mlp.proj_in.weight, mlp.proj_in.bias, mlp.proj_out.weight,
                 mlp.proj_out.bias)  # fmt: skip


# The pieces. x: (m, dim), float32, of all positions of all rows. table: (T, 6, dim), a layer's modulations; index:
# (m,), where in it. turn: (m, 1, head_dim / 2, 2), cosines and sines. own_k, own_v: (rows, n, heads, head_dim), parts
# of the cache, which are written to. Queries come out as (m, heads, head_dim).


def _first(x: Tensor, table: Tensor, index: Tensor, turn: Tensor, eps: float, before: Before, own_k: Tensor,
           own_v: Tensor) -> Tensor:  # fmt: skip
    h = _modulated(x, table[index, 0], table[index, 1], eps)
    qkv = F.linear(h.to(before.weight.dtype), before.weight, before.bias).unflatten(-1, (3, -1, own_k.shape[-1]))
    q = _turned(qkv[:, 0], before.q_weight, before.q_bias, eps, turn)
    k = _turned(qkv[:, 1], before.k_weight, before.k_bias, eps, turn)
    own_k.copy_(k.view(own_k.shape))
    own_v.copy_(qkv[:, 2].view(own_v.shape))
    return q.to(before.weight.dtype)


def _last(x: Tensor, attended: Tensor, table: Tensor, index: Tensor, eps: float, after: After) -> Tensor:
    x = torch.addcmul(x, table[index, 2], F.linear(attended, after.out, after.out_bias).float())
    h = _modulated(x, table[index, 3], table[index, 4], eps)
    h = F.gelu(F.linear(h.to(after.wide.dtype), after.wide, after.wide_bias), approximate="tanh")
    return torch.addcmul(x, table[index, 5], F.linear(h, after.narrow, after.narrow_bias).float())


def _between(x: Tensor, attended: Tensor, table: Tensor, next_table: Tensor, index: Tensor, turn: Tensor, eps: float,
             after: After, before: Before, own_k: Tensor, own_v: Tensor) -> tuple[Tensor, Tensor]:  # fmt: skip
    x = _last(x, attended, table, index, eps, after)
    return x, _first(x, next_table, index, turn, eps, before, own_k, own_v)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale)


def _turned(x: Tensor, weight: Tensor, bias: Tensor, eps: float, turn: Tensor) -> Tensor:
    """Queries or keys after their norm and `layers.rotate_pairs`, in real numbers, which compile."""
    first, second = F.layer_norm(x.float(), x.shape[-1:], weight, bias, eps).unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn.unbind(-1)
    return torch.stack((first * cos - second * sin, first * sin + second * cos), -1).flatten(-2)
