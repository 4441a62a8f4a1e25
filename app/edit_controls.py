"""The controls of the tab Edit: what is done with the span; the way from controls to options of a recipe and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.directions import load_pairs, shipped
from coladlm.latent.edit import STRENGTHS
from coladlm.latent.layout import LatentSpace
from coladlm.latent.turning import measured
from coladlm.recipe import RecipeError, Said

from .components import Choice, ChoiceList, TokenPicker
from .operation_controls import number, percent, share, sliders, whole
from .resident import Resident

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
QUICK = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
CONTROLS = 13  # values of EditControls.inputs
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
    """The controls, built where it is made. `inputs` are their components, whose values `options_of` reads."""

    def __init__(self, resident: Resident) -> None:
        model = resident.first
        self.method = ChoiceList("What to do with the span", "method", METHOD_CHOICES, METHOD_CHOICES[0].value)
        with gr.Column(elem_classes="when method-renoise"):
            [strength] = sliders(
                ("Strength (% noise)", "0 changes nothing. It works between about 20 and 75.", (0, 100, 1), 50, "")
            )
        with gr.Column(elem_classes="when method-direction"):
            titles = [(load_pairs(name).title, name) for name in shipped()]
            direction = gr.Dropdown(
                [*titles, ("my own, from two lists of sentences", OWN)],
                value=(start := first_direction(model)),
                label="Direction",
                info=turning_said(model, start),
                filterable=False,
                elem_classes="setting",
            )
            with gr.Column(visible=not titles, elem_classes="own-lists") as own:
                first = gr.Textbox(label="From sentences like", info="One a line, two or more.", lines=3, max_lines=8)
                second = gr.Textbox(label="To sentences like", info="One a line, two or more.", lines=3, max_lines=8)
            direction.change(None, direction, own, js=OWN_JS, api_visibility="private")
            direction.change(lambda name: gr.update(info=turning_said(resident.model, name)), direction, direction,
                             **QUICK)  # fmt: skip
        with gr.Column(elem_classes="when method-mix"):
            other = gr.Textbox(
                OTHER,
                label="The other text",
                lines=2,
                max_lines=6,
                elem_classes="prompt-box",
                html_attributes=gr.InputHTMLAttributes(spellcheck=False),
            )
            self.other_picker = TokenPicker(
                "The other text, token by token",
                "Its tokens will stand here.",
                "No token selected: all of it",
                small=True,
            )
            [mixed] = sliders(("Share of the other text (%)", "0 changes nothing.", (0, 100, 1), 50, ""))
        with gr.Column(elem_classes="when method-component"):
            most = model.latent_dim - 1 if LatentSpace(model.vae.config).spherical else model.latent_dim
            [component] = sliders(("Component", "1 is the way in which latents differ most.", (1, most, 1), 1, ""))
        with gr.Column(elem_classes="when method-direction method-component"):
            low, high = STRENGTHS["direction"][1:]
            [push] = sliders(
                (
                    "Push (radii)",
                    "How far; less than 0 goes the opposite way, 0 changes nothing.",
                    (low, high, 0.1),
                    1,
                    "",
                )
            )
        with gr.Column(elem_classes="when method-direction method-mix method-component"):
            [renoise] = sliders(
                (
                    "Noise to carry back from (%)",
                    "The moved span gets this much; 0 decodes it as it is.",
                    (0, 100, 1),
                    RENOISE,
                    "",
                )
            )
        direction.input(
            lambda name: as_measured(resident.model, name),
            direction,
            [push, renoise],
            trigger_mode="always_last",
            **QUICK,
        )
        follow, candidates = sliders(
            ("What follows may change (%)", "0 keeps it word for word; more lets it follow, 100 writes it anew.",
             (0, 100, 1), 0, ""),
            ("Candidates", "As many ways to do it, in one batch, best first.", (1, 8, 1), 4, ""),
        )  # fmt: skip
        self.other = other
        self.lists = [self.method, direction, first, second]  # what two lists of sentences from another tab change
        self.inputs = [self.method, strength, direction, first, second, other, self.other_picker, mixed, component,
                       push, renoise, follow, candidates]  # fmt: skip


def first_direction(model: ColaDLM) -> str:
    """The direction that is chosen at first: of those that ship the one that turns most sentences of this model."""
    found = measured(model)
    return max(shipped(), key=lambda name: found[name].turned if name in found else 0.0, default=OWN)


def turning_said(model: ColaDLM, name: str) -> str:
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


def as_measured(model: ColaDLM, name: str) -> list[Any]:
    """Values of push and noise with which a direction was measured; nothing changes for one that was not."""
    found = None if name == OWN else measured(model).get(name)
    return [gr.skip(), gr.skip()] if found is None else [found.strength, percent(found.renoise)]


OWN_JS = f"(name) => ({{__type__: 'update', visible: name === '{OWN}'}})"


def options_of(values: Sequence[Any]) -> tuple[dict[str, Any], str | None, int]:
    """Options, the other text (None without one) and the candidates that the values of `inputs` stand for.

    Raises RecipeError.
    """
    method, strength, direction, first, second, other, picked, mixed, component, push, renoise, follow, many = values
    options: dict[str, Any] = {"method": method, "follow": share(follow, "What follows")}
    if method == "renoise":
        options["strength"] = share(strength, "Strength")
    if method in ("direction", "component"):
        options["strength"] = number(push, "Push")
    if method == "direction":
        if direction == OWN:
            options |= {"first": _lines(first, "first"), "second": _lines(second, "second")}
        else:
            options["direction"] = direction
    if method == "component":
        options["component"] = whole(component, "Component") - 1
        if options["component"] < 0:
            raise RecipeError("Component", component, "1 or more")
    if method == "mix":
        options["strength"] = share(mixed, "Share of the other text")
        if picked and picked.get("end", 0) > picked.get("start", 0) and picked.get("text") == other:
            options |= {"other_start": whole(picked["start"], "The other text's span"),
                        "other_end": whole(picked["end"], "The other text's span")}  # fmt: skip
    if method in ("direction", "mix", "component"):
        options["renoise"] = share(renoise, "Noise to carry back from")
    return options, other if method == "mix" else None, whole(many, "Candidates")


def values_of_options(options: dict[str, Any], other: dict[str, Any], candidates: int) -> list[Any]:
    """Values of `inputs` for complete options; what a method has no use for keeps its value (gr.skip).

    other: value of the picker of the other text, which holds that text.
    """
    method, strength = options["method"], options["strength"]
    strength = STRENGTHS[method][0] if strength is None else strength
    keep = gr.skip()
    own = options["first"] is not None
    pushed = strength if method in ("direction", "component") else keep
    return [
        method,
        percent(strength) if method == "renoise" else keep,
        (OWN if own else options["direction"]) if method == "direction" else keep,
        "\n".join(options["first"]) if own else keep,
        "\n".join(options["second"]) if own else keep,
        other["text"],
        other,
        percent(strength) if method == "mix" else keep,
        options["component"] + 1 if method == "component" else keep,
        pushed,
        percent(options["renoise"]) if method in ("direction", "mix", "component") else keep,
        percent(options["follow"]),
        candidates,
    ]


def unchanged_controls(other: dict[str, Any]) -> list[Any]:
    """Values of `inputs` as they are at first, with the picker of the other text.

    Components of our own get a value: gradio 6.31 forgets what they are made of when a tab that was never open is told
    to skip one.
    """
    values: list[Any] = [gr.skip()] * CONTROLS
    values[0], values[6] = METHOD_CHOICES[0].value, other
    return values


def _lines(text: Any, which: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()] if isinstance(text, str) else []
    if len(lines) < 2:
        found = Said("1 sentence" if lines else "empty")
        raise RecipeError(f"the {which} list", found, "two sentences or more, one a line: a single one says more about "
                          "its own words than about a way")  # fmt: skip
    return lines
