"""Sweeps: settings and prompts by a few values each, what is kept of them, and their table."""

import base64
import csv
import dataclasses
import io

import pytest

from app.generate.sweep import Sweeps
from app.generate.sweep_cells import MOST_CELLS, Axis, Cell, Outcome, cells_of, values_from
from app.generate.sweep_curve import PUBLISHED, published_curve
from app.generate.sweep_table import sweep_table
from coladlm import SamplerSettings
from coladlm.evaluate.generation import Written, measured
from coladlm.recipe import Recipe
from coladlm.run import run

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, seed=5, stop_at_end=False, repetition_penalty=1.2)
PROMPT = "Once upon a time there was a cat and"
VISITOR = "visitor"
GUIDANCE, PENALTY = ("guidance", "1, 3"), ("repetition_penalty", "1, 1.5")


@pytest.fixture
def sweeps(model, scheduler, baseline) -> Sweeps:
    return Sweeps(model, scheduler, baseline)


def swept(down=GUIDANCE, across=PENALTY, by=("none", ""), prompt=PROMPT):
    axes = {name: {"setting": axis[0], "values": axis[1]} for name, axis in
            (("down", down), ("across", across), ("by", by))}  # fmt: skip
    return controls_of(SETTINGS, prompt=prompt, **axes)


def grid(sweeps, *axes, visitor=VISITOR, id_="a-run", **more):
    """All parts as they stand at the end of a sweep."""
    return parts_of(sweeps.write, swept(*axes, **more), Viewer(visitor, id_))


def text_of(model, settings, prompt=PROMPT):
    *_, finished = run(model, Recipe("generate", (prompt,), SamplerSettings.from_dict(settings)))
    return finished.texts[0]


def stopped_after(sweeps, part, **more):
    """The last frame of a sweep that is stopped when its progress says `part` first."""
    context, latest = Viewer(VISITOR, "a-stopped-run"), {}
    frames = sweeps.write(context, swept(**more))
    for frame in frames:
        latest |= frame
        if latest["progress"]["parts"][0] == part:
            break
    frames.close()
    return context.shown[-1]


def table_of(saved):
    return list(csv.DictReader(io.StringIO(base64.b64decode(saved["data"]).decode(), newline="")))


def test_a_sweep_writes_what_single_runs_write(sweeps, model):
    last = grid(sweeps)
    value, progress = last["grid"], last["progress"]
    assert (value["state"], progress["state"]) == ("done", "done")
    assert (value["rows"], value["columns"]) == (
        ["Guidance 1", "Guidance 3"],
        ["Repetition penalty 1", "Repetition penalty 1.5"],
    )
    assert progress["parts"][1] == "2 batches"  # one for each flow
    for text, measures, settings, prompt in value["cells"]:
        assert text == text_of(model, settings) and prompt == PROMPT
        assert "tokens" in measures


def test_a_third_setting_has_a_grid_for_each_of_its_values(sweeps, model):
    value = grid(sweeps, GUIDANCE, PENALTY, ("seed", "1\n2"))["grid"]
    assert value["sheets"] == ["Seed 1", "Seed 2"] and len(value["cells"]) == 8
    chosen = [tuple(settings[name] for name in ("seed", "guidance", "repetition_penalty")) for *_, settings, _ in
              value["cells"]]  # fmt: skip
    assert chosen == [(seed, guidance, penalty) for seed in (1, 2) for guidance in (1, 3) for penalty in (1, 1.5)]
    assert value["cells"][5][0] == text_of(model, value["cells"][5][2])


@pytest.mark.parametrize("place, side", list(enumerate(("rows", "columns", "sheets"))))
def test_prompts_are_values_like_others(sweeps, model, place, side):
    axes = [("guidance", "1, 3"), ("seed", "1"), ("none", "")]
    axes[place] = ("prompt", "A cat, and a dog\n\n The sun ")
    last = grid(sweeps, *axes)
    value = last["grid"]
    assert value[side] == ["A cat, and a dog", "The sun"]
    assert value["prompts"] == side and value["prompt"] == ""
    for text, _, settings, prompt in value["cells"]:
        assert text == text_of(model, settings, prompt)
    assert {prompt for *_, prompt in value["cells"]} == {"A cat, and a dog", "The sun"}


def test_texts_of_other_prompts_share_a_batch(sweeps):
    last = grid(sweeps, ("prompt", "A cat\nOne day, the big dog and the little boy"), ("seed", "1, 2"))
    assert last["progress"]["parts"][:2] == ["4 texts", "one batch"]


def test_a_changed_grid_writes_only_what_is_new_in_it(sweeps):
    first = grid(sweeps)["grid"]["cells"]
    wider = grid(sweeps, GUIDANCE, ("repetition_penalty", "1.5, 1, 2"))
    assert wider["progress"]["parts"][:3] == ["6 texts", "4 from before", "2 batches"]
    again = grid(sweeps)
    assert again["progress"]["parts"][:2] == ["4 texts", "4 from before"]
    assert again["grid"]["cells"] == first


