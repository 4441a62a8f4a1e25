"""The views and handlers of the tab Trajectories, as the plain generators and functions that they are."""

import base64
import dataclasses
import itertools
import json
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from app.components.curves import Curves
from app.components.flow_map import FlowMap
from app.components.heat_map import HeatMap
from app.generate.handlers import GenerateHandlers
from app.shared.cloud_holder import CloudHolder
from app.shared.run_facts import run_facts
from app.shared.settings_panel import values_of
from app.shared.trace_store import TRACES, TraceStore
from app.trajectories.exports import look_of
from app.trajectories.handlers import MOST_SHOWN, Explorer, Shown
from app.trajectories.records import RunWriter
from app.trajectories.tab import fit_in_background
from app.trajectories.views import branch_on_map, run_on_map
from coladlm import SamplerSettings
from coladlm.latent.branch import check_fits
from coladlm.latent.reference_cloud import surveyed, with_pca
from coladlm.run import check_model

from ..viewing import Viewer, at_once, controls_of, parts_of

SETTINGS = SamplerSettings(steps=3, max_new_tokens=8, seed=5, guidance=2.0, stop_at_end=False)
ME = "visitor"


@pytest.fixture(scope="module")
def holder(model, short_survey, tmp_path_factory):
    """Charts of the small model by PCA; UMAP is fitted where it is tested."""
    holder = CloudHolder(model, tmp_path_factory.mktemp("none") / "cloud.npz", tmp_path_factory.mktemp("cache"))
    assert holder.charts is None
    shares = [share for share, _ in holder.survey()]
    holder.draw()
    assert shares == sorted(shares)
    return holder


@pytest.fixture
def explorer(model, holder, scheduler):
    return Explorer(model, holder, TraceStore(), scheduler)


@pytest.fixture(scope="module")
def looked_at(model, holder, scheduler):
    """An explorer with a run, and the id of the run, for tests that change neither."""
    explorer = Explorer(model, holder, TraceStore(), scheduler)
    [id_] = chosen(run(explorer)[-1])
    return explorer, id_


NUMBERS = itertools.count(1)


def viewer(visitor=ME):
    """The context of one more run, under an id of its own."""
    return Viewer(visitor, f"run-of-a-test-{next(NUMBERS)}")


def frames_of(view, explorer, context, controls):
    """What stands after every frame of a view, and at its end."""
    parts, shown = {}, []
    for frame in view(explorer, context, controls):
        parts = {**parts, **frame}
        shown.append(parts)
    for frame in context.shown:
        parts = {**parts, **frame}
    return [*(one for one in shown if "flow" in one), parts]


def run(explorer, prompt="The cat sat", add=False, ids=(), settings=SETTINGS, visitor=ME):
    controls = controls_of(settings, prompt=prompt, add=add, chosen=list(ids))
    return frames_of(run_on_map, explorer, viewer(visitor), controls)


def stopped(view, explorer, controls, lines):
    """(id, last frame) of a run that is stopped at the frame with so many lines on the map."""
    context = viewer()
    running = view(explorer, context, controls)
    while "flow" not in (frame := next(running)) or len(records(frame["flow"])) < lines:
        continue
    running.close()
    return context.id, context.shown[-1]


def records(flow):
    return [json.loads(line) for line in flow["lines"].splitlines()]


def chosen(parts):
    return parts["kept"]["shown"]


def test_a_run_grows_by_whole_lines_and_ends_as_its_trace(explorer):
    shown = run(explorer)
    texts = [values["flow"]["lines"] for values in shown]
    assert all(later.startswith(sooner) for sooner, later in itertools.pairwise(texts))
    assert [values["flow"]["state"] for values in shown] == ["running"] * (len(shown) - 1) + ["done"]
    lines = records(shown[-1]["flow"])
    assert [line["is"] for line in lines] == ["run"] + ["state"] * 4 * 2
    again = records(explorer.show(ME, chosen(shown[-1])).flow)
    assert again[0] == lines[0]
    for grown, recorded in zip(lines[1:], again[1:], strict=True):
        assert grown["words"] == recorded["words"]
        assert grown["at"] == recorded["at"]


