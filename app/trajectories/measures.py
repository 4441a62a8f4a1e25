"""Measures of runs for people: curves over the noise level, and what a single point says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from coladlm import ColaDLM
from coladlm.latent.branch import history_of
from coladlm.latent.point import nearest_words, read_point
from coladlm.latent.reference_cloud import ReferenceCloud
from coladlm.trace import Trace
from coladlm.trace.measures import TraceMeasures, measure

from ..components.point_card import card_value
from ..shared.token_pieces import word_of
from ..shared.trace_store import Run


class Kind(NamedTuple):
    """A measure as a curve. of: its numbers (block, step, place) of one sequence. about: what it is, in a sentence."""

    name: str
    label: str
    unit: str
    about: str
    of: Callable[[Trace, TraceMeasures, int], np.ndarray]


def _sure(trace: Trace, found: TraceMeasures, sequence: int) -> np.ndarray:
    if trace.preview_confidence is None:
        return np.full(trace.t[sequence].shape, np.nan)
    sure = trace.preview_confidence[sequence].astype(np.float64)
    return sure.reshape(*sure.shape[:2], trace.t.shape[3], -1).min(-1)


KINDS = (
    Kind("speed", "Speed", "latent units", "How fast a latent moves, for a whole way from noise to word.",
         lambda trace, found, s: found.speed[s]),
    Kind("distance", "Distance to the end", "latent units", "How far a latent still is from where its word ends.",
         lambda trace, found, s: found.distance_to_end[s]),
    Kind("curvature", "Curvature", "1 / latent units", "How sharply a path bends: one over the radius of its bend.",
         lambda trace, found, s: found.curvature[s]),
    Kind("sure", "Confidence", "", "How sure the decoder is of the word in the clean estimate, from 0 to 1.", _sure),
    Kind("angle", "Guided against unguided: angle", "degrees",
         "The angle between the velocity that knows what stands before and the one that does not.",
         lambda trace, found, s: found.guidance.angle[s]),
    Kind("pull", "Guided against unguided: pull", "latent units",
         "The size of the difference of these two velocities, which guidance multiplies.",
         lambda trace, found, s: found.guidance.pull[s]),
)  # fmt: skip


def curves_value(runs: Sequence[Run]) -> dict[str, Any]:
    """Means over all places that moved, each at its own noise level, for a Curves."""
    drawn = [_curves(index, run) for index, run in enumerate(runs)]
    kinds = []
    for kind in KINDS:
        note = [_note(curve, kind, len(drawn) > 1) for curve in drawn]
        if any(note):
            kinds.append({"name": kind.name, "label": kind.label, "unit": kind.unit, "about": kind.about,
                          "note": " ".join(filter(None, note))})  # fmt: skip
    return {"kinds": kinds, "runs": drawn, "summary": " ".join(map(straightness_note, runs))}


def _curves(index_of_run: int, run: Run) -> dict[str, Any]:
    trace, s = run.trace, run.sequence
    found = measure(trace)
    there = trace.active[s][:, None, None] & trace.recorded[:, :, None]
    moved = there & (trace.t[s] != trace.t_next[s])
    levels, index = np.unique(np.round(trace.t[s][moved].astype(np.float64) / 10, 1), return_inverse=True)
    values = {}
    for kind in KINDS:
        numbers = np.asarray(kind.of(trace, found, s), np.float64)[moved]
        known = np.isfinite(numbers)
        count = np.bincount(index[known], minlength=len(levels))
        total = np.bincount(index[known], numbers[known], minlength=len(levels))
        mean = np.divide(total, count, out=np.full(len(levels), np.nan), where=count > 0)
        values[kind.name] = _plain(mean[::-1])  # from noise to words
    return {"label": run.label, "index": index_of_run, "noise": levels[::-1].tolist(), "values": values}


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in values]


def _note(curve: dict[str, Any], kind: Kind, named: bool) -> str:
    pairs = [(v, n) for v, n in zip(curve["values"][kind.name], curve["noise"], strict=True) if v is not None]
    if not pairs:
        return ""
    most, least = max(pairs), min(pairs)
    who = f"{curve['label']}: most" if named else "Most"
    return f"{who} {most[0]:.3g} {kind.unit} at {most[1]:g} % noise, least {least[0]:.3g} at {least[1]:g} %.".replace(
        "  ", " "
    )


def straightness_note(run: Run) -> str:
    """How straight the paths of a run are, in a sentence."""
    found, trace, s = measure(run.trace), run.trace, run.sequence
    free = trace.free()[s]
    straight, length = (part[s][free] for part in (found.straightness, found.length))
    straight = straight[np.isfinite(straight)]
    if not len(straight):
        return f"{run.label}: no block has come to its end."
    return (
        f"{run.label}: a path is {np.nanmedian(length):.1f} latent units long and {np.median(straight):.2f} times as "
        "long as the straight way from its noise to its word (medians)."
    )


def point_value(model: ColaDLM, cloud: ReferenceCloud, run: Run, block: int, step: int, place: int) -> dict[str, Any]:
    """What a PointCard says of a point: step 0 to steps - 1 before a step, `steps` for the finished block."""
    trace, s, steps = run.trace, run.sequence, run.trace.recipe.settings.steps
    end = step >= steps
    latents = trace.latents[s, block] if end else trace.clean()[s, block, step]
    reading = read_point(model, history_of(model, trace, s, block), latents, place)
    size = model.latent_dim**0.5
    words = [word_of(model, token) for token in reading.token_ids]
    near = nearest_words(latents[place], cloud.latents, cloud.token_ids)
    if end:
        where, what = "at its end, noise 0 %", "The finished latent"
    else:
        t = float(trace.t[s, block, step, place])
        where, what = f"before step {step + 1} of {steps}, noise {t / 10:.0f} %, t = {t:.0f}", "The clean estimate"
    reach = (
        f"it could be moved by {reading.radius:.1f} latent units and more in every direction that was tried"
        if reading.far
        else f"it can be moved by about {reading.radius:.2f} latent units ({reading.radius / size:.0%} of a latent's "
        "size) before it reads as another"
    )
    sure = f"{reading.probabilities[0]:.0%}, {reading.margin:.1f} nats ahead of “{words[1]}”"
    about = f"{what} reads “{words[0]}” with {sure}; {reach}."
    if end:
        about += " Its block has come to its end: to go on from an earlier state, step back within the block."
    else:
        about += f" The state itself is {_distance(trace, s, block, step, place):.1f} latent units from where it ends."
    return card_value(
        f"Block {block + 1}, place {place + 1}, {where}",
        about,
        [(word, f"{p:.1%}") for word, p in zip(words, reading.probabilities, strict=True)],
        [(word_of(model, token), f"{distance:.2f}") for token, distance in near],
    )


def _distance(trace: Trace, s: int, block: int, step: int, place: int) -> float:
    return float(np.linalg.norm(trace.z[s, block, step, place].astype(np.float64) - trace.latents[s, block, place]))
