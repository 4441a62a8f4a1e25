"""The controls of the tab Edit: what is done with the span; the way from controls to options of a recipe and back."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.directions import load_pairs, shipped
from coladlm.latent.edit import MAX_STRENGTHS, STRENGTHS
from coladlm.latent.layout import LatentSpace
from coladlm.latent.turning import measured
from coladlm.recipe import Described, RecipeError

from ..components import Choice, ChoiceBox, ChoiceList, TokenPicker
from ..shared.event_options import EventOptions
from ..shared.operation_controls import number, percent, share, sliders, whole
from ..shared.resident import Resident

METHOD_CHOICES = (
    Choice("anew", "Write anew", "The span starts from pure noise: its words are forgotten, new ones fit the rest."),
    Choice("renoise", "Re-noise", "The span gets some noise and is carried back, to words close to the old ones."),
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
PUSH = 1.5  # radii, both ways, for a direction of which nothing was measured
RENOISE = 20  # per cent: above it a push begins to be undone (docs/interpolation.md)
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
NAMES = ("method", "strength_from", "strength", "direction", "first", "second", "other", "other_picker", "mixed_from",
         "mixed", "component", "push_from", "push", "values", "renoise", "follow", "candidates")  # fmt: skip
RANGES = {"renoise": "strength", "mix": "mixed", "direction": "push", "component": "push"}  # the control of a strength
VALUES = (7, 9)  # on a strip at first, and at most
WORDS = {
    "options.strengths": "The strip",
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
    """The controls of what the methods need, built where it is made. `by_name` are their components, by NAMES, once
    `complete` has brought the method; `options_of` reads their values.

    lists: what two lists of sentences from another tab change.
    """

    by_name: dict[str, Any]  # components of several kinds
    lists: list[Any]

    def __init__(self, resident: Resident) -> None:
        model = resident.first
        start = first_direction(model)
        low, high, *_ = _pushes(as_measured(model, start))
        with gr.Column(elem_classes="setting set-direction when method-direction"):
            self.by_name = self._lay_out_direction(resident, start)
        with gr.Column(elem_classes="setting set-other when method-mix"):
            self._lay_out_other()
        with gr.Column(elem_classes="setting set-values when method-renoise"):
            self._add_range("strength", ("From (% noise)", "Up to (% noise)"),
                            "0 changes nothing. It works between about 20 and 75.", (0, 100, 1), (30, 90))  # fmt: skip
        with gr.Column(elem_classes="setting set-values when method-mix"):
            self._add_range(
                "mixed",
                ("From (% of the other)", "Up to (% of the other)"),
                "0 changes nothing.",
                (0, 100, 1),
                (10, 100),
            )
        with gr.Column(elem_classes="setting set-component when method-component"):
            most = model.latent_dim - 1 if LatentSpace(model.vae.config).spherical else model.latent_dim
            self._add("component", "Component", "1 is the way in which latents differ most.", (1, most, 1), 1,
                      "set-component")  # fmt: skip
        with gr.Column(elem_classes="setting set-values when method-direction method-component"):
            bounds = STRENGTHS["direction"][1:]
            self._add_range("push", ("Push from (radii)", "Push up to (radii)"),
                            "Less than 0 goes the opposite way, 0 changes nothing.", (*bounds, 0.1),
                            (low, high))  # fmt: skip
        with gr.Column(
            elem_classes="setting set-values when method-renoise method-direction method-mix method-component"
        ):
            self._add("values", "Texts on the strip", "How many, at evenly spaced strengths; 1 makes only the last.",
                      (1, VALUES[1], 1), VALUES[0], "set-values")  # fmt: skip
        with gr.Column(elem_classes="setting set-renoise when method-direction method-mix method-component"):
            self._add("renoise", "Carried back from (%)",
                      "How much noise the moved span gets; 0 decodes it as it is.", (0, 100, 1), RENOISE,
                      "set-renoise")  # fmt: skip
        self._add("follow", "What follows (%)",
                  "How much it may change: 0 keeps it word for word, 100 writes it anew.", (0, 100, 1), 0,
                  "set-follow")  # fmt: skip
        self._add("candidates", "Candidates", "How many to make at each strength, each from its own noise.",
                  (1, 8, 1), 4, "set-candidates")  # fmt: skip
        direction = self.by_name["direction"]
        direction.select(
            lambda name: as_measured(resident.model, name),
            direction,
            [self.by_name[name] for name in ("push_from", "push", "renoise")],
            trigger_mode="always_last",
            **QUICK,
        )

    def complete(self, method: ChoiceList) -> None:
        """Takes in the list of methods, which stands apart from what each of them needs."""
        self.by_name["method"] = method
        self.lists = [self.by_name[name] for name in ("method", "direction", "first", "second")]

    def _add(
        self, name: str, label: str, hint: str, bounds: tuple[float, float, float], value: float, classes: str
    ) -> None:
        [self.by_name[name]] = sliders((label, hint, bounds, value, classes))

    def _add_range(
        self,
        name: str,
        labels: tuple[str, str],
        hint: str,
        bounds: tuple[float, float, float],
        values: tuple[float, float],
    ) -> None:
        for own, label, about, value in zip((f"{name}_from", name), labels, ("", hint), values, strict=True):
            self._add(own, label, about, bounds, value, "set-values")

    def _lay_out_direction(self, resident: Resident, start: str) -> dict[str, Any]:
        titles = [(load_pairs(name).title, name) for name in shipped()]
        choices = [*titles, ("my own, from two lists of sentences", OWN)]
        direction = ChoiceBox("Direction", "", choices, start, elem_classes="setting set-direction")
        note = gr.HTML(_hint(resident.first, start), js_on_load=None, elem_classes="hint", elem_id="direction-hint")
        with gr.Column(visible=not titles, elem_classes="own-lists") as own:
            first = gr.Textbox(label="From sentences like", info="One per line, two or more.", lines=3, max_lines=8)
            second = gr.Textbox(label="To sentences like", info="One per line, two or more.", lines=3, max_lines=8)
        direction.change(None, direction, own, js=OWN_JS, api_visibility="private")
        direction.change(lambda name: _hint(resident.model, name), direction, note, **QUICK)
        return {"direction": direction, "first": first, "second": second}

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
    """Both ends of the push and the noise with which a direction was measured; nothing changes for one that was not."""
    found = None if name == OWN else measured(model).get(name)
    return [gr.skip()] * 3 if found is None else [-found.strength, found.strength, percent(found.renoise)]


def _pushes(found: list[Any]) -> tuple[float, float]:
    """Where the push begins and ends at first."""
    low, high, _ = found
    return (-PUSH, PUSH) if low == gr.skip() else (low, high)


OWN_JS = f"(name) => ({{__type__: 'update', visible: name === '{OWN}'}})"


def options_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], str | None, int]:
    """Options, the other text (None without one) and the candidates that the values of the controls stand for.

    values: by NAMES. Raises RecipeError.
    """
    value = {name: values.get(name) for name in NAMES}
    method = value["method"]
    options: dict[str, Any] = {"method": method, "follow": share(value["follow"], "What follows")}
    options |= _strengths_of(method, value)
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
        options |= _other_span(value)
    if method in ("direction", "mix", "component"):
        options["renoise"] = share(value["renoise"], "Noise to carry back from")
    return options, value["other"] if method == "mix" else None, whole(value["candidates"], "Candidates")


def _strengths_of(method: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    """The one strength or the strengths of a strip that the controls of a method stand for."""
    if method not in RANGES:
        return {}
    control = RANGES[method]
    label, read = {
        "strength": ("Strength", share),
        "mixed": ("Share of the other text", share),
        "push": ("Push", _push),
    }[control]
    last, count = read(value[control], label), whole(value["values"], "Texts on the strip")
    if not 1 <= count <= MAX_STRENGTHS:
        raise RecipeError("Texts on the strip", count, f"1 to {MAX_STRENGTHS}")
    if count == 1:
        return {"strength": last}
    return {"strengths": spread(read(value[f"{control}_from"], f"{label}, from"), last, count)}


def _push(value: Any, name: str) -> float:
    """A push of a control. Raises RecipeError."""
    _, low, high = STRENGTHS["direction"]
    if not low <= (push := number(value, name)) <= high:
        raise RecipeError(name, push, f"from {low} to {high}")
    return push


def spread(first: float, last: float, count: int) -> list[float]:
    """So many strengths, evenly spaced."""
    return [round(first + (last - first) * i / (count - 1), 4) for i in range(count)]


def _other_span(value: Mapping[str, Any]) -> dict[str, int]:
    """The span that is selected in the other text, unless it has become another text since."""
    picked = value["other_picker"]
    if not isinstance(picked, Mapping) or picked.get("text") != value["other"]:
        return {}
    start, end = (whole(picked.get(name, 0), "The other text's span") for name in ("start", "end"))
    return {"other_start": start, "other_end": end} if end > start else {}


def values_of_options(options: dict[str, Any], other: dict[str, Any], candidates: int) -> dict[str, Any]:
    """Values of the controls for complete options; what a method has no use for keeps its value (gr.skip).

    other: value of the picker of the other text, which holds that text. Raises RecipeError for a strip that the
    controls do not have.
    """
    method, strengths = options["method"], options["strengths"]
    values = {**dict.fromkeys(NAMES, gr.skip()), "method": method, "other": other["text"], "other_picker": other}
    values |= {"follow": percent(options["follow"]), "candidates": candidates}
    if method in RANGES:
        if strengths is None or len(strengths) == 1:
            given = options["strength"] if strengths is None else strengths[0]
            strengths = [STRENGTHS[method][0] if given is None else given]
        elif strengths != spread(strengths[0], strengths[-1], len(strengths)):
            raise RecipeError(
                "options.strengths", Described("unevenly spaced"), "even steps, as the controls have them"
            )
        shown = percent if method in ("renoise", "mix") else float
        values |= {RANGES[method]: shown(strengths[-1]), "values": len(strengths)}
        if len(strengths) > 1:
            values[f"{RANGES[method]}_from"] = shown(strengths[0])
    if method == "direction":
        values["direction"] = options["direction"]
    if options["first"] is not None:
        values |= {"first": "\n".join(options["first"]), "second": "\n".join(options["second"])}
        if method == "direction":
            values["direction"] = OWN
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
