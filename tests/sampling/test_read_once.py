"""What several rows of a batch have in common, a prompt or another text, is read once."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import BlockDone, SamplerSettings
from coladlm.latent.other_texts import with_other_texts
from coladlm.sampling.contexts import Contexts
from coladlm.sampling.shared_run import SharedRun

SETTINGS = SamplerSettings(steps=2, max_new_tokens=10, guidance=2.0, stop_at_end=False)
PROMPT, OTHER = "Once upon a time there was a big dog.", "The cat sat on the mat and it was happy."


def plans(model, prompts, lengths=(10,), **options):
    settings = [dataclasses.replace(SETTINGS, max_new_tokens=length) for length in lengths]
    made = [model.plan(prompt, one, row) for row, prompt in enumerate(prompts) for one in settings]
    return with_other_texts(model, made, options)


def latents(events, row):
    return torch.cat([event.latents[row] for event in events if isinstance(event, BlockDone) and event.active[row]])


@pytest.fixture
def read(monkeypatch):
    """The lengths of the texts that contexts have read."""
    found, once = [], Contexts._read
    monkeypatch.setattr(Contexts, "_read", lambda self, latents: found.append(len(latents)) or once(self, latents))
    return found


@pytest.mark.parametrize(
    ("options", "texts"),
    [({"negative": OTHER}, 1), ({"towards": OTHER}, 1),
     ({"direction_first": ["It was sad."], "direction_second": ["It was happy."]}, 2)],
)  # fmt: skip
def test_another_text_is_read_once_however_many_rows_have_it_and_whoever_leaves(model, read, options, texts):
    """Two rows end blocks before the others, and one is taken out in the middle of a block."""
    shared = SharedRun(model.sampler, SETTINGS)
    with contextlib.closing(shared):
        groups = [shared.join(plans(model, [PROMPT], lengths, **options)) for lengths in ((30, 10, 30, 10), (30,))]
        steps = 0
        while shared.advance() or shared.rows:
            steps += 1
            if steps == 2:
                shared.leave(groups[1])
    assert len(groups[0].token_ids[0]) == 30 and steps > 20
    assert len(read) == 2 * texts  # each of the two groups brings texts of its own


def test_texts_of_rows_that_stay_are_not_read_again_when_others_join(model, read):
    shared = SharedRun(model.sampler, SETTINGS)
    with contextlib.closing(shared):
        shared.join(plans(model, [PROMPT], (30,), negative=OTHER))
        shared.advance()
        shared.join(plans(model, [PROMPT], (10,), negative="A short text."))
        while shared.advance() or shared.rows:
            pass
    assert len(read) == 2


@pytest.mark.parametrize("block_size", [1, 2, None])
@pytest.mark.parametrize("history", ["latents", "reencoded"])
def test_a_prompt_is_read_once_and_each_row_has_what_it_would_have_alone(model, monkeypatch, history, block_size):
    settings = dataclasses.replace(SETTINGS, history=history, block_size=block_size, steps=2, max_new_tokens=6)
    one = model.in_blocks_of(settings)
    prompts = [OTHER, PROMPT, PROMPT, "A", OTHER, PROMPT]
    made = [one.plan(prompt, settings, row) for row, prompt in enumerate(prompts)]
    alone = [list(one.run_plans([plan], settings)) for plan in made]
    rows, encode = [], model.dit.hidden
    monkeypatch.setattr(model.dit, "hidden", lambda z, *given: rows.append(len(z)) or encode(z, *given))
    together = list(one.run_plans(made, settings))
    assert rows[0] == 3  # different prompts
    for row, events in enumerate(alone):
        assert together[-1].token_ids[row] == events[-1].token_ids[0]
        torch.testing.assert_close(latents(together, row), latents(events, 0), atol=1e-5, rtol=0)


def test_equal_texts_are_encoded_once(model, monkeypatch):
    rows, encode = [], model.vae.encode
    monkeypatch.setattr(model.vae, "encode", lambda ids, *given: rows.append(len(ids)) or encode(ids, *given))
    first, second, third = model.encode_texts([PROMPT, OTHER, PROMPT])
    assert rows == [2]
    assert torch.equal(first.latents, third.latents) and not torch.equal(first.latents, second.latents)
    third.latents.zero_()  # each has its own
    assert bool(first.latents.any())


@pytest.mark.parametrize(
    ("options", "window", "more"),
    [({"towards": OTHER}, "pull", 1), ({"towards": OTHER, "negative": PROMPT}, "pull", 2),
     ({"direction_first": ["It was sad."], "direction_second": ["It was happy."]}, "direction", 2)],
)  # fmt: skip
def test_a_step_asks_for_nothing_after_another_text_where_that_does_not_act(model, monkeypatch, options, window, more):
    asked, velocity = [], model.dit.velocity
    monkeypatch.setattr(model.dit, "velocity", lambda *given: asked.append(given) or velocity(*given))
    settings = dataclasses.replace(SETTINGS, steps=4, stagger=0.0)

    def passes(**between) -> int:
        asked.clear()
        for _ in model.run_plans(plans(model, [PROMPT], (4,), **options, **between), settings):
            pass
        return len(asked)

    low, high = f"{window}_low", f"{window}_high"
    steps = settings.steps * 2  # the answer lies in two blocks
    without = passes(**{low: 0, high: 0}) - 2 * more  # the last step of a block ends there
    assert passes() == without + steps * more
    assert passes(**{low: 600, high: 700}) == without + 2 * more  # from 750 to 500