def test_a_state_lies_where_the_map_places_it(explorer, holder):
    shown = run(explorer)
    [id_] = chosen(shown[-1])
    trace = explorer.store.get(ME, id_).trace
    state = next(line for line in records(shown[-1]["flow"])[1:] if (line["block"], line["step"]) == (1, 2))
    packed = np.frombuffer(base64.b64decode(state["at"]["pca"]), "<i2").reshape(-1, 3)
    placed = holder.charts.cloud.pca.place(trace.z[0, 1, 2])
    np.testing.assert_allclose(packed * holder.charts.units["pca"], placed, atol=holder.charts.units["pca"])
    assert state["noise"] == pytest.approx(trace.t[0, 1, 2] / 10, abs=0.01)
    assert state["ids"] == [[token] for token in trace.preview_ids[0, 1, 2].tolist()]


@pytest.mark.parametrize("tokens", [6, 8, 9])
def test_the_places_of_the_text_are_the_answer(explorer, model, tokens):
    prompt = "Once upon a time there was"
    settings = dataclasses.replace(SETTINGS, max_new_tokens=tokens)
    shown = run(explorer, prompt, settings=settings)
    [id_] = chosen(shown[-1])
    skip = len(model.tokenize(prompt)) % 4
    assert skip
    ends = [line for line in records(shown[-1]["flow"])[1:] if line["last"]]
    ids = [token for line in ends for place in line["ids"][: line["text"]] for token in place]
    assert ids[skip:] == explorer.store.get(ME, id_).trace.answers[0]


@pytest.mark.parametrize("complete", [False, True])
def test_the_progress_of_umaps_is_told_and_that_they_have_come(complete):
    cloud = SimpleNamespace(charts=object(), complete=complete, fit=lambda: iter([(0.25, "a"), (1.0, "b")]))
    told = list(fit_in_background(SimpleNamespace(cloud=cloud)))
    notes, come = [note["message"] for note, _ in told], [value for _, value in told]
    assert notes == ([] if complete else ["In the background, 25%: a", "In the background, 100%: b", ""])
    assert [value is True for value in come] == ([] if complete else [False, False, True])


def test_a_text_that_ends_inside_a_character_has_its_last_byte_on_the_map(explorer):
    broken = 0
    for tokens in range(3, 9):
        shown = run(explorer, "Once upon", settings=dataclasses.replace(SETTINGS, steps=1, max_new_tokens=tokens))
        [id_] = chosen(shown[-1])
        trace = explorer.store.get(ME, id_).trace
        for lines in (records(shown[-1]["flow"]), records(explorer.show(ME, [id_]).flow)):
            ends = [line for line in lines[1:] if line["last"]]
            words = "".join(word for line in ends for word in line["words"][: line["text"]])
            assert words.endswith(trace.texts[0])
        broken += trace.texts[0].endswith("\ufffd")
    assert 0 < broken < 6


def test_a_sentence_that_is_left_out_is_off_the_map_when_the_run_ends(explorer):
    """As it is when the run is opened again; while it is written nobody knows yet whether it will be whole."""
    for seed in (20, *range(60)):  # of the small model, few of whose texts have the end of a sentence: 20 is one
        settings = dataclasses.replace(SETTINGS, seed=seed, max_new_tokens=16, steps=1, whole_sentences=True)
        *_, live, last = run(explorer, "The cat sat on", settings=settings)
        [id_] = chosen(last)
        written = [sum(line.get("text", 0) for line in records(parts["flow"])) for parts in (live, last)]
        if len(explorer.store.get(ME, id_).trace.answers[0]) < 16:
            break
    assert written[1] < written[0]
    assert last["flow"]["lines"] == explorer.show(ME, chosen(last)).flow["lines"]


def test_what_comes_after_an_end_token_is_no_text(model, holder):
    writer = RunWriter(holder.charts, "a", "A", "", dataclasses.replace(SETTINGS, stop_at_end=True))
    block = np.zeros((4, model.latent_dim))
    line = json.loads(writer.state(0, 3, 3, np.zeros(4), block, ids=[5, model.end_ids[0], 6, 7], confidence=np.ones(4)))
    assert line["text"] == 1


@pytest.mark.parametrize(
    "prompt", ["", "   ", "👩‍🚀🎈", "שלום עולם", "<img src=x onerror=alert(1)>", "{{x}} ${y} `z`", "a\nb\n"]
)
def test_any_prompt_runs_and_stands_as_it_is(explorer, prompt):
    shown = run(explorer, prompt)
    assert shown[-1]["progress"]["state"] == "done"
    assert records(shown[-1]["flow"])[0]["prompt"] == prompt


