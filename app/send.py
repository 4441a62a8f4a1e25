"""Sending: a text goes from one tab to another, which opens with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr

QUICK = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


class Sender(NamedTuple):
    """What sends a text. event: registers a listener, such as `button.click`. to: the name of a tab. source: the
    component whose value is the text; None where the event itself brings it, as `text`.
    """

    event: Callable[..., Any]
    to: str
    source: gr.components.Component | None = None


class ListSender(NamedTuple):
    """What sends two lists of texts, the ends of a direction. event, to: see Sender. first, second: their states."""

    event: Callable[..., Any]
    to: str
    first: gr.State
    second: gr.State


class Ways(NamedTuple):
    """How texts leave a tab and come in. take: (text, values of `inputs`) -> values for `outputs`; None where no text
    comes in. take_lists: (first list, second list) -> values for `list_outputs`, likewise.
    """

    take: Callable[..., Sequence[Any]] | None = None
    inputs: Sequence[Any] = ()
    outputs: Sequence[Any] = ()
    sends: Sequence[Sender] = ()
    take_lists: Callable[[list[str], list[str]], Sequence[Any]] | None = None
    list_outputs: Sequence[Any] = ()
    list_sends: Sequence[ListSender] = ()


def connect(tabs: gr.Tabs, ways: Mapping[str, Ways | None]) -> None:
    """Connects all senders of the tabs, named as in `ways`, with where they send to."""
    for way in ways.values():
        for sender in way.sends if way else ():
            target = ways.get(sender.to)
            if target is not None and target.take is not None:
                _connect(tabs, sender, target)
        for sender in way.list_sends if way else ():
            target = ways.get(sender.to)
            if target is not None and target.take_lists is not None:
                _connect_lists(tabs, sender, target)


def _connect(tabs: gr.Tabs, sender: Sender, target: Ways) -> None:
    def deliver(text: str, *values: Any) -> list[Any]:
        return [gr.Tabs(selected=sender.to), *target.take(text, *values)]

    def deliver_own(event: gr.EventData, *values: Any) -> list[Any]:
        return deliver(event.text, *values)

    handler, inputs = (deliver_own, []) if sender.source is None else (deliver, [sender.source])
    _opened(sender.event(handler, [*inputs, *target.inputs], [tabs, *target.outputs], **QUICK))


def _connect_lists(tabs: gr.Tabs, sender: ListSender, target: Ways) -> None:
    def deliver(first: list[str], second: list[str]) -> list[Any]:
        return [gr.Tabs(selected=sender.to), *target.take_lists(first, second)]

    _opened(sender.event(deliver, [sender.first, sender.second], [tabs, *target.list_outputs], **QUICK))


def _opened(sent: Any) -> None:
    sent.then(None, None, None, js="() => { window.scrollTo(0, 0); return []; }", api_visibility="private")
