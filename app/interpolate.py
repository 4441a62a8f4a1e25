"""The tab Interpolate: two texts or more, and the texts on a road between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.interpolate import OPTIONS, ROADS, Road, rows_of
from coladlm.recipe import Recipe, RecipeError, Said, check_options
from coladlm.run import check_model
from coladlm.serve import Scheduler

from .components import Choice, ChoiceList, Distances, QueuedProgressLine, ShareLink, TextRows
from .components.progress_line import progress_value
from .live_road import LiveRoad
from .model_turn import IN_TURNS, Waiting, sentence, visitor
from .operation_controls import fold_button, in_words, percent, share, sliders, whole
from .resident import Resident
from .run_controls import RunControls
from .send import Restore, Sender, TextsSender, Ways
from .settings_panel import SettingsPanel, check_limits, settings_from, values_of
from .share import link_of, recipe_from

OPERATION = "interpolate"
CONTROLS = 6  # of the road: which, stops, noise, profile, alignment, the text before
MAX_BOXES = 6  # texts that the page has room for
MAX_PAGE_TOKENS = 16_384  # of all stops together: what keeps others waiting for a minute or so
ROAD_CHOICES = (
    Choice(
        "through_flow",
        "Through the flow",
        "Mixes the latents of the texts, adds noise and lets the flow carry them back to where texts are. Take it for "
        "stops that read like texts.",
    ),
    Choice(
        "decoder_only",
        "Decoder only",
        "Mixes the latents and decodes them as they are, without asking the flow. Take it to see what lies between "
        "two texts in the latent space itself.",
    ),
    Choice(
        "noise_to_noise",
        "Noise to noise",
        "Carries each text back to its noise, mixes the noises and samples every stop in full. Take it for whole "
        "texts of the model's own, even if neighbours differ a lot.",
    ),
    Choice(
        "prompt_to_prompt",
        "Prompt to prompt",
        "Mixes the texts as prompts and goes on writing from each, always from the same noise. Take it to see how a "
        "continuation depends on its prompt.",
    ),
)
EXAMPLES = (
    ("The sun was warm and bright.", "The night was cold and dark."),
    ("The cat slept on the bed.", "The dog ran in the park."),
    ("Tom was very happy.", "Tom was very sad.", "Tom was very angry."),
)
BEFORE = "Once upon a time, there was a little girl named Lily."
WORDS = {
    "options.stops": "Stops",
    "options.renoise": "Noise",
    "options.align": "Texts of different length",
    "options.profile": "Where to add noise",
    "options.road": "The road",
    "options.before": "The text before",
    **{f"texts[{i}]": f"Text {i + 1}" for i in range(16)},
}


def build(resident: Resident, page: gr.Blocks) -> Ways:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    model = resident.first
    first = EXAMPLES[0]
    with gr.Row(elem_classes="workbench", elem_id="interpolate"):
        with gr.Column(elem_classes="controls"):
            with gr.Group(elem_classes="ask"):
                boxes = [
                    gr.Textbox(
                        first[i] if i < len(first) else "",
                        label=f"Text {i + 1}",
                        lines=2,
                        max_lines=8,
                        visible=i < 2,
                        elem_classes="prompt-box",
                        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                    )
                    for i in range(MAX_BOXES)
                ]
                with gr.Row(elem_classes="small-buttons"):
                    more = gr.Button("Add a text", size="sm", min_width=40)
                    fewer = gr.Button("Remove the last", size="sm", min_width=40, interactive=False)
                with gr.Row(elem_classes="examples"):
                    examples = [
                        gr.Button(" → ".join(texts), size="sm", elem_classes="example", min_width=40)
                        for texts in EXAMPLES
                    ]
            controls = RunControls("interpolate", "Make the road")
            road = ChoiceList("The road", "road", ROAD_CHOICES, ROADS[0])
            stops, renoise = sliders(
                ("Stops from text to text", "Both texts counted. All stops run as one batch.", (2, 33, 1), 9, ""),
                (
                    "Noise (%)",
                    "How much noise the mixed latents get. Less stays closer to the mixture, more to what the model "
                    "would write.",
                    (0, 100, 1),
                    50,
                    "when road-through_flow",
                ),
            )
            before = gr.Textbox(
                BEFORE,
                label="A text before (not shown in the stops)",
                info="The stops follow on it, so that their first words have something to go by. It may be empty.",
                lines=2,
                max_lines=6,
                elem_classes="setting",
                html_attributes=gr.InputHTMLAttributes(spellcheck=False),
            )
            fold_button("interpolate")
            with (
                gr.Column(elem_classes="setting-list"),
                gr.Accordion("Sampler and alignment", open=False, elem_classes="more"),
            ):
                profile = gr.Dropdown(
                    [("less towards the texts", "arch"), ("the same at all stops", "flat")],
                    value="arch",
                    label="Where to add noise",
                    filterable=False,
                    elem_classes="setting when road-through_flow",
                )
                align = gr.Dropdown(
                    [("pad the shorter at its end", "pad"), ("stretch both to a length between", "stretch")],
                    value="pad",
                    label="Texts of different length",
                    info="Padded, a stop loses its last words first; stretched, it reads each text at the nearest "
                    "place of its own length.",
                    filterable=False,
                    elem_classes="setting when road-through_flow road-decoder_only",
                )
                panel = SettingsPanel(model.defaults)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="over"):
                progress = QueuedProgressLine(elem_classes="progress")
                link = ShareLink(elem_classes="link")
            rows = TextRows(
                "Stops of the road",
                "Edit",
                "not in the stop above",
                "No road yet. Press Make the road, and the stops between the texts come out of the noise together.",
                "Make the road",
                elem_id="stops",
            )
            distances = Distances()
            with gr.Row(elem_classes="small-buttons tools to-map"):
                to_map = gr.Button("See the road on the map", size="sm", min_width=40)

    count = gr.State(2)
    options = [road, stops, renoise, profile, align, before]
    inputs = [count, *boxes, *options, *panel.inputs]

    def on_run(*values: Any) -> Iterator[tuple[Any, ...]]:
        yield from interpolate(resident.model, resident.scheduler, *values)

    quick = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    shown = [count, *boxes, fewer, more]
    more.click(lambda n: show_boxes(n + 1), count, shown, **quick)
    fewer.click(lambda n: show_boxes(n - 1), count, shown, **quick)
    for button, texts in zip(examples, EXAMPLES, strict=True):
        button.click(lambda texts=texts: fill_boxes(texts), None, shown, **quick)
    also = [rows.submit, *(box.submit for box in boxes)]
    controls.wire(on_run, inputs, rows, progress, link, also=also, more=[distances])
    return Ways(
        take=lambda text: [text],
        outputs=[boxes[0]],
        sends=[Sender(rows.select, "edit")],
        take_texts=lambda visitor, texts: [several(texts)],
        texts_outputs=shown,
        texts_sends=[TextsSender(to_map.click, "map", rows, texts_of)],
        restore=Restore(
            OPERATION, lambda query: restore(resident.model, query), [*shown, *options, *panel.inputs, progress]
        ),
    )


def show_boxes(n: int) -> list[Any]:
    """Values of the count, the boxes and their two buttons so that the first `n` boxes are there."""
    n = min(MAX_BOXES, max(2, n))
    boxes = [gr.update(visible=i < n) for i in range(MAX_BOXES)]
    return [n, *boxes, gr.update(interactive=n > 2), gr.update(interactive=n < MAX_BOXES)]


def fill_boxes(texts: Sequence[str]) -> list[Any]:
    """The same with texts in the boxes."""
    n, *boxes, fewer, more = show_boxes(len(texts))
    filled = [
        gr.update(value=texts[i] if i < len(texts) else "", visible=i < max(2, len(texts))) for i in range(len(boxes))
    ]
    return [n, *filled, fewer, more]


def several(texts: Sequence[str]) -> list[Any]:
    """The same for texts that were sent here: a single one becomes the first, more of them are the road."""
    if len(texts) == 1:
        return [gr.skip(), gr.update(value=texts[0]), *[gr.skip()] * (MAX_BOXES - 1 + 2)]
    return fill_boxes(texts[:MAX_BOXES])


def texts_of(rows: Mapping[str, Any]) -> list[str]:
    """The texts of the stops that are complete."""
    return [row["text"] for row in rows["rows"] if row["text"]]


def interpolate(model: ColaDLM, scheduler: Scheduler, *values: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Runs what the controls say; yields values of the rows, the progress line, the link and the distances.

    values: of the controls, see `recipe_of`. What is wrong comes as a sentence in the progress line.
    """
    rows: Any = gr.skip()
    try:
        recipe = recipe_of(model, *values)
        link = link_of(recipe)
        live = LiveRoad(model, recipe)
        for rows, progress in live.frames(scheduler.run(model, recipe, visitor(), steps="some")):
            yield rows, progress, link, live.distances
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        if "run" in rows:
            rows = {**rows, "state": "error"}
        yield rows, progress_value("error", message=in_words(sentence(error), WORDS)), gr.skip(), gr.skip()


