"""The texts of a sweep as a table for a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from coladlm import SamplerSettings

from ..shared.encoding import safe_cell
from .differences import MEASURES
from .other_texts import DEFAULTS
from .sweep_cells import Cell

SETTINGS = [field.name for field in dataclasses.fields(SamplerSettings)]
MEASURED = [name for name, *_ in MEASURES]


def sweep_table(cells: Sequence[Cell]) -> bytes:
    """A row for every cell that has come to its end, as CSV in UTF-8; empty where there is no number."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["prompt", *DEFAULTS, *SETTINGS, "text", "tokens", "ended", *MEASURED, "seconds"])
    for cell in cells:
        done = cell.outcome
        if done is None:
            continue
        interval = "{:g} to {:g}".format(*cell.settings.guidance_interval)
        settings = dict.fromkeys(SETTINGS, "") | cell.settings.to_dict() | {"guidance_interval": interval}
        options = {**DEFAULTS, **cell.recipe.options} if cell.recipe.options else dict.fromkeys(DEFAULTS, "")
        numbers = [done.numbers.get(name) for name in MEASURED]
        made_of = [safe_cell(cell.prompt), *(_cell(options[name]) for name in DEFAULTS), *settings.values()]
        measures = ["" if number is None else f"{number:.5g}" for number in numbers]
        outcome = [safe_cell(done.text), done.tokens, int(done.ended), *measures, f"{done.seconds:.3f}"]
        table.writerow([*made_of, *outcome])
    return out.getvalue().encode()


def _cell(value: object) -> str:
    """An option; one that is not given has none, and a list its values one a line."""
    if isinstance(value, list):
        value = "\n".join(value)
    return "" if value is None else safe_cell(str(value))
