"""Options of an operation as fields of a body: another text that the answer is drawn towards, a negative prompt."""

import dataclasses
import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.errors import ApiError, describe_error
from app.api.openai_api import ApiOptions, OpenAIApi
from app.api.parsed_request import RequestParser
from coladlm import Finished
from coladlm.recipe import Option, Recipe, RecipeError
from coladlm.run import OPERATIONS, run
from coladlm.serve import Scheduler

ASK = {"max_tokens": 8, "steps": 2, "seed": 5, "guidance": 3}
FIELDS = {"towards": "The dog barked.", "pull": 2, "pull_low": 100, "pull_high": 900, "negative": "A sad cat."}
OPTIONS = {**FIELDS, "pull": 2.0, "pull_low": 100.0, "pull_high": 900.0}


@pytest.fixture(scope="module")
def ask(model):
    scheduler = Scheduler()
    with TestClient(Starlette(routes=OpenAIApi(lambda: model, scheduler).routes())) as client:
        yield lambda path="completions", **body: client.post(f"/v1/{path}", content=json.dumps({**ASK, **body}),
                                                             headers={"Content-Type": "application/json"})  # fmt: skip
    scheduler.close(grace=0)


BODIES = {
    "a completion": ("completions", {"prompt": "Once upon a time"}),
    "a chat": ("chat/completions", {"messages": [{"role": "user", "content": "Once upon a time"}]}),
    "holes": ("completions", {"prompt": "The ___ ran to the ___.", "max_tokens": 2}),
    "a suffix": ("completions", {"prompt": "The ", "suffix": " ran.", "max_tokens": 2}),
}


@pytest.mark.parametrize("path, body", BODIES.values(), ids=BODIES)
def test_other_texts_are_options_of_the_recipe(ask, model, path, body):
    answer = ask(path, **body, **FIELDS).json()
    options = {name: value for name, value in answer["recipe"]["options"].items() if name != "longest"}
    assert json.dumps(options, sort_keys=True) == json.dumps(OPTIONS, sort_keys=True)  # 2.0 is another key than 2
    if path == "completions" and answer["recipe"]["operation"] == "generate":
        *_, finished = run(model, Recipe.from_dict(answer["recipe"]))
        assert [choice["text"] for choice in answer["choices"]] == finished.texts and isinstance(finished, Finished)
    plain = ask(path, **body, **dict.fromkeys(FIELDS)).json()  # nulls are absent
    assert set(plain["recipe"]["options"]) <= {"longest"} and plain["choices"] != answer["choices"]


WRONG = {
    "a text of no kind": {"towards": 7},
    "no text": {"negative": ""},
    "a text of nothing": {"towards": " "},
    "half a character": {"negative": "\ud800"},
    "too long a text": {"negative": "cat " * 1000},
    "a pull of no kind": {"towards": "a", "pull": "1"},
    "too strong a pull": {"towards": "a", "pull": -5},
    "a pull of hundreds of digits": {"towards": "a", "pull": 10**400},
    "an end before the beginning": {"towards": "a", "pull_low": 700, "pull_high": 300},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_an_option_is_said_as_for_a_recipe(ask, model, fields):
    with pytest.raises(RecipeError) as wanted:
        run(model, Recipe("generate", ("x",), options=fields))
    answer = ask(prompt="x", **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"]) == (400, str(wanted.value).replace("options.", ""))
    assert error["param"] == wanted.value.field.removeprefix("options.")


def test_an_error_with_a_sentence_of_its_own_keeps_it():
    error = RecipeError("options.towards", "x", "another text", "There is nothing like x.")
    status, _, body = describe_error(error)
    assert (status, body["error"]["message"], body["error"]["param"]) == (400, "There is nothing like x.", "towards")


@pytest.fixture
def wish(monkeypatch):
    """An option that `generate` has beside those that it has."""
    generate = OPERATIONS["generate"]
    more = (*generate.options, Option("wish", float, None, "A wish.", low=0))
    monkeypatch.setitem(OPERATIONS, "generate", dataclasses.replace(generate, options=more))


def test_an_option_that_an_operation_is_given_is_a_field_at_once(wish, model):
    parser = RequestParser()
    assert parser.completion({"prompt": "x", "wish": 2}, model).recipe.options == {"wish": 2.0}
    assert "wish" in ApiOptions().for_page()["options"]["generate"]
    with pytest.raises(ApiError, match=r"wish is -1\.0, expected at least 0"):
        parser.completion({"prompt": "x", "wish": -1}, model)
    with pytest.raises(ApiError, match="wish is 2, which does not go with the operation 'fill'") as refused:
        parser.completion({"prompt": "A ___.", "wish": 2}, model)
    assert (refused.value.param, refused.value.code) == ("wish", "unsupported")


@pytest.mark.parametrize("name", ["longest", "steered"])
def test_what_another_field_says_already_is_no_field(ask, name):
    assert ask(prompt="x", **{name: 2}).json()["error"]["code"] == "unknown_field"
