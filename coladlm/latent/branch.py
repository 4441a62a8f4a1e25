"""Branches: a run goes on from one of its own states, as it did or otherwise, and what was before stays as it was.

A branch needs the trace of its parent alone. With the parent's settings and noise it ends as the parent did, to the
precision in which the trace was recorded (float32 for an exact end).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch, OperationRun, pass_on, run_alone
from ..model import ColaDLM
from ..recipe import Recipe
from ..sampling.events import Event, Finished
from ..sampling.flow import NOISE_TIME, staggered_grid
from ..sampling.plan import Plan
from ..sampling.randomness import block_noise, token_uniforms
from ..sampling.sentences import whole_sentences
from ..sampling.tokens import choose
from ..settings import MAX_SEED, SamplerSettings, SettingsError
from ..trace import SPECS, Spec, Trace
from ..trace.recorder import TraceRecorder
from .other_texts import with_other_texts

OPERATION = "generate"  # whose runs can branch: their prompts are the whole of what stands before


class BranchError(ValueError):
    """A run cannot branch there; the message says what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class Spot:
    """A place in a run. step: 0 to steps - 1, the state before that step; or `steps`, the finished block."""

    sequence: int
    block: int
    step: int


@dataclasses.dataclass(frozen=True)
class History:
    """What stands before a block: latents (n, d) and the token ids (n * patch_size,) behind them."""

    latents: Tensor
    ids: Tensor


def check_fits(model: ColaDLM, trace: Trace) -> None:
    """Raises BranchError for a trace that this model cannot have made."""
    in_blocks_of(model, trace)


def in_blocks_of(model: ColaDLM, trace: Trace) -> ColaDLM:
    """The model in the blocks of a recorded run. Raises BranchError for a trace that this model cannot have made."""
    try:
        model = model.in_blocks_of(trace.recipe.settings)
    except SettingsError as error:
        raise BranchError(f"the trace cannot be of this model: {error}") from error
    if trace.z.shape[3:] != (model.block_size, model.latent_dim) and trace.z.size:
        found, wanted = trace.z.shape[3:], (model.block_size, model.latent_dim)
        raise BranchError(f"the trace has blocks of {found} numbers, expected {wanted} for this model")
    vocab = model.vae.config.vocab_size
    for name in ("token_ids", "preview_ids"):
        array = getattr(trace, name)
        if array is not None and array.size and array.max() >= vocab:
            raise BranchError(f"the trace's {name} go up to {array.max()}, expected ids below {vocab} for this model")
    return model


@torch.inference_mode()
def history_of(model: ColaDLM, trace: Trace, sequence: int, block: int) -> History:
    """What the blocks of a run's sequence from `block` on read: the prompt's whole blocks and the finished ones."""
    text = model.encode_texts([trace.prompts[sequence]])[0]
    ps, b = model.patch_size, in_blocks_of(model, trace).block_size
    whole = len(text.latents) // b * b
    ids = torch.from_numpy(trace.token_ids[sequence, :block].astype(np.int64)).flatten()
    ids = torch.cat((text.padded_ids[: whole * ps], ids))
    new = torch.from_numpy(trace.latents[sequence, :block]).flatten(0, 1)
    latents = torch.cat((text.latents[:whole], new))
    if trace.recipe.settings.history == "reencoded" and block:  # what is a whole block of the VAE
        end = len(latents) // model.vae.config.block_size * model.vae.config.block_size
        latents[:end] = model.encode_ids(ids[None])[0, :end]
    return History(latents, ids)


