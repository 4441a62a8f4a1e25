"""The part `strengths` of the bench, on a small model: what it asks, how both models fill it in, who is said to win."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from coladlm.baseline.baseline import BaselineSettings, Likelihood, save_baseline
from coladlm.cli import main
from coladlm.evaluate.bench.item_log import ItemLog
from coladlm.evaluate.bench.measuring import Measuring
from coladlm.evaluate.bench.results import load
from coladlm.evaluate.bench.strengths import directions, drafts, holes, passages, pins, verdicts
from coladlm.evaluate.bench.strengths.filling import Filled, fill_by_flow, fill_passages, guess, likeliest, to_block_end
from coladlm.latent.turning import turning_edits
from coladlm.sampling.tokens import NO_TOKEN

from ...small_baseline import baseline  # noqa: F401

STORY = (
    "One day there was a cat named {}. It ran to the {} and sat down in the sun. The sun was warm and the cat was very "
    "happy. Then it went home to see the dog. The dog said hello and they sat there all day in the warm sun."
)
STORIES = [STORY.format(name, where) for name in ("Tom", "Max", "Lily") for where in ("park", "hill")]
SMALL = ("--holes", "2", "--span", "2", "--candidates", "2", "--guesses", "2", "--prompts", "2", "--tokens", "4",
         "--edits", "1", "--passages", "2", "--stretch", "8")  # fmt: skip
SECONDS = "seconds"


@pytest.fixture
def drawn(model, baseline):  # noqa: F811
    return passages.holes(model, baseline, STORIES, 4, 1, 0)


# what is asked


def test_a_hole_is_a_whole_word_at_each_place_of_a_block_in_turn(model, drawn):
    assert [hole.place for hole in drawn] == [number % model.block_size for number in range(4)]
    for hole in drawn:
        word, after = model.read(hole.truth[:1]), model.read(hole.truth[1:2])
        assert word.startswith(" ") and word[1:].isalpha() and not after[:1].isalnum()
        assert hole.pattern == (NO_TOKEN, *hole.truth[1:]) and hole.free == 1
        assert model.read(hole.truth).rstrip().endswith(".") and model.read(hole.truth).count(".") == 1
        assert len(hole.before) % model.block_size == hole.place
        assert any(story.startswith(model.read(hole.before + hole.truth)) for story in STORIES)


def test_one_token_of_every_block_is_pinned(model, baseline):  # noqa: F811
    found = passages.pinned(model, baseline, STORIES, 3, 8, 0)
    b = model.block_size
    for passage in found:
        assert len(passage.before) % b == 0 and len(passage.truth) % b == 0
        blocks = [passage.pattern[i : i + b] for i in range(0, len(passage.pattern), b)]
        assert all(sum(token != NO_TOKEN for token in block) == 1 for block in blocks)
        assert all(token in (NO_TOKEN, own) for token, own in zip(passage.pattern, passage.truth, strict=True))
    assert (
        found
        == passages.pinned(model, baseline, STORIES, 3, 8, 0)
        != passages.pinned(model, baseline, STORIES, 3, 8, 1)
    )


# filling in


def test_the_flow_keeps_what_is_pinned_and_writes_as_ever_where_nothing_is(model, drawn):
    settings = dataclasses.replace(model.defaults, steps=2)
    ids = fill_passages(model, drawn, 0, settings, candidates=2)
    for hole, row in zip(drawn, ids, strict=True):
        assert len(row) == len(hole.truth) and row[1:] == list(hole.truth[1:])
    before = model.tokenize(STORIES[0])[: 2 * model.block_size]
    settings = dataclasses.replace(settings, stop_at_end=False, whole_sentences=False, max_new_tokens=5)
    [free] = fill_by_flow(model, [(before, [NO_TOKEN] * 5)], [3], settings)
    *_, end = model.sample([model.read(before)], settings, sequences=[3])
    assert free == end.token_ids[0]


def test_the_flow_is_shown_nothing_after_the_block_of_the_last_hole(model, drawn):
    for hole in drawn:
        before, pattern = to_block_end(model, hole)
        assert (len(before) + len(pattern)) % model.block_size == 0 or len(pattern) == len(hole.pattern)
        assert len(before) + len(pattern) - len(hole.before) - 1 < model.block_size


def test_the_first_guess_is_greedy_and_each_has_the_likelihood_of_the_text(baseline):  # noqa: F811
    before, after = (baseline.tokenize(text) for text in ("The cat sat", " in the sun."))
    ids, totals = guess(baseline, before, [NO_TOKEN, NO_TOKEN, *after], 3, 0, 0)
    settings = BaselineSettings(2, temperature=0.0, stop_at_end=False)
    *_, end = baseline.sample([baseline.read(before)], settings)
    assert ids[0][:2] == end.token_ids[0] and all(row[2:] == after for row in ids)
    assert len({tuple(row) for row in ids}) > 1  # others are drawn
    network = baseline.network
    for row, total in zip(ids, totals, strict=True):
        whole = torch.tensor([[baseline.start_id, *before, *row]])
        with torch.inference_mode():
            log_probs = network.logits(network.hidden(whole[:, :-1]))[0].log_softmax(-1)
        own = log_probs[torch.arange(len(before), whole.shape[1] - 1), whole[0, len(before) + 1 :]].sum()
        assert total == pytest.approx(own.item(), rel=1e-4)


def test_the_likeliest_guess_is_taken(baseline, drawn):  # noqa: F811
    [taken] = likeliest(baseline, drawn[:1], 0, 3, 0)
    ids, totals = guess(baseline, drawn[0].before, drawn[0].pattern, 3, 0, 0)
    assert taken == ids[totals.index(max(totals))]


# what is counted


def test_a_hole_is_right_when_all_of_it_is_there():
    hole = passages.Passage((1,), (5, 6, 7), (NO_TOKEN, NO_TOKEN, 7), 1)
    assert holes.hits([hole] * 3, Filled([[5, 6, 7], [5, 9, 7], [9, 6, 7]], [])) == [True, False, False]


def test_pinned_words_are_kept_and_free_ones_new_as_counted_by_hand():
    passage = passages.Passage((1,), (5, 6, 7, 8), (NO_TOKEN, 6, NO_TOKEN, NO_TOKEN), 1)
    found = Filled([[5, 6, 9, 9], [5, 4, 7, 8]], [])
    assert pins.kept([passage] * 2, found) == [100, 0]
    assert pins.new([passage] * 2, found) == pytest.approx([200 / 3, 0])


def test_what_stands_in_the_end_has_stood_before(model):
    settings = dataclasses.replace(model.defaults, steps=3, max_new_tokens=4, stop_at_end=False, guidance=1.0)
    texts = ["One", "One day"]
    counts = np.array(drafts.standing(model, texts, settings, 0))
    assert counts.shape == (2, 3, 2) and (counts[..., 1] <= counts[..., 0]).all()
    b = model.block_size
    for text, row in zip(texts, counts, strict=True):
        rest = len(model.tokenize(text)) % b
        assert row[:, 0].tolist() == [-(-(rest + 4) // b) * b - rest] * 3


# who wins


@pytest.mark.parametrize(("cola", "other", "verdict"), [
    ([100.0] * 20, [0.0] * 20, verdicts.WINS), ([0.0] * 20, [100.0] * 20, verdicts.LOSES),
    ([100.0, 0.0] * 10, [0.0, 100.0] * 10, verdicts.ALIKE), ([50.0] * 20, [50.0] * 20, verdicts.ALIKE),
])  # fmt: skip
def test_shares_win_by_their_paired_difference(cola, other, verdict):
    found = verdicts.of_shares("who?", cola, other)
    assert found.verdict == verdict and found.difference.value == np.mean(cola) - np.mean(other)


def test_the_lower_perplexity_wins_and_the_difference_is_their_ratio():
    low, high = [Likelihood((-1.0, -1.0), 2)] * 6, [Likelihood((-2.0, -2.0), 2)] * 6
    found = verdicts.of_perplexities("who?", low, high)
    assert found.verdict == verdicts.WINS and found.difference.value == pytest.approx(np.exp(-1))
    assert verdicts.of_perplexities("who?", high, low).verdict == verdicts.LOSES
    assert verdicts.of_perplexities("who?", low, low).verdict == verdicts.ALIKE


def test_a_reader_reads_each_text_once():
    asked = []

    class Reader:
        def log_likelihood(self, texts, prompts=None):
            asked.append(list(zip(prompts, texts, strict=True)))
            return [Likelihood((-float(len(text)),), 1) for text in texts]

    measuring = Measuring(ItemLog(None, {}), lambda *_: None)
    reader = verdicts.Remembered(Reader(), "r", measuring)
    assert [x.total for x in reader.log_likelihood(["a", "bb", "a"])] == [-1, -2, -1]
    assert [x.total for x in reader.log_likelihood(["a", "bb"], ["", "p"])] == [-1, -2]
    assert asked == [[("", "a"), ("", "bb")], [("p", "bb")]]
    again = verdicts.Remembered(Reader(), "r", measuring)  # as after a stopped run
    assert [x.total for x in again.log_likelihood(["a", "bb", "a"])] == [-1, -2, -1] and len(asked) == 2


# the command


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_folder, baseline) -> list[str]:  # noqa: F811
    folder = tmp_path_factory.mktemp("bench")
    (folder / "valid.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in STORIES))
    save_baseline(folder / "transformer", baseline)
    return ["--data", str(folder), "--transformer", str(folder / "transformer"), "--model", str(golden_folder),
            "--device", "cpu", "--dtype", "float32"]  # fmt: skip


def test_the_same_command_gives_the_same_tables_and_a_stopped_run_goes_on(place, tmp_path, monkeypatch):
    monkeypatch.setattr(directions, "STRENGTHS", (0.0, 1.0))
    monkeypatch.setattr(directions.directions, "shipped", lambda: ("he-she",))
    monkeypatch.setattr(directions, "turning_edits", lambda *given: turning_edits(*given)[:4])
    monkeypatch.setattr(drafts, "FEW", (2,))
    log, results = tmp_path / "log", []
    for number in range(2):
        file = tmp_path / f"{number}.json"
        assert main(["bench", "strengths", *place, *SMALL, "--log", str(log), "--json", str(file)]) == 0
        results.append(load(file))
        kept = log.read_text().splitlines(keepends=True)
        log.write_text("".join(kept[: len(kept) // 2]))
    first, again = results

    def timeless(table):
        columns = [i for i, name in enumerate(table.columns) if SECONDS not in name]
        return [[row[i] for i in columns] for row in table.rows]

    assert [table.title for table in first.tables] == [
        "Who wins", "Words are hidden in held-out stories", "What stands early, % of the tokens",
        "Fewer steps than words", "Sentences turned by a direction", "Words that must stay",
    ]  # fmt: skip
    assert [timeless(table) for table in first.tables] == [timeless(table) for table in again.tables]
    assert first.charts == again.charts and first.findings == again.findings
    assert first.command.startswith("python -m coladlm bench strengths --data DIR --model MODEL --transformer")


@pytest.mark.parametrize(("options", "sentence"), [
    (("--holes", "1"), "holes is 1, expected 2 or more"), (("--holes", "50"), "stories have a hole of 1 words"),
])  # fmt: skip
def test_what_is_wrong_gets_a_sentence(place, capsys, options, sentence):
    assert main(["bench", "strengths", *place, *options]) == 2
    assert sentence in capsys.readouterr().err
