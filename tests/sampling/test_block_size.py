"""Blocks of another size than the checkpoint's: what must be true of a run with them. The model has blocks of 4.

That whole generations are those of the definition is in tests/test_reference.py.
"""

import dataclasses

import pytest
import torch

from coladlm import BlockDone, Finished, PlanError, SamplerSettings, SettingsError, Step
from coladlm.latent.edit import Edited
from coladlm.latent.interpolate import Interpolation
from coladlm.latent.invert import RoundTrips
from coladlm.model import EncodedText
from coladlm.networks.layers import block_causal_mask
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import recorder, run
from coladlm.sampling.shared_run import SharedRun

PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day"]
SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)
TWICE = 2e-5  # two float32 results that are each within 1e-5 of the exact one


def in_blocks_of(size, **changes) -> SamplerSettings:
    """In single positions there are fewer tokens, still from one block of the VAE into the next."""
    return dataclasses.replace(SHORT, **{"max_new_tokens": 6 if size == 1 else 10, **changes}, block_size=size)


def blocks_of(events) -> list[BlockDone]:
    return [event for event in events if isinstance(event, BlockDone)]


@pytest.mark.parametrize("history", ["latents", "reencoded"])
def test_the_checkpoint_s_own_size_changes_nothing_at_all(model, history):
    own, named = (in_blocks_of(size, history=history, stagger=0.5) for size in (None, 4))
    for a, b in zip(model.sample(PROMPTS, own), model.sample(PROMPTS, named), strict=True):
        if isinstance(a, Step):
            assert torch.equal(a.z, b.z) and torch.equal(a.velocity, b.velocity)
        elif isinstance(a, BlockDone):
            assert torch.equal(a.latents, b.latents) and torch.equal(a.logits, b.logits)
        else:
            assert a == b
    assert model.plain(named) == own
    assert Recipe("generate", ("a",), model.plain(named)).key() == Recipe("generate", ("a",), own).key()


