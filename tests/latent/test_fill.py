"""Words around holes stay token for token, candidates are ranked, and what cannot be filled gets a sentence."""

import dataclasses
from types import SimpleNamespace

import pytest

from coladlm import Finished, SamplerSettings
from coladlm.latent.fill import _candidates, lead_of, read_holes
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import prompts, recorder, run

SETTINGS = SamplerSettings(steps=2, guidance=2.0)
TEXTS = (
    "The ___ ran to the ___.",
    "___ was happy",
    "Once upon a time there was a little ___",
    "___",
    "a____b___, ___ ___ c",
    "😀 hello ___ 👩‍👧 you",
    "שלום ___ עולם, said the bird",
    "a <|endoftext|> ___ and <|pad|> more",
    "one\n___\ntwo",
)


def recipe(text=TEXTS[0], variations=4, settings=SETTINGS, **options) -> Recipe:
    return Recipe("fill", (text,), settings, variations, options)


def outcome(model, recipe: Recipe):
    *_, filled, finished = run(model, recipe)
    return filled.candidates, finished


@pytest.mark.parametrize("text", TEXTS)
def test_words_around_the_holes_stay_token_for_token(model, text):
    pieces = read_holes(model, text).pieces
    candidates, finished = outcome(model, recipe(text))
    for found in candidates:
        kept = [0, *(edge for hole in found.holes for edge in hole), len(found.token_ids)]
        around = [found.token_ids[start:end] for start, end in zip(kept[::2], kept[1::2], strict=True)]
        assert tuple(around) == pieces
        assert lead_of(text) + finished.texts[found.row] == found.text


def test_every_second_candidate_has_holes_of_one_token_and_the_others_try_every_length(model):
    text = read_holes(model, TEXTS[0])
    assert {text.lengths(row, 2) for row in range(0, 8, 2)} == {(1, 1)}
    assert [text.lengths(row, 2) for row in range(1, 9, 2)] == [(1, 2), (2, 1), (2, 2), (1, 2)]
    assert [text.lengths(row, 1) for row in range(2)] == [(1, 1), (1, 1)]


def test_many_holes_have_lengths_without_all_combinations_being_made(model):
    text = read_holes(model, " ___" * 16)
    assert len(text.lengths(12_345, 16)) == 16


def test_candidates_come_best_first_and_equal_texts_once(model):
    candidates, finished = outcome(model, recipe(variations=8))
    order = [(not found.whole, found.misfit) for found in candidates]
    assert order == sorted(order)
    texts = [found.text for found in candidates]
    assert len(set(texts)) == len(texts)
    assert set(texts) == {lead_of(TEXTS[0]) + text for text in finished.texts}


def test_fills_are_what_the_text_has_in_its_holes(model):
    for found in outcome(model, recipe())[0]:
        assert found.text == "The" + found.fills[0] + " ran to the" + found.fills[1] + "."


@pytest.mark.parametrize(("fill", "whole"), [(" cat", True), ("re", False), ("", False), (" ", False)])
def test_a_hole_after_a_space_is_whole_with_a_word_of_its_own(model, fill, whole):
    text = read_holes(model, "The ___ ran")
    ids = model.tokenize(fill)
    longest = max(1, len(ids))
    row = next(row for row in range(2 * longest) if text.lengths(row, longest) == (longest,))
    answers = [[]] * row + [[*(ids or [model.pad_id]), *text.pieces[1]]]
    assert _candidates(model, text, longest, answers)[row].whole == whole


def test_a_candidate_alone_equals_the_candidate_in_a_batch(model):
    alone, several = outcome(model, recipe(variations=1))[0], outcome(model, recipe(variations=3))[1]
    assert alone[0].token_ids[1:] == tuple(several.token_ids[0])


def test_the_prompt_is_what_stands_before_the_first_hole(model):
    assert prompts(recipe("It was ___ here", 2)) == ["It was", "It was"]
    record = recorder(recipe("It was ___ here", 2))
    for _ in record.watch(run(model, recipe("It was ___ here", 2))):
        pass
    trace = record.trace()
    assert (trace.prompts[0] + trace.texts[0]).endswith(" here")


def test_neither_the_length_of_an_answer_nor_an_end_has_a_say(model):
    settings = dataclasses.replace(SETTINGS, max_new_tokens=1, stop_at_end=True)
    assert outcome(model, recipe())[1].token_ids == outcome(model, recipe(settings=settings))[1].token_ids


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (recipe("no hole __ here"), "0 holes, expected 1 to 16"),
        (recipe("___ " * 17), "17 holes, expected 1 to 16"),
        (recipe("a ___" + " b" * 600), "from the first hole on, expected at most"),
        (recipe(longest=0), "options.longest"),
        (Recipe("fill", TEXTS[:2]), "2 texts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_input_gets_a_sentence(model, made, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(run(model, made))


def test_a_model_with_several_tokens_a_latent_is_refused():
    with pytest.raises(RecipeError, match="2 tokens a latent, expected one token a latent"):
        read_holes(SimpleNamespace(patch_size=2), TEXTS[0])


def test_the_last_event_is_the_end(model):
    assert isinstance(list(run(model, recipe(variations=1)))[-1], Finished)
