"""Random inputs for every way in: a result or a clear refusal, no traceback, no hang, nothing left behind.

    python -m benchmarks.fuzz [--checkpoint FOLDER] [--inputs 20000] [--seed 0]

Prints how many inputs of each kind gave a result and how many were refused, and stops at the first that did neither,
with the kind and the seed that repeat it. The tests run hundreds of them. Each input depends on (kind, seed) alone.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import logging
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.likelihood import likelihood_of
from app.api.openai_api import ApiOptions, OpenAIApi
from app.api.operations import decode_latents, encode_text, invert_texts, replay_recipe
from app.api.parsed_request import RequestLimits
from app.edit.api import edit_text
from app.generate.api import generate_text
from app.interpolate.api import interpolate_texts
from app.map.text_files import read_texts
from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.serve import Scheduler
from coladlm.trace import Trace

LIMITS = RequestLimits(new_tokens=24, steps=4, texts=2, variations=2, prompt=64, body=1 << 16)
MOST_SECONDS = 30.0  # for one input, on a busy machine
REFUSALS = (gr.Error, ValueError)

ODD_TEXTS = ("", " ", "\n\n", "\0", "\ufeff", "\ud800", "é" * 20, "日本語", "🦊👩‍👩‍👧", "<b>&amp;", "<|endoftext|>",
             "a" * 700, "../../etc/passwd", "{'a': 1}", "\u202eabc", "%s%n", "Once upon a time")  # fmt: skip
ODD_NUMBERS = (0, 1, -1, 2, 3, 7, 0.5, 1e-300, 1e300, -0.0, 2**31, 2**53 + 1, 2**63, 10**30, True, None)
FIELDS = ("model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stream",
          "stream_options", "stop", "seed", "logprobs", "top_logprobs", "echo", "best_of", "steps", "guidance",
          "solver", "history", "time_grid", "time_shift", "stagger", "stochasticity", "guidance_interval",
          "repetition_penalty", "top_k", "stop_at_end", "tools", "response_format", "user", "logit_bias", "metadata",
          "reasoning_effort", "towards", "pull", "pull_low", "pull_high", "negative")  # fmt: skip


class Fault(AssertionError):
    """An input gave neither a result nor a clear refusal."""


def odd_text(draw: random.Random) -> str:
    """A text that somebody might send."""
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(ODD_TEXTS)
    if kind < 0.7:
        return " ".join(
            draw.choices(("the", "cat", "sat", "on", "a", "big", "red", "mat", ".", "Lily"), k=draw.randint(1, 12))
        )
    return "".join(chr(draw.choice((draw.randint(32, 126), draw.randint(0, 0x2FFF), draw.randint(0, 0x10FFFF))))
                   for _ in range(draw.randint(0, 12)))  # fmt: skip


def odd_value(draw: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold."""
    kind = draw.randrange(6 if depth < 3 else 4)
    if kind == 0:
        return draw.choice(ODD_NUMBERS)
    if kind == 1:
        return odd_text(draw)
    if kind == 2:
        return draw.uniform(-10, 10)
    if kind == 3:
        return draw.choice((True, False, None, [], {}))
    if kind == 4:
        return [odd_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {odd_text(draw)[:20]: odd_value(draw, depth + 1) for _ in range(draw.randrange(4))}


def quick_settings(draw: random.Random) -> dict[str, Any]:
    """Settings of a run that takes no time, now and then with a value of any kind."""
    given = {
        "steps": draw.randint(1, 3),
        "max_new_tokens": draw.randint(1, 8),
        "seed": draw.randrange(2**40),
        "temperature": draw.choice((0, 0.7, 1.5)),
        "guidance": draw.choice((1, 2, 7.5)),
        "top_k": draw.choice((0, 5)),
    }
    names = [field.name for field in dataclasses.fields(SamplerSettings)]
    while draw.random() < 0.35:
        given[draw.choice(names)] = odd_value(draw)
    return given


def odd_recipe(draw: random.Random) -> Any:
    """A recipe, mostly near a good one."""
    recipe: dict[str, Any] = {
        "operation": draw.choice(("generate", "interpolate", "edit", "invert")),
        "texts": [odd_text(draw) for _ in range(draw.randint(1, 3))],
        "settings": quick_settings(draw),
        "options": draw.choice(({}, {"stops": 3}, {"start": 0, "end": 1}, {"start": 1, "end": draw.randint(0, 9)})),
    }
    while draw.random() < 0.3:
        recipe[draw.choice((*recipe, "variations", "model", "version", "more"))] = odd_value(draw)
    return recipe if draw.random() < 0.95 else odd_value(draw)


def damaged(draw: random.Random, data: bytes) -> bytes:
    """Bytes with some of them changed, lost or repeated."""
    data = bytearray(data)
    for _ in range(draw.randint(0, 6)):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(4)
        if kind == 0 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + draw.randint(1, 40)]
        else:
            data[at:at] = draw.randbytes(draw.randint(1, 20))
    return bytes(data)


