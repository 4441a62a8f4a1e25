"""What is pinned stays token for token, strength 0 changes nothing, and what cannot be edited gets a sentence."""

import dataclasses

import pytest

from coladlm import BlockDone, Finished, PromptError, SamplerSettings
from coladlm.latent import Edited, run_edit
from coladlm.latent.edit import METHODS
from coladlm.latent.fit import unlikelihoods
from coladlm.recipe import Recipe, RecipeError

TEXT, OTHER = "She said hello to the bird and the bird sang a song.", "The little dog ran home"
SETTINGS = SamplerSettings(steps=2, guidance=2.0)
NEEDS = {"direction": {"direction": "happy-sad"}, "component": {"component": 2}}
SPANS = ((0, 3), (5, 6), (7, 14), (9, 13))


def recipe(method="anew", start=5, end=9, text=TEXT, settings=SETTINGS, variations=2, **options) -> Recipe:
    texts = (text, OTHER) if method == "mix" else (text,)
    options = {"method": method, "start": start, "end": end, **NEEDS.get(method, {}), **options}
    return Recipe("edit", texts, settings, variations, options)


def outcome(model, recipe: Recipe) -> Edited:
    return [event for event in run_edit(model, recipe) if isinstance(event, Edited)][-1]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_selected_stays_token_for_token(model, method, span):
    before, (start, end) = model.tokenize(TEXT), span
    edited = outcome(model, recipe(method, *span))
    assert edited.before == tuple(before) and edited.span == span
    for candidate in edited.candidates:
        assert candidate.token_ids[:start] == tuple(before[:start])
        assert candidate.token_ids[end:] == tuple(before[end:])


@pytest.mark.parametrize("method", METHODS)
def test_what_stands_before_stays_where_the_rest_may_follow(model, method):
    before = model.tokenize(TEXT)
    for candidate in outcome(model, recipe(method, 5, 7, follow=0.7)).candidates:
        assert candidate.token_ids[:5] == tuple(before[:5])
        assert len(candidate.token_ids) <= len(before)


@pytest.mark.parametrize("follow", [0.0, 0.8])
@pytest.mark.parametrize("method", METHODS)
def test_strength_0_changes_nothing(model, method, follow):
    edited = outcome(model, recipe(method, strength=0, follow=follow))
    assert {candidate.token_ids for candidate in edited.candidates} == {edited.before}
    assert {candidate.text for candidate in edited.candidates} == {TEXT}
    assert not any(any(candidate.changed) for candidate in edited.candidates)


def test_strength_0_leaves_every_latent_in_its_place(model):
    for event in run_edit(model, recipe("renoise", strength=0)):
        if isinstance(event, BlockDone):
            assert event.texts == [TEXT, TEXT]


def test_candidates_run_as_one_batch_and_come_best_first(model):
    events = list(run_edit(model, recipe(variations=4)))
    assert all(len(event.active) == 4 for event in events[:-2])
    edited = events[-2]
    misfits = [candidate.misfit for candidate in edited.candidates]
    assert misfits == sorted(misfits) and sorted(c.row for c in edited.candidates) == [0, 1, 2, 3]
    assert isinstance(events[-1], Finished)
    by_row = {candidate.row: candidate for candidate in edited.candidates}
    assert list(events[-1].texts) == [by_row[row].text for row in range(4)]


def test_a_candidate_alone_equals_the_candidate_in_a_batch(model):
    alone, several = outcome(model, recipe(variations=1)), outcome(model, recipe(variations=3))
    first = next(candidate for candidate in several.candidates if candidate.row == 0)
    assert alone.candidates[0].token_ids == first.token_ids
    assert alone.candidates[0].misfit == pytest.approx(first.misfit, rel=1e-4)


