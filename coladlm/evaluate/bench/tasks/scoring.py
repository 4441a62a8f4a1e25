"""Which answers are right, by the rules of the published evaluation (ByteDance-Seed/Cola-DLM, `scripts/acc_calc.py`).

The rules are kept to the letter, oddities too, so that counts can be compared: a truth that reads "C" is the third
choice whatever stands there, and an answer that contains one choice and no other names it even in a denial.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Sequence

from .data import Item, Rule

LIKE = 0.9  # from here on a text that resembles a choice is taken for it
SHORT = 40  # characters; a letter in brackets is looked for in answers up to here
LETTER = r"[(\[]?\s*([a-z])\s*[)\]]?"
SAYS = r"\s*(?:is|[=:：])?\s*"
WHOLE_LETTER = re.compile(LETTER + r"\.?", re.I)
ANNOUNCED_LETTER = re.compile(
    r"\b(?:final\s+answer|answer|option|choice)\b" + SAYS + LETTER + r"(?=[\s.,;:!?]|$)", re.I
)
BRACKETED_LETTER = re.compile(r"[(\[]\s*([a-z])\s*[)\]]", re.I)
ANNOUNCED = re.compile(r"\b(?:final\s+answer|answer)\b" + SAYS + r"(.+)$", re.I)
OPENING = re.compile(r"^(?:the\s+)?(?:correct\s+)?(?:final\s+)?(?:answer|option|choice)\b" + SAYS, re.I)


def answer_in(text: str) -> str:
    """What of a model's text is its answer: all before the first line break that has a word before it."""
    word = re.search(r"\w", text)
    end = text.find("\n", word.end()) if word else -1
    return text if end < 0 else text[:end]


def is_right(rule: Rule, answer: str, item: Item) -> bool:
    """Is this the answer of the item? answer: as `answer_in` gives it."""
    if rule == "first word":
        return plain(answer).split()[:1] == plain(item.truth).split()[:1]
    if rule == "choice":
        wanted = _by_letter(item.truth, item.choices)
        wanted = _by_text(item.truth, item.choices) if wanted is None else wanted
        if wanted is not None and named_choice(answer, item.choices) == wanted:
            return True
    return plain(answer) == plain(item.truth)


def plain(text: str) -> str:
    """Lower case, without what is neither a word character nor a space, spaces folded."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())


def named_choice(answer: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer names, by its letter or its text; None where it names none."""
    for text in (_announced(answer), answer):
        for look in (_by_letter, _by_text):
            found = look(text, choices)
            if found is not None:
                return found
    return None


def equal_choice(answer: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer is, word for word, where only that counts."""
    wanted = plain(answer)
    return next((number for number, choice in enumerate(choices) if plain(choice) == wanted), None)


def _announced(text: str) -> str:
    """What follows the word "answer" in the last line that has it, else all of the text."""
    for line in reversed(text.strip().splitlines()):
        if (found := ANNOUNCED.search(line.strip())) and found[1].strip():
            return found[1].strip()
    return text.strip()


def _by_letter(text: str, choices: Sequence[str]) -> int | None:
    """The choice whose letter stands alone, else after "answer" or "choice", else in brackets in a short text."""
    text = text.strip()
    whole = WHOLE_LETTER.fullmatch(text)
    bracketed = BRACKETED_LETTER.findall(text) if len(text) <= SHORT else []
    for letters in ([whole[1]] if whole else [], ANNOUNCED_LETTER.findall(text), bracketed):
        if letters:
            number = string.ascii_lowercase.find(letters[-1].lower())
            if 0 <= number < len(choices):
                return number
    return None


def _by_text(text: str, choices: Sequence[str]) -> int | None:
    """The choice that a text is, else the only one within it, else the one that it resembles most."""
    if not plain(text):
        return None
    cut = OPENING.sub("", text).strip()
    for wanted in (text, cut):
        if (found := equal_choice(wanted, choices)) is not None:
            return found if plain(wanted) else None
    cut = plain(cut)
    if not cut:
        return None
    texts = [plain(choice) for choice in choices]
    within = [number for number, choice in enumerate(texts) if choice and choice in cut]
    if len(within) == 1:
        return within[0]
    alike = [difflib.SequenceMatcher(None, cut, choice).ratio() for choice in texts]
    best = max(alike, default=0.0)
    return alike.index(best) if best >= LIKE else None
