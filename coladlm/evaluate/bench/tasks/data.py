"""The questions of the eight tasks and the answers that come with them, from files of JSON lines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ....errors import describe
from ..results import ResultError

ENDINGS = (".jsonl", ".jsonl.xz")
Rule = Literal["first word", "choice", "text"]


class TaskDataError(ResultError):
    """A file is not one of a task; the message names the file, the line, what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class Task:
    """name: of its file. title: of its data set. asks: what an answer is. rule: by which it is scored. published:
    how many answers of the 2.3 B model there are, and how many of them are right.
    """

    name: str
    title: str
    asks: str
    rule: Rule
    published: tuple[int, int]


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("lambada", "LAMBADA", "the last word of a passage", "first word", (1000, 508)),
        Task("mmlu", "MMLU", "an exam question, 4 choices", "choice", (1000, 193)),
        Task("obqa", "OpenBookQA", "a school science question, 4 choices", "choice", (500, 115)),
        Task("hellaswag", "HellaSwag", "how a scene goes on, 4 choices", "text", (1000, 107)),
        Task("race", "RACE", "a question on an article, 4 choices", "choice", (1000, 196)),
        Task("siqa", "SocialIQA", "a question on people, 3 choices", "choice", (1000, 289)),
        Task("squad", "SQuAD", "a phrase of a paragraph", "text", (1000, 309)),
        Task("story_cloze", "StoryCloze", "how a story ends, 2 choices", "text", (468, 144)),
    )
}


@dataclasses.dataclass(frozen=True)
class Item:
    """A question. prompt: with the examples before it. choices: none where the answer is free. shipped: the answer
    that stands in the file.
    """

    prompt: str
    truth: str
    choices: tuple[str, ...]
    shipped: str


def read_tasks(folder: Path, names: Sequence[str] = tuple(TASKS)) -> dict[str, list[Item]]:
    """The items of some tasks, from NAME.jsonl or NAME.jsonl.xz in a folder, in the order of TASKS.

    Raises TaskDataError.
    """
    return {name: _read_task(folder, name) for name in TASKS if name in names}


def digest(items: Sequence[Item]) -> str:
    """Of the questions and their truths: equal where answers may be compared."""
    kept = [[item.prompt, item.truth, item.choices] for item in items]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def _read_task(folder: Path, name: str) -> list[Item]:
    files = [folder / f"{name}{ending}" for ending in ENDINGS]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise TaskDataError(f"{folder}: no {name}.jsonl and no {name}.jsonl.xz there, expected one of them")
    items = [_item(row, f"{file.name}, line {number}") for number, row in _rows(file)]
    if not items:
        raise TaskDataError(f"{file.name}: no line with a question, expected at least one")
    return items


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """The lines of a file as JSON, with their numbers from 1."""
    number = 0
    try:
        with lzma.open(file) if file.suffix == ".xz" else file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, json.loads(line.decode("utf-8"))
    except (lzma.LZMAError, EOFError) as error:
        raise TaskDataError(f"{file.name}: not whole xz data ({error}), expected xz-compressed JSON lines") from error
    except ValueError as error:  # of UTF-8 and of JSON
        raise TaskDataError(f"{file.name}, line {number}: {error}, expected a JSON object in UTF-8") from error


def _item(row: Any, where: str) -> Item:
    if not isinstance(row, dict):
        raise TaskDataError(f"{where}: {describe(row)}, expected a JSON object")
    texts = {"few_shot_prefix": "", **row}
    for field in ("prompt", "generate", "ground_truth", "few_shot_prefix"):
        if not isinstance(texts.get(field), str):
            found = describe(texts[field]) if field in texts else "not there"
            raise TaskDataError(f"{where}: {field} is {found}, expected a text")
    choices = row.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise TaskDataError(f"{where}: choices is {describe(choices)}, expected a list of texts")
    prompt = texts["few_shot_prefix"] + texts["prompt"]
    return Item(prompt, texts["ground_truth"], tuple(choices), texts["generate"])
