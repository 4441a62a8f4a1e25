"""Measures of how noise became words: pure functions of arrays, one sequence or any batch of them.

Axes, from the right: a path or a field of velocities is (..., steps, positions, channels), what belongs to a token is
(..., steps, tokens). Leading axes are free and every row is measured by itself, so a sequence measures the same alone
and in a batch. Distances are in units of the latent space (the noise has about sqrt(d) of them), times run from 1000
(noise) to 0 (data), angles are in degrees. Everything is computed in float64; what was never recorded is NaN and stays
NaN. Confidence, margin, entropy and the word itself are read where the logits are, by `recorder.preview`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..settings import NOISE_TIME
from . import Trace

Array = NDArray[np.float64]


class MeasureError(ValueError):
    """Arrays do not fit each other or the measure; the message names what was found and what was wanted."""


# words


def settled_step(token_ids: ArrayLike, final: ArrayLike | None = None) -> NDArray[np.int64]:
    """The first step from which the word stays the same to the end, (..., tokens), from 0 to steps.

    token_ids: (..., steps, tokens), the word read at each step. final: (..., tokens), the word that was chosen in the
    end; that of the last step if absent. A word that no last step reads (a chosen one can differ from the likeliest)
    is settled at `steps`, after all of them.
    """
    ids = np.asarray(token_ids)
    if ids.ndim < 2:
        raise MeasureError(f"token_ids has shape {ids.shape}, expected (..., steps, tokens)")
    steps = ids.shape[-2]
    if final is None:
        if steps == 0:
            raise MeasureError("token_ids has no step and there is no final word, expected one of the two")
        final = ids[..., -1, :]
    final = np.asarray(final)
    if final.shape != ids.shape[:-2] + ids.shape[-1:]:
        wanted = ids.shape[:-2] + ids.shape[-1:]
        raise MeasureError(f"final has shape {final.shape}, expected {wanted}, the shape of token_ids without steps")
    other = ids != final[..., None, :]
    last_other = np.where(other, np.arange(1, steps + 1)[:, None], 0).max(-2, initial=0)
    return last_other.astype(np.int64)


# paths


def step_lengths(path: ArrayLike) -> Array:
    """How far each step goes, |z_(s+1) - z_s|: a path (..., S + 1, n, d) has lengths (..., S, n)."""
    return _norm(np.diff(_path(path), axis=-3))


def travelled(path: ArrayLike) -> Array:
    """How far the path has come at each of its points, (..., S + 1, n), from 0 to its length."""
    lengths = step_lengths(path)
    start = np.zeros((*lengths.shape[:-2], 1, lengths.shape[-1]))
    return np.concatenate((start, np.cumsum(lengths, axis=-2)), axis=-2)


def path_length(path: ArrayLike) -> Array:
    """The sum of the lengths of all steps, (..., n), of the polygon through the states."""
    return travelled(path)[..., -1, :]


def straightness(path: ArrayLike) -> Array:
    """Length of the path over the distance of its ends, (..., n): 1 for a straight line, more for any other.

    Also called tortuosity. A path that never moves (a pinned position) has 1, one that ends where it began inf.
    """
    points = _path(path)
    length, apart = path_length(points), _norm(points[..., -1, :, :] - points[..., 0, :, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        # the triangle inequality up to rounding
        return np.where(length == 0, 1.0, np.maximum(length / apart, 1.0))


def speed(path: ArrayLike, times: ArrayLike) -> Array:
    """Mean speed over each step, (..., S, n): latent units for a whole way from noise (t = 1000) to data (t = 0).

    |z_(s+1) - z_s| / (|t_(s+1) - t_s| / 1000), which for an Euler step is the size of the velocity. times:
    (..., S + 1, n), those of the positions. 0 where neither time nor path moves, inf where the path moves alone.
    """
    points = _path(path)
    times = _floats(times, "times", 2)
    if times.shape[-2:] != points.shape[-3:-1]:
        raise MeasureError(f"times has shape {times.shape}, expected (..., {points.shape[-3]}, {points.shape[-2]})")
    spans = np.abs(np.diff(times, axis=-2)) / NOISE_TIME
    lengths = step_lengths(points)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lengths == 0, 0.0, lengths / spans)


def curvature(path: ArrayLike) -> Array:
    """Curvature at the inner points, (..., S - 1, n), in 1 / latent units: 1 / radius of the circle through a point
    and its two neighbours (Menger 1930), exact on a circle however its points are spaced.

    0 on a straight line, whichever way it is walked (see `turning`), and where the path stands still.
    """
    points = _path(path)
    before, after = points[..., 1:-1, :, :] - points[..., :-2, :, :], points[..., 2:, :, :] - points[..., 1:-1, :, :]
    chord = points[..., 2:, :, :] - points[..., :-2, :, :]
    # 1 / R = 2 sin(angle) / chord; the sine by the part of one side across the other, which is exact for small angles
    a, b, c = _norm(before), _norm(after), _norm(chord)
    along = (before * after).sum(-1) / np.where(a == 0, 1.0, a * a)
    across = _norm(after - along[..., None] * before)
    still = (a == 0) | (b == 0) | (c == 0)
    return np.where(still, 0.0, 2 * across / np.where(still, 1.0, b * c))


def turning(path: ArrayLike) -> Array:
    """By how much the path turns at its inner points, (..., S - 1, n), in degrees: 0 straight on, 180 back.

    0 where the path stands still.
    """
    moves = np.diff(_path(path), axis=-3)
    still = _norm(moves) == 0
    return np.where(still[..., :-1, :] | still[..., 1:, :], 0.0, angle(moves[..., :-1, :, :], moves[..., 1:, :, :]))


def distance_to(points: ArrayLike, goal: ArrayLike) -> Array:
    """Distance (..., S, n) of each point (..., S, n, d) of a path, or of its clean estimates, to a goal (..., n, d)."""
    points, goal = _path(points), _floats(goal, "goal", 2)
    if goal.shape[-2:] != points.shape[-2:]:
        raise MeasureError(f"goal has shape {goal.shape}, expected (..., {points.shape[-2]}, {points.shape[-1]})")
    return _norm(points - goal[..., None, :, :])


def distance_to_end(path: ArrayLike) -> Array:
    """Distance of each point of a path to its last one, (..., S + 1, n); the last is 0."""
    points = _path(path)
    return distance_to(points, points[..., -1, :, :])


# guidance


@dataclasses.dataclass(frozen=True)
class GuidanceMeasures:
    """Guided against unguided velocity, every array (..., S, n), sizes in latent units a unit of t / 1000.

    conditional, unconditional, guided: sizes of the velocities. pull: size of conditional - unconditional, what the
    guidance multiplies. angle: between conditional and unconditional, in degrees. turn: between unconditional and
    guided, in degrees. Angles are NaN where a velocity is zero or NaN (no second pass was made).
    """

    conditional: Array
    unconditional: Array
    guided: Array
    pull: Array
    angle: Array
    turn: Array


def guidance_measures(conditional: ArrayLike, unconditional: ArrayLike, guided: ArrayLike) -> GuidanceMeasures:
    """Compares the velocities (..., S, n, d) of classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""
    c, u, g = _path(conditional), _path(unconditional), _path(guided)
    if not c.shape == u.shape == g.shape:
        raise MeasureError(f"velocities have shapes {c.shape}, {u.shape} and {g.shape}, expected three of one shape")
    return GuidanceMeasures(_norm(c), _norm(u), _norm(g), _norm(c - u), angle(c, u), angle(u, g))