def test_texts_are_kept_for_their_visitor_alone(sweeps):
    grid(sweeps)
    assert "from before" not in " ".join(grid(sweeps, visitor="another")["progress"]["parts"])


def test_a_sweep_that_is_stopped_says_how_many_texts_are_finished(sweeps):
    assert stopped_after(sweeps, "2 of 4 texts")["progress"]["message"] == "Stopped: 2 of 4 texts are finished."


def test_a_sweep_that_was_stopped_goes_on_where_it_was(sweeps):
    stopped_after(sweeps, "2 of 4 texts")
    assert grid(sweeps)["progress"]["parts"][:3] == ["4 texts", "2 from before", "one batch"]


WRONG = [
    ((("guidance", "1"), ("guidance", "2")), "another setting"),
    ((("guidance", "1"), ("steps", "2"), ("steps", "3")), "another setting"),
    ((("guidance", ""), ("steps", "2")), "without a value, expected at least one"),
    ((("guidance", "1, x"), ("steps", "2")), "numbers"),
    ((("guidance", "1\n1.0"), ("steps", "2")), "twice"),
    ((("guidance", "nan"), ("steps", "2")), "Guidance"),
    ((("guidance", "inf"), ("steps", "2")), "Guidance"),
    ((("seed", "1e400"), ("steps", "2")), "Seed"),
    ((("solver", "rk4"), ("steps", "2")), "euler"),
    ((("steps", "0"), ("guidance", "2")), "Steps a block"),
    ((("steps", "999"), ("guidance", "2")), "at most"),
    ((("nonsense", "1"), ("guidance", "2")), "one of the list"),
    ((("guidance", 3), ("steps", "2")), "one a line"),
    ((([], "1"), ("guidance", "2")), "one of the list"),
    ((("guidance", ",".join(map(str, range(MOST_CELLS + 1)))), ("steps", "2")), "at most"),
    ((("guidance", "1,2,3,4"), ("steps", "1,2,3,4"), ("seed", "1,2,3")), "48 texts, expected at most"),
    ((("max_new_tokens", "1024, 1023"), ("steps", "1, 2, 3")), "tokens"),
    ((("prompt", " \n"), ("steps", "2")), "without a value, expected at least one"),
    ((("prompt", "x\nx"), ("steps", "2")), "twice"),
    ((("prompt", "half \ud800"), ("steps", "2")), "The prompt is .*expected whole Unicode characters"),
]


@pytest.mark.parametrize("axes, note", WRONG)
def test_a_sweep_that_cannot_be_gets_a_sentence(sweeps, axes, note):
    with pytest.raises(ValueError, match=note):
        grid(sweeps, *axes)


@pytest.mark.parametrize("control", [None, "guidance", [], {}])
def test_a_sweep_without_a_setting_gets_a_sentence(sweeps, control):
    with pytest.raises(ValueError, match=r"[Ss]etting"):
        next(sweeps.write(Viewer(VISITOR), {**swept(), "down": control}))


def test_a_sweep_without_a_prompt_gets_a_sentence(sweeps):
    with pytest.raises(ValueError, match="The prompt is"):
        grid(sweeps, prompt=None)


@pytest.mark.parametrize("text", ["4, 16 ", "4\n16", " 4,\r\n16,\n"])
def test_values_stand_one_a_line_or_between_commas(text):
    assert values_from("steps", text) == [4, 16]


def test_values_are_of_the_kind_of_their_setting():
    assert values_from("guidance", "4, 1.5") == [4, 1.5] and values_from("time_grid", "linear") == ["linear"]
    assert values_from("prompt", "One, two\nthree") == ["One, two", "three"]
    assert len(cells_of(SETTINGS, PROMPT, [Axis("steps", (1, 2)), Axis("seed", (1, 2, 3))])) == 6


def test_the_curve_is_the_perplexity_of_all_seeds_and_prompts_of_a_value(sweeps, baseline):
    last = grid(sweeps, GUIDANCE, ("seed", "1, 2, 3"), ("prompt", "A cat\nThe sun"))
    curve = last["curve"]
    ((label, points),) = curve["lines"]
    assert (curve["setting"], curve["values"], label) == ("Guidance", ["1", "3"], "")
    for value, (perplexity, low, high) in zip((1, 3), points, strict=True):
        texts = [Written(prompt, text, False, 6) for text, _, settings, prompt in last["grid"]["cells"]
                 if settings["guidance"] == value]  # fmt: skip
        assert len(texts) == 6
        assert perplexity == pytest.approx(measured(texts, baseline.get("cpu"))["perplexity_per_word"])
        assert low <= perplexity <= high
    assert "6 texts" in curve["about"]


