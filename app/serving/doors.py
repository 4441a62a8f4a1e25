"""The doors for programs: OpenAI's /v1/completions, /v1/chat/completions and /v1/models, /health and /metrics.

Plain Starlette routes. `routes` gives them; whoever serves the page puts them in front of its own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from coladlm import ColaDLM
from coladlm.serve import Events, Scheduler, Waiting

from .answers import Answer, Form
from .asked import Asked, RequestLimits, asked_chat, asked_completion, model_id, parse_json
from .errors import DoorError, PlainJSON, dumps, error_of, error_response

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
METRICS_TYPE = "text/plain; version=0.0.4"


class Doors:
    """The endpoints. model: gives the resident model of the moment."""

    def __init__(self, model: Callable[[], ColaDLM], sharing: Scheduler, limits: RequestLimits | None = None) -> None:
        self.model, self.sharing, self.limits = model, sharing, limits or RequestLimits()
        self.started = int(time.time())

    def routes(self) -> list[Route]:
        """The routes, first match first."""
        return [
            self._route("/v1/completions", "POST", self.completions),
            self._route("/v1/chat/completions", "POST", self.chat),
            self._route("/v1/models", "GET", self.models),
            self._route("/v1/models/{name:path}", "GET", self.one_model),
            self._route("/v1/{rest:path}", "", self.unknown),
            Route("/health", self.health, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    def _route(self, path: str, method: str, handler: Callable[[Request], Any]) -> Route:
        """A route whose refusals have the form of the API, those of a wrong method included."""

        async def endpoint(request: Request) -> Response:
            try:
                if method and request.method != method:
                    raise DoorError(f"{request.method} is not for {path}, expected {method}", code="wrong_method",
                                    status=405)  # fmt: skip
                return await handler(request)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as error:  # a visitor gets a sentence, never a traceback; see `error_of`
                return error_response(error)

        return Route(path, endpoint, methods=METHODS)

    # models

    async def models(self, _: Request) -> Response:
        return PlainJSON({"object": "list", "data": [self._described(self.model())]})

    async def one_model(self, request: Request) -> Response:
        model, name = self.model(), request.path_params["name"]
        if name != model_id(model):
            raise DoorError(f"the model {name[:60]!r} is not there, expected {model_id(model)!r}", "model",
                            "model_not_found", 404)  # fmt: skip
        return PlainJSON(self._described(model))

    def _described(self, model: ColaDLM) -> dict[str, Any]:
        about = {"parameters": model.parameters, "max_tokens": model.max_tokens, "fingerprint": model.fingerprint}
        return {"id": model_id(model), "object": "model", "created": self.started, "owned_by": "cola-dlm", **about}

    async def unknown(self, request: Request) -> Response:
        raise DoorError(f"there is nothing at {request.url.path[:80]}", code="not_found", status=404)

    # texts

    async def completions(self, request: Request) -> Response:
        return await self._texts(request, asked_completion, chat=False)

    async def chat(self, request: Request) -> Response:
        return await self._texts(request, asked_chat, chat=True)

    async def _texts(self, request: Request, read: Callable[..., Asked], chat: bool) -> Response:
        model, body = self.model(), await self._body(request)
        asked = await run_sync(lambda: read(parse_json(body), model, self.limits))
        visitor = request.client.host if request.client else ""
        answer = Answer(model, asked)
        number = ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex
        form = Form(chat, answer, model_id(model), number, int(time.time()))
        events = self.sharing.run(model, asked.recipe, visitor, steps="none")
        if asked.stream:
            told = _told(events, form)
            first = await anext(told)  # what is refused here still gets a status of its own
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(_after(first, told), media_type="text/event-stream", headers=headers)
        return await _while_connected(request, _whole(events, form))

    async def _body(self, request: Request) -> bytes:
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said) > self.limits.body:
            raise self._too_large()
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.limits.body:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> DoorError:
        return DoorError(f"the body is too large, expected at most {self.limits.body:,} bytes", code="too_large",
                         status=413)  # fmt: skip

    # the server itself

    async def health(self, _: Request) -> Response:
        numbers, open_ = self.sharing.numbers(), self.sharing.open
        said = {"status": "ok" if open_ else "shutting down", "model": model_id(self.model()), **numbers}
        return PlainJSON(said, 200 if open_ else 503)

    async def metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.sharing.metrics.text(self.sharing.numbers()), media_type=METRICS_TYPE)


async def _follow(events: Events, answer: Answer) -> AsyncIterator[Any]:
    """The events, which the answer has taken in; no more than the answer needs."""
    arriving = events.asynchronous()
    try:
        async for event in arriving:
            answer.take(event)
            yield event
            if answer.ended:
                return
    finally:
        await arriving.aclose()


async def _whole(events: Events, form: Form) -> Response:
    async for _ in _follow(events, form.answer):
        pass
    return PlainJSON(form.whole())


async def _told(events: Events, form: Form) -> AsyncIterator[bytes]:
    """A stream of server-sent events. Its first part comes when the request has been found to be good."""
    followed, opened = _follow(events, form.answer), False
    try:
        async for event in followed:
            if not opened:
                yield _sse(form.first())
                opened = True
            yield b": waiting\n\n" if isinstance(event, Waiting) else _sse(form.news())
        yield _sse(form.last()) + b"data: [DONE]\n\n"
    except Exception as error:
        if not opened:
            raise
        yield _sse([error_of(error)[2]])
    finally:
        await followed.aclose()


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        if first:
            yield first
        async for part in rest:
            if part:
                yield part
    finally:
        await rest.aclose()


def _sse(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + dumps(chunk).encode() + b"\n\n" for chunk in chunks)


async def _while_connected(request: Request, answer: Any) -> Response:
    """The response, or none where the visitor leaves before: then what makes it is cancelled."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    making, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(left())
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return making.result()
        raise ClientDisconnect
    finally:
        making.cancel()
        leaving.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)
