"""The whole of an evaluation on a small model, and its command."""

import dataclasses
import json

import pytest

from coladlm.baseline.baseline import BaselineSettings, save_baseline
from coladlm.cli import main
from coladlm.evaluate.card import main as print_card
from coladlm.evaluate.generation import (
    Written,
    as_rows,
    compare,
    measured,
    table,
    written_by_baseline,
    written_by_model,
    written_in_excerpts,
)
from coladlm.evaluate.measures import NgramSet
from coladlm.evaluate.report import PARTS, Request, evaluate
from coladlm.evaluate.stories import EvaluationError, excerpts
from coladlm.settings import SamplerSettings

SETTINGS = SamplerSettings(steps=2, guidance=1.0, max_new_tokens=8, seed=4)
PROMPTS = ["The cat.", "Once there was a dog", "", "A", "It ran."]


# texts


def test_samples_are_the_same_in_batches_of_any_size(model, baseline):
    whole = written_by_model(model, PROMPTS, SETTINGS, batch=5)
    assert whole == written_by_model(model, PROMPTS, SETTINGS, batch=2)
    assert [w.text for w in whole] == model.generate(PROMPTS, SETTINGS)
    assert [w.prompt for w in whole] == PROMPTS
    own = BaselineSettings(max_new_tokens=8, seed=4)
    whole = written_by_baseline(baseline, PROMPTS, own, batch=5)
    assert whole == written_by_baseline(baseline, PROMPTS, own, batch=2)
    assert [w.text for w in whole] == baseline.generate(PROMPTS, own)


def test_progress_grows_to_the_number_of_samples(model):
    seen = []
    written_by_model(model, PROMPTS, SETTINGS, 2, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (5, 5) and len(seen) > 5


def test_real_text_is_measured_like_a_sample(baseline, stories):
    found = written_in_excerpts(excerpts(stories, baseline.tokenizer, 4, 200, True, 256), baseline)
    measures = measured(found, baseline, NgramSet(stories))
    assert measures["ends"] == measures["complete"] == measures["copied_8"] == 1
    likelihoods = baseline.log_likelihood([w.text for w in found], [w.prompt for w in found])
    tokens = [len(x.log_probs) for x in likelihoods]
    assert measures["tokens"] == sum(tokens) / 4
    assert measures["words"] == sum(len(w.text.split()) for w in found) / 4
    low, high = measures["per_word_interval"]
    assert low < measures["perplexity_per_word"] < high


def test_two_sources_are_compared_over_equally_many_ngrams(baseline):
    sources = {"short": [Written("", "a b c d", False, 4)], "long": [Written("", "a b c d a b c d", True, 8)]}
    found = compare(sources, baseline, None)
    assert found["long"]["distinct_2"] == found["short"]["distinct_2"] == 1
    assert found["long"]["distinct_2_of"] == 3
    assert found["long"]["repeated_4"] == 1 / 5 and found["long"]["copied_8"] is None
    assert measured(sources["long"], baseline)["distinct_2"] == 4 / 7
    lines = table(found)
    assert lines[0].split() == ["short", "long"] and any("0.200" in line for line in lines)
    lines = table({"model": found["long"], "real": found["short"]})
    assert lines[0].split() == ["model", "real", "model/real"]
    assert [line.split()[-1] for line in lines if line.startswith(("distinct", "repeated"))] == ["1.00", "-"]


def test_a_text_that_grows_when_it_is_tokenised_anew_is_cut(baseline):
    grown = Written("a", "x" * 600, False, 10)
    assert measured([grown], baseline)["texts"] == 1


def test_rows_carry_the_key_of_their_randomness():
    assert as_rows([Written("p", "t", True, 3)]) == [
        {"sequence": 0, "prompt": "p", "text": "t", "ended": True, "tokens": 3}
    ]


# the whole

REQUEST = Request(SETTINGS, stories=4, samples=3, free=2, batch=2, draws=1)


def test_the_same_request_gives_the_same_numbers(model, baseline, stories):
    seen = []
    first = evaluate(model, baseline, stories[4:], stories, REQUEST, lambda *what: seen.append(what))
    again = evaluate(model, baseline, stories[4:], stories, REQUEST)
    for result in (first, again):
        assert result.pop("seconds") > 0
    assert json.loads(json.dumps(first)) == json.loads(json.dumps(again))
    assert {what for what, *_ in seen} >= {"reconstruction", "flow", "likelihood", "prompted, model", "free, baseline"}
    assert first["model"]["fingerprint"] == model.fingerprint
    assert first["prompted"]["measures"].keys() == first["free"]["measures"].keys() == {"model", "real", "baseline"}
    assert [row["text"] for row in first["free"]["samples"]["model"]] == model.generate(["", ""], SETTINGS)
    assert len(first["flow"]["by_time"]) == 5
    bound = first["likelihood"]["upper_bound"]
    assert bound["best"]["nats_per_token"] == min(row["nats_per_token"] for row in bound["all"])


def test_a_model_with_openings_is_measured_with_them_too(model, baseline, stories, monkeypatch):
    monkeypatch.setattr(model, "openings", ("Once", "A cat"))
    request = dataclasses.replace(REQUEST, parts=("samples",), samples=1)
    opened = evaluate(model, baseline, stories[4:], stories, request)["opened"]
    prompts = [model.opening(0), model.opening(1)]
    rows = opened["samples"]["model"]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in opened["samples"]["baseline"]] == prompts
    assert [row["text"] for row in rows] == model.generate(prompts, SETTINGS)
    assert opened["measures"]["real"]["texts"] == 2


