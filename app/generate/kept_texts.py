"""A kept run as what is written beside it needs it: its text, its row, its steps, and the measures of texts."""

from __future__ import annotations

from typing import Any

from coladlm import ColaDLM

from ..components.text_rows import row_value
from ..shared.trace_store import Run
from .differences import marked, numbers
from .frames import shown_prompt
from .handlers import GenerateHandlers
from .row_steps import steps_of


def measures_of_texts(handlers: GenerateHandlers, prompt: str, *texts: tuple[str, bool, int]) -> list[dict[str, Any]]:
    """The measures of texts, each with whether it has come to its end and how many tokens it has."""
    baseline = handlers.baseline.get(handlers.model.device)
    return handlers.scheduler.look(lambda: [numbers(baseline, prompt, *text) for text in texts])


def kept_text(found: Run) -> tuple[str, bool, int]:
    """The kept run's text, whether it came to its end, and its number of tokens."""
    trace, sequence = found.trace, found.sequence
    return trace.texts[sequence], trace.reasons[sequence] == "end", len(trace.answer(sequence))


def written(found: Run) -> int:
    """How many tokens the kept run wrote, those of a sentence that was left out at its end included."""
    trace, settings, count = found.trace, found.trace.recipe.settings, len(found.trace.answer(found.sequence))
    left_out = settings.whole_sentences and trace.reasons[found.sequence] == "length"
    return max(count, settings.max_new_tokens) if left_out and trace.recipe.operation == "generate" else count


def kept_row(model: ColaDLM, found: Run, label: str) -> dict[str, Any]:
    """The kept run's text as a row."""
    prompt, ids = found.trace.prompts[found.sequence], found.trace.answer(found.sequence)
    return row_value(label, shown_prompt(prompt), final=marked(model, ids, ids, prompt), steps=kept_steps(model, found))


def kept_steps(model: ColaDLM, found: Run) -> dict[str, str] | None:
    return steps_of(model, found.trace, found.sequence)
