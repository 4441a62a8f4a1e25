"""The handlers of the tab Edit: the text and its history, and running an edit as the plain generator that it is."""

import copy
import json

import gradio as gr
import pytest

from app.edit import history as edit_history
from app.edit.api import edit_text
from app.edit.controls import (
    METHOD_CHOICES,
    NAMES,
    OTHER,
    OWN,
    as_measured,
    first_direction,
    options_of,
    turning_note,
    values_of_options,
)
from app.edit.frames import ALIKE, LiveEdit
from app.edit.handlers import (
    EXAMPLES,
    choose,
    edit,
    first_history,
    restore,
    show,
    span_of,
    take_example,
    tokens_of,
    travel,
    typed,
)
from app.shared.links import link_of
from app.shared.settings_panel import values_of
from coladlm import SamplerSettings
from coladlm.latent.edit import METHODS, OPTIONS, Edited
from coladlm.latent.turning import measured
from coladlm.recipe import Recipe, RecipeError, check_options
from coladlm.run import run
from coladlm.serve import Scheduler

from ..viewing import Viewer, controls_of, parts_of

SCHEDULER = Scheduler()
SETTINGS = SamplerSettings(steps=2, seed=5, guidance=2.0)
TEXT = "The dog ran home and the bird sang."
(METHOD, STRENGTH_FROM, STRENGTH, DIRECTION, FIRST, SECOND, OTHER_TEXT, OTHER_PICKED, MIXED_FROM, MIXED, COMPONENT,
 PUSH_FROM, PUSH, VALUES, RENOISE, FOLLOW, MANY) = NAMES  # fmt: skip


def _controls(model, changes):
    other = tokens_of(model, OTHER)
    values = ["anew", 20, 50, "happy-sad", "", "", OTHER, other, 10, 50, 1, -1.0, 1.0, 1, 40, 0, 2]
    return {**dict(zip(NAMES, values, strict=True)), **changes}


def _view(model):
    return lambda context, controls: edit(model, SCHEDULER, context, controls)


def _named(model, changes=None, text=TEXT, span=(5, 9), picked=None, settings=SETTINGS):
    picker = tokens_of(model, picked or text, *span)
    return controls_of(settings, text=text, picker=picker, options=_controls(model, changes or {}))


def _last(model, changes=None, **given):
    parts = parts_of(_view(model), _named(model, changes, **given))
    return parts["rows"], parts["progress"], parts["link"]


def _outcome(model, recipe):
    return next(event for event in run(model, recipe) if isinstance(event, Edited))


def _note(pieces):
    return "".join(text for text, _ in pieces)


# running


@pytest.mark.parametrize("method", METHODS)
def test_an_edit_ends_with_its_candidates_best_first_and_a_link(model, method):
    rows, progress, link = _last(model, {METHOD: method})
    assert (rows["state"], progress["state"]) == ("done", "done")
    assert [row["label"] for row in rows["rows"]] == ["no. 1", "no. 2"]
    edited = _outcome(model, Recipe.from_url(link["query"][3:]))
    assert [row["text"] for row in rows["rows"]] == [candidate.text for candidate in edited.candidates]
    assert [row["score"] for row in rows["rows"]] == [f"misfit {c.misfit:.3f}" for c in edited.candidates]
    assert rows["misfit"] == round(edited.misfit_before, 3) and rows["strengths"] == []


def test_the_words_of_the_span_are_told_as_they_were_and_as_they_are(model):
    rows, *_ = _last(model)
    assert rows["before"] == "".join(tokens_of(model, TEXT)["tokens"][5:9]).strip()
    edited = _outcome(model, Recipe("edit", (TEXT,), SETTINGS, 2, {"start": 5, "end": 9}))
    for row, candidate in zip(rows["rows"], edited.candidates, strict=True):
        after = candidate.text.removeprefix("".join(tokens_of(model, TEXT)["tokens"][:5])).lstrip()
        assert row["words"] and after.startswith(row["words"]) and len(after) > len(row["words"])
        assert row["changed"] == sum(candidate.changed[5:9]) / 4


def test_a_candidate_that_ends_inside_a_character_is_shown_to_its_last_byte(model):
    end, broken = len(model.tokenize("A cat")), 0
    recipe = Recipe("edit", ("A cat",), SETTINGS, 8, {"start": end - 2, "end": end})
    live = LiveEdit(model, recipe)
    for _ in live.frames(run(model, recipe)):
        pass
    for shown in live.on_stage:
        assert _note(shown.row.final) == shown.row.text and shown.row.text.strip() == shown.words
        broken += shown.row.text.endswith("\ufffd")
    assert broken


