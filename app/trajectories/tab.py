"""The tab Trajectories: the paths of a run from noise to word, played together with its text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.steered import OPTION as STEERED

from ..components import ProgressLine, RunResult, ShareLink
from ..components.curves import Curves
from ..components.flow_map import FlowMap
from ..components.heat_map import HeatMap
from ..components.point_card import PointCard
from ..components.progress_line import progress_value
from ..components.saver import Saver
from ..components.setting_chips import SettingChips
from ..components.share_card import ShareCard
from ..runs.access import visitor_of
from ..shared.event_options import EVERY, UNLIMITED, EventOptions
from ..shared.generation import EXAMPLES, with_seed_of
from ..shared.generation import restore as restore_generate
from ..shared.links import recipe_from
from ..shared.operation_controls import sliders
from ..shared.resident import Resident
from ..shared.run_controls import RunControls, connect_view, visitor_of_run
from ..shared.saving import file_or_reason
from ..shared.settings_panel import SettingSlider, SettingsPanel, values_of
from ..shared.tab_links import Restore, TabLinks
from ..shared.trace_store import TRACES, Run, TraceStore
from .handlers import NOTHING_YET, Explorer, Shown, wrong
from .views import branch_on_map, run_on_map

NAME, BRANCH_BENCH = "trajectories", "branch"
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}
FILES = (
    ("html", "Page (HTML)", "The map and the heat map in one file that plays without a server or a network"),
    ("npz", "Trace (npz)", "The last run on the map: opens again here, and in a notebook with numpy"),
    ("csv", "Measures (CSV)", "A row for every state: word, confidence, speed, curvature, ..."),
)
NO_OPTIONS = "Another text has a say in it there, which this tab leaves out: Generate has it."
CHIPS = (  # settings that have a button of their own: name, words before and after the value
    ("seed", "seed ", ""),
    ("max_new_tokens", "", " tokens"),
    ("guidance", "guidance ", ""),
    ("steps", "", " steps a block"),
    ("stagger", "stagger ", ""),
)
RESUME, BRANCH, AT_END = "Resume from here", "Branch from here", "Choose an earlier step first"
LOADING = "A recorded run is on its way. Or press Run for one of your own."
WHAT_IT_SHOWS = (
    "Every place of a text starts as noise and flows to a latent that the decoder reads as a word: the path of a "
    "single run goes from grey noise through blue to the amber of a word, and its dot has an amber edge once the "
    "word has settled. Runs that are compared have a colour each, pale until a word has settled. The grey dots are "
    "latents of known words. The map flattens "
    "{channels} dimensions to two or three: what lies together on it may still be far apart."
)


@dataclasses.dataclass(frozen=True)
class _Controls:
    """What a run is made of, below the stage."""

    prompt: gr.Textbox
    buttons: RunControls
    add: gr.Checkbox
    chosen: gr.CheckboxGroup
    file: gr.File
    panel: SettingsPanel


@dataclasses.dataclass(frozen=True)
class _Branch:
    """What a branch from the opened point is made of: a workbench of its own."""

    noise: gr.Radio
    seed: gr.Number
    guidance: SettingSlider
    steps: SettingSlider
    run: gr.Button
    stop: gr.Button
    kept: RunResult


@dataclasses.dataclass(frozen=True)
class _Results:
    """What shows the runs. fitted: how far UMAPs are, where the model has none yet."""

    progress: ProgressLine
    flow: FlowMap
    fitted: ProgressLine | None
    card: PointCard
    branch: _Branch
    curves: Curves
    saver: Saver
    kept: RunResult


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave it and come in."""
    store = TraceStore(TRACES)
    laid_out_with = resident.clouds().charts

    def make(model: ColaDLM) -> Explorer:
        explorer = Explorer(model, resident.clouds(), store, resident.scheduler)
        explorer.built_with = laid_out_with  # what the page brings to every visitor, whatever model comes later
        return explorer

    now = resident.per_model(make)
    with gr.Column(elem_classes="workbench on-stage", elem_id=NAME):
        with gr.Column(elem_classes="results stage"):
            stage = _lay_out_stage(resident, now())
        with gr.Column(elem_classes="controls"):
            controls = _lay_out_controls(resident, now())
        with gr.Column(elem_classes="views"):
            results = _lay_out_analysis(resident.first, now(), stage)
    _connect_runs(controls, results)
    _connect_looks(now, controls, results)
    _connect_points(now, results)

    def restore(query: Mapping[str, str]) -> list[Any]:
        prompt, _, *settings, progress = restore_generate(resident.model, query)  # one text a run here: no variations
        recipe = recipe_from(query, "generate") if progress.get("state") == "idle" else None
        if recipe is not None and recipe.options.keys() - {STEERED.name}:
            progress = {**progress, "message": f"{progress['message']} {NO_OPTIONS}"}
        return [prompt, *settings, progress]

    def take_run(visitor: str, run: Run, block: int, token: int) -> list[Any]:
        shown, card = now().path_of(visitor, run, block, token)
        return [*shown, card, gr.Button(AT_END, interactive=False)]

    branch = results.branch
    return TabLinks(
        take=lambda text: [text],
        outputs=[controls.prompt],
        take_run=take_run,
        run_outputs=[*_outputs(controls, results), results.card, branch.run],
        restore=Restore(
            ("generate",),
            restore,
            [controls.prompt, *controls.panel.inputs, results.progress],
            NAME,
            options=(STEERED.name,),
        ),
        views={NAME: now.view(run_on_map), BRANCH_BENCH: now.view(branch_on_map)},
    )


