"""What answers to the eight tasks come to, as tables and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ....settings import SamplerSettings
from ..intervals import Interval, mean_of_means_interval, share_interval
from ..results import Cell, Chart, Line, Result, ResultError, Table
from .answering import PUBLISHED, Shard, Tasks, log_key
from .data import TASKS, Item
from .scoring import answer_in, equal_choice, is_right, named_choice

BUNDLED = "bundled"  # the name of the model that ships
PUBLISHED_MODEL = "ByteDance-Seed/Cola-DLM, 2.3 B parameters"
COLUMNS = ("task", "asks for", "items", "right", "accuracy, %", "chance, %", "names a choice, %", "right of those, %")
CAPTION = (
    "Chance is what naming one of the choices blindly would score, 100 / (number of choices); LAMBADA and SQuAD have "
    "none. The answer has to be written out, not picked, so a score may be below chance. An answer names a choice by "
    "its letter or its words (by its words alone in HellaSwag and StoryCloze, where only they count). In brackets: "
    "95 % intervals, by the bootstrap over items, or exact where all items agree."
)
STORY_MISSING = "The published SocialIQA prompts hold the question alone, without the story that it is about."
STORY_TELLER = (
    "The bundled model is near zero, as it must be: it has read children's stories and nothing else, so it knows no "
    "exam questions, no lists of choices and no examples to follow, and what it writes after them is hardly English. "
    "In LAMBADA, whose missing word often stands in the passage, it is right now and then."
)


@dataclasses.dataclass(frozen=True)
class Scored:
    """The answers to one task. named: whether an answer names one of the choices; empty where there are none."""

    right: Sequence[bool]
    named: Sequence[bool]
    choices: Sequence[int]

    @property
    def accuracy(self) -> Interval:
        return share_interval(self.right, 100.0)

    @property
    def chance(self) -> float | None:
        """In per cent; None where an answer is free."""
        return sum(100 / count for count in self.choices) / len(self.choices) if self.named else None

    @property
    def right_of_named(self) -> Interval | None:
        hits = [right for right, named in zip(self.right, self.named, strict=False) if named]
        return share_interval(hits, 100.0) if hits else None


@dataclasses.dataclass(frozen=True)
class Run:
    """The answers of a model that was run. model: its name, fingerprint and parameters. shard: that they are of."""

    model: Mapping[str, Any]
    scored: Mapping[str, Scored]
    seconds: float
    settings: Mapping[str, Any]
    shard: Shard = Shard()  # noqa: RUF009

    @property
    def title(self) -> str:
        name = "the bundled model" if self.model["name"] == BUNDLED else self.model["name"]
        own = " with its own settings" * (
            SamplerSettings.from_dict({**self.settings, "seed": PUBLISHED.seed}) != PUBLISHED
        )
        part = f" (part {self.shard.index} of {self.shard.count})" if self.shard.count > 1 else ""
        return f"{name} of {self.model['parameters'] / 1e6:,.1f} M parameters{own}{part}"


def counts(found: Scored) -> tuple[int, int]:
    """How many answers, and how many of them are right."""
    return len(found.right), sum(found.right)


def score(name: str, items: Sequence[Item], texts: Sequence[str]) -> Scored:
    """What a model wrote after the items of a task, scored."""
    rule = TASKS[name].rule
    answers = [answer_in(text) for text in texts]
    look = named_choice if rule == "choice" else equal_choice
    free = not all(item.choices for item in items)
    return Scored(
        right=[is_right(rule, answer, item) for answer, item in zip(answers, items, strict=True)],
        named=[] if free else [look(a, item.choices) is not None for a, item in zip(answers, items, strict=True)],
        choices=[] if free else [len(item.choices) for item in items],
    )


def score_shipped(tasks: Tasks) -> dict[str, Scored]:
    """The answers in the files, scored."""
    return {name: score(name, items, [item.shipped for item in items]) for name, items in tasks.items()}


def score_logged(tasks: Tasks, log: Mapping[str, Any], shard: Shard | None = None) -> tuple[dict[str, Scored], float]:
    """The answers of a shard in a log, scored, and the seconds that they took.

    Raises ResultError where answers are missing, or are none.
    """
    keys = (shard or Shard()).keys(tasks)
    missing = [key for key in keys if log_key(*key) not in log]
    if missing:
        name, number = missing[0]
        raise ResultError(
            f"{len(missing):,} of {len(keys):,} answers are not in the logs, expected all; the first is number "
            f"{number} of {name}: run what is left, or give the --limit of the run that wrote them"
        )
    try:
        items = {key: log[log_key(*key)] for key in keys}
        texts = {key: str(item["text"]) for key, item in items.items()}
        seconds = sum(float(item["seconds"]) for item in items.values())
    except (TypeError, KeyError, ValueError) as error:
        raise ResultError(f"an item of the log is no answer ({error}), expected its text and seconds") from error
    scored = {}
    for name in tasks:
        numbers = [number for task, number in keys if task == name]
        if numbers:
            scored[name] = score(name, [tasks[name][n] for n in numbers], [texts[name, n] for n in numbers])
    return scored, seconds


def table(title: str, scored: Mapping[str, Scored]) -> Table:
    """Accuracy by task, and the mean."""
    rows: list[list[Cell]] = []
    for name, found in scored.items():
        named = share_interval(found.named, 100.0) if found.named else None
        rows.append([TASKS[name].title, TASKS[name].asks, len(found.right), sum(found.right), found.accuracy,
                     found.chance, named, found.right_of_named])  # fmt: skip
    answers, right = (sum(column) for column in zip(*map(counts, scored.values()), strict=True))
    rows.append([f"mean of {len(scored)}", None, answers, right, mean_accuracy(scored), None, None, None])
    return Table(title, CAPTION, COLUMNS, rows, places=4)  # the mean that is published has four


def mean_accuracy(scored: Mapping[str, Scored]) -> Interval | float:
    """The mean of the accuracies in per cent; without an interval where no answer is right, or every one."""
    found = mean_of_means_interval([[100.0 * right for right in task.right] for task in scored.values()])
    return found if found.low < found.high else found.value


def chart(sources: Mapping[str, Mapping[str, Scored]]) -> Chart:
    """Accuracy by task, a line of points for each source of answers, and chance."""
    names = [name for name in TASKS if any(name in scored for scored in sources.values())]
    lines = []
    for source, scored in sources.items():
        x = [names.index(name) + 1.0 for name in scored]
        lines.append(Line(source, x, [found.accuracy for found in scored.values()], True))
    chances = {name: found.chance for scored in sources.values() for name, found in scored.items()}
    levels = {names.index(name) + 1.0: value for name, value in chances.items() if value is not None}
    lines.append(Line("chance", list(levels), [Interval(v, v, v, 1) for v in levels.values()], True))
    titles = [TASKS[name].title for name in names]
    caption = "A point below that of chance is worse than naming a choice blindly."
    return Chart("Accuracy by task", caption, "task", "accuracy, %", lines, names=titles)


def finding_of_shipped(scored: Mapping[str, Scored], known: bool) -> list[str]:
    """What the answers in the files say. known: they are those of the published model."""
    mean = mean_accuracy(scored)
    value = mean.value if isinstance(mean, Interval) else mean
    right = ", ".join(
        f"{sum(found.right)} of {len(found.right)} ({TASKS[name].title})" for name, found in scored.items()
    )
    whose = "The published answers of the 2.3 B model" if known else "The answers in the files"
    said = [f"{whose}, scored again, are right in {right}: {value:.2f} % on average."]
    chosen = [(found, found.chance) for found in scored.values() if found.chance is not None]
    below = sum(found.accuracy.high < chance for found, chance in chosen)
    if below:
        of_named = [(found.right_of_named, chance) for found, chance in chosen]
        near = sum(named is not None and named.low <= chance <= named.high for named, chance in of_named)
        said.append(
            f"{below} of the {len(chosen)} tasks with choices lie clearly below chance, since an answer has to be "
            f"written out. Among the answers that do name a choice, {near} of the {len(chosen)} are within their "
            "interval of chance: with choices, these scores measure whether the model writes one down."
        )
    return [*said, STORY_MISSING] if known and "siqa" in scored else said


def finding_of_run(run: Run) -> list[str]:
    """What the answers of a model that was run say."""
    right, items = (sum(f(found.right) for found in run.scored.values()) for f in (sum, len))
    mean = mean_accuracy(run.scored)
    value = mean.value if isinstance(mean, Interval) else mean
    said = [f"{run.title[0].upper()}{run.title[1:]} is right in {right:,} of {items:,}: {value:.2f} % on average."]
    return [*said, STORY_TELLER] if run.model["name"] == BUNDLED else said


def result(command: str, shipped: Mapping[str, Scored], run: Run | None, machine: Mapping[str, Any]) -> Result:
    """The result: the answers in the files, and those of a run beside them."""
    known = all(counts(found) == TASKS[name].published for name, found in shipped.items())
    whose = PUBLISHED_MODEL if known else "the answers in the files"
    tables = [table(f"Accuracy of {whose}" + ", from its published answers" * known, shipped)]
    findings, sources = finding_of_shipped(shipped, known), {whose: shipped}
    if run is not None:
        tables.append(table(f"Accuracy of {run.title}", run.scored))
        findings += finding_of_run(run)
        sources[run.title] = run.scored
    model = {"name": whose} if run is None else run.model
    return Result("tasks", "The eight published tasks", command, model, machine, round(run.seconds, 1) if run else 0.0,
                  findings, tables, [chart(sources)], run.settings if run else {})  # fmt: skip
