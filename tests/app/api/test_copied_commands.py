"""The commands that "Copy as curl" copies, run in bash: each gives the texts of the recipe that it is made of."""

import ast
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright._impl._driver import compute_driver_executable

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm import SamplerSettings
from coladlm.latent.fill import Filled
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits

COMMANDS = Path(__file__).parents[3] / "app" / "components" / "share_link" / "commands.js"
PRINT = "process.stdout.write({}(...JSON.parse(require('fs').readFileSync(0, 'utf8'))));"
SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, temperature=0.9, guidance_interval=(100, 900), seed=2**53 - 1)
KEY = "a-secret"
OTHER_TEXTS = {"towards": 'It\'s\n"$HOME"!', "pull": -2.0, "pull_low": 50.5, "negative": "A sad cat."}
NASTY = "He said: \"It's $HOME, `ls`!\"\n\\n \\ 'twas 🌙 !! %s \u2028 \x7f"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a POSIX shell")


@pytest.fixture(scope="module")
def address(model):
    served = Served(model, Limits(per_visitor=0), ApiOptions(api_key=KEY), Options(quiet=True))
    yield served.address
    served.end(grace=0)


@pytest.fixture(scope="module")
def command_of(address):
    """command_of(recipe) is what the page of the server copies for it."""
    about = re.search(r'<meta name="coladlm-api" content="([^"]*)"', httpx.get(f"{address}/config").json()["head"])
    api = json.loads(html.unescape(about[1]))

    def command(recipe: Recipe) -> str:
        return copied("curlCommand", recipe.to_json(), f"{address}/", api)

    return command


def copied(function: str, *given) -> str:
    """What a function of the script gives."""
    script = COMMANDS.read_text(encoding="utf-8") + PRINT.format(function)
    node = [compute_driver_executable()[0], "-e", script]
    return subprocess.run(node, input=json.dumps(given), capture_output=True, text=True, check=True).stdout


def answer_of(command: str) -> str:
    """What bash prints for a command, read as a person's session reads it: with history expansion, where `!` means
    something.
    """
    environment = {**os.environ, "COLADLM_API_KEY": KEY, "HISTFILE": os.devnull}
    script = "set -o history -o histexpand\n" + command
    done = subprocess.run(["bash", "--norc"], input=script, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def texts_of(model, recipe):
    texts = []
    for event in run(model, recipe):
        texts = getattr(event, "texts", texts)
    return texts


CONTINUED = {
    "a text": ((NASTY,), {}),
    "two texts": (("The cat", NASTY), {}),
    "other texts": (("The cat",), OTHER_TEXTS),
}


@pytest.mark.parametrize("texts, options", CONTINUED.values(), ids=CONTINUED)
def test_a_continuation_is_asked_of_completions(command_of, address, model, texts, options):
    recipe = Recipe("generate", texts, SETTINGS, 2, options, model.fingerprint)
    command = command_of(recipe)
    assert f"{address}/v1/completions" in command and KEY not in command
    answer = json.loads(answer_of(command))
    assert Recipe.from_dict(answer["recipe"]) == recipe
    assert [choice["text"] for choice in answer["choices"]] == texts_of(model, recipe)


@pytest.mark.parametrize("options", [{}, OTHER_TEXTS], ids=["alone", "other texts"])
def test_holes_are_asked_of_completions(command_of, address, model, options):
    recipe = Recipe("fill", ("The ___ ran to the ___.",), SETTINGS, 3, options, model.fingerprint)
    command = command_of(recipe)
    assert f"{address}/v1/completions" in command
    answer = json.loads(answer_of(command))
    assert {**answer["recipe"]["options"], "longest": 2} == {**options, "longest": 2}
    choices = answer["choices"]
    (filled,) = [event for event in run(model, recipe) if isinstance(event, Filled)]
    assert [choice["text"] for choice in choices][: len(filled.candidates)] == [
        found.text for found in filled.candidates
    ]


OTHERS = {
    "edit": ("edit", (NASTY,), {"start": 3, "end": 7}),
    "interpolate": ("interpolate", (NASTY, "It's cold!"), {"stops": 3}),
    "more texts than completions take": ("generate", (NASTY,) * 9, {}),
}


@pytest.mark.parametrize("operation, texts, options", OTHERS.values(), ids=OTHERS)
def test_every_other_recipe_is_replayed(command_of, address, model, operation, texts, options):
    recipe = Recipe(operation, texts, SETTINGS, options=options)
    command = command_of(recipe)
    assert f"{address}/gradio_api/call/replay" in command and "COLADLM_API_KEY" not in command
    event, data = re.findall(r"event: (\w+)\ndata: (.*)", answer_of(command))[-1]
    ((replayed, described),) = json.loads(data)
    assert event == "complete" and replayed == texts_of(model, recipe)
    assert described["operation"] == operation and described["texts"] == list(texts)


@pytest.mark.parametrize("operation, text", [("generate", NASTY), ("fill", "A ___.")])
def test_a_script_of_python_holds_the_recipe_as_it_is(model, operation, text):
    recipe = Recipe(operation, (text,), SETTINGS, 2, OTHER_TEXTS, model.fingerprint)
    script = ast.parse(copied("pythonScript", recipe.to_json()))
    calls = [node for node in ast.walk(script) if isinstance(node, ast.Call)]
    (written,) = [call.args[0].value for call in calls if ast.unparse(call.func) == "Recipe.from_json"]
    assert Recipe.from_json(written).to_json() == recipe.to_json()
