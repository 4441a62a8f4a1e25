"""Operations on latents: roads between texts, edits of a span, directions, inversion; all are plans for the sampler.

Each operation is a function (model, recipe) -> events beside its OPTIONS and its DESCRIPTION; what it has to say beyond
the sampler's events comes as an event of its own (Inverting, RoundTrips, Road, Edited), always before Finished.
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
from .geometry import GeometryError
from .interpolate import Road, Stop, run_interpolate
from .invert import (
    Inverting,
    RoundTrip,
    RoundTrips,
    exact_settings,
    round_trips,
    run_invert,
)
from .layout import LatentSpace, Layout, lay_out
from .waypoints import StopMaker

__all__ = [
    "Candidate",
    "Direction",
    "DirectionError",
    "Edited",
    "GeometryError",
    "Inverting",
    "LatentSpace",
    "Layout",
    "Road",
    "RoundTrip",
    "RoundTrips",
    "SpanEdit",
    "Stop",
    "StopMaker",
    "build",
    "build_shipped",
    "edit_events",
    "edited_tokens",
    "exact_settings",
    "lay_out",
    "load_pairs",
    "principal_components",
    "round_trips",
    "run_edit",
    "run_interpolate",
    "run_invert",
    "shipped",
]
