"""Every operation is reached through the one door, recorded, replayed and reached from the command line."""

import json

import pytest

from coladlm import SamplerSettings
from coladlm.cli import main
from coladlm.recipe import Recipe
from coladlm.run import OPERATIONS, recorder, run
from coladlm.trace import Trace

SETTINGS = SamplerSettings(steps=2, max_new_tokens=4)
RECIPES = {
    "interpolate": Recipe("interpolate", ("The cat", "One day"), SETTINGS, options={"stops": 3}),
    "decoder only": Recipe("interpolate", ("The cat", "One day"), SETTINGS, options={"road": "decoder_only"}),
    "prompt to prompt": Recipe("interpolate", ("The cat", "One day"), SETTINGS, options={"road": "prompt_to_prompt"}),
    "noise to noise": Recipe("interpolate", ("The cat", "One"), SETTINGS, options={"road": "noise_to_noise"}),
    "edit": Recipe("edit", ("The cat sat",), SETTINGS, 3, {"start": 1, "end": 2}),
    "edit to several strengths": Recipe(
        "edit", ("The cat sat",), SETTINGS, 2, {"start": 1, "end": 2, "method": "renoise", "strengths": [0.0, 0.5, 1.0]}
    ),
    "invert": Recipe("invert", ("The cat", "She sang a song"), SETTINGS),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_is_recorded_and_read_again(model, name, tmp_path):
    recipe = RECIPES[name]
    watched = recorder(recipe)
    texts = list(watched.watch(run(model, recipe)))[-1].texts
    watched.trace().save(tmp_path / "run.npz")
    trace = Trace.load(tmp_path / "run.npz")
    assert trace.texts == texts and trace.recipe == recipe and not trace.stopped


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_recipe_gives_the_same_texts(model, name):
    again = Recipe.from_url(RECIPES[name].to_url())
    first, second = (list(run(model, recipe))[-1] for recipe in (RECIPES[name], again))
    assert first.texts == second.texts and first.token_ids == second.token_ids


def test_options_explain_themselves():
    for name in ("interpolate", "edit", "invert"):
        assert OPERATIONS[name].description.endswith(".")
        assert all(option.help.endswith(".") for option in OPERATIONS[name].options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["interpolate", "The cat", "One day", "--stops", "3"],
        ["interpolate", "The cat", "One day", "Hello", "--weights", "1", "2", "1"],
        ["edit", "The cat sat", "--start", "1", "--end", "2", "--candidates", "2"],
        ["edit", "The cat sat", "--words", "cat", "--method", "renoise", "--strengths", "0.2", "0.8"],
        ["invert", "The cat", "--iterations", "2"],
    ],
)
def test_the_command_line_prints_texts_and_outcome(golden_folder, capsys, arguments):
    common = ["--model", str(golden_folder), "--steps", "3", "--device", "cpu"]
    assert main([*arguments, *common]) == 0
    assert capsys.readouterr().out.strip()
    assert main([*arguments, *common, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["outcome"] and printed["recipe"]["operation"] == arguments[0]


def test_a_span_can_be_named_by_its_words(golden_folder, capsys):
    assert main(["edit", "The cat sat", "--words", "cat", "--json", "--steps", "2", "--model", str(golden_folder)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["recipe"]["options"] == {
        "start": printed["outcome"]["span"][0],
        "end": printed["outcome"]["span"][1],
    }
    assert printed["sequences"][0]["text"].startswith("The")
    assert main(["edit", "The cat sat", "--words", "dog", "--model", str(golden_folder)]) == 2
    assert "--words is 'dog', expected words that stand in the text" in capsys.readouterr().err


def test_the_command_line_says_what_is_wrong_in_a_sentence(golden_folder, capsys):
    assert main(["edit", "The cat", "--start", "2", "--end", "1", "--model", str(golden_folder)]) == 2
    assert "the span is no token (start 2, end 1), expected at least one of the" in capsys.readouterr().err