def _outputs(controls: _Controls, results: _Results) -> list[gr.components.Component]:
    """Where the values of a Shown go, in their order."""
    return [results.flow, results.progress, controls.chosen, results.curves]


def _lay_out_controls(resident: Resident, explorer: Explorer) -> _Controls:
    with gr.Row(elem_classes="yours"):
        prompt = gr.Textbox(
            EXAMPLES[0],
            label="Prompt",
            info="The run on the map goes on from here. Shift + Enter runs.",
            lines=1,
            max_lines=4,
            elem_classes="prompt-box ask",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        buttons = RunControls(NAME)
    with gr.Row(elem_classes="on-the-map"):
        recorded = explorer.recorded()
        begins = [id_ for _, id_ in recorded[:1]]  # what the tab opens with
        chosen = gr.CheckboxGroup(
            recorded, value=begins, label="On the map", visible=bool(recorded), elem_classes="setting"
        )
        add = gr.Checkbox(False, label="Keep what is on the map, to compare", elem_classes="setting")
    first = explorer.store.get("", recorded[0][1]) if recorded else None
    defaults = with_seed_of(resident.first.defaults, first)
    start = dict(zip(SettingsPanel.names_of(), values_of(defaults), strict=True))
    chips = SettingChips(CHIPS, [start[name] for name, *_ in CHIPS], elem_classes="setting-chips")
    with gr.Column(elem_classes="setting-list"):
        panel = SettingsPanel(defaults)
    shown = [panel.by_name[f"settings.{name}"] for name, *_ in CHIPS]
    gr.on([control.change for control in shown], None, shown, chips, js="(...values) => [values]", **QUICK)
    with gr.Accordion("Open a trace", open=False, elem_classes="more open-trace"):
        file = gr.File(label="Trace (.npz)", file_types=[".npz"], height=120)
    return _Controls(prompt, buttons, add, chosen, file, panel)


class _Stage(NamedTuple):
    """What a run plays on, and the point of it that was opened."""

    flow: FlowMap
    card: PointCard
    branch: _Branch
    progress: ProgressLine
    kept: RunResult


def _lay_out_stage(resident: Resident, explorer: Explorer) -> _Stage:
    charts = explorer.cloud.charts
    message = LOADING if charts and explorer.recorded() else NOTHING_YET
    flow = FlowMap(
        NAME, charts.text if charts else "", message, "Run one", part="flow", also=BRANCH_BENCH, elem_id="flow"
    )
    with gr.Row(elem_classes="opened"):
        card = PointCard(elem_id="point")
        branch = _lay_out_branch(resident)
    with gr.Row(elem_classes="over"):
        progress = ProgressLine(part="progress", elem_classes="progress")
        ShareLink(part="link", elem_classes="link")
        ShareCard(elem_classes="share-picture")
    return _Stage(flow, card, branch, progress, RunResult(part="kept"))


def _lay_out_analysis(model: ColaDLM, explorer: Explorer, stage: _Stage) -> _Results:
    """What the map shows, when each word settled, curves, files."""
    about = f"<p class='about'>{WHAT_IT_SHOWS.format(channels=model.latent_dim)}</p>"
    gr.HTML(about, js_on_load=None, elem_classes="what-it-shows")
    fitted = None if explorer.cloud.complete else ProgressLine(elem_classes="fitting")
    HeatMap(NAME, elem_id="heat")
    curves = Curves(NAME, part="curves", also=BRANCH_BENCH, elem_id="curves")
    saver = Saver("Save", FILES, elem_id="save")
    return _Results(stage.progress, stage.flow, fitted, stage.card, stage.branch, curves, saver, stage.kept)


def _lay_out_branch(resident: Resident) -> _Branch:
    """A workbench of its own, mounted from the start: it may have a run to show before a point is opened, and the
    styles of the page hide it where there is neither.
    """
    start = resident.first.defaults
    with gr.Column(elem_classes="branch beside", elem_id=BRANCH_BENCH):
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
                ("Guidance", "", (0, 20, 0.1), start.guidance, ""),
                ("Steps a block", "", (1, 128, 1), start.steps, ""),
            )
        with gr.Row(elem_classes="small-buttons"):
            run = gr.Button(RESUME, min_width=40, elem_id="branch-run", elem_classes="small-run")
            stop = gr.Button("Stop", min_width=40, elem_classes="stop")
        ProgressLine(part="progress", elem_classes="fold-progress")
        kept = RunResult(part="kept")
    return _Branch(noise, seed, guidance, steps, run, stop, kept)