@pytest.mark.parametrize("follow", [0.0, 0.7])
@pytest.mark.parametrize("method", [method for method in METHODS if method != "anew"])
def test_a_strength_in_a_batch_gives_what_it_gives_alone(model, method, follow):
    strengths = [0, 0.5, 1.0]
    several = outcome(model, recipe(method, strengths=strengths, follow=follow))
    assert [candidate.strength for candidate in several.candidates] == [s for s in strengths for _ in range(2)]
    assert len({candidate.token_ids for candidate in several.candidates}) > 2
    for strength in strengths:
        alone = outcome(model, recipe(method, strength=strength, follow=follow))
        among = [candidate for candidate in several.candidates if candidate.strength == strength]
        assert [(c.token_ids, c.changed, c.noise) for c in among] == [
            (c.token_ids, c.changed, c.noise) for c in alone.candidates
        ]
        assert [c.misfit for c in among] == pytest.approx([c.misfit for c in alone.candidates], rel=1e-4)


def test_all_strengths_run_in_one_batch_one_strength_after_another(model):
    made = recipe("renoise", strengths=[0.2, 0.5, 0.8], variations=2)
    *events, edited, finished = run_edit(model, made)
    assert all(len(event.active) == 6 for event in events)
    assert [c.row // 2 for c in edited.candidates] == [0, 0, 1, 1, 2, 2]
    by_row = sorted(edited.candidates, key=lambda candidate: candidate.row)
    assert [c.text for c in by_row] == list(finished.texts) and [c.noise for c in by_row] == [0, 1] * 3


def test_texts_on_the_way_are_whole_texts(model):
    before = model.tokenize(TEXT)
    for event in run_edit(model, recipe("renoise", 5, 14)):
        if isinstance(event, BlockDone):
            assert all(text.startswith(model.read(before[:5])) for text in event.texts)
            assert all(text.endswith(model.read(before[16:])) for text in event.texts)


def test_only_blocks_of_the_span_are_computed(model):
    blocks = [event for event in run_edit(model, recipe(start=5, end=6)) if isinstance(event, BlockDone)]
    assert len(blocks) == 1


def test_changed_marks_the_tokens_that_differ(model):
    edited = outcome(model, recipe())
    for candidate in edited.candidates:
        assert candidate.changed == tuple(a != b for a, b in zip(candidate.token_ids, edited.before, strict=True))


def test_the_whole_text_may_be_selected_and_a_note_says_what_that_means(model):
    edited = outcome(model, recipe("renoise", 0, len(model.tokenize(TEXT))))
    assert len(edited.candidates[0].token_ids) == len(edited.before)
    assert any("All tokens are selected" in note for note in edited.notes)


def test_mixing_in_all_of_the_other_span_without_noise_starts_from_its_latents(model):
    from coladlm.latent import lay_out
    from coladlm.latent.edit import OPTIONS, prepare
    from coladlm.recipe import check_options

    other = lay_out(model, [model.tokenize(OTHER)])[0].latents[1:4]
    options = check_options(recipe("mix", 5, 8, strength=1, other_start=1, other_end=4).options, OPTIONS)
    [edit], _ = prepare(model, (TEXT, OTHER), options)
    assert (edit.moved == other).all()


def test_own_sentences_make_a_direction(model):
    options = {"first": ["The cat sat", "A dog ran"], "second": ["She sang", "He sang"], "direction": None}
    assert outcome(model, recipe("direction", **options)).candidates


@pytest.mark.parametrize("text", ["😀 hello 👩‍👧 you", "שלום עולם, said the bird", "a <|endoftext|> b and more text"])
def test_odd_texts_keep_what_is_pinned(model, text):
    before = model.tokenize(text)
    for candidate in outcome(model, recipe(start=3, end=5, text=text)).candidates:
        assert candidate.token_ids[:3] == tuple(before[:3]) and candidate.token_ids[5:] == tuple(before[5:])


def test_a_text_of_2000_tokens_can_be_edited(model):
    text = "word " * 700
    before = model.tokenize(text)
    assert len(before) > 2000
    edited = outcome(model, recipe(start=1500, end=1503, text=text))
    assert edited.candidates[0].token_ids[1503:] == tuple(before[1503:])


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (recipe(text=""), r"texts\[0\] is empty"),
        (recipe(start=None), "the span is no token, expected at least one of the"),
        (recipe(end=None), "the span is no token"),
        (recipe(start=4, end=4), "no token \\(start 4, end 4\\)"),
        (recipe(start=6, end=4), "the span is no token"),
        (recipe(start=-1), "options.start is -1"),
        (recipe(end=999), "options.end is 999, expected at most"),
        (recipe(start="2"), "options.start is '2', expected a whole number"),
        (recipe(method="erase"), "options.method is 'erase'"),
        (recipe(strength=0.5), "options.strength is 0.5, expected 1 for anew"),
        (recipe("renoise", strength=1.5), "options.strength is 1.5, expected a number from 0 to 1"),
        (recipe("renoise", strength=-1), "options.strength is -1"),
        (recipe("renoise", strength=0.5, strengths=[0.5]), "options.strengths is there beside options.strength"),
        (recipe(strengths=[1]), "options.strengths is there, expected none for anew"),
        (recipe("renoise", strengths=[0.5, 1.5]), "options.strengths is 1.5, expected a number from 0 to 1"),
        (recipe("renoise", strengths=[]), "options.strengths is"),
        (recipe("renoise", strengths=[0.5] * 17), "expected a list of 1 to 16 values"),
        (recipe("direction", strength=9), "options.strength is 9"),
        (recipe(follow=2), "options.follow is 2"),
        (recipe("direction", direction="up-down"), "direction is 'up-down', expected one of day-night"),
        (recipe("direction", direction=None), "neither a name nor two lists"),
        (recipe("direction", first=["a b", "c d"]), "together with lists"),
        (recipe("direction", direction=None, first=["one"], second=["a", "b"]), "the first list has 1 sentences"),
        (recipe("direction", direction=None, first=["a", ""], second=["a", "b"]), "sentence 2 of the first list"),
        (recipe("direction", direction=None, first=["a", "b"], second=["a", "b"]), "the same mean latent"),
        (recipe("component", component=7), "options.component is 7, expected a whole number from 0 to 6"),
        (recipe("mix", other_start=99), "options.other"),
        (recipe("mix", other_end=99), "options.other_end is 99"),
        (dataclasses.replace(recipe("mix"), texts=(TEXT,)), "expected two, the second to mix in"),
        (dataclasses.replace(recipe(), texts=(TEXT, OTHER)), "expected one text to edit"),
        (recipe(start=0, end=2000, text="word " * 700), "at most 512"),
        (recipe(start=0, end=2, text="word " * 700, follow=0.5), "options.follow is above 0 with"),
    ],
)  # fmt: skip
def test_odd_input_gets_a_sentence(model, made, sentence):
    with pytest.raises((RecipeError, PromptError), match=sentence):
        run_edit(model, made)


def test_where_tokens_are_named_candidates_are_ranked_by_how_unlikely_they_are(bundled):
    """Of the text from the span's block on, each token after all before it, in nats a token."""
    text = "Once upon a time there was a little girl. She liked to play in the park with her dog."
    ids, (start, end) = bundled.tokenize(text), (10, 12)
    recipe = Recipe("edit", (text,), bundled.defaults, 4, {"start": start, "end": end, "method": "renoise"})
    edited = next(event for event in run_edit(bundled, recipe) if isinstance(event, Edited))
    first = start // bundled.block_size * bundled.block_size
    tails = [candidate.token_ids[first:] for candidate in edited.candidates]
    wanted = unlikelihoods(bundled, [*tails, ids[first:]], ids[:first])
    found = [*(candidate.misfit for candidate in edited.candidates), edited.misfit_before]
    assert found == pytest.approx([one / len(tails[0]) for one in wanted], abs=1e-3)
    assert found[:-1] == sorted(found[:-1])
