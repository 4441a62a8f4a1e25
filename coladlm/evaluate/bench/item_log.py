"""What a bench has finished so far, an item a line: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from .results import ResultError


class ItemLog:
    """Finished items in a file of JSON lines, the first of which says of what.

    head: everything that decides an item's result (model, settings, seeds, data), plain JSON. A file of another head
    is refused, never mixed. A last line that is cut off, as a kill leaves it, is dropped. For one process at a time.
    """

    def __init__(self, file: Path | None, head: Mapping[str, Any]):
        """file: None keeps the items in memory alone. Raises ResultError where the file is of something else."""
        self.items: dict[str, Any] = {}
        self._opened: TextIO | None = None
        if file is None:
            return
        wanted = json.loads(json.dumps(dict(head)))
        kept = self._read(file, wanted) if file.exists() else ""
        file.parent.mkdir(parents=True, exist_ok=True)
        if kept:
            os.truncate(file, len(kept.encode()))
        self._opened = file.open("a" if kept else "w", encoding="utf-8", newline="\n")
        if not kept:
            self._write({"head": wanted})

    def _read(self, file: Path, wanted: Mapping[str, Any]) -> str:
        """The whole lines of the file, whose items are kept."""
        whole = _whole_lines(file)
        if not whole:
            return ""
        head, items = _parsed(whole, file)
        if head != wanted:
            name = next(name for name in {**head, **wanted} if head.get(name) != wanted.get(name))
            raise ResultError(
                f"{file}: the items there have {name} {json.dumps(head.get(name))[:200]}, expected "
                f"{json.dumps(wanted.get(name))[:200]}: give another file, or delete it to begin anew"
            )
        self.items = items
        return whole

    def _write(self, data: Mapping[str, Any]) -> None:
        if self._opened is not None:
            self._opened.write(json.dumps(data, ensure_ascii=False) + "\n")
            self._opened.flush()

    def add(self, key: str, item: Any) -> None:
        """Keeps a finished item, plain JSON, on the disk at once."""
        self.items[key] = item
        self._write({"key": key, "item": item})

    def __contains__(self, key: str) -> bool:
        return key in self.items

    def __getitem__(self, key: str) -> Any:
        return self.items[key]

    def __enter__(self) -> ItemLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._opened is not None:
            self._opened.close()


def merged(files: Sequence[Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The common head and all items of the logs of several processes. Raises ResultError where the heads differ."""
    head: dict[str, Any] | None = None
    items: dict[str, Any] = {}
    for file in files:
        if not file.is_file():
            raise ResultError(f"{file}: not there, expected a log of the bench")
        whole = _whole_lines(file)
        if not whole:
            raise ResultError(f"{file}: empty, expected a log of the bench")
        own, found = _parsed(whole, file)
        if head is not None and own != head:
            name = next(name for name in {**own, **head} if own.get(name) != head.get(name))
            raise ResultError(f"{file}: {name} is {json.dumps(own.get(name))[:200]}, expected "
                              f"{json.dumps(head.get(name))[:200]} as in {files[0]}")  # fmt: skip
        head = own
        items |= found
    if head is None:
        raise ResultError("there are no logs to merge, expected at least one")
    return head, items


def _whole_lines(file: Path) -> str:
    text = file.read_bytes().decode("utf-8", errors="ignore")  # a cut off line may end within a character
    return text[: text.rfind("\n") + 1]


def _parsed(whole: str, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and items. Raises ResultError."""
    try:
        lines = [json.loads(line) for line in whole.split("\n")[:-1]]
        return dict(lines[0]["head"]), {line["key"]: line["item"] for line in lines[1:]}
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{file}: not a log of the bench ({error}), expected a new file or one of its own") from error
