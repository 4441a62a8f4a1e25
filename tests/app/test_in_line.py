"""What a visitor of the page sees while others are served."""

import pytest

from app.desk import Desk
from app.interpolate import EXAMPLES, interpolate
from app.model_turn import SHARING
from app.serving.sharing import Limits
from app.settings_panel import values_of
from app.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .viewing import Viewer, controls_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, guidance=2.0)
LONG = SamplerSettings(steps=50, max_new_tokens=1024, stop_at_end=False)


@pytest.fixture
def one_place(monkeypatch, model):
    """A single place, which somebody else holds; gives what ends that."""
    monkeypatch.setattr(SHARING, "limits", Limits(running=1, waiting=1))
    held = SHARING.run(model, Recipe("generate", ("x",), LONG), steps="none")
    yield held
    held.close()


def writing(model):
    """(the strip, the progress line) of every frame of a run."""
    controls = controls_of(SETTINGS, prompt="The cat", variations=1)
    for frame in Desk(model, TraceStore()).write(Viewer(), controls):
        if "strip" in frame:
            yield frame["strip"], frame["progress"]


def road(model):
    options = ["through_flow", 3, 50, "arch", "pad", ""]
    return interpolate(model, 2, *EXAMPLES[0], "", "", "", "", *options, *values_of(SETTINGS))


@pytest.mark.parametrize("handler", [writing, road])
def test_the_page_answers_at_once_then_says_where_one_stands_then_runs(model, one_place, handler):
    frames = handler(model)
    assert next(frames)[1]["state"] == "running"  # although there is no place yet
    parts = next(frames)[1]["parts"]
    assert parts[0] == "number 1 in the line" and parts[1].startswith("about ")
    one_place.close()
    assert "done" in [frame[1].get("state") for frame in frames]


def test_who_stops_in_the_line_is_out_of_it(model, one_place):
    frames = writing(model)
    next(frames)
    next(frames)
    frames.close()
    assert SHARING.numbers() == {"running": 1, "waiting": 0}


def test_a_full_line_is_said_in_the_page(model, one_place):
    waits = SHARING.run(model, Recipe("generate", ("x",), SETTINGS))
    with pytest.raises(ValueError, match="The queue is full"):
        list(writing(model))
    waits.close()
