"""What the tab Trajectories looks at: the runs on the map, their points, files. Runs and branches are in `views.py`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent.branch import check_fits
from coladlm.recipe import Described, RecipeError
from coladlm.run import check_model
from coladlm.serve import Scheduler
from coladlm.trace import Trace, TraceError

from ..components.flow_map import flow_value
from ..components.progress_line import progress_value
from ..components.saver import not_saved, saved
from ..runs.access import owner_of
from ..shared.charts import Charts
from ..shared.cloud_holder import CloudHolder
from ..shared.errors import sentence
from ..shared.settings_panel import check_limits, in_labels
from ..shared.trace_store import Run, TraceStore
from .exports import measures_table, playable_page, trace_file
from .measures import curves_value, point_value
from .records import trace_lines

MOST_SHOWN = 4  # runs on one map
MOST_TOKENS = 256  # new ones of a run on the map: what a browser draws at once
MOST_OTHERS = 2 << 20  # characters of the runs that a new one is compared with: they travel with it
MOST_SEQUENCES = 4  # that are taken from an uploaded trace
MAX_UPLOAD = 64 << 20  # bytes of a trace file
MAX_UNPACKED = 256 << 20
NOTHING_YET = "No run on the map. Press Run, and watch every word find its way out of the noise."
NO_CURVES = {"kinds": [], "runs": [], "summary": ""}
FEW = 28  # characters of a prompt in the name of a run


class Shown(NamedTuple):
    """Values of the components that runs on the map change, in the order of the tab's outputs."""

    flow: Any = gr.skip()
    progress: Any = gr.skip()
    choices: Any = gr.skip()
    curves: Any = gr.skip()


