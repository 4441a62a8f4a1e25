"""Operations driven alone: their batches are run, their events pass, and closing them closes all."""

import pytest

from coladlm import (
    BlockDone,
    ColaDLM,
    Finished,
    PlanError,
    SamplerSettings,
    Step,
)
from coladlm.batch import Batch, pass_on, run_alone

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, stop_at_end=False)


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def batch_of(model, settings=SETTINGS, **more) -> Batch:
    return Batch(model.plans(["The cat"], settings), settings, **more)


def test_an_operation_that_passes_on_gives_the_events_of_the_sampler(model):
    seen = list(run_alone(model, pass_on(batch_of(model))))
    expected = list(model.sample(["The cat"], SETTINGS))
    assert [type(event) for event in seen] == [type(event) for event in expected]
    assert seen[-1] == expected[-1]


def test_an_operation_is_sent_each_event_once_and_its_own_come_in_their_place(model):
    def operation():
        batch = batch_of(model)
        yield "first"
        while not isinstance(event := (yield batch), Finished):
            if isinstance(event, BlockDone):
                yield f"block {event.block}"
                yield "and more"
        yield event

    *note, finished = run_alone(model, operation())
    blocks = sum(isinstance(event, BlockDone) for event in model.sample(["The cat"], SETTINGS))
    assert note == ["first", *[part for i in range(blocks) for part in (f"block {i}", "and more")]]
    assert finished.texts == model.generate(["The cat"], SETTINGS)


def test_an_operation_may_ask_for_one_batch_after_another(model):
    def operation():
        first, second = batch_of(model), batch_of(model)
        assert isinstance((yield first), Step)  # and lets go of it
        yield from pass_on(second)

    *_, finished = run_alone(model, operation())
    assert finished.texts == model.generate(["The cat"], SETTINGS)


def test_closing_closes_the_operation(model):
    closed = []

    def operation():
        try:
            yield from pass_on(batch_of(model))
        finally:
            closed.append(True)

    events = run_alone(model, operation())
    next(events)
    events.close()
    assert closed


def test_what_does_not_fit_is_raised_where_the_batch_is_asked_for(model):
    wild = SamplerSettings(steps=2, max_new_tokens=6, stochasticity=0.5)
    with pytest.raises(PlanError, match="stochasticity"):
        next(run_alone(model, pass_on(batch_of(model, wild, invert=True))))
