"""The bound of a text: against flows whose likelihood is known in closed form, and against what the sampler does."""

import json
import math

import pytest
import torch
from torch import Tensor

from coladlm.evaluate.stories import EvaluationError
from coladlm.evaluate.text_flow import TextFlow, Units, units_of
from coladlm.evaluate.text_likelihood import BoundSettings, bound_of, exact_beside, text_bound
from coladlm.model import ColaDLM
from coladlm.sampling.events import Step

TEXT, CONTEXT = " ran to the park. It was happy there", "A cat was there. It"


class GaussianFlow:
    """Latents of one channel that are normal with variance `spread`, carried by the best velocity there is for
    variance `flows`, and read by the exact posterior for variance `reads`: everything has a closed form.
    """

    def __init__(self, latents: Tensor, flows: float, reads: float) -> None:
        self.latents, self.flows, self.reads = latents, flows, reads

    def gain(self, variance: float, t: Tensor | float) -> Tensor | float:
        """E[z | z_t] = gain z_t for z of this variance."""
        return (1 - t) * variance / ((1 - t) ** 2 * variance + t**2)

    def velocity(self, block: Tensor, z: Tensor, t: Tensor, guidance: float) -> Tensor:
        self.t = t.flatten()[0].item()
        return (z - self.gain(self.flows, t)[..., None] * z) / t[..., None]

    def log_probs(self, block: Tensor, clean: Tensor, ids: Tensor) -> Tensor:
        t = self.t
        z = clean / self.gain(self.flows, t)
        variance = self.reads * t**2 / ((1 - t) ** 2 * self.reads + t**2)
        return normal(self.latents[ids[:, 0]] - self.gain(self.reads, t) * z, variance)[..., 0]

    def log_likelihood(self, e: float) -> Tensor:
        """log p of each latent: z_e is normal, and the latent is normal around the gain times it."""
        at_e = (1 - e) ** 2 * self.flows + e**2
        posterior = self.reads * e**2 / ((1 - e) ** 2 * self.reads + e**2)
        return normal(self.latents, self.gain(self.reads, e) ** 2 * at_e + posterior)


def normal(x: Tensor, variance: float) -> Tensor:
    return -0.5 * (x.square() / variance + math.log(2 * math.pi * variance))


