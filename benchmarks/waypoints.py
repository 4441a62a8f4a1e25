"""Which interpolation convinces: waypoints that are distinct, go one way, and read well. For docs/interpolation.md.

    python -m benchmarks.waypoints --data FOLDER [--record FILE] [--only NAME ...] [--pairs 50]

Pairs of held-out sentences, those of benchmarks.latent, 7 waypoints each. Of every way, the share of pairs for which

- all waypoints are different texts;
- they go one way: none is nearer in latents to the first text, or farther from the last, than the one before it;
- the middle ones read well: their perplexity per word under the baseline is at most 1.5 times that of the pair's ends.

Rows are printed as they come. --record keeps the waypoints too, a JSON line for each pair, and goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from coladlm import ColaDLM
from coladlm.baseline.baseline import Baseline
from coladlm.latent.fit import text_misfits

from .latent import BEFORE, Held, table, walk

WAYPOINTS = 7
WORSE = 1.5  # times the perplexity of the ends
ROUNDING = 1e-4  # of latent distances


def flow(noise: float, guidance: float = 3.0, stagger: float = 1.0, **options: Any) -> tuple[dict, dict]:
    return {"renoise": noise, **options}, {"guidance": guidance, "stagger": stagger}


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # options of the recipe, settings over the model's own
    "flow 80%, 16 tries": flow(0.8, tries=16),
    "decoder only": ({"road": "decoder_only"}, {}),
    "flow 80%": flow(0.8),
    "prompt to prompt": ({"road": "prompt_to_prompt"}, {"max_new_tokens": 12}),
    "noise to noise, no iterations": ({"road": "noise_to_noise", "iterations": 0}, {}),
    "noise to noise": ({"road": "noise_to_noise"}, {}),
    "flow 80%, half staggered, 16 tries": flow(0.8, stagger=0.5, tries=16),
    "flow 50%": flow(0.5),
    "flow 65%": flow(0.65),
    "flow 50%, all at once": flow(0.5, stagger=0.0),
    "flow 80%, a story before": flow(0.8, before=BEFORE),
    "flow 80%, guidance 1": flow(0.8, 1.0),
    "noise to noise, Heun": ({"road": "noise_to_noise"}, {"solver": "heun"}),
    "flow 35%": flow(0.35),
    "flow 50%, stretched": flow(0.5, align="stretch"),
    "flow 80%, 8 tries": flow(0.8, tries=8),
    "flow 80%, 24 tries": flow(0.8, tries=24),
}  # fmt: skip


def measured(model: ColaDLM, baseline: Baseline, pair: Sequence[str], name: str) -> dict[str, Any]:
    """An interpolation and what is to know of its waypoints, as plain data."""
    options, changes = WAYS[name]
    begun = time.process_time()
    found = walk(model, pair, dataclasses.replace(model.defaults, **changes), {"stops": WAYPOINTS, **options})
    seconds = time.process_time() - begun
    texts = [waypoint.text for waypoint in found.waypoints]
    likelihoods = baseline.log_likelihood(texts)
    return {
        "way": name,
        "pair": list(pair),
        "texts": texts,
        "latent": [list(waypoint.latent_distances) for waypoint in found.waypoints],
        "tokens": [list(waypoint.token_distances) for waypoint in found.waypoints],
        "log_p": [likelihood.total for likelihood in likelihoods],
        "words": [likelihood.words for likelihood in likelihoods],
        "misfit": text_misfits(model, [waypoint.token_ids for waypoint in found.waypoints]),
        "seconds": seconds,
    }


def perplexity(row: dict[str, Any], places: Sequence[int]) -> float:
    words = sum(row["words"][i] for i in places)
    return math.exp(min(50.0, -sum(row["log_p"][i] for i in places) / max(1, words)))


def one_way(distances: Sequence[float]) -> bool:
    return all(b >= a - ROUNDING for a, b in itertools.pairwise(distances))


def summary(rows: Sequence[dict[str, Any]]) -> list[object]:
    """What the table says of the pairs of one way."""
    distinct, steady, fluent, different, ratios, real = [], [], [], [], [], []
    for row in rows:
        last = len(row["texts"]) - 1
        between = range(1, last)
        distinct.append(len(set(row["texts"])) == len(row["texts"]))
        different.append(len(set(row["texts"])))
        first_end, other_end = zip(*row["latent"], strict=True)
        steady.append(one_way(first_end) and one_way([-x for x in other_end]))
        ratios.append(perplexity(row, between) / perplexity(row, (0, last)))
        fluent.append(ratios[-1] <= WORSE)
        ends = (row["misfit"][0] + row["misfit"][last]) / 2
        real.append(statistics.mean(row["misfit"][i] for i in between) / ends)
    both = [a and b for a, b in zip(distinct, steady, strict=True)]
    return [
        *(f"{statistics.mean(x):.0%}" for x in (distinct, steady, both, fluent)),
        statistics.mean(different),
        statistics.median(ratios),
        statistics.median(real),
        statistics.median(row["seconds"] for row in rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with valid.jsonl")
    parser.add_argument("--checkpoint", help="a folder or a Hub id (the bundled model)")
    parser.add_argument("--baseline", type=Path, help="a baseline's folder (the bundled one)")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--record", type=Path, help="a file to keep the waypoints in, a JSON line for each pair")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    model, baseline = ColaDLM.from_pretrained(args.checkpoint, "cpu"), Baseline.from_pretrained(args.baseline, "cpu")
    pairs = Held(model, args.data, args.pairs).pairs
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    if args.record and args.record.exists():
        lines = (json.loads(line) for line in args.record.read_text("utf-8").splitlines())
        kept = {(line["way"], *line["pair"]): line for line in lines}

    def rows() -> Iterator[Sequence[object]]:
        for name in args.only:
            found = []
            for pair in pairs:
                row = kept.get((name, *pair))
                if row is None:
                    row = measured(model, baseline, pair, name)
                    if args.record:
                        with args.record.open("a", encoding="utf-8") as out:
                            out.write(json.dumps(row, ensure_ascii=False) + "\n")
                found.append(row)
            yield (name, *summary(found))

    head = ("way", "distinct", "one way", "both", "fluent", f"different texts of {WAYPOINTS}",
            "perplexity over that of the ends", "misfit over that of the ends", "processor s")  # fmt: skip
    table(f"Waypoints of {len(pairs)} pairs, model {model.fingerprint}, {model.device}", head, rows())


if __name__ == "__main__":
    main()
