"""Sending: a text goes from one tab to another, which opens with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import gradio as gr

from ..components import ProgressLine, RunResult
from ..components.progress_line import progress_value
from ..runs.access import visitor_of
from ..runs.registry import View
from .errors import sentence
from .event_options import UNLIMITED, EventOptions
from .session import session_of
from .trace_store import Run

QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
READS: EventOptions = {"show_progress": "hidden", "api_visibility": "private", **UNLIMITED}  # for what asks the model


class Sender(NamedTuple):
    """What sends a text. event: registers a listener, such as `button.click`. to: the name of a tab. source: the
    component whose value is the text; None where the event itself brings it, as `text`.
    """

    event: Callable[..., Any]
    to: str
    source: gr.components.Component | None = None


class TextsSender(NamedTuple):
    """What sends several texts in their order. event, to, source: see Sender; an event without a source brings `texts`.
    texts: value of the source -> the texts.
    """

    event: Callable[..., Any]
    to: str
    source: gr.components.Component | None = None
    texts: Callable[[Any], list[str]] = list


class ListSender(NamedTuple):
    """What sends two lists of texts, the ends of a direction. event, to: see Sender. first, second: their states."""

    event: Callable[..., Any]
    to: str
    first: gr.State
    second: gr.State


class RunSender(NamedTuple):
    """What sends a recorded run. event, to: see Sender. kept: a state. find: (request, event data, value of `kept`) ->
    the run and the block and token of it to open. Raises ValueError, which `progress` says where it is sent from.
    """

    event: Callable[..., Any]
    to: str
    kept: gr.State | RunResult
    find: Callable[[gr.Request, gr.EventData, Any], tuple[Run, int, int]]
    progress: ProgressLine


class Restore(NamedTuple):
    """How a recipe comes in. operations: of its recipes. values: query of an address -> values for `outputs`, of which
    the last is that of a ProgressLine. bench: whose Run brings the result of a link, for runs by id. options: those of
    a recipe that its controls show, all if None; a link with others is not run by itself.
    """

    operations: Sequence[str]
    values: Callable[[Mapping[str, str]], Sequence[Any]]
    outputs: Sequence[Any]
    bench: str = ""
    options: Collection[str] | None = None


TakeTexts = Callable[[str, list[str]], Iterable[Sequence[Any]]]
TakeLists = Callable[[list[str], list[str]], Sequence[Any]]
TakeRun = Callable[[str, Run, int, int], Sequence[Any]]


class TabLinks(NamedTuple):
    """How texts leave a tab and come in. take: (text, values of `inputs`) -> values for `outputs`; None where no text
    comes in. take_texts: (visitor, texts) -> values for `texts_outputs`, once or as they come; texts_options: of its
    listener; texts_then: connects what follows it, given the listener. take_lists: (first list, second list) -> values
    for `list_outputs`, likewise. take_run: (visitor, run, block, token) -> values for `run_outputs`. restore: of a
    recipe from a link, a file or the history. loaded: registers a listener for when another model may have taken its
    place. views: of its runs, by name.
    """

    take: Callable[..., Sequence[Any]] | None = None
    inputs: Sequence[Any] = ()
    outputs: Sequence[Any] = ()
    sends: Sequence[Sender] = ()
    take_texts: TakeTexts | None = None
    texts_outputs: Sequence[Any] = ()
    texts_options: Mapping[str, Any] = QUICK
    texts_then: Callable[[Any], Any] | None = None
    texts_sends: Sequence[TextsSender] = ()
    take_lists: TakeLists | None = None
    list_outputs: Sequence[Any] = ()
    list_sends: Sequence[ListSender] = ()
    take_run: TakeRun | None = None
    run_outputs: Sequence[Any] = ()
    run_sends: Sequence[RunSender] = ()
    restore: Restore | None = None
    loaded: Callable[..., Any] | None = None
    views: Mapping[str, View] = MappingProxyType({})


def connect(tabs: gr.Tabs, links: Mapping[str, TabLinks | None]) -> None:
    """Connects all senders of the tabs, named as in `links`, with where they send to."""
    for tab in links.values():
        for sender in tab.sends if tab else ():
            target = links.get(sender.to)
            if target is not None and target.take is not None:
                _connect(tabs, sender, target, target.take)
        for sender in tab.texts_sends if tab else ():
            target = links.get(sender.to)
            if target is not None and target.take_texts is not None:
                _connect_texts(tabs, sender, target, target.take_texts)
        for sender in tab.list_sends if tab else ():
            target = links.get(sender.to)
            if target is not None and target.take_lists is not None:
                _connect_lists(tabs, sender, target, target.take_lists)
        for sender in tab.run_sends if tab else ():
            target = links.get(sender.to)
            if target is not None and target.take_run is not None:
                _connect_run(tabs, sender, target, target.take_run)


def _connect(tabs: gr.Tabs, sender: Sender, target: TabLinks, take: Callable[..., Sequence[Any]]) -> None:
    def deliver(text: str, *values: Any) -> list[Any]:
        return [gr.Tabs(selected=sender.to), *take(text, *values)]

    def deliver_own(event: gr.EventData, *values: Any) -> list[Any]:
        return deliver(event.text, *values)

    handler, inputs = (deliver_own, []) if sender.source is None else (deliver, [sender.source])
    _opened(sender.event(handler, [*inputs, *target.inputs], [tabs, *target.outputs], **QUICK))


def _connect_texts(tabs: gr.Tabs, sender: TextsSender, target: TabLinks, take: TakeTexts) -> None:
    def deliver(texts: list[str], visitor: str) -> Iterator[list[Any]]:
        for values in take(visitor, texts):
            yield [*values]

    def deliver_own(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        yield from deliver([text for text in event.texts if isinstance(text, str)], session_of(request))

    def deliver_source(value: Any, request: gr.Request) -> Iterator[list[Any]]:
        yield from deliver(sender.texts(value), session_of(request))

    handler, inputs = (deliver_own, []) if sender.source is None else (deliver_source, [sender.source])
    # the tab is opened once and by itself: with each value that comes, it would call back who has left it meanwhile
    _opened(sender.event(lambda: gr.Tabs(selected=sender.to), None, [tabs], **QUICK))
    sent = sender.event(handler, inputs, [*target.texts_outputs], **target.texts_options)
    if target.texts_then is not None:
        target.texts_then(sent)


def _connect_lists(tabs: gr.Tabs, sender: ListSender, target: TabLinks, take: TakeLists) -> None:
    def deliver(first: list[str], second: list[str]) -> list[Any]:
        return [gr.Tabs(selected=sender.to), *take(first, second)]

    _opened(sender.event(deliver, [sender.first, sender.second], [tabs, *target.list_outputs], **QUICK))


def _connect_run(tabs: gr.Tabs, sender: RunSender, target: TabLinks, take: TakeRun) -> None:
    def deliver(event: gr.EventData, kept: Any, request: gr.Request) -> list[Any]:
        try:
            run, block, token = sender.find(request, event, kept)
            values = take(visitor_of(request.headers, run.id), run, block, token)
        except ValueError as error:  # gradio shows no error of an event that hides its progress
            wrong = progress_value("error", message=sentence(error))
            return [wrong, gr.skip(), *(gr.skip() for _ in target.run_outputs)]
        return [gr.skip(), gr.Tabs(selected=sender.to), *values]

    sent = sender.event(deliver, [sender.kept], [sender.progress, tabs, *target.run_outputs], **READS)
    top = "line => { if (line?.state !== 'error') window.scrollTo(0, 0); return []; }"
    sent.then(None, sender.progress, None, js=top, api_visibility="private")


def _opened(sent: Any) -> None:
    sent.then(None, None, None, js="() => { window.scrollTo(0, 0); return []; }", api_visibility="private")
