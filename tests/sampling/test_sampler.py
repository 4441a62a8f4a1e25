"""The sampler against the golden answers, and what must be true of every run."""

import dataclasses
import gc
import itertools
import weakref

import pytest
import torch

from coladlm import (
    BlockDone,
    ColaDLM,
    Finished,
    PlanError,
    SamplerSettings,
    Step,
)
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.slot_cache import SlotCache
from coladlm.networks.text_vae import TextVAE
from coladlm.sampling.randomness import block_noise

PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day"]
SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def random_model(model: ColaDLM, patch_size: int, **vae) -> ColaDLM:
    torch.manual_seed(0)
    vae = TextVAEConfig(vocab_size=320, encoder_num_blocks=1, decoder_num_blocks=1, dim=32, ffn_dim=64, num_heads=4,
                        latent_dim=8, patch_size=patch_size, block_size=4, **vae)  # fmt: skip
    dit = DiTConfig(txt_in_channels=8, txt_out_channels=8, txt_dim=32, emb_dim=32, heads=2, head_dim=16, rope_dim=8,
                    num_layers=2)  # fmt: skip
    return ColaDLM(TextVAE(vae), BlockCausalDiT(dit), model.tokenizer)


TWICE = 2e-5  # two float32 results that are each within 1e-5 of the exact one, as the golden answers show


