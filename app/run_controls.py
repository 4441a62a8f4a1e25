"""Run and Stop, and how they work with the queue: the same for every tab that runs the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from .components import ProgressLine, ShareLink, TokenStrip
from .components.progress_line import progress_value
from .model_turn import MODEL_TURN

WAITING = progress_value("waiting", message="Waiting for a turn: the model writes for one visitor at a time.", run="-")
REFUSED = progress_value(
    "error", message="No turn was to be had: the queue is full, or the connection was lost. Try again in a moment."
)

WAITING_JS = f"() => ({json.dumps(WAITING)})"
REFUSED_JS = f"() => ({json.dumps(REFUSED)})"
# Works on what the browser shows, so that it answers at once; `cancels` ends the run between two of its frames.
STOP_JS = """(strip, progress) => {
  if (progress.state !== 'running' && progress.state !== 'waiting') return [strip, progress];
  const all = progress.tokens + progress.forming;
  let message = 'Stopped after ' + all + (all === 1 ? ' token.' : ' tokens.');
  if (progress.forming) message = message.slice(0, -1) + ', the last ' + progress.forming + ' of them still forming.';
  if (progress.state === 'waiting') message = 'Stopped before it began.';
  const shown = strip.state === 'running' ? {...strip, state: 'stopped'} : strip;
  return [shown, {...progress, state: 'stopped', parts: [], message}];
}"""


class RunControls:
    """The two buttons, built where it is made; `wire` says what they run."""

    def __init__(self, run_label: str = "Run") -> None:
        with gr.Row(elem_classes="run-controls"):
            self.run = gr.Button(run_label, variant="primary", elem_classes="run", min_width=80)
            self.stop = gr.Button("Stop", elem_classes="stop", min_width=80)

    def wire(
        self,
        handler: Callable[..., Any],
        inputs: Sequence[gr.components.Component],
        strip: TokenStrip,
        progress: ProgressLine,
        link: ShareLink,
        also: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """Runs `handler`, a generator of values for (strip, progress, link), on Run and on the events in `also`."""
        triggers = [self.run.click, *also]
        gr.on(triggers, None, None, progress, js=WAITING_JS, api_visibility="private")
        running = gr.on(
            triggers,
            handler,
            list(inputs),
            [strip, progress, link],
            show_progress="hidden",
            trigger_mode="once",
            api_visibility="private",
            **MODEL_TURN,
        )
        running.failure(None, None, progress, js=REFUSED_JS, api_visibility="private")
        self.stop.click(
            None, [strip, progress], [strip, progress], js=STOP_JS, cancels=[running], api_visibility="private"
        )
