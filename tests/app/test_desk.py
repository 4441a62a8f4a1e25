"""What can be done with a finished run on the tab Generate."""

import dataclasses
import json

import pytest

from app.beside import decode_again, run_beside, write_baseline
from app.bundled_baseline import BundledBaseline
from app.comparing import marked
from app.components.text_rows import CHANGED
from app.desk import MOST_VARIATIONS, Desk
from app.settings_panel import values_of
from app.sweep import MOST_CELLS, cells_of, sweep, values_from
from app.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Scheduler

from .viewing import Viewer, controls_of, parts_of

SCHEDULER = Scheduler()
BASELINE = BundledBaseline()
SETTINGS = SamplerSettings(steps=3, max_new_tokens=10, seed=5, stop_at_end=False, repetition_penalty=1.2)
PROMPT = "Once upon a time there was a cat and"
VISITOR = "visitor"


@pytest.fixture
def desk(model, scheduler, baseline) -> Desk:
    return Desk(model, TraceStore(), scheduler, baseline)


def written(desk, variations=1, settings=SETTINGS, prompt=PROMPT):
    """The parts of a run as they stand at its end."""
    return parts_of(desk.write, controls_of(settings, prompt=prompt, variations=variations), Viewer(VISITOR))


def words_of(row: dict) -> str:
    return "".join(text for text, _ in row["final"])


def texts_of(model, settings=SETTINGS, variations=1):
    *_, finished = run(model, Recipe("generate", (PROMPT,), settings, variations))
    return finished.texts


def test_variations_are_one_batch_of_different_texts(desk, model):
    last = written(desk, 3)
    assert [row["text"] for row in last["rows"]["rows"]] == texts_of(model, variations=3)
    assert last["rows"]["state"] == last["progress"]["state"] == "done"
    assert last["progress"]["parts"][0] == "3 texts"
    link = last["link"]["query"].removeprefix("?r=")
    assert Recipe.from_url(link).variations == 3


@pytest.mark.parametrize("variations", [0, MOST_VARIATIONS + 1, 1.5, None, "x"])
def test_a_wrong_number_of_variations_gets_a_sentence(desk, variations):
    with pytest.raises(ValueError, match=r"^Variations is"):
        written(desk, variations)


def test_a_finished_run_brings_all_its_steps(desk, model):
    value = written(desk)["strip"]
    blocks = json.loads(value["look"])
    lines = [json.loads(line) for line in value["settled"].split("\n") if line]
    assert "".join(text for line in lines for text, *_ in line) == texts_of(model)[0]
    assert [block["count"] for block in blocks] == [len(line) for line in lines]
    for block in blocks:
        assert len(block["ids"]) == len(block["sure"]) == len(block["steps"]) * block["count"]
        assert max(block["ids"]) < len(block["words"])
        assert block["noise"] == sorted(block["noise"], reverse=True)
        assert block["steps"] == [0, 1, 2]


def test_another_variation_can_be_read(desk, model):
    kept = written(desk, 3)["kept"]
    read = desk.read(VISITOR, 2, kept)
    lines = [json.loads(line) for line in read.strip["settled"].split("\n") if line]
    assert "".join(text for line in lines for text, *_ in line) == texts_of(model, variations=3)[2]
    assert read.kept["sequence"] == 2


@pytest.mark.parametrize("row", [-1, 3, "x", None])
def test_a_variation_that_is_not_there_gets_a_sentence(desk, row):
    kept = written(desk, 3)["kept"]
    assert desk.read(VISITOR, row, kept).progress["state"] == "error"


def test_a_token_says_what_else_it_could_have_been(desk, model):
    last = written(desk)
    block = json.loads(last["strip"]["look"])[0]
    card = desk.inspect(VISITOR, block["block"], block["first"], last["kept"]).card
    assert len(card["latent"]) == model.latent_dim
    shares = [p for _, p, _ in card["read"]]
    assert all(0 <= p <= 1 for p in shares)
    assert [chosen for *_, chosen in card["read"]].count(1) == 1
    assert "Chosen with" in card["said"]
    assert "stands since" in card["said"] or "settled only" in card["said"]


@pytest.mark.parametrize("at", [(99, 0), (1, -1), ("a", None), (None, None)])
def test_a_token_that_is_not_in_the_answer_gets_a_sentence(desk, at):
    kept = written(desk, prompt=PROMPT)["kept"]
    shown = desk.inspect(VISITOR, *at, kept)
    assert "not part of the answer" in shown.progress["message"]


def test_runs_of_others_are_not_shown(desk):
    kept = written(desk)["kept"]
    assert "not there" in desk.inspect("another", 0, 0, kept).progress["message"]
    assert "press Run first" in desk.inspect(VISITOR, 0, 0, None).progress["message"]


