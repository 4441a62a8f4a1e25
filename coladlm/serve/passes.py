"""How many passes of the DiT along the flow a recipe makes at most, without making any: for whoever has to ask for time
in advance.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import Any

from ..latent import fill, interpolate, invert
from ..latent.layout import blocks_for
from ..model import ColaDLM
from ..recipe import Described, Recipe, RecipeError, check_options
from ..run import OPERATIONS, prompts
from ..sampling.flow import NOISE_TIME
from ..settings import SamplerSettings


@dataclasses.dataclass(frozen=True)
class FlowBatch:
    """A batch of a recipe: `rows` sequences, or drafts of them, of at most so many blocks, with so many passes in each
    of these.
    """

    rows: int
    blocks: int
    passes: int


def flow_batches(model: ColaDLM, recipe: Recipe) -> list[FlowBatch]:
    """The batches of a recipe, in their order. A text that ends early, or a block whose words have settled, saves some
    of it. Raises RecipeError, PromptError or SettingsError for some recipes that cannot be run, as running them would.
    """
    rows = len(prompts(recipe))  # an unknown operation or option is refused here
    model = model.in_blocks_of(recipe.settings)
    options = check_options(recipe.options, OPERATIONS[recipe.operation].options)
    return _BATCHES[recipe.operation](model, recipe, options, rows)


def passes_of_block(settings: SamplerSettings, options: Mapping[str, Any] | None = None, history: bool = True,
                    iterations: int = 0) -> int:  # fmt: skip
    """Passes along the flow for a block. options: complete ones, as in `other_texts.py`, where there are any. history:
    whether every block comes after other text. iterations: where the flow is inverted.
    """
    options = options or {}
    of_step = (1 if settings.solver == "euler" else 2) * (1 + iterations)
    guided = settings.guidance != 1
    negative = guided and options.get("negative") is not None
    velocities = 1 + negative  # with and without the history is one pass
    if options.get("towards") is not None and options["pull"] != 0:
        # it is compared with the velocity after nothing, which guidance knows already, where it always acts
        always = guided and history and settings.guidance_interval == (0.0, NOISE_TIME)
        velocities += 1 if always and not negative else 2
    turned = any(options.get(name) is not None for name in ("direction", "direction_first"))
    if turned and options["direction_strength"] != 0:
        velocities += 2
    return settings.steps * of_step * velocities


def _drafts(model: ColaDLM, recipe: Recipe) -> int:
    """Of each block, where its noise is drawn for itself."""
    return recipe.settings.noises_of(model.block_size)


def _generate(model: ColaDLM, recipe: Recipe, options: dict[str, Any], rows: int) -> list[FlowBatch]:
    tokens = [len(model.tokenize(text)) for text in set(prompts(recipe))]
    blocks = max(model.new_blocks(length, recipe.settings)[0] for length in tokens)
    history = min(tokens) >= model.block_size * model.patch_size
    return [FlowBatch(rows * _drafts(model, recipe), blocks, passes_of_block(recipe.settings, options, history))]


def _fill(model: ColaDLM, recipe: Recipe, options: dict[str, Any], rows: int) -> list[FlowBatch]:
    text, longest = fill.read_holes(model, recipe.texts[0]), options["longest"]
    tokens = max(len(text.token_ids(row, longest)) for row in range(rows))
    before = len(text.pieces[0]) // model.block_size
    passes = passes_of_block(recipe.settings, options, before > 0)
    return [FlowBatch(rows * _drafts(model, recipe), blocks_for(model, tokens) - before, passes)]


def _edit(model: ColaDLM, recipe: Recipe, options: dict[str, Any], rows: int) -> list[FlowBatch]:
    tokens, start, end = len(model.tokenize(recipe.texts[0])), options["start"], options["end"]
    if start is None or end is None:
        raise RecipeError("the span", Described("missing"), "options.start and options.end")
    last = blocks_for(model, tokens if options["follow"] else end)
    first = start // (model.block_size * model.patch_size)
    return [FlowBatch(rows, max(last - first, 1), passes_of_block(recipe.settings))]


def _invert(model: ColaDLM, recipe: Recipe, options: dict[str, Any], rows: int) -> list[FlowBatch]:
    blocks = max(blocks_for(model, len(model.tokenize(text))) for text in recipe.texts)
    return _there_and_back(recipe, options, rows, rows, blocks)


def _there_and_back(recipe: Recipe, options: dict[str, Any], there: int, back: int, blocks: int) -> list[FlowBatch]:
    """So many texts to their noise, and from noise to so many texts."""
    settings = invert.replay_settings(recipe.settings, options["using"])
    return [FlowBatch(there, blocks, passes_of_block(settings, iterations=options["iterations"])),
            FlowBatch(back, blocks, passes_of_block(settings))]  # fmt: skip


def _interpolate(model: ColaDLM, recipe: Recipe, options: dict[str, Any], rows: int) -> list[FlowBatch]:
    road, texts, settings = options["road"], len(recipe.texts), recipe.settings
    if road == "decoder_only":
        return []
    sizes = [-(-len(model.tokenize(text)) // model.patch_size) for text in recipe.texts]  # in latents
    before = len(model.tokenize(options["before"])) // model.patch_size
    if road == "prompt_to_prompt":
        weights = interpolate.waypoint_weights(texts, options["stops"], options["weights"])
        lengths = {before + round(sum(map(operator.mul, sizes, own))) for own in weights}  # as in `waypoints.py`
        blocks = max(model.new_blocks(length * model.patch_size, settings)[0] for length in lengths)
        return [FlowBatch(rows, blocks, passes_of_block(settings))]
    blocks = blocks_for(model, (before % model.block_size + max(sizes)) * model.patch_size)
    if road == "noise_to_noise":
        return _there_and_back(recipe, options, texts, rows, blocks)
    batches = [FlowBatch(rows, blocks, passes_of_block(settings))]
    between = rows - texts if options["weights"] is None else 0
    if options["tries"] > 1 and options["renoise"] and between:  # of candidates, before the one that is shown
        batches.insert(0, dataclasses.replace(batches[0], rows=between * options["tries"]))
    return batches


_BATCHES: dict[str, Callable[[ColaDLM, Recipe, dict[str, Any], int], list[FlowBatch]]] = {
    "generate": _generate,
    "fill": _fill,
    "interpolate": _interpolate,
    "edit": _edit,
    "invert": _invert,
}
