"""OpenAI's API as a client sees it: what it gives, what it refuses, and in which form."""

import collections
import json
import shutil

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.openai_api import ApiOptions, OpenAIApi
from app.api.parsed_request import RequestLimits
from coladlm import ColaDLM
from coladlm.checkpoint import CheckpointError
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.block_run import Run
from coladlm.sampling.events import BlockDone, Step
from coladlm.serve import Limits, Scheduler

JSON = {"Content-Type": "application/json"}
ASK = {"prompt": "Once upon a time", "max_tokens": 14, "steps": 2, "seed": 5}
LIMITS = RequestLimits(new_tokens=64, steps=8, texts=3, variations=4, prompt=200, body=20_000)


@pytest.fixture(scope="module")
def scheduler():
    one = Scheduler(Limits(running=4, waiting=4, per_visitor=0))
    yield one
    one.close(grace=0)


@pytest.fixture(scope="module")
def client(model, scheduler):
    with TestClient(Starlette(routes=OpenAIApi(lambda: model, scheduler, ApiOptions(LIMITS)).routes())) as client:
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
    assert answer["recipe"]["settings"]["steps"] == ASK["steps"]
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")


def test_usage_counts_prompt_and_answer(client, model):
    usage = complete(client)["usage"]
    assert usage["prompt_tokens"] == len(model.tokenize(ASK["prompt"]))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 14


def test_names_of_special_tokens_in_a_prompt_are_text(client, model):
    answer = complete(client, prompt="<|endoftext|>", echo=True)
    assert answer["choices"][0]["text"].startswith("<|endoftext|>")
    assert answer["usage"]["prompt_tokens"] == len(model.tokenize("<|endoftext|>")) > 1


@pytest.mark.parametrize("tiny", [{"temperature": 1e-300}, {"temperature": 1.0, "top_p": 1e-300}])
def test_tiny_numbers_take_the_likeliest_tokens(client, tiny):
    greedy = complete(client, temperature=0)
    assert complete(client, **tiny)["choices"][0]["text"] == greedy["choices"][0]["text"]


def test_several_prompts_and_several_texts_for_each_come_in_order(client, model):
    answer = complete(client, prompt=["The cat", "A dog ran"], n=2, temperature=1.0)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in answer["choices"]] == texts_of(model, answer["recipe"])


