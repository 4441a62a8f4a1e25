"""What ships beside the bundled weights and is made with them: recorded runs, reference cloud, directions.

    python -m coladlm.train.assets          makes anew what no longer fits its sources
    python -m coladlm.train.assets --all    makes everything anew

The sources of a file are the weights, their sampler settings and the texts that it is made of. `assets/made_of.json`
holds a digest of them for every file, so that a second call changes nothing, on whatever machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..assets import ASSETS
from ..latent import first_interpolation, turning
from ..latent.directions import FOLDER as DIRECTIONS
from ..latent.directions import shipped
from ..latent.reference_cloud import SENTENCES, load_sentences, make_cloud
from ..latent.sentence_map import make_sentence_map
from ..model import ColaDLM
from ..recipe import Recipe
from ..run import recorder, run

MADE_OF = "made_of.json"
PROMPT = "Once upon a time, there was a little fox who"
RUNS: dict[str, dict[str, Any]] = {  # how the page calls a recorded run -> what differs from the model's own settings
    "a-little-fox": {},
    "the-same-fox-one-word-after-another": {"stagger": 1.0},
    "the-same-fox-a-block-at-once": {"stagger": 0.0},
    "the-same-fox-with-fresh-noise": {"stochasticity": 1.0},
}


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file that a model makes. name: below the folder of assets. sources: plain data that it is made of, beside the
    weights. make: (model, file) writes it.
    """

    name: str
    sources: Any
    make: Callable[[ColaDLM, Path], None]

    def digest(self, model: ColaDLM) -> str:
        """Stands for all that it is made of."""
        made_of = json.dumps([model.fingerprint, self.sources], sort_keys=True)
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def assets_of(model: ColaDLM) -> list[Asset]:
    """The files that a model with these weights and settings ships with."""
    settings = model.defaults.to_dict()
    measured = f"directions/measured/{model.fingerprint}.json"
    pairs = {name: _digest(DIRECTIONS / f"{name}.json") for name in shipped()}
    return [
        *(_recorded_run(model, name, changes) for name, changes in RUNS.items()),
        Asset("map/cloud.npz", [settings, _digest(SENTENCES)], _make_cloud),
        Asset("map/sentences.npz", _digest(SENTENCES), lambda model, file: make_sentence_map(model).save(file)),
        Asset(
            "interpolation/first.json", first_interpolation.first_recipe(model).to_dict(), first_interpolation.record
        ),
        Asset(measured, [settings, pairs], _measure_directions),
    ]


def stale(model: ColaDLM, assets: Sequence[Asset], folder: Path = ASSETS) -> list[Asset]:
    """Those of the files that are not there or were made of something else."""
    known = _made_of(folder)
    return [
        asset for asset in assets if known.get(asset.name) != asset.digest(model) or not (folder / asset.name).is_file()
    ]


def make(model: ColaDLM, assets: Sequence[Asset], folder: Path = ASSETS) -> Iterator[Asset]:
    """Makes files, each whole or not at all, yielding it as it is begun. Raises OSError."""
    for asset in assets:
        yield asset
        file = folder / asset.name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"partial-{file.name}")
        try:
            asset.make(model, partial)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        _write_made_of(folder, {**_made_of(folder), asset.name: asset.digest(model)})


def remove_others(assets: Sequence[Asset], folder: Path = ASSETS) -> None:
    """Removes files that were made once, as for another model, and are not among these."""
    made_of, names = _made_of(folder), {asset.name for asset in assets}
    for name in made_of.keys() - names:
        (folder / name).unlink(missing_ok=True)
    if made_of.keys() - names:
        _write_made_of(folder, {name: digest for name, digest in made_of.items() if name in names})


def _recorded_run(model: ColaDLM, name: str, changes: dict[str, Any]) -> Asset:
    settings = dataclasses.replace(model.defaults, max_new_tokens=48, seed=1, **changes)
    recipe = Recipe("generate", (PROMPT,), settings, model=model.fingerprint)

    def record(model: ColaDLM, file: Path) -> None:
        recording = recorder(recipe)
        for _ in recording.watch(run(model, recipe)):
            pass
        recording.trace().save(file)

    return Asset(f"traces/{name}.npz", recipe.to_dict(), record)


def _make_cloud(model: ColaDLM, file: Path) -> None:
    *_, last = make_cloud(model, load_sentences())
    assert last.cloud is not None  # the last progress brings it
    last.cloud.save(file)


def _measure_directions(model: ColaDLM, file: Path) -> None:
    best = {name: max(turning.survey(model, name), key=lambda found: found.turned) for name in shipped()}
    turning.save_measured(best, file)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _made_of(folder: Path) -> dict[str, str]:
    file = folder / MADE_OF
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _write_made_of(folder: Path, digests: dict[str, str]) -> None:
    text = json.dumps(dict(sorted(digests.items())), indent=2) + "\n"
    partial = folder / f"partial-{MADE_OF}"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / MADE_OF)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m coladlm.train.assets", description="Makes what ships beside the bundled weights."
    )
    parser.add_argument("--all", action="store_true", help="also what still fits its sources")
    args = parser.parse_args(argv)
    model = ColaDLM.from_pretrained()
    assets = assets_of(model)
    wanted = assets if args.all else stale(model, assets)
    for asset in make(model, wanted):
        print(f"making assets/{asset.name}", file=sys.stderr, flush=True)
    remove_others(assets)
    print(f"{len(wanted)} of {len(assets)} files made; all fit {model.fingerprint}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
