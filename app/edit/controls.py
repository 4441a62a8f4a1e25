"""The controls of the tab Edit: what is done with the span; the way from controls to options of a recipe and back."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.directions import load_pairs, shipped
from coladlm.latent.edit import STRENGTHS
from coladlm.latent.layout import LatentSpace
from coladlm.latent.turning import measured
from coladlm.recipe import Described, RecipeError

from ..components import Choice, ChoiceBox, ChoiceList, TokenPicker
from ..shared.event_options import EventOptions
from ..shared.operation_controls import number, percent, share, sliders, whole
from ..shared.resident import Resident

METHOD_CHOICES = (
    Choice("anew", "Write anew", "The span starts from pure noise: its words are forgotten, the rest holds new ones."),
    Choice("renoise", "Re-noise", "The span gets some noise and is carried back: words near to what stood there."),
    Choice(
        "direction",
        "Add a direction",
        "The span's latents are moved the way from one kind of sentence to another, then carried back.",
    ),
    Choice("mix", "Mix in another text", "The span's latents are moved towards those of a span of another text."),
    Choice(
        "component",
        "Push along a component",
        "The span's latents are pushed along one of the directions in which latents differ most.",
    ),
)
OWN = "own"
OTHER = "The dragon flew over the dark forest."
RENOISE = 20  # per cent: above it a push begins to be undone (docs/interpolation.md)
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
NAMES = ("method", "strength", "direction", "first", "second", "other", "other_picker", "mixed", "component", "push",
         "renoise", "follow", "candidates")  # fmt: skip
WORDS = {
    "options.strength": "Strength",
    "options.renoise": "Noise to carry back from",
    "options.follow": "What follows",
    "options.component": "Component",
    "options.direction": "The direction",
    "options.first": "The first list",
    "options.second": "The second list",
    "options.other_start": "The other text's span",
    "options.other_end": "The other text's span",
    "options.start": "The start of the span",
    "options.end": "The end of the span",
    "variations": "Candidates",
    "texts[0]": "The text",
    "texts[1]": "The other text",
}


class EditControls:
    """The controls, built where it is made. `by_name` are their components, by NAMES; `options_of` reads their values.

    lists: what two lists of sentences from another tab change.
    """

    def __init__(self, resident: Resident) -> None:
        model = resident.first
        method = ChoiceList("What to do with the span", "method", METHOD_CHOICES, METHOD_CHOICES[0].value)
        self.by_name: dict[str, Any] = {"method": method}  # components of several kinds
        with gr.Column(elem_classes="when method-renoise"):
            self._add("strength", "Strength (% noise)", "0 changes nothing. It works between about 20 and 75.",
                      (0, 100, 1), 50)  # fmt: skip
        with gr.Column(elem_classes="when method-direction"):
            self._lay_out_direction(resident)
        with gr.Column(elem_classes="when method-mix"):
            self._lay_out_other()
            self._add("mixed", "Share of the other text (%)", "0 changes nothing.", (0, 100, 1), 50)
        with gr.Column(elem_classes="when method-component"):
            most = model.latent_dim - 1 if LatentSpace(model.vae.config).spherical else model.latent_dim
            self._add("component", "Component", "1 is the way in which latents differ most.", (1, most, 1), 1)
        with gr.Column(elem_classes="when method-direction method-component"):
            low, high = STRENGTHS["direction"][1:]
            self._add("push", "Push (radii)", "How far; less than 0 goes the opposite way, 0 changes nothing.",
                      (low, high, 0.1), 1)  # fmt: skip
        with gr.Column(elem_classes="when method-direction method-mix method-component"):
            self._add("renoise", "Noise to carry back from (%)",
                      "The moved span gets this much; 0 decodes it as it is.", (0, 100, 1), RENOISE)  # fmt: skip
        self._add("follow", "What follows may change (%)",
                  "0 keeps it word for word; more lets it follow, 100 writes it anew.", (0, 100, 1), 0)  # fmt: skip
        self._add("candidates", "Candidates", "As many ways to do it, in one batch, best first.", (1, 8, 1), 4)
        direction = self.by_name["direction"]
        direction.select(
            lambda name: as_measured(resident.model, name),
            direction,
            [self.by_name["push"], self.by_name["renoise"]],
            trigger_mode="always_last",
            **QUICK,
        )
        self.lists = [self.by_name[name] for name in ("method", "direction", "first", "second")]

    def _add(self, name: str, label: str, hint: str, bounds: tuple[float, float, float], value: float) -> None:
        [self.by_name[name]] = sliders((label, hint, bounds, value, ""))

    def _lay_out_direction(self, resident: Resident) -> None:
        titles = [(load_pairs(name).title, name) for name in shipped()]
        start = first_direction(resident.first)
        choices = [*titles, ("my own, from two lists of sentences", OWN)]
        direction = ChoiceBox("Direction", "", choices, start, elem_classes="setting")
        note = gr.HTML(_hint(resident.first, start), js_on_load=None, elem_classes="hint", elem_id="direction-hint")
        with gr.Column(visible=not titles, elem_classes="own-lists") as own:
            first = gr.Textbox(label="From sentences like", info="One a line, two or more.", lines=3, max_lines=8)
            second = gr.Textbox(label="To sentences like", info="One a line, two or more.", lines=3, max_lines=8)
        direction.change(None, direction, own, js=OWN_JS, api_visibility="private")
        direction.change(lambda name: _hint(resident.model, name), direction, note, **QUICK)
        self.by_name |= {"direction": direction, "first": first, "second": second}

    def _lay_out_other(self) -> None:
        other = gr.Textbox(
            OTHER,
            label="The other text",
            lines=2,
            max_lines=6,
            elem_classes="prompt-box",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        picker = TokenPicker(
            "The other text, token by token",
            "Its tokens will stand here.",
            "No token selected: all of it",
            small=True,
        )
        self.by_name |= {"other": other, "other_picker": picker}


def first_direction(model: ColaDLM) -> str:
    """The direction that is chosen at first: of those that ship the one that turns most sentences of this model."""
    found = measured(model)
    return max(shipped(), key=lambda name: found[name].turned if name in found else 0.0, default=OWN)


def turning_note(model: ColaDLM, name: str) -> str:
    """How far a direction can be relied on with this model, in a sentence."""
    if name == OWN:
        return "From the mean latent of the first list to that of the second. Words that both use alike cancel."
    found = measured(model).get(name)
    if found is None:
        return "How often it turns a sentence has not been measured with this model."
    return (
        f"Turned {found.turned:.0%} of {found.edits} edits of held-out sentences ({found.reached:.0%} into the very "
        f"sentence of the pair), at push {found.strength:g} and {found.renoise:.0%} noise."
    )


def _hint(model: ColaDLM, name: str) -> str:
    return f"<p>{html.escape(turning_note(model, name))}</p>"


def as_measured(model: ColaDLM, name: str) -> list[Any]:
    """Values of push and noise with which a direction was measured; nothing changes for one that was not."""
    found = None if name == OWN else measured(model).get(name)
    return [gr.skip(), gr.skip()] if found is None else [found.strength, percent(found.renoise)]


OWN_JS = f"(name) => ({{__type__: 'update', visible: name === '{OWN}'}})"


def options_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], str | None, int]:
    """Options, the other text (None without one) and the candidates that the values of the controls stand for.

    values: by NAMES. Raises RecipeError.
    """
    value = {name: values.get(name) for name in NAMES}
    method = value["method"]
    options: dict[str, Any] = {"method": method, "follow": share(value["follow"], "What follows")}
    if method == "renoise":
        options["strength"] = share(value["strength"], "Strength")
    if method in ("direction", "component"):
        options["strength"] = number(value["push"], "Push")
    if method == "direction":
        if value["direction"] == OWN:
            options |= {name: _lines(value[name], name) for name in ("first", "second")}
        else:
            options["direction"] = value["direction"]
    if method == "component":
        options["component"] = whole(value["component"], "Component") - 1
        if options["component"] < 0:
            raise RecipeError("Component", value["component"], "1 or more")
    if method == "mix":
        options |= {"strength": share(value["mixed"], "Share of the other text"), **_other_span(value)}
    if method in ("direction", "mix", "component"):
        options["renoise"] = share(value["renoise"], "Noise to carry back from")
    return options, value["other"] if method == "mix" else None, whole(value["candidates"], "Candidates")


def _other_span(value: Mapping[str, Any]) -> dict[str, int]:
    """The span that is selected in the other text, unless it has become another text since."""
    picked = value["other_picker"]
    if not isinstance(picked, Mapping) or picked.get("text") != value["other"]:
        return {}
    start, end = (whole(picked.get(name, 0), "The other text's span") for name in ("start", "end"))
    return {"other_start": start, "other_end": end} if end > start else {}


def values_of_options(options: dict[str, Any], other: dict[str, Any], candidates: int) -> dict[str, Any]:
    """Values of the controls for complete options; what a method has no use for keeps its value (gr.skip).

    other: value of the picker of the other text, which holds that text.
    """
    method, strength = options["method"], options["strength"]
    strength = STRENGTHS[method][0] if strength is None else strength
    values = {**dict.fromkeys(NAMES, gr.skip()), "method": method, "other": other["text"], "other_picker": other}
    values |= {"follow": percent(options["follow"]), "candidates": candidates}
    if method == "renoise":
        values["strength"] = percent(strength)
    if method in ("direction", "component"):
        values["push"] = strength
    if method == "direction":
        values["direction"] = options["direction"]
    if options["first"] is not None:
        values |= {"first": "\n".join(options["first"]), "second": "\n".join(options["second"])}
        if method == "direction":
            values["direction"] = OWN
    if method == "mix":
        values["mixed"] = percent(strength)
    if method == "component":
        values["component"] = options["component"] + 1
    if method in ("direction", "mix", "component"):
        values["renoise"] = percent(options["renoise"])
    return values


def unchanged_controls(other: dict[str, Any]) -> list[Any]:
    """Values that leave the controls as they are, in the order of NAMES, but for the picker of the other text: its
    tokens are those of the model that is loaded now.
    """
    return [other if name == "other_picker" else gr.skip() for name in NAMES]


def _lines(text: Any, which: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()] if isinstance(text, str) else []
    if len(lines) < 2:
        found = Described("1 sentence" if lines else "empty")
        raise RecipeError(f"the {which} list", found, "two sentences or more, one a line: a single one says more about "
                          "its own words than about a way")  # fmt: skip
    return lines
