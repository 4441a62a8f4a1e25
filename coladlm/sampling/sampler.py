"""The sampler: plans in, events out, for a batch of sequences. What a run does is in `block_run.py`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence

from torch import Tensor

from ..errors import describe
from ..hardware.threads import CallersThreads, ThreadTuner
from ..networks.dit import BlockCausalDiT
from ..networks.text_vae import TextVAE
from ..settings import TOKEN_SETTINGS, SamplerSettings, SettingsError
from .block_run import Run
from .events import Drafted, Event
from .graph import GraphEngine
from .history import History
from .plan import Plan, PlanError, check_plans
from .rows import RowState
from .tokens import word_starts


class Sampler:
    """Runs plans on a VAE and a DiT. `read` turns token ids into text; end_ids are the tokens that end a text."""

    def __init__(self, vae: TextVAE, dit: BlockCausalDiT, read: Callable[[list[int]], str],
                 end_ids: Sequence[int], pad_id: int):  # fmt: skip
        self.vae, self.dit, self.read, self.end_ids, self.pad_id = vae, dit, read, frozenset(end_ids), pad_id
        self.graphs: GraphEngine | None = None  # where steps are captured and replayed
        self.threads: ThreadTuner | None = None  # of a program that has left torch's threads to it

    @functools.cached_property
    def callers_threads(self) -> CallersThreads:
        return CallersThreads(sum(x.numel() for network in (self.vae, self.dit) for x in network.parameters()))

    @functools.cached_property
    def words(self) -> Tensor:
        """(vocab_size,) bool: the tokens that begin a word."""
        return word_starts(self.read, self.vae.config.vocab_size).to(self.dit.device)

    def run(self, plans: Sequence[Plan], settings: SamplerSettings, invert: bool = False,
            inverse_iterations: int = 0, behind: bool = True) -> Generator[Event]:  # fmt: skip
        """Runs a batch of plans. Raises PlanError, SettingsError at once, not with the first event.

        With `invert` the flow runs from t = 0 to 1000, starting at each plan's `source`: `BlockDone.latents` is the
        noise reached, and the text's own latents are the history of later blocks. `inverse_iterations` > 0 makes each
        step the inverse of the sampler's own step by fixed-point iteration. Without `behind` steps need not tell the
        two velocities behind a guided one, which takes time where guidance acts on logits.
        """
        if not isinstance(inverse_iterations, int) or inverse_iterations < 0:
            raise PlanError(f"inverse_iterations is {inverse_iterations!r}, expected a whole number from 0 on")
        run = Run(self, self.rows(plans, settings, invert), settings, invert, inverse_iterations, behind)
        return self._events(run)

    def _events(self, run: Run) -> Generator[Event]:
        """The events of a run by itself, for whoever need not be asked between the steps of drafts."""
        borrows = self.threads is None
        with contextlib.closing(run.events()) as events:
            while True:
                with self.callers_threads.borrowed(run.device) if borrows else contextlib.nullcontext() as threads:
                    run.threads = threads or self.threads
                    event = next(events, None)
                if event is None:
                    return
                if not isinstance(event, Drafted):
                    yield event

    def rows(self, plans: Sequence[Plan], settings: SamplerSettings, invert: bool) -> list[RowState]:
        """The rows of a run of these plans, before their first block. Raises PlanError, SettingsError."""
        if isinstance(plans, Plan):
            raise PlanError("plans is a Plan, expected a list of them")
        plans = list(plans)
        check_plans(plans, self.vae.config, settings, invert)
        for name, off in TOKEN_SETTINGS.items() if not self.dit.config.token_output else ():
            if (value := getattr(settings, name)) != off:
                wanted = f"expected {describe(off)}: the output layer of this model names no tokens"
                raise SettingsError(f"{name} is {describe(value)}, {wanted}")
        if self.noises(settings, invert) > 1 and (tokens := self.vae.config.patch_size) > 1:
            wanted = f"expected 1: a latent of this model stands for {tokens} tokens, none of which can be judged alone"
            raise SettingsError(f"noises is {settings.noises}, {wanted}")
        return [RowState(plan, plan.settings or settings) for plan in plans]

    def noises(self, settings: SamplerSettings, invert: bool) -> int:
        """How many noises each block of a run is carried from."""
        return 1 if invert else settings.noises_of(settings.block_of(self.dit.config.block_size))

    def history(self, rows: Sequence[RowState], settings: SamplerSettings, noises: int = 1) -> History:
        """What stands before the first block of these rows, once its prefill has been made. noises: so many times each,
        one after another.
        """
        plans = [row.plan for row in rows for _ in range(noises)]
        block_size = settings.block_of(self.dit.config.block_size)
        return History(self.vae, self.dit, plans, settings.history == "reencoded", self.pad_id, block_size)