def test_b_runs_with_the_same_noise_and_says_what_differs(desk, model):
    kept = written(desk)["kept"]
    other = dataclasses.replace(SETTINGS, guidance=1.5, seed=99)
    frames = list(run_beside(desk, VISITOR, kept, *values_of(other)))
    rows, progress = frames[-1]
    assert (rows["state"], progress["state"]) == ("done", "done")
    assert [words_of(row) for row in rows["rows"]] == [
        texts_of(model)[0],
        texts_of(model, dataclasses.replace(other, seed=SETTINGS.seed))[0],
    ]
    assert rows["notes"][0] == "B differs in: Guidance 7 → 1.5."
    assert progress["parts"][0] == "B is written"


def test_the_space_before_a_word_that_differs_is_not_marked(model):
    ids = [model.tokenizer.encode(text).ids for text in ("It was small.", "It was warm.")]
    parts = marked(model, *ids)
    assert "".join(text for text, _ in parts) == "It was small."
    assert any(flag for _, flag in parts)
    assert not any(flag and text[0].isspace() for text, flag in parts)


def test_b_with_the_settings_of_a_is_refused(desk):
    kept = written(desk)["kept"]
    *_, (_, progress) = run_beside(desk, VISITOR, kept, *values_of(SETTINGS))
    assert "B would be A" in progress["message"]


def test_decoding_again_takes_no_step_of_the_sampler(desk, model, monkeypatch):
    kept = written(desk)["kept"]
    monkeypatch.setattr(model.sampler, "run", None)
    rows, progress = decode_again(desk, VISITOR, kept, 2.0, 0, 1.0, 1.0)
    assert progress["state"] == "done"
    before, again = rows["rows"]
    assert words_of(before) != words_of(again)
    assert any(flags & CHANGED for _, flags in again["final"])
    same, _ = decode_again(desk, VISITOR, kept, 0.0, SETTINGS.top_k, SETTINGS.top_p, SETTINGS.repetition_penalty)
    assert words_of(same["rows"][1]) == words_of(before)


@pytest.mark.parametrize("values", [(-1, 0, 1, 1), (0, 0, 0, 1), (None, 0, 1, 1), (0, 1.5, 1, 1)])
def test_absurd_decoding_gets_a_sentence(desk, values):
    kept = written(desk)["kept"]
    _, progress = decode_again(desk, VISITOR, kept, *values)
    assert progress["state"] == "error"
    assert progress["message"].endswith(".")


def test_the_baseline_writes_beside_the_model_with_numbers(desk):
    kept = written(desk)["kept"]
    frames = list(write_baseline(desk, VISITOR, kept, 0.8, 0.95))
    again = list(write_baseline(desk, VISITOR, kept, 0.8, 0.95))
    rows, progress, table = frames[-1]
    assert (rows["state"], progress["state"]) == ("done", "done")
    assert len(rows["rows"]) == 2 and words_of(rows["rows"][1])
    assert rows["rows"] == again[-1][0]["rows"]
    for name in ("Time", "Perplexity per word", "Distinct 2-grams", "Repeated 4-grams", "5.7 million"):
        assert name in table
    assert "nan" not in table


def grid(model, *values, settings=SETTINGS):
    return list(sweep(model, SCHEDULER, BASELINE, PROMPT, *values, *values_of(settings)))


def test_a_sweep_writes_what_single_runs_write(model):
    value, progress = grid(model, "guidance", "1, 3", "repetition_penalty", "1, 1.5")[-1]
    assert (value["state"], progress["state"]) == ("done", "done")
    assert (value["rows"], value["columns"]) == (
        ["Guidance 1", "Guidance 3"],
        ["Repetition penalty 1", "Repetition penalty 1.5"],
    )
    assert progress["parts"][1] == "2 batches"  # one for each flow
    for text, said, settings in value["cells"]:
        assert text == texts_of(model, SamplerSettings.from_dict(settings))[0]
        assert "tokens" in said


@pytest.mark.parametrize(
    "values, said",
    [
        (("guidance", "1", "guidance", "2"), "another setting"),
        (("guidance", "", "steps", "2"), "no values"),
        (("guidance", "1, x", "steps", "2"), "numbers"),
        (("guidance", "1, 1", "steps", "2"), "twice"),
        (("solver", "rk4", "steps", "2"), "euler"),
        (("steps", "0", "guidance", "2"), "Steps a block"),
        (("steps", "999", "guidance", "2"), "at most"),
        (("nonsense", "1", "guidance", "2"), "one of the list"),
        (("guidance", ",".join(map(str, range(MOST_CELLS + 1))), "steps", "2"), "at most"),
        (("max_new_tokens", "1024, 1023", "steps", "1, 2, 3"), "tokens"),
    ],
)
def test_a_sweep_that_cannot_be_gets_a_sentence(model, values, said):
    ((_, progress),) = grid(model, *values)
    assert progress["state"] == "error"
    assert said in progress["message"]


def test_whole_numbers_stay_whole():
    assert values_from("steps", "4, 16 ") == [4, 16]
    assert values_from("time_grid", "linear") == ["linear"]
    assert len(cells_of(SETTINGS, ("steps", [1, 2]), ("seed", [1, 2, 3]))) == 6
