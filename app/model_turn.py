"""Whoever wants the model waits for a turn: one run at a time, in the order of asking."""

from __future__ import annotations

import logging

MODEL_TURN = {"concurrency_id": "model", "concurrency_limit": 1}
"""Arguments for every gradio event whose handler runs the model."""


def sentence(error: Exception) -> str:
    """What went wrong, for a visitor. What is not the visitor's doing goes to the log with its traceback."""
    if isinstance(error, ValueError):
        text = str(error).strip()
        return text + ("" if text.endswith((".", "!", "?")) else ".")
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return f"The run failed on the server ({type(error).__name__}); its log says more."
