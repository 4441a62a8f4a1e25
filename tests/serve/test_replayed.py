"""Runs that other processes work on: what crosses, and what becomes of a run whose process ends."""

import dataclasses
import pickle
import threading

import pytest
import torch

from coladlm import BlockDone, Finished, SamplerSettings, Step
from coladlm.checkpoint import BUNDLED
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import OPERATIONS, run
from coladlm.serve import Scheduler, far_runs
from coladlm.serve.carried import RefusedElsewhereError, carried_events, carry, restore
from coladlm.serve.drafts import Draft
from coladlm.serve.far_runs import FarRuns
from coladlm.serve.outline import model_outline
from coladlm.serve.replayed import LostReplicaError, LostRunError, replayed

SETTINGS = SamplerSettings(steps=2, max_new_tokens=24, stop_at_end=False, guidance=2.0)
RECIPE = Recipe("generate", ("Once upon a time",), SETTINGS, variations=2)
TEXTS = {"fill": ("The ___ ran.",), "interpolate": ("The cat sat.", "A dog ran home.")}


def sent(model, recipe=RECIPE, *how):
    """What a worker sends, through pickle as to another process."""
    for parcel in carried_events(model, recipe, *how):
        yield pickle.loads(pickle.dumps(parcel))


def told(events):
    return [(type(event), event.texts) for event in events if isinstance(event, BlockDone | Finished)]


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, field.name), getattr(b, field.name))
            for field in dataclasses.fields(a) if field.name != "decode"
        )  # fmt: skip
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_event_of_every_operation_crosses_unchanged(model, operation):
    recipe = Recipe(operation, TEXTS.get(operation, ("Once upon a time there was a cat.",)),
                    dataclasses.replace(SETTINGS, max_new_tokens=6, steps=2),
                    options={"start": 1, "end": 3} if operation == "edit" else {})  # fmt: skip
    wanted, found = list(run(model, recipe)), [restore(parcel) for parcel in sent(model, recipe)]
    assert len(found) == len(wanted) and all(map(same, wanted, found))


def test_a_preview_crosses_with_its_step(model):
    for event, parcel in zip(run(model, RECIPE), sent(model), strict=False):
        if isinstance(event, Step):
            assert torch.equal(restore(parcel).preview(), event.preview())
            return
    pytest.fail("there was no step")


def test_drafts_cross_in_place_of_their_steps(model):
    found = [restore(parcel) for parcel in sent(model, RECIPE, "drafts")]
    for event, alone in zip(found, run(model, RECIPE), strict=True):
        assert type(event) is (Draft if isinstance(alone, Step) else type(alone))
        if isinstance(event, Draft):
            assert (event.block, event.index, event.steps) == (alone.block, alone.index, alone.steps)
            assert torch.equal(event.token_ids, alone.preview().argmax(-1))


def test_steps_and_logits_that_nobody_wants_do_not_cross(model):
    found = list(sent(model, RECIPE, "none", False))
    assert None in found
    events = [restore(parcel) for parcel in found if parcel is not None]
    assert told(events) == told(run(model, RECIPE))
    assert not any(isinstance(event, Step) for event in events) and events[0].logits.numel() == 0


def test_bfloat16_crosses_as_float32():
    value = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert torch.equal(restore(carry(value)), value.float())


def test_a_recipe_that_cannot_run_is_refused_with_its_sentence(model):
    recipe = Recipe("edit", ("a",), SETTINGS, options={"span": [5, 9]})
    with pytest.raises(RecipeError) as wanted:
        run(model, recipe)
    with pytest.raises(RefusedElsewhereError) as found:
        [restore(parcel) for parcel in sent(model, recipe)]
    assert str(found.value) == str(wanted.value)


def ending(parcels, after):
    """A replica that ends after so many parcels."""
    for place, parcel in enumerate(parcels):
        if place == after:
            raise LostReplicaError
        yield parcel


