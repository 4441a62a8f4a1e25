"""Whether an answer to a structured task is exactly right, and where it goes wrong first. Reads prompts anew, so that
it shares no step with the generators.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import describe

CLOSING = {"(": ")", "[": "]", "{": "}"}
KINDS_OF = {"1": "()", "2": "()[]", "3": "()[]{}"}
PROMPTS = {  # what a prompt of each task looks like, and an example
    "F": (r"F[123]:[0-9]{1,4}=", "F2:16="),
    "P": (r"P[123]:[\[\](){}]+", "P2:([]"),
    "C": (r"C:[a-z]+=", "C:abca="),
    "R": (r"R:[a-z]+=", "R:abca="),
    "S": (r"S:[a-z]+=", "S:cab="),
    "K": (r"K:([a-z][0-9]{2})+\?[a-z]=", "K:a37b12?b="),
    "A": (r"A:[0-9]{1,9}[+-][0-9]{1,9}=", "A:37+58="),
    "J": (r"J:[a-z][nstl](,[a-z][nstl])*=", "J:an,bs="),
}
PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


def is_right(prompt: str, answer: str) -> bool:
    """Is `answer`, all that was written before the end token, exactly right?

    Raises ValueError for a prompt that is none of the tasks'.
    """
    _check_prompt(prompt)
    return _VALIDATORS[prompt[0]](prompt, answer)


def _check_prompt(prompt: str) -> None:
    """Raises ValueError for a prompt that is none of the tasks', and for one that no answer can be right for."""
    kind = prompt[:1]
    if kind not in PROMPTS:
        raise ValueError(f"the prompt is {describe(prompt)}, expected one that begins with one of {' '.join(PROMPTS)}")
    refusal, (pattern, example) = None, PROMPTS[kind]
    if not re.fullmatch(pattern, prompt):
        refusal = f"one like {example}"
    elif kind == "F" and (int(prompt[3:-1]) % 2 or int(prompt[3:-1]) < 2):
        refusal = "an even number of brackets from 2"
    elif kind == "P" and first_unbalanced(prompt[3:], KINDS_OF[prompt[1]]) not in (None, len(prompt) - 3):
        refusal = "the beginning of a balanced word of these kinds"
    elif kind in "KJ":
        keys = prompt[2:-3:3] if kind == "K" else prompt[2::3]
        if len(set(keys)) < len(keys):
            refusal = "each key once"
        elif kind == "K" and prompt[-2] not in keys:
            refusal = "a key that is among the pairs"
    if refusal is not None:
        raise ValueError(f"the prompt is {describe(prompt)}, expected {refusal}")


def is_balanced(word: str, kinds: str) -> bool:
    """Is the word made of brackets of `kinds` alone, each closed by its own in the right order?"""
    return first_unbalanced(word, kinds) is None


def first_unbalanced(word: str, kinds: str) -> int | None:
    """The first place where a word stops being the beginning of a balanced one; its length where it only ends too
    early; None if it is balanced.
    """
    waiting: list[str] = []
    for place, bracket in enumerate(word):
        if bracket not in kinds:
            return place
        if bracket in CLOSING:
            waiting.append(CLOSING[bracket])
        elif not waiting or waiting.pop() != bracket:
            return place
    return len(word) if waiting else None


def first_error(prompt: str, answer: str) -> int | None:
    """The place in an answer that is wrong first: its length where it ends too early, None where nothing is wrong.

    Raises ValueError for a prompt that is none of the tasks', and for a task whose answers cannot be judged from the
    left (JSON).
    """
    _check_prompt(prompt)
    kind = prompt[0]
    if kind == "J":
        raise ValueError("an object by a schema is right or wrong as a whole, expected a task that reads left to right")
    if kind == "P":
        _, _, begun = prompt.partition(":")
        found = first_unbalanced(begun + answer, KINDS_OF[prompt[1]])
        return None if found is None else found - len(begun)
    if kind == "F":
        return _first_error_of_free(prompt, answer)
    wanted = _the_answer(prompt)
    differing = (i for i, (a, b) in enumerate(zip(answer, wanted, strict=False)) if a != b)
    place = next(differing, min(len(answer), len(wanted)))
    return None if answer == wanted else place


def _first_error_of_free(prompt: str, answer: str) -> int | None:
    """Where no balanced word of the length that was asked for goes on like this."""
    size, height = int(prompt[3:-1]), 0
    unbalanced = first_unbalanced(answer, KINDS_OF[prompt[1]])
    for place, bracket in enumerate(answer):
        height += 1 if bracket in CLOSING else -1
        if place == unbalanced or height > size - place - 1:
            return place
    return None if len(answer) == size else len(answer)


def _the_answer(prompt: str) -> str:
    """The one answer that is right."""
    kind, body = prompt[0], prompt[2:-1]
    if kind == "C":
        return body
    if kind == "R":
        return "".join(reversed(body))
    if kind == "S":
        return "".join(letter * body.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz")
    if kind == "K":
        pairs, _, key = body.partition("?")
        place = next(i for i in range(0, len(pairs), 3) if pairs[i] == key)
        return pairs[place + 1 : place + 3]
    if "+" in body:
        return str(sum(int(number) for number in body.split("+")))
    minuend, _, subtrahend = body.partition("-")
    return str(int(minuend) - int(subtrahend))


def _free(prompt: str, answer: str) -> bool:
    return len(answer) == int(prompt[3:-1]) and is_balanced(answer, KINDS_OF[prompt[1]])


def _completed(prompt: str, answer: str) -> bool:
    return is_balanced(prompt[3:] + answer, KINDS_OF[prompt[1]])


def _one_answer(prompt: str, answer: str) -> bool:
    return answer == _the_answer(prompt)


def _json(prompt: str, answer: str) -> bool:
    """An object with exactly the keys that were asked for, each once, in any order, each of its kind."""
    try:
        found = json.loads(answer, object_pairs_hook=_once, parse_int=_plain_int)
    except (ValueError, RecursionError):  # brackets within brackets, some thousand deep
        return False
    wanted = {field[0]: field[1] for field in prompt[2:-1].split(",")}
    return (
        isinstance(found, dict)
        and found.keys() == wanted.keys()
        and all(_of_kind(value, wanted[key]) for key, value in found.items())
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _plain_int(text: str) -> int:
    if not PLAIN_NUMBER.fullmatch(text):
        raise ValueError("not a plain number")
    return int(text)


def _of_kind(value: Any, kind: str) -> bool:
    if kind == "t":
        return isinstance(value, bool)
    if kind == "s":
        return isinstance(value, str) and re.fullmatch("[a-z]{1,3}", value) is not None
    if kind == "n":
        return type(value) is int and 0 <= value <= 99
    return isinstance(value, list) and 1 <= len(value) <= 3 and all(type(i) is int and 0 <= i <= 9 for i in value)


_VALIDATORS: Mapping[str, Callable[[str, str], bool]] = {
    "F": _free, "P": _completed, "J": _json, **dict.fromkeys("CRSKA", _one_answer),
}  # fmt: skip
