"""A run as the flow map shows it while it goes on: events in, values for a FlowMap and a ProgressLine out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from coladlm.sampling.events import BlockDone, Step
from coladlm.serve import Waiting
from coladlm.trace.recorder import TraceRecorder

from ..components.flow_map import flow_value
from ..components.progress_line import RunState, progress_value
from ..shared.waiting import waiting_frame, waiting_parts
from .records import RunWriter

FRAME_SECONDS = 0.1


class FlowFrame(NamedTuple):
    """The values of a FlowMap and a ProgressLine."""

    flow: dict[str, Any]
    progress: dict[str, Any]


class _Watches(Protocol):
    def watch(self, events: Iterable[Any]) -> Generator[Any]: ...


class LiveFlow:
    """Follows the first sequence of a run and grows its lines.

    before: lines of other runs on the map, and those of a branch from before it left. first_block: where a branch
    left. blocks: how many the run will have.
    """

    def __init__(
        self, writer: RunWriter, steps: int, blocks: int, before: str = "", first_block: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self.began = time.time()
        self.writer, self.steps, self.blocks, self.first_block = writer, steps, blocks, first_block
        self.lines, self.clock, self.started = before, clock, clock()
        self.tokens = self.forming = self.states = 0

    def frames(self, events: Iterable[Any], watcher: _Watches, recorder: TraceRecorder) -> Generator[FlowFrame]:
        """Frames of a run whose events `watcher` records into `recorder`. Closing this generator ends the run."""
        yield (latest := self._frame("running", ["starting"], 0.0))
        shown = self.clock()
        watched = watcher.watch(events)
        try:
            for event in watched:
                if isinstance(event, Waiting):  # a frame all the same: a visitor who left is noticed at one
                    yield waiting_frame(self._frame("running", waiting_parts(event), 0.0)) if event.ahead else latest
                    continue
                parts = self._take(event, recorder)
                if parts is None or (isinstance(event, Step) and self.clock() - shown < FRAME_SECONDS):
                    continue
                yield (latest := self._frame("running", *parts))
                shown = self.clock()
        finally:
            watched.close()

    def done(self) -> FlowFrame:
        """The last frame of a run that came to its end."""
        return self._frame("done", [self._seconds(), "play it again with the button below the text"], 1.0)

    def _take(self, event: object, recorder: TraceRecorder) -> tuple[list[str], float] | None:
        if isinstance(event, Step):
            block, z, clean = event.block, event.z[0].float().cpu().numpy(), event.clean[0].float().cpu().numpy()
            read = recorder.read()
            words = {"ids": read.ids[0].cpu(), "confidence": read.confidence[0].cpu(), "margin": read.margin[0].cpu()}
            noise = event.t[0].cpu().numpy() / 10
            self.forming = int((event.start[0] > 0).sum()) * self.writer.model.patch_size
            self._add(self.writer.state(self.first_block + block, event.index, self.steps, noise, z, clean, **words))
            return self._parts(block, event.index, event.noise[0].item())
        if isinstance(event, BlockDone):
            ids, sure = event.token_ids[0].cpu(), event.logprobs[0].exp().cpu()
            latents = event.latents[0].float().cpu().numpy()
            self.tokens, self.forming = self.tokens + self.forming, 0
            block, still = self.first_block + event.block, np.zeros(len(latents))
            self._add(self.writer.state(block, self.steps, self.steps, still, latents, ids=ids, confidence=sure))
            return self._parts(event.block, self.steps, 0.0)
        return None

    def _add(self, line: str) -> None:
        self.lines += line
        self.states += 1

    def _parts(self, block: int, step: int, noise: float) -> tuple[list[str], float]:
        block += self.first_block
        parts = [
            f"block {block + 1} of {self.blocks}",
            f"step {min(step + 1, self.steps)} of {self.steps}",
            f"noise {noise:.0f} %",
            self._seconds(),
        ]
        return parts, min(1.0, (block + step / self.steps) / self.blocks)

    def _seconds(self) -> str:
        return f"{self.clock() - self.started:.1f} s"

    def _frame(self, state: RunState, parts: list[str], fraction: float) -> FlowFrame:
        run = self.writer.run
        message = "Writing" if state == "running" else "Done."
        flow = flow_value(state, self.lines, run=run, began=self.began)
        return FlowFrame(flow, progress_value(state, parts, fraction, message, run, self.tokens, self.forming))
