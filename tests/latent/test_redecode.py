"""Decoding a recorded run again."""

import dataclasses

import pytest

from coladlm import SamplerSettings
from coladlm.latent.branch import BranchError
from coladlm.latent.redecode import redecode
from coladlm.recipe import Recipe
from coladlm.run import recorder, run

PROMPTS = ("Once upon a time there was a cat", "", "A")
START = SamplerSettings(steps=2, max_new_tokens=14, seed=3, stop_at_end=False, repetition_penalty=1.3,
                        no_repeat_ngram_size=2)  # fmt: skip


def recorded(model, settings, texts=PROMPTS, variations=2):
    recipe = Recipe("generate", texts, settings, variations=variations)
    record = recorder(recipe, previews=False, dtype="float32")
    for _ in record.watch(run(model, recipe)):
        pass
    return record.trace()


@pytest.mark.parametrize("history", ["latents", "reencoded"])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_same_settings_give_the_recorded_text(model, history, temperature):
    settings = dataclasses.replace(START, history=history, temperature=temperature)
    trace = recorded(model, settings)
    for sequence in range(len(trace.texts)):
        again = redecode(model, trace, sequence, settings)
        assert (again.answer, again.text) == (trace.answers[sequence], trace.texts[sequence])


@pytest.mark.parametrize(
    "changes",
    [{"temperature": 1.3}, {"repetition_penalty": 1.0}, {"temperature": 2.0, "top_k": 0}, {"no_repeat_ngram_size": 0}],
)
def test_where_blocks_read_latents_it_is_what_a_new_run_would_write(model, changes):
    trace = recorded(model, START)
    other = dataclasses.replace(START, **changes)
    new = recorded(model, other)
    for sequence in range(len(trace.texts)):
        assert redecode(model, trace, sequence, other).answer == new.answers[sequence]


def test_an_end_token_ends_the_text_if_it_is_to(model):
    trace = recorded(model, dataclasses.replace(START, max_new_tokens=40))
    ends = [s for s, answer in enumerate(trace.answers) if set(answer) & set(model.end_ids)]
    settings = dataclasses.replace(START, max_new_tokens=40, stop_at_end=True)
    for sequence in range(len(trace.texts)):
        again = redecode(model, trace, sequence, settings)
        assert not set(again.answer) & set(model.end_ids)
        assert again.reason == ("end" if sequence in ends else "length")


def test_a_shorter_length_cuts(model):
    trace = recorded(model, START)
    again = redecode(model, trace, 0, dataclasses.replace(START, max_new_tokens=3))
    assert again.answer == trace.answers[0][:3]


def test_a_run_of_another_operation_is_refused(model):
    trace = recorded(model, START)
    other = dataclasses.replace(trace, recipe=dataclasses.replace(trace.recipe, operation="edit"))
    with pytest.raises(BranchError, match="operation"):
        redecode(model, other, 0, START)
