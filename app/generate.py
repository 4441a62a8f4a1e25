"""The tab Generate: a prompt, and the text that the model writes after it, as it crystallises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.events import BlockDone, Finished
from coladlm.recipe import Recipe
from coladlm.run import run

from .components import ProgressLine, ShareLink, TokenStrip
from .components.progress_line import progress_value
from .live import LiveRun
from .model_turn import MODEL_TURN, sentence
from .run_controls import RunControls
from .send import Ways
from .settings_panel import SettingsPanel, check_limits, in_labels, settings_from, values_of
from .share import link_of, recipe_from

OPERATION = "generate"
EXAMPLES = (
    "Once upon a time, there was a little fox who",
    "Tom and Lily went to the beach. They found",
    "One day, the moon did not come up.",
)


def build(model: ColaDLM, page: gr.Blocks) -> Ways:
    """Lays the tab out inside the current context of `page` and connects it; says how a text comes in."""
    with gr.Row(elem_classes="workbench", elem_id="generate"):
        with gr.Column(elem_classes="controls"):
            with gr.Group(elem_classes="ask"):
                prompt = gr.Textbox(
                    EXAMPLES[0],
                    label="Prompt",
                    info="The model goes on from here. Empty is fine: then it begins by itself. Shift + Enter runs.",
                    lines=3,
                    max_lines=10,
                    elem_classes="prompt-box",
                    html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                )
                with gr.Row(elem_classes="examples"):
                    for text in EXAMPLES:
                        example = gr.Button(text, size="sm", elem_classes="example", min_width=40)
                        example.click(None, None, prompt, js=f"() => {json.dumps(text)}", api_visibility="private")
            controls = RunControls("generate")
            fold = gr.Button("Settings", elem_classes="fold")
            fold.click(None, None, None, js=FOLD_JS, api_visibility="private")
            with gr.Column(elem_classes="setting-list"):
                panel = SettingsPanel(model.defaults)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="over"):
                progress = ProgressLine(elem_classes="progress")
                link = ShareLink(elem_classes="link")
            strip = TokenStrip(
                "Nothing written yet. Press Run, and watch a text come out of noise, block by block.",
                "Write something",
                elem_id="text",
            )

    def on_run(*values: Any) -> Iterator[tuple[Any, Any, Any]]:
        yield from generate(model, *values)

    def on_load(request: gr.Request) -> list[Any]:
        return restore(model, request.query_params)

    controls.wire(on_run, [prompt, *panel.inputs], strip, progress, link, also=[strip.submit, prompt.submit])
    page.load(
        on_load, None, [prompt, *panel.inputs, progress], show_progress="hidden", queue=False, api_visibility="private"
    )
    return Ways(take=lambda text: [text], outputs=[prompt])


FOLD_JS = """() => {
  const bench = document.getElementById('generate');
  const open = bench.classList.toggle('unfolded');
  bench.querySelector('.fold').setAttribute('aria-expanded', open);
}"""


def generate(model: ColaDLM, prompt: str, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Runs what the controls say; yields values of the strip, the progress line and the link.

    What is wrong with the prompt or a setting comes as a sentence in the progress line.
    """
    strip: Any = gr.skip()  # what the last run wrote stays until this one has begun
    try:
        recipe = Recipe(OPERATION, (prompt,), settings_from(values), model=model.fingerprint)
        link = link_of(recipe)
        for strip, progress in LiveRun(model, recipe).frames(run(model, recipe)):
            yield strip, progress, link
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        if "run" in strip:
            strip = {**strip, "state": "error"}
        yield strip, progress_value("error", message=in_labels(sentence(error))), gr.skip()


def restore(model: ColaDLM, query: dict[str, str]) -> list[Any]:
    """Values of the prompt, the settings and the progress line for the query of the address that was opened."""
    unchanged = [gr.skip()] * (1 + len(values_of(model.defaults)))
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            return [*unchanged, gr.skip()]
        check_limits(recipe.settings)
    except ValueError as error:
        return [*unchanged, progress_value("error", message=f"The link could not be read: {sentence(error)}")]
    said = "Restored from the link: press Run to repeat it."
    if recipe.model and recipe.model != model.fingerprint:
        said = "Restored from the link, which was made with another model: Run will give another text."
    if len(recipe.texts) * recipe.variations > 1:
        said += f" It asks for {len(recipe.texts) * recipe.variations} texts; this page writes the first."
    return [recipe.texts[0], *values_of(recipe.settings), progress_value("idle", message=said)]


def add_api(model: ColaDLM) -> None:
    """Adds the endpoint /generate to the current page."""
    start = model.defaults

    def generate(
        prompt: str,
        max_new_tokens: int = start.max_new_tokens,
        seed: int = start.seed,
        steps: int = start.steps,
        guidance: float = start.guidance,
        stochasticity: float = start.stochasticity,
        temperature: float = start.temperature,
        top_k: int = start.top_k,
        top_p: float = start.top_p,
        repetition_penalty: float = start.repetition_penalty,
        history: str = start.history,
        solver: str = start.solver,
        time_grid: str = start.time_grid,
        time_shift: float = start.time_shift,
        stop_at_end: bool = start.stop_at_end,
    ) -> Iterator[tuple[str, dict]]:
        """Continues a prompt.

        Args:
            prompt: what the text begins with; may be empty.
            max_new_tokens: length of the answer in tokens.
            seed: of all randomness; the same recipe on the same model gives the same text.
            steps: solver steps a block.
            guidance: weight of the conditional velocity, 1 for none.
            stochasticity: share of the noise that is renewed at each step, from 0 to 1.
            temperature: of the token choice, 0 takes the likeliest.
            top_k: tokens to choose among, 0 for all.
            top_p: share of probability to choose from, 1 for all.
            repetition_penalty: 1 for none.
            history: what later blocks read, "latents" or "reencoded".
            solver: "euler", "midpoint" or "heun".
            time_grid: where the steps lie, "linear", "cosine" or "quadratic".
            time_shift: above 1, more steps at high noise.
            stop_at_end: stop where the model ends its text.

        Returns:
            The text without the prompt, and the recipe that repeats it. A stream has the text so far after every block.
        """
        given = {
            "max_new_tokens": max_new_tokens,
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            "stochasticity": stochasticity,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
            "history": history,
            "solver": solver,
            "time_grid": time_grid,
            "time_shift": time_shift,
            "stop_at_end": stop_at_end,
        }
        yield from generate_text(model, prompt, given)

    gr.api(generate, api_name="generate", **MODEL_TURN)


def generate_text(model: ColaDLM, prompt: str, given: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    """The text so far and its recipe after every block and at the end. Raises gr.Error with a sentence."""
    try:
        settings = type(model.defaults).from_dict(given, base=model.defaults)
        check_limits(settings)
        recipe = Recipe(OPERATION, (prompt,), settings, model=model.fingerprint)
        plain = recipe.to_dict()
        for event in run(model, recipe):
            if isinstance(event, BlockDone | Finished):
                yield event.texts[0], plain
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error
