"""What the visitors of `benchmarks.visitors` ask for: runs of the page by id, OpenAI's completions, and Gradio's API.

A request is asked with `answer_of`, which gives the same string for the same result.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

from app.shared.settings_panel import SETTINGS, values_of
from coladlm import SamplerSettings

REPLAY = "/gradio_api/call/replay"
COMPLETIONS = "/v1/completions"
PROMPTS = ("Once upon a time", "The cat sat on the", "Tom and Lily went to the beach. They found", "One day,")
ENDS = {"1": "The sun was warm.", "2": "The night was cold."}
SENTENCE = "The cat slept on the big red bed."
UNSHOWN = ("progress", "kept")  # parts of a run that hold times and names of this very run


class UnknownViewError(ValueError):
    """The server has no such view."""


@dataclasses.dataclass(frozen=True)
class Ask:
    """A request. kind: what the table calls it. path: of the endpoint; of a run "/runs/", and `body` names its view.

    then: the body of a second run, which looks into the first: its control `kept` or `card` is filled in.
    """

    kind: str
    path: str
    body: str
    then: str = ""

    @property
    def is_run(self) -> bool:
        return self.path == "/runs/"


def requests_of(seed: int = 0) -> list[Ask]:
    """The fixed set: runs of every tab, short and long texts, whole and streamed, of two flows, and operations."""
    draw = random.Random(seed)
    return [*_runs(draw), *_second_runs(), *_sweeps(), *_completions(draw), *_operations()]


def _runs(draw: random.Random) -> list[Ask]:
    asks = []
    for seed in range(6):
        settings = _settings(seed=seed, steps=8, max_new_tokens=(16, 32, 96)[seed % 3])
        one = {"prompt": draw.choice(PROMPTS), "settings": settings}
        asks.append(_run("generate", one | {"variations": 1}))
        if seed % 2:
            asks.append(_run("generate", one | {"variations": 3, "settings": settings | {"max_new_tokens": 16}}))
            continue
        asks.append(_run("trajectories", one | {"add": False, "chosen": []}))
        options = {"road": "decoder_only", "stops": 5, "before": "", "align": "pad"}
        asks.append(_run("interpolate", {"count": 2, "texts": ENDS, "options": options, "settings": settings}))
        options = {"method": "renoise", "strength": 60, "values": 1, "follow": 0, "candidates": 2}
        picker = {"text": SENTENCE, "start": 1, "end": 3}
        asks.append(_run("edit", {"text": SENTENCE, "picker": picker, "options": options, "settings": settings}))
    return asks


def _second_runs() -> list[Ask]:
    """Runs that begin with what another has made: A and B, decoded again, the baseline, a branch."""
    settings = _settings(seed=1, steps=8, max_new_tokens=16)
    first = json.dumps({"view": "generate", "controls": {"prompt": PROMPTS[0], "variations": 1, "settings": settings}})
    on_map = {"prompt": PROMPTS[0], "add": False, "chosen": [], "settings": settings}
    choice = {"temperature": 0.5, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.1}
    folds = {
        "ab": {"settings": settings | {"guidance": 3.0}},
        "again": choice,
        "baseline": {"temperature": 0.8, "top_p": 0.9},
    }
    asks = [Ask(f"run, then {view}", "/runs/", first, json.dumps({"view": view, "controls": controls}))
            for view, controls in folds.items()]  # fmt: skip
    branch = {"noise": "other", "seed": 2, "guidance": 2.0, "steps": 8, "chosen": []}
    first = json.dumps({"view": "trajectories", "controls": on_map})
    return [*asks, Ask("run, then branch", "/runs/", first, json.dumps({"view": "branch", "controls": branch}))]


def _sweeps() -> list[Ask]:
    axes = {"down": {"setting": "guidance", "values": "1, 3"}, "across": {"setting": "seed", "values": "1, 2"}}
    settings = _settings(steps=8, max_new_tokens=16)
    return [_run("sweep", {"prompt": PROMPTS[1], "settings": settings, **axes})]


def _completions(draw: random.Random) -> list[Ask]:
    asks = []
    for index in range(12):
        long = index % 4 == 3
        body = {
            "prompt": draw.choice(PROMPTS),
            "max_tokens": 128 if long else draw.choice((16, 32)),
            "seed": index,
            "stream": index % 3 == 0,
            "temperature": draw.choice((0.0, 0.8)),
            "steps": (8, 16)[index % 5 == 0],
        }
        asks.append(Ask("long completion" if long else "short completion", COMPLETIONS, json.dumps(body)))
    return asks


def _operations() -> list[Ask]:
    asks = []
    for index in range(3):
        settings = {"seed": index, "steps": 8}
        path = {"operation": "interpolate", "texts": list(ENDS.values()), "options": {"stops": 5},
                "settings": settings}  # fmt: skip
        edit = {"operation": "edit", "texts": [SENTENCE], "variations": 2, "options": {"start": 1, "end": 3},
                "settings": settings}  # fmt: skip
        asks += [Ask(f"{one['operation']} over the API", REPLAY, json.dumps({"data": [one]})) for one in (path, edit)]
    return asks


def _run(view: str, controls: dict[str, Any]) -> Ask:
    return Ask(f"run of {view}", "/runs/", json.dumps({"view": view, "controls": controls}))


def _settings(**changes: Any) -> dict[str, Any]:
    """The values of the settings panel, by the names of its controls."""
    names = ["seed", *(setting.name for setting in SETTINGS)]
    return dict(zip(names, values_of(SamplerSettings(**changes)), strict=True))


async def answer_of(client: httpx.AsyncClient, ask: Ask, stop_after: float | None = None) -> str | None:
    """What came of a request. stop_after: seconds after which a run is stopped, as by its button; then None.

    Raises httpx.HTTPError, and ValueError for what is no answer.
    """
    if ask.is_run:
        parts = await _run_to_its_end(client, ask.body, stop_after)
        if parts is not None and ask.then:
            parts = await _run_to_its_end(client, _filled_in(ask.then, parts), None)
        return None if parts is None else canonical(parts)
    answer = await client.post(ask.path, content=ask.body, headers={"Content-Type": "application/json"})
    _check(answer)
    if ask.path == REPLAY:
        return await _replayed(client, answer.json()["event_id"])
    if answer.headers["content-type"].startswith("text/event-stream"):
        parts = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        if parts[-1] != "[DONE]":
            raise ValueError(f"the stream ended with {parts[-1][:200]}")
        return "".join(json.loads(part)["choices"][0]["text"] for part in parts[:-1])
    return answer.json()["choices"][0]["text"]


async def _replayed(client: httpx.AsyncClient, event: str) -> str:
    told = (await client.get(f"{REPLAY}/{event}")).text
    last = told.strip().split("\n\n")[-1]
    if not last.startswith("event: complete"):
        raise ValueError(f"the call ended with {last[:200]}")
    return json.dumps(json.loads(last.split("data: ", 1)[1])[0])


def _filled_in(body: str, first: dict[str, Any]) -> str:
    """The body of a second run with what it needs of the parts of the first."""
    request = json.loads(body)
    point = {"run": first["id"], "block": 0, "step": 2, "place": 0}
    request["controls"] |= {"card": {"point": point}} if request["view"] == "branch" else {"kept": first["kept"]}
    return json.dumps(request)


async def _run_to_its_end(client: httpx.AsyncClient, body: str, stop_after: float | None) -> dict[str, Any] | None:
    """The parts of a run at its end, None if it was stopped."""
    url = f"/runs/{secrets.token_urlsafe(16)}"
    answer = await client.put(url, content=body, headers={"Content-Type": "application/json"})
    if answer.status_code == 400 and "no view" in answer.text:
        raise UnknownViewError(answer.text)
    _check(answer)
    parts: dict[str, Any] = {}
    until = None if stop_after is None else time.monotonic() + stop_after
    async for kind, data in _events(client, f"{url}/events"):
        if kind == "end":
            if data["outcome"] not in ("done", *(["stopped"] if until else [])):
                raise ValueError(f"the run ended: {data}")
            parts["id"] = url.rsplit("/", 1)[1]
            return parts if data["outcome"] == "done" else None
        parts = data["parts"] if kind == "snapshot" else merged(parts, data["parts"])
        if until is not None and time.monotonic() > until:
            _check(await client.delete(url))
    raise ValueError("the stream of a run broke off")


async def _events(client: httpx.AsyncClient, url: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(kind, data) of the events of a run."""
    async with client.stream("GET", url) as answer:
        if answer.status_code != 200:
            await answer.aread()
            _check(answer)
        kind = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))
                await asyncio.sleep(0)


