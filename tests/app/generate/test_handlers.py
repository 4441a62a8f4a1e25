"""What can be done with a finished run on the tab Generate."""

import dataclasses
import json
import re

import pytest

from app.components.text_rows import CHANGED
from app.generate.alternatives import MOST_NOISE
from app.generate.baseline_beside import write_baseline
from app.generate.comparisons import decode_again, run_beside
from app.generate.differences import marked
from app.generate.handlers import GenerateHandlers
from app.generate.sweep import Sweeps
from app.shared.generation import MOST_VARIATIONS
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=3, max_new_tokens=10, seed=5, stop_at_end=False, repetition_penalty=1.2)
PROMPT = "Once upon a time there was a cat and"
VISITOR = "visitor"


@pytest.fixture
def handlers(model, scheduler, baseline) -> GenerateHandlers:
    return GenerateHandlers(model, TraceStore(), scheduler, baseline)


def written(handlers, variations=1, settings=SETTINGS, prompt=PROMPT):
    """The parts of a run as they stand at its end."""
    return parts_of(handlers.write, controls_of(settings, prompt=prompt, variations=variations), Viewer(VISITOR))


@pytest.fixture(scope="module")
def looked_at(model, scheduler, baseline):
    """Handlers, and what they keep of a run, for tests that change neither."""
    handlers = GenerateHandlers(model, TraceStore(), scheduler, baseline)
    return handlers, written(handlers)["kept"]


def words_of(row: dict) -> str:
    return "".join(text for text, _ in row["final"])


def texts_of(model, settings=SETTINGS, variations=1):
    *_, finished = run(model, Recipe("generate", (PROMPT,), settings, variations))
    return finished.texts


def test_variations_are_one_batch_of_different_texts(handlers, model):
    last = written(handlers, 3)
    assert [row["text"] for row in last["rows"]["rows"]] == texts_of(model, variations=3)
    assert last["rows"]["state"] == last["progress"]["state"] == "done"
    assert last["progress"]["parts"][0] == "3 texts"
    link = last["link"]["query"].removeprefix("?r=")
    assert Recipe.from_url(link).variations == 3


def test_without_a_prompt_a_text_begins_with_a_line_that_the_seed_chooses(bundled, scheduler, baseline):
    handlers = GenerateHandlers(bundled, TraceStore(), scheduler, baseline)
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=4)
    begun = set()
    for seed in (0, 1, 2):
        parts = written(handlers, 1, dataclasses.replace(settings, seed=seed), prompt=" ")
        assert parts["strip"]["prompt"] == bundled.opening(seed)
        assert parts["progress"]["parts"][-1] == "the first words were given"
        assert Recipe.from_url(parts["link"]["query"].removeprefix("?r=")).texts == (bundled.opening(seed),)
        begun.add(bundled.opening(seed))
    assert len(begun) > 1
    assert "the first words were given" not in written(handlers, 1, settings)["progress"]["parts"]


def test_a_model_without_openings_writes_from_nothing(handlers):
    assert handlers.model.opening(0) == ""
    parts = written(handlers, prompt="")
    assert parts["strip"]["prompt"] == ""
    assert "the first words were given" not in parts["progress"]["parts"]


@pytest.mark.parametrize("variations", [0, MOST_VARIATIONS + 1, 1.5, None, "x"])
def test_a_wrong_number_of_variations_gets_a_sentence(handlers, variations):
    with pytest.raises(ValueError, match=r"^Variations is"):
        written(handlers, variations)


def test_drafts_count_among_what_a_run_may_take(bundled, scheduler, baseline):
    settings = dataclasses.replace(bundled.defaults, stagger=0.0, noises=8, max_new_tokens=1024)
    handlers = GenerateHandlers(bundled, TraceStore(), scheduler, baseline)
    with pytest.raises(ValueError, match=r"1 of 1,024 tokens from 8 noises, expected at most 4,096 tokens in all"):
        written(handlers, 1, settings)


def test_variations_end_with_whole_sentences_where_the_settings_say_so(bundled, scheduler, baseline):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=16, whole_sentences=True)
    parts = written(GenerateHandlers(bundled, TraceStore(), scheduler, baseline), 3, settings)
    *_, finished = run(bundled, Recipe("generate", (PROMPT,), settings, 3))
    for row, text, ids in zip(parts["rows"]["rows"], finished.texts, finished.token_ids, strict=True):
        shown = [token for line in row["settled"].splitlines() for token in json.loads(line)]
        assert "".join(piece for piece, *_ in shown) == row["text"] == text
        assert len(shown) == len(ids)


