"""Whole generations of random small models against the definition in float64 (reference.py), option by option."""

import dataclasses

import pytest
import torch

from coladlm import BlockDone, ColaDLM, SamplerSettings
from coladlm.latent.branch import Spot, run_branch
from coladlm.latent.redecode import redecode
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.text_vae import TextVAE
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.sampling.shared_run import SharedRun

from .reference import ReferenceSampler

SETTINGS = SamplerSettings(steps=4, guidance=2.0, max_new_tokens=20, repetition_penalty=1.6, stop_at_end=False)
SENTENCE = "Once upon a time there was a little bird that sang to the cat and the cat sang back to it all day long."
VAE = {"vocab_size": 320, "encoder_num_blocks": 2, "decoder_num_blocks": 2, "dim": 24, "ffn_dim": 32, "num_heads": 3,
       "latent_dim": 6, "block_size": 5, "scaling_factor": 1.3, "shifting_factor": 0.2}  # fmt: skip
DIT = {"txt_in_channels": 6, "txt_out_channels": 6, "txt_dim": 24, "emb_dim": 24, "heads": 2, "head_dim": 8,
       "rope_dim": 6, "num_layers": 2, "block_size": 5}  # fmt: skip
OPTIONS = [
    {},
    {"post_norm": False},
    {"post_norm": False, "act": "gelu", "shared_heads_kv": 3, "qk_norm": False},
    {"act": "gelu"},
    {"act": "silu", "bias": False},
    {"shared_heads_kv": 3},
    {"patch_size": 2},
    {"patch_size": 3, "block_size": 2},
    {"qk_bias": True, "clip_qkv": 0.5},
    {"qk_norm_affine": False, "layer_norm_affine": False},
    {"encoder_last_ln": False},
    {"use_variation": False},
    {"rope_theta": 50.0, "rope_full_precision": False},
    {"block_size": 1},
    {"block_size": 16},
]
# blocks of the checkpoint, and those that it is sampled with
SIZES = [
    ({}, 1),
    ({"block_size": 4}, 8),
    ({"block_size": 4}, 2),
    ({"block_size": 4, "patch_size": 2}, 1),
    ({"block_size": 1}, 3),
]


def small_model(tokenizer_of: ColaDLM, **options) -> ColaDLM:
    """A tiny model whose every parameter is random, with velocities and logits of ordinary size."""
    vae = TextVAE(TextVAEConfig.from_dict(VAE | options))
    dit = BlockCausalDiT(DiTConfig.from_dict(DIT | {key: options[key] for key in options.keys() & {"block_size"}}))
    draw = torch.Generator().manual_seed(5)
    for network in (vae, dit):
        for name, parameter in network.requires_grad_(False).named_parameters():
            of_norm = "norm" in name and name.endswith("weight")
            size = 0.2 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(of_norm + size * torch.randn(parameter.shape, generator=draw))
    return ColaDLM(vae, dit, tokenizer_of.tokenizer)


def text_of(model: ColaDLM, tokens: int) -> str:
    """The beginning of a sentence that has so many tokens."""
    return next(t for n in range(len(SENTENCE)) if len(model.tokenize(t := SENTENCE[:n])) == tokens)


@pytest.fixture(scope="module")
def golden_model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def drawn_noise(model: ColaDLM, batch: int, blocks: int = 4) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(blocks, batch, model.block_size, model.latent_dim, generator=draw)


def reference(model: ColaDLM, prompt: str, noise: torch.Tensor, settings: SamplerSettings = SETTINGS, **changes):
    sampler = ReferenceSampler(model.vae, model.dit, model.pad_id, settings.block_size)
    return sampler.generate(model.tokenize(prompt), noise, settings.steps, settings.guidance,
                            settings.repetition_penalty, **changes)  # fmt: skip


