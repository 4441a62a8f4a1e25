"""The baseline: its likelihood, its cache and its texts against what they are by definition."""

import itertools
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from coladlm.baseline.baseline import (
    BUNDLED,
    Baseline,
    BaselineError,
    BaselineSettings,
    Likelihood,
    perplexities,
    save_baseline,
)
from coladlm.baseline.transformer import Transformer
from coladlm.checkpoint.weights import CheckpointError
from coladlm.networks.config import ConfigError
from coladlm.sampling.events import Finished

TEXTS = ["The cat sat on the mat.", "A dog", "", "Once upon a time there was a bird"]
PROMPTS = ["", "Then. ", "x", "Hello! "]


# the network


def test_a_position_sees_nothing_that_comes_after_it(baseline):
    ids = torch.arange(2, 22)[None]
    changed = ids.clone()
    changed[0, 12:] += 50
    before, after = (baseline.network.hidden(x)[0] for x in (ids, changed))
    assert torch.equal(before[:12], after[:12])
    assert not torch.allclose(before[12:], after[12:])


def test_order_matters(baseline):
    ids = torch.arange(2, 12)[None]
    turned = torch.cat((ids[:, :9].flip(1), ids[:, 9:]), 1)
    assert not torch.allclose(baseline.network.hidden(ids)[0, -1], baseline.network.hidden(turned)[0, -1], atol=1e-3)


def test_the_cache_gives_what_the_whole_gives(baseline):
    ids = torch.randint(3, 300, (3, 17), generator=torch.Generator().manual_seed(1))
    padding = torch.tensor([0, 4, 9])
    cache = baseline.network.cache(17, padding)
    seen = []
    for start, end in itertools.pairwise((0, 10, 11, 12, 15, 17)):
        cache.place(start, end)
        positions = (torch.arange(start, end) - padding[:, None]).clamp(min=0)
        seen.append(baseline.network.hidden(ids[:, start:end], positions, cache))
    cached = torch.cat(seen, 1)
    for row, empty in enumerate(padding.tolist()):
        whole = baseline.network.hidden(ids[row : row + 1, empty:])[0]
        torch.testing.assert_close(cached[row, empty:], whole, rtol=1e-4, atol=1e-4)


# likelihood


def test_the_likelihood_is_that_of_reading_step_by_step(baseline):
    found = baseline.log_likelihood(TEXTS, PROMPTS)
    for text, prompt, likelihood in zip(TEXTS, PROMPTS, found, strict=True):
        ids, values = [baseline.start_id, *baseline.tokenize(prompt)], []
        for token in baseline.tokenize(text):
            logits = baseline.network.logits(baseline.network.hidden(torch.tensor([ids]))[0, -1])
            values.append(logits.double().log_softmax(-1)[token].item())
            ids.append(token)
        assert likelihood.log_probs == pytest.approx(values, abs=1e-4)
        assert likelihood.total == pytest.approx(sum(values), abs=1e-3)
        assert likelihood.words == len(text.split())


