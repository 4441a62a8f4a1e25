"""The parts of the bench that measure on stories: likelihood, long, cost. By their commands, on a small model."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from coladlm import Step
from coladlm.baseline.baseline import Baseline, save_baseline
from coladlm.cli import main
from coladlm.evaluate.bench import cost, long_context
from coladlm.evaluate.bench.intervals import Interval, jackknife_interval
from coladlm.evaluate.bench.item_log import ItemLog
from coladlm.evaluate.bench.likelihood import brier_table, model_sampler, places
from coladlm.evaluate.bench.measuring import Measuring
from coladlm.evaluate.bench.results import Result, load
from coladlm.evaluate.bench.turns import in_turn, model_writer
from coladlm.evaluate.text_likelihood import BoundSettings, text_bound

from ...small_baseline import baseline, stories  # noqa: F401

NAMED = (
    "One day there was a cat named {}. It ran to the {} and sat down. The sun was warm. It was very happy there and "
    "went to sleep. Then it went home to see the dog. The dog said hello and the cat said hello too. They sat there in "
    "the sun all day. Then they went home and had milk. They were very happy to be home again. The cat went to sleep."
)
SHORT = "The {} was warm. It was happy there."


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_folder, baseline) -> list[str]:  # noqa: F811
    """A folder with held-out stories, and both models, as a command wants them."""
    folder = tmp_path_factory.mktemp("bench")
    lines = [NAMED.format(name, where) for name in ("Tom", "Max", "Lily") for where in ("park", "hill")]
    (folder / "valid.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    save_baseline(folder / "transformer", baseline)
    return ["--data", str(folder), "--transformer", str(folder / "transformer"), "--model", str(golden_folder),
            "--device", "cpu", "--dtype", "float32"]  # fmt: skip


@pytest.fixture(scope="module")
def short_place(tmp_path_factory, place) -> list[str]:
    """The same with shorter stories."""
    folder = tmp_path_factory.mktemp("short")
    lines = [json.dumps({"text": SHORT.format(what)}) + "\n" for what in ("sun", "day", "cat", "dog")]
    (folder / "valid.jsonl").write_text("".join(lines))
    return ["--data", str(folder), *place[2:]]


def bench(part: str, place: list[str], folder, *options: str) -> Result:
    file = folder / f"{part}.json"
    assert main(["bench", part, *place, *options, "--json", str(file)]) == 0
    return load(file)


def without_seconds(result: Result) -> list:
    return [table.rows for table in result.tables]


LIKELIHOOD = ("--stories", "2", "--draws", "2", "--contexts", "2", "--samples", "2", "--guidances", "2")


def test_likelihood_has_the_exact_value_and_the_bounds_and_a_stopped_run_goes_on(short_place, tmp_path, model):
    place = short_place
    log = tmp_path / "items.jsonl"
    result = bench("likelihood", place, tmp_path, *LIKELIHOOD, "--log", str(log))
    likely, brier = result.tables
    assert [row[0] for row in likely.rows[:3]] == [
        "transformer, exact", "Cola-DLM, a token after another", "Cola-DLM, a block at once",
    ]  # fmt: skip
    texts = [SHORT.format(what) for what in ("sun", "day")]
    exact = Baseline.from_pretrained(place[3]).log_likelihood(texts, ended=True)
    total, tokens = -sum(x.total for x in exact), sum(len(x.log_probs) for x in exact)
    assert likely.rows[0][1].value == pytest.approx(total / tokens, rel=1e-4)
    first = text_bound(model, texts[0], settings=BoundSettings(draws=2), ended=True)
    second = text_bound(model, texts[1], settings=BoundSettings(draws=2, seed=1, read_at=first.read_at), ended=True)
    assert likely.rows[1][1].value == pytest.approx((first.nats + second.nats) / tokens, rel=1e-4)
    assert len(brier.rows) == 5 and all(len(row) == 6 for row in brier.rows)
    assert result.command.startswith("python -m coladlm bench likelihood --data DIR --model MODEL --transformer")
    assert str(tmp_path) not in result.to_json() and "guidances 2.0" in result.command
    kept = log.read_text().splitlines(keepends=True)
    log.write_text("".join(kept[: len(kept) // 2]))
    again = bench("likelihood", place, tmp_path, *LIKELIHOOD, "--log", str(log))
    assert without_seconds(again) == without_seconds(result) and again.charts == result.charts
    assert len(log.read_text().splitlines()) == len(kept)


def test_places_are_read_alike_by_both_models(model, baseline):  # noqa: F811
    texts = [NAMED.format(name, "park") for name in ("Tom", "Max", "Lily", "Sam")]
    found = places(model, baseline, texts, 4, seed=0)
    for place in found:
        ids = model.tokenize(place.context)
        story = next(model.tokenize(text) for text in texts if text.startswith(place.context))
        assert story[: len(ids)] == ids and story[len(ids) :][:4] == place.truth
    assert found == places(model, baseline, texts, 4, seed=0) != places(model, baseline, texts, 4, seed=1)


def test_samples_for_brier_lm_go_on_after_the_end_of_a_sentence(bundled):
    """The model ships with whole sentences, which would leave out what comes after it."""
    contexts, keys = (
        ["Tom was very happy", "The dog ran to the park", 'She said, "Thank you', "They went home"],
        [0, 1, 2, 3],
    )
    settings = dataclasses.replace(bundled.defaults, steps=8, stop_at_end=False)
    sampled = model_sampler(bundled, settings)(contexts, keys)
    assert [len(ids) for ids in sampled] == [4, 4, 4, 4]
    as_it_ships = bundled.generate(contexts, dataclasses.replace(settings, max_new_tokens=4), sequences=keys)
    assert settings.whole_sentences and any(
        len(text) < len(bundled.read(ids)) for text, ids in zip(as_it_ships, sampled, strict=True)
    )


def test_a_brier_score_of_nothing_has_no_interval():
    scores = {"never": np.zeros((16, 4)), "some": np.tile([[0.0], [1.0]], (8, 4))}
    rows = {row[0]: row for row in brier_table(scores).rows}
    assert rows["never"][1] == 0.0 and not isinstance(rows["never"][1], Interval)
    assert isinstance(rows["some"][1], Interval) and rows["some"][1].low < 50 < rows["some"][1].high


# long


LONG = ("--items", "2", "--target", "4", "--lengths", "8", "24", "--draws", "2", "--texts", "2", "--tokens", "8",
        "--window", "4", "--distances", "0", "--batch", "2")  # fmt: skip


def test_long_has_its_tables_and_a_run_that_was_done_gives_the_same(place, tmp_path):
    first, again = (bench("long", place, tmp_path, *LONG, "--log", str(tmp_path / "log")) for _ in range(2))
    assert [table.title for table in first.tables] == [
        "What context gives", "Long texts", "A name over a distance", "Time and memory by length",
    ]  # fmt: skip
    assert dataclasses.asdict(first) == dataclasses.asdict(again)
    assert [row[0] for row in first.tables[0].rows] == [8, 24] and first.tables[3].rows[1][3] > 0


def test_a_passage_stands_after_what_it_is_scored_after(model, baseline):  # noqa: F811
    texts = [NAMED.format(name, "park") for name in ("Tom", "Max")]
    request = long_context.Request(items=2, target=4, lengths=(8, 300))
    for passage in long_context.passages(model, baseline, texts, request):
        assert len(passage.before) == 300 and len(passage.target) == 4
        whole = model.read(passage.before + passage.target)
        assert any(text.startswith(whole[-60:]) or whole[-60:] in text for text in texts)
    text, context = " It was very happy there", "One day there was a cat."
    found = long_context._exact(baseline, baseline.tokenize(context), baseline.tokenize(text))
    assert found == pytest.approx(-baseline.log_likelihood([text], [context])[0].total, rel=1e-5)
    assert long_context._exact(baseline, [1] * baseline.network.config.max_tokens, [1]) is None


def test_repetition_counts_what_the_text_has_had_before():
    text = "a b c d. a b c d. e f g h."
    assert long_context.windows(text, 5) == [["a", "b", "c", "d", "."], ["a", "b", "c", "d", "."],
                                             ["e", "f", "g", "h", "."]]  # fmt: skip
    assert long_context.repeated_by_window(text, 5) == [0, 1, 0]


@pytest.mark.parametrize("distance", [0, 40])
def test_a_name_is_asked_for_after_the_distance_and_stands_nowhere_between(model, distance):
    prompts = long_context.recall_prompts(model, [NAMED.format("Tom", "park")], distance, seed=0)
    assert [name for _, name in prompts] == list(long_context.NAMES)
    for prompt, name in prompts:
        assert prompt.count(name) == 1 and prompt.endswith('"My name is')
        between = prompt[prompt.index(name) + len(name) + 1 : prompt.index(' "What is')]
        assert distance <= len(model.tokenize(between)) <= distance + 40
        assert not any(other in between for other in long_context.NAMES)


def test_the_memory_of_the_transformer_is_that_of_its_cache(baseline):  # noqa: F811
    *_, megabytes = long_context._transformer_cost(baseline, 20)
    cache = baseline.network.cache(20 + 1 + 4, torch.zeros(1, dtype=torch.long))  # with the token that begins a text
    assert megabytes == cache.nbytes / 1e6


# cost


COST = ("--prompts", "2", "--max-new-tokens", "4", "--batch", "2", "--alone", "1")


def test_cost_has_a_row_for_every_setting(place, tmp_path, model, monkeypatch):
    monkeypatch.setattr(cost, "VARIED", {"steps": (4,), "stop_when_settled": (0, 1, 2, 3, 4)})
    result = bench("cost", place, tmp_path, *COST, "--block-size", "1", "4")
    found, settled = result.tables
    names = [row[0] for row in found.rows]
    assert names[:2] == ["real text", "as it ships"] and names[-1] == "transformer, temperature 1"
    others = len(cost.settings_to_try(model.defaults)) - 1 + len(cost.TEMPERATURES)
    assert len(names) == len(set(names)) == 2 + others + 1 and "block size 1" in names  # it ships with 4
    assert [row[0] for row in settled.rows] == [0, 1, 2, 3, 4]
    assert len(result.charts) == 2 and "transformer, temperature" in [line.name for line in result.charts[0].lines]
    assert [line.labels for line in result.charts[0].lines if line.name == "block size"] == [["1", "4"]]
    # one batch, one text alone: nothing to tell times apart by
    assert not any(word in finding for finding in result.findings for word in ("quicker", "slower", "% less", "% more"))
    assert "--block-size 1 4" in result.command and any(
        ": 1 place, in a time not" in finding for finding in result.findings
    )


def test_every_way_writes_a_batch_before_the_next_and_a_stopped_run_goes_on(model, tmp_path):
    """The log has the order, and the texts do not hang on it."""
    own = dataclasses.replace(model.defaults, steps=2, max_new_tokens=4)
    writers = {f"seed {seed}": model_writer(model, dataclasses.replace(own, seed=seed)) for seed in (0, 1, 2)}
    prompts, file = ["One day", "The cat", "The sun"], tmp_path / "items.jsonl"

    def measure() -> tuple[dict, list[str]]:
        with ItemLog(file, {}) as log:
            return in_turn(writers, prompts, 2, Measuring(log, lambda *_: None), "texts"), list(log.items)

    found, order = measure()
    assert order == [
        f"texts, seed {seed}, {start}" for start, seeds in ((0, (0, 1, 2)), (2, (2, 1, 0))) for seed in seeds
    ]
    assert found["seed 1"].texts == [
        list(model.sample(prompts, dataclasses.replace(own, seed=1)))[-1].texts[i] for i in range(3)
    ]
    assert len(found["seed 1"].seconds) == 2 and found["seed 1"].steps_a_block == 2
    kept = file.read_text().splitlines(keepends=True)
    file.write_text("".join(kept[:3]))
    again, _ = measure()
    assert {name: texts.texts for name, texts in again.items()} == {name: texts.texts for name, texts in found.items()}
    assert again["seed 0"].seconds[0] == found["seed 0"].seconds[0]  # from the log


@pytest.mark.parametrize("changes", [{}, {"stagger": 0.5}])
def test_where_a_block_would_end_is_where_it_ends(model, changes):
    settings = dataclasses.replace(model.defaults, steps=8, guidance=2.0, time_grid="quadratic", max_new_tokens=4,
                                   stop_at_end=False, **changes)  # fmt: skip
    counts = np.array(cost.settled_blocks(model, [""], settings, 1))[0]
    for (blocks, steps, tokens, changed), patience in zip(counts, cost.PATIENCES, strict=True):
        own = dataclasses.replace(settings, stop_when_settled=patience)
        events = list(model.sample([""], own))
        assert (blocks, tokens) == (1, 4) and steps == sum(isinstance(event, Step) for event in events)
        whole = list(model.sample([""], settings))[-1].token_ids[0]
        assert changed == sum(a != b for a, b in zip(events[-1].token_ids[0], whole, strict=True))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = [1.0, 2.0, 4.0, 7.0]
    found = jackknife_interval(values, lambda items: sum(items) / len(items))
    error = np.std(values, ddof=1) / 2
    assert (found.value, found.count) == (3.5, 4)
    assert found.high - found.value == pytest.approx(1.96 * error)
    with pytest.raises(ValueError, match="at least one"):
        jackknife_interval([], len)


@pytest.mark.parametrize(("argv", "sentence"), [
    (["likelihood", "--draws", "1"], "draws is 1, expected 2 or more"),
    (["long", "--lengths", "0"], "lengths is (0,), expected numbers of 1 or more"),
    (["cost", "--prompts", "1"], "prompts is 1, expected 2 or more"),
    (["cost", "--prompts", "50"], "expected 50"),
])  # fmt: skip
def test_what_is_wrong_gets_a_sentence(place, capsys, argv, sentence):
    assert main(["bench", argv[0], *place, *argv[1:]]) == 2
    assert sentence in capsys.readouterr().err
