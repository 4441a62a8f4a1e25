"""The bound against arithmetic done another way, and the passes over whole texts."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from coladlm.evaluate.likelihood import (
    Bound,
    _integral,
    _read,
    best_bound,
    flow_by_time,
    flow_stage,
    likelihood_bounds,
)
from coladlm.evaluate.reconstruction import neighbours, restored
from coladlm.evaluate.stories import EvaluationError, batches, encode
from coladlm.model import ColaDLM
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.text_vae import TextVAE
from coladlm.train.noising import Noised


@pytest.fixture(scope="module")
def token_ids(model, stories):
    return [[*encode(model.tokenizer, story), model.end_ids[0]] for story in stories[:5]]


def still(model):
    """The model with a velocity of zero everywhere: its clean estimate is the noisy state itself."""
    dit = BlockCausalDiT(model.dit.config)
    dit.load_state_dict(model.dit.state_dict())
    for parameter in dit.txt_out["proj"].parameters():
        torch.nn.init.zeros_(parameter)
    return ColaDLM(model.vae, dit.requires_grad_(False), model.tokenizer)


def stage_of_velocity(model, velocity):
    """The stage of a flow of this velocity (noised), in place of what the DiT predicts, which then nobody asks for."""
    stage = flow_stage(model)
    stage.predict, stage.velocity = lambda noised: None, lambda predicted, noised: velocity(noised)
    return stage


def test_the_integral_of_a_still_flow_is_the_one_on_paper(model):
    """E |n - z|^2 = d + |z|^2, and the integral of (1 - t) / t from e to 1 is -ln e - (1 - e)."""
    stage = stage_of_velocity(model, lambda noised: torch.zeros_like(noised.velocity))
    z = torch.randn(3, 8, model.latent_dim, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(3, 8)
    inside[1, 4:] = 0
    generator = torch.Generator().manual_seed(1)
    draws = torch.stack([_integral(stage, z, (0.3, 0.5), inside, generator) for _ in range(600)])
    energy = ((model.latent_dim + z.square().sum(-1)) * inside).sum(1)
    for number, e in enumerate((0.3, 0.5)):
        wanted = energy * (-math.log(e) - (1 - e))
        error = draws[:, number].std(0) / len(draws) ** 0.5
        assert ((draws[:, number].mean(0) - wanted).abs() < 4 * error).all()
        assert (error < 0.05 * wanted).all()


def test_times_are_uniform_in_every_block(model):
    seen = []
    stage = stage_of_velocity(model, lambda noised: (seen.append(noised.times[noised.index]), noised.velocity)[1])
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        _integral(stage, torch.zeros(2, 8, model.latent_dim), (0.25,), torch.ones(2, 8), generator)
    times = torch.stack(seen)  # (draws, rows, n)
    assert (times.view(500, 2, 2, 4).diff(dim=-1) == 0).all()
    assert times.min() >= 0.25 and times.max() <= 1
    assert (times.mean(0) - 0.625).abs().max() < 4 * 0.75 / 12**0.5 / 500**0.5


def test_the_decoder_reads_each_block_after_clean_ones(model, token_ids):
    """Block by block with the blocks before it clean, in place of one pass under a mask."""
    stage, b = flow_stage(model), model.block_size
    _, ids = next(batches(token_ids, model.pad_id, b))
    z = stage.latents(ids)
    other = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    e = 0.4

    def velocity(predicted, noised: Noised):
        return (noised.noisy - other) / e  # so that the clean estimate is `other`

    stage.velocity = velocity
    found = _read(stage, z, ids, e, torch.ones(ids.shape), torch.Generator().manual_seed(3))
    wanted = torch.zeros(len(ids))
    for start in range(0, ids.shape[1], b):
        latents = torch.cat((z[:, :start], other[:, start : start + b]), 1)
        logits = model.vae.decode(latents)[:, start:]
        wanted += F.cross_entropy(logits.transpose(1, 2), ids[:, start : start + b], reduction="none").sum(1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_a_bound_of_all_texts_together_never_promises_more_than_certainty():
    """Blocks of one token: the probabilities that the bounds allow to all texts of one token sum to at most one."""
    torch.manual_seed(0)
    shape = {"latent_dim": 4, "block_size": 1, "encoder_num_blocks": 1, "decoder_num_blocks": 1}
    vae = TextVAE(TextVAEConfig(vocab_size=320, dim=32, ffn_dim=64, num_heads=2, **shape))
    shape = {"txt_in_channels": 4, "txt_out_channels": 4, "block_size": 1, "num_layers": 1}
    dit = BlockCausalDiT(DiTConfig(txt_dim=32, emb_dim=32, heads=2, head_dim=16, rope_dim=8, **shape))
    model, copies = ColaDLM(vae, dit, FakeTokens()), 10
    texts = [[i] for i in range(320)] * copies  # several draws of each, since the mean must stand inside exp
    for bound in likelihood_bounds(model, texts, [1] * len(texts), (0.3, 0.6)):
        assert (-bound.nats.view(copies, 320).mean(0)).exp().sum() < 1


class FakeTokens:
    """The three ids that a model asks its tokenizer for."""

    def token_to_id(self, token: str) -> int:
        return 0


def test_stories_count_up_to_their_last_block(model, token_ids):
    """How much padding a story gets from its batch changes nothing but the draws."""
    short = token_ids[0][:5]
    together = likelihood_bounds(model, [short, token_ids[1]], [1, 1], (0.5,), draws=8)[0]
    alone = likelihood_bounds(model, [short], [1], (0.5,), draws=8)[0]
    assert together.nats[0].item() == pytest.approx(alone.nats.item(), rel=0.3)
    assert together.nats[1] > 2.5 * together.nats[0]
    assert together.tokens.tolist() == [5, len(token_ids[1])]


def test_a_bound_says_its_numbers_per_token_and_word():
    bound = Bound(0.5, torch.tensor([2.0, 4.0]), torch.tensor([4.0, 8.0]), torch.tensor([3, 6]), torch.tensor([2, 4]))
    row = bound.to_dict()
    assert row["nats_per_token"] == pytest.approx(2) and row["of_which_read"] == pytest.approx(6 / 9)
    assert row["perplexity_per_token"] == pytest.approx(math.exp(2))
    assert row["perplexity_per_word"] == pytest.approx(math.exp(3))
    assert row["standard_error"] == pytest.approx(0)
    alone = Bound(0.5, *(part[:1] for part in (bound.read, bound.flow, bound.tokens)), torch.tensor([0]))
    assert alone.to_dict()["standard_error"] is None  # of a single story there is none
    json.dumps(alone.to_dict(), allow_nan=False)
    other = Bound(0.4, bound.read / 2, bound.flow, bound.tokens, bound.words)
    assert best_bound([bound, other])["best"]["read_at"] == 0.4


def test_a_text_too_short_to_see_every_time_is_refused(model, token_ids):
    with pytest.raises(EvaluationError, match="the stories have 3 tokens, too few to see every time"):
        flow_by_time(model, [token_ids[0][:3]])


def test_flow_by_time_is_what_training_validates(model, token_ids):
    rows = flow_by_time(model, token_ids)
    assert [row["t"] for row in rows] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert rows[2]["learned_nothing"] == 2
    found = {row["t"]: row for row in flow_by_time(still(model), token_ids)}
    for t, row in found.items():  # |n - z|^2 per channel, and no history to see
        assert row["with_history"] == row["alone"]
        assert row["with_history"] == pytest.approx(1 + 1.3**2 * (1 + 0.2**2), rel=0.25), t


def test_noise_costs_tokens_and_none_costs_least(model, token_ids):
    found = restored(model, token_ids, (0.0, 3.0))
    _, ids = next(batches([token_ids[0]], model.pad_id, model.block_size))
    latents = model.vae.scale(model.vae.encode(ids).mean)
    right = (model.vae.decode(latents).argmax(-1) == ids)[0, : len(token_ids[0])].float().mean().item()
    assert restored(model, token_ids[:1], (0.0,))["0.0"] == pytest.approx(right)
    assert set(found) == {"0.0", "3.0", "posterior"}
    assert found == restored(model, token_ids, (0.0, 3.0)) != restored(model, token_ids, (0.0, 3.0), seed=1)


def test_neighbours_have_the_nearest_latents(model):
    word = next(w for w in ("the", "a", "and", "it") if len(encode(model.tokenizer, f" {w}")) == 1)
    found = neighbours(model, [word, "unbelievably long words"], 3)
    assert list(found) == [word] and len(found[word]) == 3
    ids = torch.full((320, model.block_size), model.pad_id)
    ids[:, 0] = torch.arange(320)
    latents = F.normalize(model.vae.encode(ids).mean[:, 0], dim=-1)
    token = encode(model.tokenizer, f" {word}")[0]
    order = (latents @ latents[token]).argsort(descending=True).tolist()
    order.remove(token)
    assert found[word] == [model.tokenizer.decode([i]).strip() for i in order[:3]]


def test_several_tokens_in_a_latent_are_refused(model, monkeypatch):
    monkeypatch.setattr(ColaDLM, "patch_size", 2)
    with pytest.raises(EvaluationError, match="patch_size is 2, expected 1"):
        flow_stage(model)
