"""An interpolation as the page shows it: its waypoints as rows, then how far they are from the texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.interpolate import OPTIONS, Interpolation, Waypoint, waypoint_weights
from coladlm.latent.invert import Inverting
from coladlm.latent.layout import LatentSpace, blocks_for
from coladlm.recipe import Recipe, check_options
from coladlm.sampling.events import BlockDone, Step

from ..components.distances import distances_value
from ..components.text_rows import CHANGED, PROMPT, segments
from ..shared.row_frames import Frame, LiveRows, Row
from ..shared.token_pieces import pieces


class LiveInterpolation(LiveRows):
    """Frames of the events of `interpolate`, with a part `distances`: None until all waypoints are there."""

    def __init__(self, model: ColaDLM, recipe: Recipe, clock: Callable[[], float] = time.perf_counter) -> None:
        options = check_options(recipe.options, OPTIONS)
        weights = waypoint_weights(len(recipe.texts), options["stops"], options["weights"])
        self.continues = options["road"] == "prompt_to_prompt"
        rows = [Row(label_of(stop)) for stop in weights]
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
        return isinstance(event.event if isinstance(event, Inverting) else event, Step)

    def after(self, event: Any) -> Frame | None:
        if isinstance(event, Inverting):
            return self._inverting(event.event)
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
            unit = "radians" if LatentSpace(self.model.vae.config).spherical else "radii"
            self.more["distances"] = distances_value(
                [row.label for row in self.rows],
                [waypoint.latent_distances for waypoint in found.waypoints],
                [waypoint.token_distances for waypoint in found.waypoints],
                unit,
            )
        return self.frame("running", [self._seconds()], 1.0 if measured else 0.0, "Writing")

    def _final(self, waypoint: Waypoint) -> list[tuple[str, int]]:
        parts = pieces(self.model.tokenizer, waypoint.token_ids, special=self.special)
        parts = ["" if id_ in self.special else part for id_, part in zip(waypoint.token_ids, parts, strict=True)]
        changed = waypoint.changed or [False] * len(parts)
        flags, at = [], 0
        for part, new in zip(parts, changed, strict=True):
            flags.append(CHANGED * bool(new and part.strip()) + PROMPT * (at < len(waypoint.prompt)))
            at += len(part)
        return segments(parts, flags)


def label_of(weights: tuple[float, ...]) -> str:
    """Where a waypoint is: a text by its number, between two of them the share of the second."""
    inside = [i for i, weight in enumerate(weights) if weight > 0]
    if len(inside) == 1:
        return f"text {inside[0] + 1}"
    return f"{round(100 * weights[inside[1]], 1):g} %" if len(inside) == 2 else "mean"
