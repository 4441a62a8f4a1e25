import dataclasses

import pytest

from coladlm import SamplerSettings
from coladlm.sampling.events import BlockDone, Finished
from coladlm.sampling.rows import RowState
from coladlm.sampling.sentences import last_sentence_end, whole_sentences


@pytest.mark.parametrize("text, kept", [
    ("", ""),
    ("a cat sat", ""),
    ("A cat sat. It was", "A cat sat."),
    ("A cat sat.", "A cat sat."),
    ("A cat sat! Why? He", "A cat sat! Why?"),
    ('He said, "No." Then', 'He said, "No."'),
    ('It sat. He said, "No. I', "It sat."),
    ('"No. I do not', '"No.'),  # there is no other end
    ("It cost 3.50 in all", ""),
    ("Well... she", "Well..."),
    ("(It sat.) Then", "(It sat.)"),
    ("“No.” Then", "“No.”"),
    ("猫坐了。它很", "猫坐了。"),
    ("The end.\n\nOnce", "The end."),
    ("What?! He", "What?!"),
])  # fmt: skip
def test_a_text_ends_with_its_last_whole_sentence(text, kept):
    assert text[: last_sentence_end(text)] == kept


def test_what_is_shown_of_a_growing_text_never_shrinks_and_stays_to_the_end():
    text = 'It cost 3.50. He said, "No. Not that. " Then! And "so. on (yes.) and 猫坐了。它 "很. 1.'
    shown = 0
    for n in range(len(text) + 1):
        end = last_sentence_end(text[:n], going_on=True)
        assert end >= shown
        shown = end
    assert last_sentence_end(text) >= shown > 0


def test_tokens_are_kept_up_to_the_end_of_the_sentence(model):
    for text, kept in (("The cat sat. It was a", "The cat sat."), ('"No." He', '"No."'), ("no end", "no end")):
        assert model.read(whole_sentences(model.tokenize(text), model.read)) == kept
    assert whole_sentences([], model.read) == []


def test_a_run_leaves_out_the_sentence_that_is_not_whole_and_all_else_is_as_without(bundled):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=24, whole_sentences=False)
    prompts = ["Once upon a time", "The dog ran. He", "A girl"]
    whole = bundled.generate(prompts, settings)
    events = list(bundled.sample(prompts, dataclasses.replace(settings, whole_sentences=True)))
    finished = events[-1]
    assert isinstance(finished, Finished)
    for text, other, ids in zip(finished.texts, whole, finished.token_ids, strict=True):
        assert text == other[: last_sentence_end(other)] or last_sentence_end(other) == 0
        assert bundled.read(ids) == text
    assert any(len(text) < len(other) for text, other in zip(finished.texts, whole, strict=True))
    assert [event.texts for event in events if isinstance(event, BlockDone)][-1] == finished.texts


def test_a_text_that_comes_to_its_end_keeps_what_stands_before_it(model):
    plan = model.plan_encoded(model.encode_texts(["A"])[0], SamplerSettings(max_new_tokens=8))
    for last, kept in ((model.end_ids[0], "The cat sat. It"), (None, "The cat sat.")):
        row = RowState(plan, SamplerSettings(max_new_tokens=8, whole_sentences=True))
        ids = [*[0] * plan.skip, *model.tokenize("The cat sat. It"), *([last] if last is not None else [])]
        row.extend(plan.blocks - 1 + row.joined, ids[plan.skip :], model.end_ids, model.read)
        assert row.text == kept