@pytest.mark.parametrize("variations", [1, 4])
def test_texts_that_end_inside_a_character_are_shown_to_their_last_byte(handlers, model, variations):
    broken = 0
    for tokens in range(3, 8):
        settings = dataclasses.replace(SETTINGS, steps=1, max_new_tokens=tokens)
        parts = written(handlers, variations, settings)
        shown = [row["settled"] for row in parts["rows"]["rows"]] if variations > 1 else [parts["strip"]["settled"]]
        texts = texts_of(model, settings, variations)
        assert [_joined(lines) for lines in shown] == texts
        broken += sum(text.endswith("\ufffd") for text in texts)
    assert 0 < broken < 5 * variations


def _joined(lines):
    return "".join(text for line in lines.splitlines() for text, *_ in json.loads(line))


def test_a_finished_run_brings_all_its_steps(handlers, model):
    value = written(handlers)["strip"]
    blocks = json.loads(value["look"])
    lines = [json.loads(line) for line in value["settled"].split("\n") if line]
    assert "".join(text for line in lines for text, *_ in line) == texts_of(model)[0]
    assert [block["count"] for block in blocks] == [len(line) for line in lines]
    for block in blocks:
        assert len(block["ids"]) == len(block["sure"]) == len(block["steps"]) * block["count"]
        assert max(block["ids"]) < len(block["words"])
        assert block["noise"] == sorted(block["noise"], reverse=True)
        assert block["steps"] == [0, 1, 2]


def test_another_variation_can_be_read(handlers, model):
    last = written(handlers, 3)
    read = handlers.read(VISITOR, 2, last["kept"])
    lines = [json.loads(line) for line in read.strip["settled"].split("\n") if line]
    assert "".join(text for line in lines for text, *_ in line) == texts_of(model, variations=3)[2]
    assert read.kept["sequence"] == 2 and read.link == last["link"]


@pytest.mark.parametrize("row", [-1, 3, "x", None])
def test_a_variation_that_is_not_there_gets_a_sentence(handlers, row):
    kept = written(handlers, 3)["kept"]
    assert handlers.read(VISITOR, row, kept).progress["state"] == "error"


def test_a_token_says_what_else_it_could_have_been(handlers, model):
    last = written(handlers)
    block = json.loads(last["strip"]["look"])[0]
    card = handlers.inspect(VISITOR, block["block"], block["first"], last["kept"]).card
    assert len(card["latent"]) == model.latent_dim
    assert ("never in doubt" in card["note"]) == (card["read"] == []) == (card["noise"] is None)
    assert "Chosen with" in card["note"]
    assert card["noise"] is None or card["noise"] <= MOST_NOISE  # this model names no tokens


def test_a_token_says_since_when_the_steps_of_the_strip_show_it(handlers, model):
    last, told = written(handlers), []
    settled = [json.loads(line) for line in last["strip"]["settled"].split("\n") if line]
    for block, final in zip(json.loads(last["strip"]["look"]), settled, strict=True):
        for at, (chosen, *_) in enumerate(final):
            shown = [block["words"][word][0] for word in block["ids"][at :: block["count"]]]
            since = next((step for step in range(len(shown)) if set(shown[step:]) == {chosen}), None)
            told.append("settled only after the last step" if since is None else f"Unchanged since step {since + 1} of")
            card = handlers.inspect(VISITOR, block["block"], block["first"] + at, last["kept"]).card
            assert told[-1] in card["note"]
    assert len(set(told)) > 1


@pytest.mark.parametrize("stagger", [0, 0.5])
def test_a_token_says_that_its_noise_is_its_own_where_the_places_before_it_had_less(handlers, stagger):
    settings = dataclasses.replace(SETTINGS, steps=8, stagger=stagger)
    last, told = written(handlers, settings=settings, prompt="Once upon"), {}
    for block in json.loads(last["strip"]["look"]):
        for at in range(block["count"]):
            place = block["first"] + at
            note = handlers.inspect(VISITOR, block["block"], place, last["kept"]).card["note"]
            if "Unchanged since" in note:
                told[at, " 0 % noise" in note] = re.search(
                    r"at \d+ % noise( \(its own place's; .* had less\))?\.", note
                )[1]
    assert all(own is None for (at, _), own in told.items() if at == 0 or stagger == 0), told
    assert any(told.values()) == (stagger > 0)


@pytest.mark.parametrize("at", [(99, 0), (1, -1), ("a", None), (None, None)])
def test_a_token_that_is_not_in_the_answer_gets_a_sentence(looked_at, at):
    handlers, kept = looked_at
    shown = handlers.inspect(VISITOR, *at, kept)
    assert "not part of the answer" in shown.progress["message"]