def test_only_the_parts_that_are_asked_for_are_measured(model, baseline, stories):
    request = dataclasses.replace(REQUEST, parts=("reconstruction",))
    assert (
        not {"flow", "likelihood", "prompted", "neighbours"}
        & evaluate(model, baseline, stories, stories, request).keys()
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"parts": ("beauty",)}, "parts has 'beauty', expected some of reconstruction"),
        ({"samples": 0}, "samples is 0, expected 1 or more"),
        ({"free": -1}, "free is -1, expected 0 or more"),
    ],
)
def test_wrong_requests_are_named(values, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        Request(SETTINGS, **values)


# the command


@pytest.fixture
def arguments(tmp_path, golden_folder, baseline, stories) -> list[str]:
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    save_baseline(tmp_path / "baseline", baseline)
    places = ["--data", tmp_path, "--baseline", tmp_path / "baseline", "--model", golden_folder]
    sizes = "--device cpu --dtype float32 --stories 3 --samples 2 --free 1 --draws 1 --steps 2 --max-new-tokens 8"
    return ["evaluate", *map(str, places), *sizes.split()]


def test_the_command_prints_a_table_and_writes_a_file(arguments, tmp_path, capsys):
    assert main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    out, err = capsys.readouterr()
    assert "samples, prompted" in out and "learned nothing" in out and "nearest tokens" in out
    assert "prompted, model: 2 of 2" in err
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["settings"]["steps"] == 2 and len(result["prompted"]["samples"]["model"]) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_the_card_holds_what_the_file_holds(arguments, tmp_path, capsys):
    file = tmp_path / "out.json"
    assert main([*arguments, "--json", str(file)]) == 0
    capsys.readouterr()
    assert print_card([str(file)]) == 0
    out, result = capsys.readouterr().out, json.loads(file.read_text())
    measures = result["prompted"]["measures"]
    model, real = (measures[who]["perplexity_per_word"] for who in ("model", "real"))
    assert f"| perplexity per word | {model:.1f} | {real:.1f} | {model / real:.2f} |" in out
    assert f"| tokens restored | {result['reconstruction']['restored']['0.0']:.2%} |" in out
    for key, sample in enumerate(result["prompted"]["samples"]["model"]):
        assert f"Sequence {key}:" in out and f"> **{sample['prompt'].strip()}**" in out
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 6 for line in lines[3:])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"prompted": 3}'])
def test_a_card_of_another_file_is_refused(tmp_path, capsys, content):
    (tmp_path / "other.json").write_text(content)
    assert print_card([str(tmp_path / "other.json")]) == 2 and print_card([str(tmp_path / "none.json")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("expected a file that `evaluate --json` wrote") == 2


def test_the_command_measures_some_parts(arguments, capsys):
    assert main([*arguments, "--parts", "reconstruction"]) == 0
    out = capsys.readouterr().out
    assert "tokens restored" in out and "samples" not in out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--data", "nowhere"], "nowhere/train.jsonl: no such file"),
        (["--samples", "99"], "12 stories begin with a sentence of at most 248 tokens, expected 99"),
        (["--steps", "0"], "steps is 0"),
        (["--json", "nowhere/out.json"], "expected the name of a file in an existing folder"),
        (["--baseline", "nowhere"], "nowhere: found nothing"),
    ],
)
def test_mistakes_get_one_line(arguments, more, sentence, capsys):
    assert main([*arguments, *more]) == 2
    out, err = capsys.readouterr()
    assert out == "" and sentence in err.splitlines()[-1]


def test_every_part_has_its_name_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    out = capsys.readouterr().out
    assert all(part in out for part in PARTS)
