"""A run: a batch of rows, block after block. Prefill, transport, decode.

The caches belong to the run: stop iterating (or close the generator) and they are freed. Positions are pinned by a
start time of 0, re-noised by one below 1000; `flow.py` does the arithmetic of a step.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, cast, overload

import torch
from torch import Tensor

from ..hardware.side_stream import held_here
from ..hardware.transfer import upload
from ..networks.dit import Modulations
from ..settings import SamplerSettings
from . import flow
from .events import BlockDone, Drafted, Event, Finished, Step
from .graph import GraphEngine, GraphSteps
from .history import History, compacted
from .noise_choice import fitness, times_of
from .randomness import step_noise, token_uniforms
from .rows import RowState
from .settling import Settling
from .tokens import NO_TOKEN, choose, choose_unrepeated, penalised
from .velocity import BlockVelocity

if TYPE_CHECKING:
    from .sampler import Sampler


class Run:
    """A batch of rows, block after block.

    batch: the rows of its events. rows: those of them that are still written, in the order of the caches. noises: that
    each block of a row is carried from, as so many drafts: each of them has a slot of its own in the caches, those of a
    row one after another, and once one is kept they are all the same again. behind: do its steps tell the two
    velocities behind a guided one?
    """

    def __init__(self, sampler: Sampler, rows: list[RowState], settings: SamplerSettings, invert: bool,
                 inverse_iterations: int, behind: bool = True):  # fmt: skip
        self.behind = behind
        self.sampler, self.settings, self.invert = sampler, settings, invert
        self.device = sampler.dit.device
        self.batch, self.rows = rows, list(rows)
        drawn = any(row.plan.noise is None for row in rows)
        self.noises = sampler.noises(settings, invert) if drawn else 1
        self.solver = flow.SOLVERS[settings.solver]
        if invert and inverse_iterations:
            self.solver = flow.inverse(self.solver, inverse_iterations)
        self.velocity = BlockVelocity(sampler.dit, settings, invert)
        self.settling: Settling | None = None
        self.engine: GraphEngine | None = None  # that this run has borrowed
        self.captured: GraphSteps | None = None  # the steps of this block, where they are replayed
        self.threads = sampler.threads  # finds out their number
        self.stands: tuple[int, int] | None = None  # at which step of which block
        self.can_be_captured = not (invert and inverse_iterations) and (invert or not settings.stop_when_settled)

    @torch.inference_mode()
    def events(self) -> Generator[Event | Drafted]:
        self.history = self._first_history()
        self.velocity.tabulate(self.rows)
        block = 0
        try:
            while self._between_blocks(block):
                self._enter(block)
                yield from self._transport(block)
                if not self.rows:  # all have left in the middle of the block
                    break
                yield self._finish(block)
                block, self.history.position = block + 1, self.history.position + self.history.block_size
        finally:
            self.history.settle()
            if self.engine is not None:
                self.engine.give_back(self)
        rows = self.batch
        yield Finished([row.reason for row in rows], [row.text for row in rows], [row.answer for row in rows])

    # rows

    @property
    def drafts(self) -> list[RowState]:
        """The rows, each as often as its block has drafts."""
        return [row for row in self.rows for _ in range(self.noises)]

    def _drafts_of(self, rows: Sequence[int]) -> list[int]:
        """The slots of these rows."""
        return [row * self.noises + draft for row in rows for draft in range(self.noises)]

    def _first_history(self) -> History:
        history = self.sampler.history(self.rows, self.settings, self.noises)
        history.prefill()
        return history

    def _between_blocks(self, block: int) -> bool:
        """Leaves out the rows that have ended; are there rows with this block to write?"""
        self._keep([i for i, row in enumerate(self.rows) if row.goes_on(block)])
        return bool(self.rows)

    def _between_steps(self, block: int) -> bool:
        """Are there rows that go on in the middle of this block? Always, but where sequences may leave."""
        return True

    def _keep(self, kept: list[int]) -> None:
        """Leaves out all rows but these, so that nothing is computed for them; as few as can be change their slot."""
        if kept and len(kept) < len(self.rows):
            kept = compacted(kept)
            self.history.keep(self._drafts_of(kept))
        self.rows = [self.rows[i] for i in kept]

    def _enter(self, block: int) -> None:
        """Everything about this block that does not change from step to step."""
        engine = self._engine()
        self.history.place()
        drafts = self.drafts
        self.velocity.enter(drafts, block, self.history)
        self.captured = None
        if engine is not None:
            engine.tabulate(self.velocity.table)
            self.captured = GraphSteps(engine, self.velocity, drafts, block)
        places = {row: i for i, row in enumerate(self.batch)}
        self.row_places = torch.tensor([places[row] for row in self.rows])
        self.active = torch.zeros(len(self.batch), dtype=torch.bool)
        self.active[self.row_places] = True
        self.all_active = len(self.rows) == len(self.batch)
        self.row_index = upload(self.row_places, self.device)
        self.draft_index = upload(torch.tensor(self._drafts_of(self.row_places.tolist())), self.device)

    def _engine(self) -> GraphEngine | None:
        """The engine of captured steps, with the histories of this run in its slots; None where the block is stepped
        eagerly: with a pull, a dial or a negative prompt, with an eye on settled words, or while another run has the
        engine.
        """
        graphs = self.sampler.graphs
        plans = [row.plan for row in self.rows]
        others = any(text is not None for plan in plans for text in (plan.pull, plan.dial, plan.negative))
        if graphs is None or not self.can_be_captured or others:
            return None
        engine = graphs.of_blocks(self.velocity.block_size)
        if not engine.lend(self):
            return None
        self.engine = engine
        self.history.flow_cache = engine.adopt(self.history.flow_cache, len(self.rows) * self.noises)
        return engine

    # a block

    def _starting_state(self, block: int) -> Tensor:
        source = upload(torch.stack([row.source(block) for row in self.drafts]), self.device)
        if self.invert:
            return source
        noise = upload(torch.cat([row.noises(block, self.noises) for row in self.rows]), self.device)
        z = flow.interpolant(source, noise, self.velocity.scale * flow.NOISE_TIME)
        for i, row in enumerate(self.drafts):
            state = row.state(block)
            if state is not None:
                z[i] = upload(state, self.device)
        return z

    def _transport(self, block: int) -> Generator[Step | Drafted]:
        """Carries the block along the flow, one event a step. Leaves the result in self.z.

        Of several drafts the steps of the one that is kept are told afterwards.
        """
        if self.noises == 1:
            yield from self._carry(block)
            return
        steps: list[Step] = []
        for step in self._carry(block):
            steps.append(step)
            yield Drafted()
        if self.rows:
            yield from self._keep_fittest(block, steps)

    def _keep_fittest(self, block: int, steps: Sequence[Step]) -> Generator[Step]:
        """Keeps one draft of each row, in the place of all of them, and tells its steps. steps: of all drafts of all
        rows of the batch.
        """
        kept = self._fittest(block)  # (rows,), on the CPU
        count = self.noises
        self.z = self.z[upload(torch.arange(len(kept)) * count + kept, self.device)].repeat_interleave(count, 0)
        of_batch = torch.zeros(len(self.batch), dtype=torch.long)
        of_batch[self.row_places] = kept
        places = torch.arange(len(of_batch)) * count + of_batch
        for step in steps:
            self.stands = block, step.index
            yield step.of_rows(places, functools.partial(self._preview_at, self.stands))
            if not self._between_steps(block):
                return

    @functools.cached_property
    def _times_of_choice(self) -> Modulations:
        return times_of(self.sampler.dit)

    def _fittest(self, block: int) -> Tensor:
        """Which draft of each row is kept, (rows,), on the CPU; the first of those that are equal."""
        pinned = upload(torch.stack([row.pinned_ids(block) for row in self.drafts]), self.device)
        given = pinned != NO_TOKEN
        ids = torch.where(given, pinned, self.history.decode(self.z).argmax(-1))
        fit = fitness(self.sampler.dit, self._times_of_choice, self.history, ids, given)
        return fit.view(len(self.rows), self.noises).argmax(1).cpu()

    def _carry(self, block: int) -> Generator[Step]:
        """Carries every draft of the block, one event a step, of all of them. Leaves the result in self.z."""
        drafts = self.drafts
        self.z = self._starting_state(block)
        patience = 0 if self.invert else self.settings.stop_when_settled
        self.settling = Settling(patience, self.velocity.scale > 0) if patience else None
        for index in range(min(row.first_step(block) for row in self.rows), self.settings.steps):
            t = self.velocity.grid[index]
            with self.threads.step(len(self.z)) if self.threads is not None else contextlib.nullcontext():
                z, v, conditional, unconditional, after = self._evaluate(index)
            times, times_next = self.velocity.times[index], self.velocity.times[index + 1]
            later = [row.first_step(block) > index for row in drafts]
            self.stands = block, index
            preview, settling, clean = functools.partial(self._preview_at, self.stands), self.settling, None
            if settling is not None and float(t.max()) < flow.NOISE_TIME:  # no position waits
                v, conditional, unconditional = (
                    settling.stilled(v), settling.stilled(conditional), settling.stilled(unconditional)
                )  # fmt: skip
                times, times_next = settling.stilled(times), settling.stilled(times_next)
                clean = flow.clean_estimate(z, v, times)
                logits = self.history.decode(clean)
                preview = functools.partial(self._already, logits)
                settling.look(logits.argmax(-1), upload(~torch.tensor(later), self.device))
            yield Step(
                block, index, self.settings.steps, self._spread(self.velocity.starts), self._spread(times),
                self._spread(times_next), self._spread(z), self._spread(v), self._spread(conditional),
                self._spread(unconditional), self.active, preview,
            )  # fmt: skip
            if settling is not None and clean is not None and settling.over:
                self.z = clean
                return
            z = self._step(block, index, v, times, times_next) if after is None else after
            if settling is not None and clean is not None:
                z = torch.where(settling.done[:, None, None], clean, z)
            if any(later):  # these stand still until the step with which they begin
                z = torch.where(upload(torch.tensor(later), self.device)[:, None, None], self.z, z)
            self.z = z
            if not self._between_steps(block):
                return
            drafts = self.drafts

    def _evaluate(self, index: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """The state before this step, the (guided) velocity there, the two behind it, and the state after the step
        where it is known with them.
        """
        if self.captured is not None:
            found = self.captured(self.z, index)
            if found is not None:
                return found
            self.captured = None
        self.velocity.step = index
        return self.z, *self.velocity(self.z, self.velocity.grid[index], self.behind), None

    def _step(self, block: int, index: int, v: Tensor, times: Tensor, times_next: Tensor) -> Tensor:
        """The state after this step. v: velocity at its start; times, times_next: of the positions, (rows, b)."""
        z, scale = self.z, self.velocity.scale[..., None]
        t, t_next = self.velocity.grid[index], self.velocity.grid[index + 1]

        def velocity(z: Tensor, t: flow.Time) -> Tensor:
            return self.velocity(z, cast(Tensor, t), behind=False)[0]  # t: as all times of the grid

        v = self.solver(velocity, z, v, t, t_next, scale)
        share = self.settings.stochasticity
        if not share:
            return flow.advance(z, v, t, t_next, scale)
        shape = (z.shape[1], z.shape[2])
        fresh = torch.stack([step_noise(*row.key(block), index, shape) for row in self.drafts])
        return flow.stochastic_step(z, v, times, times_next, share, upload(fresh, self.device))

    @overload
    def _spread(self, x: Tensor) -> Tensor: ...

    @overload
    def _spread(self, x: None) -> None: ...

    def _spread(self, x: Tensor | None) -> Tensor | None:
        """Drafts of this block -> drafts of the whole batch."""
        if x is None or self.all_active:
            return x
        return x.new_zeros((len(self.batch) * self.noises, *x.shape[1:])).index_copy_(0, self.draft_index, x)

    def _spread_rows(self, x: Tensor) -> Tensor:
        """Rows of this block -> rows of the whole batch."""
        if self.all_active:
            return x
        return x.new_zeros((len(self.batch), *x.shape[1:])).index_copy_(0, self.row_index, x)

    def _already(self, logits: Tensor, clean: Tensor) -> Tensor:
        """The preview of a clean estimate whose logits are known."""
        held_here(logits)
        return self._spread(logits)

    @torch.inference_mode()
    def _preview_at(self, step: tuple[int, int], clean: Tensor) -> Tensor:
        """Raises RuntimeError where the run has gone on from that step, and its caches with it."""
        if self.stands != step:
            block, index = step
            raise RuntimeError(
                f"the run has gone on from step {index} of block {block}: call preview() before the next event is taken"
            )
        clean = clean if self.all_active else clean[self.row_index]
        slots = None if self.noises == 1 else self._first_drafts
        return self._spread_rows(self.history.decode(clean, slots))

    @property
    def _first_drafts(self) -> range:
        """The slot of the first draft of each row: once one is kept, that of the row."""
        return range(0, len(self.rows) * self.noises, self.noises)

    @torch.inference_mode()
    def preview(self, step: Step, rows: Sequence[int]) -> Tensor:
        """These rows of `step.preview()`, the step being the one at which the run stands; of others nothing is read."""
        for x in (step.z, step.velocity, step.t):
            held_here(x)
        slots = dict(zip(self.rows, self._first_drafts, strict=True))
        written = [(place, slots[self.batch[row]]) for place, row in enumerate(rows) if self.batch[row] in slots]
        wanted = upload(torch.tensor(rows), self.device)
        if self.settling is not None or len(written) == len(self.rows):  # all are read already, or are to be read
            return step.preview()[wanted]
        places = upload(torch.tensor([place for place, _ in written]), self.device)
        logits = self.history.decode(step.clean[wanted[places]], [slot for _, slot in written])
        return logits.new_zeros((len(rows), *logits.shape[1:])).index_copy_(0, places, logits)

    def _finish(self, block: int) -> BlockDone:
        """Decodes the block, chooses its tokens, and makes it history."""
        self.stands = None
        latents = self._starting_state(block) if self.invert else self.z
        logits = self.history.decode(latents)
        self._draw_ahead(block + 1)
        ids = self._choose(block, logits)
        logprobs = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        of_rows = slice(None, None, self.noises)  # their drafts are all the same by now
        for row, row_ids in zip(self.rows, ids[of_rows].tolist(), strict=True):  # the one synchronisation of a block
            row.extend(block, row_ids, self.sampler.end_ids, self.sampler.read)
        if any(row.blocks_left(block) > 1 for row in self.rows):
            if self.history.encoder_cache is not None and not self.invert:
                self.history.remember_text(ids, latents)
            else:
                self.history.remember(latents)
        latents, ids, logprobs, logits = (self._spread_rows(x[of_rows]) for x in (self.z, ids, logprobs, logits))
        return BlockDone(block, latents, ids, logprobs, logits, [row.text for row in self.batch], self.active)

    def _draw_ahead(self, block: int) -> None:
        """The noise of the block to come. The host draws it, for which the device need not wait while it is busy."""
        replayed = self.captured is not None and self.settings.stochasticity > 0  # all of a block's noise at once
        for row in () if self.invert else self.rows:
            if row.blocks_left(block) > 0:
                row.draw_ahead(block, self.noises, self.settings.steps if replayed else 0)

    def _choose(self, block: int, logits: Tensor) -> Tensor:
        """Token ids (rows, b * patch_size); pinned positions keep their tokens."""
        alike: dict[tuple[float, int, float, int, float], list[int]] = {}  # the rows that choose in the same way
        drafts = self.drafts
        for i, row in enumerate(drafts):
            own = row.settings
            size = 0 if self.invert else own.no_repeat_ngram_size  # a text that is inverted is read, not written
            alike.setdefault((own.repetition_penalty, size, own.temperature, own.top_k, own.top_p), []).append(i)
        history, ps = self.history, self.history.patch_size
        ids = torch.empty(logits.shape[:2], dtype=torch.long, device=self.device)
        pinned = upload(torch.stack([row.pinned_ids(block) for row in drafts]), self.device)
        written = slice(history.position * ps, (history.position + history.block_size) * ps)
        for (penalty, size, temperature, top_k, top_p), group in alike.items():
            rows = [drafts[i] for i in group]
            of = slice(None) if len(alike) == 1 else upload(torch.tensor(group), self.device)
            uniforms = None
            if temperature > 0:
                uniforms = upload(token_uniforms([row.key(block) for row in rows], logits.shape[1]), self.device)
            group_logits = penalised(logits[of], history.seen[of], penalty)
            if size:
                new = torch.stack([row.from_noise(block) for row in rows]).repeat_interleave(ps, 1)
                new = upload(new, self.device)
                context = history.context[of, : written.stop]
                ids[of] = choose_unrepeated(group_logits, uniforms, temperature, top_k, top_p, context, size,
                                            self.sampler.words, pinned[of], new)  # fmt: skip
            else:
                ids[of] = choose(group_logits, uniforms, temperature, top_k, top_p)
        history.seen.scatter_(1, ids, True)
        ids = torch.where(pinned == NO_TOKEN, ids, pinned)
        history.context[:, written] = ids
        return ids
