"""Texts beside each other: which tokens differ, which settings differ, and numbers about each text."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.baseline import Baseline, BaselineError
from coladlm.evaluate.generation import Written, measured
from coladlm.latent.other_texts import OPTIONS
from coladlm.sampling.flow import NOISE_TIME

from ..components.measures_table import measures_value
from ..components.text_rows import CHANGED, segments
from ..shared.operation_controls import percent
from ..shared.settings_panel import SETTINGS, values_of
from ..shared.token_pieces import pieces

# name, label, format, what it means
MEASURES = (
    ("words", "Words", "{:.0f}", "Runs of characters without a space."),
    ("perplexity_per_word", "Perplexity per word", "{:.0f}", "How surprising the autoregressive baseline finds the "
     "text; lower reads more like its training stories. It flatters repetition, and the baseline's own text."),
    ("distinct_2", "Distinct 2-grams", "{:.0%}", "Share of neighbouring word pairs that occur once: variety."),
    ("repeated_4", "Repeated 4-grams", "{:.0%}", "Share of runs of four words that came before in the same text."),
)  # fmt: skip


SHOWN = 40  # characters of a text that differs
OTHER_TEXTS = [(option.name, option.name.replace("_", " ").capitalize(), option.default) for option in OPTIONS]
OF_NOISE = {"low": "to noise (%)", "high": "from noise (%)"}  # ends of a window: a recipe has times, the controls noise


def marked(model: ColaDLM, ids: Sequence[int], other: Sequence[int], prompt: str = "") -> list[tuple[str, int]]:
    """`ids` as pieces of text, with those that `other` has no counterpart for marked as changed."""
    special = frozenset((*model.end_ids, model.pad_id))
    parts = pieces(model.tokenizer, ids, model.tokenize(prompt)[-8:] if prompt else (), special, whole=True)
    same = set()
    for block in difflib.SequenceMatcher(None, list(other), list(ids), autojunk=False).get_matching_blocks():
        same.update(range(block.b, block.b + block.size))
    found = segments(parts, [CHANGED * (i not in same and bool(parts[i].strip())) for i in range(len(parts))])
    return [part for text, flag in found for part in _without_lead(text, flag)]


def _without_lead(text: str, flag: int) -> list[tuple[str, int]]:
    """A marked part without the space before its first word, which at the end of a line would be marked alone."""
    words = text.lstrip() if flag else text
    return [(text[: -len(words)], 0), (words, flag)] if 0 < len(words) < len(text) else [(text, flag)]


def differences(first: SamplerSettings, second: SamplerSettings) -> list[str]:
    """The settings that differ, each as "Guidance 1.25 → 3"."""
    names = [setting.label for setting in SETTINGS]
    pairs = zip(names, values_of(first)[1:], values_of(second)[1:], strict=True)
    return [f"{name} {_plain(a)} → {_plain(b)}" for name, a, b in pairs if a != b]


def option_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The options of a recipe about other texts that differ, in the same way."""
    found = []
    for name, label, default in OTHER_TEXTS:
        a, b = first.get(name, default), second.get(name, default)
        if a == b:
            continue
        what, _, end = name.partition("_")
        if end in OF_NOISE:
            label, a, b = f"{what.capitalize()} {OF_NOISE[end]}", percent(a / NOISE_TIME), percent(b / NOISE_TIME)
        found.append(f"{label} {_of_texts(a)} → {_of_texts(b)}")
    return found


def _of_texts(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return f"“{value if len(value) <= SHOWN else value[:SHOWN].rstrip() + ' …'}”"
    return _plain(value) if isinstance(value, float) else f"{len(value)} sentences"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def numbers(baseline: Baseline, prompt: str, text: str, ended: bool, tokens: int) -> dict[str, Any]:
    """The measures of one text, which the baseline reads; empty for one that is too short to measure."""
    try:
        return measured([Written(prompt, text, ended, tokens)], baseline)
    except BaselineError:
        return {}


def numbers_in_words(found: Mapping[str, Any]) -> list[str]:
    """The measures in a few words each."""
    words = {"perplexity_per_word": "perplexity {}", "distinct_2": "distinct 2-grams {}",
             "repeated_4": "repeated 4-grams {}"}  # fmt: skip
    shapes = {name: shape for name, _, shape, _ in MEASURES}
    return [note.format(_cell(shapes[name], found.get(name))) for name, note in words.items() if name in found]


def measures_of(columns: Sequence[tuple[str, Mapping[str, Any], float | None, int]], note: str) -> dict[str, Any]:
    """The value of a MeasuresTable for texts side by side.

    columns: (name, measures, seconds or None where they are not known, tokens). note: stands below.
    """
    seconds = ["-" if seconds is None else f"{seconds:.1f} s" for _, _, seconds, _ in columns]
    speeds = [f"{tokens / seconds:.0f}" if seconds else "-" for _, _, seconds, tokens in columns]
    rows = [("Time", "How long it took here, each step shown on the way.", seconds), ("Tokens a second", "", speeds)]
    for name, label, shape, about in MEASURES:
        rows.append((label, about, [_cell(shape, found.get(name)) for _, found, _, _ in columns]))
    note += " One text each: numbers of a single text say little, those of many are in the model's card."
    return measures_value([name for name, *_ in columns], rows, note)


def _cell(shape: str, value: float | None) -> str:
    return "-" if value is None else shape.format(value).replace("%", "\N{NO-BREAK SPACE}%")
