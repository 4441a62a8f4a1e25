"""Time grids, solvers, guidance and the stochastic step of flow matching, as pure functions.

They know only velocity(z, t): t is a nominal time in [0, 1000], 1000 noise and 0 data, and dz/d(t/1000) = velocity.
Nothing here depends on a network, and the same solver samples (1000 to 0) and inverts (0 to 1000). A position that
starts from another time than the grid's end, a re-noised or a pinned one, runs on the same grid times its `scale`
(start / 1000; 0 where pinned, so that it stays exactly where it is).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..settings import NOISE_TIME

MOST_GAIN = 3.0  # nats of a token's logit, by a unit of guidance; chosen under a judge, see docs/training.md

Time = float | Tensor  # of all positions, or of each: (n, 1)
Velocity = Callable[[Tensor, Time], Tensor]


# time grids: progress from 0 to 1 -> share of noise from 1 to 0


def linear_grid(progress: float) -> float:
    """Equal steps, as in the published sampler."""
    return 1 - progress


def cosine_grid(progress: float) -> float:
    """Half a cosine: short steps at both ends, long ones in the middle."""
    return (1 + math.cos(math.pi * progress)) / 2


def quadratic_grid(progress: float) -> float:
    """Squares: long steps in noise, short ones near the data."""
    return (1 - progress) ** 2


GRIDS: dict[str, Callable[[float], float]] = {
    "linear": linear_grid,
    "cosine": cosine_grid,
    "quadratic": quadratic_grid,
}


def shifted(share: float, shift: float) -> float:
    """s u / (1 + (s - 1) u): towards noise for a shift s > 1 (Esser et al. 2024, arXiv:2403.03206)."""
    return shift * share / (1 + (shift - 1) * share)


def time_grid(name: str, steps: int, shift: float = 1.0) -> list[float]:
    """steps + 1 times from 1000 to 0. Raises KeyError for an unknown name."""
    return [times[0] for times in staggered_grid(name, steps, shift, 1, 0.0)]


def staggered_grid(name: str, steps: int, shift: float, positions: int, stagger: float) -> list[list[float]]:
    """steps + 1 rows of times from 1000 to 0, one for each position of a block.

    Each position follows the one before it by `stagger` of the whole way from noise to data: 0 is all at once, 1 one
    after another. The steps are shared out, so each position moves in steps / (1 + (positions - 1) stagger) of them.
    After Ruhe et al. 2024 (arXiv:2402.09470) and Chen et al. 2024 (arXiv:2407.01392), within a block.
    """
    grid, whole = GRIDS[name], 1 + (positions - 1) * stagger
    rows = []
    for step in range(steps + 1):
        # rounded, so that a position at an end is there to the last digit
        progress = [round(whole * step / steps - stagger * place, 12) for place in range(positions)]
        rows.append(
            [NOISE_TIME if p <= 0 else 0.0 if p >= 1 else NOISE_TIME * shifted(grid(p), shift) for p in progress]
        )
    return rows


# solvers: the mean velocity over a step from t to t_next, given the velocity v at its start

Solver = Callable[[Velocity, Tensor, Tensor, Time, Time, "Tensor | float"], Tensor]


def advance(z: Tensor, v: Tensor, t: Time, t_next: Time, scale: Tensor | float = 1.0) -> Tensor:
    """Where velocity v takes z between the times t and t_next: z + scale (t_next - t) / 1000 v."""
    return z - (scale * ((t - t_next) / NOISE_TIME)) * v


def euler(velocity: Velocity, z: Tensor, v: Tensor, t: Time, t_next: Time, scale: Tensor | float = 1.0) -> Tensor:
    """First order, one evaluation a step."""
    return v


def midpoint(velocity: Velocity, z: Tensor, v: Tensor, t: Time, t_next: Time, scale: Tensor | float = 1.0) -> Tensor:
    """Second order, two evaluations: the velocity half-way."""
    middle = (t + t_next) / 2
    return velocity(advance(z, v, t, middle, scale), middle)


def heun(velocity: Velocity, z: Tensor, v: Tensor, t: Time, t_next: Time, scale: Tensor | float = 1.0) -> Tensor:
    """Second order, two evaluations: the mean of the velocities at both ends."""
    return (v + velocity(advance(z, v, t, t_next, scale), t_next)) / 2


SOLVERS: dict[str, Solver] = {"euler": euler, "midpoint": midpoint, "heun": heun}


def evaluation_times(solver: str, grid: Sequence[float]) -> list[float]:
    """Every time at which this solver evaluates the velocity over this grid of a position, without repeats."""
    times = list(grid)
    if solver == "midpoint":
        times += [(t + t_next) / 2 for t, t_next in itertools.pairwise(grid)]
    return list(dict.fromkeys(times))


def times_of_step(solver: str, times: Sequence[float], times_next: Sequence[float]) -> list[list[float]]:
    """The times of the positions at each evaluation of one step, in the order in which this solver makes them."""
    if solver == "midpoint":
        middle = [(t + t_next) / 2 for t, t_next in zip(times, times_next, strict=True)]
        return [list(times), middle]
    return [list(times), list(times_next)] if solver == "heun" else [list(times)]


def inverse(solver: Solver, iterations: int) -> Solver:
    """A solver whose step from t to t_next is undone by `solver`'s step from t_next to t.

    Fixed-point iteration on the end point y, from the plain step: y <- y + z - step(y). Needs a step that contracts.
    """

    def mean_velocity(
        velocity: Velocity, z: Tensor, v: Tensor, t: Time, t_next: Time, scale: Tensor | float = 1.0
    ) -> Tensor:
        v_mean = solver(velocity, z, v, t, t_next, scale)
        for _ in range(iterations):
            y = advance(z, v_mean, t, t_next, scale)
            v_mean = solver(velocity, y, velocity(y, t_next), t_next, t, scale)
        return v_mean

    return mean_velocity


# guidance, estimates, stochastic steps


def guide(conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
    """Classifier-free guidance, u + g (c - u): where g is 1 that is c to the last bit, as if there were one pass."""
    return torch.lerp(unconditional, conditional, guidance)


def guide_logits(conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
    """The same of logits (..., V): probabilities p_c (p_c / p_u)^(g - 1), but for a bound of what a token gains where g
    is above 1.

    Without the bound a token that the text has just had, likely after it and rare otherwise, comes again and again.
    """
    gain = conditional.log_softmax(-1) - unconditional.log_softmax(-1)
    most = torch.where(guidance > 1, MOST_GAIN, torch.inf)
    return torch.addcmul(conditional, guidance - 1, torch.minimum(gain, most))


def clean_estimate(z: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The data that z comes from if v held all the way: z - t/1000 v. t: times of the positions, (..., n)."""
    return z - (t / NOISE_TIME)[..., None] * v


