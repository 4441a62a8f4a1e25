"""Instances of the structured tasks, drawn by seed: a prompt, an answer that is right, and how long it is.

    F2:16=    a balanced word of 2 kinds of brackets and 16 brackets
    P2:([]    what completes a balanced word of 2 kinds that begins like this
    C:abc=    the same letters           R:abc=    the letters from the last to the first
    S:cab=    the letters in their order          K:a37b12?b=    the value that stands behind the key b
    A:37+58=  the sum or difference      J:an,bs=  an object with the keys a (a number) and b (a string)

The size of an instance is what its task grows by: brackets, letters, pairs, digits, fields.
"""

from __future__ import annotations

import dataclasses
import itertools
import string
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

PAIRS = ("()", "[]", "{}")
LETTERS = string.ascii_lowercase
JSON_KINDS = "nstl"  # number, string, true or false, list of digits
MOST_PARTS = 3  # letters of a JSON string, digits in a JSON list
HELD_OUT = 8  # one prompt of so many is for tests alone


@dataclasses.dataclass(frozen=True)
class Instance:
    """prompt: what the model reads. answer: one that is right, of several where the task has a choice."""

    task: str
    size: int
    prompt: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Task:
    """label: for people. sizes: those of training. longer: sizes beyond them, for tests alone. unit: of the size.
    unique: is one answer alone right. draw: (random, size) -> prompt, answer.
    """

    label: str
    unit: str
    sizes: Sequence[int]
    draw: Callable[[Random, int], tuple[str, str]]
    longer: Sequence[int] = ()
    unique: bool = True


def training_instance(random: Random) -> Instance:
    """An instance of any task in any of its training sizes, small ones more often, so that all sizes have their share
    of the tokens; never one that is held out."""
    task = random.choice(list(TASKS))
    sizes = TASKS[task].sizes
    size = random.choices(sizes, [size**-0.5 for size in sizes])[0]
    return next(x for x in _instances(task, size, random) if not is_held_out(x))


def held_out_instances(task: str, size: int, count: int, seed: int) -> list[Instance]:
    """Instances that are held out, of different prompts as far as the task has so many; by (task, size, seed) alone."""
    random = Random(f"{task} {size} {seed}")
    if is_free(task):
        return list(itertools.islice(_instances(task, size, random), count))
    found: dict[str, Instance] = {}
    for drawn in itertools.islice(_instances(task, size, random), 16 * HELD_OUT * count):
        if is_held_out(drawn):
            found.setdefault(drawn.prompt, drawn)
        if len(found) == count:
            break
    return list(found.values())


def is_free(task: str) -> bool:
    """Has the task one prompt for all of its instances of a size, which then cannot be held out?"""
    return task.startswith("dyck")


def is_held_out(instance: Instance) -> bool:
    """Is this prompt for tests alone? By a hash, so that training needs to know no test."""
    return not is_free(instance.task) and zlib.crc32(instance.prompt.encode()) % HELD_OUT == 0


def _instances(task: str, size: int, random: Random) -> Iterator[Instance]:
    while True:
        yield Instance(task, size, *TASKS[task].draw(random, size))


