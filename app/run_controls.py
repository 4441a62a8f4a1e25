"""Run and Stop, and how they work with the queue: the same for every tab that runs the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from .components import ProgressLine, ShareLink
from .model_turn import IN_TURNS


class RunControls:
    """The two buttons, built where it is made; `wire` says what they run."""

    def __init__(self, bench: str, run_label: str = "Run") -> None:
        """bench: the id of the element of class `workbench` that holds the buttons and what they change."""
        self.bench = bench
        with gr.Row(elem_classes="run-controls"):
            self.run = gr.Button(run_label, variant="primary", elem_classes="run", min_width=80)
            self.stop = gr.Button("Stop", elem_classes="stop", min_width=80)

    def wire(
        self,
        handler: Callable[..., Any],
        inputs: Sequence[gr.components.Component],
        strip: gr.components.Component,
        progress: ProgressLine,
        link: ShareLink,
        also: Sequence[Callable[..., Any]] = (),
        more: Sequence[gr.components.Component] = (),
    ) -> None:
        """Runs `handler`, a generator of values for (strip, progress, link, *more), on Run and on the events in `also`.

        strip: shows a value with `run` and `state`, such as a TokenStrip.
        """
        connect_run(self.bench, [self.run.click, *also], self.stop, handler, inputs, [strip, progress, link, *more])


def connect_run(
    bench: str,
    triggers: Sequence[Callable[..., Any]],
    stop: gr.Button,
    handler: Callable[..., Any],
    inputs: Sequence[gr.components.Component],
    outputs: Sequence[gr.components.Component],
) -> None:
    """Runs `handler`, a generator of values for `outputs`, on the events in `triggers`, until its end or a click on
    `stop`. The ProgressLine in the element with the id `bench` is told what becomes of it.
    """
    gr.on(triggers, None, None, None, js=_tell(bench, "asked"), api_visibility="private")
    running = gr.on(
        triggers,
        handler,
        list(inputs),
        list(outputs),
        show_progress="hidden",
        trigger_mode="once",
        api_visibility="private",
        **IN_TURNS,
    )
    running.failure(None, None, None, js=_tell(bench, "refused"), api_visibility="private")
    running.then(None, None, None, js=_tell(bench, "ended"), api_visibility="private")
    stop.click(None, None, None, cancels=[running], api_visibility="private")


def _tell(bench: str, event: str) -> str:
    """JavaScript that tells the components in the element with the id `bench` what has happened."""
    return f"() => {{ document.getElementById('{bench}').dispatchEvent(new CustomEvent('{event}')); return []; }}"