def test_a_text_is_as_likely_alone_as_in_any_batch(baseline):
    together = baseline.log_likelihood(TEXTS, PROMPTS)
    for tokens in (1, 20):
        for one, other in zip(together, baseline.log_likelihood(TEXTS, PROMPTS, batch_tokens=tokens), strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_the_end_of_a_text_counts_where_it_is_asked_for(baseline):
    for whole, ended in zip(baseline.log_likelihood(TEXTS), baseline.log_likelihood(TEXTS, ended=True), strict=True):
        assert ended.log_probs[:-1] == pytest.approx(whole.log_probs, abs=1e-4)
    ids = torch.tensor([[baseline.start_id, *baseline.tokenize("A dog")]])
    end = baseline.network.logits(baseline.network.hidden(ids)[0, -1]).log_softmax(-1)[baseline.start_id]
    assert baseline.log_likelihood(["A dog"], ended=True)[0].log_probs[-1] == pytest.approx(end.item(), abs=1e-4)


def test_the_probabilities_of_all_next_tokens_sum_to_one(baseline):
    ids = torch.tensor([[baseline.start_id, 5, token] for token in range(baseline.network.config.vocab_size)])
    assert baseline._next_log_probs(ids)[:, 1].double().exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_perplexity_counts_tokens_and_words_of_all_texts():
    likelihoods = [Likelihood((math.log(0.5), math.log(0.125)), 1), Likelihood((math.log(0.25),), 2)]
    assert perplexities(likelihoods) == {"per_token": pytest.approx(4), "per_word": pytest.approx(4)}
    assert perplexities(likelihoods[:1]) == {"per_token": pytest.approx(4), "per_word": pytest.approx(16)}
    with pytest.raises(BaselineError, match="no token"):
        perplexities([Likelihood((), 0)])


# texts of its own

SETTINGS = BaselineSettings(max_new_tokens=12, temperature=1.0, top_p=1.0, seed=3, stop_at_end=False)


def test_the_cache_writes_what_reading_everything_anew_would_write(baseline):
    settings = BaselineSettings(max_new_tokens=10, temperature=0, stop_at_end=False)
    *_, finished = baseline.sample(PROMPTS, settings)
    for prompt, answer in zip(PROMPTS, finished.token_ids, strict=True):
        ids = [baseline.start_id, *baseline.tokenize(prompt)]
        for token in answer:
            assert token == baseline.network.logits(baseline.network.hidden(torch.tensor([ids]))[0, -1]).argmax()
            ids.append(token)


def test_a_sequence_is_the_same_alone_and_in_any_batch(baseline):
    together = baseline.generate(PROMPTS, SETTINGS)
    alone = [baseline.generate([prompt], SETTINGS, [key])[0] for key, prompt in enumerate(PROMPTS)]
    turned = baseline.generate(PROMPTS[::-1], SETTINGS, [3, 2, 1, 0])[::-1]
    assert together == alone == turned


def test_a_seed_and_a_key_decide_the_text(baseline):
    one, again, other = baseline.generate(["The"] * 3, SETTINGS, [5, 5, 6])
    assert one == again != other
    assert baseline.generate(["The"], BaselineSettings(12, 1.0, 0, 1.0, seed=4, stop_at_end=False), [5]) != [one]


def test_tokens_are_drawn_from_the_networks_distribution(baseline):
    settings = BaselineSettings(max_new_tokens=1, temperature=1.0, top_p=1.0, stop_at_end=False)
    count = 4000
    *_, finished = baseline.sample(["A dog"] * count, settings)
    drawn = torch.tensor(finished.token_ids)[:, 0].bincount(minlength=320) / count
    ids = torch.tensor([[baseline.start_id, *baseline.tokenize("A dog")]])
    wanted = baseline.network.logits(baseline.network.hidden(ids)[0, -1]).softmax(-1)
    assert (drawn - wanted).abs().max() < 4 * (0.25 / count) ** 0.5


def test_a_text_ends_at_the_end_token_and_others_go_on(baseline, monkeypatch):
    *_, free = baseline.sample(PROMPTS, SETTINGS)
    ends = free.token_ids[1][4]
    monkeypatch.setattr(baseline, "end_ids", frozenset([ends]))
    settings = BaselineSettings(12, 1.0, 0, 1.0, seed=3)
    *events, finished = baseline.sample(PROMPTS, settings)
    for row, answer in enumerate(free.token_ids):
        ended = ends in answer
        assert finished.token_ids[row] == (answer[: answer.index(ends)] if ended else answer)
        assert finished.reasons[row] == ("end" if ended else "length")
    assert finished.reasons[1] == "end" and "length" in finished.reasons
    assert all(event.index == number for number, event in enumerate(events))
    assert sum(int(event.active[1]) for event in events) == free.token_ids[1].index(ends) + 1


def test_tokens_come_one_by_one(baseline):
    events = baseline.sample(["The cat", "A"], SETTINGS)
    first = next(events)
    assert first.index == 0 and first.active.all() and not isinstance(first, Finished)
    ids = [first.token_ids, *(event.token_ids for event in events if not isinstance(event, Finished))]
    *_, finished = baseline.sample(["The cat", "A"], SETTINGS)
    assert torch.stack(ids, 1).tolist() == finished.token_ids


# mistakes


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0, expected 1 or more"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0, expected more than 0 and at most 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_settings_are_named(values, sentence):
    with pytest.raises(BaselineError, match=sentence):
        BaselineSettings(**values)


def test_texts_longer_than_the_network_knows_are_refused(baseline):
    with pytest.raises(BaselineError, match=r"text 1 with its prompt has [\d,]+ tokens, expected at most 256"):
        baseline.log_likelihood(["a", "word " * 400])
    with pytest.raises(BaselineError, match=r"prompt 0 with its answer has 301 tokens"):
        baseline.sample(["a"], BaselineSettings(max_new_tokens=300))
    with pytest.raises(BaselineError, match="expected a list"):
        baseline.sample("a text")
    with pytest.raises(BaselineError, match="1 sequence keys, expected 2"):
        baseline.sample(["a", "b"], sequences=[0])


# files


def test_a_saved_baseline_is_the_same(baseline, tmp_path):
    trained = Baseline(baseline.network, baseline.tokenizer, training={"minutes": 1})
    save_baseline(tmp_path / "it", trained)
    loaded = Baseline.from_pretrained(tmp_path / "it", "cpu", "float32")
    assert loaded.name == "it" and loaded.network.config == baseline.network.config
    for key, tensor in baseline.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[key])
    assert loaded.generate(PROMPTS, SETTINGS) == baseline.generate(PROMPTS, SETTINGS)
    assert loaded.training == {"minutes": 1}


