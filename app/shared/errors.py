"""What went wrong, as sentences for visitors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from .settings_panel import in_labels


def sentence(error: Exception) -> str:
    """What went wrong, for a visitor. What is not the visitor's doing goes to the log with its traceback."""
    if isinstance(error, ValueError):
        text = str(error).strip()
        return text + ("" if text.endswith((".", "!", "?")) else ".")
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return f"The run failed on the server ({type(error).__name__}); its log says more."


@contextlib.contextmanager
def labelled_errors() -> Iterator[None]:
    """Raises a ValueError of its block as a sentence with the labels of the controls."""
    try:
        yield
    except ValueError as error:
        raise ValueError(in_labels(sentence(error))) from error