def balanced_word(random: Random, kinds: int, length: int) -> str:
    """A balanced word of `length` brackets, evenly among all (cycle lemma; Dvoretzky and Motzkin 1947), each pair of a
    kind of its own. Raises ValueError for an odd length.
    """
    if length % 2 or length < 2:
        raise ValueError(f"a balanced word has {length} brackets, expected an even number from 2")
    steps = [1] * (length // 2 + 1) + [-1] * (length // 2)
    random.shuffle(steps)
    heights = list(itertools.accumulate(steps))
    lowest = min(heights)
    start = max(place for place, height in enumerate(heights) if height == lowest) + 1
    steps = (steps[start:] + steps[:start])[1:]  # stays above 0, so without its first step it stays from 0 up
    word, waiting = [], []
    for step in steps:
        if step > 0:
            opening, closing = PAIRS[random.randrange(kinds)]
            waiting.append(closing)
            word.append(opening)
        else:
            word.append(waiting.pop())
    return "".join(word)


def _kinds(count: int) -> str:
    return f"{count} kind{'s' if count > 1 else ''}"


def _free(kinds: int) -> Callable[[Random, int], tuple[str, str]]:
    def draw(random: Random, size: int) -> tuple[str, str]:
        return f"F{kinds}:{size}=", balanced_word(random, kinds, size)

    return draw


def longest_completion(size: int) -> int:
    """The most brackets of a word of `size` that a model has to complete it with."""
    return size // 2 + (size // 4 if size in BRACKETS else size // 16)


def _prefix(kinds: int) -> Callable[[Random, int], tuple[str, str]]:
    def draw(random: Random, size: int) -> tuple[str, str]:
        """Cut where something is open, at a quarter to three quarters; longer words near the middle, so that what
        begins them and what completes them are both short enough for the transformer.
        """
        word = balanced_word(random, kinds, size)
        heights = list(itertools.accumulate((1 if bracket in "([{" else -1 for bracket in word), initial=0))
        places = range(size - longest_completion(size), longest_completion(size) + 1)
        cut = random.choice([place for place in places if heights[place]])
        return f"P{kinds}:{word[:cut]}", word[cut:]

    return draw


def _letters(random: Random, size: int) -> str:
    return "".join(random.choices(LETTERS, k=size))


def _copy(random: Random, size: int) -> tuple[str, str]:
    letters = _letters(random, size)
    return f"C:{letters}=", letters


def _reverse(random: Random, size: int) -> tuple[str, str]:
    letters = _letters(random, size)
    return f"R:{letters}=", letters[::-1]


def _sort(random: Random, size: int) -> tuple[str, str]:
    letters = _letters(random, size)
    return f"S:{letters}=", "".join(sorted(letters))


def _recall(random: Random, size: int) -> tuple[str, str]:
    keys = random.sample(LETTERS, size)
    values = [f"{random.randrange(100):02}" for _ in keys]
    asked = random.randrange(size)
    pairs = "".join(key + value for key, value in zip(keys, values, strict=True))
    return f"K:{pairs}?{keys[asked]}=", values[asked]


def _arithmetic(random: Random, size: int) -> tuple[str, str]:
    """A sum or a difference of two numbers of `size` digits."""
    a, b = (random.randrange(10 ** (size - 1) if size > 1 else 0, 10**size) for _ in range(2))
    return (f"A:{a}+{b}=", str(a + b)) if random.random() < 0.5 else (f"A:{a}-{b}=", str(a - b))


def _json(random: Random, size: int) -> tuple[str, str]:
    fields = [(key, random.choice(JSON_KINDS)) for key in sorted(random.sample(LETTERS, size))]
    schema = ",".join(key + kind for key, kind in fields)
    inside = ",".join(f'"{key}":{_json_value(random, kind)}' for key, kind in fields)
    return f"J:{schema}=", f"{{{inside}}}"


def _json_value(random: Random, kind: str) -> str:
    if kind == "n":
        return str(random.randrange(100))
    if kind == "t":
        return random.choice(("true", "false"))
    parts = random.randint(1, MOST_PARTS)
    if kind == "s":
        return f'"{_letters(random, parts)}"'
    return f"[{','.join(str(random.randrange(10)) for _ in range(parts))}]"


BRACKETS, LONGER_BRACKETS = (8, 16, 32, 64), (128, 256)
TASKS: Mapping[str, Task] = {
    **{f"dyck{k}": Task(f"free brackets of {_kinds(k)}", "brackets", BRACKETS, _free(k), LONGER_BRACKETS, unique=False)
       for k in (1, 2, 3)},
    **{f"close{k}": Task(f"completing brackets of {_kinds(k)}", "brackets", BRACKETS, _prefix(k), LONGER_BRACKETS,
                         unique=False) for k in (1, 2, 3)},
    "copy": Task("copying", "letters", (4, 8, 16, 32), _copy),
    "reverse": Task("reversing", "letters", (4, 8, 16, 32), _reverse),
    "sort": Task("sorting", "letters", (4, 8, 16), _sort),
    "recall": Task("key-value recall", "pairs", (2, 4, 8, 16), _recall),
    "arithmetic": Task("arithmetic", "digits", (1, 2, 3), _arithmetic),
    "json": Task("JSON by a schema", "fields", (1, 2, 3, 4), _json, unique=False),
}  # fmt: skip
