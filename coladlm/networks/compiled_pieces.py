"""The pieces of a step between two attentions, compiled: nine kernels a layer where operators are eighteen.

    product of queries, keys and values | norms of heads, rotation, writing all three | attention |
    output product | gate, residual, norm, modulation | product | GELU | product | gate, residual, norm, modulation

A piece goes from one attention to the next, so the last kernel of a layer is the first of the next one; the first piece
begins with the latents, the last one ends with the velocity. All layers share the compiled code, which takes their
weights as arguments, and so do all numbers of rows, blocks, times and histories: positions of all rows are one axis,
modulations are looked up within the kernels, and a cache is one long table in which keys and values have their places.
Attention stays what it is, so a captured graph records the kernels like any others.

torch's Inductor compiles them: with a C++ compiler for a CPU, with Triton for a GPU.
"""

from __future__ import annotations

import logging
import math
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .dit import BlockCausalDiT, DiTBlock, LookedUp, ModulationTable
from .int8 import Int8Linear
from .layers import TWICE, Linear
from .slot_cache import BlockAttention, SlotCache
from .token_output import MORE_COEFFICIENTS

log = logging.getLogger(__name__)
Function = Callable[..., Any]
EAGERLY = "run one operator after another"


def can_compile(dit: BlockCausalDiT) -> bool:
    """Whether its weights are ones that a compiler can take: in int8 they are not."""
    return all(isinstance(layer, Linear) for layer in _products(dit))


def compiled_pieces(dit: BlockCausalDiT, backend: str | Function = "inductor", seconds: float = float("inf"),
                    noted: Callable[[Function], Function] = lambda piece: piece) -> CompiledPieces | None:  # fmt: skip
    """The compiled pieces of a DiT, once they have given the velocities that its operators give: by then all that
    a run asks for is compiled, which takes seconds to minutes. None, and a line in the log, where that fails, they
    differ, or more than so many `seconds` have passed before the last of them is begun.

    noted: see `CompiledPieces`.
    """
    try:
        pieces = CompiledPieces(dit, backend, noted)
        pieces.deadline = time.monotonic() + seconds
        found = [disagreement(dit, pieces, rows, guided) for rows, guided in ((2, True), (1, False), (3, False))]
    except Exception as error:  # of the compiler, the driver, the disk: steps can do without any of them
        log.warning("The layers of a step are not compiled and %s: %s", EAGERLY, first_line(error))
        return None
    most = most_disagreement(dit)
    if all(distance <= most for distance in found):  # false for NaN
        pieces.deadline = None
        return pieces
    shown = max(found, key=lambda distance: (math.isnan(distance), distance))
    log.warning("The compiled layers of a step are off by %.1e, expected at most %.1e: they %s", shown, most, EAGERLY)
    return None


