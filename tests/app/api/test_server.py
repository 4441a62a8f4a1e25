"""`python app.py` as a process: the page and OpenAI's API at one address, clients of all kinds, and its end."""

import json
import re
import runpy
import socket
import sys
import threading
import time

import httpx
import pytest
import torch
from gradio_client import Client
from openai import APIStatusError, OpenAI

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm.cli import main as command_line
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits
from examples import ask_a_server

from .server_process import PATIENCE, ROOT, Server

LEFT = 'coladlm_requests_total{operation="generate",outcome="left"}'


@pytest.fixture(scope="module")
def server(golden_folder, tmp_path_factory):
    running = Server(
        tmp_path_factory.mktemp("server"), golden_folder, "--running", "4", "--max-new-tokens", "2000", "--grace", "60"
    )
    yield running
    assert running.end() == 0


@pytest.fixture(scope="module")
def openai(server):
    with OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def long_body(**more):
    return {"prompt": "x", "max_tokens": 2000, "stop_at_end": False, "steps": 128, **more}


def until(condition):
    """Waits for what comes at once on an idle machine. A run of `long_body` would keep even a fast one for longer."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.02)


def test_the_openai_client_completes_streams_and_chats(openai, model):
    ask = {"model": model.name, "prompt": "Once upon a time", "max_tokens": 12, "seed": 3, "extra_body": {"steps": 3}}
    whole = openai.completions.create(**ask)
    *_, finished = run(model, Recipe.from_dict(whole.recipe))
    assert whole.choices[0].text == finished.texts[0]
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    parts = list(openai.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts[:-1]) == whole.choices[0].text
    assert parts[-1].usage == whole.usage
    say = {"model": model.name, "messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 12,
           "seed": 3, "extra_body": {"steps": 3}}  # fmt: skip
    assert openai.chat.completions.create(**say).choices[0].message.content == whole.choices[0].text
    told = openai.chat.completions.create(**say, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in told) == whole.choices[0].text
    assert [one.id for one in openai.models.list()] == [model.name]


def test_the_openai_client_understands_a_refusal(openai, model):
    with pytest.raises(APIStatusError) as refused:
        openai.completions.create(model=model.name, prompt="x", max_tokens=10**6)
    assert refused.value.status_code == 400 and refused.value.param == "max_tokens"


def test_every_api_and_the_command_line_give_the_same_text(server, openai, model, golden_folder, tmp_path, capsys):
    settings = {"steps": 3, "guidance": 2.0, "max_new_tokens": 10, "seed": 11, "temperature": 0.7}
    text, recipe = Client(server.address, verbose=False).predict("The cat sat", api_name="/generate", **settings)
    extra = {"steps": 3, "guidance": 2.0}
    completed = openai.completions.create(
        model=model.name, prompt="The cat sat", max_tokens=10, seed=11, temperature=0.7, extra_body=extra
    )
    assert completed.choices[0].text == text
    assert Recipe.from_dict(completed.recipe) == Recipe.from_dict(recipe)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    command = ["replay", str(tmp_path / "recipe.json"), "--model", str(golden_folder), "--json"]
    assert command_line([*command, "--device", "cpu", "--dtype", "float32"]) == 0
    assert [one["text"] for one in json.loads(capsys.readouterr().out)["sequences"]] == [text]


def test_the_example_prints_a_text_piece_by_piece_and_its_recipe(server, model, capsys):
    ask_a_server.main(server.address, "The cat")
    told, count, recipe = capsys.readouterr().out.rstrip("\n").rsplit("\n", 2)
    *_, finished = run(model, Recipe.from_json(recipe))
    assert told == "The cat" + finished.texts[0]
    assert count.startswith(f"{len(finished.token_ids[0])} tokens")


def test_the_page_and_the_api_live_at_one_address(server):
    page = httpx.get(server.address)
    assert page.headers["content-type"].startswith("text/html")
    assert re.search(r'"title": ?"Cola-DLM Explorer"', page.text)
    assert httpx.get(f"{server.address}/v1/models").json()["object"] == "list"
    assert httpx.get(f"{server.address}/v1/nothing").json()["error"]["code"] == "not_found"
    assert server.metric("coladlm_turns_total") > 0


def test_the_page_is_sent_packed_and_a_stream_is_not(server):
    with httpx.stream("GET", server.address) as page:
        sent = sum(len(part) for part in page.iter_raw())
        assert page.headers["content-encoding"] == "gzip"
    assert sent < 0.4 * len(httpx.get(server.address).content)
    with httpx.stream("POST", f"{server.address}/v1/completions", json={"max_tokens": 4, "stream": True}) as told:
        assert "content-encoding" not in told.headers
        assert "[DONE]" in "".join(told.iter_text())


@pytest.mark.parametrize("path", ["/", "/gradio_api/info", "/v1/models", "/health", "/nothing"])
def test_a_server_of_this_machine_alone_answers_to_its_own_names(server, path):
    other = httpx.get(server.address + path, headers={"Host": "evil.example"})
    assert other.status_code == 421 and other.json()["error"]["code"] == "unknown_host"
    port = server.address.rsplit(":", 1)[1]
    assert httpx.get(server.address + path, headers={"Host": f"localhost:{port}"}).status_code != 421


def test_a_preflight_gets_the_answer_of_the_api_and_not_that_of_the_page(server):
    asks = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{server.address}/v1/completions", headers=asks)
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "wrong_method"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_place_long_before_its_run_would_end(server, stream):
    left = server.metric(LEFT)
    with socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1]))) as connection:
        body = json.dumps(long_body(stream=stream)).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        until(lambda: server.metric("coladlm_running") == 1)
    until(lambda: server.metric("coladlm_running") == 0)
    assert server.metric(LEFT) == left + 1, "the run came to its end"


def test_a_gradio_client_that_goes_away_frees_its_place(server):
    client = Client(server.address, verbose=False)
    job = client.submit("x", max_new_tokens=1024, steps=128, stop_at_end=False, api_name="/generate")
    until(lambda: job.outputs())
    assert server.metric("coladlm_running") == 1
    job.cancel()
    until(lambda: server.metric("coladlm_running") == 0)


def test_a_short_request_overtakes_long_ones(server, openai, model):
    stop = threading.Event()

    def long():
        with httpx.stream("POST", f"{server.address}/v1/completions", json=long_body(stream=True), timeout=60) as told:
            for _ in told.iter_lines():
                if stop.is_set():
                    return

    threads = [threading.Thread(target=long) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: server.metric("coladlm_running") == 3)
    openai.completions.create(model=model.name, prompt="x", max_tokens=4, extra_body={"steps": 2}, timeout=60)
    assert server.metric("coladlm_running") == 3
    stop.set()
    for thread in threads:
        thread.join(60)


def test_whose_run_is_cut_off_by_the_end_hears_why(model):
    served = Served(model, Limits(), ApiOptions(), Options(quiet=True))
    try:
        job = Client(served.address, verbose=False).submit(
            "x", max_new_tokens=1024, steps=128, stop_at_end=False, api_name="/generate"
        )
        until(lambda: job.outputs())
    finally:
        served.end(grace=0)
    assert "shutting down" in str(job.exception(timeout=PATIENCE))


NO_SENSE = {
    "no places": (["--running", "0"], {}, "0 is too low"),
    "no port": (["--port", "70000"], {}, "70000 is too high, expected at most 65535"),
    "no port in the environment": ([], {"GRADIO_SERVER_PORT": "-1"}, "-1 is too low"),
    "no origin": (["--cors", "page.example"], {}, "'page.example', expected scheme, host and port"),
    "no key": (["--api-key", ""], {}, "the API key is empty"),
    "an empty key in the environment": ([], {"COLADLM_API_KEY": ""}, "COLADLM_API_KEY .* the API key is empty"),
}


@pytest.fixture(scope="module")
def script():
    """What app.py defines."""
    return runpy.run_path(str(ROOT / "app.py"))


@pytest.mark.parametrize("options, environment, message", NO_SENSE.values(), ids=NO_SENSE)
def test_options_that_make_no_sense_are_refused(script, monkeypatch, capsys, options, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        status = script["main"](options)
    except SystemExit as end:
        status = end.code
    assert status == 2 and re.search(message, capsys.readouterr().err)


def test_a_mistake_ends_the_program_with_status_2_and_a_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", "--running", "0"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    assert end.value.code == 2 and capsys.readouterr().err.rstrip().endswith("0 is too low, expected at least 1")


def test_the_options_of_the_page_reach_the_server(script, monkeypatch, golden_folder):
    """The ways of test_sub_path.py, which starts its server without a command line."""
    reached, threads = [], torch.get_num_threads()
    monkeypatch.setattr("app.server.serve", lambda *given: reached.append(given))
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/explorer")
    place = ["--checkpoint", str(golden_folder), "--device", "cpu", "--dtype", "float32", "--port", "7001"]
    try:
        assert script["main"]([*place, "--allowed-host", "explorer.example", "--running", "3", "--grace", "5"]) == 0
    finally:
        torch.set_num_threads(threads)
    ((_, many, _, options, grace, _),) = reached
    assert (options.root_path, options.names, options.port) == ("/explorer", ("explorer.example",), 7001)
    assert (many.running, grace) == (3, 5.0)


def test_the_options_of_the_api_are_read(script, monkeypatch):
    monkeypatch.delenv("COLADLM_API_KEY", raising=False)
    given = ["--cors", "https://a.example", "--cors", "http://localhost:3000", "--accept-any-model", "--max-texts", "3"]
    api = script["api_options"](script["parser"]().parse_args(given))
    assert api.origins == ("https://a.example", "http://localhost:3000")
    assert api.accept_any_model and api.limits.texts == 3 and api.api_key is None


def test_the_key_comes_from_the_option_and_else_from_the_environment_and_is_not_in_the_help(script, monkeypatch):
    monkeypatch.setenv("COLADLM_API_KEY", "from-the-environment")
    parser = script["parser"]()
    assert script["api_options"](parser.parse_args([])).api_key == "from-the-environment"
    assert script["api_options"](parser.parse_args(["--api-key", "given"])).api_key == "given"
    assert "from-the-environment" not in parser.format_help()


def test_sigterm_lets_a_run_end_refuses_new_ones_and_leaves_with_status_0(server):
    """The last test here: it ends the server of the others."""
    told = []

    def ask():
        body = long_body(max_tokens=64, stream=True)  # some seconds
        with httpx.stream("POST", f"{server.address}/v1/completions", json=body, timeout=60) as answer:
            told.extend(answer.iter_lines())

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: server.metric("coladlm_running") == 1)
    server.ask_to_end()
    until(lambda: not server.healthy())
    refused = httpx.post(f"{server.address}/v1/completions", json={"prompt": "x"}, timeout=PATIENCE)
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "shutting_down"
    assert server.end() == 0
    thread.join(20)
    assert [line for line in told if line][-1] == "data: [DONE]"
