"""The interpolation that the page begins with: its texts and settings, and its waypoints as they ship with the model.

`assets/interpolation/first.json` holds them for the bundled model: those of a run of the recipe beside them,
there to see before anything was run.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ..assets import ASSETS
from ..model import ColaDLM
from ..recipe import Recipe
from ..settings import SamplerSettings
from .interpolate import Interpolation, Waypoint, run_interpolate, waypoint_count

SHIPPED = ASSETS / "interpolation" / "first.json"
VERSION = 1
TEXTS = ("The cat ran up the big tree.", "A bird sat on the little house.")
# from the model's own settings; the seed is one of four tried
CHANGED = {"guidance": 3.0, "stagger": 1.0, "seed": 3, "guidance_space": "velocities", "flow_temperature": 1.0}
OPTIONS: dict[str, Any] = {  # what measures best: see docs/interpolation.md
    "road": "through_flow", "stops": 7, "before": "", "renoise": 0.8, "profile": "arch", "tries": 24, "align": "pad",
}  # fmt: skip
FIELDS = ("text", "token_ids", "changed", "weights", "latent_distances", "token_distances", "misfit")


class RecordedError(ValueError):
    """A recorded interpolation that cannot be read."""


def first_settings(model: ColaDLM) -> SamplerSettings:
    """The sampler's settings that an interpolation begins with."""
    return dataclasses.replace(model.defaults, **CHANGED)


def first_recipe(model: ColaDLM) -> Recipe:
    return Recipe("interpolate", TEXTS, first_settings(model), options=OPTIONS, model=model.fingerprint)


def record(model: ColaDLM, file: Path) -> None:
    """Runs the recipe and writes its waypoints. Raises OSError."""
    recipe = first_recipe(model)
    found = [event for event in run_interpolate(model, recipe) if isinstance(event, Interpolation)][-1]
    waypoints = [{name: getattr(waypoint, name) for name in FIELDS} for waypoint in found.waypoints]
    plain = {
        "version": VERSION,
        "recipe": recipe.to_dict(),
        "settings": found.settings.to_dict(),  # those that it ran with
        "waypoints": waypoints,
        "notes": found.notes,
    }
    file.write_text(json.dumps(plain, ensure_ascii=False) + "\n", encoding="utf-8")


def recorded_interpolation(model: ColaDLM, file: Path = SHIPPED) -> Interpolation | None:
    """What `record` wrote, its waypoints complete; None where it is that of another model or of other settings.

    Raises RecordedError for a file that is damaged, or whose waypoints are not those of its recipe.
    """
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        recipe = Recipe.from_dict(plain["recipe"])
        settings = SamplerSettings.from_dict(plain["settings"])
        version, notes = plain["version"], tuple(plain["notes"])
        waypoints = tuple(_waypoint(row, given) for row, given in enumerate(plain["waypoints"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordedError(f"{file.name} holds no interpolation or is damaged ({error})") from error
    if version != VERSION:
        raise RecordedError(f"{file.name} has version {version}, expected {VERSION}")
    if not model.fingerprint or recipe != first_recipe(model):
        return None
    _check(model, recipe, waypoints, file.name)
    ends = tuple(waypoint.row for waypoint in waypoints if 1.0 in waypoint.weights)
    return Interpolation(recipe.options["road"], waypoints, ends, settings, notes)


def _waypoint(row: int, given: Any) -> Waypoint:
    """Raises ValueError, KeyError, TypeError."""
    if given.keys() != set(FIELDS) or not isinstance(given["text"], str):
        raise ValueError(f"waypoint {row + 1} has {sorted(given)}, expected {sorted(FIELDS)}")
    ids, changed, weights, distances, tokens = (tuple(given[name]) for name in FIELDS[1:-1])
    numbers = [*weights, *distances, given["misfit"]]
    if not all(type(number) in (int, float) and math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"waypoint {row + 1} has {numbers}, expected numbers of at least 0")
    if not all(type(id_) is int for id_ in (*ids, *tokens)) or not all(type(flag) is bool for flag in changed):
        raise ValueError(f"waypoint {row + 1} has other token ids than whole numbers, or flags than true and false")
    return Waypoint(row, weights, "", given["text"], ids, changed, True, distances, tokens, given["misfit"])


def _check(model: ColaDLM, recipe: Recipe, waypoints: tuple[Waypoint, ...], name: str) -> None:
    """Do the waypoints belong to the recipe, and do their token ids read as their texts? Raises RecordedError."""
    count, texts = waypoint_count(recipe), len(recipe.texts)
    if len(waypoints) != count:
        raise RecordedError(f"{name} holds {len(waypoints)} waypoints, expected {count}")
    for waypoint in waypoints:
        which, ids = f"waypoint {waypoint.row + 1} of {name}", waypoint.token_ids
        known = all(0 <= id_ < model.vae.config.vocab_size for id_ in ids)
        if not known or model.read(ids) != waypoint.text:
            raise RecordedError(f"{which} has token ids that do not read {waypoint.text!r}")
        if not texts == len(waypoint.latent_distances) == len(waypoint.token_distances) == len(waypoint.weights):
            raise RecordedError(f"{which} has other than {texts} distances and weights")
        if len(waypoint.changed) not in (0, len(ids)):
            raise RecordedError(f"{which} has {len(waypoint.changed)} flags, expected {len(ids)}")
