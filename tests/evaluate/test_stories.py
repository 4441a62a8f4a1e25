"""Held-out stories: first sentences, excerpts, batches."""

import pytest
import torch

from coladlm.evaluate.stories import EvaluationError, batches, encode, excerpts, first_sentence


@pytest.mark.parametrize(
    ("story", "sentence"),
    [
        ("A cat sat. It slept.", "A cat sat."),
        ('"Hello!" she said. He ran.', '"Hello!"'),
        ("Why? Because.", "Why?"),
        ("He had 3.5 apples. He ate.", "He had 3.5 apples."),
        ("One\ntwo three.\nFour.", "One\ntwo three."),
        ("No second sentence.", ""),
        ("no end", ""),
        ("", ""),
    ],
)
def test_a_story_is_its_first_sentence_and_the_rest(story, sentence):
    assert first_sentence(story) == (sentence, story[len(sentence) :])


def test_excerpts_are_prompts_and_what_follows_them(baseline, stories):
    tokenizer = baseline.tokenizer
    for excerpt in excerpts(stories, tokenizer, 5, 12, True, 256):
        assert excerpt.prompt.startswith("Once there was a ") and excerpt.prompt.endswith(".")
        assert any(story.startswith(excerpt.prompt + excerpt.text) for story in stories)
        assert len(encode(tokenizer, excerpt.text)) == 12 and not excerpt.ended
    assert all(e.ended and e.prompt + e.text in stories for e in excerpts(stories, tokenizer, 5, 200, True, 256))
    assert all(e.ended and not e.prompt and e.text in stories for e in excerpts(stories, tokenizer, 5, 200, False, 256))


def test_a_seed_decides_which_stories(baseline, stories):
    def chosen(seed):
        return excerpts(stories, baseline.tokenizer, 6, 50, True, 256, seed)

    assert chosen(0) == chosen(0) != chosen(1)
    assert len({(e.prompt, e.text) for e in chosen(0)}) == 6


def test_too_few_stories_are_said(baseline, stories):
    with pytest.raises(EvaluationError, match="12 stories are there, expected 13"):
        excerpts(stories, baseline.tokenizer, 13, 8, False, 256)
    with pytest.raises(EvaluationError, match="0 stories begin with a sentence of at most 2 tokens, expected 1"):
        excerpts(stories, baseline.tokenizer, 1, 8, True, 10)


def test_batches_hold_every_story_once_in_whole_blocks():
    stories = [list(range(1, n + 1)) for n in (3, 9, 4, 1, 17, 8)]
    seen = {}
    for rows, ids in batches(stories, pad=0, multiple=4, tokens=24):
        assert ids.shape[1] % 4 == 0 and ids.dtype == torch.int64
        assert ids.numel() <= 24 or len(ids) == 1
        for row, padded in zip(rows, ids.tolist(), strict=True):
            seen[row] = [i for i in padded if i]
            assert padded == seen[row] + [0] * (len(padded) - len(seen[row]))
    assert [seen[i] for i in range(6)] == stories
