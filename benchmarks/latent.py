"""What interpolation, edits, inversion and directions do, on held-out sentences: the tables of docs/interpolation.md.

    python -m benchmarks.latent --data FOLDER [--checkpoint FOLDER] [--baseline FOLDER] [--only edits ...]

FOLDER holds valid.jsonl, one story a line, which the model has not been trained on. Fluency is the perplexity per word
under the autoregressive baseline, each text read from its start. Every table is printed as soon as it is there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.baseline import BUNDLED, Baseline, perplexities
from coladlm.latent import (
    Edited,
    Interpolation,
    exact_settings,
    lay_out,
    round_trips,
    run_edit,
    run_interpolate,
    shipped,
    turning,
)
from coladlm.latent.distances import text_distances
from coladlm.latent.fit import FIT_TIMES, velocity_error
from coladlm.recipe import Recipe

SENTENCE = re.compile(r"[A-Z][^.!?\n\"]+[.!?]")
WAYPOINTS = 9


class Held:
    """Held-out texts: sentences of 5 to 16 tokens, and beginnings of stories of 64."""

    def __init__(self, model: ColaDLM, folder: Path, pairs: int):
        stories = [json.loads(line)["text"] for line in (folder / "valid.jsonl").read_text("utf-8").splitlines()]
        sentences = {sentence for story in stories for sentence in SENTENCE.findall(story)}
        fitting = [sentence for sentence in sorted(sentences) if 5 <= len(model.tokenize(sentence)) <= 16]
        random.Random(0).shuffle(fitting)
        self.pairs = [tuple(fitting[i : i + 2]) for i in range(0, 2 * pairs, 2)]
        self.sentences = fitting[: 2 * pairs]
        long = [model.tokenize(story)[:64] for story in stories]
        self.starts = [model.read(ids) for ids in long if len(ids) == 64][:pairs]


def table(title: str, head: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    """Prints a Markdown table row by row."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(f'{x:.3g}' if isinstance(x, float) else str(x) for x in row)} |", flush=True)


def fluency(baseline: Baseline | None, texts: Sequence[str]) -> str:
    """Perplexity per word of texts; empty ones are left out."""
    if baseline is None:
        return "not measured"
    return f"{perplexities(baseline.log_likelihood([text for text in texts if text.strip()]))['per_word']:.1f}"


# inversion


