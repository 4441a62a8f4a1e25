"""Sampler settings against each other on the same prompts: a table as JSON, and a picture of fluency over variety.

    python -m coladlm sweep --data FOLDER --json sweep.json --picture sweep.png \\
        --vary guidance=1,1.5,2 --vary stochasticity=0,0.5,1

Every combination of the values that vary is run; the rest is as the model's own settings have it. The file is written
anew after each, and combinations that it holds already are not run again. With `--words` every text is cut to as many
words, after `--given` words of a held-out story in place of its first sentence.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..baseline.baseline import Baseline, BaselineSettings
from ..extras import require
from ..model import ColaDLM
from ..settings import SamplerSettings, SettingsError
from .generation import (
    Written,
    cut_to_words,
    measured,
    written_by_baseline,
    written_by_model,
    written_in_excerpts,
)
from .judge import Judge
from .measures import count_ngrams
from .stories import EvaluationError, Excerpt

COUNTED = 0.8  # of the 2-grams of the real text: how many distinct 2-grams are counted over, for every setting
DEFAULT = ("guidance=1,1.5,2", "stochasticity=0,0.5,1", "steps=16,32")


def combinations(varied: Sequence[str]) -> list[dict[str, Any]]:
    """ "name=value,value" of several settings -> every combination, the last varying fastest. Raises SettingsError."""
    kinds = {field.name: field.type for field in dataclasses.fields(SamplerSettings)}
    names, values = [], []
    for text in varied:
        name, _, listed = text.partition("=")
        if name not in kinds or not listed:
            raise SettingsError(f"vary is {text!r}, expected NAME=VALUE,VALUE with one of {', '.join(kinds)}")
        names.append(name)
        values.append([_value(word) for word in listed.split(",")])
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def _value(word: str) -> Any:
    """A number, true or false, a pair of times low:high, or a name; SamplerSettings checks what fits."""
    if ":" in word:
        return [_value(part) for part in word.split(":")]
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word


def sweep(model: ColaDLM, baseline: Baseline, real: Sequence[Excerpt], base: SamplerSettings,
          chosen: Sequence[Mapping[str, Any]], known: Mapping[str, Any] | None = None,
          batch: int = 16, judge: Judge | None = None,
          words: int | None = None) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Runs the combinations over `base` and yields the whole result after each; `known` is an earlier result.

    judge: measures beside the baseline. words: to which each text is cut.

    Raises EvaluationError where `known` is of another model or of other prompts, SettingsError for wrong values.
    """
    settings = [SamplerSettings.from_dict(values, base) for values in chosen]
    held_out = written_in_excerpts(real, baseline)
    limit = int(COUNTED * count_ngrams([w.text for w in held_out], 2))
    head = {
        "model": model.fingerprint,
        "base": base.to_dict(),
        "prompts": [excerpt.prompt for excerpt in real],
        "distinct_2_of": limit,
        "words": words,
        "judge": None if judge is None else {"name": judge.name, "parameters": judge.parameters},
    }
    if known is not None and any(known.get(name) != value for name, value in head.items()):
        name = next(name for name, value in head.items() if known.get(name) != value)
        raise EvaluationError(f"the earlier result has another {name}, expected a new file for a new sweep")
    rows = list(known["rows"]) if known else []

    def measure(written: Sequence[Written]) -> dict[str, Any]:
        texts = written if words is None else cut_to_words(written, words)
        return measured(texts, baseline, limit=limit, judge=judge)

    result = {**head, "real": measure(held_out), "rows": rows}
    prompts = [excerpt.prompt for excerpt in real]
    own = BaselineSettings(max_new_tokens=base.max_new_tokens, seed=base.seed)
    written = written_by_baseline(baseline, prompts, own, batch)
    result["baseline"] = {**dataclasses.asdict(own), **measure(written)}
    done = [row["settings"] for row in rows]
    for values, one in zip(chosen, settings, strict=True):
        if dict(values) in done:
            continue
        start = time.perf_counter()
        written = written_by_model(model, prompts, one, batch)
        seconds = time.perf_counter() - start
        numbers = measure(written)
        rows.append({"settings": dict(values), "seconds": round(seconds, 1), **numbers, "example": written[0].text})
        yield result
    yield result


def line_of(row: Mapping[str, Any]) -> str:
    shown = {"judged_per_word": ".1f"} if "judged_per_word" in row else {}
    shown |= {"perplexity_per_word": ".1f", "distinct_2": ".3f", "repeated_4": ".3f", "ends": ".2f", "seconds": ".1f"}
    return "  ".join(f"{name.replace('_', ' ')} {format(row[name], form) if row[name] is not None else '-'}"
                     for name, form in shown.items())  # fmt: skip


def _perplexity(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whose perplexity counts: the judge's, where there is one."""
    return "judged_per_word" if rows and all("judged_per_word" in row for row in rows) else "perplexity_per_word"


def frontier(rows: Sequence[Mapping[str, float]]) -> list[int]:
    """The rows that no other beats in both perplexity (lower) and distinct 2-grams (higher), by rising perplexity."""
    name = _perplexity(rows)
    order = sorted(range(len(rows)), key=lambda i: (rows[i][name], -rows[i]["distinct_2"]))
    kept, best = [], -1.0
    for i in order:
        if rows[i]["distinct_2"] > best:
            kept.append(i)
            best = rows[i]["distinct_2"]
    return kept


def draw(result: Mapping[str, Any], file: Path) -> None:
    """Perplexity per word (logarithmic) over distinct 2-grams, the frontier as a line, real text and the baseline.

    Raises MissingExtraError.
    """
    require("matplotlib", "The picture of a sweep")
    import matplotlib  # here, since only this function needs it and it takes a second to load

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in result["rows"] if row["distinct_2"] is not None]
    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    edge, per_word = [rows[i] for i in frontier(rows)], _perplexity(rows)
    axes.plot([r["distinct_2"] for r in edge], [r[per_word] for r in edge], color="0.7", zorder=1)
    names = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    coloured = names[0] if names else None
    shades = list(dict.fromkeys(str(row["settings"].get(coloured)) for row in rows))
    for number, shade in enumerate(shades):
        alike = [row for row in rows if str(row["settings"].get(coloured)) == shade]
        axes.scatter([r["distinct_2"] for r in alike], [r[per_word] for r in alike], s=28, zorder=2,
                     color=f"C{number % 10}", label=f"{coloured} {shade}")  # fmt: skip
    for row in rows:
        label = " ".join(str(value) for name, value in row["settings"].items() if name != coloured)
        axes.annotate(label, (row["distinct_2"], row[per_word]), fontsize=7, xytext=(4, 3),
                      textcoords="offset points")  # fmt: skip
    for name, marker in (("real", "*"), ("baseline", "^")):
        point = result[name]
        axes.scatter(point["distinct_2"], point[per_word], marker=marker, s=120, color="black",
                     label={"real": "real text", "baseline": "baseline's own"}[name], zorder=3)  # fmt: skip
    who = "judge" if per_word == "judged_per_word" else "baseline"
    axes.set(xlabel="distinct 2-grams", ylabel=f"perplexity per word under the {who}", yscale="log")
    axes.set_title("labels: " + ", ".join(names[1:]) if names[1:] else "", fontsize=9)
    axes.legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    from ..cli import main

    sys.exit(main(["sweep", *sys.argv[1:]]))
