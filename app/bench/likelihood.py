"""How likely a text is, for the page: a bound under the model beside the exact value of a transformer."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.baseline.bundled import BundledBaseline
from coladlm.evaluate.text_likelihood import BoundSettings, TextBound, exact_beside, text_bound_steps
from coladlm.recipe import MAX_TEXT, Described, RecipeError
from coladlm.serve import Scheduler, Waiting

from ..components.progress_line import progress_value
from ..shared.errors import sentence
from ..shared.session import current_visitor
from ..shared.settings_panel import in_labels
from ..shared.waiting import waiting_parts

MOST_TOKENS = 256
DRAWS = 16
PALEST, DARKEST = 0.0, 8.0  # nats of a token that has no colour, and of one that has all of it


def likelihood_values(
    model: ColaDLM, scheduler: Scheduler, baseline: BundledBaseline, text: Any, order: Any
) -> Iterator[tuple[Any, Any]]:
    """(what was found as HTML, progress line) while the draws are made; what is wrong comes as a sentence."""
    yield gr.skip(), progress_value("running", ["starting"], 0.0, "Measuring")
    try:
        settings = BoundSettings(order=str(order), draws=DRAWS)
        _check(model, text)
        with scheduler.alone(
            lambda: text_bound_steps(model, text, "", settings), current_visitor(), "likelihood"
        ) as steps:  # fmt: skip
            for step in steps:
                if isinstance(step, Waiting):
                    if step.ahead:
                        yield gr.skip(), progress_value("waiting", waiting_parts(step), 0.0, "Waiting")
                elif isinstance(step, TextBound):
                    exact = scheduler.look(lambda: exact_beside(baseline.get(model.device), text))
                    yield found_html(step.to_dict(model), exact), progress_value("idle")
                else:
                    parts = [f"draw {step} of {DRAWS}"]
                    yield gr.skip(), progress_value("running", parts, step / DRAWS, "Measuring")
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        yield "", progress_value("error", message=in_labels(sentence(error)))  # what was found of another text goes


def _check(model: ColaDLM, text: Any) -> None:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        found = f"{len(text):,} characters long" if isinstance(text, str) else "no text"
        raise RecipeError("the text", Described(found), f"at most {MAX_TEXT:,} characters")
    count = len(model.tokenizer.encode(text, add_special_tokens=False).ids)  # the limit here is below the model's
    if not 1 <= count <= MOST_TOKENS:
        raise RecipeError("the text", Described(f"{count:,} tokens long"), f"1 to {MOST_TOKENS} tokens here")


def found_html(bound: dict[str, Any], exact: dict[str, Any]) -> str:
    """A sentence, the text with its nats under each unit and the more colour the less likely it is, and the parts."""
    nats, error, tokens = bound["nats"], bound["standard_error"], bound["tokens"]
    told = (
        f"At most {nats:.1f} ± {error:.1f} nats for {tokens} tokens (± one standard error of the draws), "
        f"{nats / tokens:.2f} a token: the less, the likelier the text."
    )
    beside = exact.get("left_out") or (
        f"The transformer beside it says exactly {exact['nats']:.1f} nats, {exact['nats_per_token']:.2f} a token."
    )
    units = "".join(_unit(unit) for unit in bound["units"])
    levels = [(f"{level['from']:.0%} to {level['to']:.0%} noise", level["nats"]) for level in bound["levels"]]
    parts = [("Decoder", bound["decoder"]), *((f"Flow, {name}", value) for name, value in levels)]
    rows = "".join(f"<tr><th scope='row'>{name}</th><td>{value:.1f}</td></tr>" for name, value in parts)
    return (
        f"<p>{html.escape(told)} {html.escape(beside)}</p><p class='units' dir='auto'>{units}</p>"
        "<p class='caption'>Under each word its nats: the more of them and the stronger the colour, the less likely it "
        "is after what stands before it.</p>"
        f"<div class='wide' role='region' tabindex='0' aria-label='Parts of the bound'><table><thead><tr>"
        f"<th scope='col'>part</th><th scope='col'>nats</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _unit(unit: dict[str, Any]) -> str:
    nats = unit["nats"] / unit["tokens"]
    share = min(1.0, max(0.0, (nats - PALEST) / (DARKEST - PALEST)))
    text = unit["text"].replace("\n", "↵")  # a line ends after its mark: what a number stands under has no line breaks
    title = f"{unit['nats']:.1f} ± {unit['standard_error']:.1f} nats"
    return (
        f"<ruby style='--unlikely: {share:.2f}' title='{title}'>{html.escape(text)}<rt>{unit['nats']:.1f}</rt></ruby>"
        + "\n" * unit["text"].count("\n")
    )
