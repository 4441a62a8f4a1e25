"""How many held-out sentences a shipped direction turns: measured with a model, kept beside the directions.

In each held-out pair the words in which its two sentences differ are selected (from the first differing token to the
last), pushed along the direction and carried back by the flow: the first sentence forwards, the second backwards. A
sentence is turned when it then holds a word that only the other end of the direction uses and none that only its own
end uses. Words of an end: those of its sentences, fit and held out, that no sentence of the other end has.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..model import ColaDLM
from ..settings import SamplerSettings
from .directions import FOLDER, SentencePairs, build_shipped, load_pairs
from .edit import SpanEdit, edited_tokens
from .layout import LatentSpace, lay_out

MEASURED = FOLDER / "measured"  # a file for each model that was measured, by its fingerprint
STRENGTHS, NOISES = (0.5, 1.0, 1.5, 2.0), (0.0, 0.2, 0.4, 0.6)  # what a direction is measured with


@dataclasses.dataclass(frozen=True)
class Turning:
    """What a direction does to held-out sentences. turned: share of edits that turn their sentence, 0 to 1. reached:
    share that is the pair's other sentence to the letter. edits: how many there were, both ways and all candidates.
    strength, renoise: of the edits, as in edit.OPTIONS.
    """

    turned: float
    reached: float
    edits: int
    strength: float
    renoise: float


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def end_words(pairs: SentencePairs) -> tuple[set[str], set[str]]:
    """The words that only the first, and that only the second end of a direction uses."""
    first, second = (set().union(*map(words, side)) for side in zip(*pairs.fit, *pairs.held_out, strict=True))
    return first - second, second - first


def differing(first: list[int], second: list[int]) -> tuple[int, int]:
    """The span of `first` that is not a common start or end of both; at least one token."""
    start = 0
    while start < min(len(first), len(second)) - 1 and first[start] == second[start]:
        start += 1
    same = 0
    while same < min(len(first), len(second)) - start - 1 and first[-1 - same] == second[-1 - same]:
        same += 1
    return start, len(first) - same


@dataclasses.dataclass(frozen=True, eq=False)
class TurningEdit:
    """A held-out sentence that a direction is to turn. way: the end that it is of, 0 or 1. other: the pair's other."""

    edit: SpanEdit
    way: int
    other: str


def turning_edits(model: ColaDLM, name: str, strength: float, renoise: float) -> list[TurningEdit]:
    """The edits of all held-out sentences of a shipped direction, both ways round. Raises DirectionError."""
    pairs, direction, space = load_pairs(name), build_shipped(model, name), LatentSpace(model.vae.config)
    found = []
    for pair in pairs.held_out:
        for way in (0, 1):
            own, other = model.tokenize(pair[way]), model.tokenize(pair[1 - way])
            layout, (start, end) = lay_out(model, [own])[0], differing(own, other)
            span = start // model.patch_size, -(-end // model.patch_size)
            moved = space.push(layout.latents[slice(*span)], direction.vector, strength if way == 0 else -strength)
            found.append(TurningEdit(SpanEdit(model, layout, span, renoise, moved), way, pair[1 - way]))
    return found


def is_turned(text: str, ends: tuple[set[str], set[str]], way: int) -> bool:
    """Has a sentence of end `way` come to the other one? ends: as `end_words` gives them."""
    found = words(text)
    return bool(found & ends[1 - way]) and not found & ends[way]


def measure(model: ColaDLM, name: str, settings: SamplerSettings, strength: float = 1.0, renoise: float = 0.2,
            candidates: int = 4) -> Turning:  # fmt: skip
    """Measures a shipped direction; all edits run as one batch. Raises DirectionError."""
    asked = turning_edits(model, name, strength, renoise)
    keys = [key for key in range(candidates) for _ in asked]
    settings = dataclasses.replace(settings, repetition_penalty=1.0, no_repeat_ngram_size=0)
    ends, turned, reached = end_words(load_pairs(name)), 0, 0
    edits = [one.edit for one in asked] * candidates
    for ids, one in zip(edited_tokens(edits, keys, settings), asked * candidates, strict=True):
        text = model.read(ids)
        turned += is_turned(text, ends, one.way)
        reached += text == one.other
    return Turning(turned / len(keys), reached / len(keys), len(keys), strength, renoise)


def survey(model: ColaDLM, name: str) -> Iterator[Turning]:
    """A shipped direction by every strength and noise of the table, with the model's own settings."""
    for strength, renoise in itertools.product(STRENGTHS, NOISES):
        yield measure(model, name, model.defaults, strength, renoise)


def save_measured(turnings: Mapping[str, Turning], file: Path) -> None:
    """Keeps what was measured, by the name of the direction. Raises OSError."""
    data = {name: dataclasses.asdict(turning) for name, turning in turnings.items()}
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def measured(model: ColaDLM) -> dict[str, Turning]:
    """What was measured with this model, by the name of the direction; empty if nothing was."""
    file = MEASURED / f"{model.fingerprint}.json"
    if not file.is_file():
        return {}
    return {name: Turning(**turning) for name, turning in json.loads(file.read_text(encoding="utf-8")).items()}
