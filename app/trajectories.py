"""The tab Trajectories: the paths of a run from noise to word, played together with its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from .cloud import CloudHolder
from .components import ProgressLine, QueuedProgressLine, ShareLink
from .components.curves import Curves
from .components.flow_map import FlowMap
from .components.heat_map import HeatMap
from .components.point_card import PointCard
from .components.progress_line import progress_value
from .components.saver import Saver
from .desk import restore as restore_generate
from .explorer import NOTHING_YET, Explorer, Shown, wrong
from .generate import EXAMPLES
from .model_turn import EVERY, IN_TURNS
from .operation_controls import fold_button, sliders
from .resident import Resident
from .run_controls import RunControls
from .send import Restore, Ways
from .settings_panel import SettingsPanel
from .trace_store import Run, TraceStore

NAME = "trajectories"
TRACES = Path(__file__).resolve().parents[1] / "assets" / "traces"
QUICK = {"show_progress": "hidden", "api_visibility": "private"}
FILES = (
    ("html", "Page (HTML)", "The map and the heat map in one file that plays without a server or a network"),
    ("npz", "Trace (npz)", "The last run on the map: opens again here, and in a notebook with numpy"),
    ("csv", "Measures (CSV)", "A row for every state: word, confidence, speed, curvature, ..."),
)
RESUME, BRANCH = "Resume from here", "Branch from here"
WHAT_IT_SHOWS = (
    "Every place of a text starts as noise and flows to a latent that the decoder reads as a word; a path is pale and "
    "its word grainy until the word has settled. The grey dots are latents of known words. The map flattens "
    "{channels} dimensions to two or three: what lies together on it may still be far apart."
)


def build(resident: Resident, page: gr.Blocks) -> Ways:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    model, store = resident.first, TraceStore(TRACES)
    explorers = resident.each(lambda model: Explorer(model, CloudHolder(model), store, resident.scheduler))
    explorer = explorers()
    laid_out_with = explorer.built_with

    def now() -> Explorer:
        """The explorer of the model that is resident now; it knows what the page brings to every visitor."""
        present = explorers()
        present.built_with = laid_out_with
        return present

    with gr.Row(elem_classes="workbench", elem_id=NAME):
        with gr.Column(elem_classes="controls"):
            with gr.Group(elem_classes="ask"):
                prompt = gr.Textbox(
                    EXAMPLES[0],
                    label="Prompt",
                    info="The run on the map goes on from here. Shift + Enter runs.",
                    lines=3,
                    max_lines=10,
                    elem_classes="prompt-box",
                    html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                )
            controls = RunControls(NAME)
            add = gr.Checkbox(False, label="Keep what is on the map, to compare", elem_classes="setting")
            recorded = explorer.recorded()
            chosen = gr.CheckboxGroup(recorded, label="On the map", visible=bool(recorded), elem_classes="setting")
            fold_button(NAME)
            with gr.Column(elem_classes="setting-list"):
                with gr.Accordion("Open a trace", open=False, elem_classes="more"):
                    file = gr.File(label="Trace (.npz)", file_types=[".npz"], height=120)
                with gr.Accordion("Sampler", open=False, elem_classes="more"):
                    panel = SettingsPanel(model.defaults)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="over"):
                progress = QueuedProgressLine(elem_classes="progress")
                link = ShareLink(elem_classes="link")
            charts = explorer.cloud.charts
            flow = FlowMap(NAME, charts.text if charts else "", NOTHING_YET, "Run one", elem_id="flow")
            gr.HTML(f"<p class='about'>{WHAT_IT_SHOWS.format(channels=model.latent_dim)}</p>", js_on_load=None)
            fitted = None if explorer.cloud.complete else ProgressLine(elem_classes="fitting")
            card = PointCard(elem_id="point")
            with gr.Column(visible=False, elem_classes="branch", elem_id="branch") as branching:
                noise = gr.Radio(
                    [("the same noise", "same"), ("other noise", "other")],
                    value="same",
                    label="Go on from here with",
                    info="With the same noise, guidance and steps the run is resumed and ends as it did. With any of "
                    "them changed it is a branch, and only what was before this point stays the same.",
                )
                with gr.Row():
                    seed = gr.Number(1, label="Seed of the other noise", min_width=140, visible=False)
                    guidance, steps = sliders(
                        ("Guidance", "", (0, 20, 0.1), model.defaults.guidance, ""),
                        ("Steps a block", "", (1, 128, 1), model.defaults.steps, ""),
                    )
                branch = gr.Button(RESUME, elem_id="branch-run")
            HeatMap(NAME, elem_id="heat")
            curves = Curves(NAME, elem_id="curves")
            saver = Saver("Save", FILES, elem_id="save")
    point = gr.State(None)
    outputs = [flow, progress, link, chosen, curves]

    def on_run(request: gr.Request, prompt: str, add: bool, ids: list[str], *values: Any) -> Iterator[Shown]:
        yield from now().run(request.session_hash, prompt, add, ids, *values)

    def on_branch(request: gr.Request, *values: Any) -> Iterator[Shown]:
        yield from now().branch(request.session_hash, *values)

    def on_chosen(ids: list[str], request: gr.Request) -> Shown:
        return now().show(request.session_hash, ids)

    def on_opened(request: gr.Request) -> Shown:
        return now().first(request.session_hash)

    def on_stop(ids: list[str], request: gr.Request) -> Any:
        return now().stopped(request.session_hash, ids)

    def on_file(file: str | None, ids: list[str], request: gr.Request) -> list[Any]:
        return [*now().upload(request.session_hash, file, ids), None]

    def on_select(event: gr.EventData, request: gr.Request) -> list[Any]:
        try:
            value, found = now().open(request.session_hash, event.run, event.block, event.step, event.place)
        except ValueError as error:
            return [gr.skip(), None, gr.Column(visible=False), gr.skip(), gr.skip(), wrong(error).progress]
        run = found and store.get(request.session_hash, found["run"])
        if run is None:
            return [value, None, gr.Column(visible=False), gr.skip(), gr.skip(), gr.skip()]
        settings = run.trace.recipe.settings
        before_end = found["step"] < settings.steps
        return [value, found, gr.Column(visible=before_end), settings.guidance, settings.steps, gr.skip()]

    def on_changed(point: dict | None, noise: str, guidance: Any, steps: Any, request: gr.Request) -> list[Any]:
        same = now().resumes(request.session_hash, point, noise, guidance, steps)
        return [RESUME if same else BRANCH, gr.Number(visible=noise == "other")]

    def on_save(event: gr.EventData, ids: list[str], request: gr.Request) -> Any:
        return now().save(request.session_hash, event.kind, ids)

    def on_fit(ids: list[str], request: gr.Request) -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip()]  # gradio empties what a generator that yields nothing is to change
        yield from fit_in_background(now(), request.session_hash, ids)

    def on_leave(request: gr.Request) -> None:
        store.forget(request.session_hash)

    controls.wire(on_run, [prompt, add, chosen, *panel.inputs], flow, progress, link,
                  also=[prompt.submit, flow.submit], more=[chosen, curves])  # fmt: skip
    branched = branch.click(
        on_branch, [point, noise, seed, guidance, steps, chosen], outputs, trigger_mode="once", **QUICK, **IN_TURNS
    )
    controls.stop.click(None, None, None, cancels=[branched], api_visibility="private").then(
        on_stop, chosen, chosen, **QUICK
    )
    gr.on([noise.change, guidance.change, steps.change], on_changed, [point, noise, guidance, steps], [branch, seed],
          queue=False, **QUICK)  # fmt: skip
    flow.input(on_opened, None, outputs, queue=False, **QUICK)
    chosen.input(on_chosen, chosen, outputs, queue=False, trigger_mode="always_last", **QUICK)
    file.upload(on_file, [file, chosen], [*outputs, file], **QUICK)
    flow.select(on_select, None, [card, point, branching, guidance, steps, progress], **EVERY, **QUICK, **IN_TURNS)
    saver.select(on_save, chosen, saver, **QUICK)
    if fitted is not None:
        chosen.change(on_fit, chosen, [flow, fitted], concurrency_limit=1, **QUICK)
    page.unload(on_leave)

    def take_run(visitor: str, run: Run, block: int, token: int) -> list[Any]:
        present = now()
        added = present.take(visitor, run)
        place = token // present.model.patch_size
        card_value, found = present.open(visitor, added.id, block, run.trace.recipe.settings.steps, place)
        shown = present.show(visitor, [added.id])
        choices = present.choices(visitor, [added.id])
        return [*shown._replace(choices=choices), card_value, found, gr.Column(visible=False)]

    def restore(query: Mapping[str, str]) -> list[Any]:
        values = restore_generate(resident.model, query)
        return [values[0], *values[2:]]  # one text a run here: no variations

    return Ways(
        take=lambda text: [text],
        outputs=[prompt],
        take_run=take_run,
        run_outputs=[*outputs, card, point, branching],
        restore=Restore("generate", restore, [prompt, *panel.inputs, progress]),
    )


def fit_in_background(explorer: Explorer, visitor: str, ids: list[str]) -> Iterator[list[Any]]:
    """Fits the UMAPs of a model that has none yet; values of the map and of a progress line of its own."""
    if explorer.cloud.charts is None or explorer.cloud.complete:
        return
    for share, message in explorer.cloud.fit():
        said = progress_value("idle", message=f"In the background, {share:.0%}: {message}")
        yield [gr.skip(), said]
    yield [explorer.show(visitor, ids).flow, progress_value("idle")]
