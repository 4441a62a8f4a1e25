"""What it costs a run to be shown: the server's time for its frames, as a share of all that the run takes.

    python -m benchmarks.frames [--runs 4]

Runs the tab Generate of the bundled model with its own settings, 128 tokens, and follows it as a browser's stream does,
but without a browser. Times are of processors: of the thread that makes the frames, less what it records for looking
back; of the event loop, which makes patches and JSON; of the whole process. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import torch

from app.page import build_page
from app.runs.registry import Frame, Registry, RunContext, View
from app.runs.routes import _event
from app.shared.resident import Resident
from app.shared.settings_panel import SETTINGS, values_of
from coladlm import ColaDLM, SamplerSettings
from coladlm.trace.recorder import TraceRecorder

MOST_SHARE = 0.1
PROMPT = "Once upon a time"


class Clock:
    """Adds up the processor seconds of a thread that it is told to measure."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        begun = time.thread_time()
        try:
            return function(*given)
        finally:
            self.seconds += time.thread_time() - begun


def timed(view: View, clock: Clock) -> View:
    """The same view, with the time that its thread spends in it."""

    def frames(context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
        running, end = iter(view(context, controls)), object()
        while (frame := clock.call(next, running, end)) is not end:
            yield frame

    return frames


async def follow(registry: Registry, run_id: str, settings: SamplerSettings) -> float:
    """Runs and follows; the processor seconds of the event loop."""
    names = ["seed", *(setting.name for setting in SETTINGS)]
    controls = {"prompt": PROMPT, "variations": 1, "settings": dict(zip(names, values_of(settings), strict=True))}
    begun = time.thread_time()
    run, _ = registry.start("visitor", run_id, "generate", controls)
    async for update in registry.follow(run):
        _event(update)
    assert run.state == "done", run.message
    return time.thread_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, registry, shares = ColaDLM.from_pretrained(device="cpu"), Registry(), []
    build_page(Resident(model), registry=registry)
    view, add = registry.views["generate"], TraceRecorder.add
    print("| wall, s | process, s | frames | stream | recording |\n|---|---|---|---|---|")
    for number in range(options.runs + 1):
        making, recording = Clock(), Clock()
        registry.views["generate"] = timed(view, making)
        TraceRecorder.add = lambda *given, recording=recording: recording.call(add, *given)
        settings = dataclasses.replace(model.defaults, max_new_tokens=128, seed=number, stop_at_end=False)
        wall, process = time.perf_counter(), time.process_time()
        stream = asyncio.run(follow(registry, f"run-number-{number:04d}", settings))
        wall, process = time.perf_counter() - wall, time.process_time() - process
        if number == 0:
            continue  # the first run of a model that has just been loaded is slower
        parts = [(making.seconds - recording.seconds) / process, stream / process, recording.seconds / process]
        shares.append(parts[0] + parts[1])
        print(f"| {wall:.1f} | {process:.1f} | " + " | ".join(f"{part:.1%}" for part in parts) + " |", flush=True)
    share = statistics.median(shares)
    print(
        f"{'holds' if share <= MOST_SHARE else 'FAILS'}: frames and stream take {share:.1%}, at most {MOST_SHARE:.0%}"
    )


if __name__ == "__main__":
    main()
