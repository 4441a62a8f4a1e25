"""The tokenizer writes every text, the corpus file gives the stories back, rows and batches are what they should be."""

import json

import numpy as np
import pytest

from coladlm.train.corpus import (
    Corpus,
    CorpusError,
    Rows,
    read_stories,
    special_id,
    train_tokenizer,
    write_tokens,
)
from coladlm.train.meaning import nearest, token_meaning

STORIES = [f"The {a} {b} ran to the {c}. \"Hello!\" said the {a} {b}.\nThe end." for a in ("big", "red", "sad")
           for b in ("cat", "dog", "bird") for c in ("tree", "house")]  # fmt: skip


@pytest.fixture
def tokenizer():
    return train_tokenizer(STORIES, 320)


@pytest.fixture
def corpus(tmp_path, tokenizer):
    write_tokens(tmp_path / "train.u16", STORIES, tokenizer)
    return Corpus(tmp_path / "train.u16", tokenizer, Rows(longest=24, bucket=8))


@pytest.mark.parametrize("text", [*STORIES[:2], "naïve 🦊 日本語\t\x00", "", " two  spaces "])
def test_the_tokenizer_gives_every_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_special_tokens_come_first_and_are_found_by_content(tokenizer):
    assert [special_id(tokenizer, token) for token in ("<|endoftext|>", "<|im_end|>", "<|pad|>")] == [0, 1, 2]
    with pytest.raises(CorpusError, match=r"found no token <\|mask\|>"):
        special_id(tokenizer, "<|mask|>")


def test_the_corpus_file_gives_the_stories_back(corpus, tokenizer):
    found = [
        tokenizer.decode(corpus.ids[start:end].tolist()) for start, end in zip(corpus.starts, corpus.ends, strict=True)
    ]
    assert found == STORIES
    assert (corpus.ids[corpus.ends - 1] == corpus.end).all()


def test_a_row_is_a_story_its_end_and_padding_or_a_story_cut(corpus):
    length = corpus.ends[0] - corpus.starts[0]
    row = corpus.row(0, length + 5)
    assert row[length - 1] == corpus.end and (row[length:] == corpus.pad).all()
    assert corpus.end not in corpus.row(0, length - 1)


def test_an_epoch_has_every_story_once_and_epochs_differ(corpus):
    count = corpus.batches_per_epoch(48)
    epochs = [[corpus._epoch(0, e, 48)[i].tolist() for i in range(count)] for e in (0, 1)]
    for epoch in epochs:
        assert sorted(story for batch in epoch for story in batch) == list(range(len(STORIES)))
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_step_and_seed_alone(corpus):
    steps = range(2 * corpus.batches_per_epoch(48))
    forwards = [corpus.batch(step, 48, 7) for step in steps]
    backwards = [corpus.batch(step, 48, 7) for step in reversed(steps)][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(forwards, backwards, strict=True))


def test_row_lengths_are_buckets():
    rows = Rows(longest=256, bucket=32)
    assert [rows.length(n) for n in (1, 32, 33, 200, 256, 900)] == [32, 32, 64, 224, 256, 256]


@pytest.mark.parametrize("line", [b'{"story": "no"}', b'{"text": 5}', b'{"text": null}', b"[]", b"no", b"[" * 100_000])
def test_stories_that_are_no_json_lines_are_refused(tmp_path, line):
    file = tmp_path / "train.jsonl"
    file.write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(CorpusError, match=r"train\.jsonl, line 2: expected a JSON object with a text under the key"):
        read_stories(file)


@pytest.mark.parametrize("text", [b"caf\xe9", b"\\ud800"])
def test_stories_that_are_no_unicode_are_refused_and_a_byte_order_mark_is_none_of_their_text(tmp_path, text):
    file = tmp_path / "train.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"text": "fine"}\n')
    assert read_stories(file) == ["fine"]
    file.write_bytes(b'{"text": "fine"}\n{"text": "' + text + b'"}\n')
    with pytest.raises(CorpusError, match=r"train\.jsonl, line 2: found what is not Unicode, expected UTF-8"):
        read_stories(file)


def test_u_2028_and_its_like_break_no_story(tmp_path):
    stories = ["One\u2028two\x85three\u2029four", "Five"]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps({"text": s}, ensure_ascii=False) + "\n" for s in stories), encoding="utf-8")
    assert read_stories(file) == stories


def test_names_of_special_tokens_in_a_story_are_text_and_only_its_end_is_one(tmp_path, tokenizer):
    write_tokens(tmp_path / "train.u16", ["a <|endoftext|> b"], tokenizer)
    ids = np.fromfile(tmp_path / "train.u16", "<u2").tolist()
    end = special_id(tokenizer, "<|endoftext|>")
    assert ids.count(end) == 1 and ids[-1] == end
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a <|endoftext|> b"


def test_a_corpus_file_of_another_tokenizer_is_refused(tmp_path, tokenizer):
    np.array([5, 6, 7], dtype="<u2").tofile(tmp_path / "train.u16")
    with pytest.raises(CorpusError, match="the last id is not the end token 0"):
        Corpus(tmp_path / "train.u16", tokenizer, Rows())


def test_tokens_in_like_company_are_near():
    """Two classes of words that alternate: the nearest of each is of its own class."""
    random = np.random.default_rng(0)
    nouns, verbs = np.arange(10, 20), np.arange(20, 30)
    ids = np.stack((random.choice(nouns, 20_000), random.choice(verbs, 20_000)), 1).flatten()
    ids[999::1000] = 0
    meaning = token_meaning(ids.astype(np.uint16), 32, 4, end=0)
    assert np.allclose(meaning.mean(1), 0, atol=1e-5) and np.allclose(meaning.std(1), 1, atol=1e-4)
    assert all(set(nearest(meaning, noun, 3)) <= set(nouns.tolist()) for noun in nouns)