def recipe_of(model: ColaDLM, count: int, *values: Any) -> Recipe:
    """The recipe that the controls stand for: count, boxes, those of the road, sampler settings.

    Raises RecipeError, SettingsError, PromptError, also for more than this page runs.
    """
    texts, (road, stops, renoise, profile, align, before), settings = (
        values[:MAX_BOXES],
        values[MAX_BOXES:][:CONTROLS],
        values[MAX_BOXES + CONTROLS :],
    )
    options = {"road": road, "stops": whole(stops, "Stops"), "before": before or ""}
    if road == "through_flow":
        options |= {"renoise": share(renoise, "Noise"), "profile": profile}
    if road in ("through_flow", "decoder_only"):
        options["align"] = align
    recipe = Recipe(OPERATION, texts[: whole(count, "The number of texts")], settings_from(settings), options=options,
                    model=model.fingerprint)  # fmt: skip
    check_size(model, recipe)
    return recipe


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses a road that would keep everybody else waiting. Raises RecipeError, PromptError."""
    check_limits(recipe.settings)
    options = check_options(recipe.options, OPTIONS)
    longest = max(len(model.tokenize(text)) for text in recipe.texts) + len(model.tokenize(options["before"]))
    if options["road"] == "prompt_to_prompt":
        longest += recipe.settings.max_new_tokens
    stops = rows_of(recipe)
    if stops * longest > MAX_PAGE_TOKENS:
        raise RecipeError("the road", Said(f"{stops} stops of up to {longest:,} tokens"),
                          f"at most {MAX_PAGE_TOKENS:,} tokens in all on this page")  # fmt: skip


def restore(model: ColaDLM, query: dict[str, str]) -> list[Any]:
    """Values of all controls and the progress line for the query of the address that was opened."""
    # Components of our own get a value: gradio 6.31 forgets what they are made of when a tab that was never open is
    # told to skip one.
    skipped = [gr.skip()] * (CONTROLS - 1 + len(values_of(model.defaults)))
    unchanged = [*[gr.skip()] * (1 + MAX_BOXES + 2), ROADS[0], *skipped]
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            return [*unchanged, progress_value("idle")]
        options = check_options(recipe.options, OPTIONS)
        if options["weights"] is not None:
            raise RecipeError(
                "options.weights", options["weights"], "a whole road on this page; the command line has single stops"
            )
        if not 2 <= len(recipe.texts) <= MAX_BOXES:
            raise RecipeError("texts", Said(f"{len(recipe.texts)} texts"), f"2 to {MAX_BOXES} on this page")
        check_limits(recipe.settings)
    except ValueError as error:
        said = f"The link could not be read: {in_words(sentence(error), WORDS, start=False)}"
        return [*unchanged, progress_value("error", message=said)]
    said = check_model(model, recipe) or "Restored from the link: press Make the road to repeat it."
    chosen = [options["road"], options["stops"], percent(options["renoise"]), options["profile"], options["align"],
              options["before"]]  # fmt: skip
    return [*fill_boxes(recipe.texts), *chosen, *values_of(recipe.settings), progress_value("idle", message=said)]


def add_api(resident: Resident) -> None:
    """Adds the endpoint /interpolate to the current page."""
    start = resident.first.defaults

    def interpolate(
        texts: list[str],
        road: str = "through_flow",
        stops: int = 9,
        renoise: float = 0.5,
        profile: str = "arch",
        align: str = "pad",
        before: str = "",
        seed: int = start.seed,
        steps: int = start.steps,
        guidance: float = start.guidance,
        stochasticity: float = start.stochasticity,
        max_new_tokens: int = start.max_new_tokens,
        temperature: float = start.temperature,
        solver: str = start.solver,
    ) -> Iterator[tuple[list[dict], dict]]:
        """Walks from text to text.

        Args:
            texts: two texts or more, each of at least one token.
            road: "through_flow", "decoder_only", "noise_to_noise" or "prompt_to_prompt".
            stops: from each text to the next, both counted.
            renoise: through the flow, the share of noise from 0 to 1 that a stop is re-noised to.
            profile: through the flow, "arch" re-noises less towards the texts, "flat" all stops alike.
            align: texts of different length, "pad" or "stretch".
            before: a text that stands before every stop and is no part of it.
            seed: of all randomness; the same recipe on the same model gives the same road.
            steps: solver steps a block.
            guidance: weight of the conditional velocity, 1 for none.
            stochasticity: share of the noise that is renewed at each step, from 0 to 1.
            max_new_tokens: prompt to prompt, the length of each continuation in tokens.
            temperature: of the token choice, 0 takes the likeliest.
            solver: "euler", "midpoint" or "heun".

        Returns:
            The stops, each with its text, whether it is complete and, at the end, its distances to the texts in latents
            and in tokens; and the recipe that repeats them. A stream has the stops whenever one is complete.
        """
        options = {"road": road, "stops": stops, "renoise": renoise, "profile": profile, "align": align,
                   "before": before}  # fmt: skip
        given = {"seed": seed, "steps": steps, "guidance": guidance, "stochasticity": stochasticity,
                 "max_new_tokens": max_new_tokens, "temperature": temperature, "solver": solver}  # fmt: skip
        yield from interpolate_texts(resident.model, resident.scheduler, texts, options, given)

    gr.api(interpolate, api_name="interpolate", **IN_TURNS)


def interpolate_texts(
    model: ColaDLM, scheduler: Scheduler, texts: list[str], options: dict[str, Any], given: dict[str, Any]
) -> Iterator[tuple[list[dict], dict]]:
    """The stops and the recipe whenever a stop is complete. Raises gr.Error with a sentence."""
    try:
        settings = type(model.defaults).from_dict(given, base=model.defaults)
        recipe = Recipe(OPERATION, texts, settings, options=options, model=model.fingerprint)
        check_size(model, recipe)
        plain = recipe.to_dict()
        stops: list[dict] = []
        for event in scheduler.run(model, recipe, visitor(), steps="none"):
            if isinstance(event, Road):
                stops = [_plain_stop(stop) for stop in event.stops]
            if isinstance(event, Road | Waiting):  # in the line too: a caller who left is noticed
                yield stops, plain
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def _plain_stop(stop: Any) -> dict[str, Any]:
    return {
        "text": stop.text,
        "done": stop.done,
        "weights": list(stop.weights),
        "latent_distances": list(stop.latent_distances),
        "token_distances": list(stop.token_distances),
    }
