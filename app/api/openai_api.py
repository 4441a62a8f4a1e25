"""OpenAI's API over HTTP: /v1/completions, /v1/chat/completions and /v1/models; the tokenizer; /health and /metrics.

Plain Starlette routes. `routes` gives them; whoever serves the page puts them in front of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from coladlm import ColaDLM
from coladlm.serve import Events, Scheduler, Waiting
from coladlm.serve.drafts import Draft

from ..runs.event_stream import EventStream
from .access import ApiCORS, RequireApiKey
from .answers import Answer, ResponseWriter
from .errors import ApiError, AsciiJSON, describe_error, dumps, error_response
from .insertion import Insertions
from .option_fields import HERE, options_of
from .parsed_request import ParsedRequest, RequestLimits, RequestParser, model_id
from .prompt_scores import score_steps
from .request_bodies import parse_json
from .tokenizer_api import detokenize, info, tokenize

METRICS_TYPE = "text/plain; version=0.0.4"
IGNORED_HEADER = "X-Ignored-Fields"
TOGETHER_SECONDS = 2.0  # that events of an answer in one piece may wait, where they come from another process


@dataclasses.dataclass(frozen=True)
class ApiOptions:
    """How the API is served. limits: of one request. accept_any_model: take every model name for the one that is there.
    api_key: what a request must carry, None for nothing. origins: whose pages may call it from a browser.
    """

    limits: RequestLimits = dataclasses.field(default_factory=RequestLimits)
    accept_any_model: bool = False
    api_key: str | None = dataclasses.field(default=None, repr=False)
    origins: tuple[str, ...] = ()

    def for_page(self) -> dict[str, Any]:
        """What the page has to know to write a command for /v1/completions: its limits, which options of an operation
        it takes, and whether it wants a key.
        """
        options = {operation: list(options_of(operation)) for operation in HERE}
        return {"key": self.api_key is not None, "options": options, **dataclasses.asdict(self.limits)}


class OpenAIApi:
    """The endpoints. model: gives the resident model of the moment."""

    def __init__(self, model: Callable[[], ColaDLM], scheduler: Scheduler, options: ApiOptions | None = None) -> None:
        self.model, self.scheduler, self.options = model, scheduler, options or ApiOptions()
        self.parser = RequestParser(self.options.limits, self.options.accept_any_model)
        self.started = int(time.time())

    def routes(self) -> list[BaseRoute]:
        """The routes, first match first."""
        application = self._application()
        return [
            # not a Mount: below a sub-path that the proxy has removed, it would remove the wrong part
            Route("/v1/{rest:path}", application),
            *(Route(path, application) for path in ("/tokenizer_info", "/tokenize", "/detokenize")),
            Route("/health", self.health, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    def _application(self) -> Starlette:
        """What lies below /v1, and the tokenizer. Their errors all have the form of the API: an unknown path and a
        wrong method, too.
        """
        options, middleware = self.options, []
        if options.origins:
            exposed = (IGNORED_HEADER, "Retry-After")
            middleware.append(Middleware(ApiCORS, origins=options.origins, expose=exposed))
        if options.api_key is not None:  # behind CORS: a browser asks without a key whether it may send one
            middleware.append(Middleware(RequireApiKey, key=options.api_key))
        routes = [
            Route("/v1/completions", _answering(self.completions), methods=["POST"]),
            Route("/v1/chat/completions", _answering(self.chat), methods=["POST"]),
            Route("/v1/models", _answering(self.models), methods=["GET"]),
            Route("/v1/models/{name:path}", _answering(self.one_model), methods=["GET"]),
            Route("/tokenizer_info", _answering(self.tokenizer_info), methods=["GET"]),
            Route("/tokenize", _answering(self.tokenize), methods=["POST"]),
            Route("/detokenize", _answering(self.detokenize), methods=["POST"]),
        ]
        return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _http_error})

    # models

    async def models(self, _: Request) -> Response:
        return AsciiJSON({"object": "list", "data": [self._description(self.model())]})

    async def one_model(self, request: Request) -> Response:
        model = self.model()
        self.parser.check_model(request.path_params["name"], model)
        return AsciiJSON(self._description(model))

    def _description(self, model: ColaDLM) -> dict[str, Any]:
        about = {"parameters": model.parameters, "max_tokens": model.max_tokens, "fingerprint": model.fingerprint}
        return {"id": model_id(model), "object": "model", "created": self.started, "owned_by": "cola-dlm", **about}

    # texts

    async def completions(self, request: Request) -> Response:
        return await self._texts(request, self.parser.completion, chat=False)

    async def chat(self, request: Request) -> Response:
        return await self._texts(request, self.parser.chat, chat=True)

    async def _texts(self, request: Request, parse: Callable[..., ParsedRequest], chat: bool) -> Response:
        model, body = self.model(), await self._body(request)
        parsed = await run_sync(lambda: parse(parse_json(body), model))
        visitor = request.client.host if request.client else ""
        number = ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex
        answer = Answer(model, parsed) if parsed.insertions is None else Insertions(model, parsed)
        writer = ResponseWriter(chat, answer, model_id(model), number, int(time.time()))
        headers = {IGNORED_HEADER: ", ".join(parsed.ignored)} if parsed.ignored else {}
        steps = "drafts" if parsed.stream_drafts else "none"
        if parsed.scored is not None:
            return await _while_connected(request, self._scored(model, parsed, visitor, writer, headers))
        wait = 0.0 if parsed.stream or parsed.stops else TOGETHER_SECONDS
        events = self.scheduler.run(model, parsed.recipe, visitor, steps, parsed.logprobs is not None, wait)
        if parsed.stream:
            parts = _stream(events, writer)
            first = await anext(parts)  # what is refused here still gets a status of its own
            return EventStream(parts, headers, first)
        return await _while_connected(request, _whole(events, writer, headers))

    async def _scored(self, model: ColaDLM, parsed: ParsedRequest, visitor: str, writer: ResponseWriter,
                      headers: dict[str, str]) -> Response:  # fmt: skip
        """An answer with the log-probabilities of its prompts."""
        prompts, seed = parsed.scored or (), parsed.recipe.settings.seed
        scoring = self.scores(model, prompts, seed, visitor).asynchronous()
        try:
            async for event in scoring:
                if isinstance(event, list):
                    writer.answer.take_scores(event)
        finally:
            await scoring.aclose()
        if parsed.prompt_only:
            writer.answer.end_here()
            return AsciiJSON(writer.body(), headers=headers)
        return await _whole(self.scheduler.run(model, parsed.recipe, visitor, "none"), writer, headers)

    def scores(self, model: ColaDLM, prompts: Sequence[Sequence[int]], seed: int, visitor: str) -> Events:
        """The events of `score_steps`, the list of all scores among them."""
        return self.scheduler.alone(lambda: score_steps(model, prompts, seed), visitor, "likelihood")

    # the tokenizer

    async def tokenizer_info(self, _: Request) -> Response:
        return AsciiJSON(info(self.model()))

    async def tokenize(self, request: Request) -> Response:
        return AsciiJSON(tokenize(parse_json(await self._body(request)), self.model()))

    async def detokenize(self, request: Request) -> Response:
        return AsciiJSON(detokenize(parse_json(await self._body(request)), self.model()))

    async def _body(self, request: Request) -> bytes:
        """The bytes of a JSON body. Raises ApiError for another type, which a form of any site could send without
        asking the browser first, and for one beyond the limit, which is not read.
        """
        kind = request.headers.get("content-type", "")
        if kind.split(";")[0].strip().lower() != "application/json":
            found = f"Content-Type is {kind[:60]!r}" if kind else "Content-Type is absent"
            raise ApiError(f"{found}, expected application/json", code="unsupported_media_type", status=415)
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.options.limits.body:
            raise self._too_large()
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.options.limits.body:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> ApiError:
        most = self.options.limits.body
        return ApiError(f"the body is too large, expected at most {most:,} bytes", code="too_large", status=413)

    # the server itself

    async def health(self, _: Request) -> Response:
        numbers, is_open = self.scheduler.numbers(), self.scheduler.open
        state = {"status": "ok" if is_open else "shutting down", "model": model_id(self.model()), **numbers}
        return AsciiJSON(state, 200 if is_open else 503)

    async def metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.scheduler.metrics.text(self.scheduler.numbers()), media_type=METRICS_TYPE)


def _answering(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """An endpoint whose errors have the form of the API: a client gets a sentence, never a traceback."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return error_response(error)

    return endpoint


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette's routing found wrong, in a sentence."""
    assert isinstance(error, HTTPException)  # the one kind that it is registered for
    path, allowed = request.url.path[:80], (error.headers or {}).get("Allow")
    if error.status_code == 405 and allowed:
        methods = " or ".join(sorted(allowed.split(", ")))
        error = HTTPException(405, f"{path} does not take {request.method}, expected {methods}", error.headers)
    elif error.status_code == 404:
        error = HTTPException(404, f"there is nothing at {path}", error.headers)
    return error_response(error)


