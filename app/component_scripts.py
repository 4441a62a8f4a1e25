"""The JavaScript of all components as one file, which comes before the scripts of gradio and which browsers keep."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .components.own_html import OwnHTML

NAME = "components.js"


def component_scripts() -> tuple[str, Route]:
    """The HTML that asks for the file, for the head of the page, and the route that answers.

    Deferred scripts and gradio's, which are modules, run in the order in which they stand there.
    """
    body = OwnHTML.scripts().encode()
    version = hashlib.sha256(body).hexdigest()[:12]

    def answer(request: Request) -> Response:
        # of another version, while the server is replaced, there is only this one: nobody is to keep it under that name
        kept = {} if request.query_params.get("v") == version else {"Cache-Control": "no-store"}
        return Response(body, media_type="text/javascript", headers=kept)

    return f'<script defer src="{NAME}?v={version}"></script>', Route(f"/{NAME}", answer)
