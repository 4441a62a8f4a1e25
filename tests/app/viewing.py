"""Views of the page as tests look at them: run to their end without a registry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.shared.settings_panel import SETTINGS, values_of
from coladlm import SamplerSettings


class Viewer:
    """The context of a run: notes what the view shows outside of its iteration."""

    def __init__(self, visitor: str = "visitor", id_: str = "run-of-a-test") -> None:
        self.visitor, self.id, self.shown = visitor, id_, []

    def show(self, frame: Mapping[str, Any]) -> None:
        self.shown.append(frame)


def controls_of(settings: SamplerSettings | list[Any], **more: Any) -> dict[str, Any]:
    """The controls by name, with the settings or the raw values of their controls."""
    values = values_of(settings) if isinstance(settings, SamplerSettings) else settings
    names = ["seed", *(setting.name for setting in SETTINGS)]
    return {**more, "settings": dict(zip(names, values, strict=True))}


def parts_of(view: Callable[[Any, Mapping[str, Any]], Iterator[Mapping[str, Any]]], controls: Mapping[str, Any],
             context: Viewer | None = None) -> dict[str, Any]:  # fmt: skip
    """All parts as they stand at the end of a run."""
    context = context or Viewer()
    parts: dict[str, Any] = {}
    for frame in view(context, controls):
        parts |= frame
    for frame in context.shown:
        parts |= frame
    return parts


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls return that begin in the same moment, each in a thread of its own; raises what a call raises."""
    start = threading.Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        start.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))
