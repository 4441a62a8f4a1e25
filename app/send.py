"""Sending: a text goes from one tab to another, which opens with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr


class Sender(NamedTuple):
    """What sends a text. event: registers a listener, such as `button.click`. to: the name of a tab. source: the
    component whose value is the text; None where the event itself brings it, as `text`.
    """

    event: Callable[..., Any]
    to: str
    source: gr.components.Component | None = None


class Ways(NamedTuple):
    """How texts leave a tab and come in. take: (text, values of `inputs`) -> values for `outputs`; None where no text
    comes in.
    """

    take: Callable[..., Sequence[Any]] | None = None
    inputs: Sequence[Any] = ()
    outputs: Sequence[Any] = ()
    sends: Sequence[Sender] = ()


def connect(tabs: gr.Tabs, ways: Mapping[str, Ways | None]) -> None:
    """Connects all senders of the tabs, named as in `ways`, with where they send to."""
    for way in ways.values():
        for sender in way.sends if way else ():
            target = ways.get(sender.to)
            if target is not None and target.take is not None:
                _connect(tabs, sender, target)


def _connect(tabs: gr.Tabs, sender: Sender, target: Ways) -> None:
    def deliver(text: str, *values: Any) -> list[Any]:
        return [gr.Tabs(selected=sender.to), *target.take(text, *values)]

    def deliver_own(event: gr.EventData, *values: Any) -> list[Any]:
        return deliver(event.text, *values)

    handler, inputs = (deliver_own, []) if sender.source is None else (deliver, [sender.source])
    quick = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    sent = sender.event(handler, [*inputs, *target.inputs], [tabs, *target.outputs], **quick)
    sent.then(None, None, None, js="() => { window.scrollTo(0, 0); return []; }", api_visibility="private")