# the strip


@pytest.mark.parametrize(
    ("changes", "labels", "strengths"),
    [
        ({METHOD: "renoise", STRENGTH: 80, VALUES: 4}, ["20 %", "40 %", "60 %", "80 %"], [0.2, 0.4, 0.6, 0.8]),
        ({METHOD: "mix", MIXED_FROM: 0, MIXED: 100, VALUES: 3}, ["0 %", "50 %", "100 %"], [0, 0.5, 1]),
        ({METHOD: "direction", VALUES: 3}, ["-1", "0", "+1"], [-1, 0, 1]),
        ({METHOD: "component", VALUES: 4}, ["-1", "-0.33", "+0.33", "+1"], [-1, -0.3333, 0.3333, 1]),
    ],
)
def test_a_strip_has_the_candidates_of_every_strength(model, changes, labels, strengths):
    rows, progress, link = _last(model, changes)
    assert rows["strengths"] == [[s, label] for s, label in zip(strengths, labels, strict=True)]
    assert f"{len(labels)} strengths" in progress["parts"]
    recipe = Recipe.from_json(link["recipe"])
    assert recipe.options["strengths"] == strengths and recipe.variations == 2
    edited = _outcome(model, recipe)
    for place, strength in enumerate(strengths):
        texts = {candidate.text for candidate in edited.candidates if candidate.strength == strength}
        there = [row for row in rows["rows"] if row["place"] == place]
        assert {row["text"] for row in there} == texts and len(there) == len(texts)


def test_a_strip_follows_the_noise_whose_texts_fit_best(model):
    changes = {METHOD: "renoise", STRENGTH_FROM: 60, STRENGTH: 100, VALUES: 3, MANY: 3}
    rows, _, link = _last(model, changes)
    candidates = _outcome(model, Recipe.from_json(link["recipe"])).candidates
    noise = min(range(3), key=lambda key: sum(c.misfit for c in candidates if c.noise == key))
    firsts = [next(row for row in rows["rows"] if row["place"] == place) for place in range(3)]
    assert [row["text"] for row in firsts] == [c.text for c in candidates if c.noise == noise]
    assert {row["label"] for row in firsts} == {"on the strip"}


@pytest.mark.parametrize("many", [1, 3])
def test_the_line_counts_the_texts_of_the_strip_and_those_of_all_candidates(model, many):
    rows, progress, _ = _last(model, {METHOD: "renoise", STRENGTH_FROM: 0, STRENGTH: 100, VALUES: 3, MANY: many})
    firsts = {next(row["text"] for row in rows["rows"] if row["place"] == place) for place in range(3)}
    texts = {row["text"] for row in rows["rows"]}
    among = [f"{len(texts)} among all {3 * many} candidates"] if many > 1 else []
    assert progress["parts"][:-1] == ["3 strengths", f"{len(firsts)} different texts on the strip", *among]
    assert len(firsts) > 1 and (len(texts) > len(firsts)) == (many > 1)


def test_every_place_of_a_strip_is_there_while_it_forms_and_when_it_is_stopped(model, every_step):
    context, rows = Viewer(), {}
    settings = SamplerSettings(steps=50, seed=5, guidance=2.0)
    view = edit(model, SCHEDULER, context, _named(model, {METHOD: "renoise", VALUES: 5}, settings=settings))
    while not rows or not any(row["live"] for row in rows["rows"]):
        rows = next(view).get("rows", {})
    view.close()
    for shown in (rows, context.shown[-1]["rows"]):
        assert [row["place"] for row in shown["rows"]] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert len(shown["strengths"]) == 5
    assert all(row["text"].startswith(TEXT[:3]) for row in context.shown[-1]["rows"]["rows"])


def test_candidates_that_came_out_the_same_stand_there_once(model):
    rows, progress, _ = _last(model, {METHOD: "renoise", STRENGTH: 0, MANY: 3})
    assert [row["label"] for row in rows["rows"]] == ["no. 1"]
    assert rows["rows"][0]["score"].endswith(" · 3 alike")
    assert ALIKE in rows["notes"] and "1 different text" in progress["parts"]


