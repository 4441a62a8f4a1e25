"""Errors in the form that clients of OpenAI's API know: {"error": {message, type, param, code}} with a status."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from coladlm.recipe import RecipeError
from coladlm.serve import BusyError, ClosingError
from coladlm.serve.replayed import LostRunError

OPTION = "options."  # before the name of an option in errors of recipes; in a body it is a field of its own
TYPES = {404: "not_found_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
HTTP_CODES = {404: "not_found", 405: "wrong_method"}


class ApiError(ValueError):
    """A request that is refused. param: the field that is wrong. code: a word for programs."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.param, self.code, self.status, self.headers = param, code, status, dict(headers or {})
        super().__init__(message)


class AsciiJSON(Response):
    """JSON in ASCII: it can repeat any text that a request holds, half a surrogate pair too, which UTF-8 cannot."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content).encode()


def dumps(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def option_error(error: RecipeError) -> ApiError:
    """What is wrong with an option of a recipe, in the words for a field of a body."""
    field, wanted = error.field.removeprefix(OPTION), error.wanted.replace(OPTION, "")
    if str(error) != f"{error.field} is {error.found}, expected {error.wanted}":  # it has a sentence of its own
        return ApiError(str(error), field)
    return ApiError(f"{field} is {error.found}, expected {wanted}", field)


def describe_error(error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """(status, headers, body) for an error. A fault of the server goes to the log with its traceback."""
    status, param, code, headers = 400, None, None, {}
    if isinstance(error, RecipeError) and error.field.startswith(OPTION):  # which only the run could find
        error = option_error(error)
    if isinstance(error, ApiError):
        status, param, code, headers = error.status, error.param, error.code, error.headers
    elif isinstance(error, HTTPException):  # of starlette's routing
        status, code, headers = error.status_code, HTTP_CODES.get(error.status_code), dict(error.headers or {})
    elif isinstance(error, BusyError):
        status, code = 429, "too_many_requests" if error.seconds is None else "queue_full"
        headers = {"Retry-After": str(max(1, math.ceil(error.seconds or 1)))}
    elif isinstance(error, ClosingError):
        status, code = 503, "shutting_down"
    elif isinstance(error, LostRunError):
        status, code = 503, "run_lost"
    elif isinstance(error, RecipeError):
        param = error.field
    elif not isinstance(error, ValueError):
        status, code = 500, "internal_error"
        logging.getLogger(__name__).error("a request failed", exc_info=error)
    message = error.detail if isinstance(error, HTTPException) else str(error)
    if status == 500:
        message = "The server failed at this request; its log says more."
    kind = TYPES.get(status, "invalid_request_error")
    return status, headers, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: Exception) -> Response:
    status, headers, body = describe_error(error)
    return AsciiJSON(body, status, headers)
