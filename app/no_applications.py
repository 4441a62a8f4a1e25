"""Gradio without applications that nobody asks for anything.

When a page begins, and again with each of its parts that has an address, gradio (6.31) makes the whole application that
would serve it, with some 80 routes, and lays out the page for it; whoever launches or mounts the page makes another one
in its place. The first ones are a third of what it takes to lay out a page and to serve it, imports aside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gradio.routes import App

_create = App.create_app


def _create_none(*_: Any, **__: Any) -> None:
    pass


@contextlib.contextmanager
def no_applications() -> Iterator[None]:
    """Inside, pages are laid out without one, and have none until they are launched or mounted."""
    App.create_app = staticmethod(_create_none)  # pyrefly: ignore[method-assign, bad-assignment]
    try:
        yield
    finally:
        # the first of two pages at a time ends it for both
        App.create_app = staticmethod(_create)  # pyrefly: ignore[method-assign]
