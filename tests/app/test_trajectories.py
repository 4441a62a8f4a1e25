"""The handlers of the tab Trajectories, as the plain generators that they are."""

import base64
import dataclasses
import itertools
import json
import pickle
import shutil

import gradio as gr
import numpy as np
import pytest

from app.cloud import CloudHolder
from app.components.curves import Curves
from app.components.flow_map import FlowMap
from app.components.heat_map import HeatMap
from app.explorer import MOST_SHOWN, Explorer, Shown
from app.flow_records import RunWriter
from app.settings_panel import values_of
from app.trace_store import TraceStore
from app.trajectories import TRACES
from coladlm import SamplerSettings
from coladlm.latent.branch import check_fits
from coladlm.latent.reference_cloud import surveyed, with_pca
from coladlm.run import check_model

SETTINGS = SamplerSettings(steps=3, max_new_tokens=8, seed=5, guidance=2.0, stop_at_end=False)
ME = "visitor"


@pytest.fixture(scope="module")
def holder(model, tmp_path_factory):
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


def run(explorer, prompt="The cat sat", add=False, ids=(), settings=SETTINGS, visitor=ME):
    return list(explorer.run(visitor, prompt, add, list(ids), *values_of(settings)))


def records(flow):
    return [json.loads(line) for line in flow["lines"].splitlines()]


def chosen(shown):
    return shown.choices.value if isinstance(shown.choices, gr.CheckboxGroup) else shown.choices["value"]


def test_a_run_grows_by_whole_lines_and_ends_as_its_trace(explorer):
    shown = run(explorer)
    texts = [values.flow["lines"] for values in shown[:-1]]
    assert all(later.startswith(sooner) for sooner, later in itertools.pairwise(texts))
    assert [values.flow["state"] for values in shown] == ["running"] * (len(shown) - 1) + ["done"]
    lines = records(shown[-1].flow)
    assert [line["is"] for line in lines] == ["run"] + ["state"] * 4 * 2
    live = [{**line, "run": lines[0]["run"]} for line in records(shown[-2].flow)[1:]]
    for grown, recorded in zip(live, lines[1:], strict=True):
        assert grown["words"] == recorded["words"]
        assert grown["at"] == recorded["at"]


def test_a_state_lies_where_the_map_places_it(explorer, holder):
    shown = run(explorer)
    [id_] = chosen(shown[-1])
    trace = explorer.store.get(ME, id_).trace
    state = next(line for line in records(shown[-1].flow)[1:] if (line["block"], line["step"]) == (1, 2))
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
    ends = [line for line in records(shown[-1].flow)[1:] if line["last"]]
    ids = [token for line in ends for place in line["ids"][: line["text"]] for token in place]
    assert ids[skip:] == explorer.store.get(ME, id_).trace.answers[0]


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
    assert shown[-1].progress["state"] == "done"
    assert records(shown[-1].flow)[0]["prompt"] == prompt


def test_two_runs_stand_on_one_map_each_under_its_name(explorer):
    first = run(explorer)
    second = run(explorer, "The dog ran", add=True, ids=chosen(first[-1]))
    heads = [line for line in records(second[-1].flow) if line["is"] == "run"]
    assert [head["prompt"] for head in heads] == ["The cat sat", "The dog ran"]
    assert len({head["run"] for head in heads}) == 2
    assert len(second[-1].curves["runs"]) == 2


def test_a_map_has_room_for_a_few_runs(explorer):
    ids = []
    for _ in range(MOST_SHOWN + 1):
        ids = chosen(run(explorer, add=True, ids=ids)[-1])
    assert len(ids) == MOST_SHOWN


def test_a_run_that_is_stopped_is_kept_as_far_as_it_came(explorer):
    running = explorer.run(ME, "The cat sat", False, [], *values_of(SETTINGS))
    for _ in range(3):
        next(running)
    running.close()
    [(_, id_)] = explorer.store.choices(ME)
    assert explorer.store.get(ME, id_).trace.stopped
    assert explorer.show(ME, [id_]).flow["state"] == "done"