def close_to_golden(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def events(model, prompts, settings=SHORT, **kwargs):
    return list(model.sample(prompts, settings, **kwargs))


# golden answers


@pytest.fixture(scope="module")
def golden_run(model, golden, golden_settings):
    settings = SamplerSettings(
        steps=golden_settings["timestep_num"],
        guidance=golden_settings["guidance_scale"],
        max_new_tokens=golden_settings["max_new_tokens"],
        temperature=golden_settings["temperature"],
        repetition_penalty=golden_settings["repetition_penalty"],
    )
    return settings, events(model, golden_settings["prompts"], settings, noise=golden["sample.noise"])


def test_the_golden_prompts_give_the_golden_texts(golden_run, golden_settings):
    assert golden_run[1][-1].texts == golden_settings["generated"]


def test_every_step_from_the_golden_state_agrees_with_the_golden_velocities(model, golden, golden_run, golden_settings):
    """Each step is entered at the golden state, after the golden history."""
    settings, _ = golden_run
    for block, steps in enumerate(golden["sample.z"]):
        for index, z in enumerate(steps):
            plans = []
            for row, prompt in enumerate(golden_settings["prompts"]):
                plan = model.plan(prompt, settings, noise=golden["sample.noise"][:, row])
                plans.append(plan)
                done = golden["sample.block_latents"][:block, row]
                plan.prefix = torch.cat((plan.prefix, *done))
                plan.prefix_ids = torch.cat((plan.prefix_ids, torch.zeros(len(done) * 4, dtype=torch.long)))
                plan.source, plan.start, plan.pinned_ids, plan.noise = (
                    x[block:] for x in (plan.source, plan.start, plan.pinned_ids, plan.noise)
                )
                plan.state, plan.first_step = z[row], index
            step = next(model.run_plans(plans, settings))
            for name, found in (("cond", step.conditional), ("uncond", step.unconditional)):
                close_to_golden(found, golden[f"sample.velocity_{name}"][block, index])


def test_a_free_run_stays_with_the_golden_states_velocities_latents_and_logits(golden_run, golden):
    for event in golden_run[1]:
        if isinstance(event, Step):
            at = event.block, event.index
            close_to_golden(event.z, golden["sample.z"][at])
            close_to_golden(event.conditional, golden["sample.velocity_cond"][at])
            close_to_golden(event.unconditional, golden["sample.velocity_uncond"][at])
        elif isinstance(event, BlockDone):
            close_to_golden(event.latents, golden["sample.block_latents"][event.block])
            close_to_golden(event.logits, golden["sample.logits"][event.block])


# what must be true


def test_a_block_through_the_caches_equals_the_whole_sequence_at_once(model):
    """The sampler's velocity with prefix, pins and caches is the DiT's on the whole text, clean before the block."""
    text = model.encode_texts([PROMPTS[0]])[0]
    seen = events(model, [PROMPTS[0]], dataclasses.replace(SHORT, guidance=1.0))
    whole = len(text.latents) // 4 * 4
    history = text.latents[:whole]
    for event in seen:
        if isinstance(event, Step):
            z = torch.cat((history, event.z[0]))
            t = torch.cat((torch.zeros(len(history)), event.t[0]))
            assert torch.allclose(model.velocity(z, t)[-4:], event.velocity[0], atol=TWICE)
        elif isinstance(event, BlockDone):
            history = torch.cat((history, event.latents[0]))
            assert torch.allclose(model.decode(history)[-4:], event.logits[0], atol=TWICE)


def test_the_unguided_velocity_is_the_block_alone(model):
    for event in events(model, PROMPTS[:2]):
        if isinstance(event, Step) and event.unconditional is not None:
            for row in range(2):
                alone = model.velocity(event.z[row], event.t[row])
                assert torch.allclose(alone, event.unconditional[row], atol=TWICE)


def test_guidance_is_one_for_a_first_block_without_history(model):
    step = events(model, [PROMPTS[1][:3], PROMPTS[0]])[0]
    assert torch.allclose(step.velocity[0], step.conditional[0], atol=1e-5)
    guided = step.unconditional[1] + 2 * (step.conditional[1] - step.unconditional[1])
    assert torch.allclose(step.velocity[1], guided, atol=1e-5)


def test_no_second_pass_without_guidance_or_outside_its_interval(model):
    assert all(e.unconditional is None for e in events(model, PROMPTS, dataclasses.replace(SHORT, guidance=1.0))
               if isinstance(e, Step))  # fmt: skip
    inside = dataclasses.replace(SHORT, guidance_interval=(500, 800))
    for event in events(model, PROMPTS, inside):
        if isinstance(event, Step):
            nominal = float(event.t.max())
            assert (event.unconditional is not None) == (500 <= nominal <= 800)


@pytest.mark.parametrize("changes", [
    {}, {"solver": "heun"}, {"solver": "midpoint", "time_grid": "cosine"}, {"stochasticity": 0.7},
    {"history": "reencoded"}, {"temperature": 1.0}, {"no_repeat_ngram_size": 2, "temperature": 1.0},
    {"history": "reencoded", "stochasticity": 1.0, "temperature": 0.8},
    {"stagger": 1.0, "steps": 8},
    {"stagger": 0.3, "solver": "midpoint", "stochasticity": 0.5, "guidance_interval": (200, 700)},
])  # fmt: skip
def test_a_sequence_is_the_same_alone_and_in_a_batch(model, changes):
    settings = dataclasses.replace(SHORT, **changes)
    together = events(model, PROMPTS, settings)
    for row, prompt in enumerate(PROMPTS):
        alone = events(model, [prompt], settings, sequences=[row])
        assert alone[-1].texts[0] == together[-1].texts[row]
        assert alone[-1].token_ids[0] == together[-1].token_ids[row]
        latents = {e.block: e.latents for e in together if isinstance(e, BlockDone)}
        for event in alone:
            if isinstance(event, BlockDone):
                assert torch.allclose(event.latents[0], latents[event.block][row], atol=1e-4)


def test_the_same_settings_give_the_same_run_and_another_seed_another(model):
    settings = dataclasses.replace(SHORT, temperature=1.0, stochasticity=0.5)
    first, second = (events(model, PROMPTS, settings) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        if isinstance(a, BlockDone):
            assert torch.equal(a.latents, b.latents) and torch.equal(a.token_ids, b.token_ids)
    other = events(model, PROMPTS, dataclasses.replace(settings, seed=1))
    assert other[-1].texts != first[-1].texts


def test_two_interleaved_runs_do_not_disturb_each_other(model):
    alone = [events(model, [p]) for p in PROMPTS[:2]]
    one, two = (model.sample([p], SHORT) for p in PROMPTS[:2])
    interleaved = list(zip(one, two, strict=False))
    assert interleaved[-1][0].texts == alone[0][-1].texts
    last = [e for e in two if isinstance(e, Finished)] or [interleaved[-1][1]]
    assert last[0].texts == alone[1][-1].texts


def repeated_words(model, ids, size):
    """How many words of a text complete an n-gram that stood before."""
    grams, found = set(), 0
    for end in range(size, len(ids) + 1):
        gram = tuple(ids[end - size : end])
        found += gram in grams and bool(model.sampler.words[gram[-1]])
        grams.add(gram)
    return found


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_no_word_completes_an_n_gram_a_second_time(bundled, temperature):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=40, temperature=temperature, top_k=4,
                                   stop_at_end=False, no_repeat_ngram_size=0)  # fmt: skip
    prompts = ["The cat and the cat and the", "Once there was a dog."]
    counts = []
    for size in (0, 2):
        *_, end = bundled.sample(prompts, dataclasses.replace(settings, no_repeat_ngram_size=size))
        prompt_ids = [bundled.tokenize(prompt) for prompt in prompts]
        # what the prompt repeats is its own
        counts.append(sum(repeated_words(bundled, ids + answer, 2) - repeated_words(bundled, ids, 2)
                          for ids, answer in zip(prompt_ids, end.token_ids, strict=True)))  # fmt: skip
    assert counts[0] > 5 and counts[1] == 0


def test_noise_that_is_given_is_written_as_the_same_noise_drawn(bundled):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=12, no_repeat_ngram_size=2)
    prompts, shape = ["The cat and the cat and the", "Once"], (bundled.block_size, bundled.latent_dim)
    noise = torch.stack([torch.stack([block_noise(settings.seed, row, block, shape) for row in range(len(prompts))])
                         for block in range(6)])  # fmt: skip
    free = dataclasses.replace(settings, no_repeat_ngram_size=0)
    drawn = bundled.generate(prompts, settings)
    assert bundled.generate(prompts, settings, noise) == drawn != bundled.generate(prompts, free)


