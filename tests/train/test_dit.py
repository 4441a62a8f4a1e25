"""The DiT's objective: what a noisy block sees, what counts in the loss, what a batch is made of."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.text_vae import TextVAE
from coladlm.train.dit import DiTStage, start_from_zero
from coladlm.train.dit_objective import DiTObjective
from coladlm.train.dit_validation import learned_nothing
from coladlm.train.noising import Noised
from coladlm.train.stages import _compile

BLOCK, PAD = 4, 2
VAE = TextVAEConfig(vocab_size=50, encoder_num_blocks=1, decoder_num_blocks=1, dim=16, ffn_dim=32, num_heads=2,
                    latent_dim=8, block_size=BLOCK)  # fmt: skip
DIT = DiTConfig(txt_in_channels=8, txt_out_channels=8, block_size=BLOCK, txt_dim=32, emb_dim=32, heads=2, head_dim=16,
                num_layers=2, rope_dim=12)  # fmt: skip


def random_stage(**objective) -> DiTStage:
    torch.manual_seed(0)
    stage = DiTStage(DIT, TextVAE(VAE), PAD, DiTObjective(**{"staggered_blocks": 0.0, **objective}))
    for parameter in stage.dit.parameters():  # away from the zero start, where every mask gives the same
        torch.nn.init.normal_(parameter, std=0.3)
    return stage


def drawn(stage: DiTStage, rows: int = 3, n: int = 16, seed: int = 0) -> tuple[torch.Tensor, Noised]:
    z = torch.randn(rows, n, 8, generator=torch.Generator().manual_seed(99))
    return z, stage.noise(z, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("queries", [1, 8, 64])
def test_a_noisy_block_is_predicted_as_the_sampler_would_see_it(monkeypatch, queries):
    """The reference: the clean blocks before it and the noisy block as one sequence through the DiT's own forward."""
    monkeypatch.setattr("coladlm.train.dit.QUERIES", queries)
    stage = random_stage(history_noise=0.1, history_dropped=0.0, pinned_blocks=0.5)
    _, noised = drawn(stage)
    velocity = stage.velocity(stage.predict(noised), noised)
    t = 1000 * noised.times[noised.index]
    for block in range(4):
        start, end = block * BLOCK, (block + 1) * BLOCK
        sequence = torch.cat((noised.clean[:, :start], noised.noisy[:, start:end]), 1)
        times = torch.cat((torch.zeros(3, start), t[:, start:end]), 1)
        expected = stage.dit(sequence, times)[:, start:]
        torch.testing.assert_close(velocity[:, start:end], expected, atol=1e-4, rtol=1e-4)