def first_line(error: Exception) -> str:
    """Of what a compiler says, the first line with words, and what kind of error it is where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def most_disagreement(dit: BlockCausalDiT) -> float:
    """The relative distance that velocities of compiled pieces may have.

    A product is rounded to the compute dtype, by u of its size at most, and before that its sum of k numbers, which is
    one of float32 in every dtype, by about sqrt(k) u. LayerNorm keeps what goes into each product at unit size, so m of
    them in a row come to sqrt(m) of that. Both forms are as near to the exact velocity.
    """
    u, u_of_sums = (torch.finfo(dtype).eps / 2 for dtype in (dit.dtype, torch.float32))
    products = 4 * len(dit.layers) + 2
    return 2 * products**0.5 * (u + dit.config.hidden_dim**0.5 * u_of_sums)


@torch.inference_mode()
def disagreement(dit: BlockCausalDiT, pieces: CompiledPieces, rows: int, guided: bool) -> float:
    """The relative distance between the velocities of compiled pieces and of operators, of made-up blocks after
    histories of as many positions.
    """
    c, b, generator = dit.config, dit.config.block_size, torch.Generator().manual_seed(0)
    n = 2 * b if guided else b
    cache = SlotCache(c.num_layers, c.heads, c.head_dim, rows, b, b, dit.dtype, dit.device)
    for past in (cache.k, cache.v):
        past.copy_(torch.randn(past.shape, generator=generator))
    z = torch.randn(rows, n, c.txt_in_channels, generator=generator).to(dit.device)
    # one time more than positions: what is compiled holds for all lengths, so no two may be the same here by chance
    times = torch.linspace(0, 1000, rows * n + 1, device=dit.device)
    modulations = ModulationTable.of_times(dit, times).at(torch.arange(rows * n, device=dit.device).view(rows, n))
    rope = dit.rope(torch.arange(n, device=dit.device).expand(rows, n))
    attend = BlockAttention(cache, torch.full((rows,), b), b, guided)
    raw = pieces.predict(z, modulations, rope, attend)
    if raw is None:
        raise RuntimeError("they do not run")
    compiled = dit.velocity_of(raw, z, modulations)
    eager = dit.output(dit.hidden(z, modulations, rope, attend), modulations, z)
    return float((compiled - eager).norm() / eager.norm())


class CompiledPieces:
    """The DiT for the steps of a block, in pieces that are compiled when they are first called.

    noted: wraps each compiled piece. A tape of operators, which cannot see into compiled code, records it as a single
    operator that way (`sampling/capture.py`).
    deadline: the time (of `time.monotonic`) after which no further piece is compiled during the first compilation;
    None once that is over.
    """

    def __init__(self, dit: BlockCausalDiT, backend: str | Function = "inductor",
                 noted: Callable[[Function], Function] = lambda piece: piece) -> None:  # fmt: skip
        """Raises ValueError for layers other than `Linear`, such as those with int8 weights."""
        others = [layer for layer in _products(dit) if not isinstance(layer, Linear)]
        if others:
            weights = "int8 weights" if isinstance(others[0], Int8Linear) else f"a {type(others[0]).__name__}"
            raise ValueError(f"{weights} cannot be compiled")
        self.dit, self.dtype, self.device, self.eps = dit, dit.dtype, dit.device, dit.config.norm_eps
        first = _first_entered if dit.config.token_input else _first
        pieces = first, _between, _last_normed if dit.config.token_output else _last
        self.first, self.between, self.last = (noted(_compiled(piece, backend)) for piece in pieces)
        self.deadline: float | None = float("inf")
        self.broken = False  # compiling for another case failed later on: operators run from then on

    def predict(self, z: Tensor, modulations: LookedUp, rope: Tensor, attend: BlockAttention) -> Tensor | None:
        """As `BlockCausalDiT.predict`. None where nothing is compiled for it."""
        moved = self.dit.dtype != self.dtype or self.dit.device != self.device
        if self.broken or moved or z.shape[:2].numel() < 2:  # the compiler would specialise on a length of 1
            return None
        try:
            return self._predicted(z, modulations, rope, attend)
        except Exception as error:
            if self.deadline is not None or not is_of_the_compiler(error):
                raise
            self.broken = True
            log.warning("The layers of a step could not be compiled anew and %s: %s", EAGERLY, first_line(error))
            return None

    def _predicted(self, z: Tensor, modulations: LookedUp, rope: Tensor, attend: BlockAttention) -> Tensor:
        rows, layers, eps = modulations.rows, self.dit.layers, self.eps
        shape = z.shape[:2]
        end = 6 * len(layers)  # of the modulations of layers, from where those of the output layer begin
        tables = rows[:, :end].unflatten(1, (-1, 6)).unbind(1)
        index, turn = modulations.each(*shape), torch.view_as_real(rope).flatten(0, 2)
        z, exit_table = z.flatten(0, 1), rows[:, end:]
        coefficients = None
        if self.dit.config.token_input:  # what reads or names a vocabulary stays operators
            coefficients = exit_table[:, 2, : z.shape[1] + MORE_COEFFICIENTS].index_select(0, index)
        places, caches = attend.places, attend.tables
        entered = self._entered(z, coefficients)
        self._check(*entered[:1], *tables, index, turn, places, caches[0])
        x = self.first(*entered, tables[0], index, turn, eps, _before(layers[0]), places, caches[0])
        for layer in range(len(layers) - 1):
            attended = attend.over(layer, attend.queries[layer]).flatten(0, 1)
            self._check(x, attended, caches[layer + 1])
            x = self.between(x, attended, tables[layer], tables[layer + 1], index, turn, eps, _after(layers[layer]),
                             _before(layers[layer + 1]), places, caches[layer + 1])  # fmt: skip
        attended = attend.over(len(layers) - 1, attend.queries[-1]).flatten(0, 1)
        self._check(x, attended, exit_table)
        raw = self.last(x, attended, tables[-1], exit_table, index, eps, _after(layers[-1]), _exit(self.dit))
        if self.dit.config.token_output:
            raw = self.dit.tokens.logits(raw)
        return raw.unflatten(0, shape)

    def _entered(self, z: Tensor, coefficients: Tensor | None) -> tuple[Tensor, ...]:
        """What the first piece begins with: the first hidden state, or the latents and the weights of the product that
        makes it of them.
        """
        if self.dit.config.token_input:
            return (self.dit.enter(z, coefficients),)
        entry = cast(Linear, self.dit.txt_in["proj"])
        return z, entry.weight, entry.bias

    def _check(self, *tensors: Tensor) -> None:
        """Before the first call of a piece: raises TimeoutError where there is no time left to compile it, and marks
        the first axis of these tensors as dynamic, so that the piece is not compiled for one length alone.
        """
        if self.deadline is None:
            return
        if time.monotonic() > self.deadline:
            raise TimeoutError("it takes too long")
        for tensor in tensors:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)


def _compiled(piece: Function, backend: str | Function) -> Function:
    """One of the pieces below, compiled for one DiT: torch keeps what it compiles with the code of a function, and
    compiles for all lengths of what it has seen in several, so each DiT has a copy of the code.
    """
    assert isinstance(piece, types.FunctionType)
    own = types.FunctionType(piece.__code__.replace(), piece.__globals__, piece.__name__)
    # the number of threads is no part of the code: a tuner changes it between two steps
    options: dict[str, Any] = {"guard_filter_fn": lambda guards: [g.guard_type != "GLOBAL_STATE" for g in guards]}
    if backend == "inductor":
        options["cpp.dynamic_threads"] = True
    return torch.compile(own, fullgraph=True, backend=backend, options=options)


def is_of_the_compiler(error: Exception) -> bool:
    """Of torch's compiler, or of the files that it keeps."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _products(dit: BlockCausalDiT) -> list[torch.nn.Module]:
    own = [part for block in dit.layers for part in (block.msa.proj_qkv, block.msa.proj_out, block.mlp.proj_in,
                                                     block.mlp.proj_out)]  # fmt: skip
    return [dit.txt_in["proj"], *own, _last_product(dit)]