def plan_branch(
    model: ColaDLM, trace: Trace, spot: Spot, settings: SamplerSettings | None = None, fresh: int | None = None
) -> Plan:
    """The plan that goes on from the state before a step of a recorded run; run it with `settings`.

    settings: the parent's if absent. A grid with no step at this very time begins at its nearest one: the state is
    carried there along its velocity, or gets noise where another stagger wants a finished position back.
    fresh: a key of other noise; the state keeps its clean estimate and its share of noise, and the noise itself, and
    that of later blocks, is drawn anew. Raises BranchError.
    """
    old, new = trace.recipe.settings, settings or trace.recipe.settings
    model = in_blocks_of(model, trace)
    if model.plain(old).block_size != model.plain(new).block_size:
        raise BranchError(
            f"the branch has block_size {new.block_of(model.dit.config.block_size)}, expected {model.block_size} as in "
            "the run: its blocks are where they are"
        )
    _check(trace, spot)
    text = model.encode_texts([trace.prompts[spot.sequence]])[0]
    blocks = model.plan_encoded(text, old, sequence_key(trace, spot.sequence)).blocks - spot.block
    ps, b, d = model.patch_size, model.block_size, model.latent_dim
    source, start = torch.zeros(blocks, b, d), torch.full((blocks, b), NOISE_TIME)
    pinned_ids, skip = torch.full((blocks, b * ps), -1), 0
    rest = len(text.latents) % b if spot.block == 0 else 0
    if rest:
        source[0, :rest], start[0, :rest] = text.latents[-rest:], 0.0
        pinned_ids[0, : rest * ps], skip = text.padded_ids[-rest * ps :], rest * ps
    history = history_of(model, trace, spot.sequence, spot.block)
    key = sequence_key(trace, spot.sequence) if fresh is None else fresh
    state, first_step = _state(trace, spot, old, new, start[0], key)
    if fresh is not None:
        state = _with_noise(trace, spot, state, new, first_step, start[0], key)
    of_prompt = len(text.latents) % b * ps
    length, written = new.max_new_tokens - len(_written(trace, spot, of_prompt)), _written(trace, spot, 0)
    if spot.block and of_prompt and new.repetition_penalty != 1.0:
        written = torch.cat((_decoded_at_pins(model, trace, spot.sequence, of_prompt), written[of_prompt:]))
    plan = Plan(history.latents, history.ids, source, start, pinned_ids, length, skip=skip, sequence=key,
                first_block=spot.block, state=state, first_step=first_step, written=written)  # fmt: skip
    return with_other_texts(model, [plan], trace.recipe.options)[0]


def _written(trace: Trace, spot: Spot, skip: int) -> Tensor:
    """The tokens that the run has written in the blocks before the branch; `skip` are the prompt's in its first."""
    ids = torch.from_numpy(trace.token_ids[spot.sequence, : spot.block].astype(np.int64)).flatten()
    return ids[skip:] if spot.block else ids


@torch.inference_mode()
def _decoded_at_pins(model: ColaDLM, trace: Trace, sequence: int, tokens: int) -> Tensor:
    """What the decoder chose at the prompt's `tokens` places of a run's first block, (tokens,).

    The trace has the prompt's own tokens there, but the repetition penalty goes by these (see `sampler.py`). They are
    chosen again by the trace's own settings. Where a temperature draws them, a branch with other noise than its parent
    draws others here.
    """
    settings = trace.recipe.settings
    block = torch.from_numpy(trace.latents[sequence, 0]).float()
    latents = torch.cat((history_of(model, trace, sequence, 0).latents, block))
    logits = model.decode(latents)[-model.block_size * model.patch_size :][None]
    uniforms = None
    if settings.temperature > 0:
        uniforms = token_uniforms([(settings.seed, sequence_key(trace, sequence), 0)], logits.shape[1])
    return choose(logits, uniforms, settings.temperature, settings.top_k, settings.top_p)[0, :tokens].cpu()


def run_branch(
    model: ColaDLM, trace: Trace, spot: Spot, settings: SamplerSettings | None = None, fresh: int | None = None
) -> Iterator[Event]:
    """Runs `plan_branch`; events of the branch alone, their blocks counted from 0. Raises BranchError at once.

    With `whole_sentences` a last sentence that is not whole is left out where the branch is joined to its parent
    (`BranchRecorder`): it may begin before the branch.
    """
    return run_alone(model, start_branch(model, trace, spot, settings, fresh))


