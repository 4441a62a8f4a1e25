"""The tab Edit: a span of a text is changed in latent space and carried back; the rest stays, or follows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.edit import OPTIONS, Edited
from coladlm.recipe import Recipe, RecipeError, Said, check_options
from coladlm.run import check_model
from coladlm.serve import Scheduler

from .components import QueuedProgressLine, ShareLink, TextRows, TokenPicker
from .components.progress_line import progress_value
from .components.token_picker import picker_value
from .edit_controls import CONTROLS, OTHER, OWN, WORDS, EditControls, options_of, unchanged_controls, values_of_options
from .edit_history import current, leave, new_history, push, step, ways
from .live_edit import LiveEdit
from .model_turn import IN_TURNS, Waiting, sentence, visitor
from .operation_controls import fold_button, in_words, whole
from .pieces import pieces
from .resident import Resident
from .run_controls import RunControls
from .send import Restore, Sender, Ways
from .settings_panel import SettingsPanel, check_limits, settings_from, values_of
from .share import link_of, recipe_from

OPERATION = "edit"
MAX_CANDIDATES = 16
EXAMPLES = (  # a text, and words in it that are selected at first
    ("Tom went to the park with his dog. They were very happy and played all day.", "very happy"),
    ("The sun was warm and bright. Lily found a little red bird in the garden.", "a little red bird"),
)
MISFIT = (
    "Best first. The misfit says how badly the words that were kept go with the new ones: the squared error of the "
    "flow's velocity at their latents, the mean of four noise levels. Less fits better."
)
QUICK = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


def build(resident: Resident, page: gr.Blocks) -> Ways:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    model = resident.first
    with gr.Row(elem_classes="workbench", elem_id="edit"):
        with gr.Column(elem_classes="controls"):
            with gr.Group(elem_classes="ask"):
                text = gr.Textbox(
                    EXAMPLES[0][0],
                    label="Text",
                    info="Type or paste it here, then select words of it where it stands in large.",
                    lines=3,
                    max_lines=10,
                    elem_classes="prompt-box",
                    html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                )
                with gr.Row(elem_classes="examples"):
                    examples = [gr.Button(t, size="sm", elem_classes="example", min_width=40) for t, _ in EXAMPLES]
            controls = RunControls("edit", "Change the span")
            edit_controls = EditControls(resident)
            fold_button("edit")
            with (
                gr.Column(elem_classes="setting-list"),
                gr.Accordion("Sampler", open=False, elem_classes="more"),
            ):
                panel = SettingsPanel(model.defaults)
        with gr.Column(elem_classes="results"):
            picker = TokenPicker(
                "The text, token by token",
                "No text yet. Write one into the box, or take an example.",
                "Select what to change: click a word and drag, tap the first and the last, or use arrows with Shift.",
                elem_id="picker",
            )
            with gr.Row(elem_classes="small-buttons tools"):
                undo = gr.Button("Undo", size="sm", min_width=40, interactive=False)
                redo = gr.Button("Redo", size="sm", min_width=40, interactive=False)
                to_generate = gr.Button("Continue in Generate", size="sm", min_width=40)
                to_interpolate = gr.Button("Send to Interpolate", size="sm", min_width=40)
            gr.HTML(f"<h2>Candidates</h2><p>{MISFIT}</p>", elem_classes="section-title", js_on_load=None)
            with gr.Row(elem_classes="over"):
                progress = QueuedProgressLine(elem_classes="progress")
                link = ShareLink(elem_classes="link")
            rows = TextRows(
                "Candidates",
                "Use it",
                "not what stood there before",
                "New versions of the text will stand here, with what is new in them marked: they change the words that "
                "are selected above.",
                "Change the span",
                elem_id="candidates",
            )

    history = gr.State(first_history(model))
    inputs = [text, picker, *edit_controls.inputs, *panel.inputs]
    shown = [text, picker, history, undo, redo]

    def on_run(*values: Any) -> Iterator[tuple[Any, Any, Any]]:
        yield from edit(resident.model, resident.scheduler, *values)

    def on_typed(text: str, history: dict[str, Any]) -> list[Any]:
        return typed(resident.model, text, history)[1:]

    def on_undo(picker: dict[str, Any], history: dict[str, Any], event: gr.EventData) -> list[Any]:
        return travel(resident.model, picker, history, -1 if event.by < 0 else 1)

    def on_select(picker: dict[str, Any], history: dict[str, Any], event: gr.EventData) -> list[Any]:
        return choose(resident.model, event.text, picker, history)

    def on_other(text: str) -> dict[str, Any]:
        return tokens_of(resident.model, text)

    text.change(on_typed, [text, history], shown[1:], trigger_mode="always_last", **QUICK)
    for button, example in zip(examples, EXAMPLES, strict=True):
        button.click(lambda h, example=example: take_example(resident.model, example, h), history, shown, **QUICK)
    undo.click(lambda picker, history: travel(resident.model, picker, history, -1), [picker, history], shown, **QUICK)
    redo.click(lambda picker, history: travel(resident.model, picker, history, 1), [picker, history], shown, **QUICK)
    picker.undo(on_undo, [picker, history], shown, **QUICK)
    rows.select(on_select, [picker, history], shown, **QUICK)
    edit_controls.other.change(
        on_other, edit_controls.other, edit_controls.other_picker, trigger_mode="always_last", **QUICK
    )
    controls.wire(on_run, inputs, rows, progress, link, also=[rows.submit])
    return Ways(
        take=lambda text, history: show(resident.model, push(history, text), "Sent here; Undo goes back."),
        inputs=[history],
        outputs=shown,
        sends=[Sender(to_generate.click, "generate", text), Sender(to_interpolate.click, "interpolate", text)],
        take_lists=lambda first, second: ["direction", OWN, "\n".join(first), "\n".join(second)],
        list_outputs=edit_controls.lists,
        restore=Restore(
            OPERATION,
            lambda query: restore(resident.model, query),
            [*shown, *edit_controls.inputs, *panel.inputs, progress],
        ),
    )


# the text and its history


def tokens_of(model: ColaDLM, text: str, start: int = 0, end: int = 0, said: str = "") -> dict[str, Any]:
    """The value of a picker for a text; what is wrong with the text stands in it as a sentence."""
    try:
        parts = pieces(model.tokenizer, model.tokenize(text), whole=True)
    except ValueError as error:
        return picker_value("", (), wrong=in_words(sentence(error), {"a prompt": "the text"}))
    if not 0 <= start <= end <= len(parts):
        start, end = 0, 0
    return picker_value(text, parts, start, end, said)


def show(model: ColaDLM, history: dict[str, Any], said: str = "") -> list[Any]:
    """Values of the box, the picker, the history and its two buttons for the text now. said: what has happened."""
    now = current(history)
    back, forth = ways(history)
    picker = tokens_of(model, *now, said=said)
    return [now.text, picker, history, gr.update(interactive=back), gr.update(interactive=forth)]


def typed(model: ColaDLM, text: str, history: dict[str, Any]) -> list[Any]:
    """The same after the visitor has written or pasted a text."""
    if text == current(history).text:
        return [gr.skip()] * 5
    return show(model, push(history, text, typed=True))


def first_history(model: ColaDLM) -> dict[str, Any]:
    """The history that a visit begins with: the first example."""
    text, words = EXAMPLES[0]
    return leave(new_history(text), *span_of(pieces(model.tokenizer, model.tokenize(text), whole=True), words))


def take_example(model: ColaDLM, example: tuple[str, str], history: dict[str, Any]) -> list[Any]:
    """The same after an example, a text and words to select in it, has become the text."""
    text, words = example
    span = span_of(pieces(model.tokenizer, model.tokenize(text), whole=True), words)
    return show(model, leave(push(history, text), *span))


def span_of(parts: list[str], words: str) -> tuple[int, int]:
    """The tokens, given as pieces of a text, that hold its first occurrence of `words`."""
    start = "".join(parts).index(words)
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    inside = [i for i, (low, high) in enumerate(itertools.pairwise(ends)) if low < start + len(words) and high > start]
    return inside[0], inside[-1] + 1


def travel(model: ColaDLM, picker: dict[str, Any], history: dict[str, Any], by: int) -> list[Any]:
    """The same one text back (by -1) or forth (by 1), with the words that were selected in it."""
    history = leave(history, picker["start"], picker["end"])
    there = step(history, by)
    if there["at"] == history["at"]:
        said = "There is nothing more to undo." if by < 0 else "There is nothing more to redo."
        return show(model, history, said)
    return show(model, there, "Undone." if by < 0 else "Done again.")


def choose(model: ColaDLM, text: str, picker: dict[str, Any], history: dict[str, Any]) -> list[Any]:
    """The same after a candidate has become the text; its span stays selected."""
    start, end = picker["start"], picker["end"]
    return show(
        model, push(leave(history, start, end), text, start=start, end=end), "This is the text now; Undo goes back."
    )


# running


def edit(model: ColaDLM, scheduler: Scheduler, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Runs what the controls say; yields values of the rows, the progress line and the link.

    values: see `recipe_of`. What is wrong comes as a sentence in the progress line.
    """
    rows: Any = gr.skip()
    try:
        recipe = recipe_of(model, *values)
        link = link_of(recipe)
        live = LiveEdit(model, recipe)
        for rows, progress in live.frames(scheduler.run(model, recipe, visitor(), steps="some")):
            yield rows, progress, link
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        if "run" in rows:
            rows = {**rows, "state": "error"}
        yield rows, progress_value("error", message=in_words(sentence(error), WORDS)), gr.skip()