def test_two_runs_stand_on_one_map_each_under_its_name(explorer):
    first = run(explorer)
    second = run(explorer, "The dog ran", add=True, ids=chosen(first[-1]))
    heads = [line for line in records(second[-1]["flow"]) if line["is"] == "run"]
    assert [head["prompt"] for head in heads] == ["The cat sat", "The dog ran"]
    assert len({head["run"] for head in heads}) == 2
    assert len(second[-1]["curves"]["runs"]) == 2


def test_a_map_has_room_for_a_few_runs(explorer):
    ids = []
    for _ in range(MOST_SHOWN + 1):
        ids = chosen(run(explorer, add=True, ids=ids)[-1])
    assert len(ids) == MOST_SHOWN


START = controls_of(SETTINGS, prompt="The cat sat", add=False, chosen=[])


def test_a_run_that_is_stopped_is_a_run(explorer, every_step):
    id_, last = stopped(run_on_map, explorer, START, 3)
    assert explorer.store.get(ME, id_).trace.stopped
    assert chosen(last) == [id_]
    assert last["flow"]["state"] == last["progress"]["state"] == "stopped"
    assert last["progress"]["message"] == "Stopped after 4 tokens, all still forming."
    states = records(last["flow"])[1:]
    assert states and states == records(explorer.show(ME, [id_]).flow)[1:]
    assert len(last["curves"]["runs"]) == 1
    assert [i for _, i in explorer.store.choices(ME)] == [id_]


def test_a_run_that_is_stopped_before_its_first_step_leaves_the_map_as_it_was(explorer):
    _, last = stopped(run_on_map, explorer, START, 1)
    assert last["flow"]["state"] == "empty"
    assert last["progress"]["message"] == "Stopped before it began."
    assert "kept" not in last
    assert explorer.store.choices(ME) == []
    own = run(explorer)[-1]
    _, last = stopped(run_on_map, explorer, {**START, "chosen": chosen(own)}, 1)
    assert last["flow"]["state"] == "done" and records(last["flow"])[0]["run"] == chosen(own)[0]


def test_runs_that_come_to_nothing_take_no_number(explorer):
    shown = run(explorer)
    view = run_on_map(explorer, viewer(), controls_of(SETTINGS, prompt="The cat", add=False, chosen=[]))
    while "flow" not in next(view):
        continue
    view.close()
    with pytest.raises(ValueError, match="half"):
        run(explorer, prompt="half a character: \ud800")
    labels = [records(one["flow"])[0]["label"] for one in (shown[-1], run(explorer)[-1])]
    assert [int(label.split(" · ")[0]) for label in labels] == [1, 2]


def test_each_run_has_an_id_of_its_own_from_its_first_frame_on(explorer):
    """The map takes frames of a run that was stopped for late ones: it knows them by the id."""
    first, second = run(explorer), run(explorer)
    for frames in (first, second):
        ids = {values["flow"]["run"] for values in frames}
        assert ids == {records(frames[0]["flow"])[0]["run"]} == set(chosen(frames[-1]))
    assert chosen(first[-1]) != chosen(second[-1])
    assert second[0]["flow"]["began"] > first[-1]["flow"]["began"]


def test_a_wrong_setting_is_a_sentence(explorer):
    values = values_of(SETTINGS)
    values[2] = 0  # steps
    with pytest.raises(ValueError, match=r"^Steps a block is 0, .*\.$"):
        run(explorer, settings=values)


def test_a_prompt_with_holes_is_referred_to_generate(explorer):
    with pytest.raises(ValueError, match=r"^The prompt is one with holes, expected one to go on from: Generate fills"):
        run(explorer, "The ___ ran home.")


@pytest.mark.parametrize("prompt", [None, 7, ["a"]])
def test_a_prompt_that_is_no_text_is_a_sentence(explorer, prompt):
    with pytest.raises(ValueError, match=r"\.$"):
        run(explorer, prompt)


def test_a_visitor_sees_no_run_of_another(looked_at):
    explorer, id_ = looked_at
    assert explorer.store.get("another", id_) is None
    assert explorer.show("another", [id_]).flow["state"] == "empty"