def _last_product(dit: BlockCausalDiT) -> torch.nn.Module:
    return dit.tokens.proj if dit.config.token_output else dit.txt_out["proj"]


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


class Exit(NamedTuple):
    """What the output layer multiplies with."""

    norm_weight: Tensor
    norm_bias: Tensor
    weight: Tensor
    bias: Tensor | None


def _before(block: DiTBlock) -> Before:
    msa = block.msa
    return Before(msa.proj_qkv.weight, msa.proj_qkv.bias, msa.norm_q.weight, msa.norm_q.bias, msa.norm_k.weight,
                  msa.norm_k.bias)  # fmt: skip


def _after(block: DiTBlock) -> After:
    msa, mlp = block.msa, block.mlp
    return After(msa.proj_out.weight, msa.proj_out.bias, mlp.proj_in.weight, mlp.proj_in.bias, mlp.proj_out.weight,
                 mlp.proj_out.bias)  # fmt: skip


def _exit(dit: BlockCausalDiT) -> Exit:
    norm, product = dit.txt_out_norm, cast(Linear, _last_product(dit))
    return Exit(norm.weight, norm.bias, product.weight, product.bias)


# The pieces. x: (m, dim), float32, of all positions of all rows. table: (T, 6, dim), a layer's modulations; index:
# (m,), where in it. turn: (m, head_dim / 2, 2), cosines and sines. cache: (slots, head_dim), a layer's table, which
# queries, keys and values are written to at `places` (m, 3, heads).


def _first(z: Tensor, weight: Tensor, bias: Tensor, table: Tensor, index: Tensor, turn: Tensor, eps: float,
           before: Before, places: Tensor, cache: Tensor) -> Tensor:  # fmt: skip
    x = F.linear(z.to(weight.dtype), weight, bias).float()
    _write(x, table, index, turn, eps, before, places, cache)
    return x


def _first_entered(x: Tensor, table: Tensor, index: Tensor, turn: Tensor, eps: float, before: Before, places: Tensor,
                   cache: Tensor) -> Tensor:  # fmt: skip
    _write(x, table, index, turn, eps, before, places, cache)
    return x


