"""The run endpoints: PUT and DELETE /runs/{id}, GET /runs/{id}/events, POST /runs/{id}/leave; the browser's scripts."""

import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message, Receive

from .access import is_own, visitor_of
from .event_stream import EventStream
from .registry import RefusedRunError, Registry, Run, UnknownRunError, Update

MOST_BODY = 1 << 20  # bytes of a request to start a run
RunId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class RunRequest(BaseModel):
    """What is to be run. view: its name. controls: what the page's controls say, by name."""

    model_config = ConfigDict(extra="forbid")

    view: str = Field(max_length=64)
    controls: dict[str, Any]


class RunState(BaseModel):
    """A run: "running", or what it has come to."""

    id: str
    state: str


class _Refused(HTTPException):
    """(an HTTPException, as FastAPI takes any other error while a body is read for a broken body)"""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.code = code
        super().__init__(status, message)


class _RunRoute(APIRoute):
    """A route that says what is wrong as {"error": {"message", "code"}}."""

    def get_route_handler(self):
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                if not is_own(request.headers):
                    raise _Refused(403, "other_origin", "Runs are for pages of this server alone.")
                return await handler(Request(request.scope, _limited(request.receive)))
            except _Refused as error:
                return _error(error.status_code, error.code, error.detail)
            except RequestValidationError as error:
                return _error(422, "invalid_request", _sentence(error))
            except UnknownRunError:
                return _error(404, "unknown_run", "The server does not know this run.")
            except RefusedRunError as error:
                status, code = (429, "no_room") if error.seconds else (503, "shutting_down")
                return _error(status, code, str(error), error.seconds)
            except ValueError as error:
                return _error(400, "invalid_request", str(error))

        return handle


def _limited(receive: Receive) -> Receive:
    """Receives a body of at most MOST_BODY."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BODY:
            raise _Refused(413, "too_large", f"The request is larger than {MOST_BODY >> 20} MB.")
        return message

    return limited


def run_routes(registry: Registry) -> APIRouter:
    """The router of the runs in a registry."""
    router = APIRouter(prefix="/runs", route_class=_RunRoute, include_in_schema=False)

    def found(request: Request, id: RunId) -> Run:
        return registry.get(visitor_of(request.headers, id), id)

    @router.put("/{id}")
    async def start(request: Request, response: Response, id: RunId, body: RunRequest) -> RunState:
        run, new = registry.start(visitor_of(request.headers, id), id, body.view, body.controls)
        response.status_code = 201 if new else 200
        return RunState(id=id, state=run.state)

    @router.delete("/{id}")
    async def stop(request: Request, id: RunId) -> RunState:
        return RunState(id=id, state=registry.stop(visitor_of(request.headers, id), id).state)

    @router.post("/{id}/leave")
    async def leave(request: Request, id: RunId) -> RunState:
        return RunState(id=id, state=registry.leave(visitor_of(request.headers, id), id).state)

    @router.get("/{id}/events")
    async def events(
        run: Annotated[Run, Depends(found)],
        last_event_id: Annotated[str | None, Header()] = None,
        after: Annotated[str | None, Query()] = None,
    ) -> Response:
        known = after if after is not None else last_event_id
        return EventStream(_events(registry.follow(run, int(known) if known and known.isdecimal() else None)))

    @router.get("/{name}.js")
    async def script(name: Literal["gradio_connection", "run_client", "run_state", "run_transport"]) -> FileResponse:
        file = Path(__file__).parent / f"{name}.js"
        return FileResponse(file, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return router


async def _events(updates: AsyncGenerator[Update]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(updates):
        async for update in updates:
            yield _event(update)


def _event(update: Update) -> bytes:
    if update.kind == "beat":
        return format_sse_event(comment="still here")
    data = json.dumps(update.data, separators=(",", ":"), allow_nan=False)  # ASCII: a prompt may hold half a character
    return format_sse_event(data_str=data, event=update.kind, id=str(update.version))


def _error(status: int, code: str, message: str, seconds: float | None = None) -> Response:
    headers = {"Retry-After": str(round(seconds))} if seconds else None
    return JSONResponse({"error": {"message": message, "code": code}}, status, headers)


def _sentence(error: RequestValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"The request is not sound: {where}: {first['msg']}."
