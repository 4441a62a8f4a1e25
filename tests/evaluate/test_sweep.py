"""The sweep: every combination once, the frontier, and a picture."""

import json

import pytest

from coladlm.baseline.baseline import save_baseline
from coladlm.cli import main
from coladlm.evaluate.stories import EvaluationError, excerpts
from coladlm.evaluate.sweep import combinations, draw, frontier, sweep
from coladlm.settings import SamplerSettings, SettingsError

BASE = SamplerSettings(steps=2, guidance=1.0, max_new_tokens=8)


def test_every_combination_is_made():
    found = combinations(["guidance=1,2", "history=latents,reencoded", "guidance_interval=0:1000"])
    assert found == [
        {"guidance": guidance, "history": history, "guidance_interval": [0, 1000]}
        for guidance in (1, 2)
        for history in ("latents", "reencoded")
    ]
    assert combinations([]) == [{}]
    sizes = [SamplerSettings.from_dict(values).block_size for values in combinations(["block_size=1,2,null"])]
    assert sizes == [1, 2, None]


@pytest.mark.parametrize("text", ["speed=1", "guidance", "guidance=", "=1"])
def test_what_cannot_vary_is_said(text):
    with pytest.raises(SettingsError, match="expected NAME=VALUE,VALUE"):
        combinations([text])


def test_the_frontier_is_what_nothing_beats_in_both():
    points = [(30, 0.5), (10, 0.3), (20, 0.6), (10, 0.4), (50, 0.6), (60, 0.7)]
    rows = [{"perplexity_per_word": p, "distinct_2": d} for p, d in points]
    assert [points[i] for i in frontier(rows)] == [(10, 0.4), (20, 0.6), (60, 0.7)]


def test_a_sweep_runs_each_combination_once_and_goes_on(model, baseline, stories):
    real = excerpts(stories, baseline.tokenizer, 3, 8, True, 256)
    *_, first = sweep(model, baseline, real, BASE, combinations(["guidance=1,2"]))
    assert [row["settings"] for row in first["rows"]] == [{"guidance": 1}, {"guidance": 2}]
    assert all(row["texts"] == 3 and row["distinct_2_of"] <= first["distinct_2_of"] for row in first["rows"])
    known = json.loads(json.dumps(first))
    results = list(sweep(model, baseline, real, BASE, combinations(["guidance=1,2,3"]), known))
    assert results[-1]["rows"][:2] == known["rows"]
    assert [row["settings"]["guidance"] for row in results[-1]["rows"]] == [1, 2, 3] and len(results) == 2
    with pytest.raises(EvaluationError, match="another prompts"):
        next(sweep(model, baseline, real[1:], BASE, [{}], known))


def test_wrong_values_are_said_before_anything_runs(model, baseline, stories):
    real = excerpts(stories, baseline.tokenizer, 1, 8, True, 256)
    with pytest.raises(SettingsError, match="steps is 0"):
        next(sweep(model, baseline, real, BASE, [{}, {"steps": 0}]))


def test_the_command_writes_a_table_and_a_picture(golden_folder, baseline, stories, tmp_path, capsys):
    (tmp_path / "valid.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    save_baseline(tmp_path / "baseline", baseline)
    places = {"data": tmp_path, "json": tmp_path / "s.json", "picture": tmp_path / "s.png", "model": golden_folder,
              "baseline": tmp_path / "baseline", "device": "cpu", "dtype": "float32"}  # fmt: skip
    arguments = ["sweep", *(word for name, value in places.items() for word in (f"--{name}", str(value)))]
    arguments += ["--prompts", "2", "--max-new-tokens", "24", "--vary", "stochasticity=0,1", "--vary", "steps=1"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("perplexity per word") == 2
    assert len(json.loads((tmp_path / "s.json").read_text())["rows"]) == 2
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    assert main([*arguments, "--vary", "beauty=1"]) == 2
    assert capsys.readouterr().err.startswith("python -m coladlm sweep: vary is 'beauty=1'")
    for content, found in (("{", "not JSON"), ("[1]", "has no rows"), ('{"rows": 1}', "has no rows")):
        (tmp_path / "s.json").write_text(content)
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith(f"python -m coladlm sweep: {tmp_path / 's.json'}: {found}")
        assert (tmp_path / "s.json").read_text() == content


def test_a_picture_of_one_setting_is_drawn(tmp_path):
    row = {"settings": {}, "perplexity_per_word": 20.0, "distinct_2": 0.5}
    draw({"rows": [row], "real": row, "baseline": row}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