def test_recorded_runs_belong_to_everybody_and_are_the_bundleds(bundled):
    store = TraceStore(TRACES)
    assert store.choices("somebody") == store.shipped
    assert len(store.shipped) >= 1
    for _, id_ in store.shipped:
        trace = store.get("somebody", id_).trace
        check_fits(bundled, trace)
        assert check_model(bundled, trace.recipe) is None, "write them anew: assets/traces/README.md"


def test_recorded_runs_that_this_model_cannot_read_are_not_offered(model, holder, scheduler):
    explorer = Explorer(model, holder, TraceStore(TRACES), scheduler)
    ids = [id_ for _, id_ in explorer.store.shipped]
    assert explorer.recorded() == []
    assert explorer.show(ME, ids).flow["state"] == "empty"
    assert explorer.first(ME, []) == Shown()
    assert explorer.first(ME, ids[:1]).choices.value == []
    assert chosen(run(explorer)[-1]) and explorer.choices(ME, ids).value == []


def test_recorded_runs_are_offered_by_the_model_that_made_them(bundled, tmp_path, scheduler):
    explorer = Explorer(bundled, CloudHolder(bundled, cache=tmp_path), TraceStore(TRACES), scheduler)
    assert explorer.recorded() == explorer.store.shipped
    ids = [id_ for _, id_ in explorer.store.shipped]
    shown = explorer.first(ME, ids[:2])
    assert [run["label"] for run in shown.curves["runs"]] == [label for label, _ in explorer.store.shipped[:2]]
    assert shown.flow["state"] == "done" and [id_ for _, id_ in shown.choices.choices] == ids


def test_a_run_of_another_model_is_shown_and_said_to_be_one(explorer):
    trace = explorer.store.get(ME, chosen(run(explorer)[-1])[0]).trace
    foreign = dataclasses.replace(trace, recipe=dataclasses.replace(trace.recipe, model="another"))
    added = explorer.store.add(ME, "foreign", foreign)
    assert "Made with another model" in explorer.show(ME, [added.id]).progress["message"]


# points and branches


def opened(explorer, id_, block, step, place):
    """The card of a point, and the point."""
    card = explorer.open(ME, id_, block, step, place)
    return card, card["point"]


def test_a_point_is_told_with_its_words_distances_and_reach(looked_at):
    explorer, id_ = looked_at
    card, point = opened(explorer, id_, 1, 1, 2)
    assert point == {"run": id_, "block": 1, "step": 1, "place": 2}
    assert card["title"] == "Block 2, place 3, before step 2 of 3, noise 67 %, t = 667"
    assert len(card["read"]) == 5
    assert len(card["near"]) == 8
    distances = [float(far) for _, far in card["near"]]
    assert distances == sorted(distances)


def test_the_end_of_a_path_is_a_point_too(looked_at):
    explorer, id_ = looked_at
    card, point = opened(explorer, id_, 0, 3, 3)
    assert point["step"] == 3
    assert card["title"].endswith("at its end, noise 0 %")
    assert "step back within the block" in card["about"]


@pytest.mark.parametrize("spot", [(9, 0, 0), (0, 0, 9), (0, -1, 0), ("0", 0, 0), (True, 0.5, 0)])
def test_a_point_that_is_on_no_path_is_refused(looked_at, spot):
    explorer, id_ = looked_at
    with pytest.raises(ValueError, match="the point is not on this run"):
        explorer.open(ME, id_, *spot)


def branch(explorer, id_, noise="same", guidance=2.0, steps=3, spot=(1, 1, 0), seed=7):
    point = {"run": id_, "block": spot[0], "step": spot[1], "place": spot[2]}
    controls = {"card": {"point": point}, "noise": noise, "seed": seed, "guidance": guidance, "steps": steps}
    return frames_of(branch_on_map, explorer, viewer(), {**controls, "chosen": [id_]})


def test_a_branch_that_changes_nothing_ends_as_its_run_and_joins_the_map(explorer):
    [id_] = chosen(run(explorer)[-1])
    shown = branch(explorer, id_)
    assert shown[-1]["progress"]["state"] == "done", shown[-1]["progress"]
    old, new = (explorer.store.get(ME, i).trace for i in chosen(shown[-1]))
    np.testing.assert_array_equal(new.token_ids[0], old.token_ids[0])
    assert new.texts == old.texts
    heads = [line for line in records(shown[-1]["flow"]) if line["is"] == "run"]
    assert heads[1]["branch"] == {"run": id_, "block": 1, "step": 1}


