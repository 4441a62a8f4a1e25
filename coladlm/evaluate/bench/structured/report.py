"""Tables, charts and sentences of what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....structured.generators import TASKS, Instance, is_free
from ..findings.structured import BY_SIZE, BY_TASK, HOLES, LONGER, PAIR
from ..findings.telling import told
from ..intervals import Interval, share_interval
from ..machine import machine_facts
from ..results import Cell as TableCell
from ..results import Chart, Line, Result, Table
from .answers import WRITERS, Answers, Cell, Request
from .scores import risk, share_balanced, share_right
from .writers import Pair

NAMES = {"cola": "Cola-DLM", "vae": "its VAE alone", "transformer": "transformer"}
PLACES = {"cola": "Cola-DLM, which sees the rest of the block", "transformer": "transformer, from the left",
          "transformer_scores": "transformer that scores all six brackets"}  # fmt: skip
STRETCHES = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 65))  # of places in an answer, the end left out
SECONDS = "Seconds an answer"  # the one table that another run does not repeat to the digit


def report(pair: Pair, request: Request, answers: Answers, command: str, training: Mapping[str, Any]) -> Result:
    """The result of the bench. training: of each stage, its tokens and minutes; as `train.structured` wrote it."""
    block = pair.cola.block_size
    tables = [_by_task(request, answers), _by_size(request, answers)]
    charts = [_size_chart(request, answers, task) for task in ("dyck2", "close2", "sort", "json")
              if task in request.tasks]  # fmt: skip
    free = _free_words(request, answers)
    if free.rows:
        tables.append(free)
    if any(task != "json" for task in request.tasks):
        tables.append(_stretches(request, answers))
    if any(TASKS[task].unit == "brackets" for task in request.tasks):
        charts.append(_places_in_block(request, answers, block))
    tables += [_holes(answers, block), _models(pair, training), _seconds(request, answers)]
    return told(Result(
        part="structured",
        title="Structured generation: a tiny Cola-DLM beside a transformer of equal size, data and time",
        command=command,
        model={"name": "a pair trained on these tasks alone", "fingerprint": pair.cola.fingerprint,
               "parameters": pair.cola.parameters, "transformer parameters": pair.transformer.parameters},
        machine=machine_facts(),
        seconds=round(answers.seconds, 1),
        findings=_on_seconds(answers),
        tables=tables,
        charts=charts,
        settings={**pair.settings.to_dict(), "items": request.items, "seed": request.seed},
    ))  # fmt: skip


def _cells(answers: Answers, writer: str, request: Request, keep: Callable[[str, int], bool]) -> list[Cell]:
    return [answers.cells[writer, task, size] for task, size in request.cells() if keep(task, size)]


def _trained(task: str, size: int) -> bool:
    return size in TASKS[task].sizes


def _sized(task: str, size: int) -> str:
    return f"{size} {TASKS[task].unit if size > 1 else TASKS[task].unit.removesuffix('s')}"


def _share_of_task(answers: Answers, writer: str, task: str) -> Interval:
    """Over the sizes of the training."""
    return share_right([answers.cells[writer, task, size] for size in TASKS[task].sizes])


def _by_task(request: Request, answers: Answers) -> Table:
    rows: list[list[TableCell]] = []
    for name in request.tasks:
        rows.append([TASKS[name].label, *(_share_of_task(answers, w, name) for w in WRITERS)])
    overall: list[TableCell] = [share_right(_cells(answers, w, request, _trained)) for w in WRITERS]
    rows.append(["all", *overall])
    return Table(
        BY_TASK,
        "Share of answers that a strict validator takes and that end by themselves, over the sizes that training had. "
        "No prompt was in the training, but for those of free brackets, of which there is one for each size. The VAE "
        "alone reads a right answer and gives it back. Where all answers are alike, the interval is the exact one of "
        "Clopper and Pearson.",
        ["task", *(NAMES[w] for w in WRITERS)],
        rows,
    )


def _by_size(request: Request, answers: Answers) -> Table:
    rows: list[list[TableCell]] = []
    for task, size in request.cells():
        label = _sized(task, size) + ("" if _trained(task, size) else f", {LONGER}")
        rows.append([TASKS[task].label, label, *(share_right([answers.cells[w, task, size]]) for w in WRITERS)])
    return Table(BY_SIZE, "The same for each size.", ["task", "size", *(NAMES[w] for w in WRITERS)], rows)


def _size_chart(request: Request, answers: Answers, task: str) -> Chart:
    sizes = [size for name, size in request.cells() if name == task]
    lines = [Line(NAMES[w], sizes, [share_right([answers.cells[w, task, size]]) for size in sizes]) for w in WRITERS]
    about = TASKS[task]
    beyond = f" Beyond {about.sizes[-1]} longer than any in training." if sizes[-1] > about.sizes[-1] else ""
    return Chart(f"Exactly right: {about.label}", f"Share of answers, by the number of {about.unit}.{beyond}",
                 about.unit, "share exactly right", lines, ("x",))  # fmt: skip


def _free_words(request: Request, answers: Answers) -> Table:
    """Free words: balanced at all, and how many are different."""
    rows: list[list[TableCell]] = []
    for task, size in request.cells():
        if is_free(task) and _trained(task, size):
            found = [answers.cells[w, task, size] for w in ("cola", "transformer")]
            distinct = [len({a.text for a in cell.answers}) for cell in found]
            rows.append([TASKS[task].label, size, *(share_balanced([cell]) for cell in found), *distinct])
    return Table(
        "Free words of brackets: balanced, and different",
        f"Share that is balanced, whatever its length, and how many of {request.items} words are different. The "
        "transformer draws each symbol by its own probabilities, the Cola-DLM begins each word with other noise.",
        ["task", "brackets", "Cola-DLM, balanced", "transformer, balanced", "Cola-DLM, different",
         "transformer, different"],
        rows,
    )  # fmt: skip


def _stretches(request: Request, answers: Answers) -> Table:
    def stretch(instance: Instance, place: int) -> int | None:
        found = (start for start, end in STRETCHES if start <= place < end and place < len(instance.answer))
        return next(found, None)

    starts = [start for start, _ in STRETCHES]
    columns = []
    for writer in WRITERS:
        cells = _cells(answers, writer, request, lambda task, size: task != "json" and _trained(task, size))
        columns.append(risk(cells, stretch, starts))
    labels = [f"{start + 1} to {min(end, 64)}" for start, end in STRETCHES]
    rows: list[list[TableCell]] = [[label, *cells] for label, *cells in zip(labels, *columns, strict=True)]
    return Table(
        "Where answers go wrong first: over the length",
        "How often an answer that is right so far goes wrong at its next symbol, by that symbol's place in the answer; "
        "all tasks but JSON, sizes of the training, the end of the answer not counted.",
        ["symbols", *(NAMES[w] for w in WRITERS)],
        rows,
    )


def _places_in_block(request: Request, answers: Answers, block: int) -> Chart:
    def place_in_block(instance: Instance, place: int) -> int | None:
        return (len(instance.prompt) + place) % block

    lines = []
    for writer in WRITERS:
        cells = _cells(
            answers, writer, request, lambda task, size: TASKS[task].unit == "brackets" and _trained(task, size)
        )
        found = [(place + 1, f) for place, f in enumerate(risk(cells, place_in_block, range(block))) if f is not None]
        lines.append(Line(NAMES[writer], [place for place, _ in found], [figure for _, figure in found]))
    return Chart(
        "Where answers go wrong first: within the block",
        f"How often an answer that is right so far goes wrong at its next symbol, by that symbol's place in a block of "
        f"{block}. Of brackets alone, whose answers begin anywhere in a block. The transformer knows no blocks: its "
        "line shows what the places themselves do.",
        "place in the block", "share that goes wrong", lines,
    )  # fmt: skip


def _hole_shares(answers: Answers, places: Sequence[int]) -> dict[str, Interval]:
    return {way: share_interval([text == hole.bracket for hole, text in zip(answers.holes, found, strict=True)
                                if hole.place in places]) for way, found in answers.fills.items()}  # fmt: skip


def _holes(answers: Answers, block: int) -> Table:
    rows: list[list[TableCell]] = []
    for label, places in [*((f"{place + 1} of {block}", [place]) for place in range(block)), ("all", range(block))]:
        shares = _hole_shares(answers, places)
        rows.append([label, *(shares[way] for way in PLACES)])
    return Table(
        HOLES,
        "Share of holes that get the bracket that stood there, by the place of the hole in its block. Of what follows "
        "a hole its block alone is shown. The transformer that scores reads the text once with each bracket.",
        ["place", *PLACES.values()],
        rows,
    )


def _models(pair: Pair, training: Mapping[str, Any]) -> Table:
    stages = {"vae": "Cola-DLM, VAE", "dit": "Cola-DLM, DiT", "transformer": "transformer"}
    networks = {"vae": pair.cola.vae, "dit": pair.cola.dit, "transformer": pair.transformer.network}
    rows: list[list[TableCell]] = []
    for stage, label in stages.items():
        facts = training.get(stage, {})
        rows.append([label, sum(p.numel() for p in networks[stage].parameters()), facts.get("steps"),
                     facts.get("tokens"), facts.get("minutes")])  # fmt: skip
    return Table(
        PAIR,
        "Equal processor time for both; in that time the transformer reads more tokens, since the Cola-DLM runs every "
        "text through two networks and a clean and a noisy copy.",
        ["network", "parameters", "steps", "tokens seen", "minutes of processor time"],
        rows,
    )


def _seconds(request: Request, answers: Answers) -> Table:
    rows: list[list[TableCell]] = []
    for task in request.tasks:
        sizes = [size for name, size in request.cells() if name == task]
        for size in sorted({sizes[0], TASKS[task].sizes[-1], sizes[-1]}):
            cells = [answers.cells[w, task, size] for w in ("cola", "transformer")]
            each = [cell.seconds / max(1, len(cell.answers)) for cell in cells]
            rows.append([TASKS[task].label, _sized(task, size), *(round(s, 4) for s in each)])
    return Table(
        SECONDS,
        f"By the clock, up to {request.items} answers at once on this machine. Another run gives other seconds; all "
        "other tables are the same for the same seeds.",
        ["task", "size", "Cola-DLM", "transformer"],
        rows,
    )


def _on_seconds(answers: Answers) -> list[str]:
    """A finding that no table holds."""
    totals = {w: sum(cell.seconds for (who, _, _), cell in answers.cells.items() if who == w)
              for w in ("cola", "transformer")}  # fmt: skip
    if not totals["transformer"]:
        return []
    return [
        f"All answers together took the Cola-DLM {totals['cola']:.0f} s and the transformer "
        f"{totals['transformer']:.0f} s on this machine."
    ]