def test_a_wrong_setting_is_a_sentence(explorer):
    values = values_of(SETTINGS)
    values[2] = 0  # steps
    [shown] = explorer.run(ME, "The cat", False, [], *values)
    assert shown.progress["state"] == "error"
    assert shown.progress["message"].endswith(".")


def test_a_visitor_sees_no_run_of_another(explorer):
    [id_] = chosen(run(explorer)[-1])
    assert explorer.store.get("another", id_) is None
    assert explorer.show("another", [id_]).flow["state"] == "empty"
    explorer.store.forget(ME)
    assert explorer.store.get(ME, id_) is None


def test_recorded_runs_belong_to_everybody_and_are_the_bundleds(bundled):
    store = TraceStore(TRACES)
    assert store.choices("somebody") == store.shipped
    assert len(store.shipped) >= 1
    for _, id_ in store.shipped:
        trace = store.get("somebody", id_).trace
        check_fits(bundled, trace)
        assert check_model(bundled, trace.recipe) is None, "write them anew: assets/traces/README.md"


def test_recorded_runs_that_this_model_cannot_read_are_not_offered(model, holder):
    explorer = Explorer(model, holder, TraceStore(TRACES))
    ids = [id_ for _, id_ in explorer.store.shipped]
    assert explorer.recorded() == []
    assert explorer.show(ME, ids).flow["state"] == "empty"
    assert explorer.first(ME) == Shown()
    assert chosen(run(explorer)[-1]) and explorer.choices(ME, ids).value == []


def test_recorded_runs_are_offered_by_the_model_that_made_them(bundled, tmp_path):
    explorer = Explorer(bundled, CloudHolder(bundled, cache=tmp_path), TraceStore(TRACES))
    assert explorer.recorded() == explorer.store.shipped
    shown = explorer.first(ME)
    assert shown.flow["state"] == "done" and chosen(shown) == [explorer.store.shipped[0][1]]


def test_a_run_of_another_model_is_shown_and_said_to_be_one(explorer):
    trace = explorer.store.get(ME, chosen(run(explorer)[-1])[0]).trace
    foreign = dataclasses.replace(trace, recipe=dataclasses.replace(trace.recipe, model="another"))
    added = explorer.store.add(ME, "foreign", foreign)
    assert "Made with another model" in explorer.show(ME, [added.id]).progress["message"]


# points and branches


def test_a_point_is_told_with_its_words_distances_and_reach(explorer):
    [id_] = chosen(run(explorer)[-1])
    card, point = explorer.open(ME, id_, 1, 1, 2)
    assert point == {"run": id_, "block": 1, "step": 1, "place": 2}
    assert card["title"] == "Block 2, place 3, before step 2 of 3, noise 67 %, t = 667"
    assert len(card["read"]) == 5
    assert len(card["near"]) == 8
    distances = [float(far) for _, far in card["near"]]
    assert distances == sorted(distances)


def test_the_end_of_a_path_is_a_point_too(explorer):
    [id_] = chosen(run(explorer)[-1])
    card, point = explorer.open(ME, id_, 0, 3, 3)
    assert point["step"] == 3
    assert card["title"].endswith("at its end, noise 0 %")
    assert "step back within the block" in card["about"]


@pytest.mark.parametrize("spot", [(9, 0, 0), (0, 0, 9), (0, -1, 0), ("0", 0, 0), (True, 0.5, 0)])
def test_a_point_that_is_on_no_path_is_refused(explorer, spot):
    [id_] = chosen(run(explorer)[-1])
    with pytest.raises(ValueError, match="the point is not on this run"):
        explorer.open(ME, id_, *spot)


def branch(explorer, id_, noise="same", guidance=2.0, steps=3, spot=(1, 1, 0), seed=7):
    point = {"run": id_, "block": spot[0], "step": spot[1], "place": spot[2]}
    return list(explorer.branch(ME, point, noise, seed, guidance, steps, [id_]))


def test_a_branch_that_changes_nothing_ends_as_its_run_and_joins_the_map(explorer):
    [id_] = chosen(run(explorer)[-1])
    shown = branch(explorer, id_)
    assert shown[-1].progress["state"] == "done", shown[-1].progress
    old, new = (explorer.store.get(ME, i).trace for i in chosen(shown[-1]))
    np.testing.assert_array_equal(new.token_ids[0], old.token_ids[0])
    assert new.texts == old.texts
    heads = [line for line in records(shown[-1].flow) if line["is"] == "run"]
    assert heads[1]["branch"] == {"run": id_, "block": 1, "step": 1}