def recipe_of(model: ColaDLM, text: str, picker: dict[str, Any], *values: Any) -> Recipe:
    """The recipe that the controls stand for: box, picker, those of EditControls, those of the sampler.

    Raises RecipeError, SettingsError, PromptError, also for more than this page runs.
    """
    if isinstance(text, str) and not text:
        raise RecipeError("the text", Said("empty"), "some words to change")
    start, end = (whole(picker.get(name), "The span") for name in ("start", "end"))
    count = len(model.tokenize(text))
    if text != picker.get("text") and end > start:
        raise RecipeError("the text", Said("not the one in which you selected"), "a selection in the text as it is now")
    if start >= end:
        raise RecipeError("no token", Said("selected"), f"at least one of the {count:,}",
                          f"No token is selected: select at least one of the {count:,} in the text first.")  # fmt: skip
    options, other, candidates = options_of(values[:CONTROLS])
    texts = (text,) if other is None else (text, other)
    recipe = Recipe(OPERATION, texts, settings_from(values[CONTROLS:]), candidates,
                    {**options, "start": start, "end": end}, model.fingerprint)  # fmt: skip
    check_size(recipe)
    return recipe


def check_size(recipe: Recipe) -> None:
    """Refuses what would keep everybody else waiting. Raises RecipeError, SettingsError."""
    check_limits(recipe.settings)
    if recipe.variations > MAX_CANDIDATES:
        raise RecipeError("variations", recipe.variations, f"at most {MAX_CANDIDATES} on this page")