def test_the_noise_of_a_block_is_drawn_once_and_before_the_tokens_of_the_last_one_are_read(model, monkeypatch):
    """So that a device need not wait for it."""
    drawn = []

    def noted(seed, sequence, block, shape):
        drawn.append((sequence, block))
        return block_noise(seed, sequence, block, shape)

    monkeypatch.setattr("coladlm.sampling.rows.block_noise", noted)
    written = model.sample(PROMPTS[:2], SHORT)
    blocks = [sorted(drawn) for event in written if isinstance(event, BlockDone)]
    assert [len(seen) for seen in blocks] == [2 * min(count + 1, len(blocks)) for count in range(1, len(blocks) + 1)]
    assert len(drawn) == len(set(drawn))


def test_previews_change_nothing_and_the_last_one_is_near_the_result(model):
    plain = events(model, PROMPTS)
    previewed = []
    for event in model.sample(PROMPTS, SHORT):
        if isinstance(event, Step):
            logits = event.preview()
            assert logits.shape == (len(PROMPTS), 4, model.vae.config.vocab_size)
        previewed.append(event)
    assert previewed[-1].texts == plain[-1].texts


def test_a_preview_of_a_step_that_the_run_has_left_is_refused(model):
    run = model.sample(PROMPTS, SHORT)
    first = next(run)
    first.preview()
    next(run)
    with pytest.raises(RuntimeError, match="has gone on from step 0 of block 0"):
        first.preview()
    steps = [event for event in run if isinstance(event, Step)]
    with pytest.raises(RuntimeError, match="has gone on from step"):
        steps[-1].preview()


def test_what_a_model_returns_can_be_learned_from(model):
    """By a probe on latents, say: not so with tensors of torch's inference mode."""
    mean = model.encode("Once upon a time").mean
    for x in (mean, model.decode(mean), model.velocity(mean, torch.full((len(mean),), 500.0))):
        probe = torch.nn.Linear(x.shape[1], 1)
        probe(x).sum().backward()
        assert probe.weight.grad is not None and not x.requires_grad


def test_finished_rows_are_left_out_and_marked(model):
    plans = [
        model.plan(PROMPTS[0], dataclasses.replace(SHORT, max_new_tokens=n), sequence=i) for i, n in enumerate((2, 12))
    ]
    done = [e for e in model.run_plans(plans, SHORT) if isinstance(e, BlockDone)]
    assert done[0].active.tolist() == [True, True]
    assert done[-1].active.tolist() == [False, True]
    assert done[-1].latents.shape == done[0].latents.shape
    assert not done[-1].latents[0].any()


def test_an_end_token_ends_the_text_and_is_not_part_of_it(model):
    """The decoder is made to write the end token wherever it is asked."""
    biased = random_model(model, 1)
    biased.vae.decoder.final_layer.bias.data[biased.end_ids[0]] = 100.0
    stopping = dataclasses.replace(SHORT, stop_at_end=True)
    finished = events(biased, ["Once", ""], stopping)[-1]
    assert finished.reasons == ["end", "end"] and finished.texts == ["", ""] and finished.token_ids == [[], []]
    going = events(biased, ["Once"], SHORT)[-1]
    assert going.reasons == ["length"] and len(going.token_ids[0]) == 10