def gaussian(flows: float, reads: float) -> tuple[GaussianFlow, Units]:
    count = 64
    latents = torch.randn(count, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.8
    ones = torch.ones(count, 1, dtype=torch.bool)
    units = Units(torch.arange(count), torch.arange(count)[:, None], ones, ~ones, latents)
    return GaussianFlow(latents, flows, reads), units


@pytest.mark.parametrize("e", [0.2, 0.5])
@pytest.mark.parametrize("variance", [0.64, 0.2, 1.5])
def test_the_bound_of_a_known_flow_is_its_likelihood(variance, e):
    """The best velocity and the exact posterior of one law, of the data's or another: the bound is exact for each."""
    flow, units = gaussian(variance, variance)
    found = bound_of(flow, units, BoundSettings(draws=300, read_at=e))
    exact = -flow.log_likelihood(e).sum().item()
    assert exact == pytest.approx(-normal(units.latents, variance).sum().item())
    assert abs(found.nats - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05 * abs(exact)


@pytest.mark.parametrize(("flows", "reads"), [(0.64, 0.1), (0.3, 1.5), (3.0, 0.64)])
def test_the_bound_is_above_the_likelihood_where_flow_and_decoder_do_not_fit(flows, reads):
    flow, units = gaussian(flows, reads)
    found = bound_of(flow, units, BoundSettings(draws=200, read_at=0.4))
    assert found.nats - 4 * found.standard_error > -flow.log_likelihood(0.4).sum().item()


def test_the_stated_error_is_that_of_other_seeds():
    flow, units = gaussian(0.64, 0.64)
    found = [bound_of(flow, units, BoundSettings(draws=10, seed=seed, read_at=0.4)) for seed in range(40)]
    spread = torch.tensor([bound.nats for bound in found]).std().item()
    stated = sum(bound.standard_error for bound in found) / len(found)
    assert spread == pytest.approx(stated, rel=0.4)  # of 40 seeds: to 11 %, at 3.5 times that
    assert bound_of(flow, units, BoundSettings(draws=10, read_at=0.4)).nats == found[0].nats


def test_parts_of_a_bound_add_up(model):
    bound = text_bound(model, TEXT, CONTEXT, BoundSettings(draws=3))
    said = bound.to_dict(model)
    assert said["nats"] == pytest.approx(said["decoder"] + said["flow"])
    assert said["nats"] == pytest.approx(sum(unit["nats"] for unit in said["units"]))
    assert said["flow"] == pytest.approx(sum(level["nats"] for level in said["levels"]))
    assert said["levels"][0]["from"] == bound.read_at and said["levels"][-1]["to"] == 1
    assert "".join(unit["text"] for unit in said["units"]) == TEXT
    assert said["tokens"] == len(model.tokenize(TEXT)) == len(said["units"])
    assert json.loads(json.dumps(said, allow_nan=False)) == said


@pytest.mark.parametrize("order", ["tokens", "blocks"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_flow_is_the_one_that_the_sampler_follows(model, order, guidance):
    """The sampler's velocities in the block after a context, at places that it pins and at places that it writes."""
    settings = model.defaults.from_dict({"steps": 3, "guidance": guidance, "history": "reencoded", "max_new_tokens": 8,
                                         "stop_at_end": False})  # fmt: skip
    before, ids = model.tokenize(CONTEXT), model.tokenize(TEXT)
    assert len(before) % model.block_size == 2
    flow, units = units_of(model, before, ids, order)
    assert units.given[0].tolist() == [True, True, False, False]
    unit = units.part(slice(0, 1))
    for step in (event for event in model.sample([CONTEXT], settings) if isinstance(event, Step) and event.block == 0):
        torch.testing.assert_close(step.z[:, :2], unit.latents[:, :2], rtol=1e-4, atol=1e-5)
        found = flow.velocity(unit.block, step.z[None], step.t[None] / 1000, guidance)[0]
        torch.testing.assert_close(found[:, 2:], step.velocity[:, 2:], rtol=1e-4, atol=1e-4)
        logits = step.preview()
        log_probs = flow.log_probs(unit.block, step.clean[None], unit.ids)[0]
        wanted = logits.log_softmax(-1).gather(-1, unit.ids[..., None])[..., 0]
        torch.testing.assert_close(log_probs, wanted, rtol=1e-4, atol=1e-4)


def test_a_character_of_several_tokens_is_one_unit_with_the_sum_of_their_nats(bundled):
    text = "Hi 😀 你!"
    bound = text_bound(bundled, text, settings=BoundSettings(draws=2))
    told = bound.to_dict(bundled)["units"]
    assert "".join(unit["text"] for unit in told) == text and all("\ufffd" not in unit["text"] for unit in told)
    smile = next(number for number, unit in enumerate(told) if unit["text"] == "😀")
    first = sum(unit["tokens"] for unit in told[:smile])
    part = (bound.read + bound.flow)[:, first : first + 4].sum(1)
    assert told[smile]["tokens"] == 4
    assert told[smile]["nats"] == pytest.approx(part.mean().item())
    assert told[smile]["standard_error"] == pytest.approx(part.std().item() / 2**0.5)


def test_a_text_has_the_units_of_its_parts(model):
    """-log p(a b) is -log p(a) and -log p(b | a), unit by unit."""
    first, second = model.tokenize(CONTEXT), model.tokenize(TEXT)
    _, whole = units_of(model, [], first + second, "tokens")
    for units, rows in ((units_of(model, [], first, "tokens")[1], slice(0, len(first))),
                        (units_of(model, first, second, "tokens")[1], slice(len(first), None))):  # fmt: skip
        part = whole.part(rows)
        assert torch.equal(units.block, part.block) and torch.equal(units.written, part.written)
        kept = (part.written | part.given)[..., None]
        torch.testing.assert_close(units.latents * kept, part.latents * kept, rtol=1e-4, atol=1e-5)


def test_blocks_are_written_whole_and_the_last_as_far_as_the_text_goes(model):
    ids = model.tokenize(CONTEXT + TEXT)[:11]
    _, units = units_of(model, ids[:2], ids[2:], "blocks")
    assert units.block.tolist() == [0, 1, 2]
    assert units.written.sum(1).tolist() == [2, 4, 3] and units.given.sum(1).tolist() == [2, 0, 0]


@pytest.mark.parametrize("order", ["tokens", "blocks"])
def test_bounds_of_all_texts_together_never_promise_more_than_certainty(model, order):
    """What the bounds allow to every token as the next one sums to at most one; random weights allow far less."""
    one = BoundSettings(order, draws=2, read_at=0.5)
    nats = torch.tensor([text_bound(model, [i], CONTEXT, one).nats for i in range(0, 320, 32)])
    assert (-nats).exp().mean() * 320 < 1


def test_the_end_of_a_text_is_a_token_of_it(model):
    settings = BoundSettings(draws=2)
    ended = text_bound(model, "The end.", settings=settings, ended=True)
    assert ended.units[-1] == (model.end_ids[0],)
    assert ended.units[:-1] == text_bound(model, "The end.", settings=settings).units


@pytest.mark.parametrize(("field", "value"), [("order", "words"), ("draws", 1), ("seed", -1), ("guidance", math.nan),
                                              ("read_at", 1.0), ("guidance", "x"), ("guidance", True), ("draws", 2.5),
                                              ("draws", "8"), ("seed", None), ("order", ["tokens"]),
                                              ("read_at", "half")])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(EvaluationError, match=f"{field} is .*, expected"):
        BoundSettings(**{field: value})


def test_texts_without_a_bound_are_refused(model, monkeypatch):
    with pytest.raises(EvaluationError, match="no token"):
        text_bound(model, "")
    for context, told in (("", "the text has 4 tokens, expected"), ("A dog", "4 tokens and its context 2, expected")):
        monkeypatch.setattr(model, "max_tokens", 3)
        with pytest.raises(EvaluationError, match=f"{told} at most 3"):
            text_bound(model, [20] * 4, [30] * 2 if context else [])
    monkeypatch.undo()
    monkeypatch.setattr(ColaDLM, "patch_size", 2)
    with pytest.raises(EvaluationError, match="patch_size is 2, expected 1"):
        text_bound(model, "The end.")


def test_a_first_block_has_nothing_to_be_guided_by(model):
    flow = TextFlow(model, torch.tensor(model.tokenize(CONTEXT + TEXT)[:8]))
    block, z, t = torch.tensor([0, 1]), flow.latents.view(1, 2, 4, -1) + 0.3, torch.full((1, 2, 4), 0.6)
    plain, guided = flow.velocity(block, z, t), flow.velocity(block, z, t, 3.0)
    assert torch.equal(plain[:, 0], guided[:, 0]) and not torch.allclose(plain[:, 1], guided[:, 1])


def test_what_the_transformer_cannot_read_is_said(baseline):
    most = baseline.network.config.max_tokens
    count = most + 50
    text = "a" * 3 * count
    while len(baseline.tokenize(text)) > count:
        text = text[:-1]
    told = exact_beside(baseline, text)
    assert told == {"left_out": f"This text has {len(baseline.tokenize(text)):,} tokens; "
                                f"the transformer reads at most {most:,}."}  # fmt: skip
    assert "This text and its context have" in exact_beside(baseline, "a", text)["left_out"]