def angle(a: ArrayLike, b: ArrayLike) -> Array:
    """The angle between vectors (..., d), in degrees from 0 to 180; NaN where one of them is zero or NaN.

    2 atan2(|a' - b'|, |a' + b'|) of the unit vectors (Kahan 2006), exact for small angles where arccos is not.
    """
    a, b = _floats(a, "a", 1), _floats(b, "b", 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = a / _norm(a)[..., None], b / _norm(b)[..., None]
    return np.degrees(2 * np.arctan2(_norm(a - b), _norm(a + b)))


# a whole trace


@dataclasses.dataclass(frozen=True)
class TraceMeasures:
    """Everything above of every sequence and block of a trace; axes sequence S, block B, step K, position p, token w.

    path: the states, (S, B, K + 1, p, d), the last being the finished latents; times: theirs, (S, B, K + 1, p).
    speed, distance_to_end, curvature (NaN at the first step, where nothing came before) and `guidance`: (S, B, K, p),
    before each step. straightness, length: (S, B, p), of whole blocks, NaN for one that was stopped. settled:
    (S, B, w), the step from which the chosen word stays, -1 where no word was chosen or none was previewed.
    NaN wherever nothing was recorded; guidance is NaN in steps without it, but for `guided`, the size of the velocity.
    """

    path: Array
    times: Array
    speed: Array
    distance_to_end: Array
    curvature: Array
    straightness: Array
    length: Array
    settled: NDArray[np.int64]
    guidance: GuidanceMeasures


def measure(trace: Trace) -> TraceMeasures:
    """Measures a trace; states that were recorded in float16 have three digits, and so have their measures."""
    there = trace.active[:, :, None, None] & trace.recorded[:, :, None]  # (S, B, K, 1)
    ended = (trace.active & trace.finished)[:, :, None, None]
    z = np.where(there[..., None], trace.z.astype(np.float64), np.nan)
    end = np.where(ended[..., None], trace.latents.astype(np.float64)[:, :, None], np.nan)
    path = np.concatenate((z, end), axis=2)
    last = np.where(ended, trace.t_next[:, :, -1:], np.nan)
    times = np.concatenate((np.where(there, trace.t.astype(np.float64), np.nan), last), axis=2)
    bends = np.full((*there.shape[:3], path.shape[3]), np.nan)
    bends[:, :, 1:] = curvature(path)
    return TraceMeasures(
        path, times, speed(path, times), distance_to_end(path)[:, :, :-1], bends,
        straightness(path), path_length(path), _settled(trace), _guidance(trace, there),
    )  # fmt: skip


def _settled(trace: Trace) -> NDArray[np.int64]:
    chosen = (trace.token_ids >= 0) & (trace.active & trace.finished)[..., None]
    if trace.preview_ids is None:
        return np.full(chosen.shape, -1)
    steps = np.arange(trace.recorded.shape[1])
    last = np.where(trace.recorded, steps, -1).max(1, initial=-1)
    # a block that was ended early keeps its words for the steps that it did not take
    ended = (trace.finished[:, None] & (steps > last[:, None]))[:, :, None]
    read = np.where(ended, trace.token_ids[:, :, None], trace.preview_ids)
    return np.where(chosen, settled_step(read, trace.token_ids), -1)


def _guidance(trace: Trace, there: NDArray[np.bool_]) -> GuidanceMeasures:
    velocity = np.where(there[..., None], trace.velocity.astype(np.float64), np.nan)
    if trace.conditional is None or trace.unconditional is None:
        nothing = np.full_like(velocity, np.nan)
        return guidance_measures(nothing, nothing, velocity)
    two = there[..., None] & trace.guided[:, :, None, None]
    conditional, unconditional = (
        np.where(two, half.astype(np.float64), np.nan) for half in (trace.conditional, trace.unconditional)
    )
    return guidance_measures(conditional, unconditional, velocity)


# shapes


def _floats(values: ArrayLike, name: str, least: int) -> Array:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim < least:
        raise MeasureError(f"{name} has {array.ndim} axes, expected at least {least}")
    return array


def _path(values: ArrayLike) -> Array:
    path = _floats(values, "path", 3)
    if path.shape[-3] == 0:
        raise MeasureError(f"path has shape {path.shape}, expected (..., steps, positions, channels) with a step")
    return path


def _norm(vectors: Array) -> Array:
    return np.sqrt(np.square(vectors).sum(-1))