def start_branch(
    model: ColaDLM, trace: Trace, spot: Spot, settings: SamplerSettings | None = None, fresh: int | None = None
) -> OperationRun:
    """The operation that `run_branch` runs by itself. Raises BranchError."""
    settings = settings or trace.recipe.settings
    plan = plan_branch(model, trace, spot, settings, fresh)
    return pass_on(Batch([plan], dataclasses.replace(settings, whole_sentences=False)))


class BranchRecorder:
    """Records the events of `run_branch` and joins them to what their parent did before."""

    def __init__(self, parent: Trace, spot: Spot, settings: SamplerSettings, recipe: Recipe) -> None:
        self.parent, self.spot, self.settings, self.recipe = parent, spot, settings, recipe
        self.recorder = TraceRecorder(recipe, [parent.prompts[spot.sequence]], dtype="float32")
        self.end: Finished | None = None

    def watch(self, events: Iterable[Any]) -> Generator[Any]:
        """Records events and passes them on. Closing this generator closes `events`."""
        for event in self.recorder.watch(events):
            if isinstance(event, Finished):
                self.end = event
            yield event

    def trace(self, model: ColaDLM) -> Trace:
        """One sequence: the parent's blocks before the branch, then the branch. In the block where it left, the steps
        before are the parent's if both runs take the same steps, and not recorded otherwise.
        """
        branch, at, parent = self.recorder.trace(), self.spot.block, self.parent
        row = slice(self.spot.sequence, self.spot.sequence + 1)
        steps = max(branch.z.shape[2], parent.z.shape[2] if at else 0)
        arrays = {}
        for name, array in branch.arrays().items():
            spec, before = SPECS[name], getattr(parent, name)
            if before is None:  # previews or halves of a guidance that the parent does not have
                before = np.full(_shape(spec.axes, parent), -1 if spec.kind == "int" else 0, array.dtype)
            before = before[row] if "s" in spec.axes else before
            axis = spec.axes.index("b")
            before = np.take(before, range(at), axis)
            parts = [_fill_steps(part.astype(array.dtype), spec, steps) for part in (before, array)]
            arrays[name] = np.concatenate(parts, axis)
        self._before_the_branch(arrays)
        block_size = model.in_blocks_of(parent.recipe.settings).block_size
        rest = -(-len(model.tokenize(branch.prompts[0])) // model.patch_size) % block_size
        answer = _written(parent, self.spot, rest * model.patch_size).tolist()
        answers = None
        if self.end is not None:
            joined = answer + list(map(int, self.end.token_ids[0]))
            if self.settings.whole_sentences and self.end.reasons[0] == "length":
                joined = whole_sentences(joined, model.read)
            answers = [joined]
        text = model.read(answers[0]) if answers else model.read(answer) + branch.texts[0]
        return Trace(recipe=self.recipe, prompts=branch.prompts, texts=[text], reasons=branch.reasons, answers=answers,
                     **arrays)  # fmt: skip

    def _before_the_branch(self, arrays: dict[str, np.ndarray]) -> None:
        """The parent's steps in the block where the branch left."""
        parent, at = self.parent, self.spot
        old = parent.recipe.settings
        alike = (self.settings.steps, self.settings.stagger) == (old.steps, old.stagger)
        if not alike or not len(arrays["recorded"]) > at.block:
            return
        before = slice(0, at.step)
        for name, array in arrays.items():
            source = getattr(parent, name)
            axes = SPECS[name].axes
            if source is None or "k" not in axes:
                continue
            if "s" in axes:
                array[0, at.block, before] = source[at.sequence, at.block, before]
            else:
                array[at.block, before] = source[at.block, before]


def _shape(axes: str, trace: Trace) -> tuple[int, ...]:
    sizes = dict[str, int](zip("sbkpd", trace.z.shape, strict=True)) | {"w": trace.token_ids.shape[2]}
    return tuple(sizes[axis] for axis in axes)


def _fill_steps(array: np.ndarray, spec: Spec, steps: int) -> np.ndarray:
    """More steps at the end, as a trace has them where nothing happened."""
    if "k" not in spec.axes or array.shape[spec.axes.index("k")] == steps:
        return array
    widths = [(0, steps - size if axis == "k" else 0) for axis, size in zip(spec.axes, array.shape, strict=True)]
    return np.pad(array, widths, constant_values=-1 if spec.kind == "int" else 0)


def _check(trace: Trace, spot: Spot) -> None:
    if trace.recipe.operation not in (OPERATION, "branch"):
        raise BranchError(f"the run is of operation {trace.recipe.operation!r}, expected one of {OPERATION!r}")
    sequences, blocks, steps = trace.z.shape[:3]
    inside = 0 <= spot.sequence < sequences and 0 <= spot.block < blocks and 0 <= spot.step < steps
    there = inside and trace.active[spot.sequence, spot.block] and trace.recorded[spot.block, spot.step]
    if not there or not trace.t[spot.sequence, spot.block, spot.step].any():  # or its block was ended before
        raise BranchError(
            f"there is no state before step {spot.step} of block {spot.block} of sequence {spot.sequence} in the trace"
        )


def sequence_key(trace: Trace, sequence: int) -> int:
    """The key of randomness of a sequence of a recorded run; a branch has it in its options. Raises BranchError."""
    recipe = trace.recipe
    if recipe.operation == "branch":
        key = recipe.options.get("key")
        if type(key) is not int or not 0 <= key <= MAX_SEED:
            raise BranchError(f"options.key is {key!r}, expected the whole number that the branch's noise comes from")
        return key
    return [key for _, key in recipe.sequences()][sequence]


def _grid(settings: SamplerSettings, positions: int) -> np.ndarray:
    """(steps + 1, positions): the nominal times of a block."""
    s = settings
    return np.array(staggered_grid(s.time_grid, s.steps, s.time_shift, positions, s.stagger))


def _state(
    trace: Trace, spot: Spot, old: SamplerSettings, new: SamplerSettings, start: Tensor, key: int
) -> tuple[Tensor, int]:
    """The state at the nearest step of the new grid, and that step."""
    where = (spot.sequence, spot.block, spot.step)
    z = torch.from_numpy(trace.z[where].astype(np.float32))
    t, grid = _grid(old, len(z))[spot.step], _grid(new, len(z))
    first_step = int(np.abs(grid[:-1] - t).sum(1).argmin())
    v = torch.from_numpy(trace.velocity[where].astype(np.float32))
    change = torch.from_numpy(t - grid[first_step]).float() / NOISE_TIME
    state = z - (start / NOISE_TIME * change)[:, None] * v
    if new.stagger != old.stagger:  # a velocity at t = 0 leads nowhere
        noised = _with_noise(trace, spot, state, new, first_step, start, key)
        state = torch.where(change[:, None] < 0, noised, state)
    return state, first_step


def _with_noise(
    trace: Trace, spot: Spot, state: Tensor, settings: SamplerSettings, first_step: int, start: Tensor, key: int
) -> Tensor:
    """The clean estimate of the spot with other noise, as much as the state has."""
    t = torch.from_numpy(_grid(settings, len(state))[first_step]).float()
    clean = torch.from_numpy(trace.clean()[spot.sequence, spot.block, spot.step])
    share = (start * t / NOISE_TIME**2)[:, None]
    noise = block_noise(settings.seed, key, spot.block, (state.shape[0], state.shape[1]))
    return torch.where(start[:, None] == 0, state, (1 - share) * clean + share * noise)