def restore(model: ColaDLM, query: dict[str, str]) -> list[Any]:
    """Values of the text, its history, all controls and the progress line for the query of the opened address."""
    settings = [gr.skip()] * len(values_of(model.defaults))
    other = tokens_of(model, OTHER)
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            first = [*show(model, first_history(model)), *unchanged_controls(other), *settings]
            return [*first, progress_value("idle")]
        options = check_options(recipe.options, OPTIONS)
        check_size(recipe)
        history = leave(new_history(recipe.texts[0]), options["start"] or 0, options["end"] or 0)
        said = check_model(model, recipe) or "Restored from the link: press Change the span to repeat it."
        shown = show(model, history)
        if len(recipe.texts) > 1:
            other = tokens_of(model, recipe.texts[1], options["other_start"] or 0, options["other_end"] or 0)
        chosen = values_of_options(options, other, recipe.variations)
        return [*shown, *chosen, *values_of(recipe.settings), progress_value("idle", message=said)]
    except ValueError as error:
        said = f"The link could not be read: {in_words(sentence(error), WORDS, start=False)}"
        first = [*show(model, first_history(model)), *unchanged_controls(other), *settings]
        return [*first, progress_value("error", message=said)]


def add_api(resident: Resident) -> None:
    """Adds the endpoint /edit to the current page."""
    begin = resident.first.defaults

    def edit(
        text: str,
        start: int,
        end: int,
        method: str = "anew",
        strength: float | None = None,
        renoise: float = 0.2,
        follow: float = 0.0,
        candidates: int = 4,
        direction: str | None = None,
        first: list[str] | None = None,
        second: list[str] | None = None,
        component: int = 0,
        other: str | None = None,
        other_start: int | None = None,
        other_end: int | None = None,
        seed: int = begin.seed,
        steps: int = begin.steps,
        guidance: float = begin.guidance,
        stochasticity: float = begin.stochasticity,
        temperature: float = begin.temperature,
        solver: str = begin.solver,
    ) -> Iterator[tuple[list[dict], dict]]:
        """Changes a span of a text and carries it back through the flow; the rest stays, or follows.

        Args:
            text: what to change.
            start: first token of the span, counted from 0.
            end: the token after the span.
            method: "anew", "renoise", "direction", "mix" or "component".
            strength: how much, 0 changes nothing. renoise and mix: 0 to 1. direction and component: radii, -4 to 4.
            renoise: direction, mix, component: share of noise that the moved span is carried back from.
            follow: what comes after the span, 0 keeps it, above that it may change, 1 writes it anew.
            candidates: how many, in one batch.
            direction: the name of a direction that ships with the app, such as "happy-sad".
            first: a direction of your own, sentences at its first end, two or more.
            second: sentences at its second end.
            component: which principal component, counted from 0.
            other: the text to mix in.
            other_start: first token of the other text's span; its first if absent.
            other_end: the token after it; its end if absent.
            seed: of all randomness.
            steps: solver steps a block.
            guidance: weight of the conditional velocity, 1 for none.
            stochasticity: share of the noise that is renewed at each step, from 0 to 1.
            temperature: of the token choice, 0 takes the likeliest.
            solver: "euler", "midpoint" or "heun".

        Returns:
            The candidates, best first, each with its text, which of its tokens are new, and its misfit; and the recipe
            that repeats them.
        """
        options = {"method": method, "start": start, "end": end, "strength": strength, "renoise": renoise,
                   "follow": follow, "direction": direction, "first": first, "second": second, "component": component,
                   "other_start": other_start, "other_end": other_end}  # fmt: skip
        given = {"seed": seed, "steps": steps, "guidance": guidance, "stochasticity": stochasticity,
                 "temperature": temperature, "solver": solver}  # fmt: skip
        texts = [text] if other is None else [text, other]
        yield from edit_text(resident.model, resident.scheduler, texts, options, candidates, given)

    gr.api(edit, api_name="edit", **IN_TURNS)


def edit_text(
    model: ColaDLM,
    scheduler: Scheduler,
    texts: list[str],
    options: dict[str, Any],
    candidates: int,
    given: dict[str, Any],
) -> Iterator[tuple[list[dict], dict]]:
    """The candidates and the recipe at the end, nothing before. Raises gr.Error with a sentence."""
    try:
        settings = type(model.defaults).from_dict(given, base=model.defaults)
        recipe = Recipe(OPERATION, texts, settings, candidates, options, model.fingerprint)
        check_size(recipe)
        plain: list[dict] = []
        for event in scheduler.run(model, recipe, visitor(), steps="none"):
            if isinstance(event, Edited):
                plain = [{"text": c.text, "changed": list(c.changed), "misfit": c.misfit} for c in event.candidates]
            if isinstance(event, Edited | Waiting):  # in the line too: a caller who left is noticed
                yield plain, recipe.to_dict()
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error