def _between(x: Tensor, attended: Tensor, table: Tensor, next_table: Tensor, index: Tensor, turn: Tensor, eps: float,
             after: After, before: Before, places: Tensor, cache: Tensor) -> Tensor:  # fmt: skip
    x = _through(x, attended, table, index, eps, after)
    _write(x, next_table, index, turn, eps, before, places, cache)
    return x


def _last(x: Tensor, attended: Tensor, table: Tensor, exit_table: Tensor, index: Tensor, eps: float, after: After,
          exit: Exit) -> Tensor:  # fmt: skip
    h = _last_normed(x, attended, table, exit_table, index, eps, after, exit)
    return F.linear(h.to(exit.weight.dtype), exit.weight, exit.bias).float()


def _last_normed(x: Tensor, attended: Tensor, table: Tensor, exit_table: Tensor, index: Tensor, eps: float,
                 after: After, exit: Exit) -> Tensor:  # fmt: skip
    x = _through(x, attended, table, index, eps, after)
    h = F.layer_norm(x, x.shape[-1:], exit.norm_weight, exit.norm_bias, eps)
    return torch.addcmul(exit_table[index, 0], h, exit_table[index, 1])


def _write(x: Tensor, table: Tensor, index: Tensor, turn: Tensor, eps: float, before: Before, places: Tensor,
           cache: Tensor) -> None:  # fmt: skip
    """A layer up to its attention."""
    h = _modulated(x, table[index, 0], table[index, 1], eps)
    qkv = F.linear(h.to(before.weight.dtype), before.weight, before.bias).unflatten(-1, (3, -1, cache.shape[-1]))
    _put(qkv, turn, eps, before, places, cache)


def _put(qkv: Tensor, turn: Tensor, eps: float, before: Before, places: Tensor, cache: Tensor) -> None:
    """Norms and turns queries and keys, and writes all three. qkv: (m, 3, heads, head_dim).

    One kernel, for which values go through the norm and the rotation as well, and come out as they were.
    """
    part = torch.arange(3, device=qkv.device)[:, None, None]
    weight = torch.where(part == 0, before.q_weight, before.k_weight)
    bias = torch.where(part == 0, before.q_bias, before.k_bias)
    written = torch.where(part == 2, qkv, _turned(qkv, weight, bias, eps, turn[:, None, None]).to(qkv.dtype))
    torch._check(places.shape[0] == qkv.shape[0])  # the compiler would allow for a single value in all places
    cache.index_put_((places,), written)


def _through(x: Tensor, attended: Tensor, table: Tensor, index: Tensor, eps: float, after: After) -> Tensor:
    """The rest of a layer."""
    x = torch.addcmul(x, table[index, 2], F.linear(attended, after.out, after.out_bias).float())
    h = _modulated(x, table[index, 3], table[index, 4], eps)
    h = gelu_sigmoid(F.linear(h.to(after.wide.dtype), after.wide, after.wide_bias))
    return torch.addcmul(x, table[index, 5], F.linear(h, after.narrow, after.narrow_bias).float())


def gelu_sigmoid(x: Tensor) -> Tensor:
    """`layers.gelu_tanh` within compiled code, in float32: the sigmoid is the faster one here, too."""
    wide = x.float()
    return (wide * torch.sigmoid(wide * (TWICE + 0.044715 * TWICE * wide * wide))).to(x.dtype)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale)


def _turned(x: Tensor, weight: Tensor, bias: Tensor, eps: float, turn: Tensor) -> Tensor:
    """LayerNorm and then `layers.rotate_pairs` in real numbers: of a pair (a, b), a cos - b sin and b cos + a sin.

    The other channel of each pair is read and normed anew: a result that is read twice would be a kernel of its own.
    """
    variance, mean = torch.var_mean(x.float(), -1, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + eps)
    own, other = (
        torch.addcmul(y_bias, (y.float() - mean) * inverse, y_weight)
        for y, y_weight, y_bias in ((x, weight, bias), map(_pairs_swapped, (x, weight, bias)))
    )
    cos, sin = (part.repeat_interleave(2, -1) for part in turn.unbind(-1))
    sign = 2 * (torch.arange(x.shape[-1], device=x.device) % 2) - 1
    return own * cos + sign * sin * other


def _pairs_swapped(x: Tensor) -> Tensor:
    """(..., c): each channel in the place of the other one of its pair."""
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
