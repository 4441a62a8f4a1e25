"""The sampler: plans in, events out. Prefill, transport, decode, block after block, for a batch of sequences.

Generate, interpolate, edit and invert differ only in the plans they make. The caches belong to the run, and the run to
whoever iterates it: stop iterating (or close the generator) and they are freed. Positions are pinned by a start time
of 0, re-noised by one below 1000; `flow.py` does the arithmetic of a step.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from ..networks.dit import BlockCausalDiT, Modulations
from ..networks.layers import KVCache, angle_dtype, attend_guided
from ..networks.text_vae import TextVAE
from ..settings import SamplerSettings
from . import flow
from .events import BlockDone, Event, Finished, Step
from .randomness import block_noise, step_noise, token_uniforms
from .tokens import NO_TOKEN, choose, choose_unrepeated, penalised, word_starts

PREFILL_LATENTS = 512  # latents of the prefix that pass at once: bounds the mask and the activations


class PlanError(ValueError):
    """A plan does not fit the model or the other plans of its batch; the message names what was found and wanted."""


@dataclasses.dataclass
class Plan:
    """What one sequence of a batch is to do. Latents are scaled, times in [0, 1000].

    prefix: (n, d), the latents of whole finished blocks, n a multiple of b. prefix_ids: (n * patch_size,), the tokens
    behind them. source: (blocks, b, d), where positions start that do not start from noise. start: (blocks, b), the
    time they start from: 1000 is noise alone, 0 is pinned to `source`. pinned_ids: (blocks, b * patch_size), the
    tokens of pinned positions and -1 elsewhere. skip: how many tokens at the start of the first block belong to the
    prompt and not to the answer. sequence: the key of its randomness. max_new_tokens: length of the answer. noise:
    (blocks, b, d) in place of drawn noise. first_block: the number of its first new block in the keys of randomness.
    state: (b, d), where the first block stands before step `first_step`, to resume a run in the middle of a block.
    written: (m,), tokens that the resumed run has decoded in earlier blocks, for the repetition penalty. settings: its
    own seed and choice of tokens in place of the run's, whose flow it shares (see `SamplerSettings.flow`).
    """

    prefix: Tensor
    prefix_ids: Tensor
    source: Tensor
    start: Tensor
    pinned_ids: Tensor
    max_new_tokens: int
    skip: int = 0
    sequence: int = 0
    noise: Tensor | None = None
    first_block: int = 0
    state: Tensor | None = None
    first_step: int = 0
    written: Tensor | None = None
    settings: SamplerSettings | None = None

    @property
    def blocks(self) -> int:
        return self.source.shape[0]


class Sampler:
    """Runs plans on a VAE and a DiT. `read` turns token ids into text; end_ids are the tokens that end a text."""

    def __init__(self, vae: TextVAE, dit: BlockCausalDiT, read: Callable[[list[int]], str],
                 end_ids: Sequence[int], pad_id: int):  # fmt: skip
        self.vae, self.dit, self.read, self.end_ids, self.pad_id = vae, dit, read, frozenset(end_ids), pad_id

    @functools.cached_property
    def words(self) -> Tensor:
        """(vocab_size,) bool: the tokens that begin a word."""
        return word_starts(self.read, self.vae.config.vocab_size).to(self.dit.device)

    def run(self, plans: Sequence[Plan], settings: SamplerSettings, invert: bool = False,
            inverse_iterations: int = 0) -> Generator[Event]:  # fmt: skip
        """Runs a batch of plans. Raises PlanError at once, before the first event is asked for.

        With `invert` the flow runs from t = 0 to 1000, starting at each plan's `source`: `BlockDone.latents` is the
        noise reached, and the text's own latents are the history of later blocks. `inverse_iterations` > 0 makes each
        step the inverse of the sampler's own step by fixed-point iteration.
        """
        plans = list(plans)
        self._check(plans, settings, invert)
        return _Run(self, plans, settings, invert, inverse_iterations).events()

    def _check(self, plans: list[Plan], settings: SamplerSettings, invert: bool) -> None:
        b, d, ps = self.vae.config.block_size, self.vae.config.latent_dim, self.vae.config.patch_size
        if not plans:
            raise PlanError("there are no plans to run, expected at least one")
        if invert and settings.stochasticity > 0:
            found = settings.stochasticity
            raise PlanError(f"stochasticity is {found}, expected 0 for inversion: fresh noise cannot be undone")
        for i, plan in enumerate(plans):
            wanted = {
                "prefix": (len(plan.prefix) // b * b, d),
                "prefix_ids": (len(plan.prefix) * ps,),
                "source": (plan.blocks, b, d),
                "start": (plan.blocks, b),
                "pinned_ids": (plan.blocks, b * ps),
                "noise": (plan.blocks, b, d),
                "state": (b, d),
            }
            for name, shape in wanted.items():
                value = getattr(plan, name)
                if value is not None and tuple(value.shape) != shape:
                    raise PlanError(f"plan {i}: {name} has shape {tuple(value.shape)}, expected {shape}")
            if plan.blocks == 0:
                raise PlanError(f"plan {i} has no new block, expected at least one")
            if plan.first_step != plans[0].first_step or not 0 <= plan.first_step < settings.steps:
                wanted = f"{plans[0].first_step} as in plan 0, from 0 to {settings.steps - 1}"
                raise PlanError(f"plan {i}: first_step is {plan.first_step}, expected {wanted}")
            if plan.settings is not None and plan.settings.flow != settings.flow:
                raise PlanError(f"plan {i} has settings of another flow than the run, expected the same")


class _Run:
    """The state of one run: its caches, tables and answers.

    `block` counts the blocks of the run; a sequence that joined later (see shared_run.py) counts its own from there.
    """

    def __init__(self, sampler: Sampler, plans: list[Plan], settings: SamplerSettings, invert: bool, iterations: int):
        self.sampler, self.plans, self.settings, self.invert = sampler, plans, settings, invert
        self.vae, self.dit = sampler.vae, sampler.dit
        self.device = self.dit.device
        self.b, self.ps = self.vae.config.block_size, self.vae.config.patch_size
        self.rows = list(range(len(plans)))  # the sequences that are still written
        self.own = [plan.settings or settings for plan in plans]
        self.joined = [0] * len(plans)  # the block of the run that is a sequence's first
        self.position = max(len(plan.prefix) for plan in plans)  # slots before the block to come
        self.answers: list[list[int]] = [[] for _ in plans]
        self.texts = [""] * len(plans)
        self.reasons = ["length"] * len(plans)
        self.solver = flow.SOLVERS[settings.solver]
        if invert and iterations:
            self.solver = flow.inverse(self.solver, iterations)
        self.grid = self._grid()
        self.guided = flow.Interval(*settings.guidance_interval)

    def _grid(self) -> list[flow.Time]:
        """steps + 1 nominal times of the run: numbers, or a column (b, 1) of them where positions differ."""
        s = self.settings
        positions = self.b if s.stagger else 1
        rows = flow.staggered_grid(s.time_grid, s.steps, s.time_shift, positions, s.stagger)
        rows = rows[::-1] if self.invert else rows
        asked = [flow.evaluation_times(s.solver, times) for times in zip(*rows, strict=True)]
        self.nominal = {t: i for i, t in enumerate(sorted(set(itertools.chain(*asked))))}
        if positions == 1:
            return [row[0] for row in rows]
        nominal = torch.tensor(list(self.nominal), dtype=torch.float32, device=self.device)
        # the borders between nominal times, by which those of a column are found
        self.between = (nominal[1:] + nominal[:-1]) / 2
        return list(torch.tensor(rows, dtype=torch.float32, device=self.device)[..., None])

    @torch.inference_mode()
    def events(self) -> Generator[Event]:
        self._prefill()
        self._tabulate()
        block = 0
        while self._between_blocks(block):
            self._enter(block)
            yield from self._transport(block)
            if not self.rows:  # all have left in the middle of the block
                break
            yield self._finish(block)
            block, self.position = block + 1, self.position + self.b
        yield Finished(self.reasons, self.texts, self.answers)

    def _between_blocks(self, block: int) -> list[int]:
        """The rows that have this block to write; the others are left out."""
        return self._drop_rows([row for row in self.rows if self.goes_on(row, block)])

    def goes_on(self, row: int, block: int) -> bool:
        """Does a sequence have this block to write?"""
        return block - self.joined[row] < self.plans[row].blocks and self.reasons[row] != "end"

    # prefill

    def _prefill(self) -> None:
        """Fills the caches with the prefix, rows right-aligned, in pieces of whole blocks."""
        vae, dit, batch = self.vae.config, self.dit.config, len(self.plans)
        lengths = torch.tensor([len(plan.prefix) for plan in self.plans])
        self.padding = self.position - lengths
        capacity = self.position + self.b * max(plan.blocks for plan in self.plans)
        shared: dict[str, Any] = {"capacity": capacity, "padding": self.padding, "block_size": self.b,
                                  "device": self.device, "dtype": self.dit.dtype}  # fmt: skip
        self.flow_cache = KVCache(dit.num_layers, dit.heads, dit.head_dim, **shared)
        self.decoder_cache = KVCache(vae.decoder_num_blocks, vae.kv_heads, vae.head_dim, **shared)
        self.encoder_cache: KVCache | None = None
        if self.settings.history == "reencoded":
            self.encoder_cache = KVCache(vae.encoder_num_blocks, vae.kv_heads, vae.head_dim, **shared)
        # Tokens decoded so far, for the repetition penalty. At a pinned position that is what the decoder chose there,
        # as in the published sampler, and not the token that stands in the text.
        self.seen = torch.zeros(batch, vae.vocab_size, dtype=torch.bool, device=self.device)
        for row, plan in enumerate(self.plans):
            if plan.written is not None:
                self.seen[row, plan.written.to(self.device)] = True
        # all tokens so far, for the rule against repeated n-grams
        self.context = torch.full((batch, capacity * self.ps), NO_TOKEN, device=self.device)
        self.clean_modulations = self.dit.modulations(torch.zeros(1, device=self.device)).at(0)
        if not self.position:
            return
        latents = torch.zeros(batch, self.position, vae.latent_dim)
        ids = torch.full((batch, self.position * self.ps), self.sampler.pad_id)
        for row, plan in enumerate(self.plans):
            if len(plan.prefix):
                latents[row, -len(plan.prefix) :] = plan.prefix
                ids[row, -len(plan.prefix_ids) :] = plan.prefix_ids
                self.context[row, : ids.shape[1]][-len(plan.prefix_ids) :] = plan.prefix_ids.to(self.device)
        piece = max(PREFILL_LATENTS // self.b, 1) * self.b
        for start in range(0, self.position, piece):
            end = min(start + piece, self.position)
            self._place(start, end)
            if self.encoder_cache is not None:
                self._encode(ids[:, start * self.ps : end * self.ps].to(self.device))
            self._remember(latents[:, start:end].to(self.device))

    def _place(self, start: int, end: int) -> None:
        """The passes to come are about these slots, at each row's own positions."""
        positions = (torch.arange(start, end) - self.padding[self.rows, None]).clamp(min=0)
        alone = torch.arange(end - start).expand_as(positions)
        self.flow_rope = self.dit.rope(positions.to(self.device))
        self.flow_rope_guided = torch.cat((self.flow_rope, self.dit.rope(alone.to(self.device))))
        self.text_rope = self.vae.rope(positions.to(self.device))
        for cache in (self.flow_cache, self.decoder_cache, self.encoder_cache):
            if cache is not None:
                cache.place(start, end)

    def _encode(self, ids: Tensor) -> Tensor:
        """Token ids of the placed slots -> scaled posterior means, through the encoder's cache."""
        return self.vae.scale(self.vae.encode(ids, self.text_rope, self.encoder_cache).mean)

    def _remember(self, latents: Tensor) -> None:
        """Puts clean latents of the placed slots into the caches that later blocks read."""
        self.dit.hidden(latents, self.clean_modulations, self.flow_rope, self.flow_cache)
        self.vae.decode_hidden(latents, self.text_rope, self.decoder_cache)

    # tables

    def _tabulate(self) -> None:
        """The modulations of every time that this run will ask for: (nominal times) x (scales of positions)."""
        starts = torch.cat([plan.start.flatten() for plan in self.plans]).double()
        if self.invert:  # everything goes all the way to noise, but for what is pinned
            starts = torch.where(starts == 0, starts, flow.NOISE_TIME)
        self.scales, scale_index = torch.unique(starts / flow.NOISE_TIME, return_inverse=True)
        self.scale_index = list(scale_index.split([plan.start.numel() for plan in self.plans]))
        times = torch.tensor(list(self.nominal), dtype=torch.float64)[:, None] * self.scales
        self.modulations = self.dit.modulations(times.flatten().to(self.device, angle_dtype(self.device)))

    def _modulations(self, t: flow.Time, halves: int) -> Modulations:
        nominal: Tensor | int
        if isinstance(t, Tensor):
            nominal = torch.bucketize(t[:, 0], self.between)  # (b,), without waiting for the device
        elif self.one_scale is not None:
            return self.modulations.at(self.nominal[t] * len(self.scales) + self.one_scale)
        else:
            nominal = self.nominal[t]
        return self.modulations.at((nominal * len(self.scales) + self.block_scales).repeat(halves, 1))

    def _guidance(self, t: flow.Time) -> Tensor | None:
        """The guidance of each position at this time, or None where none acts."""
        if not self.is_guided:
            return None
        if not isinstance(t, Tensor):
            return self.guidance if t in self.guided else None
        if self.guided == flow.Interval(0.0, flow.NOISE_TIME):
            return self.guidance
        return torch.where((t >= self.guided.low) & (t <= self.guided.high), self.guidance, 1.0)

    # a block

    def _drop_rows(self, rows: list[int]) -> list[int]:
        """Leaves out sequences that have come to their end, so that nothing is computed for them; returns the rest."""
        if rows == self.rows or not rows:
            self.rows = rows
            return rows
        kept = torch.tensor([self.rows.index(row) for row in rows])
        for cache in (self.flow_cache, self.decoder_cache, self.encoder_cache):
            if cache is not None:
                cache.keep(kept)
        self.seen, self.context = self.seen[kept.to(self.device)], self.context[kept.to(self.device)]
        self.rows = rows
        return rows

    def _enter(self, block: int) -> None:
        """Everything about this block that does not change from step to step."""
        at = self._at(block)
        self._place(self.position, self.position + self.b)
        scale_index = torch.stack(
            [self.scale_index[row].view(-1, self.b)[own] for row, (_, own) in zip(self.rows, at, strict=True)]
        )
        self.one_scale = int(scale_index[0, 0]) if bool((scale_index == scale_index[0, 0]).all()) else None
        self.block_scales = scale_index.to(self.device)
        self.scale = self.scales.float().to(self.device)[self.block_scales]  # (rows, b)
        # a sequence without any history has nothing to be guided by
        guidance = [self.settings.guidance if len(plan.prefix) or own else 1.0 for plan, own in at]
        self.is_guided = any(g != 1.0 for g in guidance)
        self.guidance = torch.tensor(guidance, device=self.device)[:, None, None]
        self.active = torch.zeros(len(self.plans), dtype=torch.bool)
        self.active[self.rows] = True
        self.all_active = len(self.rows) == len(self.plans)
        self.row_index = torch.tensor(self.rows, device=self.device)

    def _at(self, block: int) -> list[tuple[Plan, int]]:
        """The plans of the rows, each with the number of its own block that this block of the run is."""
        return [(self.plans[row], block - self.joined[row]) for row in self.rows]

    def _keys(self, block: int) -> list[tuple[int, int, int]]:
        """What the randomness of each row depends on: its seed, the key of the sequence, the number of its block."""
        return [(self.own[row].seed, plan.sequence, plan.first_block + own)
                for row, (plan, own) in zip(self.rows, self._at(block), strict=True)]  # fmt: skip

    def _starting_state(self, block: int) -> Tensor:
        at = self._at(block)
        source = torch.stack([plan.source[own] for plan, own in at]).to(self.device)
        if self.invert:
            return source
        shape = (source.shape[1], source.shape[2])
        noise = [block_noise(*key, shape) if plan.noise is None else plan.noise[own]
                 for (plan, own), key in zip(at, self._keys(block), strict=True)]  # fmt: skip
        z = flow.interpolant(source, torch.stack(noise).to(self.device), self.scale * flow.NOISE_TIME)
        for row, (plan, own) in enumerate(at):
            if own == 0 and plan.state is not None:
                z[row] = plan.state.to(self.device)
        return z

    def _first_steps(self, block: int) -> list[int]:
        """The step of this block with which each row begins: not the first where it resumes in the middle of it."""
        return [plan.first_step if own == 0 else 0 for plan, own in self._at(block)]

    def _velocities(self, z: Tensor, t: flow.Time) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(guided) velocity, conditional, unconditional; the two are None where a single pass is enough."""
        guidance = self._guidance(t)
        if guidance is None:
            modulations = self._modulations(t, 1)
            hidden = self.dit.hidden(z, modulations, self.flow_rope, self.flow_cache)
            return self.dit.output(hidden, modulations), None, None
        modulations = self._modulations(t, 2)
        hidden = self.dit.hidden(torch.cat((z, z)), modulations, self.flow_rope_guided, attend_guided(self.flow_cache))
        conditional, unconditional = self.dit.output(hidden, modulations).chunk(2)
        return flow.guide(conditional, unconditional, guidance), conditional, unconditional

    def _transport(self, block: int) -> Generator[Step]:
        """Carries the block along the flow, one event a step. Leaves the result in self.z."""
        settings = self.settings
        self.z = self._starting_state(block)
        for index in range(min(self._first_steps(block)), settings.steps):
            z, scale = self.z, self.scale[..., None]
            t, t_next = self.grid[index], self.grid[index + 1]
            v, conditional, unconditional = self._velocities(z, t)
            start = self.scale * flow.NOISE_TIME
            times, times_next = (scale * t)[..., 0], (scale * t_next)[..., 0]
            yield Step(
                block, index, settings.steps, self._spread(start), self._spread(times), self._spread(times_next),
                self._spread(z), self._spread(v), self._spread(conditional), self._spread(unconditional),
                self.active, self._preview,
            )  # fmt: skip
            v = self.solver(lambda z, t: self._velocities(z, t)[0], z, v, t, t_next, scale)
            if settings.stochasticity:
                fresh = self._fresh_noise(block, index)
                z = flow.stochastic_step(z, v, times, times_next, settings.stochasticity, fresh)
            else:
                z = flow.advance(z, v, t, t_next, scale)
            later = [first > index for first in self._first_steps(block)]
            if any(later):  # these stand still until the step with which they begin
                z = torch.where(torch.tensor(later, device=self.device)[:, None, None], self.z, z)
            self.z = z
            if not self._between_steps(block):
                return

    def _between_steps(self, block: int) -> bool:
        """Are there rows that go on in the middle of this block? Always, but where sequences may leave."""
        return True

    def _fresh_noise(self, block: int, step: int) -> Tensor:
        shape = (self.z.shape[1], self.z.shape[2])
        return torch.stack([step_noise(*key, step, shape) for key in self._keys(block)]).to(self.device)

    @overload
    def _spread(self, x: Tensor) -> Tensor: ...

    @overload
    def _spread(self, x: None) -> None: ...

    def _spread(self, x: Tensor | None) -> Tensor | None:
        """Rows of this block -> rows of the whole batch."""
        if x is None or self.all_active:
            return x
        return x.new_zeros((len(self.plans), *x.shape[1:])).index_copy_(0, self.row_index, x)

    @torch.inference_mode()
    def _preview(self, clean: Tensor) -> Tensor:
        clean = clean if self.all_active else clean[self.row_index]
        return self._spread(self.vae.decode(clean, self.text_rope, self.decoder_cache))

    def _finish(self, block: int) -> BlockDone:
        """Decodes the block, chooses its tokens, and makes it history."""
        latents = self._starting_state(block) if self.invert else self.z
        logits = self.vae.decode(latents, self.text_rope, self.decoder_cache)
        ids = self._choose(block, logits)
        logprobs = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        for row, row_ids in zip(self.rows, ids.tolist(), strict=True):  # the one synchronisation of a block
            self._extend(row, block, row_ids)
        if any(own + 1 < plan.blocks for plan, own in self._at(block)):
            if self.encoder_cache is not None and not self.invert:
                latents = self._encode(ids)
            self._remember(latents)
        return BlockDone(block, self._spread(self.z), self._spread(ids), self._spread(logprobs), self._spread(logits),
                         list(self.texts), self.active)  # fmt: skip

    def _choose(self, block: int, logits: Tensor) -> Tensor:
        """Token ids (rows, b * patch_size); pinned positions keep their tokens."""
        alike: dict[tuple[float, int, float, int, float], list[int]] = {}  # the rows that choose in the same way
        for i, row in enumerate(self.rows):
            own = self.own[row]
            size = 0 if self.invert else own.no_repeat_ngram_size  # a text that is inverted is read, not written
            alike.setdefault((own.repetition_penalty, size, own.temperature, own.top_k, own.top_p), []).append(i)
        ids = torch.empty(logits.shape[:2], dtype=torch.long, device=self.device)
        keys = self._keys(block)
        pinned = torch.stack([plan.pinned_ids[own] for plan, own in self._at(block)]).to(self.device)
        written = slice(self.position * self.ps, (self.position + self.b) * self.ps)
        for (penalty, size, temperature, top_k, top_p), rows in alike.items():
            uniforms = None
            if temperature > 0:
                uniforms = torch.stack([token_uniforms(*keys[i], logits.shape[1]) for i in rows]).to(self.device)
            of_rows = penalised(logits[rows], self.seen[rows], penalty)
            if size:
                context, new = self.context[rows, : written.stop], self._from_noise(block, rows)
                ids[rows] = choose_unrepeated(of_rows, uniforms, temperature, top_k, top_p, context, size,
                                              self.sampler.words, pinned[rows], new)  # fmt: skip
            else:
                ids[rows] = choose(of_rows, uniforms, temperature, top_k, top_p)
        self.seen.scatter_(1, ids, True)
        ids = torch.where(pinned == NO_TOKEN, ids, pinned)
        self.context[:, written] = ids
        return ids

    def _from_noise(self, block: int, rows: list[int]) -> Tensor:
        """(rows, b * patch_size) bool: the tokens that are written from noise alone, and carry no given text."""
        at = self._at(block)
        new = torch.stack([at[i][0].start[at[i][1]] == flow.NOISE_TIME for i in rows])
        return new.repeat_interleave(self.ps, 1).to(self.device)

    def _extend(self, row: int, block: int, ids: list[int]) -> None:
        """Adds a block's tokens to a sequence's answer, up to an end token or its length."""
        plan, answer = self.plans[row], self.answers[row]
        for token in ids[plan.skip :] if block == self.joined[row] else ids:
            if self.own[row].stop_at_end and token in self.sampler.end_ids:
                self.reasons[row] = "end"
                break
            if len(answer) == plan.max_new_tokens:
                break
            answer.append(token)
        self.texts[row] = self.sampler.read(answer)
