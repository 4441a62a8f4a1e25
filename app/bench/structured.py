"""A small task for the pair of tiny models, for the page: a few questions, both answers, right or wrong."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm.assets import ASSETS
from coladlm.evaluate.bench.structured.live import MOST_QUESTIONS, Asked, ask_live, check_question
from coladlm.evaluate.bench.structured.writers import Answer, Pair
from coladlm.serve import ClosingError, Scheduler, Waiting
from coladlm.structured.generators import TASKS, is_free

from ..components import ChoiceBox, ProgressLine
from ..components.answers_table import AnswersTable, Verdict, answers_value
from ..components.progress_line import progress_value
from ..runs.registry import Frame, RunContext, View
from ..shared.errors import labelled_errors
from ..shared.operation_controls import sliders, whole
from ..shared.resident import Resident
from ..shared.run_controls import connect_view
from ..shared.views import FRAME_SECONDS, with_stopped_frame
from ..shared.waiting import waiting_parts

NAME = "structured"
PAIR = ASSETS / "bench" / "structured"
ABOUT = (
    "<h2>A task with strict rules</h2><p>Two tiny models of a million parameters each, a Cola-DLM and a transformer, "
    "were trained on such tasks alone, on the same examples for the same time. Ask both a few questions that neither "
    "has seen (free brackets have one question for each length, which both know). An answer is right if a strict check "
    "takes it and the model ended it by itself.</p>"
)
WHO = {"cola": "Cola-DLM", "transformer": "Transformer"}
SIZES = (("smallest", "0"), ("second", "1"), ("third", "2"), ("largest in training", "-1"))
SIZES_HINT = "Brackets 8 to 64, letters 4 to 32 (sorting: 16), pairs 2 to 16, digits 1 to 3, fields 1 to 4."
WORD = (
    "every bracket is closed by one of its kind, the last that was opened first; the number after the letter is that "
    "of the kinds"
)
RULES = {  # how a prompt of each task is written, and what is asked
    **{f"dyck{k}": f"F{k}:16= asks for a balanced word of exactly 16 brackets: {WORD}." for k in (1, 2, 3)},
    **{f"close{k}": f"P{k}: and the beginning of a word of brackets, to be completed to a balanced one: {WORD}."
       for k in (1, 2, 3)},
    "copy": "C:abca= asks for the same letters again.",
    "reverse": "R:abca= asks for the letters from the last to the first.",
    "sort": "S:cab= asks for the letters in the order of the alphabet.",
    "recall": "K:a37b12?b= gives keys, each with its value, and asks for the value of the key after the question mark.",
    "arithmetic": "A:37+58= asks for the sum, A:12-40= for the difference.",
    "json": "J:an,bs= asks for a JSON object with exactly these keys, each of its kind: n is a whole number from 0 to "
    "99, s a string of 1 to 3 small letters, t true or false, l a list of 1 to 3 single digits.",
}  # fmt: skip
TASK, QUESTIONS, SEED = "close2", 4, 0  # of a task whose questions differ
ONE_QUESTION = "There is one question for each length, and training had it: only the answers are new."


class ShippedPair:
    """The pair that ships, loaded when it is first wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair: Pair | None = None

    def get(self) -> Pair:
        """Raises ResultError."""
        with self._lock:
            if self._pair is None:
                self._pair = Pair.load(PAIR)
            return self._pair


def build(resident: Resident) -> dict[str, View]:
    """Lays the part out and connects it. Returns its view by its name."""
    with gr.Column(elem_classes="beside bare", elem_id=NAME):
        gr.HTML(ABOUT, elem_classes="section-title", js_on_load=None)
        with gr.Row(elem_classes="decode"):
            names = [(task.label, name) for name, task in TASKS.items()]
            task = ChoiceBox("Task", "What is asked.", names, TASK, elem_classes="setting")
            size = ChoiceBox("Size", SIZES_HINT, SIZES, "0", elem_classes="setting")
            count, seed = sliders(
                ("Questions", "At once.", (1, MOST_QUESTIONS, 1), QUESTIONS, ""),
                ("Seed of the questions", "Another seed asks others.", (0, 1000, 1), SEED, ""),
            )
        with gr.Row(elem_classes="small-buttons"):
            start = gr.Button("Ask both", min_width=40, elem_classes="small-run")
            stop = gr.Button("Stop", min_width=40, elem_classes="stop")
        ProgressLine(part="progress", elem_classes="fold-progress")
        AnswersTable(part="answers", elem_id="structured-answers")
    controls = {"task": task, "size": size, "count": count, "seed": seed}
    connect_view(NAME, [start.click], stop, NAME, controls)
    pair = ShippedPair()
    return {NAME: lambda context, given: ask_pair(resident.scheduler, pair, context, given)}


