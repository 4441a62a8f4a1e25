"""The session of a visitor: the name that gradio gives the open page that asks."""

from __future__ import annotations

import gradio as gr
from gradio.context import LocalContext


def session_of(request: gr.Request) -> str:
    """The session of a request. Raises ValueError for one that comes from no page."""
    if request.session_hash is None:
        raise ValueError("the request names no session, expected the one of a page")
    return request.session_hash


def current_visitor() -> str:
    """The session of the event that is handled now, "" outside of one."""
    request: gr.Request | None = LocalContext.request.get(None)
    return getattr(request, "session_hash", None) or ""
