"""/v1/completions with a suffix or with holes in the prompt: what is written in between."""

import contextlib
import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.openai_api import ApiOptions, OpenAIApi
from app.api.parsed_request import RequestLimits
from coladlm import SamplerSettings
from coladlm.latent.fill import Filled, read_holes
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits, Scheduler

ASK = {"prompt": "The ", "suffix": " ran up the tree.", "steps": 2, "seed": 5}
LIMITS = RequestLimits(new_tokens=64, steps=8, texts=3, variations=4, prompt=600, body=20_000)


@contextlib.contextmanager
def asking(model):
    scheduler = Scheduler(Limits(running=4, waiting=4, per_visitor=0))
    routes = OpenAIApi(lambda: model, scheduler, ApiOptions(LIMITS)).routes()
    with TestClient(Starlette(routes=routes)) as client:
        yield lambda **more: client.post("/v1/completions", json={**ASK, **more})
    scheduler.close(grace=0)


@pytest.fixture(scope="module")
def ask(model):
    with asking(model) as ask:
        yield ask


def candidates(model, answer):
    """Those of the recipe of an answer, the best first."""
    (filled,) = [event for event in run(model, Recipe.from_dict(answer["recipe"])) if isinstance(event, Filled)]
    return filled.candidates


def test_answers_are_the_best_fits_between_prompt_and_suffix(bundled):
    with asking(bundled) as ask:
        answer = ask(n=2).json()
    found = candidates(bundled, answer)
    texts = [choice["text"] for choice in answer["choices"]]
    assert ["The " + text + ASK["suffix"] for text in texts] == [best.text for best in found[:2]]
    assert len(found) > 2 and {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}


def test_usage_counts_prompt_suffix_and_what_is_inserted(ask, model):
    answer = ask().json()
    (start, end), tokens = candidates(model, answer)[0].holes[0], model.tokenize
    given = len(tokens("The ")) + len(tokens(ASK["suffix"]))
    assert answer["usage"] == {"prompt_tokens": given, "completion_tokens": end - start,
                               "total_tokens": given + end - start}  # fmt: skip


def test_a_stream_has_the_same_text(ask):
    lines = ask(stream=True, echo=True).text.splitlines()
    parts = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert "".join(part["choices"][0]["text"] for part in parts) == ask(echo=True).json()["choices"][0]["text"]
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


def test_more_answers_than_candidates_that_differ_come_again(ask, model):
    answer = ask(n=3, best_of=3, max_tokens=1, guidance=1.0, prompt="He was very ", suffix=" and sad.").json()
    found = candidates(model, answer)
    texts = [choice["text"] for choice in answer["choices"]]
    assert len(texts) == 3 and len(set(texts)) == len(found)


def test_an_empty_suffix_is_none(ask):
    assert ask(suffix="", max_tokens=8).json()["recipe"]["operation"] == "generate"


def test_a_stop_cuts_an_answer(ask):
    text = ask().json()["choices"][0]["text"]
    assert ask(stop=text[1:]).json()["choices"][0]["text"] == text[:1]


WRONG = {
    "a suffix of no kind": ({"suffix": 7}, "suffix"),
    "too long an insertion": ({"max_tokens": 17}, "max_tokens"),
    "an insertion of nothing": ({"max_tokens": 0}, "max_tokens"),
    "several prompts": ({"prompt": ["a", "b"]}, "prompt"),
    "a hole of its own": ({"prompt": "A ___ and "}, "prompt"),
    "a hole that grows at its edge": ({"suffix": "_x"}, "prompt"),
    "fewer candidates than answers": ({"n": 3, "best_of": 2}, "best_of"),
    "too many candidates": ({"best_of": 33}, "best_of"),
    "probabilities": ({"logprobs": 1}, "logprobs"),
    "drafts": ({"stream": True, "stream_options": {"include_draft": True}}, "stream_options"),
    "too long a suffix": ({"suffix": " and then" * 300}, "suffix"),
}


@pytest.mark.parametrize("body, param", WRONG.values(), ids=WRONG)
def test_what_does_not_go_with_a_suffix_gets_a_sentence(ask, body, param):
    answer = ask(**body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


HOLED = {"prompt": "The ___ ran to the ___.", "suffix": None}


@pytest.mark.parametrize("n, more, tries", [(1, {}, 8), (4, {}, 4), (2, {"best_of": 6, "max_tokens": 3}, 6)])
def test_holes_in_a_prompt_are_filled_as_the_recipe_fills_them(ask, model, n, more, tries):
    answer = ask(**HOLED, n=n, **more).json()
    settings = SamplerSettings.from_dict({"steps": 2, "seed": 5, "whole_sentences": False}, model.defaults)
    recipe = Recipe("fill", (HOLED["prompt"],), settings, tries, {"longest": more.get("max_tokens", 2)})
    (filled,) = [event for event in run(model, recipe) if isinstance(event, Filled)]
    found, choices = filled.candidates[:n], answer["choices"]
    assert len(choices) == n
    assert [(choice["text"], choice["fills"]) for choice in choices[: len(found)]] \
        == [(best.text, list(best.fills)) for best in found]  # fmt: skip
    assert [choice["misfit"] for choice in choices[: len(found)]] == pytest.approx([best.misfit for best in found])
    assert answer["usage"]["prompt_tokens"] == sum(map(len, read_holes(model, HOLED["prompt"]).pieces))


def test_a_stream_of_filled_holes_has_the_same_texts(ask):
    lines = ask(**HOLED, n=2, echo=True, stream=True).text.splitlines()
    parts = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines if line.startswith("data: {")]
    for index, choice in enumerate(ask(**HOLED, n=2).json()["choices"]):
        own = [part for part in parts if part["index"] == index]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert own[-1]["fills"] == choice["fills"] and own[-1]["finish_reason"] == "stop"


def test_a_prompt_of_tokens_goes_on_and_a_scored_one_is_scored_as_it_stands(ask, model):
    ids = model.tokenize(HOLED["prompt"])
    assert ask(prompt=ids, suffix=None, max_tokens=4).json()["recipe"]["operation"] == "generate"
    scored = ask(**HOLED, echo=True, logprobs=1, max_tokens=0).json()
    assert scored["choices"][0]["text"] == HOLED["prompt"]


WRONG_WITH_HOLES = {
    "a suffix": ({"suffix": " ran."}, "prompt"),
    "too long a hole": ({"max_tokens": 17}, "max_tokens"),
    "too many holes": ({"prompt": "A ___." * 17}, "prompt"),
    "a second prompt": ({"prompt": ["A ___.", "B"]}, "prompt"),
    "fewer candidates than answers": ({"n": 3, "best_of": 2}, "best_of"),
    "probabilities": ({"logprobs": 1}, "logprobs"),
    "drafts": ({"stream": True, "stream_options": {"include_draft": True}}, "stream_options"),
    "a stop": ({"stop": "."}, "stop"),
    "too much after the first hole": ({"prompt": "A ___" + " and then" * 300}, "prompt"),
}


@pytest.mark.parametrize("body, param", WRONG_WITH_HOLES.values(), ids=WRONG_WITH_HOLES)
def test_what_does_not_go_with_holes_gets_a_sentence(ask, body, param):
    answer = ask(**{**HOLED, **body})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param