@pytest.mark.parametrize("changes", [
    {}, {"history": "reencoded"}, {"stagger": 0.5, "steps": 5, "stop_when_settled": 1, "repetition_penalty": 1.0},
    {"temperature": 1.0, "stochasticity": 0.5, "no_repeat_ngram_size": 2, "history": "reencoded"},
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_sequence_is_the_same_alone_and_in_a_batch(model, size, changes):
    settings = in_blocks_of(size, **changes)
    together = list(model.sample(PROMPTS, settings))
    assert blocks_of(together)[0].latents.shape[1] == size
    for row, prompt in enumerate(PROMPTS):
        alone = list(model.sample([prompt], settings, sequences=[row]))
        assert alone[-1].token_ids[0] == together[-1].token_ids[row]
        for own, shared in zip(blocks_of(alone), blocks_of(together), strict=False):
            torch.testing.assert_close(own.latents[0], shared.latents[row], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_velocity_is_that_of_the_whole_text_under_a_mask_of_this_size(model, size):
    """And the logits are those of the whole text under the mask of the VAE, as far as it is written."""
    history = model.encode_texts([PROMPTS[0]])[0].latents
    history = history[: len(history) // size * size]
    for event in model.sample([PROMPTS[0]], in_blocks_of(size, guidance=1.0)):
        if isinstance(event, Step):
            z = torch.cat((history, event.z[0]))[None]
            t = torch.cat((torch.zeros(len(history)), event.t[0]))[None]
            whole = model.dit(z, t, block_causal_mask(z.shape[1], size))[0]
            torch.testing.assert_close(whole[-size:], event.velocity[0], atol=TWICE, rtol=0)
        elif isinstance(event, BlockDone):
            history = torch.cat((history, event.latents[0]))
            torch.testing.assert_close(model.decode(history)[-size:], event.logits[0], atol=TWICE, rtol=0)


@pytest.mark.parametrize("size", [1, 2])
def test_after_a_whole_block_of_the_vae_a_text_read_by_its_words_goes_on_as_if_it_were_the_prompt(model, size):
    settings = in_blocks_of(size, history="reencoded", repetition_penalty=1.0)
    noise = torch.randn(10, 1, size, model.latent_dim, generator=torch.Generator().manual_seed(0))
    ids = model.tokenize(PROMPTS[0])
    ids = ids[: len(ids) // size * size]
    whole = blocks_of(model.run_plans([_plan(model, ids, settings, noise[:, 0])], settings))
    ends = [done for done in range(1, len(whole)) if (len(ids) + done * size) % 4 == 0]
    assert ends
    for done in ends:
        written = [token for block in whole[:done] for token in block.token_ids[0].tolist()]
        rest = blocks_of(model.run_plans([_plan(model, [*ids, *written], settings, noise[done:, 0])], settings))
        torch.testing.assert_close(rest[0].latents, whole[done].latents, atol=1e-4, rtol=0)


def _plan(model, ids, settings, noise):
    tokens = torch.tensor(ids)
    return model.plan_encoded(EncodedText(tokens, tokens, model.encode_ids(tokens[None])[0]), settings, noise=noise)


@pytest.mark.parametrize("size, history", [(1, "latents"), (2, "reencoded"), (8, "reencoded")])
def test_who_joins_a_batch_gets_the_text_it_gets_alone(model, size, history):
    settings = in_blocks_of(size, history=history)
    plans = model.plans(PROMPTS[:3], settings)
    shared = SharedRun(model.sampler, settings)
    groups = [shared.join(plans[:2])]
    for _ in range(settings.steps + 1):
        shared.advance()
    groups.append(shared.join(plans[2:]))
    while not all(group.finished for group in groups):
        shared.advance()
    assert [ids for group in groups for ids in group.token_ids] == [
        list(model.sample([prompt], settings, sequences=[row]))[-1].token_ids[0]
        for row, prompt in enumerate(PROMPTS[:3])
    ]


def test_rows_of_another_size_are_of_another_flow(model):
    """So that a scheduler never puts them in one batch, and a batch refuses them."""
    assert in_blocks_of(2).flow != SHORT.flow
    (plan,) = model.plans(PROMPTS[:1], in_blocks_of(2))
    with pytest.raises(PlanError, match="expected"):
        SharedRun(model.sampler, SHORT).join([dataclasses.replace(plan, settings=in_blocks_of(2))])


@pytest.mark.parametrize("size", [1, 8])
def test_a_replay_is_the_run(model, size):
    recipe = Recipe("generate", tuple(PROMPTS[:2]), in_blocks_of(size, temperature=1.0), 2)
    traces = []
    for made in (recipe, Recipe.from_url(recipe.to_url())):
        recording = recorder(made)
        for _ in recording.watch(run(model, made)):
            pass
        traces.append(recording.trace())
    first, second = traces
    assert first.z.shape[1] > 1 and first.z.shape[3] == size
    assert (first.latents == second.latents).all() and first.answers == second.answers


@pytest.mark.parametrize("size", [3, 6, 64 - 2])
def test_a_size_that_does_not_fit_the_vae_is_refused_in_a_sentence(model, size):
    wanted = f"block_size is {size}, expected a number that divides 4"
    with pytest.raises(SettingsError, match=wanted):
        next(model.sample(PROMPTS, in_blocks_of(size)))
    with pytest.raises(RecipeError, match=wanted):
        run(model, Recipe("generate", ("a",), in_blocks_of(size)))


@pytest.mark.parametrize("size", [1, 2, 8])
def test_an_edit_keeps_what_is_not_in_its_span(model, size):
    text = "The cat sat on the mat and the dog ran."
    ids = model.tokenize(text)
    recipe = Recipe("edit", (text,), in_blocks_of(size), 2, {"start": 5, "end": 7})
    (found,) = (event for event in run(model, recipe) if isinstance(event, Edited))
    for candidate in found.candidates:
        assert candidate.token_ids[:5] == tuple(ids[:5]) and candidate.token_ids[7:] == tuple(ids[7:])
    assert any(candidate.token_ids[5:7] != tuple(ids[5:7]) for candidate in found.candidates)


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("road", ["through_flow", "decoder_only"])
def test_the_ends_of_an_interpolation_are_its_texts(model, size, road):
    texts = ("The cat sat.", "The dog ran away from the little bird.")
    recipe = Recipe("interpolate", texts, in_blocks_of(size), options={"road": road, "stops": 3, "before": "One day."})
    *_, found, end = run(model, recipe)
    assert isinstance(found, Interpolation) and isinstance(end, Finished)
    assert [found.waypoints[row].text for row in found.ends] == list(texts)


@pytest.mark.parametrize("size", [1, 8])
def test_an_inverted_text_comes_back(model, size):
    recipe = Recipe("invert", ("The cat sat.",), in_blocks_of(size, steps=6), options={"iterations": 8})
    (found,) = (event for event in run(model, recipe) if isinstance(event, RoundTrips))
    assert found.trips[0].latent_error < 0.1  # of text that has nothing to do with it: about 1.6


@pytest.mark.parametrize("size, history", [(1, "latents"), (2, "reencoded"), (8, "reencoded")])
def test_a_long_prompt_in_pieces_equals_one_pass(model, monkeypatch, size, history):
    """Pieces end in the middle of blocks of the VAE, at other places of them in every row."""
    prompts = ["Once upon a time there was a little cat. " * 2, "The cat sat on the mat. One day", "The"]
    settings = in_blocks_of(size, history=history)
    whole = list(model.sample(prompts, settings))
    monkeypatch.setattr("coladlm.sampling.history.PREFILL_LATENTS", 6)
    for a, b in zip(blocks_of(whole), blocks_of(model.sample(prompts, settings)), strict=True):
        torch.testing.assert_close(a.latents, b.latents, atol=1e-4, rtol=0)
        torch.testing.assert_close(a.logits, b.logits, atol=1e-4, rtol=0)