def test_matrices_are_stored_in_bfloat16_and_norms_in_float32(baseline, tmp_path):
    save_baseline(tmp_path, baseline, torch.bfloat16)
    for key, tensor in load_file(tmp_path / "model.safetensors").items():
        assert tensor.dtype == (torch.float32 if "norm" in key else torch.bfloat16), key


def test_what_is_not_finite_is_not_saved(baseline, tmp_path):
    save_baseline(tmp_path / "it", baseline)
    before = (tmp_path / "it" / "model.safetensors").read_bytes()
    broken = Baseline(Transformer(baseline.network.config), baseline.tokenizer)
    broken.network.blocks[1].qkv.weight.data[0, 0] = math.inf
    with pytest.raises(CheckpointError, match=r"blocks\.1\.qkv\.weight would hold NaN or infinity"):
        save_baseline(tmp_path / "it", broken)
    assert (tmp_path / "it" / "model.safetensors").read_bytes() == before


def test_documents_stay_and_nothing_else_is_replaced(baseline, tmp_path):
    save_baseline(tmp_path / "it", baseline)
    (tmp_path / "it" / "README.md").write_text("About it")
    save_baseline(tmp_path / "it", baseline)
    assert (tmp_path / "it" / "README.md").read_text() == "About it"
    (tmp_path / "it" / "diary.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"found diary\.txt, expected nothing but a baseline"):
        save_baseline(tmp_path / "it", baseline)
    assert (tmp_path / "it" / "diary.txt").read_text() == "mine"


def edit_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def edit_weights(folder, change):
    file = folder / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda f: edit_config(f, dim="wide"), ConfigError, "dim is 'wide', expected int"),
        (lambda f: edit_config(f, dim=30), ConfigError, "dim is 30, expected an even number of channels"),
        (lambda f: edit_config(f, model_type="cola_dit"), ConfigError, "expected 'autoregressive_transformer'"),
        (lambda f: edit_config(f, vocab_size=300), CheckpointError, "expected ids below vocab_size = 300"),
        (lambda f: edit_config(f, ffn_dim=40), CheckpointError, r"mlp_\w+.weight has shape"),
        (lambda f: edit_config(f, num_layers=4), CheckpointError, r"blocks.3.\S+ is missing, expected shape"),
        (lambda f: edit_config(f, num_layers=2), CheckpointError, r"blocks.2.\S+ belongs to no layer"),
        (lambda f: edit_weights(f, lambda s: s["final_norm.weight"].fill_(math.nan)), CheckpointError, "holds NaN"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x02."), CheckpointError, "pickle"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), CheckpointError, "found no tokenizer"),
        (lambda f: (f / "config.json").unlink(), CheckpointError, "config.json"),
    ],
)
def test_a_wrong_folder_gets_a_sentence(baseline, tmp_path, damage, error, sentence):
    save_baseline(tmp_path / "it", baseline)
    damage(tmp_path / "it")
    with pytest.raises(error, match=sentence):
        Baseline.from_pretrained(tmp_path / "it", "cpu")


def test_no_folder_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: found nothing"):
        Baseline.from_pretrained(tmp_path / "nowhere")


# the bundled one


def test_the_bundled_baseline_reads_english_and_shares_the_models_tokenizer():
    bundled = Baseline.from_pretrained(None, "cpu", "float32")
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < 12e6
    ours, models = ((BUNDLED.parent / name / "tokenizer.json").read_text() for name in ("baseline", "model"))
    assert json.loads(ours) == json.loads(models)
    story = "Once upon a time there was a little girl. She loved to play in the park with her mom."
    shuffled = " ".join(sorted(story.split()))
    good, bad = bundled.log_likelihood([story, shuffled])
    assert good.total > bad.total + 20
    assert bundled.training["baseline"]["tokens"] > 1e6


def test_the_bundled_baseline_tells_whole_words_from_torn_ones():
    bundled = Baseline.from_pretrained(device="cpu")
    words = [" black", " bl", " bright", " impro", " didn"]
    ends = bundled.word_ends("Once upon a time, there was a fox. The fox had very", words)
    assert [p > 0.5 for p in ends] == [True, False, True, False, False]
    alone = [bundled.word_ends("Once upon a time, there was a fox. The fox had very", [word])[0] for word in words]
    assert ends == pytest.approx(alone, abs=1e-4)
    assert bundled.word_ends("x", []) == []
