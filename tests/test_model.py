"""ColaDLM, the public face."""

import dataclasses

import numpy as np
import pytest
import torch

from coladlm import ColaDLM, PlanError, PromptError, SamplerSettings, SettingsError
from coladlm.hardware.devices import choose_device, choose_dtype

SHORT = SamplerSettings(steps=2, max_new_tokens=4)


@pytest.mark.parametrize("i", range(3))
def test_encode_decode_and_velocity_agree_with_the_golden_answers(model, golden, golden_settings, i):
    posterior = model.encode(golden_settings["prompts"][i])
    found = {
        f"encode.{i}.mean": posterior.mean,
        f"encode.{i}.logvar": posterior.logvar,
        f"decode.{i}.logits": model.decode(golden[f"encode.{i}.mean"]),
        f"velocity.{i}.v": model.velocity(golden[f"velocity.{i}.z"], golden[f"velocity.{i}.t"]),
    }
    for key, value in found.items():
        torch.testing.assert_close(value, golden[key], atol=1e-5, rtol=0)


def test_texts_encoded_together_equal_texts_encoded_alone(model):
    texts = ["The cat", "", "Once upon a time there was a bird.", "猫 🐈", "مرحبا"]
    for text, together in zip(texts, model.encode_texts(texts), strict=True):
        alone = model.encode_texts([text])[0]
        assert together.ids.tolist() == alone.ids.tolist() == model.tokenize(text)
        assert torch.allclose(together.latents, alone.latents, atol=2e-5)  # each within 1e-5 of the exact


def test_posterior_means_lie_on_the_sphere(model):
    mean = model.encode("Once upon a time there was a bird.").mean
    assert torch.allclose(mean.sum(-1), torch.zeros(len(mean)), atol=1e-4)
    assert torch.allclose(mean.norm(dim=-1), torch.full((len(mean),), model.latent_dim**0.5), atol=1e-3)


def test_posterior_samples_are_spread_as_the_variance_says(model):
    posterior = model.encode("Once upon a time")
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([posterior.sample(generator) for _ in range(4000)])
    assert torch.allclose(draws.mean(0), posterior.mean, atol=0.1)
    assert torch.allclose(draws.std(0), (posterior.logvar / 2).exp(), rtol=0.1)


def test_a_prompt_may_be_empty_or_of_any_script(model):
    prompts = ["", "🙂🙃", "שלום עולם", "日本語のテキスト", "\x00\n\t"]
    whole = SamplerSettings(steps=2, max_new_tokens=4, stop_at_end=False)
    *_, finished = model.sample(prompts, whole)
    assert finished.texts == [model.read(ids) for ids in finished.token_ids]
    assert [len(ids) for ids in finished.token_ids] == [4] * 5
    for i, prompt in enumerate(prompts):
        assert model.read(model.tokenize(prompt)) == prompt
        assert model.generate([prompt], whole, sequences=[i]) == [finished.texts[i]]


def test_padding_ends_a_text_of_the_bundled_model_and_none_of_the_published_form(model, bundled):
    """Of another script the bundled model knows nothing to say."""
    assert model.pad_id not in model.end_ids and bundled.end_ids[-1] == bundled.pad_id
    settings = dataclasses.replace(bundled.defaults, max_new_tokens=16)
    *_, finished = bundled.sample(["\u05e9\u05dc\u05d5\u05dd \u05d9\u05dc\u05d3"], settings)
    assert bundled.pad_id not in finished.token_ids[0]


def test_numbers_that_are_no_ids_are_refused(model):
    size = model.vae.config.vocab_size
    for wrong in (-1, size):
        with pytest.raises(PromptError, match=rf"^a token id is {wrong}, expected 0 to {size - 1}$"):
            model.read([0, wrong])