@pytest.mark.parametrize("options, block_size", [*((options, None) for options in OPTIONS), *SIZES], ids=str)
def test_a_whole_generation_is_that_of_the_definition(golden_model, options, block_size):
    settings = dataclasses.replace(SETTINGS, steps=3, block_size=block_size)
    model = small_model(golden_model, **options).in_blocks_of(settings)
    prompts = [text_of(model, 27), text_of(model, 7), ""]
    noise = drawn_noise(model, len(prompts), blocks=3)
    settings = dataclasses.replace(settings, max_new_tokens=3 * model.block_size * model.patch_size)
    *blocks, end = (e for e in model.sample(prompts, settings, noise=noise) if not hasattr(e, "velocity"))
    for row, prompt in enumerate(prompts):
        wanted = reference(model, prompt, noise[:, row], settings)
        assert end.token_ids[row] == wanted.answer
        for block in blocks:
            assert isinstance(block, BlockDone)
            torch.testing.assert_close(block.latents[row].double(), wanted.latents[block.block], atol=1e-5, rtol=0)
            torch.testing.assert_close(block.logits[row].double(), wanted.logits[block.block], atol=1e-5, rtol=0)


# the repetition penalty counts what was decoded at pinned positions


PROMPT_TOKENS = (27, 7)  # 2 and 2 tokens over whole blocks of 5


@pytest.fixture(scope="module")
def model(golden_model) -> ColaDLM:
    """A model that likes some tokens much better than others, so that they come again."""
    model = small_model(golden_model)
    model.vae.decoder.final_layer.bias.mul_(16)
    return model


@pytest.fixture(scope="module")
def prompts(model) -> list[str]:
    return [text_of(model, tokens) for tokens in PROMPT_TOKENS]


@pytest.fixture(scope="module")
def wanted(model, prompts) -> list[list[int]]:
    """The answers by the definition, from the noise of `drawn_noise`."""
    noise = drawn_noise(model, 2)
    return [reference(model, prompt, noise[:, row]).answer for row, prompt in enumerate(prompts)]


def recorded(model, prompts, settings):
    record = recorder(Recipe("generate", tuple(prompts), settings), previews=False, dtype="float32")
    for _ in record.watch(run(model, Recipe("generate", tuple(prompts), settings))):
        pass
    return record.trace()


def test_the_penalty_of_what_was_decoded_at_pinned_positions_shows_in_these_texts(model, prompts, wanted):
    """Or the tests below could not fail."""
    noise = drawn_noise(model, 2)
    for row, prompt in enumerate(prompts):
        assert reference(model, prompt, noise[:, row], penalise_pinned=False).answer != wanted[row]


def test_a_batch_and_each_text_alone_are_those_of_the_definition(model, prompts, wanted):
    noise = drawn_noise(model, 2)
    for rows in ([0], [1], [0, 1]):
        *_, end = model.sample([prompts[row] for row in rows], SETTINGS, noise=noise[:, rows])
        for row, found in zip(rows, end.token_ids, strict=True):
            assert found == wanted[row][: len(found)]


def test_a_text_that_joins_a_batch_is_that_of_the_definition(model, prompts, wanted):
    noise = drawn_noise(model, 2)
    plans = [model.plan(prompt, SETTINGS, row, noise[:, row]) for row, prompt in enumerate(prompts)]
    shared = SharedRun(model.sampler, SETTINGS)
    groups = [shared.join(plans[:1])]
    for _ in range(SETTINGS.steps + 1):
        shared.advance()
    groups.append(shared.join(plans[1:]))
    while not all(group.finished for group in groups):
        shared.advance()
    for row, group in enumerate(groups):
        found = group.token_ids[0]
        assert found == wanted[row][: len(found)]


@pytest.mark.parametrize("changes", [
    {}, {"history": "reencoded"}, {"temperature": 0.8}, {"no_repeat_ngram_size": 2},
    {"block_size": 1}, {"block_size": 1, "history": "reencoded"}, {"block_size": 10},
])  # fmt: skip
def test_a_branch_and_another_decoding_of_a_recorded_run_write_its_text(model, prompts, changes):
    tokens = 6 if changes.get("block_size") == 1 else 14  # of small blocks there is one after those
    trace = recorded(model, prompts, dataclasses.replace(SETTINGS, max_new_tokens=tokens, **changes))
    for sequence in range(2):
        again = redecode(model, trace, sequence, trace.recipe.settings)
        assert again.answer == trace.answers[sequence]
        for block, step in ((0, 2), (1, 0), (2, 3)):
            *_, end = run_branch(model, trace, Spot(sequence, block, step))
            assert end.token_ids[0] == trace.answers[sequence][len(trace.answers[sequence]) - len(end.token_ids[0]) :]
