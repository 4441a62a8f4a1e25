"""Operations on latents: interpolation, edits of a span, directions, inversion; all are plans for the sampler.

Each operation is a function (model, recipe) -> events beside its OPTIONS and its DESCRIPTION. What it adds to the
sampler's events comes as an event of its own (Inverting, Trying, RoundTrips, Interpolation, Edited, Filled), before
Finished.
"""

from .directions import (
    Direction,
    DirectionError,
    build,
    build_shipped,
    load_pairs,
    principal_components,
    shipped,
)
from .edit import (
    Candidate,
    Edited,
    SpanEdit,
    edit_events,
    edited_tokens,
    run_edit,
)
from .fill import Filled, FilledText, has_holes
from .geometry import GeometryError
from .interpolate import Interpolation, Trying, Waypoint, run_interpolate
from .invert import (
    Inverting,
    RoundTrip,
    RoundTrips,
    exact_settings,
    round_trips,
    run_invert,
)
from .layout import LatentSpace, Layout, lay_out
from .waypoints import WaypointPlans

__all__ = [
    "Candidate",
    "Direction",
    "DirectionError",
    "Edited",
    "Filled",
    "FilledText",
    "GeometryError",
    "Interpolation",
    "Inverting",
    "LatentSpace",
    "Layout",
    "RoundTrip",
    "RoundTrips",
    "SpanEdit",
    "Trying",
    "Waypoint",
    "WaypointPlans",
    "build",
    "build_shipped",
    "edit_events",
    "edited_tokens",
    "exact_settings",
    "has_holes",
    "lay_out",
    "load_pairs",
    "principal_components",
    "round_trips",
    "run_edit",
    "run_interpolate",
    "run_invert",
    "shipped",
]