def test_a_row_without_history_is_predicted_block_by_block():
    stage = random_stage(history_dropped=1.0)
    _, noised = drawn(stage)
    velocity = stage.velocity(stage.predict(noised), noised)
    t = 1000 * noised.times[noised.index]
    for start in range(0, 16, BLOCK):
        alone = stage.dit(noised.noisy[:, start : start + BLOCK], t[:, start : start + BLOCK])
        torch.testing.assert_close(velocity[:, start : start + BLOCK], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("queries", [4, 64])
def test_a_row_of_other_blocks_is_predicted_by_the_same_weights_with_blocks_of_that_size(monkeypatch, queries):
    """The reference: the clean positions before a noisy block and that block through a DiT with blocks of its size."""
    monkeypatch.setattr("coladlm.train.dit.QUERIES", queries)
    stage = random_stage(history_dropped=0.0, single_rows=0.4, wide_rows=0.4, staggered_blocks=0.75, pinned_blocks=0.5,
                         copies=2)  # fmt: skip
    _, noised = drawn(stage, rows=16, n=32)
    sizes = noised.sizes.repeat(2)
    assert set(sizes.tolist()) == {1, BLOCK, 2 * BLOCK, 4 * BLOCK}
    velocity = stage.velocity(stage.predict(noised), noised)
    t, clean = 1000 * noised.times[noised.index], noised.clean.repeat(2, 1, 1)
    for size in (1, BLOCK, 2 * BLOCK, 4 * BLOCK):
        dit, rows = BlockCausalDiT(dataclasses.replace(DIT, block_size=size)), sizes == size
        dit.load_state_dict(stage.dit.state_dict())
        for start in range(0, 32, size):
            end = start + size
            sequence = torch.cat((clean[rows, :start], noised.noisy[rows, start:end]), 1)
            times = torch.cat((torch.zeros(len(sequence), start), t[rows, start:end]), 1)
            expected = dit(sequence, times)[:, start:]
            torch.testing.assert_close(velocity[rows, start:end], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("staggered", [0.0, 1.0])
def test_a_wide_block_has_one_time_or_times_that_follow_one_another(staggered):
    stage = random_stage(wide_rows=1.0, staggered_blocks=staggered, pinned_blocks=0.0)
    _, noised = drawn(stage, rows=32, n=32)
    assert set(noised.sizes.tolist()) == {2 * BLOCK, 4 * BLOCK}
    rises = []
    for index, size in zip(noised.index, noised.sizes.tolist(), strict=True):
        blocks = index.view(-1, size)
        assert (blocks.diff(dim=-1) >= 0).all()
        rises += (blocks[:, -1] > blocks[:, 0]).tolist()
    assert any(rises) == (staggered > 0)


def test_rows_that_the_widest_blocks_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="rows are of 24 tokens, expected a multiple of 16"):
        drawn(random_stage(wide_rows=0.5), n=24)
    with pytest.raises(ValueError, match="shares of at most 1 together"):
        random_stage(wide_rows=0.6, single_rows=0.6)


def test_every_position_of_a_single_row_counts_at_a_time_of_its_own():
    stage = random_stage(single_rows=1.0, staggered_blocks=1.0, pinned_blocks=1.0)
    _, noised = drawn(stage, rows=8, n=64)
    assert noised.free.all() and (noised.index > 0).all()
    times = noised.index.view(-1, BLOCK)
    assert (times.diff(dim=-1) < 0).any() and (times.diff(dim=-1) > 0).any()


def test_noisy_copies_share_the_clean_one_and_see_nothing_of_each_other():
    stage = random_stage(copies=3, history_dropped=0.3)
    z, noised = drawn(stage)
    assert noised.clean.shape == z.shape and noised.noisy.shape == (9, 16, 8)

    def predicted(noised):
        made = stage.predict(noised)
        return stage.velocity(made, noised), made.hidden

    velocity, hidden = predicted(noised)
    for copy in range(3):
        rows = slice(3 * copy, 3 * copy + 3)
        parts = {name: getattr(noised, name)[rows] for name in ("noisy", "velocity", "index", "free", "history")}
        alone = predicted(dataclasses.replace(noised, **parts))
        for found, wanted in zip((velocity[rows], hidden[rows]), alone, strict=True):
            # small numbers are sums of large ones here, and rounding is a share of those
            torch.testing.assert_close(found, wanted, atol=1e-5 * float(wanted.detach().abs().max()), rtol=0)
    assert not torch.equal(noised.index[:3], noised.index[3:6])


def test_the_loss_of_copies_is_the_mean_over_all_of_them():
    ids = torch.randint(3, 50, (3, 16))
    stage = random_stage(copies=2, head_weight=0.0, pinned_blocks=0.0)
    noised = stage.noise(stage.latents(ids), torch.Generator().manual_seed(5))
    velocity = stage.velocity(stage.predict(noised), noised)
    expected = (velocity - noised.velocity).square().mean().item()
    assert stage(ids, torch.Generator().manual_seed(5))["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_pinned_positions_are_clean_at_time_zero_and_left_out_of_the_loss():
    stage = random_stage(pinned_blocks=1.0)
    z, noised = drawn(stage, rows=8, n=32)
    pinned = ~noised.free
    assert torch.equal(noised.noisy[pinned], z[pinned])
    assert (noised.index[pinned] == 0).all() and (noised.index[~pinned] > 0).all()
    per_block = pinned.view(8, 8, BLOCK).sum(-1)
    assert per_block.min() >= 1 and per_block.max() <= BLOCK - 1


def test_free_positions_of_a_block_share_one_time():
    stage = random_stage()
    _, noised = drawn(stage, rows=8, n=32)
    for block, free in zip(noised.index.view(-1, BLOCK), noised.free.view(-1, BLOCK), strict=True):
        assert len(block[free].unique()) == 1


def test_staggered_positions_follow_one_another():
    stage = random_stage(staggered_blocks=1.0, pinned_blocks=0.0)
    z, noised = drawn(stage, rows=8, n=64)
    times = noised.times[noised.index].view(-1, BLOCK)
    assert (times.diff(dim=-1) >= 0).all()
    assert (times.diff(dim=-1) > 0.05).any() and (times[:, -1] == 1).any() and (times[:, 0] == 0).any()
    assert torch.equal(noised.noisy[noised.index == 0], z[noised.index == 0])


def test_of_waiting_positions_the_first_alone_counts_and_finished_ones_do_not():
    stage = random_stage(staggered_blocks=1.0, pinned_blocks=0.0)
    _, noised = drawn(stage, rows=8, n=64)
    times, free = noised.times[noised.index].view(-1, BLOCK), noised.free.view(-1, BLOCK)
    assert free[(times > 0) & (times < 1)].all() and not free[times == 0].any()
    waiting = times == 1
    first = waiting & (waiting.cumsum(-1) == 1)
    assert free[first].all() and (waiting & ~free).any()
    left_out = (waiting & ~free).int()
    assert (left_out.diff(dim=-1) >= 0).all()  # who waits behind one that is left out is left out too


def test_validation_looks_at_positions_in_line():
    stage = random_stage()
    ids = torch.randint(3, 50, (5, 40))
    found = stage.validate([ids], torch.Generator().manual_seed(0))
    assert {"flow", "alone", "head", "line", "line_head"} <= set(found)
    assert found["line"] != found["flow"]


def test_noised_latents_lie_between_data_and_noise():
    stage = random_stage(history_noise=0.0, pinned_blocks=0.0)
    z, noised = drawn(stage)
    t = noised.times[noised.index][..., None]
    torch.testing.assert_close(noised.noisy - t * noised.velocity, z, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(noised.clean, z)


def test_times_are_logit_normal():
    stage = random_stage(time_location=1.0, times=4096, pinned_blocks=0.0)
    _, noised = drawn(stage, rows=64, n=256)
    logit = noised.times[1:-1].logit()
    assert logit.mean() == pytest.approx(1.0, abs=0.02)
    assert logit.std() == pytest.approx(1.0, abs=0.03)


def test_a_model_that_knows_nothing_has_the_error_of_learned_nothing():
    """Gaussian data: the best velocity given z_t alone is (t - (1 - t)) / ((1 - t)^2 + t^2) z_t."""
    random = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 100_000, generator=random)
    for t in (0.2, 0.4, 0.8):
        z_t = (1 - t) * z + t * noise
        best = (2 * t - 1) / ((1 - t) ** 2 + t**2) * z_t
        assert (noise - z - best).square().mean().item() == pytest.approx(learned_nothing(t), rel=0.02)


def test_the_start_is_velocity_zero():
    dit = BlockCausalDiT(DIT)
    start_from_zero(dit)
    assert dit(torch.randn(1, 8, 8), torch.full((1, 8), 500.0)).abs().max() == 0


def test_the_same_generator_gives_the_same_loss():
    stage = random_stage()
    ids = torch.randint(0, 50, (4, 16))
    one, two, other = (stage(ids, torch.Generator().manual_seed(seed))["loss"].item() for seed in (1, 1, 2))
    assert one == two != other


def test_the_vae_stays_frozen_and_the_token_head_can_be_left_out():
    stage = random_stage(head_weight=0.0)
    parts = stage(torch.randint(0, 50, (4, 16)), torch.Generator().manual_seed(0))
    parts["loss"].backward()
    assert "head" not in parts and stage.head is None
    assert all(p.grad is None for p in stage.vae.parameters())
    assert all(p.grad is not None for p in stage.dit.parameters())


def test_validation_reports_every_time_with_and_without_history():
    stage = random_stage()
    found = stage.validate([torch.randint(3, 50, (5, 40))], torch.Generator().manual_seed(0))
    assert {"flow", "flow_0.1", "flow_0.9", "alone", "alone_0.5", "head", "head_0.7"} <= set(found)
    assert "wide" not in found
    stage = random_stage(wide_rows=0.5)
    found |= stage.validate([torch.randint(3, 50, (5, 80))], torch.Generator().manual_seed(0))
    assert {"wide", "wide_0.1", "wide_0.9", "wide_head_0.5"} <= set(found)


def next_token_case() -> tuple[DiTStage, torch.Tensor, Noised, list[tuple[int, int]]]:
    """A stage that reads every place of the next-token loss, ids, a noised batch, and those places by their meaning."""
    stage = random_stage(single_rows=0.4, wide_rows=0.4, next_weight=1.0, next_share=1.0, history_noise=0.0)
    ids = torch.randint(3, 50, (12, 32))
    ids[0, 11:] = ids[5, 6:] = PAD
    noised = stage.noise(stage.latents(ids), torch.Generator().manual_seed(0))
    assert set(noised.sizes.tolist()) == {1, BLOCK, 2 * BLOCK, 4 * BLOCK}
    places = [(row, i) for row, size in enumerate(noised.sizes.tolist()) for i in range(31)
              if i % size == size - 1 and ids[row, i + 1] != PAD]  # fmt: skip
    return stage, ids, noised, places


def test_the_next_token_loss_is_the_mean_over_every_place_that_cannot_see_the_token():
    stage, ids, noised, places = next_token_case()
    clean = stage.predict(noised).clean
    expected = [-stage.next_logits(clean[row, i]).log_softmax(-1)[ids[row, i + 1]] for row, i in places]
    found = stage.next_token_loss(clean, ids, noised.sizes, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_no_place_of_the_next_token_loss_sees_the_token():
    """The clean copy's hidden state there does not change with the latents after it."""
    stage, _, noised, places = next_token_case()
    before = stage.predict(noised).clean
    for i in {i for _, i in places}:
        rows = [row for row, at in places if at == i]
        clean = noised.clean.clone()
        clean[rows, i + 1 :] += 1.0
        after = stage.predict(dataclasses.replace(noised, clean=clean)).clean
        torch.testing.assert_close(after[rows, i], before[rows, i], atol=1e-5, rtol=1e-5)


def test_the_next_token_loss_trains_the_trunk_and_is_part_of_the_loss():
    stage = random_stage(next_weight=0.5, head_weight=0.0)
    parts = stage(torch.randint(3, 50, (4, 16)), torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts["loss"], parts["flow"] + 0.5 * parts["next"])
    parts["next"].backward()
    assert stage.dit.blocks[0].msa.proj_qkv.weight.grad.abs().max() > 0


def token_stage(**objective) -> DiTStage:
    """Its output layer names tokens, whose means are random."""
    torch.manual_seed(0)
    config = dataclasses.replace(DIT, token_output=VAE.vocab_size)
    stage = DiTStage(config, TextVAE(VAE), PAD, DiTObjective(**{"staggered_blocks": 0.0, **objective}))
    for parameter in stage.dit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    stage.dit.tokens.means.normal_()
    stage.dit.tokens.spread.fill_(0.05)
    return stage


def test_an_output_layer_that_names_tokens_learns_their_cross_entropy_and_gives_the_velocity_of_it():
    stage, ids = token_stage(head_share=1.0, pinned_blocks=0.0), torch.randint(3, 50, (3, 16))
    noised = stage.noise(stage.latents(ids), torch.Generator().manual_seed(4))
    predicted = stage.predict(noised)
    logits = stage.token_logits(predicted, noised, torch.arange(ids.numel()))
    t, spread = noised.times[noised.index].view(-1, 1), 0.05
    clean = logits.softmax(-1) @ stage.dit.tokens.means
    state = noised.noisy.flatten(0, 1)
    gain = (1 - t) * spread / (t**2 + (1 - t) ** 2 * spread)  # see `exact_denoiser.py`
    clean = clean + gain * (state - (1 - t) * clean)
    velocity = stage.velocity(predicted, noised).flatten(0, 1)
    torch.testing.assert_close(velocity, (state - clean) / t, atol=1e-4, rtol=1e-3)
    expected = torch.nn.functional.cross_entropy(logits, ids.flatten())
    parts = stage(ids, torch.Generator().manual_seed(4))
    torch.testing.assert_close(parts["loss"], expected)
    assert set(parts) == {"loss", "head"} and stage.head is None
    parts["loss"].backward()
    assert all(p.grad is not None for p in stage.dit.parameters())


def test_validation_of_an_output_layer_that_names_tokens_has_the_same_numbers_as_any():
    ids = [torch.randint(3, 50, (5, 40))]
    found = token_stage().validate(ids, torch.Generator().manual_seed(0))
    assert set(found) == set(random_stage().validate(ids, torch.Generator().manual_seed(0)))


def test_without_its_weight_there_is_no_next_token_head():
    assert random_stage().next_head is None


def test_validation_reports_the_next_token():
    stage = random_stage(next_weight=1.0, history_noise=0.0)
    ids = torch.randint(3, 50, (5, 40))
    found = stage.validate([ids], torch.Generator().manual_seed(0))
    clean = stage.predict(stage.noise(stage.latents(ids), torch.Generator().manual_seed(0))).clean
    assert found["next"] == pytest.approx(
        torch.nn.functional.cross_entropy(
            stage.next_logits(clean[:, 3:-1:4]).flatten(0, 1), ids[:, 4::4].flatten()
        ).item(),
        rel=1e-4,
    )


def test_padding_counts_to_the_end_of_the_block_after_a_storys_end():
    stage = random_stage()
    ids = torch.full((3, 20), 7)
    ids[0, 5:] = ids[1, 8:] = PAD
    expected = torch.tensor([12, 12, 20])[:, None] > torch.arange(20)
    assert torch.equal(stage.within_story(ids), expected)
    expected = torch.tensor([12, 16, 32])[:, None] > torch.arange(20)
    assert torch.equal(stage.within_story(ids, torch.tensor([1, 2 * BLOCK, 4 * BLOCK])), expected)


def test_compiled_layers_have_the_gradients_of_eager_ones_and_hold_for_batches_of_all_sizes():
    """Traced and differentiated by the compiler; the code that it would generate runs as it is. Each half of a layer is
    traced for a clean copy with one time and a noisy one with many, with gradients and without: four of the eight times
    that torch allows. What is not differentiated takes the same operators, so there what was traced runs as it is.
    """
    aot_eager = torch._dynamo.lookup_backend("aot_eager")

    def backend(graph, inputs):
        return aot_eager(graph, inputs) if torch.is_grad_enabled() else graph.forward

    stage, traced = random_stage(single_rows=0.5), torch._dynamo.utils.counters["stats"]
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    ids, graphs = torch.randint(3, 50, (4, 16)), traced["unique_graphs"]
    eager = stage(ids, torch.Generator().manual_seed(1))["loss"].item()
    assert stage.compile_layers(ids, torch.Generator().manual_seed(0), backend) < 1e-4
    assert stage.layers is not None
    assert stage(ids, torch.Generator().manual_seed(1))["loss"].item() == pytest.approx(eager, rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in stage.state_dict().items())
    for rows, positions in ((5, 16), (3, 20), (2, 24)):
        stage(torch.randint(3, 50, (rows, positions)), torch.Generator().manual_seed(2))["loss"].backward()
    with torch.no_grad():
        for rows, positions in ((6, 16), (3, 28)):
            stage(torch.randint(3, 50, (rows, positions)), torch.Generator().manual_seed(3))
    assert 0 < traced["unique_graphs"] - graphs <= 2 * 4


def test_training_goes_on_eagerly_where_the_compiler_fails(monkeypatch):
    """As with a kernel of which an earlier run, killed in the middle, has left half a file."""
    from torch._inductor.exc import InductorError

    def broken(dit, backend):
        def hidden(*inputs):
            raise InductorError(ImportError("kernel.so: file too short"), None)

        return hidden

    monkeypatch.setattr("coladlm.train.dit.compiled_layers", broken)
    stage, reports = random_stage(), []
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    corpus = SimpleNamespace(batch=lambda *which: torch.randint(3, 50, (4, 16)))
    place = SimpleNamespace(tokens=64, device=torch.device("cpu"), dtype=torch.float32)
    _compile(stage, corpus, place, reports.append)
    assert reports[0]["layers"] == "eager" and "file too short" in reports[0]["error"]
    assert stage.layers is None
    assert all(torch.equal(value, before[name]) for name, value in stage.state_dict().items())


def test_layers_stay_eager_where_compiled_gradients_differ(monkeypatch):
    def wrong(dit, backend):
        return lambda *inputs: 1.1 * dit.hidden(*inputs)

    monkeypatch.setattr("coladlm.train.dit.compiled_layers", wrong)
    stage = random_stage()
    assert stage.compile_layers(torch.randint(3, 50, (4, 16)), torch.Generator().manual_seed(0)) > 0.05
    assert stage.layers is None