def test_what_goes_on_as_it_was_is_told_from_a_branch(looked_at):
    explorer, id_ = looked_at
    card = explorer.open(ME, id_, 1, 1, 0)
    changes = [("same", 2.0, 3), ("other", 2.0, 3), ("same", 1.0, 3), ("same", 2.0, 4)]
    assert [explorer.resumes(ME, card, *change) for change in changes] == [True, False, False, False]
    assert explorer.resumes(ME, None, "same", 1.0, 1)


def test_a_branch_with_other_noise_shares_what_was_before(explorer):
    [id_] = chosen(run(explorer)[-1])
    shown = branch(explorer, id_, "other")
    old, new = (explorer.store.get(ME, i).trace for i in chosen(shown[-1]))
    np.testing.assert_array_equal(new.z[0, 0], old.z[0, 0])
    np.testing.assert_array_equal(new.z[0, 1, 0], old.z[0, 1, 0])
    assert not np.allclose(new.latents[0, 1], old.latents[0, 1])


def test_a_branch_with_more_steps_can_be_shown_and_branched_again(explorer):
    [id_] = chosen(run(explorer)[-1])
    ids = chosen(branch(explorer, id_, steps=6)[-1])
    again = branch(explorer, ids[1], steps=6, spot=(1, 4, 0))
    assert again[-1]["progress"]["state"] == "done", again[-1]["progress"]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"guidance": None}, "Guidance"),
        ({"steps": 2.5}, "Steps"),
        ({"steps": 9999}, "steps"),
        ({"spot": (0, 3, 0)}, "end of its block"),
        ({"noise": "other", "seed": 1.5}, "Seed of the noise is 1.5, expected a whole number"),
        ({"noise": "other", "seed": None}, "Seed of the noise is empty"),
        ({"noise": "other", "seed": -1}, "seed is -1, expected"),
        ({"noise": "other", "seed": 2**53}, "seed is 9007199254740992, expected"),
        ({"noise": "other", "seed": 10**400}, "expected a number"),
    ],
)
def test_a_branch_that_cannot_be_is_a_sentence(looked_at, change, note):
    explorer, id_ = looked_at
    with pytest.raises(ValueError) as error:
        branch(explorer, id_, **change)
    assert note.lower() in str(error.value).lower()


POINTS = [None, {}, {"point": None}, {"point": 3}, {"point": {"run": "x"}}, "card",
          {"point": {"run": "not there", "block": 0, "step": 0, "place": 0}},
          {"point": {"run": ["x"], "block": 0, "step": 0, "place": 0}},
          {"point": {"run": "x", "block": "0", "step": 0, "place": 0}},
          {"point": {"run": "x", "block": 0, "step": -1, "place": 0}}]  # fmt: skip


@pytest.mark.parametrize("card", POINTS, ids=str)
def test_a_branch_from_what_is_no_point_is_a_sentence(explorer, card):
    controls = {"card": card, "noise": "same", "seed": 1, "guidance": 1.0, "steps": 3, "chosen": []}
    with pytest.raises(ValueError, match=r"^The (point|run) to branch from is .*expected one.*\.$"):
        frames_of(branch_on_map, explorer, viewer(), controls)


def test_a_branch_that_is_stopped_is_a_run(explorer, every_step):
    [parent] = chosen(run(explorer)[-1])
    controls = {"card": explorer.open(ME, parent, 1, 1, 0), "noise": "other", "seed": 7, "guidance": 2.0, "steps": 3}
    of_parent, before = 1 + 2 * 4, 1 + 4 + 1  # lines of the parent, and those of the branch before it left
    id_, last = stopped(branch_on_map, explorer, {**controls, "chosen": [parent]}, of_parent + before + 1)
    assert chosen(last) == [parent, id_]
    assert last["progress"]["state"] == "stopped"
    assert explorer.find(ME, id_).branch == {"run": parent, "block": 1, "step": 1}
    assert explorer.show(ME, chosen(last)).flow["state"] == "done"


def test_a_point_of_a_run_under_way_says_that_it_is(explorer):
    context = viewer()
    running = run_on_map(explorer, context, START)
    while "flow" not in next(running):
        continue
    card = explorer.open(ME, context.id, 0, 0, 0)
    running.close()
    assert card["title"] == "This run is still being written"
    assert card["point"] is None


# a run of the tab Generate