@pytest.mark.parametrize("new_tokens", [1, 4, 5, 11])
@pytest.mark.parametrize("patch_size", [1, 2])
def test_the_answer_has_as_many_tokens_as_asked(model, patch_size, new_tokens):
    small = random_model(model, patch_size)
    settings = dataclasses.replace(SHORT, max_new_tokens=new_tokens)
    for prompt in ("", "a", "The cat sat on the mat and"):
        assert len(events(small, [prompt], settings)[-1].token_ids[0]) == new_tokens


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_a_staggered_step_is_the_velocity_at_each_position_s_own_time(model, solver):
    """The reference: the DiT's own forward at the times that the step names, and the solver's formula by hand."""
    settings = dataclasses.replace(SHORT, guidance=1.0, stagger=0.5, steps=7, solver=solver)
    plan = model.plan(PROMPTS[0], settings)
    steps = [e for e in model.run_plans([plan], settings) if isinstance(e, Step) and e.block == 0]
    assert len(steps) == 7

    def velocity(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        history = torch.cat((plan.prefix, z))
        return model.velocity(history, torch.cat((torch.zeros(len(plan.prefix)), t)))[-4:]

    for step, after in itertools.pairwise(steps):
        z, t, t_next = step.z[0], step.t[0], step.t_next[0]
        v, span = velocity(z, t), ((t - t_next) / 1000)[:, None]
        assert torch.allclose(v, step.velocity[0], atol=TWICE)
        if solver == "midpoint":
            v = velocity(z - span / 2 * v, (t + t_next) / 2)
        elif solver == "heun":
            v = (v + velocity(z - span * v, t_next)) / 2
        assert torch.allclose(after.z[0], z - span * v, atol=TWICE)
        assert torch.equal(after.t[0], t_next)


def test_staggered_positions_are_finished_from_left_to_right(model):
    settings = dataclasses.replace(SHORT, stagger=1.0, steps=8, stochasticity=1.0)
    done = None
    for event in model.sample([PROMPTS[0]], settings):
        if isinstance(event, Step) and event.block == 1:
            finished, waiting = event.t[0] == 0, event.t[0] == 1000
            assert finished.sum() == event.index // 2 and waiting.sum() >= 3 - event.index // 2
            assert event.noise[0] == pytest.approx(float(event.t.mean()) / 10)
            if done is not None:  # who is there stays there
                assert torch.equal(event.z[0][done[0]], done[1][done[0]])
            done = finished, event.z[0]


def test_guidance_acts_on_the_positions_whose_time_is_in_its_interval(model):
    settings = dataclasses.replace(SHORT, stagger=1.0, steps=12, guidance_interval=(300, 800))
    steps = [e for e in events(model, [PROMPTS[0]], settings) if isinstance(e, Step) and e.block == 1]
    for event in steps:
        acts = (event.t >= 300) & (event.t <= 800)
        if not acts.any():  # then nothing is asked of it
            assert event.conditional is None and event.unconditional is None
            continue
        guidance = torch.where(acts, SHORT.guidance, 1.0)[..., None]
        expected = event.unconditional + guidance * (event.conditional - event.unconditional)
        assert torch.allclose(event.velocity, expected, atol=1e-5)
        assert torch.equal(event.velocity[~acts], event.conditional[~acts])
    assert {event.conditional is None for event in steps} == {True, False}


def test_pinned_positions_hold_their_latents_and_tokens(model):
    prompt = "The cat sat on"
    text = model.encode_texts([prompt])[0]
    rest = len(text.latents) % 4
    assert rest
    for event in events(model, [prompt], dataclasses.replace(SHORT, stochasticity=1.0)):
        if isinstance(event, Step) and event.block == 0:
            assert torch.equal(event.z[0, :rest], text.latents[-rest:])
            assert not event.t[0, :rest].any() and event.t[0, rest:].all()
        elif isinstance(event, BlockDone) and event.block == 0:
            assert torch.equal(event.latents[0, :rest], text.latents[-rest:])
            assert event.token_ids[0, :rest].tolist() == text.ids[-rest:].tolist()


def test_a_run_resumed_from_a_step_ends_like_the_run(model):
    plan = model.plan(PROMPTS[0], SHORT)
    whole = list(model.run_plans([plan], SHORT))
    state = whole[2].z[0]
    resumed = list(model.run_plans([dataclasses.replace(plan, state=state, first_step=2)], SHORT))
    assert resumed[0].index == 2 and torch.equal(resumed[0].z[0], state)
    assert resumed[-1].texts == whole[-1].texts


def test_inversion_and_back_returns_the_latents(model):
    """Fixed-point steps backwards, then the sampler's own steps forwards."""
    settings = dataclasses.replace(SHORT, guidance=1.0, steps=4)
    text = model.encode_texts(["Once upon a time there was a cat."])[0]
    n = len(text.latents) // 4 * 4
    plan = dataclasses.replace(
        model.plan("", dataclasses.replace(settings, max_new_tokens=n)), source=text.latents[:n].view(-1, 4, 8)
    )
    noise = [e.latents[0] for e in model.run_plans([plan], settings, invert=True, inverse_iterations=8)
             if isinstance(e, BlockDone)]  # fmt: skip
    plan = model.plan("", dataclasses.replace(settings, max_new_tokens=n), noise=torch.stack(noise))
    back = torch.cat([e.latents[0] for e in model.run_plans([plan], settings) if isinstance(e, BlockDone)])
    assert torch.allclose(back, text.latents[:n], atol=1e-3)


def test_inversion_refuses_stochastic_steps(model):
    with pytest.raises(PlanError, match=r"stochasticity is 0\.5, expected 0"):
        model.run_plans([model.plan("a", SHORT)], dataclasses.replace(SHORT, stochasticity=0.5), invert=True)


def test_plans_of_wrong_shapes_are_refused_before_anything_runs(model):
    plan = model.plan(PROMPTS[0], SHORT)
    with pytest.raises(PlanError, match=r"plan 0: start has shape \(2, 4\), expected"):
        model.run_plans([dataclasses.replace(plan, start=torch.zeros(2, 4))], SHORT)
    with pytest.raises(PlanError, match="first_step is 7"):
        model.run_plans([dataclasses.replace(plan, first_step=7)], SHORT)
    with pytest.raises(PlanError, match="no plans"):
        model.run_plans([], SHORT)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"max_new_tokens": -5}, "max_new_tokens is -5, expected a whole number from 0 on"),
    ({"skip": -3}, "skip is -3, expected a whole number from 0 to"),
    ({"sequence": -1}, "sequence is -1"),
    ({"first_block": 0.5}, "first_block is 0.5"),
    ({"start": torch.full((3, 4), 5000.0)}, r"start lies between 5000 and 5000, expected times in \[0, 1000\]"),
    ({"pinned_ids": torch.full((3, 4), 5000)}, "pinned_ids lie between 5000 and 5000, expected -1 to"),
    ({"prefix_ids": torch.full((4,), -1)}, "prefix_ids lie between -1 and -1, expected 0 to"),
    ({"written": torch.tensor([1, 5000])}, "written lie between 1 and 5000, expected 0 to"),
    ({"negative": torch.zeros(4, 3)}, r"its negative prompt has shape \(4, 3\), expected \(4, 8\)"),
    ({"negative": torch.full((4, 8), float("nan"))}, "its negative prompt holds numbers that are not finite"),
])  # fmt: skip
def test_plans_of_numbers_that_mean_nothing_are_refused_before_anything_runs(model, changes, sentence):
    plan = model.plan("Once upon a", SHORT)
    assert plan.start.shape == (3, 4) and plan.prefix_ids.shape == (4,) and model.latent_dim == 8
    with pytest.raises(PlanError, match=f"plan 0: {sentence}"):
        model.run_plans([dataclasses.replace(plan, **changes)], SHORT)


