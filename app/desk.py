"""What the tab Generate does with a prompt: writes, remembers the run for its visitor, and looks into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.events import BlockDone, Event, Finished, Step
from coladlm.recipe import Recipe, RecipeError, Said
from coladlm.run import check_model, recorder
from coladlm.serve import Scheduler

from .bundled_baseline import BundledBaseline
from .components.progress_line import progress_value
from .components.text_rows import rows_value
from .live import LiveRun
from .live_rows import LiveRows, Row
from .look import look_value, token_value
from .model_turn import Waiting, sentence, waiting_parts
from .operation_controls import whole
from .settings_panel import check_limits, in_labels, settings_from, values_of
from .share import link_of, recipe_from
from .trace_store import Run, TraceStore

OPERATION = "generate"
MOST_VARIATIONS = 8
MOST_TOKENS = 4096  # of all variations together: what keeps others waiting for a minute or so
MOST_BYTES = 64 << 20  # of one recorded run; a longer one is written and not kept to look into
NO_ROWS = rows_value("", "empty")
GONE = "The run is not there any more: press Run to write it again."


class Written(NamedTuple):
    """Values of the components that a run changes, in the order of the tab's outputs.

    kept: {"run", "sequence", "seconds"} of the run that can be looked into, None where there is none.
    """

    strip: Any = gr.skip()
    progress: Any = gr.skip()
    link: Any = gr.skip()
    rows: Any = gr.skip()
    card: Any = gr.skip()
    kept: Any = gr.skip()


class LiveVariations(LiveRows):
    """All sequences of a run below each other."""

    def __init__(self, model: ColaDLM, recipe: Recipe, first: LiveRun) -> None:
        before = first.prompt_ids[-8:]
        rows = [
            Row(f"no. {i + 1}", context=before, room=recipe.settings.max_new_tokens, skip=first.skip)
            for i in range(recipe.variations)
        ]
        super().__init__(model, recipe, rows, first.blocks, recipe.settings.stop_at_end, first.clock)
        self.run, self.read = first.run, first.read

    def after(self, event: Any) -> Any:
        if isinstance(event, Finished):
            for row, text, ids in zip(self.rows, event.texts, event.token_ids, strict=True):
                row.text, row.score, row.live = text or " ", f"{len(ids)} tokens", []
        return super().after(event)

    def outcome(self) -> list[str]:
        different = len({row.text for row in self.rows})
        return [f"{len(self.rows)} texts", f"{different} of them different"]


class Desk:
    """The handlers of a model. A visitor is known by the hash of the session; runs by their ids in the store."""

    def __init__(self, model: ColaDLM, store: TraceStore, scheduler: Scheduler, baseline: BundledBaseline) -> None:
        self.model, self.store, self.scheduler, self.baseline = model, store, scheduler, baseline

    def write(self, visitor: str, prompt: str, variations: Any, *values: Any) -> Iterator[Written]:
        """Runs what the controls say. values: of the settings panel. What is wrong comes as a sentence."""
        strip: Any = gr.skip()  # what the last run wrote stays until this one has begun
        try:
            recipe = recipe_of(self.model, prompt, variations, values)
            link = link_of(recipe)
            record = recorder(recipe, dtype="float32") if recorded_bytes(self.model, recipe) <= MOST_BYTES else None
            events = self.scheduler.run(self.model, recipe, visitor)
            read = {} if record is None else {"read": lambda step: record.latest}
            live = LiveRun(self.model, recipe, **read)
            rows = LiveVariations(self.model, recipe, live) if recipe.variations > 1 else None
            follow = _Follow(events if record is None else record.watch(events), rows)
            shown: Any = NO_ROWS
            for strip, progress in live.frames(iter(follow)):
                if rows is not None:
                    shown, progress = follow.frame()
                yield Written(strip, progress, link, shown, None, None)
            seconds = live.clock() - live.started
            if record is None:
                return
            kept = self.store.add(visitor, "written", record.trace())
            strip = look_value(self.model, kept.trace, 0, live.run)
            yield Written(strip, kept={"run": kept.id, "sequence": 0, "seconds": seconds})
        except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
            if "run" in strip:
                strip = {**strip, "state": "error"}
            yield Written(strip, progress_value("error", message=in_labels(sentence(error))))

    def kept(self, visitor: str, kept: Mapping[str, Any] | None) -> Run:
        """The run that `kept` stands for, its sequence chosen. Raises RecipeError."""
        found = self.store.get(visitor, kept["run"]) if kept else None
        if found is None:
            raise RecipeError("a finished run", Said("missing"), "one", GONE if kept else NONE_YET)
        return Run(found.id, found.label, found.trace, kept["sequence"])

    def read(self, visitor: str, row: Any, kept: Mapping[str, Any] | None) -> Written:
        """Another variation in the strip, to scrub and to look into."""
        try:
            found = self.kept(visitor, kept)
            sequence = whole(row, "The variation")
            if not 0 <= sequence < len(found.trace.texts):
                raise RecipeError("the variation", sequence, "one of this run")
            strip = look_value(self.model, found.trace, sequence, f"{found.id}-{sequence}")
            said = progress_value("done", [f"no. {sequence + 1} of {len(found.trace.texts)}"], 1.0)
            return Written(strip, said, card=None, kept={**kept, "sequence": sequence})
        except Exception as error:
            return Written(progress=progress_value("error", message=sentence(error)))

    def inspect(self, visitor: str, block: Any, token: Any, kept: Mapping[str, Any] | None) -> Written:
        """What is to know of a token of the answer."""
        try:
            found = self.kept(visitor, kept)
            run = (self.model, found.trace, found.sequence)
            return Written(card=self.scheduler.look(lambda: token_value(*run, block, token)))
        except Exception as error:
            return Written(progress=progress_value("error", message=sentence(error)))


NONE_YET = "There is no finished run yet: press Run first."


class _Follow:
    """Events on their way to a LiveRun, with rows that follow the same events."""

    def __init__(self, events: Iterator[Event], rows: LiveVariations | None) -> None:
        self.events, self.rows = events, rows
        self._step: Step | None = None
        self._frame: Any = None if rows is None else rows.frame("running", ["starting"], 0.0, "Writing")

    def __iter__(self) -> Iterator[Event]:
        try:
            for event in self.events:
                self._step = event if isinstance(event, Step) else None
                if self.rows is not None and isinstance(event, Waiting) and event.ahead:
                    self._frame = self.rows.frame("running", waiting_parts(event), 0.0, "Waiting")
                if self.rows is not None and isinstance(event, BlockDone | Finished):
                    self._frame = self.rows.after(event)
                yield event
        finally:
            self.events.close()

    def frame(self) -> Any:
        """The rows at the event that was passed on last."""
        if self._step is not None:
            self._frame, self._step = self.rows.after(self._step), None
        return self._frame


def recipe_of(model: ColaDLM, prompt: str, variations: Any, values: Any) -> Recipe:
    """The recipe that the controls stand for. Raises RecipeError, SettingsError."""
    count = whole(variations, "Variations")
    if not 1 <= count <= MOST_VARIATIONS:
        raise RecipeError("Variations", count, f"1 to {MOST_VARIATIONS} on this page")
    settings = settings_from(values)
    if count * settings.max_new_tokens > MOST_TOKENS and count > 1:
        found = Said(f"{count} of {settings.max_new_tokens:,} tokens")
        raise RecipeError("Variations", found, f"at most {MOST_TOKENS:,} tokens in all on this page")
    return Recipe(OPERATION, (prompt,), settings, count, model=model.fingerprint)


def recorded_bytes(model: ColaDLM, recipe: Recipe) -> int:
    """About how large the trace of a run gets, in bytes."""
    settings: SamplerSettings = recipe.settings
    places = -(-settings.max_new_tokens // model.patch_size) + model.block_size
    a_place = settings.steps * (4 * 4 * model.latent_dim + 16 * model.patch_size + 8)
    return recipe.variations * places * a_place


def restore(model: ColaDLM, query: Mapping[str, str]) -> list[Any]:
    """Values of the prompt, the variations, the settings and the progress line for the query of an address."""
    unchanged = [gr.skip()] * (2 + len(values_of(model.defaults)))
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            return [*unchanged, gr.skip()]
        check_limits(recipe.settings)
    except ValueError as error:
        return [*unchanged, progress_value("error", message=f"The link could not be read: {sentence(error)}")]
    said = check_model(model, recipe) or "Restored from the link: press Run to repeat it."
    if len(recipe.texts) > 1:
        said += f" It asks for {len(recipe.texts)} prompts; this page writes the first."
    variations = min(recipe.variations, MOST_VARIATIONS)
    if variations < recipe.variations:
        said += f" It asks for {recipe.variations} variations; this page writes {variations}."
    return [recipe.texts[0], variations, *values_of(recipe.settings), progress_value("idle", message=said)]
