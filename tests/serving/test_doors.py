"""OpenAI's API as a client sees it: what it gives, what it refuses, and in which form."""

import json
import shutil

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.serving.asked import RequestLimits
from app.serving.doors import Doors
from coladlm import ColaDLM
from coladlm.checkpoint import CheckpointError
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits, Scheduler

ASK = {"prompt": "Once upon a time", "max_tokens": 14, "steps": 3, "seed": 5}
LIMITS = RequestLimits(new_tokens=64, steps=8, texts=3, variations=4, prompt=200, body=20_000)


@pytest.fixture(scope="module")
def sharing():
    one = Scheduler(Limits(running=4, waiting=4, per_visitor=0))
    yield one
    one.close(grace=0)


@pytest.fixture(scope="module")
def client(model, sharing):
    with TestClient(Starlette(routes=Doors(lambda: model, sharing, LIMITS).routes())) as client:
        yield client


def complete(client, **more):
    answer = client.post("/v1/completions", json={**ASK, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def chunks(answer):
    """The data of a stream, which ends with [DONE]."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(part) for part in data]


def streamed(client, path="/v1/completions", **more):
    return chunks(client.post(path, json={**ASK, "stream": True, **more}))


def texts_of(model, recipe):
    *_, finished = run(model, Recipe.from_dict(recipe))
    return finished.texts


def test_a_completion_is_what_its_recipe_gives(client, model):
    answer = complete(client)
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-")
    assert answer["model"] == model.name and answer["system_fingerprint"] == model.fingerprint
    assert [choice["text"] for choice in answer["choices"]] == texts_of(model, answer["recipe"])
    assert answer["recipe"]["settings"]["steps"] == 3
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")


def test_usage_counts_prompt_and_answer(client, model):
    usage = complete(client)["usage"]
    assert usage["prompt_tokens"] == len(model.tokenize(ASK["prompt"]))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 14


def test_several_prompts_and_several_texts_for_each_come_in_order(client, model):
    answer = complete(client, prompt=["The cat", "A dog ran"], n=2, temperature=1.0)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in answer["choices"]] == texts_of(model, answer["recipe"])


def test_a_seed_repeats_a_text_and_no_seed_draws_one(client):
    assert complete(client)["choices"] == complete(client)["choices"]
    seeds = {complete(client, seed=None, max_tokens=1)["recipe"]["settings"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_stream_tells_the_same_text_in_pieces(client):
    whole = complete(client, n=2)
    parts = streamed(client, n=2)
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in parts if chunk["choices"][0]["index"] == index]
        assert "".join(part["text"] for part in mine) == whole["choices"][index]["text"]
        assert len([part for part in mine if part["text"]]) > 1
        reasons = [part["finish_reason"] for part in mine]
        assert reasons == [None] * (len(mine) - 1) + [whole["choices"][index]["finish_reason"]]
    assert len({chunk["id"] for chunk in parts}) == 1


def test_a_stream_tells_usage_where_asked(client):
    *parts, last = streamed(client, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in parts)
    assert last["choices"] == [] and last["usage"] == complete(client)["usage"]


def test_a_text_ends_before_its_stop_and_a_stream_never_tells_a_part_of_it(client):
    text = complete(client)["choices"][0]["text"]
    stop = text[len(text) // 2 :][:3]
    expected = text[: text.index(stop)]
    cut = complete(client, stop=["never there", stop])["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (expected, "stop")
    parts = streamed(client, stop=stop)
    assert "".join(chunk["choices"][0]["text"] for chunk in parts) == expected


def test_a_stop_ends_the_run(client, sharing):
    text = complete(client, max_tokens=64, stop_at_end=False)["choices"][0]["text"]
    complete(client, max_tokens=64, stop_at_end=False, stop=text[:2])
    assert sharing.numbers()["running"] == 0


def test_echo_puts_the_prompt_first(client):
    plain, echoed = complete(client), complete(client, echo=True)
    assert echoed["choices"][0]["text"] == ASK["prompt"] + plain["choices"][0]["text"]
    assert "".join(c["choices"][0]["text"] for c in streamed(client, echo=True)) == echoed["choices"][0]["text"]


def test_probabilities_are_told_for_every_token(client):
    choice = complete(client, logprobs=3, stop_at_end=False)["choices"][0]
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == choice["text"]
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["top_logprobs"])
    assert all(p <= 0 for p in told["token_logprobs"])
    assert all(1 <= len(top) <= 3 for top in told["top_logprobs"])
    for offset, token in zip(told["text_offset"], told["tokens"], strict=True):
        assert choice["text"][offset:].startswith(token)
    parts = [chunk["choices"][0]["logprobs"] for chunk in streamed(client, logprobs=3, stop_at_end=False)]
    assert [token for part in parts if part for token in part["tokens"]] == told["tokens"]


def test_a_chat_goes_on_from_its_messages(client, model):
    said = [{"type": "text", "text": "Once upon a time"}]
    messages = [{"role": "system", "content": "A story."}, {"role": "user", "content": said}]
    body = {key: value for key, value in ASK.items() if key != "prompt"} | {"messages": messages}
    answer = client.post("/v1/chat/completions", json=body).json()
    message = answer["choices"][0]["message"]
    assert answer["object"] == "chat.completion" and message["role"] == "assistant"
    assert answer["recipe"]["texts"] == ["A story.\n\nOnce upon a time"]
    assert [message["content"]] == texts_of(model, answer["recipe"])
    first, *rest = chunks(client.post("/v1/chat/completions", json={**body, "stream": True}))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in rest) == message["content"]


def test_a_chat_tells_probabilities_in_its_own_form(client):
    body = {"messages": [{"role": "user", "content": "The cat"}], "max_completion_tokens": 5, "steps": 2, "seed": 1,
            "logprobs": True, "top_logprobs": 2, "stop_at_end": False}  # fmt: skip
    choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == choice["message"]["content"]
    assert all(len(token["top_logprobs"]) == 2 for token in content)


def test_models_lists_the_resident_one(client, model):
    (listed,) = client.get("/v1/models").json()["data"]
    assert listed["id"] == model.name and listed["object"] == "model"
    assert client.get(f"/v1/models/{model.name}").json() == listed
    assert complete(client, model=model.name)["model"] == model.name


WRONG = {
    "no JSON": (b"{", "invalid_json", None),
    "a list": (b"[]", "invalid_json", None),
    "not a number": (b'{"temperature": NaN}', "invalid_json", None),
    "no text": ({"prompt": 7}, None, "prompt"),
    "no prompts": ({"prompt": []}, None, "prompt"),
    "half a character": ({"prompt": "\ud800"}, None, "texts[0]"),
    "too many prompts": ({"prompt": ["x"] * 4}, "too_large", "prompt"),
    "too long a prompt": ({"prompt": "cat " * 900}, None, "prompt"),
    "another model": ({"model": "gpt"}, "model_not_found", "model"),
    "too long": ({"max_tokens": 65}, "too_large", "max_tokens"),
    "no length": ({"max_tokens": 0}, None, "max_tokens"),
    "too many steps": ({"steps": 9}, "too_large", "steps"),
    "cold": ({"temperature": -1}, None, "temperature"),
    "too many texts": ({"n": 5}, None, "n"),
    "a seed below zero": ({"seed": -1}, None, "seed"),
    "a huge seed": ({"seed": 10**400}, None, "seed"),
    "an empty stop": ({"stop": ""}, None, "stop"),
    "too many stops": ({"stop": list("abcdefghi")}, None, "stop"),
    "no flag": ({"stream": "yes"}, None, "stream"),
    "options without a stream": ({"stream_options": {"include_usage": True}}, None, "stream_options"),
    "a penalty": ({"presence_penalty": 1}, "unsupported", "presence_penalty"),
    "ranked": ({"best_of": 3}, None, "best_of"),
    "unknown": ({"wishes": 3}, "unknown_field", "wishes"),
}


@pytest.mark.parametrize("body, code, param", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_the_form_of_the_api(client, body, code, param):
    content = body if isinstance(body, bytes) else json.dumps({**ASK, **body})
    answer = client.post("/v1/completions", content=content)
    error = answer.json()["error"]
    assert 400 <= answer.status_code < 500
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert param is None or error["param"] == param
    assert code is None or error["code"] == code


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "hello",
        [1],
        [{"content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [{"type": "image"}]}],
    ],
)
def test_messages_that_are_none_are_refused(client, messages):
    answer = client.post("/v1/chat/completions", json={"messages": messages})
    assert answer.status_code == 400 and answer.json()["error"]["param"].startswith("messages")


def test_a_body_beyond_the_limit_is_not_read(client):
    assert client.post("/v1/completions", content=b"x" * 20_001).status_code == 413
    assert client.post("/v1/completions", content=iter([b"x" * 15_000] * 2)).status_code == 413


ELSEWHERE = (
    ("GET", "/v1/completions", 405),
    ("POST", "/v1/models", 405),
    ("GET", "/v1/nothing", 404),
    ("GET", "/v1/models/gpt", 404),
)


@pytest.mark.parametrize("method, path, status", ELSEWHERE)
def test_other_paths_and_methods_get_an_error_of_the_same_form(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status and answer.json()["error"]["message"]


def test_a_full_queue_is_said_at_once_with_the_expected_wait(client, sharing, model, monkeypatch):
    monkeypatch.setattr(sharing.queue, "limits", Limits(running=1, waiting=0))
    long = Recipe("generate", ("x",), model.defaults.from_dict({"max_new_tokens": 4000, "stop_at_end": False}))
    with sharing.run(model, long, steps="none"):
        answer = client.post("/v1/completions", json=ASK)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        assert "Try again in about" in answer.json()["error"]["message"]
        assert client.get("/health").json() | {"model": ""} == {"status": "ok", "model": "", "running": 1, "waiting": 0}


def test_a_fault_of_the_server_tells_nothing_of_its_inside(client, model, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret of the machine")

    monkeypatch.setattr(model.dit, "hidden", fail)
    answer = client.post("/v1/completions", json=ASK)
    assert answer.status_code == 500 and "secret" not in answer.text
    parts = client.post("/v1/completions", json={**ASK, "stream": True})
    assert parts.status_code == 500 and "secret" not in parts.text


def test_a_model_whose_folder_disappears_goes_on_working(golden_folder, tmp_path, sharing, model, client):
    shutil.copytree(golden_folder, tmp_path / "model")
    other = ColaDLM.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    shutil.rmtree(tmp_path / "model")
    with TestClient(Starlette(routes=Doors(lambda: other, sharing, LIMITS).routes())) as there:
        assert complete(there)["choices"] == complete(client)["choices"]
    with pytest.raises(CheckpointError, match="model"):
        ColaDLM.from_pretrained(tmp_path / "model")


def test_metrics_are_plain_text_that_counts(client):
    before = client.get("/metrics").text
    complete(client)
    after = client.get("/metrics")
    assert after.headers["content-type"].startswith("text/plain; version=0.0.4")

    def done(text):
        prefix = 'coladlm_requests_total{operation="generate",outcome="done"} '
        return next(int(line.removeprefix(prefix)) for line in text.splitlines() if line.startswith(prefix))

    assert done(after.text) == done(before) + 1
