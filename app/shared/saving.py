"""Files for a Saver (app/components/saver)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..components.saver import not_saved
from .errors import sentence
from .settings_panel import in_labels


def file_or_reason(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The file that `make` gives, or why there is none: gradio itself says nothing where a handler has failed, and the
    button would go on saying that it makes one.
    """
    try:
        return make()
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        return not_saved(in_labels(sentence(error)))
