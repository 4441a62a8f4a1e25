"""The judge: log p of a text after a prompt by any causal model, and the measures that it adds."""

import math

import pytest
import torch

from coladlm.evaluate.card import card
from coladlm.evaluate.generation import Written, cut_to_words, judged, table
from coladlm.evaluate.judge import Judge
from coladlm.evaluate.report import Request, evaluate
from coladlm.evaluate.stories import EvaluationError, excerpts_of_words
from coladlm.evaluate.sweep import frontier, sweep
from coladlm.settings import SamplerSettings

VOCABULARY, START = 256, 0


def letters(text: str) -> tuple[list[int], list[int]]:
    """A token a letter; letters beyond the vocabulary share one."""
    return [min(ord(letter), VOCABULARY - 1) for letter in text], list(range(1, len(text) + 1))


def known_chain(ids: torch.Tensor) -> torch.Tensor:
    """The letter before, once more, with probability a half; all others alike."""
    probabilities = torch.full((*ids.shape, VOCABULARY), 0.5 / (VOCABULARY - 1))
    return probabilities.scatter(-1, ids[..., None], 0.5).log()


@pytest.fixture
def judge() -> Judge:
    return Judge(known_chain, letters, START, longest=64)


def test_the_likelihood_of_a_known_distribution_is_exact(judge):
    (found,) = judge.log_likelihood(["aab b"], ["xa"])
    other = math.log(0.5 / (VOCABULARY - 1))
    assert found.log_probs == pytest.approx([math.log(0.5), math.log(0.5), other, other, other])
    assert found.words == 2


def test_texts_read_together_are_those_read_alone(judge):
    texts, prompts = ["aa", "b", "a longer text", ""], ["a", "", "some words before", "x"]
    together = judge.log_likelihood(texts, prompts, batch_tokens=50)
    assert together == [judge.log_likelihood([t], [p])[0] for t, p in zip(texts, prompts, strict=True)]
    assert [len(likelihood.log_probs) for likelihood in together] == [2, 1, 13, 0]


def test_a_token_over_the_border_counts_for_the_text():
    pairs = Judge(known_chain, lambda text: ([ord(c) for c in text[::2]], list(range(2, len(text) + 2, 2))), START, 64)
    (found,) = pairs.log_likelihood(["bcd"], ["a"])
    assert len(found.log_probs) == 2


def test_a_text_that_is_too_long_is_said(judge):
    with pytest.raises(EvaluationError, match="has 64 tokens, expected less than 64"):
        judge.log_likelihood(["a" * 60], ["bbbb"])


def test_perplexity_per_word_is_over_all_texts(judge):
    written = [Written("a", "a", False, 1), Written("", "bb b", False, 1)]
    other = math.log((VOCABULARY - 1) / 0.5)
    expected = math.exp((math.log(2) + other + math.log(2) + 2 * other) / 3)
    found = judged(written, judge)
    # in float32 the sum of 256 probabilities may be off by 256 halves of a unit, 256 * 2**-25 = 8e-6, and so is its log
    assert found["judged_per_word"] == pytest.approx(expected, rel=1e-5)
    low, high = found["judged_per_word_interval"]
    assert low <= expected <= high


def test_texts_are_cut_to_words():
    written = [Written("a", " one two  three\nfour", True, 9), Written("a", " one two", True, 2)]
    cut = cut_to_words(written, 3)
    assert [(w.text, w.ended) for w in cut] == [(" one two  three", False), (" one two", True)]


def test_excerpts_of_words_are_a_storys_first_words_and_those_after(stories):
    found = excerpts_of_words(stories, 2, given=3, words=4)
    for excerpt in found:
        assert len(excerpt.prompt.split()) == 3 and len(excerpt.text.split()) == 4
        assert any(story.startswith(excerpt.prompt + excerpt.text) for story in stories)
    with pytest.raises(EvaluationError, match="0 stories have 100 words, expected 2"):
        excerpts_of_words(stories, 2, given=60, words=40)


def test_a_sweep_measures_words_under_the_judge(model, baseline, stories):
    judge = Judge(known_chain, letters, START, longest=4096)
    real = excerpts_of_words(stories, 3, given=3, words=4)
    base = SamplerSettings(steps=1, guidance=1.0, max_new_tokens=8)
    *_, found = sweep(model, baseline, real, base, [{}], judge=judge, words=4)
    assert found["judge"]["name"] == "" and found["real"]["judged_per_word"] > 1
    assert found["rows"][0]["judged_per_word"] > 1 and found["rows"][0]["words"] <= 4


def test_an_evaluation_and_its_card_have_the_judges_numbers(model, baseline, stories):
    judge = Judge(known_chain, letters, START, longest=4096, name="a chain", parameters=7)
    settings = SamplerSettings(steps=1, guidance=1.0, max_new_tokens=8)
    request = Request(settings, parts=("samples",), stories=2, samples=2, free=1, batch=2)
    found = evaluate(model, baseline, stories[4:], stories, request, judge=judge)
    assert found["judge"] == {"name": "a chain", "parameters": 7}
    measures = found["prompted"]["measures"]
    assert all(measures[who]["judged_per_word"] > 1 for who in ("model", "real", "baseline"))
    assert any(line.startswith("judged per word") for line in table(measures))
    row = next(line for line in card(found) if "under the judge" in line)
    assert format(measures["real"]["judged_per_word"], ".1f") in row


def test_the_frontier_is_the_judges_where_there_is_one():
    rows = [{"perplexity_per_word": p, "judged_per_word": j, "distinct_2": d}
            for p, j, d in ((1, 30, 0.5), (2, 20, 0.4), (3, 10, 0.6))]  # fmt: skip
    assert frontier(rows) == [2]


def test_a_place_that_holds_no_model_is_said(tmp_path):
    with pytest.raises(EvaluationError, match="neither a folder nor"):
        Judge.from_pretrained(tmp_path / "nothing.bin")


def test_a_model_of_transformers_is_read_from_its_folder(tmp_path, golden_folder):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(golden_folder / "tokenizer.json"), eos_token="<|endoftext|>"
    )
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    network = transformers.LlamaForCausalLM(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (found,) = Judge.from_pretrained(tmp_path).log_likelihood([" ran home."], ["The dog"])
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer("The dog ran home.", add_special_tokens=False).input_ids]])
    with torch.inference_mode():
        table = network(input_ids=ids).logits.log_softmax(-1)[0]
    count = len(found.log_probs)
    expected = [table[i, ids[0, i + 1]].item() for i in range(ids.shape[1] - 1)][-count:]
    assert 0 < count < ids.shape[1] - 1 and found.log_probs == pytest.approx(expected, rel=1e-4)
