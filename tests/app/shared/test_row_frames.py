"""Rows of a run whose steps come all together are shown one step after another."""

from app.shared.row_frames import LiveRows, Row
from coladlm import SamplerSettings, Step
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Waiting

from ...token_models import with_tokens

SETTINGS = SamplerSettings(steps=2, max_new_tokens=8, stop_at_end=False, noises=2, stagger=0.0)


class Told:
    """Notes who waits for what."""

    def __init__(self) -> None:
        self.asked: list = []

    def begins(self) -> None:
        self.asked.append("begins")

    def wait_for(self, step: Step) -> None:
        self.asked.append((step.block, step.index))


def test_every_step_waits_for_its_turn_and_the_first_block_is_timed_from_the_end_of_the_queue(model):
    model = with_tokens(model)
    recipe = Recipe("generate", ("Once upon",), SETTINGS)
    live = LiveRows(model, recipe, [Row("B", context=[], room=8, skip=0)], 2, ends=False)
    live.told = Told()
    events = list(run(model, recipe))
    list(live.frames([Waiting(1, 0.5), *events]))
    steps = [(event.block, event.index) for event in events if isinstance(event, Step)]
    assert len(steps) > 3 and live.told.asked == ["begins", *steps]