def test_what_is_new_in_a_candidate_is_marked_and_the_rest_is_not(model):
    rows, *_ = _last(model)
    edited = _outcome(model, Recipe("edit", (TEXT,), SETTINGS, 2, {"start": 5, "end": 9}))
    for row, candidate in zip(rows["rows"], edited.candidates, strict=True):
        assert _note(row["final"]) == candidate.text
        assert any(flag for _, flag in row["final"]) == any(candidate.changed)
        assert row["final"][0][1] == 0 and row["final"][-1][1] == 0


def test_only_the_neighbourhood_of_the_span_of_a_long_text_is_shown(model):
    text = "the bird sang " * 120
    rows, *_ = _last(model, text=text, span=(300, 303))
    shown = _note(rows["rows"][0]["final"])
    assert shown.startswith("… ") and shown.endswith(" …") and len(shown) < len(text) / 2
    assert len(rows["rows"][0]["text"]) > len(text) - 60


@pytest.mark.parametrize("follow", [0, 70])
def test_whole_texts_stand_there_at_every_step(model, follow):
    recipe = Recipe("edit", (TEXT,), SETTINGS, 2, {"start": 5, "end": 9, "follow": follow / 100})
    live = LiveEdit(model, recipe)
    running = [frame.rows["rows"][0] for event in run(model, recipe) if (frame := live.after(event))]
    assert len(running) > SETTINGS.steps
    parts = tokens_of(model, TEXT)["tokens"]
    for row in running:
        if row["final"] is None:
            settled = [token[0] for line in row["settled"].splitlines() for token in json.loads(line)]
            assert row["lead"] == "".join(parts[:4])
            assert TEXT.endswith(row["tail"])
            assert len(settled) + len(row["live"]) <= len(parts) - 4


def test_kept_tokens_are_told_from_those_that_form(model):
    recipe = Recipe("edit", (TEXT,), SETTINGS, 1, {"start": 5, "end": 7})
    live = LiveEdit(model, recipe)
    seen = []
    for event in run(model, recipe):
        live.after(event)
        seen.append([token.confidence for token in live.rows[0].live])
    forming = next(confidences for confidences in seen if confidences)
    assert [confidence < 0 for confidence in forming] == [True, False, False, True]


@pytest.mark.parametrize(
    ("changes", "given", "note"),
    [
        ({}, {"text": "", "span": (0, 0)}, "The text is empty, expected some words to change."),
        ({}, {"span": (0, 0)}, "No token is selected"),
        ({}, {"text": "word " * 300, "span": (0, 600)}, "The span is 600 tokens long, expected at most 512"),
        ({}, {"picked": TEXT + " Indeed."}, "The text is not the one in which you selected"),
        ({}, {"text": "broken \ud800", "picked": TEXT}, "broken character"),
        ({METHOD: "erase"}, {}, "'erase'"),
        ({METHOD: "renoise", STRENGTH: 150}, {}, "Strength is 150 %, expected from 0 to 100 %."),
        ({METHOD: "renoise", STRENGTH: None}, {}, "Strength is empty"),
        ({METHOD: "direction", PUSH: 9}, {}, "Push is 9"),
        ({METHOD: "direction", PUSH: 9, VALUES: 7}, {}, "Push is 9.0, expected from -4 to 4."),
        ({METHOD: "renoise", STRENGTH_FROM: None, VALUES: 7}, {}, "Strength, from is empty"),
        ({METHOD: "renoise", STRENGTH_FROM: 130, VALUES: 7}, {}, "Strength, from is 130 %"),
        ({METHOD: "renoise", VALUES: 0}, {}, "Texts on the strip is 0"),
        ({METHOD: "renoise", VALUES: 10**9}, {}, "Texts on the strip is 1000000000, expected 1 to 16"),
        (
            {METHOD: "renoise", VALUES: 9, MANY: 7},
            {"text": "word " * 300, "span": (0, 300)},
            "The run is 63 texts of 300 tokens to write, 18,900 in all, expected at most 16,384 on this page",
        ),
        ({METHOD: "renoise", VALUES: 9, MANY: 8}, {}, "Candidates is 8 for each of 9 strengths, expected at most 64"),
        ({METHOD: "direction", DIRECTION: "up-down"}, {}, "up-down"),
        ({METHOD: "direction", DIRECTION: "own"}, {}, "The first list is empty"),
        (
            {METHOD: "direction", DIRECTION: "own", FIRST: "One.", SECOND: "One.\nTwo."},
            {},
            "The first list is 1 sentence",
        ),
        ({METHOD: "direction", DIRECTION: "own", FIRST: "a\nb", SECOND: "a\nb"}, {}, "same mean latent"),
        ({METHOD: "component", COMPONENT: 0}, {}, "Component is 0"),
        ({METHOD: "component", COMPONENT: 99}, {}, "Component is 98"),
        ({METHOD: "mix", OTHER_TEXT: ""}, {}, "The other text is empty"),
        ({FOLLOW: 101}, {}, "What follows is 101 %"),
        ({MANY: 0}, {}, "Candidates is 0"),
        ({MANY: 60}, {}, "Candidates is 60, expected at most 16"),
        ({MANY: 1.5}, {}, "Candidates is 1.5"),
        ({}, {"settings": SamplerSettings(steps=900)}, "Steps a block is 900"),
    ],
)
def test_what_is_wrong_comes_as_a_sentence(model, changes, given, note):
    with pytest.raises(ValueError) as raised:
        parts_of(_view(model), _named(model, changes, **given))
    sentence = str(raised.value)
    assert note in sentence and sentence.endswith(".") and "options." not in sentence