def test_a_seed_repeats_a_text_and_no_seed_draws_one(client):
    assert complete(client)["choices"] == complete(client)["choices"]
    seeds = {complete(client, seed=None, max_tokens=1)["recipe"]["settings"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_the_tokens_of_a_text_that_ends_inside_a_character_are_the_text(client):
    broken = 0
    for tokens in range(3, 9):
        wish = {"max_tokens": tokens, "steps": 1, "logprobs": 1, "stop_at_end": False}
        for parts in ([complete(client, **wish)], streamed(client, **wish)):
            choices = [part["choices"][0] for part in parts if part["choices"]]
            text, given = "".join(choice["text"] for choice in choices), [choice["logprobs"] for choice in choices]
            assert "".join(piece for part in given if part for piece in part["tokens"]) == text
            assert sum(len(part["tokens"]) for part in given if part) == tokens
            broken += text.endswith("\ufffd")
    assert 0 < broken < 12


def test_a_stream_has_the_same_text_in_pieces(client):
    whole = complete(client, n=2)
    parts = streamed(client, n=2)
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in parts if chunk["choices"][0]["index"] == index]
        assert "".join(part["text"] for part in mine) == whole["choices"][index]["text"]
        assert len([part for part in mine if part["text"]]) > 1
        reasons = [part["finish_reason"] for part in mine]
        assert reasons == [None] * (len(mine) - 1) + [whole["choices"][index]["finish_reason"]]
    assert len({chunk["id"] for chunk in parts}) == 1


def test_a_stream_ends_with_usage_where_it_is_wanted(client):
    *parts, last = streamed(client, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in parts)
    assert last["choices"] == [] and last["usage"] == complete(client)["usage"]


DRAFTS = {"stream_options": {"include_draft": True}}


def drafts_of(parts):
    """(index, draft, text sent before it) of every chunk with a draft."""
    found, texts = [], collections.defaultdict(str)
    for chunk in parts:
        choice = chunk["choices"][0]
        if "draft" in choice:
            assert choice.get("text", "") == "" and choice["finish_reason"] is None
            found.append((choice["index"], choice["draft"], texts[choice["index"]]))
        texts[choice["index"]] += choice.get("text", "")
    return found


def clean_estimates(model, recipe):
    """{(block, step): the answer to the first prompt if the clean estimate there were the end of it}."""
    found, written = {}, []
    skip = -(-len(model.tokenize(recipe.texts[0])) // model.patch_size) % model.block_size * model.patch_size
    for event in run(model, recipe):
        if isinstance(event, Step):
            ids = written + event.preview()[0].argmax(-1).tolist()
            found[event.block + 1, event.index + 1] = model.read(ids[skip:][: recipe.settings.max_new_tokens])
        elif isinstance(event, BlockDone):
            written += event.token_ids[0].tolist()
    return found


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_every_step_of_every_block_has_what_the_decoder_reads_in_its_clean_estimate(client, model, solver):
    wish = {"stop_at_end": False, "temperature": 0, "steps": 3, "solver": solver}
    answer = complete(client, **wish)
    expected = clean_estimates(model, Recipe.from_dict(answer["recipe"]))
    drafts = [draft for _, draft, _ in drafts_of(streamed(client, **wish, **DRAFTS))]
    assert [(draft["block"], draft["step"]) for draft in drafts] == sorted(expected)
    for draft in drafts:
        assert draft["text"] == expected[draft["block"], draft["step"]].rstrip("\ufffd")
        assert draft["steps"] == wish["steps"] and draft["blocks"] == max(block for block, _ in expected)
    assert drafts[-1]["text"] == answer["choices"][0]["text"]  # the likeliest tokens, which is what is written here


def test_each_of_several_texts_has_a_draft_of_every_step_that_goes_on_from_what_has_been_sent(client):
    asked = {"n": 2, "prompt": ["Once upon a time", "The"], "echo": True, "stop_at_end": False}
    drafts = drafts_of(streamed(client, **asked, **DRAFTS))
    for index in range(4):
        own = [draft for place, draft, _ in drafts if place == index]
        blocks = own[0]["blocks"]
        steps = [(draft["block"], draft["step"]) for draft in own]
        assert steps == [(block, step) for block in range(1, blocks + 1) for step in (1, 2)]
    assert all(draft["text"].startswith(sent) for _, draft, sent in drafts)


def test_whoever_knows_nothing_of_drafts_reads_the_same_text_beside_them(client):
    plain, drafted = streamed(client, n=2), streamed(client, n=2, **DRAFTS)
    without = [chunk["choices"][0] for chunk in drafted if "draft" not in chunk["choices"][0]]
    assert without == [chunk["choices"][0] for chunk in plain]


def test_a_draft_is_cut_at_a_stop(client):
    text = drafts_of(streamed(client, **DRAFTS))[0][1]["text"]
    stop = text[len(text) // 2 :][:2]
    drafts = drafts_of(streamed(client, stop=stop, **DRAFTS))
    assert drafts[0][1]["text"] == text[: text.index(stop)]
    assert not any(stop in draft["text"] for _, draft, _ in drafts)


def test_no_step_is_decoded_for_who_wants_no_drafts(client, monkeypatch):
    decoded = []  # by the steps a block of the run: one of the test before may still be ending
    preview = Run._preview_at

    def decode(run, step, z):
        decoded.append(run.settings.steps)
        return preview(run, step, z)

    monkeypatch.setattr(Run, "_preview_at", decode)
    assert not drafts_of(streamed(client, steps=7, stream_options={"include_draft": False})) and 7 not in decoded
    assert drafts_of(streamed(client, steps=7, **DRAFTS)) and 7 in decoded


def test_a_text_ends_before_its_stop_and_a_stream_never_sends_a_part_of_it(client):
    text = complete(client)["choices"][0]["text"]
    stop = text[len(text) // 2 :][:3]
    expected = text[: text.index(stop)]
    cut = complete(client, stop=["never there", stop])["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (expected, "stop")
    parts = streamed(client, stop=stop)
    assert "".join(chunk["choices"][0]["text"] for chunk in parts) == expected


def test_a_stop_ends_the_run(client, scheduler):
    text = complete(client, max_tokens=64, stop_at_end=False)["choices"][0]["text"]
    before = counts(scheduler)
    cut = complete(client, max_tokens=64, stop_at_end=False, stop=text[:2])
    assert scheduler.numbers()["running"] == 0
    after = counts(scheduler)
    assert after["left"] == before["left"] and after["done"] == before["done"] + 1
    assert cut["choices"][0]["finish_reason"] == "stop" and 0 < after["tokens"] - before["tokens"] < 64


def counts(scheduler):
    """Of the server's metrics: requests of this kind by outcome, and tokens."""
    lines = dict(line.rsplit(" ", 1) for line in scheduler.metrics.text({}).splitlines() if line[0] != "#")
    name = 'coladlm_requests_total{operation="generate",outcome="%s"}'
    found = {outcome: int(lines.get(name % outcome, 0)) for outcome in ("done", "left")}
    return found | {"tokens": int(lines["coladlm_tokens_total"])}


def test_echo_puts_the_prompt_first(client):
    plain, echoed = complete(client), complete(client, echo=True)
    assert echoed["choices"][0]["text"] == ASK["prompt"] + plain["choices"][0]["text"]
    assert "".join(c["choices"][0]["text"] for c in streamed(client, echo=True)) == echoed["choices"][0]["text"]


@pytest.mark.parametrize("size", [None, 8])
def test_every_token_of_an_answer_has_its_log_probability(client, size):
    wish = {"logprobs": 3, "stop_at_end": False, "block_size": size}
    choice = complete(client, **wish)["choices"][0]
    given = choice["logprobs"]
    assert "".join(given["tokens"]) == choice["text"]
    assert len(given["tokens"]) == len(given["token_logprobs"]) == len(given["top_logprobs"])
    assert all(p <= 0 for p in given["token_logprobs"])
    assert all(1 <= len(top) <= 3 for top in given["top_logprobs"])
    for offset, token in zip(given["text_offset"], given["tokens"], strict=True):
        assert choice["text"][offset:].startswith(token)
    parts = [chunk["choices"][0]["logprobs"] for chunk in streamed(client, **wish)]
    assert [token for part in parts if part for token in part["tokens"]] == given["tokens"]


def test_a_chat_goes_on_from_its_messages(client, model):
    parts = [{"type": "text", "text": "Once upon a time"}]
    messages = [{"role": "system", "content": "A story."}, {"role": "user", "content": parts}]
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
    drafted = chunks(client.post("/v1/chat/completions", json={**body, "stream": True, **DRAFTS}))
    assert drafts_of(drafted) and [chunk["choices"] for chunk in drafted if "draft" not in chunk["choices"][0]] == [
        chunk["choices"] for chunk in (first, *rest)
    ]


def test_a_chat_gives_log_probabilities_in_its_own_form(client):
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
    "ids that are no tokens": ({"prompt": [5, 99_999]}, None, "prompt"),
    "an id below zero": ({"prompt": [[5], [-1]]}, None, "prompt"),
    "an id among texts": ({"prompt": ["x", 5]}, None, "prompt[1]"),
    "half an id": ({"prompt": [[5, 6.5]]}, None, "prompt[0]"),
    "scores in a stream": ({"echo": True, "logprobs": 1, "stream": True}, "unsupported", "stream"),
    "scores of ids that are no tokens": ({"echo": True, "logprobs": 1, "prompt": [99_999]}, None, "prompt"),
    "too many tokens to score": ({"echo": True, "logprobs": 1, "prompt": [[5] * 1025]}, "too_large", "prompt"),
    "no text among texts": ({"prompt": ["x", {}]}, None, "prompt[1]"),
    "half a character": ({"prompt": "\ud800"}, None, "prompt"),
    "too many prompts": ({"prompt": ["x"] * 4}, "too_large", "prompt"),
    "too long a prompt": ({"prompt": "cat " * 900}, None, "prompt"),
    "another model": ({"model": "gpt"}, "model_not_found", "model"),
    "too long": ({"max_tokens": 65}, "too_large", "max_tokens"),
    "no length": ({"max_tokens": 0}, None, "max_tokens"),
    "a length below zero": ({"max_tokens": -1}, None, "max_tokens"),
    "a length that is a text": ({"max_tokens": "12"}, None, "max_tokens"),
    "too many steps": ({"steps": 9}, "too_large", "steps"),
    "too many drafts": ({"noises": 4, "stagger": 0, "n": 4}, "too_large", "noises"),
    "cold": ({"temperature": -1}, None, "temperature"),
    "too many texts": ({"n": 5}, "too_large", "n"),
    "half a text": ({"n": 1.5}, None, "n"),
    "a seed below zero": ({"seed": -1}, None, "seed"),
    "a huge seed": ({"seed": 10**400}, None, "seed"),
    "blocks that do not fit": ({"block_size": 3}, None, "block_size"),
    "a seed that a browser would change": ({"seed": 2**53 + 1}, None, "seed"),
    "half a seed": ({"seed": 1.5}, None, "seed"),
    "a seed as text": ({"seed": "7"}, None, "seed"),
    "a seed that is a flag": ({"seed": True}, None, "seed"),
    "a penalty of almost nothing": ({"repetition_penalty": 1e-45}, None, "repetition_penalty"),
    "an empty stop": ({"stop": ""}, None, "stop"),
    "too many stops": ({"stop": list("abcdefghi")}, None, "stop"),
    "a stop that is a number": ({"stop": ["a", 7]}, None, "stop[1]"),
    "too many log-probabilities": ({"logprobs": 21}, None, "logprobs"),
    "no flag": ({"stream": "yes"}, None, "stream"),
    "options without a stream": ({"stream_options": {"include_usage": True}}, None, "stream_options"),
    "options that are none": ({"stream": True, "stream_options": 7}, None, "stream_options"),
    "an option of no kind": (
        {"stream": True, "stream_options": {"include_usage": 1}},
        None,
        "stream_options.include_usage",
    ),
    "a draft of no kind": (
        {"stream": True, "stream_options": {"include_draft": "yes"}},
        None,
        "stream_options.include_draft",
    ),
    "drafts without a stream": (DRAFTS, None, "stream_options"),
    "a penalty": ({"presence_penalty": 1}, "unsupported", "presence_penalty"),
    "ranked": ({"best_of": 3}, None, "best_of"),
    "unknown": ({"wishes": 3}, "unknown_field", "wishes"),
}


@pytest.mark.parametrize("body, code, param", WRONG.values(), ids=WRONG)
def test_bad_input_gets_an_error_in_the_form_of_the_api(client, body, code, param):
    content = body if isinstance(body, bytes) else json.dumps({**ASK, **body})
    answer = client.post("/v1/completions", content=content, headers=JSON)
    error = answer.json()["error"]
    assert 400 <= answer.status_code < 500
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert param is None or error["param"] == param
    assert code is None or error["code"] == code


def test_a_number_of_thousands_of_digits_gets_a_sentence_of_our_own(client):
    answer = client.post("/v1/completions", content='{"seed": ' + 5000 * "1" + "}", headers=JSON)
    sentence = "the body is not valid JSON (a whole number has 5,000 digits), expected an object"
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, sentence)


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
def test_bad_messages_are_refused(client, messages):
    answer = client.post("/v1/chat/completions", json={"messages": messages})
    assert answer.status_code == 400 and answer.json()["error"]["param"].startswith("messages")


def test_a_body_beyond_the_limit_is_not_read(client):
    assert client.post("/v1/completions", content=b"x" * 20_001, headers=JSON).status_code == 413
    assert client.post("/v1/completions", content=iter([b"x" * 15_000] * 2), headers=JSON).status_code == 413


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_a_body_of_another_type_is_refused_in_the_form_of_the_api(client, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/v1/completions", content=json.dumps(ASK), headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == 415 and error["code"] == "unsupported_media_type"
    assert "expected application/json" in error["message"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken_by_any_spelling_of_its_type(client, kind):
    answer = client.post("/v1/completions", content=json.dumps(ASK), headers={"Content-Type": kind})
    assert answer.status_code == 200


ELSEWHERE = (
    ("GET", "/v1/completions", 405),
    ("OPTIONS", "/v1/completions", 405),
    ("OPTIONS", "/v1/nothing", 404),
    ("PUT", "/v1/chat/completions", 405),
    ("TRACE", "/v1/models", 405),
    ("BREW", "/v1/models", 405),
    ("POST", "/v1/models", 405),
    ("GET", "/v1/nothing", 404),
    ("GET", "/v1/models/gpt", 404),
)


@pytest.mark.parametrize("method, path, status", ELSEWHERE)
def test_other_paths_and_methods_get_an_error_of_the_same_form(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_wrong_method_is_told_the_right_one(client):
    answer = client.options("/v1/completions")
    assert answer.json()["error"]["message"] == "/v1/completions does not take OPTIONS, expected POST"
    assert answer.headers["allow"] == "POST"


def test_a_full_queue_is_reported_at_once_with_the_expected_wait(client, scheduler, model, monkeypatch):
    monkeypatch.setattr(scheduler.queue, "limits", Limits(running=1, waiting=0))
    long = Recipe("generate", ("x",), model.defaults.from_dict({"max_new_tokens": 4000, "stop_at_end": False}))
    with scheduler.run(model, long, steps="none"):
        answer = client.post("/v1/completions", json=ASK)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        assert "Try again in about" in answer.json()["error"]["message"]
        assert client.get("/health").json() | {"model": ""} == {"status": "ok", "model": "", "running": 1, "waiting": 0}


def test_a_fault_of_the_server_reveals_nothing_of_its_inside(client, model, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret of the machine")

    monkeypatch.setattr(model.dit, "hidden", fail)
    answer = client.post("/v1/completions", json=ASK)
    assert answer.status_code == 500 and "secret" not in answer.text
    parts = client.post("/v1/completions", json={**ASK, "stream": True})
    assert parts.status_code == 500 and "secret" not in parts.text


def test_a_model_whose_folder_disappears_goes_on_working(golden_folder, tmp_path, scheduler, model, client):
    shutil.copytree(golden_folder, tmp_path / "model")
    other = ColaDLM.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    shutil.rmtree(tmp_path / "model")
    with TestClient(Starlette(routes=OpenAIApi(lambda: other, scheduler, ApiOptions(LIMITS)).routes())) as there:
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
