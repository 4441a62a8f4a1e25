"""What a visitor of the page sees while others are served."""

import pytest

from app.generate.handlers import GenerateHandlers
from app.interpolate.handlers import interpolate
from app.interpolate.tab import EXAMPLES
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.recipe import Recipe
from coladlm.serve import Limits, Scheduler

from .viewing import Viewer, controls_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, guidance=2.0)
LONG = SamplerSettings(steps=50, max_new_tokens=1024, stop_at_end=False)


@pytest.fixture
def one_place():
    """A scheduler with a single place."""
    one = Scheduler(Limits(running=1, waiting=1))
    yield one
    one.close(grace=0)


@pytest.fixture
def held(model, one_place):
    """The request of somebody else that holds the place."""
    return one_place.run(model, Recipe("generate", ("x",), LONG), steps="none")


def writing(model, scheduler):
    """(the strip, the progress line) of every frame of a run."""
    controls = controls_of(SETTINGS, prompt="The cat", variations=1)
    for frame in GenerateHandlers(model, TraceStore(), scheduler, BundledBaseline()).write(Viewer(), controls):
        if "strip" in frame:
            yield frame["strip"], frame["progress"]


def interpolating(model, scheduler):
    """(the rows, None before the run has begun, the progress line) of every frame of a run."""
    texts = dict(zip("12", EXAMPLES[0], strict=True))
    options = {"road": "through_flow", "stops": 3, "renoise": 50, "tries": 1, "profile": "arch", "align": "pad",
               "before": ""}  # fmt: skip
    controls = controls_of(SETTINGS, count=2, texts=texts, options=options)
    for frame in interpolate(model, scheduler, Viewer(), controls):
        if "progress" in frame:
            yield frame.get("rows"), frame["progress"]


@pytest.mark.parametrize("handler", [writing, interpolating])
def test_the_page_answers_at_once_then_says_where_one_stands_then_runs(model, one_place, held, handler):
    frames = handler(model, one_place)
    assert next(frames)[1]["state"] == "running"  # although there is no place yet
    parts = next(frames)[1]["parts"]
    assert parts[0] == "number 1 in the queue" and parts[1].startswith("about ")
    held.close()
    assert "done" in [frame[1].get("state") for frame in frames]


def test_who_stops_in_the_line_is_out_of_it(model, one_place, held):
    frames = writing(model, one_place)
    next(frames)
    next(frames)
    frames.close()
    assert one_place.numbers() == {"running": 1, "waiting": 0}


def test_a_full_line_is_said_in_the_page(model, one_place, held):
    waits = one_place.run(model, Recipe("generate", ("x",), SETTINGS))
    with pytest.raises(ValueError, match="The queue is full"):
        list(writing(model, one_place))
    waits.close()