def merged(value: Any, patch: dict[str, Any]) -> Any:
    """A value with a patch of app/runs/deltas.py applied, as `mergePatch` of the browser does it."""
    if "$set" in patch:
        return patch["$set"]
    if "$append" in patch:
        return value + patch["$append"]
    if "$items" in patch:
        items = list(value)
        for index, change in sorted((int(index), change) for index, change in patch["$items"].items()):
            items[index:] = [merged(items[index] if index < len(items) else None, change), *items[index + 1 :]]
        return items
    return {**value, **{key: merged(value.get(key), change) for key, change in patch.items()}}


def canonical(parts: dict[str, Any]) -> str:
    """What a run shows at its end, as {"recipe", "texts"}; "shown" in place of texts where it shows none as such.

    Confidences are left out: in float32 they differ in the last digit between batches of different sizes.
    """
    link, texts = parts.get("link"), texts_of(parts)
    answer = {"recipe": link["recipe"] if link else None, "texts": texts}
    if "flow" in parts:  # its words: where points lie differs in the last digit, as confidences do
        states = [json.loads(line) for line in parts["flow"]["lines"].splitlines()]
        answer["shown"] = ["".join(one["words"]) for one in states if one["is"] == "state" and one["last"]]
    elif texts is None:
        shown = {name: value for name, value in parts.items() if name not in (*UNSHOWN, "id")}
        answer["shown"] = re.sub(r"-?\d+(\.\d+)?", "", json.dumps(shown, sort_keys=True).replace(parts["id"], ""))
    return json.dumps(answer)


def texts_of(parts: dict[str, Any]) -> list[str] | None:
    """The texts that a run shows; None for one that shows none as such."""
    rows = parts.get("rows") or {}
    if rows.get("rows"):
        return [row["text"].strip() for row in rows["rows"]]
    if "strip" not in parts:
        return None
    lines = [json.loads(line) for line in parts["strip"]["settled"].splitlines() if line]
    return ["".join(text for line in lines for text, _, special in line if not special).strip()]


def _check(answer: httpx.Response) -> None:
    if answer.status_code not in (200, 201):
        raise ValueError(f"status {answer.status_code}: {answer.text[:200]}")