def sent(explorer, sequence=0, variations=3):
    """A run as the tab Generate keeps it."""
    store = TraceStore()
    desk = GenerateHandlers(explorer.model, store, explorer.scheduler, None)
    written = parts_of(desk.write, controls_of(SETTINGS, prompt="The cat sat", variations=variations), viewer())
    return desk.kept(ME, {**written["kept"], "sequence": sequence})


def test_the_path_of_a_word_is_opened_in_its_block(explorer):
    made = sent(explorer)
    shown, card = explorer.path_of(ME, made, 1, 2)
    at = {"run": made.id, "block": 1, "step": 3, "place": 2}
    assert {name: shown.flow["choose"][name] for name in at} == at == card["point"]
    again, _ = explorer.path_of(ME, made, 1, 2)
    assert again.flow["choose"]["time"] != shown.flow["choose"]["time"], "the same word a second time is shown again"


def test_a_run_that_is_sent_twice_is_there_once_under_its_own_id(explorer):
    made = sent(explorer)
    for word in (0, 1, 2):
        explorer.path_of(ME, made, 1, word)
    assert [id_ for _, id_ in explorer.store.choices(ME)] == [made.id]
    assert explorer.find(ME, made.id).trace is made.trace, "no copy of it"


def test_another_variation_of_a_run_is_another_run_on_the_map(explorer):
    made = sent(explorer)
    for sequence in (0, 2):
        explorer.path_of(ME, dataclasses.replace(made, sequence=sequence), 1, 1)
    assert sorted(explorer.find(ME, id_).sequence for _, id_ in explorer.store.choices(ME)) == [0, 2]


# visitors without cookies


def test_a_visitor_without_cookies_is_known_by_each_run_alone(explorer):
    nobody = "run "
    first = viewer()
    first.visitor = f"run {first.id}"
    controls = controls_of(SETTINGS, prompt="The cat", add=True, chosen=[])
    frames_of(run_on_map, explorer, first, controls)
    second = viewer()
    second.visitor = f"run {second.id}"
    last = frames_of(run_on_map, explorer, second, {**controls, "chosen": [first.id]})[-1]
    assert chosen(last) == [first.id, second.id]
    assert len(explorer.runs(nobody, chosen(last))) == 2
    assert explorer.choices(nobody, chosen(last)).value == chosen(last)
    assert explorer.open(nobody, second.id, 0, 0, 0)["point"]
    assert explorer.store.choices(nobody) == []


# files


@pytest.fixture
def saved_run(looked_at, tmp_path):
    explorer, id_ = looked_at
    file = tmp_path / "run.npz"
    explorer.store.get(ME, id_).trace.save(file)
    return file


def test_a_trace_that_was_saved_opens_again(explorer, saved_run):
    shown = explorer.upload("another", str(saved_run))
    assert shown.flow["state"] == "done"
    assert shown.progress["message"] == "Opened."


def test_three_visitors_open_the_same_file_at_once(explorer, saved_run):
    """Gradio keeps equal uploads as one file: none of the visitors may take it away from the others."""
    visitors = ("one", "two", "three")
    shown = at_once(*(lambda v=v: explorer.upload(v, str(saved_run)) for v in visitors))
    assert [one.progress["message"] for one in shown] == ["Opened."] * 3
    assert all(len(explorer.store.choices(visitor)) == 1 for visitor in visitors)


def _pickled(file):
    np.savez(file, z=np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _other_shape(file):
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    np.savez(file, **{**kept, "z": kept["z"][..., :-1]})


def _with_nan(file):
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept["z"][0, 0, 0, 0, 0] = np.nan
    np.savez(file, **kept)


DAMAGES = {
    "binary": lambda file: file.write_bytes(bytes(range(256)) * 20),
    "text": lambda file: file.write_text("no trace at all"),
    "empty": lambda file: file.write_bytes(b""),
    "bare pickle": lambda file: file.write_bytes(pickle.dumps({"a": 1})),
    "pickle inside": _pickled,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:2000]),
    "other shape": _other_shape,
    "not a number": _with_nan,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_no_trace_is_a_sentence(explorer, saved_run, damage):
    DAMAGES[damage](saved_run)
    shown = explorer.upload(ME, str(saved_run))
    assert shown.progress["state"] == "error"
    note = shown.progress["message"]
    assert note.endswith(".")
    assert str(saved_run.parent) not in note