def _connect_runs(controls: _Controls, results: _Results) -> None:
    """Run and Branch, each of a workbench of its own."""
    chosen, branch = {"chosen": controls.chosen}, results.branch
    controls.buttons.connect(
        NAME,
        {"prompt": controls.prompt, "add": controls.add, **chosen, **controls.panel.by_name},
        also=[controls.prompt.submit, results.flow.submit],
    )
    named = {"card": results.card, "noise": branch.noise, "seed": branch.seed, "guidance": branch.guidance,
             "steps": branch.steps, **chosen}  # fmt: skip
    connect_view(BRANCH_BENCH, [branch.run.click], branch.stop, BRANCH_BENCH, named)


def _connect_looks(now: Callable[[], Explorer], controls: _Controls, results: _Results) -> None:
    """What is on the map: the list of runs, what has become of a run, files."""
    chosen, outputs = controls.chosen, _outputs(controls, results)

    def on_chosen(ids: list[str], event: gr.EventData, request: gr.Request) -> Shown:
        opened = isinstance(event.target, FlowMap)  # for the first time
        return (now().first if opened else now().show)(visitor_of(request.headers), ids)

    def on_ended(kept: dict[str, Any] | None, request: gr.Request) -> Any:
        return now().choices(visitor_of_run(request, kept), kept["shown"]) if kept else gr.skip()

    def on_file(file: str | None, request: gr.Request) -> list[Any]:
        return [*now().upload(visitor_of(request.headers), file), None]

    def on_save(event: gr.EventData, ids: list[str], request: gr.Request) -> Any:
        return file_or_reason(
            lambda: now().save(visitor_of(request.headers), event.kind, ids, event.look, event.address)
        )

    def on_fit() -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip()]  # gradio empties what a generator that yields nothing is to change
        yield from fit_in_background(now())

    def on_fitted(come: bool, ids: list[str], request: gr.Request) -> list[Any]:
        return [now().show(visitor_of(request.headers), ids).flow, False] if come else [gr.skip(), gr.skip()]

    for kept in (results.kept, results.branch.kept):
        kept.ended(on_ended, kept, chosen, queue=False, **EVERY, **QUICK)
    # as one, so that the answer to the last choice comes last, also where it was made before the first runs had come
    gr.on([results.flow.input, chosen.input], on_chosen, chosen, outputs,
          queue=False, trigger_mode="always_last", **QUICK)  # fmt: skip
    controls.file.upload(on_file, controls.file, [*outputs, controls.file], **QUICK)
    results.saver.select(on_save, chosen, results.saver, **EVERY, **QUICK)
    if results.fitted is not None:
        come = gr.State(False)  # have UMAPs come that the map does not show yet?
        fit = chosen.change(on_fit, None, [results.fitted, come], concurrency_limit=1, **QUICK)
        # an event of its own: by then other runs may have been chosen than when the fit began
        fit.then(on_fitted, [come, chosen], [results.flow, come], **QUICK)