class Attack:
    """Runs inputs against everything that takes input. A method is a kind; it returns "result" or "refused"."""

    def __init__(self, model: ColaDLM, scheduler: Scheduler, folder: Path) -> None:
        self.model, self.scheduler, self.folder, self.baseline = model, scheduler, folder, BundledBaseline()
        self.client = TestClient(Starlette(routes=OpenAIApi(lambda: model, scheduler, ApiOptions(LIMITS)).routes()))
        recipe = Recipe("generate", ("The cat",), SamplerSettings(steps=2, max_new_tokens=6))
        record = recorder(recipe)
        for _ in record.watch(run(model, recipe)):
            pass
        record.trace().save(folder / "trace.npz")
        self.trace = (folder / "trace.npz").read_bytes()
        self.kinds: dict[str, Callable[[random.Random], str]] = {
            "body": self.body, "broken body": self.broken_body, "prompt": self.prompt, "recipe": self.recipe,
            "link": self.link, "interpolate": self.interpolate, "edit": self.edit, "latents": self.latents,
            "likelihood": self.likelihood, "trace": self.trace_file, "texts": self.text_file,
        }  # fmt: skip

    # OpenAI's API

    def body(self, draw: random.Random) -> str:
        chat = draw.random() < 0.4
        body = {**quick_settings(draw), "max_tokens": draw.randint(1, 8)}
        body.pop("max_new_tokens", None)
        note = odd_text(draw)
        body |= {"messages": [{"role": "user", "content": note}]} if chat else {"prompt": note}
        if draw.random() < 0.3:
            body |= {"stream": True, "n": draw.randint(1, 3), "stop": [odd_text(draw)[:5]]}
        while draw.random() < 0.4:
            body[draw.choice(FIELDS) if draw.random() < 0.9 else odd_text(draw)] = odd_value(draw)
        return self._post(chat, json.dumps(body).encode())

    def broken_body(self, draw: random.Random) -> str:
        good = json.dumps({"prompt": odd_text(draw), "max_tokens": 3, "steps": 1}).encode()
        wild = (draw.randbytes(draw.randrange(200)), b"[" * 5000, b"9" * 6000, b'{"n": 1e999}')
        choices = (*[damaged(draw, good)] * 5, *wild, json.dumps(odd_value(draw)).encode())
        return self._post(draw.random() < 0.2, draw.choice(choices))

    def _post(self, chat: bool, content: bytes) -> str:
        path, headers = "/v1/chat/completions" if chat else "/v1/completions", {"Content-Type": "application/json"}
        answer = self.client.post(path, content=content, headers=headers)
        if answer.status_code == 200:
            streamed = answer.headers["content-type"].startswith("text/event-stream")
            if streamed and not answer.text.endswith("data: [DONE]\n\n"):
                raise Fault(f"a stream without an end: {answer.text[-200:]!r}")
            if not streamed and not answer.json()["choices"]:
                raise Fault("an answer without a choice")
            return "result"
        error = answer.json().get("error", {})
        if not 400 <= answer.status_code < 500 or not error.get("message"):
            raise Fault(f"status {answer.status_code}: {answer.text[:300]}")
        return "refused"

    # the endpoints and the page's own

    def prompt(self, draw: random.Random) -> str:
        prompt = odd_text(draw) if draw.random() < 0.9 else odd_value(draw)
        return self._last(generate_text(self.model, self.scheduler, prompt, quick_settings(draw)))

    def recipe(self, draw: random.Random) -> str:
        if draw.random() < 0.1:
            options = {"iterations": odd_value(draw), "using": "exact"}
            return self._last(invert_texts(self.model, self.scheduler, [odd_text(draw)], options, {"steps": 2}))
        return self._last(replay_recipe(self.model, self.scheduler, odd_recipe(draw)))

    def link(self, draw: random.Random) -> str:
        word = Recipe("generate", ("The cat",), SamplerSettings(steps=1, max_new_tokens=2)).to_url()
        word = damaged(draw, word.encode()).decode("latin-1")
        return self._last(replay_recipe(self.model, self.scheduler, Recipe.from_url(word).to_dict()))

    def interpolate(self, draw: random.Random) -> str:
        texts = [odd_text(draw) for _ in range(draw.randint(1, 3))]
        options = {"road": draw.choice(("through_flow", "decoder_only", "noise_to_noise", "prompt_to_prompt")),
                   "stops": draw.choice((2, 3, 3, odd_value(draw)))}  # fmt: skip
        if draw.random() < 0.4:
            options[draw.choice(("renoise", "profile", "align", "weights", "more"))] = odd_value(draw)
        return self._last(interpolate_texts(self.model, self.scheduler, texts, options, quick_settings(draw)))

    def edit(self, draw: random.Random) -> str:
        method = draw.choice(("anew", "renoise", "direction", "mix", "component"))
        options = {"method": method, "start": draw.choice((0, 1, odd_value(draw))),
                   "end": draw.choice((1, 2, 5, odd_value(draw)))}  # fmt: skip
        if draw.random() < 0.5:
            options[draw.choice(("strength", "strengths", "renoise", "follow", "direction", "first", "component"))] = (
                odd_value(draw)
            )
        texts = [odd_text(draw)] + ([odd_text(draw)] if method == "mix" else [])
        return self._last(
            edit_text(
                self.model, self.scheduler, texts, options, draw.choice((1, 2, odd_value(draw))), quick_settings(draw)
            )
        )

    def latents(self, draw: random.Random) -> str:
        if draw.random() < 0.5:
            encode_text(self.model, self.scheduler, odd_text(draw) if draw.random() < 0.9 else odd_value(draw))
            return "result"
        rows = [[draw.gauss(0, 1) for _ in range(self.model.latent_dim)] for _ in range(draw.randint(1, 9))]
        if draw.random() < 0.5:
            rows[draw.randrange(len(rows))][0] = odd_value(draw)
        decode_latents(self.model, self.scheduler, rows if draw.random() < 0.9 else odd_value(draw))
        return "result"

    def likelihood(self, draw: random.Random) -> str:
        given: dict[str, Any] = {"order": draw.choice(("tokens", "blocks")), "draws": 2, "guidance": 1.0, "seed": 0}
        if draw.random() < 0.6:
            given[draw.choice(list(given))] = odd_value(draw)
        text, context = (odd_text(draw)[:12] if draw.random() < 0.9 else odd_value(draw) for _ in range(2))
        ended = draw.choice((True, False, False, odd_value(draw)))
        return self._last(likelihood_of(self.model, self.scheduler, self.baseline, text, context, ended, given))

    def _last(self, values: Iterator[Any]) -> str:
        for value in values:
            json.dumps(value, allow_nan=False)
        return "result"

    # files

    def trace_file(self, draw: random.Random) -> str:
        data = damaged(draw, self.trace) if draw.random() < 0.8 else draw.randbytes(draw.randrange(3000))
        Trace.load(io.BytesIO(data), 1 << 24)
        return "result"

    def text_file(self, draw: random.Random) -> str:
        kind = draw.choice((".txt", ".csv", ".tsv", ".jsonl"))
        lines = [
            json.dumps({"text": odd_text(draw)}) if kind == ".jsonl" else odd_text(draw)
            for _ in range(draw.randrange(6))
        ]
        path = self.folder / f"texts{kind}"
        path.write_bytes(damaged(draw, "\n".join(lines).encode("utf-8", "surrogatepass")))
        try:
            read_texts(path)
        finally:
            path.unlink()
        return "result"

    # one input

    def once(self, kind: str, seed: int) -> str:
        """One input of a kind. Raises Fault where it is answered wrongly or too late."""
        draw, begun = random.Random(f"{kind} {seed}"), time.monotonic()
        try:
            found = self.kinds[kind](draw)
        except Fault as fault:
            raise Fault(f"{kind} {seed}: {fault}") from fault
        except REFUSALS as error:
            found = "refused"
            note = str(error.message if isinstance(error, gr.Error) else error)
            if not note.strip() or "Traceback" in note:
                raise Fault(f"{kind} {seed}: refused without a word ({error!r})") from error
        except Exception as error:
            raise Fault(f"{kind} {seed}: {type(error).__name__}: {error}") from error
        if time.monotonic() - begun > MOST_SECONDS:
            raise Fault(f"{kind} {seed}: took {time.monotonic() - begun:.0f} s, expected at most {MOST_SECONDS:.0f}")
        return found