def ask_pair(
    scheduler: Scheduler, pair: ShippedPair, context: RunContext, controls: Mapping[str, Any]
) -> Iterator[Frame]:
    """The view of some questions. Controls: task, size (a place among the sizes of the training), count, seed.

    Parts: answers and progress. Raises ValueError with a sentence.
    """
    with labelled_errors():
        task = str(controls.get("task"))
        place = whole(_number(controls.get("size")), "Size")
        count, seed = whole(controls.get("count"), "Questions"), whole(controls.get("seed"), "Seed of the questions")
        sizes = TASKS[task].sizes if task in TASKS else ()
        check_question(task, sizes[place] if -len(sizes) <= place < len(sizes) else place, count)
        asking = _Asking(scheduler, pair, task, sizes[place], count, seed)
        yield from with_stopped_frame(context, asking.frames(context), "answers")


def _number(value: Any) -> Any:
    """A choice as the number that it stands for."""
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else value


class _Asking:
    """Questions on their way."""

    def __init__(self, scheduler: Scheduler, pair: ShippedPair, task: str, size: int, count: int, seed: int) -> None:
        self.scheduler, self.pair, self.asked = scheduler, pair, (task, size, count, seed)
        unit = TASKS[task].unit
        self.what = f"{TASKS[task].label}, {size} {unit if size > 1 else unit.removesuffix('s')}"

    def frames(self, context: RunContext) -> Generator[Frame]:
        yield {"answers": None, "progress": progress_value("running", ["starting"], 0.0, "Asking")}
        latest: Asked | None = None
        shown, begun = 0.0, time.perf_counter()
        asking = self.scheduler.alone(lambda: ask_live(self.pair.get(), *self.asked), context.visitor, "structured")
        with contextlib.closing(asking) as events:
            for event in events:
                now = time.perf_counter()
                if isinstance(event, Asked):
                    latest = event
                    if now - shown >= FRAME_SECONDS:
                        shown = now
                        yield {"answers": self._table("running", event), "progress": self._progress(event, now - begun)}
                elif isinstance(event, Waiting) and event.ahead:
                    begun = now
                    yield {"progress": progress_value("waiting", waiting_parts(event), 0.0, "Waiting")}
        if latest is None or latest.share < 1.0:
            raise ClosingError
        right = [f"{WHO[writer]} {sum(latest.right[writer])} of {len(latest.instances)} right" for writer in WHO]
        parts = [self.what, *right, f"{time.perf_counter() - begun:.1f} s"]
        yield {"answers": self._table("done", latest), "progress": progress_value("done", parts, 1.0)}

    def _progress(self, asked: Asked, seconds: float) -> dict[str, Any]:
        message = "The Cola-DLM answers" if "transformer" in asked.right else "The transformer answers"
        return progress_value("running", [self.what, f"{seconds:.1f} s"], asked.share, message)

    def _table(self, state: str, asked: Asked) -> dict[str, Any]:
        task = self.asked[0]
        unique = TASKS[task].unique
        rows = [
            (x.prompt, x.answer if unique else f"such as {x.answer}", [_cell(asked, writer, row) for writer in WHO])
            for row, x in enumerate(asked.instances)
        ]
        notes = ["Other answers are right as well: all that keep to the rules."] * (not unique)
        note = " ".join([RULES[task], *notes, *[ONE_QUESTION] * is_free(task)])
        return answers_value(state, list(WHO.values()), rows, note)


def _cell(asked: Asked, writer: str, row: int) -> tuple[str, Verdict] | None:
    answers = asked.answers.get(writer)
    if answers is None:
        return None
    answer: Answer = answers[row]
    if writer not in asked.right:
        return answer.text, "forming"
    ended = "" if answer.ended else " (goes on)"
    return answer.text + ended, "right" if asked.right[writer][row] else "wrong"
