"""The sphere that posterior means lie on, and Gaussian noise: projection, slerp, means and distances.

A text VAE that ends in a LayerNorm without affine gives means of zero sum and unit variance over their d channels: a
sphere of radius sqrt(d) in the hyperplane of zero sum. Points are (..., d), unscaled, and every function works on each
of them alone. All is computed in float64 and returned in the dtype of the input. Domain: d >= 3
(with two channels the sphere is two points with no path between them), and no point with all channels equal, which
has no direction. Slerp: Shoemake 1985, "Animating rotation with quaternion curves"; mean: Karcher 1977.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAME = 1e-12  # radians below which two directions are one
OPPOSITE = 3e-7  # radians from opposite below which float32 says nothing about the way around
KARCHER_STEPS = 64
KARCHER_TOLERANCE = 1e-12


class GeometryError(ValueError):
    """A point lies outside the domain of a function; the message says what was found and what was wanted."""


# the sphere


def project(x: Tensor) -> Tensor:
    """The nearest point of the sphere, (..., d): the mean over the channels removed, the norm set to sqrt(d)."""
    return (_directions(x) * math.sqrt(x.shape[-1])).to(x.dtype)


def slerp(a: Tensor, b: Tensor, weight: Tensor | float) -> Tensor:
    """The point `weight` of the way along the great circle from a to b, (..., d); 0 is a, 1 is b.

    weight: a number, or a tensor that broadcasts against (...). Equal points give that point. Opposite points have no
    shortest path: theirs goes through a point that depends on the pair alone, so that slerp(a, b, w) and
    slerp(b, a, 1 - w) agree there too. Raises GeometryError for whole numbers.
    """
    if not a.is_floating_point() or not b.is_floating_point():
        raise GeometryError(f"points are of {a.dtype} and {b.dtype}, expected floating point numbers")
    first, second = _directions(a), _directions(b)
    tangent, angle = _way(first, second)
    w = torch.as_tensor(weight, dtype=torch.float64, device=a.device) * angle
    return (_along(first, tangent, w) * math.sqrt(a.shape[-1])).to(a.dtype)


def weighted_mean(points: Tensor, weights: Tensor) -> Tensor:
    """The point of the sphere with the least weighted sum of squared angles to k points: (k, ..., d), (k,) -> (..., d).

    weights: 0 or more, not all 0; they need not sum to 1. For two points it is slerp. The Karcher mean is found by
    iteration from the normalised sum; it is unique where the points lie within a quarter turn of each other, and
    otherwise the one that the iteration comes to.
    """
    if points.ndim < 2 or weights.shape != points.shape[:1]:
        found = f"{tuple(points.shape)} and {tuple(weights.shape)}"
        raise GeometryError(f"points and weights have shapes {found}, expected (k, ..., d) and (k,)")
    w = weights.double()
    if not bool((w >= 0).all()) or not bool(w.sum() > 0) or not bool(w.isfinite().all()):
        raise GeometryError(f"weights are {weights.tolist()}, expected numbers from 0 up that are not all 0")
    w = (w / w.sum()).view(-1, *[1] * (points.ndim - 1))
    directions = _directions(points)
    total = (w * directions).sum(0)
    heaviest = directions[int(w.flatten().argmax())]
    norm = total.norm(dim=-1, keepdim=True)
    mean = torch.where(norm > 1e-9, total / norm.clamp(min=1e-300), heaviest)  # points that cancel: the heaviest
    for _ in range(KARCHER_STEPS):
        tangents, angles = _way(mean.expand_as(directions), directions)
        step = (w * angles[..., None] * tangents).sum(0)
        length = step.norm(dim=-1)
        mean = _along(mean, step / length.clamp(min=1e-300)[..., None], length)
        if bool((length < KARCHER_TOLERANCE).all()):
            break
    return (mean * math.sqrt(points.shape[-1])).to(points.dtype)


def push(x: Tensor, direction: Tensor, amount: Tensor | float) -> Tensor:
    """x moved by `amount` radii along a direction and put back on the sphere, (..., d); 0 stays where it is.

    direction: (..., d), its length does not count. An amount of 1 turns a point by 45 degrees where the direction is
    at right angles to it. A push straight through the centre leaves its point where it is.
    """
    start, unit = _directions(x), _directions(direction)
    moved = start + torch.as_tensor(amount, dtype=torch.float64, device=x.device)[..., None] * unit
    norm = moved.norm(dim=-1, keepdim=True)
    moved = torch.where(norm > 1e-9, moved / norm.clamp(min=1e-300), start)
    return (moved * math.sqrt(x.shape[-1])).to(x.dtype)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between two points seen from the centre, (...), in radians from 0 to pi."""
    return _angle(_directions(a), _directions(b)).to(a.dtype)