def test_what_goes_on_as_it_was_is_told_from_a_branch(explorer):
    [id_] = chosen(run(explorer)[-1])
    _, point = explorer.open(ME, id_, 1, 1, 0)
    changes = [("same", 2.0, 3), ("other", 2.0, 3), ("same", 1.0, 3), ("same", 2.0, 4)]
    assert [explorer.resumes(ME, point, *change) for change in changes] == [True, False, False, False]
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
    assert again[-1].progress["state"] == "done", again[-1].progress


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_a_branch_that_cannot_be_is_a_sentence(explorer, change, said):
    [id_] = chosen(run(explorer)[-1])
    [shown] = branch(explorer, id_, **change)
    assert shown.progress["state"] == "error"
    assert said.lower() in shown.progress["message"].lower()


def test_a_branch_from_nothing_is_a_sentence(explorer):
    [shown] = explorer.branch(ME, None, "same", 1, 1.0, 3, [])
    assert "open a point of a path first" in shown.progress["message"]


# files


@pytest.fixture
def saved_run(explorer, tmp_path):
    [id_] = chosen(run(explorer)[-1])
    file = tmp_path / "run.npz"
    explorer.store.get(ME, id_).trace.save(file)
    return file


def test_a_trace_that_was_saved_opens_again(explorer, saved_run):
    shown = explorer.upload("another", str(saved_run), [])
    assert shown.flow["state"] == "done"
    assert shown.progress["message"] == "Opened."
    assert not saved_run.exists()


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
def test_a_file_that_is_no_trace_is_a_sentence_and_goes_away(explorer, saved_run, damage):
    DAMAGES[damage](saved_run)
    shown = explorer.upload(ME, str(saved_run), [])
    assert shown.progress["state"] == "error"
    said = shown.progress["message"]
    assert said.endswith(".")
    assert str(saved_run.parent) not in said
    assert not saved_run.exists()
    assert not list(saved_run.parent.iterdir())


def test_a_file_that_is_too_large_is_a_sentence(explorer, saved_run):
    with open(saved_run, "wb") as file:
        file.truncate(100 << 20)
    said = explorer.upload(ME, str(saved_run), []).progress["message"]
    assert "104,857,600 bytes" in said


def saved(explorer, kind, ids):
    value = explorer.save(ME, kind, ids)
    return base64.b64decode(value["data"])


def test_measures_are_saved_as_a_table(explorer):
    [id_] = chosen(run(explorer)[-1])
    rows = saved(explorer, "csv", [id_]).decode().splitlines()
    assert rows[0].startswith("run,block,place,step,t,word,confidence")
    trace = explorer.store.get(ME, id_).trace
    assert len(rows) == 1 + int(((trace.t[0] > 0) & trace.active[0][:, None, None]).sum())


def test_a_trace_is_saved_as_it_can_be_opened(explorer, tmp_path):
    [id_] = chosen(run(explorer)[-1])
    file = tmp_path / "again.npz"
    file.write_bytes(saved(explorer, "npz", [id_]))
    assert explorer.upload(ME, str(file), []).flow["state"] == "done"


def test_an_exported_page_asks_nobody_and_ends_no_script_early(explorer):
    [id_] = chosen(run(explorer, "</script><script>alert(1)</script>")[-1])
    page = saved(explorer, "html", [id_]).decode()
    assert "<script>alert(1)" not in page
    assert all(part.script() in page for part in (FlowMap, HeatMap, Curves))
    assert '"summary":"1' in page, "the curves have their numbers"
    assert "src=" not in page.split("<body>")[0]


def test_nothing_on_the_map_is_nothing_to_save(explorer):
    value = explorer.save(ME, "html", [])
    assert value["data"] == ""
    assert value["message"] == "There is no run on the map to save."


# the map of another model


def test_a_cloud_is_kept_for_the_next_start(model, tmp_path):
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