class Explorer:
    """The handlers. Runs are known by their ids in the store, and belong to the visitor of the cookie."""

    def __init__(self, model: ColaDLM, cloud: CloudHolder, store: TraceStore, scheduler: Scheduler) -> None:
        self.model, self.cloud, self.store, self.scheduler = model, cloud, store, scheduler
        self.built_with = cloud.charts  # what the page itself brings to every visitor
        self.running: set[str] = set()  # ids of the runs under way

    # what is on the map

    def find(self, visitor: str, id_: str) -> Run | None:
        """A run that this visitor may look into; None if it is not there any more."""
        return self.store.get(owner_of(visitor, id_), id_)

    def keep(self, visitor: str, label: str, trace: Trace, sequence: int = 0, branch: dict[str, Any] | None = None,
             id_: str = "", number: int = 0) -> Run:  # fmt: skip
        """Puts a run into the store, under its id or a new one. See `TraceStore.add`."""
        id_ = id_ or secrets.token_urlsafe(16)
        return self.store.add(owner_of(visitor, id_), label, trace, sequence, branch, id_, number)

    @property
    def charts(self) -> Charts:
        """The maps. Raises RecipeError where none has been made."""
        if self.cloud.charts is None:
            raise RecipeError("the map of this model", Described("not made yet"), "a map", NO_MAP)
        return self.cloud.charts

    def runs(self, visitor: str, ids: Sequence[str] | None) -> list[Run]:
        """The runs with these ids that are still there, as many as a map has room for."""
        found = (self.find(visitor, id_) for id_ in ids or () if isinstance(id_, str))
        return [run for run in found if run is not None and self._fits(run)][:MOST_SHOWN]

    def recorded(self) -> list[tuple[str, str]]:
        """(label, id) of the recorded runs that this model can read: they are of the bundled one."""
        return [(label, id_) for label, id_ in self.store.shipped if self._fits(self.store.get("", id_))]

    def _fits(self, run: Run | None) -> bool:
        if run is None:
            return False
        try:
            check_fits(self.model, run.trace)
        except ValueError:
            return False
        return True

    def others(self, visitor: str, ids: Sequence[str] | None) -> list[Run]:
        """Those of the runs with these ids that stay on the map when one more joins them."""
        kept, size = [], 0
        for run in self.runs(visitor, ids)[: MOST_SHOWN - 1]:
            size += len(self.lines([run]))
            if size <= MOST_OTHERS:
                kept.append(run)
        return kept

    def lines(self, runs: Sequence[Run]) -> str:
        charts = self.charts
        return "".join("".join(trace_lines(charts, r.trace, r.sequence, r.id, r.label, r.branch)) for r in runs)

    def show(
        self, visitor: str, ids: Sequence[str] | None, play: bool = False, choose: dict[str, Any] | None = None
    ) -> Shown:
        """These runs on the map, with their curves and what there is to say of them. choose: see `flow_value`."""
        runs = self.runs(visitor, ids)
        if not runs or self.cloud.charts is None:
            return Shown(flow_value("empty", message=NOTHING_YET), curves=NO_CURVES)
        flow = flow_value("done", self.lines(runs), play=play, choose=choose)
        return Shown({**flow, "cloud": self.cloud_of_page()}, self.about(runs), curves=curves_value(runs))

    def about(self, runs: Sequence[Run]) -> Any:
        """A progress line that says so where a run was made with another model than the one that reads it here."""
        foreign = [run for run in runs if check_model(self.model, run.trace.recipe)]
        if not foreign:
            return gr.skip()
        names = ", ".join(run.label for run in foreign)
        note = f"Made with another model than the one that reads it here: {names}. Its words and distances are guesses."
        return progress_value("idle", message=note)

    def first(self, visitor: str, ids: Sequence[str] | None) -> Shown:
        """What a visitor sees who opens the tab for the first time: the runs that are chosen in the list, which begins
        with the first recorded one, if there is one. What is chosen stays as it is: it may change until this arrives.
        """
        if not self.recorded() or self.cloud.charts is None:
            return Shown(choices=self.choices(visitor, [])) if ids else Shown()
        listed = gr.CheckboxGroup(choices=self.listed(visitor, ids))
        shown = self.show(visitor, ids, play=True)._replace(choices=listed)
        if len(self.runs(visitor, ids)) != 1 or (isinstance(shown.progress, dict) and shown.progress.get("state")):
            return shown
        return shown._replace(progress=progress_value("idle", message="A recorded run. Press Run for one of your own."))

    def cloud_of_page(self) -> str:
        """The cloud for a page that came without it or with less; else ""."""
        charts = self.cloud.charts
        return "" if charts is None or charts is self.built_with else charts.text

    def choices(self, visitor: str, ids: Sequence[str] | None) -> Any:
        """The list of runs that can be shown, these of them chosen."""
        known = self.listed(visitor, ids)
        there = {id_ for _, id_ in known}
        return gr.CheckboxGroup(choices=known, value=[i for i in ids or () if i in there], visible=bool(known))

    def listed(self, visitor: str, ids: Sequence[str] | None) -> list[tuple[str, str]]:
        """(label, id) of the runs that can be shown.

        A visitor who keeps no cookies is known by each run alone: then the list has those that are asked for.
        """
        readable = [id_ for _, id_ in self.recorded()]
        shipped = [id_ for _, id_ in self.store.shipped]
        known = [(label, id_) for label, id_ in self.store.choices(visitor) if id_ not in shipped or id_ in readable]
        there = {id_ for _, id_ in known}
        return [*((run.label, run.id) for run in self.runs(visitor, ids) if run.id not in there), *known]

    # a point

    def open(self, visitor: str, run_id: str, block: int, step: int, place: int) -> dict[str, Any]:
        """The value of the card of a point that was clicked. Raises RecipeError."""
        if run_id in self.running:
            return _no_point("This run is still being written", "Its points can be opened when it is done.")
        found = self.find(visitor, run_id)
        if found is None:
            return _no_point("This run is not there any more", "Run it again.")
        trace, s = found.trace, found.sequence
        inside = is_point({"run": run_id, "block": block, "step": step, "place": place})
        inside = inside and block < trace.z.shape[1] and place < trace.z.shape[3]
        if not inside or not trace.active[s, block]:
            raise RecipeError("the point", Described("not on this run"), "one of its states")
        recorded = trace.recorded[block]
        last = step >= len(recorded) or not recorded[step]
        if last and not trace.finished[block]:
            raise RecipeError("the point", Described("a state that the run never reached"), "one of its states")
        steps = trace.recipe.settings.steps
        state, cloud = steps if last else step, self.charts.cloud
        card = self.scheduler.look(lambda: point_value(self.model, cloud, found, block, state, place))
        return {**card, "point": {"run": run_id, "block": block, "step": state, "place": place}}

    def run_of(self, visitor: str, card: dict[str, Any] | None) -> Run | None:
        """The run of an opened point."""
        point = card.get("point") if card else None
        return self.find(visitor, point["run"]) if point is not None and is_point(point) else None

    def resumes(self, visitor: str, card: dict[str, Any] | None, noise: str, guidance: Any, steps: Any) -> bool:
        """Would going on from a point like this end as its run did?"""
        run = self.run_of(visitor, card)
        if not run:
            return noise == "same"
        old = run.trace.recipe.settings
        return noise == "same" and guidance == old.guidance and steps == old.steps

    def take(self, visitor: str, run: Run) -> Run:
        """A run that was made elsewhere on the page, kept for the map, once. Raises RecipeError, BranchError."""
        check_fits(self.model, run.trace)
        limited(run.trace.recipe.settings)
        _ = self.charts  # raises where there is no map: the run is not kept then
        id_ = f"{run.id}-{run.sequence}" if run.sequence else run.id
        label = name_of(run.trace.prompts[run.sequence])
        return self.find(visitor, id_) or self.keep(visitor, label, run.trace, run.sequence, id_=id_)

    def path_of(self, visitor: str, run: Run, block: int, token: int) -> tuple[Shown, dict[str, Any]]:
        """A run made elsewhere, on the map with the path of one of its tokens chosen; the card of that path's end."""
        added = self.take(visitor, run)
        card = self.open(visitor, added.id, block, run.trace.recipe.settings.steps, token // self.model.patch_size)
        shown = self.show(visitor, [added.id], choose={**card["point"], "time": secrets.token_hex(4)})
        return shown._replace(choices=self.choices(visitor, [added.id])), card

    # files

    def upload(self, visitor: str, file: str | None) -> Shown:
        """Shows a trace from a file. What is wrong with it comes as a sentence.

        The file stays: gradio keeps equal uploads of several visitors as one, and deletes it when it is old.
        """
        if file is None:
            return Shown()
        try:
            size = os.path.getsize(file)
            if size > MAX_UPLOAD:
                raise TraceError(f"the file has {size:,} bytes, expected at most {MAX_UPLOAD:,}")
            with open(file, "rb") as opened:
                trace = Trace.load(opened, MAX_UNPACKED, "the file")
            check_fits(self.model, trace)
            if not trace.z.size:
                raise TraceError("the trace holds no step, expected at least one")
            note = check_model(self.model, trace.recipe) or "Opened."
            if self.cloud.charts is None:
                raise TraceError("there is no map of this model yet: press Run once, then open the file again")
            name = name_of(trace.prompts[0]) + " (file)"
            added = [self.keep(visitor, name, trace, s) for s in range(min(MOST_SEQUENCES, len(trace.texts)))]
            if len(trace.texts) > MOST_SEQUENCES:
                note += f" The file holds {len(trace.texts)} texts; the map shows the first {MOST_SEQUENCES}."
        except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
            return wrong(error)
        shown = [run.id for run in added]
        return self.show(visitor, shown)._replace(
            progress=progress_value("idle", message=note), choices=self.choices(visitor, shown)
        )

    def save(
        self, visitor: str, kind: str, ids: Sequence[str], look: Any = None, address: Any = None
    ) -> dict[str, Any]:
        """What is on the map as a file, for a Saver. look, address: see `playable_page`."""
        runs = self.runs(visitor, ids)
        if not runs or self.cloud.charts is None:
            return not_saved("There is no run on the map to save.")
        if kind == "npz":
            return saved("run.npz", "application/octet-stream", trace_file(runs[-1]))
        if kind == "csv":
            return saved("measures.csv", "text/csv", measures_table(self.cloud.charts, runs))
        page = playable_page(self.cloud.charts, runs, self.lines(runs), curves_value(runs), look, address)
        return saved("flow-map.html", "text/html", page)


NO_MAP = "There is no map of this model yet: press Run on the tab Trajectories once."


def limited(settings: SamplerSettings) -> SamplerSettings:
    """Refuses what the page cannot draw. Raises SettingsError, RecipeError."""
    check_limits(settings)
    if settings.max_new_tokens > MOST_TOKENS:
        raise RecipeError("max_new_tokens", settings.max_new_tokens, f"at most {MOST_TOKENS} on the map")
    return settings


def is_point(point: Any) -> bool:
    """Is this {"run", "block", "step", "place"} of some run? It comes from a browser, which may send anything."""
    if not isinstance(point, dict) or not isinstance(point.get("run"), str):
        return False
    return all(type(point.get(name)) is int and point[name] >= 0 for name in ("block", "step", "place"))


def name_of(prompt: str) -> str:
    """A run's name: the start of its prompt."""
    text = " ".join(prompt.split())
    return (text[:FEW].rstrip() + "…" if len(text) > FEW else text) or "no prompt"


def _no_point(title: str, about: str) -> dict[str, Any]:
    """The value of a card for a point that cannot be opened."""
    return {"title": title, "about": about, "read": [], "near": [], "point": None}


def wrong(error: Exception) -> Shown:
    return Shown(progress=progress_value("error", message=in_labels(sentence(error))))