def test_what_is_no_list_of_ids_is_refused_and_tensors_of_any_whole_numbers_are_taken(model):
    for wrong in ([1.5], "12", None, [True]):
        with pytest.raises(PromptError, match=r"expected (token ids one after another|a whole number)"):
            model.read(wrong)
    ids = torch.tensor(model.tokenize("Once upon a time"))
    assert model.read(ids) == model.read(ids.numpy()) == "Once upon a time"
    small = ids.clamp(max=200)[None]
    assert torch.equal(model.encode_ids(small.to(torch.uint8)), model.encode_ids(small))
    with pytest.raises(SettingsError, match="settings is an object with 0 fields, expected SamplerSettings"):
        model.in_blocks_of({})


@pytest.mark.parametrize(("prompts", "message"), [
    ("a text", "expected a list"), ([], "expected a list"), ([3], "a text is int"), (["a\ud800"], "broken character"),
    (None, "expected a list"), (5, "expected a list"), ({"a", "b"}, "expected a list"), (iter("ab"), "expected a list"),
    (["word " * 9000], "tokens, expected at most"),
])  # fmt: skip
def test_a_wrong_prompt_is_refused_with_a_sentence(model, prompts, message):
    with pytest.raises(PromptError, match=message):
        model.sample(prompts, SHORT)


def test_prompt_and_answer_together_have_a_limit(model):
    with pytest.raises(PromptError, match="together"):
        model.sample(["a"], SamplerSettings(max_new_tokens=9000))


