"""An interpolation as the page shows it: its waypoints as rows, then how far they are from the texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.interpolate import OPTIONS, Interpolation, Trying, Waypoint, waypoint_weights
from coladlm.latent.invert import Inverting
from coladlm.latent.layout import LatentSpace, blocks_for
from coladlm.recipe import Recipe, check_options
from coladlm.sampling.events import BlockDone, Step

from ..components.distances import distances_value
from ..components.progress_line import RunState
from ..components.text_rows import CHANGED, PROMPT, rows_value, segments
from ..components.waypoint_stage import stage_value, waypoint_value
from ..shared.row_frames import Frame, LiveRows, Row
from ..shared.token_pieces import pieces

TRYING = 0.8  # of the work of an interpolation that chooses among candidates
TRIES = "trying candidates"
NONE_YET = "Stopped while trying candidates: no waypoint between the texts is finished."


RECORDED = "recorded"  # the run of an interpolation that ships


def recorded_parts(model: ColaDLM, recipe: Recipe, found: Interpolation) -> dict[str, Any]:
    """What the page shows of an interpolation that ships: the parts stage, rows and distances."""
    live = LiveInterpolation(model, recipe)
    live.run = RECORDED
    live.after(found)
    frame = live.frame("done", [], 1.0, "")
    live.more["stage"]["recorded"] = f"a recorded interpolation, seed {recipe.settings.seed}, unedited"
    return {"rows": frame.rows, **live.more}


class LiveInterpolation(LiveRows):
    """Frames of the events of `interpolate`, with the parts `stage`, for a WaypointStage, and `distances`: None until
    all waypoints are there.
    """

    def __init__(self, model: ColaDLM, recipe: Recipe, clock: Callable[[], float] = time.perf_counter) -> None:
        options = check_options(recipe.options, OPTIONS)
        weights = waypoint_weights(len(recipe.texts), options["stops"], options["weights"])
        self.texts, self.weights = recipe.texts, weights
        self.found: Sequence[Waypoint] = ()  # the waypoints, once they are measured
        self.unit = "radians" if LatentSpace(model.vae.config).spherical else "radii"
        model = model.in_blocks_of(recipe.settings)
        self.continues = options["road"] == "prompt_to_prompt"
        chosen = options["road"] == "through_flow" and options["tries"] > 1  # not what was made for the very place
        rows = [Row(f"{i}" if chosen and 1.0 not in stop else label_of(stop)) for i, stop in enumerate(weights, 1)]
        self.sketches: Sequence[str] = ()  # a candidate for each waypoint, while they are tried
        self.reached = 0.0  # how far the run itself has come
        self.tried = 0.0  # how far the candidates have come, as a share of all the work
        if self.continues:
            for row in rows:
                row.skip, row.room = None, recipe.settings.max_new_tokens
            blocks = blocks_for(model, recipe.settings.max_new_tokens)
        else:
            # what its whole blocks leave over of the text before stands at the start of the first block
            whole = len(model.tokenize(options["before"])) // model.patch_size
            lead = whole % model.block_size * model.patch_size
            for row in rows:
                row.skip = lead
            blocks = blocks_for(model, lead + max(len(model.tokenize(text)) for text in recipe.texts))
        super().__init__(
            model, recipe, rows, blocks, ends=recipe.settings.stop_at_end or not self.continues, clock=clock
        )
        self.more["distances"] = None

    def _is_step(self, event: Any) -> bool:
        return isinstance(event.event if isinstance(event, Inverting | Trying) else event, Step)

    def after(self, event: Any) -> Frame | None:
        if isinstance(event, Inverting):
            return self._inverting(event.event)
        if isinstance(event, Trying):
            return self._trying(event)
        self.phase = ""
        if isinstance(event, Interpolation):
            return self._waypoints(event)
        return super().after(event)

    def outcome(self) -> list[str]:
        different = len({row.text for row in self.rows})
        waypoints = f"{len(self.rows)} waypoint" + ("" if len(self.rows) == 1 else "s")
        return [waypoints, f"{different} different text" + ("" if different == 1 else "s")]

    def _inverting(self, event: Step | BlockDone) -> Frame:
        self.phase = "finding the noise of the texts"
        if isinstance(event, Step):
            return self.running(event.block, event.index, event.steps, event.noise.max().item())
        return self.running(event.block, self.settings.steps, self.settings.steps, 100.0)

    def _trying(self, tried: Trying) -> Frame:
        self.phase = TRIES
        event = tried.event
        if isinstance(event, BlockDone):
            firsts = dict(reversed(list(zip(tried.places, event.texts, strict=True))))
            self.sketches = [firsts.get(row, "") for row in range(len(self.rows))]
            self.tried = TRYING * min(1.0, (event.block + 1) / self.blocks)
            return self.running(event.block, self.settings.steps, self.settings.steps, 0.0)
        assert isinstance(event, Step)  # a batch has these two
        self.tried = TRYING * min(1.0, (event.block + (event.index + 1) / event.steps) / self.blocks)
        return self.running(event.block, event.index, event.steps, event.noise.max().item())

    def _waypoints(self, found: Interpolation) -> Frame | None:
        self.notes = list(found.notes)
        measured = bool(found.waypoints[0].latent_distances)
        for row, waypoint in zip(self.rows, found.waypoints, strict=True):
            if waypoint.done and not (measured or self.continues) and row.final is None:
                row.final, row.text, row.live = [(waypoint.text, 0)], waypoint.text, []
            elif measured:
                row.lead, row.final, row.text, row.live = "", self._final(waypoint), waypoint.text, []
            elif self.continues and not row.lead:
                row.lead, row.context = waypoint.prompt, self.model.tokenize(waypoint.prompt)[-8:]
        if measured:
            self.found = found.waypoints
            self.more["distances"] = distances_value(
                [row.label for row in self.rows],
                [waypoint.latent_distances for waypoint in found.waypoints],
                [waypoint.token_distances for waypoint in found.waypoints],
                self.unit,
            )
        return self.frame("running", [self._seconds()], 1.0 if measured else self.reached, "Writing")

    def frame(self, state: RunState, parts: list[str], fraction: float, message: str) -> Frame:
        self.reached = fraction
        fraction = self.tried + (1 - self.tried) * fraction  # the candidates come first
        self.more["stage"] = self._stage(state)
        frame = super().frame(state, parts, fraction, message)
        return frame._replace(progress={**frame.progress, "stopped": NONE_YET}) if self.phase == TRIES else frame

    def rows_value(self, state: RunState) -> dict[str, Any]:
        # how long a text gets that is written on to is not known
        room = "" if self.continues else max(self.texts, key=len)
        return rows_value(self.run, state, [row.value() for row in self.rows], self.notes, room=room)

    def stopped_rows(self) -> dict[str, Any]:
        self.more["stage"] = self._stage("stopped")
        return super().stopped_rows()

    def _stage(self, state: RunState) -> dict[str, Any]:
        waypoints = []
        for i, (row, weights) in enumerate(zip(self.rows, self.weights, strict=True)):
            known = self.found[i] if self.found else None
            waypoints.append(
                waypoint_value(
                    row.label,
                    leg_of(weights),
                    row.text if row.final is not None else self.text_so_far(row),
                    1.0 if row.final is not None or row.ended else self._settled(row, state),
                    end_of(weights),
                    known.latent_distances if known else (),
                    known.misfit if known else None,
                    self.sketches[i] if self.sketches and state == "running" else "",
                )
            )
        return stage_value(self.run, state, self.texts, waypoints, self.unit)

    def _settled(self, row: Row, state: RunState) -> float:
        """The share of a waypoint's tokens that are decided, of those that it may come to have. The candidates for one
        that is on its way count too; of a run that was stopped nothing is left of them.
        """
        whole = self.blocks * self.model.block_size * self.model.patch_size
        tried = 0.0 if state == "stopped" else self.tried
        return min(0.95, tried + (1 - tried) * len(row.answer) / max(1, whole))

    def _final(self, waypoint: Waypoint) -> list[tuple[str, int]]:
        parts = pieces(self.model.tokenizer, waypoint.token_ids, special=self.special, whole=True)
        parts = ["" if id_ in self.special else part for id_, part in zip(waypoint.token_ids, parts, strict=True)]
        changed = waypoint.changed or [False] * len(parts)
        flags, at = [], 0
        for part, new in zip(parts, changed, strict=True):
            flags.append(CHANGED * bool(new and part.strip()) + PROMPT * (at < len(waypoint.prompt)))
            at += len(part)
        return segments(parts, flags)


def end_of(weights: Sequence[float]) -> int | None:
    """Which text a waypoint stands at, if it does."""
    return weights.index(1.0) if 1.0 in weights else None


def leg_of(weights: Sequence[float]) -> tuple[int, int]:
    """Which two texts a waypoint lies between; a text is counted to what follows it, the last to what comes before."""
    inside = [i for i, weight in enumerate(weights) if weight > 0]
    first = min(inside[0], len(weights) - 2)
    return first, max(inside[-1], first + 1)


def label_of(weights: tuple[float, ...]) -> str:
    """Where a waypoint is: a text by its number, between two of them the share of the second."""
    inside = [i for i, weight in enumerate(weights) if weight > 0]
    if len(inside) == 1:
        return f"text {inside[0] + 1}"
    return f"{round(100 * weights[inside[1]], 1):g} %" if len(inside) == 2 else "mean"