def _connect_points(now: Callable[[], Explorer], results: _Results) -> None:
    """A point that is opened, and what a branch from it would be."""
    card, branch = results.card, results.branch
    changes = [branch.noise, branch.guidance, branch.steps]

    def on_select(noise: str, event: gr.EventData, request: gr.Request) -> list[Any]:
        visitor = visitor_of(request.headers)
        try:
            value = now().open(visitor, event.run, event.block, event.step, event.place)
        except ValueError as error:
            return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), wrong(error).progress]
        run = now().run_of(visitor, value)
        if run is None:
            return [value, gr.skip(), gr.skip(), gr.Button(interactive=False), gr.skip()]
        settings = run.trace.recipe.settings
        button = button_for(now(), visitor, value, noise, settings.guidance, settings.steps)
        return [value, settings.guidance, settings.steps, button, gr.skip()]

    def on_changed(
        card: dict[str, Any] | None, noise: str, guidance: Any, steps: Any, request: gr.Request
    ) -> list[Any]:
        button = button_for(now(), visitor_of(request.headers), card, noise, guidance, steps)
        return [button, gr.Number(visible=noise == "other")]

    gr.on([part.change for part in changes], on_changed, [card, *changes], [branch.run, branch.seed],
          queue=False, **QUICK)  # fmt: skip
    results.flow.select(
        on_select,
        branch.noise,
        [card, branch.guidance, branch.steps, branch.run, results.progress],
        **EVERY,
        **QUICK,
        **UNLIMITED,
    )


def button_for(
    explorer: Explorer, visitor: str, card: dict[str, Any] | None, noise: str, guidance: Any, steps: Any
) -> gr.Button:
    """The button that goes on from the opened point, and what it says."""
    run = explorer.run_of(visitor, card)
    if run is not None and card is not None and card["point"]["step"] >= run.trace.recipe.settings.steps:
        return gr.Button(AT_END, interactive=False)
    same = explorer.resumes(visitor, card, noise, guidance, steps)
    return gr.Button(RESUME if same else BRANCH, interactive=run is not None)


def fit_in_background(explorer: Explorer) -> Iterator[list[Any]]:
    """Fits the UMAPs of a model that has none yet: values of a progress line of its own, and True at their end."""
    if explorer.cloud.charts is None or explorer.cloud.complete:
        return
    for share, message in explorer.cloud.fit():
        note = progress_value("idle", message=f"In the background, {share:.0%}: {message}")
        yield [note, gr.skip()]
    yield [progress_value("idle"), True]
