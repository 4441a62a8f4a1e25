"""What the whole bench says, in short paragraphs: where diffusion wins, where it loses, and at what price."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..results import Result
from . import cost, likelihood, long_context, strengths, structured, tasks
from .points import ALIKE, LOSES, WINS, Point, sentences
from .rows import number

POINTS: dict[str, Callable[[Result], Iterator[Point]]] = {
    "strengths": strengths.points_of,
    "structured": structured.points_of,
    "likelihood": likelihood.points_of,
    "cost": cost.points_of,
    "long": long_context.points_of,
}
RULE = f"{strengths.RULE} Where no difference over the same items is kept, the two intervals must not meet."


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """heading: a few words. sentences: what stands under it."""

    heading: str
    sentences: Sequence[str]


def summary(results: Sequence[Result]) -> list[Paragraph]:
    """From the results that there are. The first figure of each sentence is the Cola-DLM's. Raises ResultError."""
    parts = {result.part: result for result in results}
    points = [point for part, tell in POINTS.items() if part in parts for point in tell(parts[part]) if point.main]
    found = [
        Paragraph("Where diffusion wins", sentences(points, WINS) or ["Nowhere in what was measured."]),
        Paragraph("Where it loses", sentences(points, LOSES) or ["Nowhere in what was measured."]),
        Paragraph("Not to be told apart", sentences(points, ALIKE)),
        Paragraph("At what price", list(_prices(parts))),
        Paragraph("The eight published tasks", list(tasks.in_short(parts["tasks"])) if "tasks" in parts else []),
    ]
    return [paragraph for paragraph in found if paragraph.sentences]


def _prices(parts: Mapping[str, Result]) -> Iterator[str]:
    if "cost" in parts:
        yield f"Time: {_lowered(cost.price(parts['cost']))}"
    if "strengths" in parts:
        yield f"More texts at once: {_lowered(strengths.price(parts['strengths']).removeprefix('The price: '))}"
    if "long" in parts:
        yield from filter(None, (long_context.memory(parts["long"]), long_context.reach(parts["long"])))
    sizes = parameters(results=list(parts.values()))
    if sizes:
        yield f"Size: {sizes[0]} million parameters against {sizes[1]} million, trained on the same stories."


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]


def parameters(results: Sequence[Result]) -> tuple[str, str] | None:
    """Millions of parameters of the Cola-DLM and of the transformer that writes stories beside it, if a result says."""
    for result in results:
        own, other = (result.model.get(name) for name in ("parameters", "transformer_parameters"))
        if isinstance(own, int) and isinstance(other, int):
            return number(own / 1e6), number(other / 1e6)
    return None


def terms(results: Sequence[Result]) -> list[str]:
    """What the words of the summary mean, and by which rule somebody wins."""
    found = [RULE]
    reader = next((strengths.reader_of(result) for result in results if result.part == "strengths"), None)
    if reader is not None:
        judge = ", a language model apart from the two" * (reader != "the transformer")
        found.append(f"{strengths.PERPLEXITY}. Here it is read by {reader}{judge}.")
        found.append(
            "Pushed by 1: the latents of the words are moved along the direction by one radius, the typical length of "
            "a latent. Stagger: how far the words of a block begin one after another, from 0, all at once, to 1."
        )
    if any(result.part == "likelihood" for result in results):
        found.append(f"A nat is 1.44 bits. {likelihood.BRIER_MEANS} {likelihood.BELOW_ZERO}")
    return found