def test_runs_of_others_are_not_shown(looked_at):
    handlers, kept = looked_at
    assert "not there" in handlers.inspect("another", 0, 0, kept).progress["message"]
    assert "press Run first" in handlers.inspect(VISITOR, 0, 0, None).progress["message"]


def beside_frames(view, handlers, kept, context=None, **controls):
    """The frames of a fold's view, what it shows at the end of a stopped run not included."""
    return list(view(handlers, context or Viewer(VISITOR, "run-of-the-fold"), {"kept": kept, **controls}))


def run_b(handlers, kept, settings):
    return beside_frames(run_beside, handlers, kept, **controls_of(settings))


def decoded(handlers, kept, temperature=0.0, top_k=0, top_p=1.0, penalty=1.0):
    controls = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": penalty}
    return beside_frames(decode_again, handlers, kept, **controls)[-1]


def by_the_baseline(handlers, kept, context=None):
    return beside_frames(write_baseline, handlers, kept, context, temperature=0.8, top_p=0.95)


def test_b_runs_with_the_same_noise_and_says_what_differs(handlers, model):
    kept = written(handlers)["kept"]
    other = dataclasses.replace(SETTINGS, guidance=1.5, seed=99)
    last = run_b(handlers, kept, other)[-1]
    assert (last["rows"]["state"], last["progress"]["state"]) == ("done", "done")
    assert [words_of(row) for row in last["rows"]["rows"]] == [
        texts_of(model)[0],
        texts_of(model, dataclasses.replace(other, seed=SETTINGS.seed))[0],
    ]
    assert last["rows"]["notes"][0] == "B differs in: Guidance 7 → 1.5."
    assert last["progress"]["parts"][0] == "B is written"


def test_the_space_before_a_word_that_differs_is_not_marked(model):
    ids = [model.tokenizer.encode(text).ids for text in ("It was small.", "It was warm.")]
    parts = marked(model, *ids)
    assert "".join(text for text, _ in parts) == "It was small."
    assert any(flag for _, flag in parts)
    assert not any(flag and text[0].isspace() for text, flag in parts)


def test_a_text_that_ends_inside_a_character_is_marked_to_its_last_byte(model):
    ids = model.tokenize("A cat 🎈")[:-1]
    assert "".join(text for text, _ in marked(model, ids, model.tokenize("A cat"))) == model.read(ids) == "A cat \ufffd"


def test_b_with_the_settings_of_a_is_refused(looked_at):
    handlers, kept = looked_at
    with pytest.raises(ValueError, match="B would be A"):
        run_b(handlers, kept, SETTINGS)


def test_decoding_again_takes_no_step_of_the_sampler(handlers, model, monkeypatch):
    kept = written(handlers)["kept"]
    monkeypatch.setattr(model.sampler, "run", None)
    last = decoded(handlers, kept, 2.0)
    assert last["progress"]["state"] == "done"
    before, again = last["rows"]["rows"]
    assert words_of(before) != words_of(again)
    assert any(flags & CHANGED for _, flags in again["final"])
    same = decoded(handlers, kept, 0.0, SETTINGS.top_k, SETTINGS.top_p, SETTINGS.repetition_penalty)
    assert words_of(same["rows"]["rows"][1]) == words_of(before)


@pytest.mark.parametrize(
    "values, note",
    [
        ((-1, 0, 1, 1), "Temperature is -1"),
        ((0, 0, 0, 1), "Top-p is 0"),
        ((None, 0, 1, 1), "Temperature is empty"),
        ((0, 1.5, 1, 1), "Top-k is 1.5"),
    ],
)
def test_absurd_decoding_gets_a_sentence(looked_at, values, note):
    handlers, kept = looked_at
    with pytest.raises(ValueError, match=rf"^{re.escape(note)}.*\.$"):
        decoded(handlers, kept, *values)


def test_the_baseline_writes_beside_the_model_with_numbers(looked_at):
    handlers, kept = looked_at
    last = by_the_baseline(handlers, kept)[-1]
    again = by_the_baseline(handlers, kept)[-1]
    assert (last["rows"]["state"], last["progress"]["state"]) == ("done", "done")
    assert len(last["rows"]["rows"]) == 2 and words_of(last["rows"]["rows"][1])
    assert last["rows"]["rows"] == again["rows"]["rows"]
    table = last["measures"]
    assert table["columns"] == ["Model", "Baseline"]
    labels = [label for label, *_ in table["rows"]]
    assert {"Time", "Perplexity per word", "Distinct 2-grams", "Repeated 4-grams"} <= set(labels)
    assert "5.7 million" in table["note"]
    assert not any("nan" in cell for *_, cells in table["rows"] for cell in cells)