def inversions(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    layouts = lay_out(model, [model.tokenize(text) for text in held.sentences])
    right = [(model.decode(x.latents).argmax(-1).cpu()[: x.tokens] == x.ids[: x.tokens]).sum() for x in layouts]
    share = float(sum(right)) / sum(layout.tokens for layout in layouts)
    print(f"\nThe VAE alone (encode, decode) restores {share:.2%} of the tokens of these {len(layouts)} sentences.")

    def rows() -> Iterator[Sequence[object]]:
        grid = [("euler", steps, n) for steps in (8, 16, 32) for n in (0, 2, 4, 8)]
        grid += [(solver, 16, n) for solver in ("midpoint", "heun") for n in (0, 4)]
        for solver, steps, iterations in grid:
            settings = dataclasses.replace(exact_settings(model.defaults), steps=steps, solver=solver)
            yield (solver, steps, iterations, *trip_row(model, held, settings, iterations))
        for change in ({"history": "latents"}, {"guidance": 1.5}, {"guidance": 2.0}, {"guidance": 3.0}):
            settings = dataclasses.replace(exact_settings(model.defaults), **change)
            named = ", ".join(f"{key} {value}" for key, value in change.items())
            yield (f"{settings.solver}, {named}", settings.steps, 4, *trip_row(model, held, settings, 4))

    head = ("solver", "steps", "iterations", "tokens restored", "whole sentences", "latent error (rad)", "noise size",
            "ms a sentence")  # fmt: skip
    table("Inversion and back", head, rows())


def trip_row(model: ColaDLM, held: Held, settings: SamplerSettings, iterations: int) -> Sequence[object]:
    start = time.perf_counter()
    trips = round_trips(model, held.sentences, settings, iterations)
    seconds = time.perf_counter() - start
    tokens = sum(trip.restored for trip in trips) / sum(trip.tokens for trip in trips)
    whole = statistics.mean(trip.restored == trip.tokens for trip in trips)
    error = statistics.mean(trip.latent_error for trip in trips)
    size = statistics.mean(trip.noise_size for trip in trips)
    return f"{tokens:.2%}", f"{whole:.0%}", f"{error:.4f}", size, 1000 * seconds / len(trips)


# interpolations


BEFORE = "One day they went to the park. They had a lot of fun.\n"  # sentences of a story do not stand at its start
FRESH = {"stochasticity": 1.0, "guidance": 1.4, "stagger": 1.0, "steps": 32}  # all of the noise renewed at each step
METHODS: list[tuple[str, dict[str, object], dict[str, object]]] = [  # name, options, settings over the model's own
    ("decoder only", {"road": "decoder_only"}, {}),
    *((f"through the flow, noise {x:.0%}", {"renoise": x}, {}) for x in (0.35, 0.5, 0.65, 0.8)),
    ("the same at 50%, flat", {"renoise": 0.5, "profile": "flat"}, {}),
    ("the same at 50%, stretched", {"renoise": 0.5, "align": "stretch"}, {}),
    *((f"the same at {x:.0%}, a story before", {"renoise": x, "before": BEFORE}, {}) for x in (0.5, 0.65, 0.8)),
    ("the same at 50%, a story before, fresh noise", {"renoise": 0.5, "before": BEFORE}, FRESH),
    ("noise to noise", {"road": "noise_to_noise"}, {}),
    ("noise to noise, a story before", {"road": "noise_to_noise", "before": BEFORE}, {}),
    ("prompt to prompt", {"road": "prompt_to_prompt"}, {"max_new_tokens": 12}),
]


def interpolations(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    def rows() -> Iterator[Sequence[object]]:
        ends = fluency(baseline, held.sentences)
        yield "the sentences themselves", ends, "", "", "", "", "", ""
        for name, options, changes in METHODS:
            settings = dataclasses.replace(model.defaults, **changes)
            start = time.perf_counter()
            found = [walk(model, pair, settings, options) for pair in held.pairs]
            seconds = (time.perf_counter() - start) / len(found)
            middle = [waypoint.text for interpolation in found for waypoint in interpolation.waypoints[2:-2]]
            new = [new_texts(interpolation) for interpolation in found]
            jumps = [text_jumps(model, interpolation) for interpolation in found]
            total = [max(sum(steps), 1e-9) for steps in jumps]
            largest = [max(steps) / all_ for steps, all_ in zip(jumps, total, strict=True)]
            idle = [statistics.mean(step < 1e-6 for step in steps) for steps in jumps]
            detour = [
                all_ / max(text_distance(model, interpolation), 1e-9)
                for all_, interpolation in zip(total, found, strict=True)
            ]
            kept = [reproduced(interpolation, pair) for interpolation, pair in zip(found, held.pairs, strict=True)]
            yield (name, fluency(baseline, middle), statistics.mean(new), f"{statistics.mean(largest):.0%}",
                   f"{statistics.mean(idle):.0%}", statistics.mean(detour), f"{statistics.mean(kept):.1%}",
                   seconds)  # fmt: skip

    head = ("method", "perplexity of the middle five", "new texts of 7", "largest jump", "steps that stay",
            "length over the straight way", "ends reproduced", "s")  # fmt: skip
    table(f"Interpolations, {WAYPOINTS} waypoints, {len(held.pairs)} pairs", head, rows())


def walk(model: ColaDLM, pair: Sequence[str], settings: SamplerSettings, options: dict[str, object]) -> Interpolation:
    recipe = Recipe("interpolate", tuple(pair), settings, options={"stops": WAYPOINTS, **options})
    return [event for event in run_interpolate(model, recipe) if isinstance(event, Interpolation)][-1]


def new_texts(interpolation: Interpolation) -> int:
    """How many different texts stand between the two ends."""
    first, *between, last = [waypoint.text for waypoint in interpolation.waypoints]
    return len(set(between) - {first, last})


def text_jumps(model: ColaDLM, interpolation: Interpolation) -> list[float]:
    """Latent distances between neighbouring waypoints as they read."""
    ids = [waypoint.token_ids for waypoint in interpolation.waypoints]
    distances = text_distances(model, ids[1:], ids[:-1])
    return [distances[i][i] for i in range(len(ids) - 1)]


def text_distance(model: ColaDLM, interpolation: Interpolation) -> float:
    return text_distances(model, [interpolation.waypoints[0].token_ids], [interpolation.waypoints[-1].token_ids])[0][0]


def reproduced(interpolation: Interpolation, pair: Sequence[str]) -> float:
    """Share of the two ends that are their texts to the letter (prompt to prompt: begin with them)."""
    ends = (interpolation.waypoints[0], interpolation.waypoints[-1])
    if interpolation.method == "prompt_to_prompt":
        return statistics.mean(waypoint.text.startswith(text) for waypoint, text in zip(ends, pair, strict=True))
    return statistics.mean(waypoint.text == text for waypoint, text in zip(ends, pair, strict=True))


# edits


EDITS: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("anew", {"method": "anew"}, {}),
    ("anew, fresh noise", {"method": "anew"}, FRESH),
    ("anew, what follows too", {"method": "anew", "follow": 1.0}, {}),
    *((f"renoise {x:.0%}", {"method": "renoise", "strength": x}, {}) for x in (0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)),
    ("mix 50%, noise 40%", {"method": "mix", "strength": 0.5}, {}),
    ("mix 100%, noise 40%", {"method": "mix", "strength": 1.0}, {}),
    ("mix 100%, no noise", {"method": "mix", "strength": 1.0, "renoise": 0.0}, {}),
    ("component 0 by 1, noise 40%", {"method": "component", "strength": 1.0}, {}),
    ("component 0 by 1, no noise", {"method": "component", "strength": 1.0, "renoise": 0.0}, {}),
]


def spans(held: Held, model: ColaDLM) -> list[tuple[str, int, int]]:
    """A span of 1 to 6 tokens in the middle of each beginning of a story."""
    draw = random.Random(0)
    found = []
    for text in held.starts:
        start, length = draw.randrange(16, 48), draw.randint(1, 6)
        found.append((text, start, start + length))
    return found


def edits(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    places = spans(held, model)

    def rows() -> Iterator[Sequence[object]]:
        yield "the texts themselves", "", "", fluency(baseline, [text for text, _, _ in places]), "", "", ""
        for name, options, changes in EDITS:
            settings = dataclasses.replace(model.defaults, **changes)
            start = time.perf_counter()
            found = []
            for index, (text, first, last) in enumerate(places):
                texts = (text, held.sentences[index]) if options["method"] == "mix" else (text,)
                recipe = Recipe("edit", texts, settings, 4, {"start": first, "end": last, **options})
                found.append([event for event in run_edit(model, recipe) if isinstance(event, Edited)][-1])
            seconds = (time.perf_counter() - start) / len(found)
            kept, changed, new = [], [], []
            for edited in found:
                first, last = edited.span
                for candidate in edited.candidates:
                    rest = [x for i, x in enumerate(candidate.changed) if not first <= i < last]
                    kept.append(1 - sum(rest) / len(rest))
                    changed.append(statistics.mean(candidate.changed[first:last]))
                new.append(len({candidate.token_ids for candidate in edited.candidates} - {edited.before}))
            best, worst = ([edited.candidates[i].text for edited in found] for i in (0, -1))
            yield (name, f"{statistics.mean(kept):.1%}", f"{statistics.mean(changed):.0%}",
                   fluency(baseline, best), fluency(baseline, worst), statistics.mean(new),
                   seconds)  # fmt: skip

    head = ("edit", "rest kept", "span's tokens changed", "perplexity, best-ranked", "perplexity, last-ranked",
            "new texts of 4", "s")  # fmt: skip
    table(f"Edits of 1 to 6 tokens of 64, four candidates, {len(places)} texts", head, rows())


# ranking


def ranking(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    """Does a measure of the rest alone tell the true words of a span from others that stood elsewhere?"""
    places = spans(held, model)
    draw = random.Random(1)
    cases = []
    for text, first, last in places:
        ids = model.tokenize(text)
        others = []
        for _ in range(7):
            other = model.tokenize(draw.choice(held.starts))
            at = draw.randrange(0, len(other) - (last - first))
            others.append([*ids[:first], *other[at : at + last - first], *ids[last:]])
        cases.append(([ids, *others], first, last))

    def rows() -> Iterator[Sequence[object]]:
        measures: list[tuple[str, Callable[[list[list[int]], int, int], list[float]]]] = [
            ("velocity error of the rest, all four times", lambda t, i, j: rest_error(model, t, i, j, FIT_TIMES)),
            *((f"velocity error of the rest, t = {x:g}", lambda t, i, j, x=x: rest_error(model, t, i, j, [x]))
              for x in FIT_TIMES),
            ("decoder's likelihood of the rest", lambda t, i, j: rest_likelihood(model, t, i, j)),
        ]  # fmt: skip
        for name, score in measures:
            first_places, wins = [], []
            for texts, first, last in cases:
                values = score(texts, first, last)
                first_places.append(values[0] < min(values[1:]))
                wins += [values[0] < value for value in values[1:]]
            yield name, f"{statistics.mean(first_places):.0%}", f"{statistics.mean(wins):.0%}"

    head = ("measure", "true words first of 8", "true words before another")
    table(f"What tells the true words of a span by the rest of the text, {len(cases)} texts", head, rows())


def rest_error(model: ColaDLM, texts: list[list[int]], first: int, last: int, times: Sequence[float]) -> list[float]:
    latents = torch.stack([layout.latents for layout in lay_out(model, texts)])
    asked = torch.zeros(latents.shape[1], dtype=torch.bool)
    asked[first // model.block_size * model.block_size : 64] = True
    asked[first:last] = False
    return velocity_error(model, latents, asked, 0, times)[:, asked].mean(1).tolist()


@torch.inference_mode()
def rest_likelihood(model: ColaDLM, texts: list[list[int]], first: int, last: int) -> list[float]:
    """Mean negative log-likelihood of the rest under the decoder."""
    layouts = lay_out(model, texts)
    logits = model.vae.decode(torch.stack([x.latents for x in layouts]).to(model.device)).log_softmax(-1).cpu()
    ids = torch.stack([layout.ids for layout in layouts])
    rest = [i for i in range(first // model.block_size * model.block_size, 64) if not first <= i < last]
    return (-logits.gather(-1, ids[..., None])[:, rest, 0].mean(1)).tolist()


# directions


def turnings(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    def rows() -> Iterator[Sequence[object]]:
        for found in zip(*(turning.survey(model, name) for name in shipped()), strict=True):
            turned = (f"{x.turned:.0%} ({x.reached:.0%})" for x in found)
            yield (found[0].strength, f"{found[0].renoise:.0%}", *turned)

    title = "Held-out sentences turned (the pair's other sentence to the letter)"
    table(title, ("strength", "noise", *shipped()), rows())


# speed


def speed(model: ColaDLM, baseline: Baseline | None, held: Held) -> None:
    def rows() -> Iterator[Sequence[object]]:
        for name, options in (("through the flow", {}), ("noise to noise", {"road": "noise_to_noise"})):
            first, whole = [], []
            for pair in held.pairs[:5]:
                recipe = Recipe("interpolate", pair, model.defaults, options={"stops": WAYPOINTS, **options})
                start, seen = time.perf_counter(), None
                for event in run_interpolate(model, recipe):
                    if (
                        seen is None
                        and isinstance(event, Interpolation)
                        and any(waypoint.done for waypoint in event.waypoints[1:-1])
                    ):
                        seen = time.perf_counter() - start
                first.append(seen)
                whole.append(time.perf_counter() - start)
            yield f"{WAYPOINTS} waypoints {name}", statistics.median(first), statistics.median(whole)
        whole = []
        for text, first_token, last in spans(held, model)[:5]:
            start = time.perf_counter()
            recipe = Recipe("edit", (text,), model.defaults, 4, {"start": first_token, "end": last})
            list(run_edit(model, recipe))
            whole.append(time.perf_counter() - start)
        yield "edit of a span of 64 tokens, four candidates", statistics.median(whole), statistics.median(whole)

    table(f"Speed with {torch.get_num_threads()} threads", ("operation", "first waypoint, s", "whole, s"), rows())


PARTS = {"inversion": inversions, "interpolations": interpolations, "edits": edits, "ranking": ranking,
         "directions": turnings, "speed": speed}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with valid.jsonl")
    parser.add_argument("--checkpoint", help="a folder or a Hub id (the bundled model)")
    parser.add_argument("--baseline", type=Path, help="a baseline's folder (the bundled one; without any, no fluency)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    model = ColaDLM.from_pretrained(args.checkpoint, args.device)
    baseline = None
    if args.baseline or BUNDLED.is_dir():
        baseline = Baseline.from_pretrained(args.baseline, args.device)
    held = Held(model, args.data, args.pairs)
    print(f"model {model.name} ({model.fingerprint}), {model.parameters:,} parameters, {model.device}, {model.dtype}; "
          f"defaults {json.dumps(model.defaults.to_dict())}")  # fmt: skip
    for part in args.only:
        PARTS[part](model, baseline, held)


if __name__ == "__main__":
    main()