def test_what_the_paper_measured_of_a_setting_stands_beside_the_curve(sweeps):
    published = grid(sweeps, GUIDANCE, ("seed", "1, 2"))["curve"]["published"]
    ((_, points),) = published["lines"]
    assert dict(zip(published["values"], (score for score, *_ in points), strict=True)) == PUBLISHED["guidance"]
    assert "arXiv:2605.06548" in published["about"]
    assert published_curve("repetition_penalty") is None


def test_the_curve_has_a_line_for_every_other_setting(sweeps):
    curve = grid(sweeps, GUIDANCE, PENALTY, ("seed", "1, 2"))["curve"]
    assert [label for label, _ in curve["lines"]] == ["Repetition penalty 1", "Repetition penalty 1.5"]
    assert all(len(points) == 2 for _, points in curve["lines"])


@pytest.mark.parametrize("axes", [(GUIDANCE, PENALTY), (("seed", "1, 2"), GUIDANCE), (GUIDANCE, ("seed", "1"))])
def test_there_is_no_curve_without_texts_that_differ_in_chance_alone(sweeps, axes):
    assert grid(sweeps, *axes)["curve"] is None


def test_the_table_has_a_row_for_every_text_with_its_settings_and_measures(sweeps):
    last = grid(sweeps, ("prompt", "A cat\nThe sun"), GUIDANCE)
    rows = table_of(sweeps.save(VISITOR, last["kept"]))
    assert [(row["prompt"], float(row["guidance"])) for row in rows] == [
        ("A cat", 1), ("A cat", 3), ("The sun", 1), ("The sun", 3),
    ]  # fmt: skip
    assert [row["text"].lstrip("'") for row in rows] == [text.lstrip("'") for text, *_ in last["grid"]["cells"]]
    assert {row["steps"] for row in rows} == {"2"} and all(float(row["seconds"]) > 0 for row in rows)
    assert all(int(row["tokens"]) == 6 for row in rows)


def test_the_table_of_a_sweep_that_was_stopped_has_what_is_finished(sweeps):
    stopped_after(sweeps, "2 of 4 texts")
    assert len(table_of(sweeps.save(VISITOR, {"run": "a-stopped-run"}))) == 2


@pytest.mark.parametrize("kept", [None, {}, {"run": "another"}, {"run": 3}, "x"])
def test_there_is_no_table_without_a_sweep(sweeps, kept):
    grid(sweeps)
    assert not sweeps.save(VISITOR, kept)["data"]
    assert not sweeps.save("another", {"run": "a-run"})["data"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1"])
def test_no_text_of_the_table_is_a_formula(text):
    outcome = Outcome(text, True, 3, 0.5, {"words": 2.0})
    cell = Cell(Recipe("generate", (text,), SETTINGS), text, outcome)
    (row,) = csv.DictReader(io.StringIO(sweep_table([cell]).decode(), newline=""))
    assert row["prompt"] == row["text"] == "'" + text
    assert (row["words"], row["perplexity_per_word"], row["ended"]) == ("2", "", "1")


def test_a_text_comes_out_of_the_table_as_it_is():
    text = 'He said: "one, two;"\n\nand 🌙'
    cell = Cell(Recipe("generate", (PROMPT,), dataclasses.replace(SETTINGS, guidance_interval=(100, 900))), text,
                Outcome(text, False, 3, 0.5))  # fmt: skip
    (row,) = csv.DictReader(io.StringIO(sweep_table([cell]).decode(), newline=""))
    assert (row["text"], row["guidance_interval"]) == (text, "100 to 900")


def test_every_text_has_the_other_texts_of_the_controls(sweeps, model):
    others = {"text": "The dog barked. The big dog ran.", "pull": 1.5, "start": 100, "end": 0, "negative": "A sad cat."}
    controls = {**swept(("seed", "1, 2"), ("steps", "3")), "others": others}
    parts = parts_of(sweeps.write, controls, Viewer(VISITOR, "a-drawn-sweep"))
    options = {"towards": others["text"], "pull": 1.5, "negative": others["negative"]}
    for row, seed in zip(table_of(sweeps.save(VISITOR, parts["kept"])), (1, 2), strict=True):
        recipe = Recipe("generate", (PROMPT,), dataclasses.replace(SETTINGS, seed=seed, steps=3), options=options)
        *_, finished = run(model, recipe)
        assert (row["text"], row["towards"], row["pull"]) == (finished.texts[0], others["text"], "1.5")
        assert row["negative"] == others["negative"]


def test_a_prompt_with_holes_is_refused_in_a_sentence(sweeps):
    with pytest.raises(ValueError, match="a sweep fills no holes"):
        grid(sweeps, prompt="The ___ ran")
