"""run: the same recipe gives the same run, alone and in company, and what cannot work is refused before it starts."""

import weakref

import numpy as np
import pytest

from coladlm.model import ColaDLM, PromptError
from coladlm.networks.slot_cache import SlotCache
from coladlm.recipe import Option, Recipe, RecipeError
from coladlm.run import OPERATIONS, Operation, check_model, recorder, run
from coladlm.sampling.events import BlockDone, Finished, Step
from coladlm.settings import SamplerSettings
from coladlm.trace import Trace

TEXTS = (
    "Once upon a time there was a little",
    "The cat sat",
    "",
    "She said hello to the bird. One day",
    "a",
    "🐉",
    "b c d",
    "\n",
)
PLAIN = SamplerSettings(steps=2, max_new_tokens=10)
RANDOM = SamplerSettings(steps=2, max_new_tokens=10, temperature=1.0, stochasticity=0.5, history="reencoded", seed=5)


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def record(model: ColaDLM, recipe: Recipe, dtype: str = "float32") -> Trace:
    watcher = recorder(recipe, previews=False, dtype=dtype)
    for _ in watcher.watch(run(model, recipe)):
        pass
    return watcher.trace()


@pytest.mark.parametrize("settings", [PLAIN, RANDOM], ids=["plain", "random"])
def test_same_recipe_twice_gives_the_same_run(model, settings):
    recipe = Recipe("generate", TEXTS[:3], settings, variations=2)
    first, second = record(model, recipe), record(model, recipe)
    assert first.texts == second.texts and first.answers == second.answers
    np.testing.assert_array_equal(first.z, second.z)


@pytest.mark.parametrize("settings", [PLAIN, RANDOM], ids=["plain", "random"])
def test_a_text_alone_equals_the_same_text_in_a_batch_of_eight(model, settings):
    together = record(model, Recipe("generate", TEXTS, settings))
    for row, text in enumerate(TEXTS):
        alone = record(model, Recipe("generate", (text,), settings))
        assert alone.answers[0] == together.answers[row]
        assert alone.texts[0] == together.texts[row]
        blocks = alone.z.shape[1]
        np.testing.assert_allclose(alone.latents[0], together.latents[row, :blocks], atol=1e-4)


def test_variations_differ_and_the_first_is_the_text_without_variations(model):
    several = record(model, Recipe("generate", TEXTS[:2], PLAIN, variations=4))
    assert several.prompts == [TEXTS[0]] * 4 + [TEXTS[1]] * 4
    assert len(set(several.texts[:4])) > 1
    assert several.texts[0] == record(model, Recipe("generate", TEXTS[:1], PLAIN)).texts[0]
    assert several.texts[4:6] == record(model, Recipe("generate", TEXTS[1:2], PLAIN, variations=2)).texts


def test_a_recipe_replays_from_json_from_a_link_and_from_its_trace(model, tmp_path):
    recipe = Recipe("generate", TEXTS[:2], RANDOM, model=model.fingerprint)
    trace = record(model, recipe)
    trace.save(tmp_path / "run.npz")
    for again in (
        Recipe.from_json(recipe.to_json()),
        Recipe.from_url(recipe.to_url()),
        Trace.load(tmp_path / "run.npz").recipe,
    ):
        assert record(model, again).answers == trace.answers


def test_run_equals_generate_of_the_model(model):
    recipe = Recipe("generate", TEXTS[:2], PLAIN)
    assert record(model, recipe).texts == model.generate(TEXTS[:2], PLAIN, sequences=[0, 0])


def test_events_come_in_order(model):
    events = list(run(model, Recipe("generate", ("The cat",), PLAIN)))
    blocks = len([event for event in events if isinstance(event, BlockDone)])
    expected = [*(([Step] * PLAIN.steps + [BlockDone]) * blocks), Finished]
    assert blocks == 3 and [type(event) for event in events] == expected


@pytest.fixture
def caches(monkeypatch) -> weakref.WeakSet:
    """Those that are made from now on and are still there."""
    made = weakref.WeakSet()
    original = SlotCache.__init__

    def remember(self, *args, **kwargs):
        original(self, *args, **kwargs)
        made.add(self)

    monkeypatch.setattr(SlotCache, "__init__", remember)
    return made


@pytest.mark.parametrize("steps", [0, 1, 5, 8])
def test_closing_a_run_frees_its_caches(model, caches, steps):
    """At once, without a garbage collection."""
    recipe = Recipe("generate", TEXTS[:2], PLAIN)
    watcher = recorder(recipe)
    events = watcher.watch(run(model, recipe))
    for _ in range(steps):
        next(events)
    assert len(caches) > 0 or steps == 0
    events.close()
    assert len(caches) == 0
    assert watcher.trace().stopped
    with pytest.raises(StopIteration):
        next(events)


@pytest.mark.parametrize(
    ("recipe", "error", "sentence"),
    [
        (Recipe("dance", ("a",)), RecipeError, "operation is 'dance', expected one of generate"),
        (
            Recipe("generate", ("a",), options={"speed": 1}),
            RecipeError,
            "an option is 'speed', expected one of towards",
        ),
        (Recipe("generate", ("word " * 20_000,)), PromptError, "tokens, expected at most"),
        (Recipe("generate", ("a",), SamplerSettings(max_new_tokens=60_000)), PromptError, "expected at most"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_event(model, recipe, error, sentence):
    with pytest.raises(error, match=sentence):
        run(model, recipe)


def test_an_operation_gets_checked_and_complete_options(model, monkeypatch):
    def backwards(model, recipe):
        assert recipe.options == {"times": 2, "shout": False}
        return model.sample([recipe.texts[0][::-1]] * recipe.options["times"], recipe.settings)

    options = (Option("times", int, 1, "How often.", low=1, high=4), Option("shout", bool, False, "Loudly."))
    row = Operation(
        "Reads backwards.", backwards, options, texts=(1, 1), prompts=lambda recipe: ["tac"] * recipe.options["times"]
    )
    monkeypatch.setitem(OPERATIONS, "backwards", row)
    recipe = Recipe("backwards", ("cat",), PLAIN, options={"times": 2})
    trace = record(model, recipe)
    assert trace.prompts == ["tac", "tac"] and trace.recipe == recipe
    with pytest.raises(RecipeError, match=r"options.times is 9, expected at least 1 and at most 4"):
        run(model, Recipe("backwards", ("cat",), options={"times": 9}))
    with pytest.raises(RecipeError, match="texts is 2 texts, expected 1 for backwards"):
        run(model, Recipe("backwards", ("cat", "dog")))


def test_a_recipe_of_another_model_runs_and_says_so(model):
    other = Recipe("generate", ("a",), PLAIN, model="0" * 16)
    assert model.fingerprint in check_model(model, other) and "0" * 16 in check_model(model, other)
    assert record(model, other).texts == record(model, Recipe("generate", ("a",), PLAIN)).texts


@pytest.mark.parametrize("made_with", ["", None])
def test_a_recipe_of_this_model_or_of_none_needs_no_warning(model, made_with):
    assert check_model(model, Recipe("generate", ("a",), model=model.fingerprint if made_with is None else "")) is None
