"""Layers that name tokens and read them: their ends, their precision, and what is kept of the means."""

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coladlm import BlockDone, ColaDLM, SettingsError, Step
from coladlm.checkpoint import CheckpointError, save_checkpoint
from coladlm.latent import exact_settings, round_trips
from coladlm.networks import compiled_pieces as module
from coladlm.networks.compiled_pieces import CompiledPieces, disagreement, most_disagreement
from coladlm.networks.dit import NOISE_TIME
from coladlm.networks.packed import can_pack, pack
from coladlm.networks.token_output import TokenInput, TokenOutput
from coladlm.rounding import dit_to_int8
from coladlm.sampling.flow import MOST_GAIN
from coladlm.sampling.form import choose_form
from coladlm.train.exact_denoiser import token_means
from coladlm.train.stages import LEAST_SPREAD

from ..token_models import with_tokens

CHANNELS, TOKENS, DIM = 6, 300, 64


def output(spread: float = 0.01) -> TokenOutput:
    torch.manual_seed(5)
    made = TokenOutput(DIM, CHANNELS, TOKENS).requires_grad_(False)
    made.means.normal_()
    made.spread.fill_(spread)
    return made


def velocity(made: TokenOutput, h: torch.Tensor, z: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    return made(made.logits(h), z, coefficients)


def drawn(made: TokenOutput, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    coefficients = made.coefficients(torch.rand(shape).flatten()).view(*shape, -1)
    return torch.randn(*shape, DIM), torch.randn(*shape, CHANNELS), coefficients


def save(model: ColaDLM, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    save_checkpoint(folder, model.vae, model.dit, model.tokenizer, model.defaults.to_dict(), dtype)


def test_at_the_end_of_the_flow_the_data_is_the_state_and_at_its_beginning_the_noise_is():
    made = output()
    h, z, _ = drawn(made, 3, 4)
    at_data, at_noise = made.coefficients(torch.tensor([0.0, 1.0]))
    with torch.inference_mode():
        # v = noise - data; of a clean state the noise is not known, so its mean is 0
        torch.testing.assert_close(velocity(made, h, z, at_data), -z, atol=1e-5, rtol=1e-5)
        prior = made.proj(h).softmax(-1) @ made.means
        torch.testing.assert_close(velocity(made, h, z, at_noise), z - prior, atol=1e-5, rtol=1e-5)


def test_a_state_near_the_mean_of_a_token_is_that_token():
    made = output()
    t, which = torch.full((1,), 0.02), torch.tensor([3, 99, 250])
    noise = torch.randn(3, CHANNELS)
    z = (1 - t) * made.means[which] + t * noise
    clean = z - t * velocity(made, torch.randn(3, DIM), z, made.coefficients(t))
    assert torch.cdist(clean, made.means).argmin(-1).tolist() == which.tolist()


def test_an_input_layer_reads_the_token_of_a_clean_state_and_how_often_each_comes_from_noise():
    made, reads = output(1e-4), TokenInput(DIM, TOKENS).requires_grad_(False)
    reads.prior.normal_()
    embeddings = reads.proj.weight.t()
    at_data, at_noise = made.coefficients(torch.tensor([0.0, 1.0]))
    with torch.inference_mode():
        torch.testing.assert_close(reads(made.means[None], at_data, made)[0], embeddings, atol=1e-4, rtol=1e-4)
        usual = (reads.prior.softmax(0) @ embeddings).expand(1, 5, -1)
        torch.testing.assert_close(reads(torch.randn(1, 5, CHANNELS), at_noise, made), usual, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_a_row_is_the_same_alone_and_with_others(packed):
    if packed and not can_pack():
        pytest.skip("this build of torch has no oneDNN products")
    made, reads = output(), TokenInput(DIM, TOKENS).requires_grad_(False)
    h, z, c = drawn(made, 70)
    if packed:
        assert pack(made, least=0) == pack(reads, least=0) == 1
    with torch.inference_mode():
        whole, read = velocity(made, h, z, c), reads(z, c, made)
        bounds = {"rtol": 0, "atol": 0} if packed and torch.backends.cpu.get_cpu_capability() != "DEFAULT" else {
            "rtol": 1e-4, "atol": 1e-4}  # fmt: skip
        for n in (1, 2, 3, 5, 9, 64):
            torch.testing.assert_close(velocity(made, h[:n], z[:n], c[:n]), whole[:n], **bounds)
            torch.testing.assert_close(reads(z[:n], c[:n], made), read[:n], **bounds)


def test_tokens_far_less_likely_than_the_likeliest_have_no_part():
    made, t = output(), torch.tensor([0.8])
    h, z, _ = drawn(made, 5)
    with torch.inference_mode():
        logits = made.with_state(made.logits(h), z, made.coefficients(t).expand(5, -1))
        for min_p in (0.3, 1.0):
            c = made.coefficients(t, min_p)
            stay = logits.softmax(-1) >= min_p * logits.softmax(-1).amax(-1, keepdim=True) * (1 - 1e-6)
            assert 0 < stay.sum() < stay.numel()
            shares = logits.masked_fill(~stay, -torch.inf).softmax(-1)
            wanted = c[:, :1] * z + c[:, 1:2] * (shares @ made.means)
            torch.testing.assert_close(velocity(made, h, z, c), wanted, atol=1e-5, rtol=1e-5)
        assert stay.sum() == 5  # the likeliest alone


def test_a_temperature_divides_the_logits_of_the_context_alone():
    made, t = output(), torch.tensor([0.8])
    h, z, _ = drawn(made, 5)
    with torch.inference_mode():
        state = made.of_state(z, made.coefficients(t).expand(5, -1))
        for temperature in (0.5, 3.0):
            c = made.coefficients(t, temperature=temperature)
            wanted = c[:, :1] * z + c[:, 1:2] * ((made.proj(h) / temperature + state).softmax(-1) @ made.means)
            torch.testing.assert_close(velocity(made, h, z, c), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_new_means_are_used_at_once_and_a_copy_has_its_own(packed):
    made = output()
    given = drawn(made, 5)
    if packed:
        pack(made, least=0)
    with torch.inference_mode():
        before = velocity(made, *given)
        other = copy.deepcopy(made)
    made.means.mul_(2)
    with torch.inference_mode():
        assert not torch.allclose(velocity(made, *given), before)
        torch.testing.assert_close(velocity(other, *given), before)


def test_the_logits_of_packed_and_plain_weights_and_their_gradients_are_the_same():
    plain, packed = output(), output()
    h, z, c = drawn(plain, 9)
    pack(packed, least=0)
    with torch.inference_mode():
        torch.testing.assert_close(velocity(packed, h, z, c), velocity(plain, h, z, c), atol=1e-4, rtol=1e-4)
    found = []
    for made in (plain, packed):
        h.requires_grad_()
        velocity(made, h, z, c).square().sum().backward()
        found.append(h.grad)
        h.grad = None
    torch.testing.assert_close(*found)


def test_the_rest_may_be_bfloat16_but_means_are_read_and_saved_as_float32(model, tmp_path):
    one = with_tokens(model, read=True)
    save(one, tmp_path / "it", torch.bfloat16)
    stored = load_file(tmp_path / "it/cola_dit/model.safetensors")
    assert stored["txt_out.tokens.means"].dtype == stored["txt_out.tokens.spread"].dtype == torch.float32
    assert stored["txt_in.tokens.prior"].dtype == torch.float32
    assert stored["txt_out.tokens.proj.weight"].dtype == stored["txt_in.tokens.proj.weight"].dtype == torch.bfloat16
    again = ColaDLM.from_pretrained(tmp_path / "it", "cpu", "bfloat16")
    assert torch.equal(again.dit.tokens.means, one.dit.txt_out["tokens"].means)
    (text,) = again.generate(["The"], dataclasses.replace(again.defaults, max_new_tokens=5))
    assert isinstance(text, str)


def test_a_spread_of_nothing_is_refused(model, tmp_path):
    save(with_tokens(model), tmp_path / "it")
    file = tmp_path / "it/cola_dit/model.safetensors"
    save_file(load_file(file) | {"txt_out.tokens.spread": torch.zeros(1)}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"txt_out.tokens.spread is 0, expected a number above 0"):
        ColaDLM.from_pretrained(tmp_path / "it")


@pytest.mark.parametrize("read", [False, True])
def test_pieces_have_the_velocities_of_operators(model, monkeypatch, read):
    """Traced where layers read tokens, too. Else the first piece alone is another one, and it is that of any model,
    which test_compiled_pieces.py has traced: there they run as they are written.
    """
    if not read:
        monkeypatch.setattr(module, "_compiled", lambda piece, backend: piece)
    dit = with_tokens(model, read).dit
    for layer in module._products(dit):
        layer.to(torch.float32)
    pieces = CompiledPieces(dit, "eager")
    for rows, guided in ((2, True), (1, True), (3, False)):
        assert disagreement(dit, pieces, rows, guided) <= most_disagreement(dit)


@pytest.mark.parametrize("read", [False, True])
def test_in_int8_the_velocity_moves_little(model, read):
    dit = with_tokens(model, read).dit
    z, t = torch.randn(2, 16, dit.config.txt_in_channels), 1000 * torch.rand(2, 16)
    with torch.inference_mode():
        before = dit(z, t)
        dit_to_int8(dit, torch.float32)
        assert (dit(z, t) - before).norm() < 0.05 * before.norm()


def test_a_text_comes_back_from_its_noise_with_the_least_spread_of_training(model):
    """And not with that of the latents themselves, where the last steps carry all states of a token to one point."""
    one, text = with_tokens(model), "The cat sat on the mat."
    tokens, errors = one.dit.tokens, []
    with torch.no_grad():  # a model that knows nothing but where the latents of its tokens are
        tokens.means.copy_(token_means(one.vae, one.pad_id, [one.encode_texts([text])[0].padded_ids[None]])[0])
        tokens.proj.weight.zero_()
        tokens.proj.bias.zero_()
    settings = exact_settings(dataclasses.replace(one.defaults, steps=16, time_shift=2.0))
    for spread in (LEAST_SPREAD, 3e-4):
        tokens.spread.fill_(spread)
        errors.append(round_trips(one, [text], settings, iterations=6)[0].latent_error)
    assert errors[0] < 0.01 and errors[1] > 10 * errors[0]


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [("min_p", 0.5, 0), ("flow_temperature", 0.2, 1), ("guidance_space", "logits", "velocities")],
)
def test_settings_of_tokens_turn_what_is_written_and_are_refused_where_none_are_named(model, name, value, off):
    settings = dataclasses.replace(model.defaults, steps=3, max_new_tokens=8, stagger=0.5)
    with pytest.raises(
        SettingsError, match=rf"{name} is {value!r}, expected {off!r}.*: .* of this model names no tokens"
    ):
        model.generate(["The"], dataclasses.replace(settings, **{name: value}))
    one = with_tokens(model)
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.5)
    latents = []
    for given in (off, value):
        events = one.sample(["The cat sat on"], dataclasses.replace(settings, **{name: given}))
        latents.append(next(event.latents for event in events if isinstance(event, BlockDone)))
    assert not torch.allclose(*latents)


def test_guidance_acts_on_logits(model, monkeypatch):
    """The tokens have the probabilities c (c / u)^(g - 1), the ratio bounded, which no two velocities give."""
    one, guidance = with_tokens(model), 3.0
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.5)
    logits = []
    predict = one.dit.predict
    monkeypatch.setattr(one.dit, "predict", lambda *given: logits.append(predict(*given)) or logits[-1])
    settings = dataclasses.replace(one.defaults, steps=2, max_new_tokens=4, guidance=guidance, stagger=1.0,
                                   guidance_space="logits")  # fmt: skip
    step = next(event for event in one.sample(["The cat sat"], settings) if isinstance(event, Step))
    free = step.start[0] > 0
    assert free.any() and (step.t[0, free] == NOISE_TIME).all()  # where the state says nothing of its token
    unconditional, conditional = (half[0, free].softmax(-1) for half in logits[0].chunk(2, 1))
    ratio = (conditional / unconditional).clamp(max=math.exp(MOST_GAIN))
    assert 0 < (ratio == math.exp(MOST_GAIN)).sum() < ratio.numel()
    shares = conditional * ratio ** (guidance - 1)
    pairs = [(step.velocity, shares / shares.sum(-1, keepdim=True)), (step.conditional, conditional),
             (step.unconditional, unconditional)]  # fmt: skip
    for velocity, wanted in pairs:
        torch.testing.assert_close(
            velocity[0, free], step.z[0, free] - wanted @ one.dit.tokens.means, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("form", ["eager", "graph"])
def test_words_that_come_at_once_are_guided_between_velocities_and_single_ones_between_logits(model, form):
    one = with_tokens(model)
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.5)
    choose_form(one.sampler, form)

    def latents(**changed: object) -> list[torch.Tensor]:
        found = []
        for space in ("velocities", "logits"):
            settings = dataclasses.replace(one.defaults, steps=3, max_new_tokens=8, guidance=3.0, guidance_space=space)
            events = one.sample(["The cat sat on"], dataclasses.replace(settings, **changed))
            found.append(torch.cat([event.latents for event in events if isinstance(event, BlockDone)]))
        return found

    assert torch.equal(*latents(stagger=0.0))
    assert not torch.allclose(*latents(stagger=0.25))
    assert not torch.allclose(*latents(stagger=0.0, block_size=1))


@pytest.mark.parametrize("form", ["eager", "graph"])
@pytest.mark.parametrize("space", ["velocities", "logits"])
def test_without_guidance_the_flow_is_that_after_nothing_and_between_0_and_1_it_is_between(model, form, space):
    """Below 1 guidance leads to what is likely after nothing: a token loses all that it has gained by the text, and
    min-p judges by what that leads to.
    """
    one = with_tokens(model)
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.5)  # many a token is more than MOST_GAIN likelier after the text
    choose_form(one.sampler, form)

    def first(guidance: float) -> Step:
        settings = dataclasses.replace(one.defaults, steps=2, max_new_tokens=4, guidance=guidance, stagger=1.0,
                                       guidance_space=space, min_p=0.05)  # fmt: skip
        return next(event for event in one.sample(["The cat sat on the mat"], settings) if isinstance(event, Step))

    none, half = first(0.0), first(0.5)
    assert (none.unconditional - none.conditional).abs().max() > 0.1
    torch.testing.assert_close(none.velocity, none.unconditional, atol=1e-4, rtol=0)
    distance = [(half.velocity - end).norm() for end in (half.unconditional, half.conditional)]
    assert max(distance) < (half.unconditional - half.conditional).norm()