def noise_estimate(z: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The noise that z goes to if v held all the way: z + (1 - t/1000) v. t: times of the positions, (..., n)."""
    return z + (1 - t / NOISE_TIME)[..., None] * v


def interpolant(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t = (1 - t/1000) clean + t/1000 noise. t: times of the positions, (..., n)."""
    share = (t / NOISE_TIME)[..., None]
    return (1 - share) * clean + share * noise


def stochastic_step(z: Tensor, v: Tensor, t: Tensor, t_next: Tensor, share: float | Tensor, fresh: Tensor) -> Tensor:
    """The step to t_next with a share of the noise replaced by fresh noise of the same size; share 0 is the plain step.

    t, t_next: times of the positions, (..., n).
    """
    noise = (1 - share) ** 0.5 * noise_estimate(z, v, t) + share**0.5 * fresh
    return interpolant(clean_estimate(z, v, t), noise, t_next)


@dataclasses.dataclass(frozen=True)
class Interval:
    """A closed interval of times in which guidance acts (Kynkäänniemi et al. 2024, arXiv:2404.07724)."""

    low: float
    high: float

    def holds(self, t: Tensor) -> Tensor:
        """Whether it has these times, which are float32 wherever they are asked for: at an end, a rounding decides."""
        return (t >= self.low) & (t <= self.high)
