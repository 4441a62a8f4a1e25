"""Who may use the API: an API key, and the origins whose pages may call it from a browser. ASGI middleware."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ApiError, error_response

API_KEY = "COLADLM_API_KEY"  # the key in the environment
ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
KEY = re.compile(r"[!-~]+")


def check_origin(text: str) -> str:
    """An origin as browsers send it, or "*" for all. Raises ValueError."""
    if text != "*" and not ORIGIN.fullmatch(text):
        wanted = "scheme, host and port in lower case, such as 'https://example.org:8443', or '*' for every origin"
        raise ValueError(f"the origin is {text[:100]!r}, expected {wanted}")
    return text


def check_api_key(text: str) -> str:
    """An API key that fits in a header. Raises ValueError, whose message does not repeat it."""
    if not KEY.fullmatch(text):
        found = "empty" if not text else f"{len(text)} characters, some of which cannot be sent"
        raise ValueError(f"the API key is {found}, expected visible ASCII characters without spaces")
    return text


class RequireApiKey:
    """Refuses requests without `Authorization: Bearer KEY` with status 401."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (error := self._refusal(Headers(scope=scope))):
            return await error_response(error)(scope, receive, send)
        return await self.app(scope, receive, send)

    def _refusal(self, headers: Headers) -> ApiError | None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(key.strip().encode(), self.key):
            return None
        message = "the API key is wrong" if key else "no API key; expected the header 'Authorization: Bearer KEY'"
        return ApiError(message, code="invalid_api_key", status=401, headers={"WWW-Authenticate": "Bearer"})


class ApiCORS(CORSMiddleware):
    """Lets pages of some origins call the API; a preflight that is refused gets an error in the API's form."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], expose: Sequence[str] = ()) -> None:
        super().__init__(app, allow_origins=origins, allow_methods=("GET", "POST"), allow_headers=("*",),
                         allow_private_network=True, expose_headers=expose)  # fmt: skip

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        reason = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        message = f"a page of {request_headers['origin'][:100]!r} may not call this server: its {reason} is not allowed"
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return error_response(ApiError(message, code="cors", headers=kept))