@pytest.mark.parametrize("name", ["text", "picker", "options", "settings"])
def test_controls_that_are_missing_are_a_sentence(model, name):
    controls = _named(model)
    del controls[name]
    with pytest.raises(ValueError, match="expected"):
        parts_of(_view(model), controls)


def test_a_stopped_edit_keeps_whole_texts(model, every_step):
    context, rows = Viewer(), []
    text = "the bird sang " * 60
    settings = SamplerSettings(steps=50, seed=5, guidance=2.0)
    view = edit(model, SCHEDULER, context, _named(model, text=text, span=(100, 110), settings=settings))
    while not any(row["live"] for row in rows):
        rows = next(view).get("rows", {"rows": []})["rows"]
    view.close()
    shown = context.shown[-1]
    assert (shown["rows"]["state"], shown["progress"]["state"]) == ("stopped", "stopped")
    candidates = shown["rows"]["rows"]
    assert [row["label"] for row in candidates] == ["no. 1", "no. 2"]
    parts = tokens_of(model, text)["tokens"]
    for row in candidates:
        assert row["text"].startswith("".join(parts[:100])) and row["text"].endswith("".join(parts[120:]))


def test_all_tokens_may_be_selected_with_a_note(model):
    rows, *_ = _last(model, span=(0, len(tokens_of(model, TEXT)["tokens"])))
    assert any("All tokens are selected" in note for note in rows["notes"])


@pytest.mark.parametrize("text", ["👩‍🚀🎈 to the moon", "שלום עולם, said the bird", "<b>x</b> {{y}} ${z}"])
def test_any_script_can_be_edited(model, text):
    rows, progress, _ = _last(model, text=text, span=(1, 3))
    assert progress["state"] == "done"
    assert {_note(row["final"]) for row in rows["rows"]} == {row["text"] for row in rows["rows"]}


# the text and its history


def test_a_picker_has_every_token_of_its_text(model):
    picker = tokens_of(model, TEXT, 2, 4)
    assert "".join(picker["tokens"]) == TEXT and (picker["start"], picker["end"]) == (2, 4)
    assert tokens_of(model, "")["tokens"] == []


def test_a_text_that_cannot_be_tokens_says_why(model):
    assert "tokens" in tokens_of(model, "word " * 10_000)["wrong"]


def test_the_first_visit_has_an_example_with_words_selected(model):
    _, picker, *_ = show(model, first_history(model))
    assert "".join(picker["tokens"][picker["start"] : picker["end"]]).strip() == EXAMPLES[0][1]


def test_a_span_is_found_by_its_words():
    assert span_of(["The", " li", "ttle", " dog"], "little") == (1, 3)


def test_choosing_undoing_and_redoing(model):
    history = edit_history.new_history(TEXT)
    picker = tokens_of(model, TEXT, 2, 4)
    text, picker, history, undo, redo = choose(model, "Another text", picker, history)
    assert (text, picker["start"], picker["end"]) == ("Another text", 2, 4)
    assert undo["interactive"] and not redo["interactive"]
    text, picker, history, undo, redo = travel(model, {**picker, "start": 0, "end": 1}, history, -1)
    assert (text, picker["start"], picker["end"]) == (TEXT, 2, 4)
    assert not undo["interactive"] and redo["interactive"]
    text, picker, history, undo, redo = travel(model, picker, history, 1)
    assert (text, picker["start"], picker["end"]) == ("Another text", 0, 1)
    assert travel(model, picker, history, 1)[0] == "Another text"