@pytest.mark.parametrize("after", [0, 1, 7, 20])
def test_a_run_whose_replica_ends_is_replayed_to_the_same_text(model, after):
    tries = iter((after, None))
    ended = []
    events = replayed(lambda: ending(sent(model), next(tries)), lost=lambda: ended.append(1))
    found = [event for event in events if event is not None]
    assert told(found) == told(run(model, RECIPE)) and ended == [1]
    blocks = [event.block for event in found if isinstance(event, Step)]
    assert blocks == sorted(blocks)  # no step comes again but those of the block that was under way


@pytest.mark.parametrize("after", [1, 7, 20])
def test_no_draft_comes_again_where_a_run_is_replayed(model, after):
    tries = iter((after, None))
    found = list(replayed(lambda: ending(sent(model, RECIPE, "drafts"), next(tries))))
    drafts = [(event.block, event.index) for event in found if isinstance(event, Draft)]
    assert drafts == [(event.block, event.index) for event in run(model, RECIPE) if isinstance(event, Step)]


def test_a_run_without_a_replica_that_lasts_ends_with_a_sentence(model):
    events = replayed(lambda: ending(sent(model), 5))
    with pytest.raises(LostRunError, match="3 replicas ended while they wrote this text"):
        list(events)


def test_a_replica_that_would_write_another_text_does_not_go_on_with_it(model):
    other = dataclasses.replace(RECIPE, settings=dataclasses.replace(SETTINGS, seed=7))
    tries = iter((ending(sent(model), 9), sent(model, other)))
    with pytest.raises(LostRunError, match="would go on with other words"):
        list(replayed(lambda: next(tries)))


def test_a_scheduler_has_recipes_on_its_model_run_elsewhere_and_all_else_here(model, golden_folder):
    outline, asked = model_outline(golden_folder), []

    def events(recipe, steps, logits, wait):
        asked.append((steps, logits, wait))
        return map(restore, sent(model, recipe, steps, logits))

    scheduler = Scheduler(far=FarRuns(outline, events))
    wanted = told(run(model, RECIPE))
    assert told(scheduler.run(outline, RECIPE, steps="none", logits=False, wait=0.5)) == wanted
    assert told(scheduler.run(model, RECIPE, steps="none")) == wanted
    assert asked == [("none", False, 0.5)]
    with pytest.raises(RefusedElsewhereError):
        list(scheduler.run(outline, Recipe("edit", ("a",), SETTINGS, options={"span": [5, 9]})))
    scheduler.close(grace=5)
    assert scheduler.numbers() == {"running": 0, "waiting": 0}


def test_who_does_not_read_the_drafts_of_a_run_elsewhere_loses_some_and_the_run_goes_on(model, golden_folder):
    outline, written = model_outline(golden_folder), threading.Event()

    def events(recipe, steps, logits, wait):
        for event in map(restore, sent(model, recipe, steps, logits)):
            if isinstance(event, Finished):
                written.set()
            if not isinstance(event, BlockDone):  # text waits to be read
                yield event

    scheduler = Scheduler(far=FarRuns(outline, events))
    long = dataclasses.replace(RECIPE, settings=dataclasses.replace(SETTINGS, max_new_tokens=96))
    asked = scheduler.run(outline, long, steps="drafts")
    assert written.wait(60)
    found = list(asked)
    assert sum(isinstance(event, Draft) for event in found) == far_runs.AHEAD
    assert told(found) == told(run(model, long))[-1:]
    scheduler.close(grace=5)


@pytest.mark.parametrize("which", ["model", "bundled"])
def test_an_outline_knows_what_a_request_needs_and_has_no_weights(which, request, golden_folder):
    model, outline = request.getfixturevalue(which), model_outline(golden_folder if which == "model" else BUNDLED)
    facts = ("name", "fingerprint", "parameters", "block_size", "patch_size", "max_tokens", "end_ids", "defaults")
    assert [getattr(outline, fact) for fact in facts] == [getattr(model, fact) for fact in facts]
    assert outline.tokenize("Once upon") == model.tokenize("Once upon")
    assert all(parameter.is_meta for parameter in (*outline.vae.parameters(), *outline.dit.parameters()))