def chord(a: Tensor, b: Tensor) -> Tensor:
    """The straight distance of two points of the sphere, (...), from 0 to 2 sqrt(d)."""
    return ((_directions(a) - _directions(b)).norm(dim=-1) * math.sqrt(a.shape[-1])).to(a.dtype)


# noise


def noise_slerp(a: Tensor, b: Tensor, weight: Tensor | float) -> Tensor:
    """From one noise to another, (..., d): the direction by slerp, the length in equal steps.

    Gaussian noise in d channels has a length of about sqrt(d), and a straight line between two of them passes well
    inside of that, where a flow was never trained. Any d >= 2, and not 0.
    """
    lengths = [x.double().norm(dim=-1) for x in (a, b)]
    if any(bool((length == 0).any()) for length in lengths):
        raise GeometryError("a noise is 0 in all channels, expected one with a direction")
    first, second = (x.double() / length[..., None] for x, length in zip((a, b), lengths, strict=True))
    tangent, angle_between = _way(first, second, in_hyperplane=False)
    w = torch.as_tensor(weight, dtype=torch.float64, device=a.device)
    length = (1 - w) * lengths[0] + w * lengths[1]
    return (_along(first, tangent, w * angle_between) * length[..., None]).to(a.dtype)


def noise_mean(points: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of k noises, (k, ..., d), (k,) -> (..., d): of their directions and of their lengths.

    weights: 0 or more, not all 0. Directions that cancel have no mean and raise GeometryError.
    """
    w = (weights.double() / weights.double().sum()).view(-1, *[1] * (points.ndim - 1))
    lengths = points.double().norm(dim=-1, keepdim=True)
    total = (w * points.double() / lengths).sum(0)
    norm = total.norm(dim=-1, keepdim=True)
    if not bool((norm > 1e-9).all()):
        raise GeometryError("the directions of the noises cancel or are 0, expected some with a mean")
    return (total / norm * (w * lengths).sum(0)).to(points.dtype)


# parts


def _directions(x: Tensor) -> Tensor:
    """Unit vectors of zero sum in float64. Raises GeometryError."""
    if x.shape[-1] < 3:
        raise GeometryError(f"points have {x.shape[-1]} channels, expected at least 3")
    x = x.double()
    centred = x - x.mean(-1, keepdim=True)
    norm = centred.norm(dim=-1, keepdim=True)
    if not bool((norm > 1e-12 * x.norm(dim=-1, keepdim=True)).all()):
        raise GeometryError("a point has the same value in all channels or none at all, expected one with a direction")
    return centred / norm


def _angle(first: Tensor, second: Tensor) -> Tensor:
    """Between unit vectors; exact for small and for nearly opposite ones (Kahan), unlike an arc cosine."""
    return 2 * torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1))


def _way(first: Tensor, second: Tensor, in_hyperplane: bool = True) -> tuple[Tensor, Tensor]:
    """The unit tangent at `first` towards `second` (0 where they are one), and the angle, of unit vectors (..., d)."""
    across = second - (first * second).sum(-1, keepdim=True) * first
    across = across - (first * across).sum(-1, keepdim=True) * first  # again: nearly all of it may have cancelled
    length = across.norm(dim=-1, keepdim=True)
    angle_between = _angle(first, second)
    opposite = (angle_between > math.pi / 2)[..., None] & (length < OPPOSITE)
    tangent = torch.where(length > SAME, across / length.clamp(min=1e-300), torch.zeros_like(across))
    tangent = torch.where(opposite, _right_angle(first, in_hyperplane), tangent)
    return tangent, torch.where(opposite[..., 0], math.pi, angle_between)


def _right_angle(x: Tensor, in_hyperplane: bool) -> Tensor:
    """A unit vector at right angles to the unit vectors x (..., d), the same for x and -x: from the flattest axis."""
    axis = torch.nn.functional.one_hot(x.abs().argmin(-1), x.shape[-1]).to(x)
    if in_hyperplane:
        axis = axis - 1 / x.shape[-1]
    axis = axis - (axis * x).sum(-1, keepdim=True) * x
    return axis / axis.norm(dim=-1, keepdim=True)


def _along(first: Tensor, tangent: Tensor, way: Tensor) -> Tensor:
    """From unit vectors along unit tangents by angles (...)."""
    point = way.cos()[..., None] * first + way.sin()[..., None] * tangent
    return point / point.norm(dim=-1, keepdim=True)
