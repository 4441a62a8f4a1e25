"""Errors in the form that clients of OpenAI's API know: {"error": {message, type, param, code}} with a status."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from starlette.responses import Response

from coladlm.recipe import RecipeError
from coladlm.serve import BusyError, ClosingError

KINDS = {404: "not_found_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class DoorError(ValueError):
    """A request that is refused. param: the field that is wrong. code: a word for programs."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        self.param, self.code, self.status = param, code, status
        super().__init__(message)


class PlainJSON(Response):
    """JSON in ASCII, so that any text that a visitor sent can be said back."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content).encode()


def dumps(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def error_of(error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """(status, headers, body) for an error. What is not the visitor's doing goes to the log with its traceback."""
    status, param, code, headers = 400, None, None, {}
    if isinstance(error, DoorError):
        status, param, code = error.status, error.param, error.code
    elif isinstance(error, BusyError):
        status, code = 429, "too_many_requests" if error.seconds is None else "queue_full"
        headers = {"Retry-After": str(max(1, math.ceil(error.seconds or 1)))}
    elif isinstance(error, ClosingError):
        status, code = 503, "shutting_down"
    elif isinstance(error, RecipeError):
        param = error.field
    elif not isinstance(error, ValueError):
        status, code = 500, "internal_error"
        logging.getLogger(__name__).error("a request failed", exc_info=error)
    message = str(error) if status != 500 else "The server failed at this request; its log says more."
    kind = KINDS.get(status, "invalid_request_error")
    return status, headers, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: Exception) -> Response:
    status, headers, body = error_of(error)
    return PlainJSON(body, status, headers)
