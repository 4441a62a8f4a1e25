"""What the tab Interpolate does: from its controls to a recipe and back, and the view of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.interpolate import OPTIONS, ends_of, waypoint_count
from coladlm.recipe import Described, Recipe, RecipeError, check_options
from coladlm.run import check_model
from coladlm.serve import Scheduler

from ..components.progress_line import progress_value
from ..runs.registry import Frame, RunContext
from ..shared.errors import sentence
from ..shared.links import link_of, recipe_from
from ..shared.operation_controls import group, in_words, percent, share, whole
from ..shared.row_frames import shown_rows
from ..shared.settings_panel import check_limits, settings_of, values_of
from .frames import LiveInterpolation

OPERATION = "interpolate"
MAX_BOXES = 6  # texts that the page has room for
MAX_PAGE_TOKENS = 16_384  # of all waypoints together: what keeps others waiting for a minute or so
OPTION_NAMES = (
    "road",
    "stops",
    "renoise",
    "tries",
    "profile",
    "align",
    "before",
)  # those of a recipe that have a control
WORDS = {
    "options.stops": "The number of waypoints",
    "options.renoise": "Noise",
    "options.tries": "The number of candidates",
    "options.align": "Texts of different length",
    "options.profile": "Where to add noise",
    "options.road": "How to interpolate",
    "options.before": "The text before",
    **{f"texts[{i}]": f"Text {i + 1}" for i in range(16)},
}


# running


def interpolate(
    model: ColaDLM, scheduler: Scheduler, context: RunContext, controls: Mapping[str, Any]
) -> Iterator[Frame]:
    """The view of a run: what the controls say, see `recipe_of`.

    Parts: link, rows, progress and distances. Raises ValueError with a sentence.
    """
    try:
        recipe = recipe_of(model, controls)
        yield {"link": link_of(recipe)}
        events = scheduler.run(model, recipe, context.visitor, steps="some")
        yield from shown_rows(context, LiveInterpolation(model, recipe), events)
    except ValueError as error:
        raise ValueError(in_words(sentence(error), WORDS)) from error


def recipe_of(model: ColaDLM, controls: Mapping[str, Any]) -> Recipe:
    """The recipe that the controls stand for.

    controls: count, of the boxes in use; texts, by the numbers of their boxes from 1; options, by OPTION_NAMES;
    settings, see `settings_of`. Raises RecipeError, SettingsError, PromptError, also for more than this page runs.
    """
    count = whole(controls.get("count"), "The number of texts")
    if not 2 <= count <= MAX_BOXES:
        raise RecipeError("The number of texts", count, f"2 to {MAX_BOXES} on this page")
    boxes = group(controls, "texts")
    texts: tuple[Any, ...] = tuple(boxes.get(str(i + 1)) for i in range(count))
    options = _options_of(group(controls, "options"))
    settings = model.plain(settings_of(controls.get("settings")))
    recipe = Recipe(OPERATION, texts, settings, options=options, model=model.fingerprint)
    check_size(model, recipe)
    return recipe


def _options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    method = values.get("road")
    options = {
        "road": method,
        "stops": whole(values.get("stops"), WORDS["options.stops"]),
        "before": values.get("before") or "",
    }
    if method == "through_flow":
        options |= {"renoise": share(values.get("renoise"), "Noise"), "profile": values.get("profile"),
                    "tries": whole(values.get("tries"), WORDS["options.tries"])}  # fmt: skip
    if method in ("through_flow", "decoder_only"):
        options["align"] = values.get("align")
    return options


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses what is no interpolation, before it takes the place of one that goes on, and what would keep everybody
    else waiting. Raises RecipeError, PromptError.
    """
    check_limits(recipe.settings)
    options = check_options(recipe.options, OPTIONS)
    longest = max(map(len, ends_of(model, recipe))) + len(model.tokenize(options["before"]))
    if options["road"] == "prompt_to_prompt":
        longest += recipe.settings.max_new_tokens
    tries = options["tries"] if options["road"] == "through_flow" else 1
    waypoints, named = waypoint_count(recipe) * tries, "waypoints" if tries == 1 else "candidates"
    if waypoints * longest > MAX_PAGE_TOKENS:
        note = f"{waypoints} {named} of up to {longest:,} tokens are {waypoints * longest:,} in all, expected at "
        note += f"most {MAX_PAGE_TOKENS:,} tokens on this page."
        raise RecipeError("the interpolation", Described("too long"), f"at most {MAX_PAGE_TOKENS:,} tokens", note)


# what the controls show


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
    """The same for texts that were sent here: a single one becomes the first, more of them fill all boxes."""
    if len(texts) == 1:
        return [gr.skip(), gr.update(value=texts[0]), *[gr.skip()] * (MAX_BOXES - 1 + 2)]
    return fill_boxes(texts[:MAX_BOXES])


def texts_of(stage: Mapping[str, Any]) -> list[str]:
    """The texts of the waypoints that a WaypointStage shows, as far as they have any."""
    return [waypoint["text"] for waypoint in stage["waypoints"] if waypoint["text"]]


def restore(model: ColaDLM, query: Mapping[str, str]) -> list[Any]:
    """Values of all controls and the progress line for the query of the address that was opened."""
    unchanged = [gr.skip()] * (1 + MAX_BOXES + 2 + len(OPTION_NAMES) + len(values_of(model.defaults)))
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            return [*unchanged, gr.skip()]
        options = check_options(recipe.options, OPTIONS)
        if options["weights"] is not None:
            found = "a whole interpolation on this page; the command line has single waypoints"
            raise RecipeError("options.weights", options["weights"], found)
        if not 2 <= len(recipe.texts) <= MAX_BOXES:
            raise RecipeError("texts", Described(f"{len(recipe.texts)} texts"), f"2 to {MAX_BOXES} on this page")
        check_limits(recipe.settings)
    except ValueError as error:
        note = f"The link could not be read: {in_words(sentence(error), WORDS, start=False)}"
        return [*unchanged, progress_value("error", message=note)]
    note = check_model(model, recipe) or "Restored from the link: press Interpolate to repeat it."
    values = {**options, "renoise": percent(options["renoise"])}
    chosen = [values[name] for name in OPTION_NAMES]
    return [*fill_boxes(recipe.texts), *chosen, *values_of(recipe.settings), progress_value("idle", message=note)]
