"""Gradio without a copy of the page's configuration for each visitor.

Gradio (6.31) keeps for each visitor what it would send of every component, and the last values with it, for its deep
links. That is 50 ms of the server before the first event of a visitor is answered, and 0.9 MB for as long as it keeps
the visitor. The page has links of its own, which hold the settings, and none of gradio's.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from gradio.blocks import Blocks
from gradio.state_holder import SessionState

_begin = SessionState.__init__


@functools.wraps(_begin)
def _begin_light(session: SessionState, blocks: Blocks) -> None:
    # of a page without blocks there is no configuration to copy
    _begin(session, SimpleNamespace(default_config=blocks.default_config, blocks={}))  # pyrefly: ignore[bad-argument-type]


def _keep_nothing(*_: Any) -> None:
    pass


def keep_sessions_light() -> None:
    """Has gradio keep of a visitor the states and what has changed of components, and no configuration."""
    SessionState.__init__ = _begin_light  # pyrefly: ignore[method-assign, bad-assignment]
    SessionState._update_config = _keep_nothing  # pyrefly: ignore[method-assign, bad-assignment]
    SessionState._update_value_in_config = _keep_nothing  # pyrefly: ignore[method-assign, bad-assignment]
