"""Run and Stop, and what they do: the same for every tab that runs the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from ..components import ProgressLine
from ..runs.access import visitor_of
from .event_options import EventOptions


class RunControls:
    """The two buttons, built where it is made; `connect` says what they run."""

    def __init__(self, bench: str, run_label: str = "Run") -> None:
        """bench: the id of the element of class `workbench` that holds the buttons and what they change."""
        self.bench = bench
        with gr.Row(elem_classes="run-controls"):
            self.run = gr.Button(run_label, variant="primary", elem_classes="run", min_width=80)
            self.stop = gr.Button("Stop", elem_classes="stop", min_width=80)

    def connect(
        self, view: str, controls: Mapping[str, gr.components.Component], also: Sequence[Callable[..., Any]] = ()
    ) -> None:
        """Runs a view with the values of the controls, by their names, on Run and on the events in `also`."""
        connect_view(self.bench, [self.run.click, *also], self.stop, view, controls)


def visitor_of_run(request: gr.Request, kept: Mapping[str, Any] | None) -> str:
    """Whose run a RunResult names: the visitor whose event it came with."""
    return visitor_of(request.headers, str((kept or {}).get("run", "")))


def connect_view(
    bench: str,
    triggers: Sequence[Callable[..., Any]],
    stop: gr.Button | None,
    view: str,
    controls: Mapping[str, gr.components.Component],
) -> None:
    """Starts a run of a view on the events in `triggers`, and stops it on a click on `stop`, if there is one: see
    runs/run_client.js.

    bench: the id of the element of class `workbench` or `beside` whose components show the parts of its frames.
    controls: the components whose values the view gets, by name; "settings.seed" is a name inside of "settings".
    """
    start = _run_js(bench, view, controls)
    end = f"() => {{ runs.stop({json.dumps(bench)}); return []; }}"
    quick: EventOptions = {"queue": False, "trigger_mode": "multiple", "api_visibility": "private"}
    # gradio takes a moment to gather values: Stop waits for the same ones, so that it cannot overtake Run
    inputs = list(controls.values())
    gr.on(triggers, None, inputs, None, js=start, **quick)
    if stop is not None:
        stop.click(None, inputs, None, js=end, **quick)


def run_after(
    listener: Any, line: ProgressLine, bench: str, view: str, controls: Mapping[str, gr.components.Component]
) -> None:  # fmt: skip
    """Runs a view with the values that the controls have after a listener, see `connect_view`; not where the listener
    has let `line` say what is wrong.
    """
    js = f"(line, ...values) => line?.state === 'error' ? [] : ({_run_js(bench, view, controls)})(...values)"
    listener.success(None, [line, *controls.values()], None, js=js, queue=False, api_visibility="private")


def _run_js(bench: str, view: str, controls: Mapping[str, gr.components.Component]) -> str:
    named = ", ".join(map(json.dumps, (bench, view, list(controls))))
    return f"(...values) => {{ runs.run({named}, values); return []; }}"
