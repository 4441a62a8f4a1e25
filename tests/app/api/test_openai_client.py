"""OpenAI's own client against the API: what it sends, what is ignored, a key, any model name, and pages elsewhere."""

import dataclasses

import httpx
import openai
import pytest

from app.api.access import check_api_key, check_origin
from app.api.openai_api import IGNORED_HEADER, ApiOptions
from coladlm.evaluate.token_scores import SCORING, token_scores

KEY, ORIGIN, ELSEWHERE = "a-secret", "https://page.example", "https://evil.example"
QUICK = {"max_tokens": 6, "seed": 3, "extra_body": {"steps": 2}}
ASK = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def open_address(serve_api):
    return serve_api(ApiOptions())


@pytest.fixture(scope="module")
def guarded_address(serve_api):
    """Needs a key, lets one origin in, and takes any model name."""
    return serve_api(ApiOptions(accept_any_model=True, api_key=KEY, origins=(ORIGIN,)))


def client_of(address, key="none"):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)


@pytest.fixture
def client(open_address):
    with client_of(open_address) as client:
        yield client


# fields


def test_a_null_is_as_if_the_field_were_absent(client, model):
    plain = client.completions.create(model=model.name, prompt="The cat", **QUICK)
    nothing = dict.fromkeys(("best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "n", "presence_penalty",
                             "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "user"))  # fmt: skip
    more = {"steps": 2, "top_k": None, "not_yet_known": None}
    nulls = client.completions.create(
        model=model.name, prompt="The cat", max_tokens=6, seed=3, extra_body={**nothing, **more}
    )
    assert nulls.choices == plain.choices


def test_a_null_in_every_optional_field_of_a_chat_is_as_if_it_were_absent(client, model):
    plain = client.chat.completions.create(model=model.name, messages=ASK, **QUICK)
    fields = openai.types.chat.completion_create_params.CompletionCreateParamsBase.__annotations__
    nothing = dict.fromkeys(set(fields) - {"model", "messages", "max_tokens", "seed"})
    nulls = client.chat.completions.create(
        model=model.name, messages=[{**ASK[0], "name": None}], max_tokens=6, seed=3, extra_body={**nothing, "steps": 2}
    )
    assert nulls.choices == plain.choices


def test_the_client_hands_on_drafts(client, model):
    ask = {"stream": True, "stream_options": {"include_draft": True}, **QUICK}
    parts = list(client.completions.create(model=model.name, prompt="The cat", **ask))
    drafts = [part.choices[0].draft for part in parts if hasattr(part.choices[0], "draft")]
    assert set(drafts[0]) == {"text", "block", "blocks", "step", "steps"}
    told = list(client.chat.completions.create(model=model.name, messages=ASK, **ask))
    assert any(hasattr(part.choices[0], "draft") for part in told)


def test_a_message_that_calls_tools_needs_no_content(client, model):
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [*ASK, {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "a fox"}]  # fmt: skip
    answer = client.chat.completions.with_raw_response.create(model=model.name, messages=messages, **QUICK)
    assert answer.parse().recipe["texts"] == ["Once upon a time\n\na fox"]
    assert answer.headers[IGNORED_HEADER] == "messages.tool_call_id, messages.tool_calls"


def test_an_answer_of_this_server_can_be_sent_back_as_a_message(client, model):
    first = client.chat.completions.create(model=model.name, messages=ASK, **QUICK).choices[0].message
    again = [*ASK, first.model_dump(), {"role": "user", "content": "And then"}]
    answer = client.chat.completions.create(model=model.name, messages=again, **QUICK)
    assert answer.recipe["texts"] == [f"Once upon a time\n\n{first.content}\n\nAnd then"]


IGNORED = {
    "metadata": {"a": "b"}, "parallel_tool_calls": False, "prompt_cache_key": "k", "reasoning_effort": "low",
    "safety_identifier": "x", "service_tier": "flex", "store": True, "user": "me", "verbosity": "low",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_fields_that_change_nothing_are_accepted_and_named_in_a_header(client, model, stream):
    plain = client.chat.completions.create(model=model.name, messages=ASK, **QUICK)
    raw = client.chat.completions.with_raw_response.create(
        model=model.name, messages=ASK, **QUICK, **IGNORED, stream=stream
    )
    assert raw.headers[IGNORED_HEADER] == ", ".join(sorted(IGNORED))
    answer = raw.parse()
    text = (
        "".join(part.choices[0].delta.content or "" for part in answer) if stream else answer.choices[0].message.content
    )
    assert text == plain.choices[0].message.content


def test_no_header_names_what_is_not_ignored(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model.name, messages=ASK, **QUICK, n=1, top_p=0.5)
    assert IGNORED_HEADER not in raw.headers


UNSUPPORTED = {
    "tools": [{"type": "function", "function": {"name": "look"}}],
    "tool_choice": "required",
    "response_format": {"type": "json_object"},
    "logit_bias": {"5": 10},
    "presence_penalty": 0.5,
    "web_search_options": {},
    "modalities": ["text", "audio"],
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_a_field_that_would_change_the_answer_is_refused_by_its_name(client, model, field):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=model.name, messages=ASK, **QUICK, **{field: UNSUPPORTED[field]})
    assert (refused.value.param, refused.value.code) == (field, "unsupported")
    assert "does not support" in refused.value.message


NEUTRAL = {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "logit_bias": {},
           "presence_penalty": 0.0, "frequency_penalty": 0, "modalities": ["text"]}  # fmt: skip


def test_the_value_that_changes_nothing_of_an_unsupported_field_is_accepted(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model.name, messages=ASK, **QUICK, **NEUTRAL)
    assert raw.parse().choices and IGNORED_HEADER not in raw.headers


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_the_probabilities_of_a_prompt_are_our_bounds(client, model, max_tokens):
    """An evaluation asks so for those of a text, with nothing or one token to be written after it."""
    ids = model.tokenize("A cat")
    scores = token_scores(model, ids, (), dataclasses.replace(SCORING, seed=4))
    found = client.completions.create(model=model.name, prompt=ids, echo=True, logprobs=1, max_tokens=max_tokens,
                                      temperature=0, seed=4, extra_body={"steps": 2})  # fmt: skip
    probabilities, length = found.choices[0].logprobs, len(ids)
    assert len(probabilities.token_logprobs) == length + max_tokens  # an end token counts, too
    assert probabilities.token_logprobs[:length] == pytest.approx(scores.log_probs)
    assert "".join(probabilities.tokens[:length]) == "A cat" and probabilities.text_offset[0] == 0
    for top, own, (_, rival) in zip(probabilities.top_logprobs, scores.log_probs, scores.rivals, strict=False):
        assert max(top.values()) == pytest.approx(max(own, rival))
    assert hasattr(found, "recipe") == (max_tokens == 1)


def test_an_end_token_before_a_prompt_is_its_beginning_and_has_no_probability(client, model):
    ids = model.tokenize("A cat")
    asked = {"model": model.name, "echo": True, "logprobs": 0, "max_tokens": 0, "seed": 4}
    plain, marked = (client.completions.create(prompt=[prompt], **asked).choices[0]
                     for prompt in (ids, [model.end_ids[0], *ids]))  # fmt: skip
    assert marked.logprobs.token_logprobs == [None, *plain.logprobs.token_logprobs]
    assert marked.text == plain.text == "A cat" and marked.logprobs.top_logprobs[1] == {}


def test_token_ids_are_a_prompt_like_their_text(client, model):
    ids = [model.tokenize(text) for text in ("The cat", "A dog")]
    texts = [[choice.text for choice in client.completions.create(model=model.name, prompt=prompt, **QUICK).choices]
             for prompt in (ids, ["The cat", "A dog"])]  # fmt: skip
    assert texts[0] == texts[1]
    assert client.completions.create(model=model.name, prompt=ids[0], **QUICK).choices[0].text == texts[0][0]


# the tokenizer


def test_a_client_may_ask_the_tokenizer(guarded_address, model):
    with httpx.Client(base_url=guarded_address, headers={"Authorization": f"Bearer {KEY}"}) as client:
        told = client.get("/tokenizer_info").json()
        assert told["bos_token"] is None and told["eos_token"] == "<|endoftext|>"
        ids = client.post("/tokenize", json={"prompt": "The cat", "add_special_tokens": False}).json()
        assert ids["tokens"] == model.tokenize("The cat") and ids["count"] == len(ids["tokens"])
        assert client.post("/detokenize", json={"tokens": ids["tokens"]}).json() == {"prompt": "The cat"}
        assert client.post("/tokenize", json={"prompt": told["eos_token"]}).json()["tokens"] == [model.end_ids[0]]
        inside = client.post("/tokenize", json={"prompt": f"a {told['eos_token']}"}).json()["tokens"]
        assert model.end_ids[0] not in inside  # the name of a special token in a text is text
        for path, body in (("/tokenize", {"prompt": 3}), ("/detokenize", {"tokens": [10**6]}), ("/detokenize", {})):
            refused = client.post(path, json=body)
            assert refused.status_code == 400 and "expected" in refused.json()["error"]["message"]
    assert httpx.get(f"{guarded_address}/tokenizer_info").status_code == 401


# models


def test_an_unknown_model_is_told_which_there_is(client, model):
    for ask in (
        lambda: client.completions.create(model="gpt-4o", prompt="x"),
        lambda: client.chat.completions.create(model="gpt-4o", messages=ASK),
        lambda: client.models.retrieve("gpt-4o"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            ask()
        assert f"unknown model 'gpt-4o'; this server serves '{model.name}'" in refused.value.message


def test_any_model_name_is_taken_for_the_one_there_is_where_the_server_says_so(guarded_address, model):
    with client_of(guarded_address, KEY) as client:
        answer = client.completions.create(model="gpt-4o", prompt="The cat", **QUICK)
        assert answer.model == client.models.retrieve("gpt-4o").id == model.name
        assert answer.recipe["model"] == model.fingerprint


# the key


def test_the_right_key_is_let_in(guarded_address, model):
    with client_of(guarded_address, KEY) as client:
        assert [one.id for one in client.models.list()] == [model.name]


@pytest.mark.parametrize("key", ["a-secre", "a-secrets", "A-SECRET", "none"])
def test_a_wrong_key_is_refused(guarded_address, key):
    with client_of(guarded_address, key) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.completions.create(model="x", prompt="x")
    assert refused.value.code == "invalid_api_key" and key not in refused.value.message


HEADERS = ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"},
           {"Authorization": KEY}, {"Authorization": "Bearer \xe9"}, {"X-API-Key": KEY})  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS, ids=str)
@pytest.mark.parametrize("method, path", [("GET", "models"), ("POST", "completions"), ("GET", "nothing")])
def test_a_request_without_a_bearer_key_is_refused(guarded_address, headers, method, path):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = httpx.request(method, f"{guarded_address}/v1/{path}", headers=encoded)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_health_and_metrics_need_no_key(guarded_address):
    assert httpx.get(f"{guarded_address}/health").status_code == 200
    assert httpx.get(f"{guarded_address}/metrics").status_code == 200


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "a\n"])
def test_a_key_that_no_header_holds_is_refused_without_repeating_it(key):
    with pytest.raises(ValueError, match="the API key is") as refused:
        check_api_key(key)
    assert not key or key not in str(refused.value)


def test_the_key_is_not_shown_with_the_options():
    assert KEY not in repr(ApiOptions(api_key=KEY))


# pages elsewhere


def preflight(address, origin, path="/v1/completions"):
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os"}  # fmt: skip
    return httpx.options(address + path, headers=asks)


def test_a_page_of_an_allowed_origin_may_call_with_its_headers(guarded_address):
    answer = preflight(guarded_address, ORIGIN)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    models = httpx.get(f"{guarded_address}/v1/models", headers={"Origin": ORIGIN, "Authorization": f"Bearer {KEY}"})
    assert models.headers["access-control-allow-origin"] == ORIGIN
    assert IGNORED_HEADER in models.headers["access-control-expose-headers"]


def test_such_a_page_reads_why_it_was_refused(guarded_address):
    answer = httpx.get(f"{guarded_address}/v1/models", headers={"Origin": ORIGIN})
    assert answer.status_code == 401 and answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", f"{ORIGIN}:8443", "http://page.example"])
def test_another_origin_is_refused_in_the_form_of_the_api(guarded_address, origin):
    answer = preflight(guarded_address, origin)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "cors"
    models = httpx.get(f"{guarded_address}/v1/models", headers={"Origin": origin, "Authorization": f"Bearer {KEY}"})
    for response in (answer, models):
        assert "access-control-allow-origin" not in response.headers


def test_without_origins_no_page_elsewhere_may_call(open_address):
    answer = preflight(open_address, ORIGIN)
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "wrong_method"
    assert "access-control-allow-origin" not in answer.headers
    assert (
        "access-control-allow-origin" not in httpx.get(f"{open_address}/v1/models", headers={"Origin": ORIGIN}).headers
    )


@pytest.mark.parametrize(
    "origin", ["page.example", "https://page.example/", "HTTPS://page.example", "null", "", "*.example"]
)
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValueError, match="expected scheme, host and port"):
        check_origin(origin)


@pytest.mark.parametrize("origin", ["*", "https://page.example", "http://localhost:3000", "http://[::1]:80"])
def test_origins_are_taken_as_browsers_send_them(origin):
    assert check_origin(origin) == origin