def test_a_stopped_run_frees_its_caches(model, monkeypatch):
    made = []
    original = SlotCache.__init__

    def remember(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.append(weakref.ref(self))

    monkeypatch.setattr(SlotCache, "__init__", remember)
    run = model.sample(PROMPTS, SHORT)
    next(run)
    assert len(made) == 2 and all(ref() is not None for ref in made)  # of the DiT and of the decoder
    run.close()
    del run
    gc.collect()
    assert all(ref() is None for ref in made)


def test_nothing_of_a_run_is_left_on_the_modules(model):
    before = {name for network in (model.vae, model.dit) for name, _ in network.named_buffers()}
    attributes = {id(m): set(vars(m)) for n in (model.vae, model.dit) for m in n.modules()}
    events(model, PROMPTS)
    assert before == {name for network in (model.vae, model.dit) for name, _ in network.named_buffers()}
    assert attributes == {id(m): set(vars(m)) for n in (model.vae, model.dit) for m in n.modules()}


def test_a_long_prefix_in_pieces_equals_one_pass(model, monkeypatch):
    prompt = "Once upon a time there was a little cat. " * 3
    whole = events(model, [prompt, "The"])[-1].texts
    monkeypatch.setattr("coladlm.sampling.history.PREFILL_LATENTS", 8)
    assert events(model, [prompt, "The"])[-1].texts == whole