def test_the_baseline_ends_with_a_whole_sentence_where_the_model_does(bundled, scheduler, baseline):
    handlers = GenerateHandlers(bundled, TraceStore(), scheduler, baseline)
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=24, whole_sentences=True)
    for whole in (True, False):
        kept = written(handlers, settings=dataclasses.replace(settings, whole_sentences=whole))["kept"]
        last = by_the_baseline(handlers, {**kept, "seconds": 2.0})[-1]
        assert last["progress"]["parts"][0].endswith("tokens")
        assert (words_of(last["rows"]["rows"][1]).rstrip()[-1] in '.!?"') == whole
        speeds = dict(last["measures"]["rows"][i][::2] for i in range(2))["Tokens a second"]
        assert speeds[0] == "12"  # all 24 that it wrote


def test_a_new_run_of_the_baseline_takes_the_numbers_of_the_one_before_away(looked_at):
    handlers, kept = looked_at
    assert by_the_baseline(handlers, kept)[0]["measures"] is None


AXES = {
    "down": {"setting": "guidance", "values": "1, 3"},
    "across": {"setting": "repetition_penalty", "values": "1, 1.5"},
}
FOLDS = {
    "ab": lambda handlers, kept, context: run_beside(
        handlers, context, controls_of(dataclasses.replace(SETTINGS, guidance=1.5), kept=kept)
    ),
    "baseline": lambda handlers, kept, context: write_baseline(
        handlers, context, {"kept": kept, "temperature": 0.8, "top_p": 0.95}
    ),
    "sweep": lambda handlers, kept, context: Sweeps(handlers.model, handlers.scheduler, handlers.baseline).write(
        context, controls_of(SETTINGS, prompt=PROMPT, **AXES)
    ),
}


@pytest.mark.parametrize("name", FOLDS)
def test_a_fold_that_is_stopped_keeps_what_there_is(handlers, name):
    kept, context = written(handlers)["kept"], Viewer(VISITOR, "a-stopped-run")
    frames = FOLDS[name](handlers, kept, context)
    part = "grid" if name == "sweep" else "rows"
    latest = {}
    for frame in frames:
        latest |= frame
        if latest["progress"]["tokens"] or latest["progress"]["fraction"]:
            break
    frames.close()
    (last,) = context.shown
    assert last["progress"]["state"] == last[part]["state"] == "stopped"
    assert last["progress"]["message"].startswith("Stopped")
    assert last["progress"]["message"] != "Stopped before it began."
    assert {**last[part], "state": "running"} == latest[part]


@pytest.mark.parametrize("name", ["ab", "baseline"])
def test_the_rows_of_a_fold_carry_the_id_of_their_run(handlers, name):
    kept = written(handlers)["kept"]
    for id_ in ("the-first-run", "the-second-run"):
        frames = list(FOLDS[name](handlers, kept, Viewer(VISITOR, id_)))
        assert {frame["rows"]["run"] for frame in frames if "rows" in frame} == {id_}


@pytest.mark.parametrize("name", ["ab", "baseline"])
@pytest.mark.parametrize("kept", [None, "a run", {"run": 3}, {"run": "r"}, {"sequence": 0}])
def test_a_fold_without_a_run_says_so(handlers, name, kept):
    with pytest.raises(ValueError, match="press Run"):
        next(FOLDS[name](handlers, kept, Viewer(VISITOR)))


@pytest.mark.parametrize("sequence", [1, -1, None, 0.5])
def test_a_fold_refuses_a_variation_that_is_not_there(looked_at, sequence):
    handlers, kept = looked_at
    kept = {**kept, "sequence": sequence}
    with pytest.raises(ValueError, match=r"[Vv]ariation"):
        next(FOLDS["ab"](handlers, kept, Viewer(VISITOR)))


def test_a_fold_finds_the_run_of_a_browser_without_cookies(handlers):
    context = Viewer("run the-run-itself", "the-run-itself")
    kept = parts_of(handlers.write, controls_of(SETTINGS, prompt=PROMPT, variations=1), context)["kept"]
    fold = Viewer("run the-fold", "the-fold")
    assert list(FOLDS["baseline"](handlers, kept, fold))[-1]["progress"]["state"] == "done"
    with pytest.raises(ValueError, match="not there"):
        next(FOLDS["baseline"](handlers, kept, Viewer(VISITOR, "the-fold")))