def test_typing_is_one_step_and_an_example_another(model):
    history = edit_history.new_history(TEXT)
    for text in ("T", "Th", "The"):
        *_, history, _, _ = typed(model, text, history)
    *_, history, _, _ = take_example(model, EXAMPLES[1], history)
    assert [entry[0] for entry in history["entries"]] == [TEXT, "The", EXAMPLES[1][0]]
    assert typed(model, EXAMPLES[1][0], history) == [gr.skip()] * 5


def test_another_text_after_undo_forgets_what_was_undone(model):
    history = edit_history.push(edit_history.new_history("a"), "b")
    history = edit_history.push(edit_history.step(history, -1), "c")
    assert [entry[0] for entry in history["entries"]] == ["a", "c"]


def test_a_history_is_bounded():
    history = edit_history.new_history("")
    for i in range(200):
        history = edit_history.push(history, f"text {i}")
    assert len(history["entries"]) == edit_history.MAX_ENTRIES and edit_history.current(history).text == "text 199"
    for i in range(5):
        history = edit_history.push(history, str(i) * (edit_history.MAX_CHARACTERS // 2))
    assert len(history["entries"]) == 2


def test_a_history_is_plain_data():
    history = edit_history.leave(edit_history.push(edit_history.new_history("a"), "b"), 0, 1)
    assert json.loads(json.dumps(history)) == history


# controls and links


def test_every_method_has_a_choice():
    assert {choice.value for choice in METHOD_CHOICES} == set(METHODS)


@pytest.mark.parametrize(
    "changes",
    [
        {METHOD: "anew", FOLLOW: 30, MANY: 5},
        {METHOD: "renoise", STRENGTH: 29},
        {METHOD: "renoise", STRENGTH_FROM: 30, STRENGTH: 90, VALUES: 7},
        {METHOD: "direction", DIRECTION: "day-night", PUSH: -1.5, RENOISE: 7},
        {METHOD: "direction", DIRECTION: "own", FIRST: "a b\nc", SECOND: "d\ne f\ng"},
        {METHOD: "mix", MIXED: 70, OTHER_PICKED: {"text": OTHER, "start": 1, "end": 3}},
        {METHOD: "mix", MIXED_FROM: 100, MIXED: 7, VALUES: 9},
        {METHOD: "component", COMPONENT: 3, PUSH: 2.0},
        {METHOD: "component", COMPONENT: 3, PUSH_FROM: -2.3, PUSH: 2.0, VALUES: 8},
    ],
    ids=["anew", "renoise", "strip", "shipped", "own", "mix", "backwards", "component", "uneven decimals"],
)
def test_options_survive_the_controls(model, changes):
    options, other, candidates = options_of(_controls(model, changes))
    picked = tokens_of(model, other or OTHER, options.get("other_start", 0), options.get("other_end", 0))
    values = values_of_options(check_options(options, OPTIONS), picked, candidates)
    kept = {name: value for name, value in values.items() if value != gr.skip()}
    assert options_of(_controls(model, kept)) == (options, other, candidates)


def test_a_direction_tells_how_many_sentences_it_turns_with_this_model(bundled):
    model = bundled
    found = measured(model)
    best = first_direction(model)
    assert found[best].turned == max(turning.turned for turning in found.values())
    assert f"Turned {found[best].turned:.0%} of {found[best].edits} edits" in turning_note(model, best)
    assert as_measured(model, best) == [-found[best].strength, found[best].strength, 100 * found[best].renoise]


def test_a_direction_that_was_not_measured_says_so_and_changes_no_control(model):
    assert "not been measured" in turning_note(model, "happy-sad")
    assert as_measured(model, "happy-sad") == as_measured(model, OWN) == [gr.skip()] * 3
    assert "first list" in turning_note(model, OWN)


def test_a_selection_in_an_other_text_that_has_changed_counts_for_nothing(model):
    options, _, _ = options_of(_controls(model, {METHOD: "mix", OTHER_PICKED: tokens_of(model, "Old words", 0, 1)}))
    assert "other_start" not in options


@pytest.mark.parametrize("lines", ["", "One.", None])
def test_a_direction_needs_two_sentences_on_each_side(model, lines):
    with pytest.raises(RecipeError, match="second list"):
        options_of(_controls(model, {METHOD: "direction", DIRECTION: "own", FIRST: "a\nb", SECOND: lines}))


def test_a_link_fills_in_text_selection_controls_and_settings(model):
    *_, link = _last(model, {METHOD: "mix", MIXED: 70, MANY: 3})
    values = restore(model, {"r": link["query"][3:]}, model)
    text, picker = values[:2]
    assert (text, picker["start"], picker["end"]) == (TEXT, 5, 9)
    controls = dict(zip(NAMES, values[5:], strict=False))
    settings, progress = values[5 + len(NAMES) : -1], values[-1]
    assert (controls[METHOD], controls[OTHER_TEXT], controls[MIXED], controls[MANY]) == ("mix", OTHER, 70, 3)
    assert settings == values_of(SETTINGS)
    assert "press Change the span" in progress["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"r": "nonsense"},
        {"r": link_of(Recipe("edit", (TEXT,), options={"method": "erase"}))["query"][3:]},
        {"r": link_of(Recipe("edit", (TEXT,), variations=64))["query"][3:]},
        {"r": link_of(Recipe("edit", (TEXT,), options={"method": "mix", "strengths": [0.1, 0.2, 0.9]}))["query"][3:]},
    ],
)
def test_a_link_that_cannot_be_shown_says_so(model, query):
    values = restore(model, query, model)
    assert values[-1]["state"] == "error" and "link" in values[-1]["message"]
    assert values[0] == gr.skip()


# the API


def test_the_api_gives_the_candidates_of_its_recipe(model):
    *_, (candidates, recipe) = edit_text(model, SCHEDULER, [TEXT], {"start": 5, "end": 9}, 2, {"steps": 2})
    edited = _outcome(model, Recipe.from_json(json.dumps(recipe)))
    assert [c["text"] for c in candidates] == [c.text for c in edited.candidates]
    assert [c["misfit"] for c in candidates] == pytest.approx([c.misfit for c in edited.candidates], rel=1e-4)


def test_the_api_gives_the_texts_of_several_strengths(model):
    options = {"start": 5, "end": 9, "method": "renoise", "strengths": [0.1, 0.9]}
    *_, (candidates, recipe) = edit_text(model, SCHEDULER, [TEXT], options, 2, {"steps": 2})
    assert [c["strength"] for c in candidates] == [0.1, 0.1, 0.9, 0.9] and recipe["options"]["strengths"] == [0.1, 0.9]


@pytest.mark.parametrize(
    ("options", "candidates", "given", "note"),
    [
        ({}, 2, {}, "span"),
        ({"start": -1, "end": 2}, 2, {}, "start"),
        ({"start": 0, "end": 10**9}, 2, {}, "end"),
        ({"start": 0, "end": 2, "strength": 7}, 2, {}, "strength"),
        ({"start": 0, "end": 2, "follow": 2}, 2, {}, "follow"),
        ({"start": 0, "end": 2}, 0, {}, "variations"),
        ({"start": 0, "end": 2}, 64, {}, "variations"),
        ({"start": 0, "end": 2}, 2, {"steps": 0}, "steps"),
        ({"start": 0, "end": 2, "method": "direction", "first": ["one"], "second": ["a", "b"]}, 2, {}, "first list"),
    ],
)
def test_the_api_refuses_with_a_sentence(model, options, candidates, given, note):
    with pytest.raises(gr.Error, match=note):
        list(edit_text(model, SCHEDULER, [TEXT], options, candidates, given))


def test_a_page_without_a_link_leaves_the_controls_as_the_visitor_has_set_them_meanwhile(model):
    values = restore(model, {}, model)
    chosen = dict(zip(NAMES, values[5:], strict=False))
    assert chosen.pop("other_picker")["tokens"]
    assert all(value == gr.skip() for value in [*values[:5], *chosen.values(), *values[5 + len(NAMES) :]])


def test_a_page_that_was_laid_out_for_another_model_gets_the_tokens_of_the_one_now(model):
    text, picker = restore(model, {}, copy.copy(model))[:2]
    assert text == EXAMPLES[0][0] and picker == tokens_of(model, text, picker["start"], picker["end"])
    assert picker["end"] > picker["start"]