@pytest.mark.parametrize("prompt", ["", "a", "The cat sat", "Once upon a time there was a bird.", "猫 🐈"])
@pytest.mark.parametrize("tokens", [1, 4, 5, 23])
def test_the_blocks_of_a_plan_are_known_before_its_prompt_is_encoded(model, prompt, tokens):
    settings = SamplerSettings(max_new_tokens=tokens)
    plan = model.plan(prompt, settings)
    assert model.new_blocks(len(model.tokenize(prompt)), settings) == (plan.blocks, plan.skip // model.patch_size)


@pytest.mark.parametrize(("options", "message"), [
    ({"path": 5}, "the checkpoint is 5, expected a folder"), ({"path": []}, "expected a folder"),
    ({"path": "a\0b"}, "without null characters"), ({"path": "\ud800"}, "halves of surrogate"),
    ({"dtype": torch.float64}, "dtype is torch.float64, expected auto or one of float32"),
    ({"device": None}, "device is None, expected auto"),
    ({"device": 5}, "device is 5"), ({"device": "meta"}, "device is 'meta'"),
    ({"dtype": torch.int8}, "dtype is torch.int8, expected auto or one of"), ({"dtype": 5}, "dtype is 5"),
])  # fmt: skip
def test_what_no_model_can_be_loaded_from_is_refused(golden_folder, options, message):
    with pytest.raises(ValueError, match=message):
        ColaDLM.from_pretrained(**{"path": golden_folder, **options})


@pytest.mark.parametrize("settings", [{"steps": 4}, "x", 5])
def test_what_are_no_settings_is_refused(model, settings):
    with pytest.raises(SettingsError, match="expected SamplerSettings"):
        model.sample(["a"], settings)


@pytest.mark.parametrize("keys", [5, "0", [-1], [None], [1.5], ["a"], [True]])
def test_what_is_no_key_of_randomness_is_refused(model, keys):
    with pytest.raises(PromptError, match="expected a whole number"):
        model.sample(["a"], SHORT, sequences=keys)


def test_keys_may_be_numbers_of_numpy(model):
    assert model.generate(["a"], SHORT, sequences=np.array([3])) == model.generate(["a"], SHORT, sequences=[3])


@pytest.mark.parametrize(("noise", "message"), [
    ([[1.0]], "noise is list, expected a torch.Tensor"),
    (np.zeros((1, 1, 4, 8)), "noise is ndarray, expected a torch.Tensor"),
    (torch.zeros(1, 1, 4, 8, dtype=torch.complex64), "expected a dense one of real numbers"),
    (torch.zeros(1, 1, 4, 8, device="meta"), "noise is a tensor on the meta device"),
])  # fmt: skip
def test_what_is_no_noise_is_refused(model, noise, message):
    with pytest.raises(PromptError, match=message):
        model.sample(["a"], SHORT, noise=noise)


@pytest.mark.parametrize(("noise", "message"), [
    ("x", "noise is str, expected a torch.Tensor"),
    (torch.zeros(1, 3, 8), r"noise has shape \(1, 3, 8\), expected \(blocks, 4, 8\)"),
    (torch.zeros(1, 1, 4, 8), r"noise has shape \(1, 1, 4, 8\), expected \(blocks, 4, 8\)"),
    (torch.zeros(0, 4, 8), r"noise has shape \(0, 4, 8\), expected \(blocks, 4, 8\)"),
])  # fmt: skip
def test_what_is_no_noise_of_a_plan_is_refused(model, noise, message):
    with pytest.raises(PromptError, match=message):
        model.plan("a", SHORT, noise=noise)


def test_what_are_no_plans_is_refused(model):
    plan = model.plan("a", SHORT)
    for plans, message in ((plan, "plans is a Plan, expected a list"), ([plan, 5], "plan 1 is int, expected a Plan")):
        with pytest.raises(PlanError, match=message):
            model.run_plans(plans, SHORT)
    for iterations in (-3, 1.5, "1"):
        with pytest.raises(PlanError, match=rf"inverse_iterations is {iterations!r}, expected a whole number from 0"):
            model.run_plans([plan], SHORT, invert=True, inverse_iterations=iterations)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize("field", ["prefix", "source", "start", "noise"])
def test_numbers_that_no_text_comes_from_are_refused(model, field, value):
    plan = model.plan("Once upon a time there was a bird", SHORT)
    plan = dataclasses.replace(plan, noise=torch.randn_like(plan.source))
    plan = dataclasses.replace(plan, **{field: getattr(plan, field).clone().fill_(value)})
    with pytest.raises(PlanError, match=f"plan 0: {field} holds numbers that are not finite, or from 1e"):
        model.run_plans([plan], SHORT)


def test_latents_times_and_ids_that_are_none_are_refused(model):
    z = torch.randn(4, model.latent_dim)
    for wrong in (z.tolist(), z.numpy(), z.to("meta"), z.to_sparse(), z.bool(), z[0]):
        with pytest.raises(PromptError, match="latents"):
            model.decode(wrong)
    for t in (500.0, [1.0] * 4, torch.zeros(3), torch.full((4,), -5.0), torch.full((4,), float("nan"))):
        with pytest.raises(PromptError, match=r"^t "):
            model.velocity(z, t)
    assert model.velocity(z[:0], torch.zeros(0)).shape == (0, model.latent_dim)
    for ids in ([[1]], torch.tensor([1]), torch.tensor([[-1]]), torch.tensor([[10**6]]), torch.zeros(1, 4)):
        with pytest.raises(PromptError, match="ids"):
            model.encode_ids(ids)
    with pytest.raises(PromptError, match="texts is 'ab', expected a list"):
        model.encode_texts("ab")


def test_wrong_noise_and_keys_are_refused(model):
    with pytest.raises(PromptError, match=r"noise has shape \(2, 3, 4, 8\), expected \(blocks, 1, 4, 8\)"):
        model.sample(["a"], SHORT, noise=torch.zeros(2, 3, 4, 8))
    with pytest.raises(PromptError, match="2 sequence keys"):
        model.sample(["a"], SHORT, sequences=[1, 2])


def test_wrong_latents_are_refused(model):
    with pytest.raises(ValueError, match=r"latents have shape \(2, 3\), expected \(n, 8\)"):
        model.decode(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="one time for each of 4"):
        model.velocity(torch.zeros(4, 8), torch.zeros(3))


def test_devices_and_dtypes_are_chosen_or_refused_by_name():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="device 'nowhere' cannot be used"):
        choose_device("nowhere")
    assert choose_dtype("auto", torch.device("cpu"), 256) == torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu"), 256) == torch.bfloat16
    with pytest.raises(ValueError, match="dtype is 'int8', expected auto or one of"):
        choose_dtype("int8", torch.device("cpu"), 256)


def test_bfloat16_weights_write_text_too(golden_folder):
    half = ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert isinstance(half.generate(["The cat"], SHORT)[0], str)
