"""Plays a recipe on the terminal: progress on stderr, the text on stdout, Ctrl-C ends it and keeps what there is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from ..model import ColaDLM
from ..recipe import Recipe
from ..run import check_model, prompts, run
from ..sampling.events import BlockDone, Finished, Step
from ..sampling.sentences import last_sentence_end
from ..trace import STOPPED


class Watcher(Protocol):
    """Passes the events of a run on, and sees them all."""

    def watch(self, events: Generator[object]) -> Generator[object]: ...


@dataclasses.dataclass
class Played:
    """The result of a run: for each sequence its prompt, its answer and why it ended."""

    prompts: list[str]
    texts: list[str]
    reasons: list[str]
    tokens: list[int | None]
    seconds: float = 0.0

    @property
    def stopped(self) -> bool:
        return STOPPED in self.reasons

    def to_dict(self, model: ColaDLM, recipe: Recipe) -> dict[str, Any]:
        """What `--json` prints."""
        rows = zip(self.prompts, self.texts, self.reasons, self.tokens, strict=True)
        return {
            "model": {"name": model.name, "fingerprint": model.fingerprint},
            "recipe": recipe.to_dict(),
            "sequences": [dict(zip(("prompt", "text", "reason", "tokens"), row, strict=True)) for row in rows],
            "seconds": round(self.seconds, 3),
        }


def play(model: ColaDLM, recipe: Recipe, as_json: bool = False, recorder: Watcher | None = None) -> Played:
    """Runs a recipe and shows it. A single text appears as it is written; with `as_json` nothing goes to stdout."""
    if warning := check_model(model, recipe):
        print(warning, file=sys.stderr)
    events = run(model, recipe)
    events = recorder.watch(events) if recorder else events
    played = _unwritten(recipe)
    stream = _Stream(played.prompts[0]) if len(played.prompts) == 1 and not as_json else None
    progress = _Progress(shown=sys.stderr.isatty() and not (stream and sys.stdout.isatty()))
    start = time.monotonic()
    with _until_interrupted() as interrupted, progress, contextlib.closing(events):
        for event in events:
            match event:
                case Step():
                    progress.show(f"block {event.block + 1}, step {event.index + 1} of {event.steps}")
                case BlockDone():
                    played.texts = list(event.texts)
                    if stream:
                        progress.clear()
                        stream.show(_certain(event.texts[0], recipe))
                case Finished():
                    played.texts, played.reasons = list(event.texts), list(event.reasons)
                    played.tokens = [len(ids) for ids in event.token_ids]
            if interrupted():
                break
    played.seconds = time.monotonic() - start
    if stream:
        stream.end(played.texts[0])
    elif not as_json:
        for number, (prompt, text) in enumerate(zip(played.prompts, played.texts, strict=True), 1):
            print(f"[{number} of {len(played.texts)}]\n{prompt}{text}\n")
    if played.stopped:
        print("Stopped: this is what there was.", file=sys.stderr)
    return played


def print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _unwritten(recipe: Recipe) -> Played:
    starts = prompts(recipe)
    return Played(starts, [""] * len(starts), [STOPPED] * len(starts), [None] * len(starts))


@contextlib.contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C was pressed. Once: the step is finished first; twice: it is not."""
    pressed = False

    def press(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _certain(text: str, recipe: Recipe) -> str:
    """What of a text that is under way will stand in the end, too."""
    return text[: last_sentence_end(text, going_on=True)] if recipe.settings.whole_sentences else text


class _Stream:
    """One text on stdout, as it grows."""

    def __init__(self, prompt: str):
        self.shown = ""
        print(prompt, end="", flush=True)

    def show(self, text: str) -> None:
        text = text.rstrip("\ufffd")  # the bytes of a character whose rest is still to come
        if text.startswith(self.shown):
            print(text[len(self.shown) :], end="", flush=True)
            self.shown = text

    def end(self, text: str) -> None:
        """What is left; the whole text once more if it is another one than was shown, as some tokenizers join words."""
        print(text[len(self.shown) :] if text.startswith(self.shown) else f"\n\n{text}")


class _Progress:
    """One line on stderr that is written over, at most ten times a second, and leaves nothing behind."""

    def __init__(self, shown: bool):
        self.shown, self.start, self.last = shown, time.monotonic(), 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self.shown and now - self.last >= 0.1:
            self.last = now
            print(f"\r\x1b[K{text}, {now - self.start:.1f} s", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