def test_a_file_that_is_too_large_is_a_sentence(explorer, saved_run):
    with open(saved_run, "wb") as file:
        file.truncate(100 << 20)
    note = explorer.upload(ME, str(saved_run)).progress["message"]
    assert "104,857,600 bytes" in note


def saved(explorer, kind, ids, **page):
    value = explorer.save(ME, kind, ids, **page)
    return base64.b64decode(value["data"])


def test_measures_are_saved_as_a_table(looked_at):
    explorer, id_ = looked_at
    rows = saved(explorer, "csv", [id_]).decode().splitlines()
    assert rows[0].startswith("run,block,place,step,t,word,confidence")
    trace = explorer.store.get(ME, id_).trace
    assert len(rows) == 1 + int(((trace.t[0] > 0) & trace.active[0][:, None, None]).sum())


def test_a_trace_is_saved_as_it_can_be_opened(explorer, looked_at, tmp_path):
    made, id_ = looked_at
    file = tmp_path / "again.npz"
    file.write_bytes(saved(made, "npz", [id_]))
    assert explorer.upload(ME, str(file)).flow["state"] == "done"


def test_an_exported_page_asks_nobody_and_ends_no_script_early(explorer):
    [id_] = chosen(run(explorer, "</script><script>alert(1)</script>")[-1])
    page = saved(explorer, "html", [id_]).decode()
    assert "<script>alert(1)" not in page
    assert all(part.script() in page for part in (FlowMap, HeatMap, Curves))
    assert '"summary":"1' in page, "the curves have their numbers"
    assert "src=" not in page.split("<body>")[0]


def test_an_exported_page_says_what_it_shows_and_opens_as_the_map_was_looked_at(explorer):
    [id_] = chosen(run(explorer, "Once upon a <b>time")[-1])
    look = {"chart": "umap", "dims": 3, "trails": True, "chosen": {"run": id_, "block": 0, "place": 1, "more": 1}}
    page = saved(explorer, "html", [id_], look=look, address="https://example.org/app/?old=1").decode()
    assert "<h1>Flow map</h1>" in page
    facts = run_facts(explorer.model, explorer.store.get(ME, id_).trace.recipe)
    assert f"Once upon a &lt;b&gt;time</q>: {facts['model']}, {facts['line']}. " in page
    assert f'<a href="https://example.org/app/{facts["query"]}&amp;tab=trajectories">' in page
    assert f'"chosen":{{"run":"{id_}","block":0,"place":1}}' in page and '"chart":"umap","dims":3' in page
    assert page.count("data:font/woff2") == 2 and "prefers-color-scheme: dark" in page


def test_what_is_no_look_and_no_address_is_left_out_of_a_page(looked_at):
    assert look_of({"chart": "</script>", "dims": 2}) is look_of(None) is look_of({"chart": "pca", "dims": [2]}) is None
    looked = look_of({"chart": "pca", "dims": 2, "clean": "yes", "chosen": {"run": "r", "block": "0", "place": 0}})
    assert looked["clean"] is False and looked["chosen"] is None
    explorer, id_ = looked_at
    for address in ("javascript:alert(1)", None, 7, "http://[", "https://" + "a" * 3000):
        page = saved(explorer, "html", [id_], address=address).decode()
        assert "<a " not in page.split('<div class="caption">')[1].split("</div>")[0]


def test_nothing_on_the_map_is_nothing_to_save(explorer):
    value = explorer.save(ME, "html", [])
    assert value["data"] == ""
    assert value["message"] == "There is no run on the map to save."


# the map of another model


def test_a_cloud_is_kept_for_the_next_start(model, short_survey, tmp_path):
    cloud = None
    for _, _, survey in surveyed(model, ["The cat sat on the mat"] * 40):
        cloud = survey
    holder = CloudHolder(model, tmp_path / "none.npz", tmp_path)
    holder._keep(with_pca(cloud))
    again = CloudHolder(model, tmp_path / "none.npz", tmp_path)
    assert again.charts is not None
    assert not again.complete


def test_a_cloud_of_another_model_is_not_used(model, tmp_path, holder):
    file = tmp_path / "cloud.npz"
    holder.charts.cloud.save(file)
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    about = json.loads(bytes(kept["about"])) | {"fingerprint": "another"}
    np.savez(file, **{**kept, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    assert CloudHolder(model, file, tmp_path).charts is None
    shutil.rmtree(tmp_path)