@contextlib.contextmanager
def nothing_left_behind(scheduler: Scheduler, folder: Path) -> Iterator[None]:
    """Fails for requests that still hold a place, for threads, files and logged errors that were not there before."""
    threads, files, errors = set(threading.enumerate()), set(os.listdir(folder)), []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if errors:
        raise Fault(f"errors in the log: {errors[:3]}")
    if any(scheduler.numbers().values()):
        raise Fault(f"requests are left: {scheduler.numbers()}")
    grown = {t.name for t in threading.enumerate()} - {t.name for t in threads} - {"model"}
    grown = {name for name in grown if "AnyIO" not in name and "asyncio" not in name and "portal" not in name}
    if grown or set(os.listdir(folder)) != files:
        raise Fault(f"left behind: threads {grown}, files {set(os.listdir(folder)) - files}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tests/fixtures/golden", help="folder or Hub id")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(options.checkpoint)
    scheduler, counts = Scheduler(), {}
    with tempfile.TemporaryDirectory() as name:
        attack = Attack(model, scheduler, Path(name))
        kinds = list(attack.kinds)
        with nothing_left_behind(scheduler, Path(name)):
            for i in range(options.inputs):
                kind = kinds[i % len(kinds)]
                found = attack.once(kind, options.seed + i // len(kinds))
                row = counts.setdefault(kind, {"result": 0, "refused": 0})
                row[found] += 1
    print("| kind | results | refused |\n|---|---|---|")
    for kind, row in counts.items():
        print(f"| {kind} | {row['result']} | {row['refused']} |")
    scheduler.close(grace=0)


if __name__ == "__main__":
    main()