async def _follow(events: Events, answer: Answer) -> AsyncGenerator[Any]:
    """The events, which the answer has taken in; no more than the answer needs."""
    arriving = events.asynchronous()
    try:
        async for event in arriving:
            answer.take(event)
            yield event
            if answer.ended:
                events.enough(sum(len(choice.tokens) for choice in answer.choices))
                return
    finally:
        await arriving.aclose()


async def _whole(events: Events, writer: ResponseWriter, headers: dict[str, str]) -> Response:
    async for _ in _follow(events, writer.answer):
        pass
    return AsciiJSON(writer.body(), headers=headers)


async def _stream(events: Events, writer: ResponseWriter) -> AsyncGenerator[bytes]:
    """A stream of server-sent events. Its first part comes when the request has been found to be good."""
    followed, opened = _follow(events, writer.answer), False
    try:
        async for event in followed:
            if not opened:
                yield _sse(writer.first_chunks())
                opened = True
            if isinstance(event, Waiting):
                yield b": waiting\n\n"
            elif isinstance(event, Draft):
                yield _sse(await run_sync(writer.draft_chunks, event))
            else:
                yield _sse(writer.new_chunks())
        yield _sse(writer.last_chunks()) + b"data: [DONE]\n\n"
    except Exception as error:
        if not opened:
            raise
        yield _sse([describe_error(error)[2]])
    finally:
        await followed.aclose()


def _sse(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + dumps(chunk).encode() + b"\n\n" for chunk in chunks)


async def _while_connected(request: Request, response: Any) -> Response:
    """The response, or ClientDisconnect where the client leaves before: then what makes it is cancelled."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    making, leaving = asyncio.ensure_future(response), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return making.result()
        raise ClientDisconnect
    finally:
        making.cancel()
        leaving.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)
