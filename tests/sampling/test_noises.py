"""Several noises of a block, one of which is kept: the one whose words, all at once, fit each other best."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import BlockDone, Finished, SettingsError, Step
from coladlm.latent.fit import unlikelihoods
from coladlm.networks.dit import NOISE_TIME
from coladlm.networks.layers import attend_under, block_causal_mask
from coladlm.sampling.events import Drafted
from coladlm.sampling.form import choose_form
from coladlm.sampling.history import History
from coladlm.sampling.noise_choice import ANYWHERE, fitness, times_of
from coladlm.sampling.randomness import block_noise, fit_noise, other_noise
from coladlm.sampling.shared_run import SharedRun

PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day it went away"]


@pytest.fixture(scope="module")
def settings(one):
    return dataclasses.replace(one.defaults, steps=2, max_new_tokens=10, guidance=2.0, stop_at_end=False, noises=3,
                               stagger=0.0, whole_sentences=False)  # fmt: skip


def steps_of(events, row=0):
    return [event for event in events if isinstance(event, Step) and event.active[row]]


def blocks_of(events, row=0):
    return [event.latents[row] for event in events if isinstance(event, BlockDone) and event.active[row]]


def named_by(one, prefix, words, noise, together=False):
    """log p of each token, (k, V), at places of noise (k, d) after the prefix, whole blocks, and clean words (m, d) of
    the block under way. together: they all see each other, as in a step; else words see those before them.
    """
    n, m, k = len(prefix), len(words), len(noise)
    states = torch.cat((prefix, words, noise))[None]
    mask = block_causal_mask(n + m + k, one.block_size, states.device)
    if not together:
        mask[n:, n:] = torch.ones(m + k, m + k, dtype=torch.bool).tril()
    at = one.dit.modulations(torch.tensor([0.0, NOISE_TIME])).at(torch.tensor([0] * (n + m) + [1] * k))
    hidden = one.dit.hidden(states, at, one.dit.rope(torch.arange(n + m + k)), attend_under(mask))
    return one.dit.token_logits(hidden, at, states)[0, n + m :].log_softmax(-1)


@torch.inference_mode()
def test_words_fit_as_much_as_they_are_likelier_after_each_other_than_at_once(one, settings):
    """Each likelihood by a pass of its own over the whole text, for two texts of different lengths in one batch. The
    first word of the second block stood there before.
    """
    b, means = one.block_size, one.dit.tokens.means
    plans = [one.plan(prompt, settings) for prompt in ("The cat sat on the mat and", "")]
    history = History(one.vae, one.dit, plans, False, one.pad_id, b)
    history.prefill()
    history.place()
    ids = torch.randint(len(means), (2, b), generator=torch.Generator().manual_seed(0))
    given = torch.tensor([[False] * b, [True] + [False] * (b - 1)])
    noise, nothing = fit_noise(0, 0, 0, (b, means.shape[1])), means[:0]
    for row, found in enumerate(fitness(one.dit, times_of(one.dit), history, ids, given)):
        prefix, words, known, wanted = plans[row].prefix, means[ids[row]], int(given[row].sum()), 0.0
        for i, token in enumerate(ids[row]):
            wanted += named_by(one, prefix, words[:i], noise[i : i + 1])[0, token]
            wanted -= ANYWHERE * named_by(one, nothing, words[:i], noise[i : i + 1])[0, token]
        at_once = named_by(one, prefix, words[:known], noise[known:], together=True)
        wanted -= at_once.gather(-1, ids[row, known:, None]).sum()
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    assert [len(plan.prefix) // b for plan in plans] == [2, 0]


@pytest.mark.parametrize("changes", [{}, {"history": "reencoded"}, {"stop_when_settled": 1}, {"stochasticity": 0.5},
                                     {"block_size": 8}, {"temperature": 1.0}], ids=str)  # fmt: skip
def test_a_text_is_the_same_to_the_last_bit_alone_and_in_a_batch(one, settings, changes):
    settings = dataclasses.replace(settings, **changes)
    together = list(one.sample(PROMPTS, settings))
    for row, prompt in enumerate(PROMPTS):
        alone = list(one.sample([prompt], settings, sequences=[row]))
        assert alone[-1].texts == [together[-1].texts[row]]
        if "stop_when_settled" in changes:  # a batch goes on until all have settled
            continue
        pairs = list(zip(steps_of(alone), steps_of(together, row), strict=True))
        assert len(pairs) == len(blocks_of(alone)) * settings.steps
        assert all(torch.equal(a.z[0], b.z[row]) and torch.equal(a.velocity[0], b.velocity[row]) for a, b in pairs)


def test_what_is_kept_is_one_of_the_noises_carried_as_it_is_by_itself(one, settings):
    events = list(one.sample(PROMPTS[:2], settings))
    kept = torch.stack([event.z for event in events if isinstance(event, Step) and event.index == 0])
    shape = kept.shape[2:]
    chosen = set()
    for row in range(2):
        for block, z in enumerate(kept[:, row]):
            key = (settings.seed, row, block)
            noises = [block_noise(*key, shape), *(other_noise(*key, number, shape) for number in (1, 2))]
            free = events[block * (settings.steps + 1)].start[row] > 0
            (number,) = [i for i, noise in enumerate(noises) if torch.equal(noise[free], z[free])]
            chosen.add(number)
    assert len(chosen) > 1  # not always the first
    again = list(one.sample(PROMPTS[:2], settings, noise=kept))
    assert again[-1] == events[-1]
    for a, b in zip(blocks_of(events), blocks_of(again), strict=True):
        assert torch.equal(a, b)


def test_where_words_follow_one_another_there_is_one_noise(one, settings):
    for changes in ({"stagger": 0.5}, {"block_size": 1}):
        changed = dataclasses.replace(settings, **changes)
        one_noise = dataclasses.replace(changed, noises=1)
        assert torch.equal(*(torch.cat(blocks_of(one.sample(PROMPTS[:1], s))) for s in (changed, one_noise)))
    at_once = [torch.cat(blocks_of(one.sample(PROMPTS[:1], dataclasses.replace(settings, noises=n)))) for n in (1, 8)]
    assert not torch.equal(*at_once)


def test_captured_steps_keep_what_eager_ones_do(one, settings):
    found = []
    for form in ("eager", "graph"):
        choose_form(one.sampler, form)
        found.append(list(one.sample(PROMPTS, settings)))
    choose_form(one.sampler, "eager")
    assert found[0][-1] == found[1][-1]
    for row in range(len(PROMPTS)):
        for a, b in zip(*(blocks_of(events, row) for events in found), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_each_step_previews_the_kept_draft(one, settings):
    for event in one.sample(PROMPTS[:3], settings):
        if isinstance(event, Step):
            logits = event.preview()
            assert logits.shape[:2] == event.z.shape[:2]
            last = event
        elif isinstance(event, BlockDone):
            final = last.z - last.t[..., None] / NOISE_TIME * last.velocity
            rows = event.active.nonzero()[:, 0]
            torch.testing.assert_close(final[rows], event.latents[rows], atol=1e-5, rtol=0)
            assert torch.equal(logits[rows].argmax(-1), event.logits[rows].argmax(-1))


@pytest.mark.parametrize("leave_after", [1, 2, 4, 5, 9])
def test_whoever_joins_and_leaves_changes_nothing_for_the_others(one, settings, leave_after):
    """A row leaves while drafts are carried, or while the steps of the kept one are told; another joins later."""
    shared = SharedRun(one.sampler, settings)
    with contextlib.closing(shared):
        first, leaving = (shared.join([one.plan(prompt, settings, key)]) for key, prompt in enumerate(PROMPTS[:2]))
        told = []
        for count in range(200):
            if count == leave_after:
                shared.leave(leaving)
                joined = shared.join([one.plan(PROMPTS[3], settings, 3)])
            there = shared.advance()
            told.append(bool(there))
            if not shared.rows:
                break
    assert shared.rows == 0 and told.count(False) >= settings.steps
    for group, key in ((first, 0), (joined, 3)):
        assert group.texts == one.generate([PROMPTS[key]], settings, sequences=[key])


def test_a_run_tells_nothing_of_its_drafts(one, settings):
    kinds = {type(event) for event in one.sample(PROMPTS[:1], settings)}
    assert kinds == {Step, BlockDone, Finished} and Drafted not in kinds


def test_the_words_of_the_bundled_model_fit_better(bundled):
    settings = dataclasses.replace(bundled.defaults, stagger=0.0, steps=8, max_new_tokens=24, stop_at_end=False,
                                   whole_sentences=False)  # fmt: skip
    prompts = ["Once upon a time there was a little girl. She", "One day, Tom and his mom went to the"]
    before = [bundled.tokenize(prompt) for prompt in prompts]
    surprise = []
    for noises in (1, 4):
        *_, last = bundled.sample(prompts, dataclasses.replace(settings, noises=noises))
        surprise.append(sum(unlikelihoods(bundled, [ids], start)[0] for start, ids in
                            zip(before, last.token_ids, strict=True)))  # fmt: skip
    assert surprise[1] < 0.8 * surprise[0]


def test_a_model_that_names_no_tokens_has_one_noise(model, settings):
    with pytest.raises(SettingsError, match=r"noises is 3, expected 1: the output layer of this model names no tokens"):
        model.generate(["The"], settings)


def test_a_latent_of_several_tokens_is_refused(one, settings, monkeypatch):
    plans = [one.plan("The", settings)]
    monkeypatch.setattr(one.vae, "config", dataclasses.replace(one.vae.config, patch_size=2))
    monkeypatch.setattr("coladlm.sampling.sampler.check_plans", lambda *given: None)
    with pytest.raises(SettingsError, match=r"noises is 3, expected 1: a latent of this model stands for 2 tokens"):
        one.sampler.rows(plans, settings, False)
