"""The handlers of the tab Interpolate, and its view as the plain generator that it is."""

import itertools
import json

import gradio as gr
import pytest

from app.interpolate.api import interpolate_texts
from app.interpolate.frames import NONE_YET, LiveInterpolation, label_of
from app.interpolate.handlers import (
    MAX_BOXES,
    OPTION_NAMES,
    fill_boxes,
    interpolate,
    recipe_of,
    restore,
    several,
    show_boxes,
    texts_of,
)
from app.interpolate.tab import EXAMPLES, ROAD_CHOICES, build
from app.shared.links import link_of
from app.shared.resident import Resident
from app.shared.settings_panel import values_of
from coladlm import BlockDone, SamplerSettings, Step
from coladlm.latent.first_interpolation import first_recipe, recorded_interpolation
from coladlm.latent.interpolate import METHODS, OPTIONS, Interpolation, Waypoint
from coladlm.recipe import Recipe, check_options
from coladlm.run import run
from coladlm.serve import Scheduler

from ..viewing import Viewer, controls_of, parts_of

SCHEDULER = Scheduler()
SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, seed=5, guidance=2.0)
BEFORE = "Once upon a time, there was a little girl named Lily."
PAIR = ("The sun was warm", "The night was cold and dark")


def _controls(texts=PAIR, road="through_flow", stops=4, renoise=50, profile="arch", align="pad", before="",
              settings=SETTINGS, tries=1):  # fmt: skip
    boxes = {str(i + 1): texts[i] if i < len(texts) else "" for i in range(MAX_BOXES)}
    options = dict(zip(OPTION_NAMES, (road, stops, renoise, tries, profile, align, before), strict=True))
    return controls_of(settings, count=len(texts), texts=boxes, options=options)


def _view(model):
    return lambda context, controls: interpolate(model, SCHEDULER, context, controls)


def _last(model, **controls):
    parts = parts_of(_view(model), _controls(**controls))
    return parts["rows"], parts["progress"], parts["link"], parts["distances"]


def _note(piece):
    return "".join(text for text, _ in piece)


def test_the_names_of_special_tokens_are_no_part_of_a_waypoint(model):
    recipe = Recipe("interpolate", PAIR, model.defaults)
    ids = [*model.tokenize("The sun"), model.pad_id, model.end_ids[0]]
    waypoint = Waypoint(0, (0.5, 0.5), token_ids=tuple(ids), text=model.read(ids), done=True)
    final = LiveInterpolation(model, recipe)._final(waypoint)
    assert "".join(text for text, _ in final) == "The sun"


def test_a_waypoint_that_ends_inside_a_character_is_shown_to_its_last_byte(model):
    ids = model.tokenize("The sun 🎈")[:-1]
    for more in ((), (model.end_ids[0],)):
        waypoint = Waypoint(0, (0.5, 0.5), token_ids=(*ids, *more), text=model.read(ids), done=True)
        final = LiveInterpolation(model, Recipe("interpolate", PAIR, model.defaults))._final(waypoint)
        assert _note(final) == waypoint.text == "The sun \ufffd"


@pytest.mark.parametrize("road", METHODS)
def test_an_interpolation_ends_with_its_waypoints_their_distances_and_a_link(model, road):
    rows, progress, link, distances = _last(model, road=road)
    assert (rows["state"], progress["state"]) == ("done", "done")
    assert [row["label"] for row in rows["rows"]] == ["text 1", "33.3 %", "66.7 %", "text 2"]
    assert all(_note(row["final"]) and row["text"] for row in rows["rows"])
    assert [len(stop) for stop in distances["latents"]] == [2] * 4
    assert link["query"].startswith("?r=")


def test_the_rows_are_the_texts_of_the_run(model):
    rows, *_ = _last(model)
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"stops": 4, "renoise": 0.5})
    stops = [event for event in run(model, recipe) if isinstance(event, Interpolation)][-1].waypoints
    assert [row["text"] for row in rows["rows"]] == [stop.text for stop in stops]
    assert (rows["rows"][0]["text"], rows["rows"][-1]["text"]) == PAIR


def test_changed_tokens_of_a_waypoint_are_marked(model):
    rows, *_ = _last(model)
    assert not any(flag for _, flag in rows["rows"][0]["final"])
    assert any(flag & 1 for _, flag in rows["rows"][-1]["final"])


def test_three_texts_are_waypoints_themselves(model):
    rows, *_ = _last(model, texts=EXAMPLES[3], stops=3)
    assert [row["label"] for row in rows["rows"]] == ["text 1", "50 %", "text 2", "50 %", "text 3"]
    assert [rows["rows"][i]["text"] for i in (0, 2, 4)] == list(EXAMPLES[3])


class Slow:
    """A clock, and events that each take a second on it: a frame is due at every one."""

    now = 0.0

    def __call__(self):
        return self.now

    def events(self, events):
        for event in events:
            self.now += 1.0
            yield event


def _slow_frames(model, recipe):
    clock = Slow()
    return list(LiveInterpolation(model, recipe, clock).frames(clock.events(run(model, recipe))))


@pytest.mark.parametrize("road", ["through_flow", "noise_to_noise", "prompt_to_prompt"])
def test_waypoints_stream_as_they_crystallise_and_only_grow(model, road):
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"road": road, "stops": 3})
    frames = _slow_frames(model, recipe)
    assert len(frames) == 1 + len(list(run(model, recipe))), "where events are slow, every one has its frame"
    middle = [frame.rows["rows"][1] for frame in frames if frame.rows["rows"][1]["final"] is None]
    assert len({json.dumps(row["live"]) for row in middle}) > SETTINGS.steps
    assert all(after["settled"].startswith(before["settled"]) for before, after in itertools.pairwise(middle))


@pytest.mark.parametrize("before", ["", "One", "The dog ran home and"])
@pytest.mark.parametrize("road", ["through_flow", "noise_to_noise"])
def test_the_tokens_that_settled_are_those_of_the_waypoint(model, road, before):
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"road": road, "stops": 3, "before": before})
    live = LiveInterpolation(model, recipe)
    list(live.frames(run(model, recipe)))
    stops = [event for event in run(model, recipe) if isinstance(event, Interpolation)][-1].waypoints
    assert tuple(live.rows[1].answer) == stops[1].token_ids


def test_a_continuation_settles_after_its_prompt(model):
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"road": "prompt_to_prompt", "stops": 3})
    live = LiveInterpolation(model, recipe)
    list(live.frames(run(model, recipe)))
    stop = [event for event in run(model, recipe) if isinstance(event, Interpolation)][-1].waypoints[1]
    assert live.rows[1].answer == list(stop.token_ids[-len(live.rows[1].answer) :])
    flags = [flag for text, flag in live.rows[1].final if text]
    assert flags[0] & 2 and not flags[-1] & 2


def test_the_first_frame_comes_before_the_first_event(model):
    asked = []

    def events():
        asked.append(True)
        yield from ()

    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"stops": 3})
    first = next(LiveInterpolation(model, recipe).frames(events()))
    assert first.progress["state"] == "running" and len(first.rows["rows"]) == 3
    assert first.rows["room"] == PAIR[1], "the rows would grow while they are read"
    assert not asked


def test_closing_the_frames_stops_the_run(model):
    closed = []

    def events():
        try:
            yield from run(model, recipe)
        finally:
            closed.append(True)

    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"stops": 3})
    frames = LiveInterpolation(model, recipe).frames(events())
    for _ in range(3):
        next(frames)
    frames.close()
    assert closed


def test_steps_wait_where_frames_are_slow(model):
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"stops": 3})
    steps = sum(isinstance(event, Step) for event in run(model, recipe))
    blocks = sum(isinstance(event, BlockDone) for event in run(model, recipe))
    live = LiveInterpolation(model, recipe, lambda: 0.0)  # no time passes: no step is due
    frames = list(live.frames(run(model, recipe)))
    assert blocks < len(frames) < blocks + steps


@pytest.mark.parametrize(
    ("controls", "note"),
    [
        ({"texts": ("", PAIR[1])}, "Text 1 is empty, expected at least one token."),
        ({"texts": (PAIR[0], "")}, "Text 2 is empty"),
        ({"texts": (PAIR[0], "word " * 2000)}, "tokens"),
        ({"texts": (PAIR[0], "broken \ud800")}, "Text 2 is a text with half a character"),
        ({"texts": (PAIR[0], None)}, "Text 2 is None, expected a text."),
        ({"road": "ferry"}, "How to interpolate is 'ferry'"),
        ({"stops": 1}, "The number of waypoints is 1"),
        ({"stops": 2.5}, "The number of waypoints is 2.5, expected a whole number"),
        ({"stops": None}, "The number of waypoints is empty"),
        ({"renoise": 150}, "Noise is 150 %, expected from 0 to 100 %."),
        ({"renoise": -1}, "Noise is -1 %"),
        ({"renoise": float("nan")}, "Noise is nan"),
        ({"tries": 0}, "The number of candidates is 0"),
        ({"stops": 33, "tries": 32, "texts": ("word " * 20, "words " * 20)}, "candidates of up to"),
        ({"profile": "steep"}, "Where to add noise is 'steep'"),
        ({"settings": SamplerSettings(steps=500)}, "Steps a block is 500"),
        ({"texts": ("word " * 125, "word " * 124), "stops": 33}, "at most 16,384 tokens"),
    ],
)
def test_what_is_wrong_comes_as_a_sentence(model, controls, note):
    with pytest.raises(ValueError) as raised:
        parts_of(_view(model), _controls(**controls))
    sentence = str(raised.value)
    assert note in sentence and sentence.endswith(".") and "options." not in sentence


def test_an_interpolation_that_is_refused_or_stopped_at_once_leaves_what_stood_there(model):
    refused, stopped, shown = Viewer(), Viewer(), []
    with pytest.raises(ValueError, match="Text 1 is empty"):
        shown.extend(_view(model)(refused, _controls(texts=("", PAIR[1]))))
    running = _view(model)(stopped, _controls())
    while "progress" not in (frame := next(running)):
        continue
    running.close()
    frames = [frame, *shown, *refused.shown, *stopped.shown]
    assert stopped.shown[-1]["progress"]["message"] == "Stopped before it began."
    assert not any({"rows", "distances"} & set(frame) for frame in frames)


@pytest.mark.parametrize("name", ["count", "texts", "options", "settings"])
def test_controls_that_are_missing_are_a_sentence(model, name):
    controls = _controls()
    del controls[name]
    with pytest.raises(ValueError, match="expected"):
        parts_of(_view(model), controls)


def _stopped(model, frames=4, **controls):
    """The parts of a run that is stopped after so many frames of its rows."""
    context, parts, seen = Viewer(), {}, 0
    view = interpolate(model, SCHEDULER, context, _controls(**controls))
    while seen < frames:
        frame = next(view)
        parts |= frame
        seen += any(row["live"] for row in frame.get("rows", {"rows": []})["rows"])
    view.close()
    for frame in context.shown:
        parts |= frame
    return parts


@pytest.mark.parametrize("road", ["through_flow", "prompt_to_prompt"])
def test_a_stopped_interpolation_keeps_the_texts_as_far_as_they_have_come(model, road, every_step):
    parts = _stopped(model, road=road, settings=SamplerSettings(steps=50, max_new_tokens=64, seed=5, guidance=2.0))
    assert (parts["rows"]["state"], parts["progress"]["state"]) == ("stopped", "stopped")
    forming = parts["rows"]["rows"][1]
    shown = "".join(token[0] for line in forming["settled"].splitlines() for token in json.loads(line))
    shown += "".join(token[0] for token in forming["live"] if not token[2])
    assert forming["text"].startswith(forming["lead"]) and forming["text"].strip()
    assert (forming["lead"] + shown).startswith(forming["text"])
    assert parts["rows"]["run"] == parts["progress"]["run"] == Viewer().id


def test_a_stopped_interpolation_stands_on_the_stage_as_far_as_it_has_come(model, every_step):
    stage = _stopped(model, frames=1, settings=SamplerSettings(steps=50, seed=5, guidance=2.0))["stage"]
    first, middle, *_ = stage["waypoints"]
    assert (stage["state"], stage["texts"], first["text"]) == ("stopped", list(PAIR), PAIR[0])
    assert (first["filled"], first["end"], first["leg"]) == (1.0, 0, [0, 1])
    assert middle["text"] and middle["filled"] < 1 and middle["misfit"] is None and not middle["distances"]


def test_candidates_of_an_interpolation_that_is_stopped_are_no_waypoints(model, every_step):
    context, stage = Viewer(), {}
    controls = _controls(stops=3, renoise=80, tries=3, settings=SamplerSettings(steps=4, seed=5))
    view = interpolate(model, SCHEDULER, context, controls)
    while not any(waypoint["candidate"] for waypoint in stage.get("waypoints", [])):
        stage = next(view).get("stage", {})
    view.close()
    last = context.shown[-1]
    assert last["stage"]["state"] == "stopped" and texts_of(last["stage"]) == []
    assert all((waypoint["candidate"], waypoint["filled"]) == ("", 0) for waypoint in last["stage"]["waypoints"])
    assert last["progress"]["message"] == NONE_YET


# the stage


def test_the_stage_has_the_waypoints_with_their_distances_and_misfits(model):
    parts = parts_of(_view(model), _controls(texts=EXAMPLES[3], stops=3))
    stage, recipe = parts["stage"], Recipe.from_url(parts["link"]["query"][3:])
    found = [event for event in run(model, recipe) if isinstance(event, Interpolation)][-1].waypoints
    shown = stage["waypoints"]
    assert [waypoint["text"] for waypoint in shown] == [waypoint.text for waypoint in found]
    assert [waypoint["leg"] for waypoint in shown] == [[0, 1], [0, 1], [1, 2], [1, 2], [1, 2]]
    assert [waypoint["end"] for waypoint in shown] == [0, None, 1, None, 2]
    assert [waypoint["misfit"] for waypoint in shown] == [round(waypoint.misfit, 3) for waypoint in found]
    assert all(len(waypoint["distances"]) == 3 and waypoint["filled"] == 1 for waypoint in shown)


def test_candidates_are_shown_while_they_are_tried_and_the_strip_fills(model):
    recipe = Recipe("interpolate", PAIR, SETTINGS, options={"stops": 3, "renoise": 0.8, "tries": 3})
    clock = Slow()
    live = LiveInterpolation(model, recipe, clock)
    seen = []
    for frame in live.frames(clock.events(run(model, recipe))):
        middle = live.more["stage"]["waypoints"][1]
        seen.append((frame.progress["fraction"], middle["filled"], middle["text"], middle["candidate"]))
    fractions, filled, texts, candidates = zip(*seen, strict=True)
    assert list(fractions) == sorted(fractions) and fractions[-1] == 1
    assert list(filled) == sorted(filled) and len(set(filled)) > 4
    assert live.rows[1].label == "2" and texts[-1] and any(candidates)


def test_equal_texts_are_refused_in_a_sentence(model):
    with pytest.raises(ValueError, match=r"^Text 2 is the same as Text 1, expected another text"):
        _last(model, texts=(PAIR[0], f"{PAIR[0]} "))
    with pytest.raises(ValueError, match=r"^Text 1 is empty, expected at least one token"):
        _last(model, texts=("", " "))
    with pytest.raises(ValueError, match=r"^Text 2 is the same as Text 1"):
        _last(model, texts=(" ", "  "))


@pytest.mark.parametrize("texts", [("👩‍🚀 🎈", "שלום עולם"), ("<b>x</b> {{y}}", "${z} `w`")])
def test_texts_of_any_script_can_be_interpolated(model, texts):
    rows, *_ = _last(model, texts=texts)
    assert (rows["rows"][0]["text"], rows["rows"][-1]["text"]) == texts


# links


def _query(recipe):
    return {"r": link_of(recipe)["query"][3:]}


def test_a_link_fills_in_texts_options_and_settings(model):
    _, _, link, _ = _last(model, texts=EXAMPLES[3], renoise=29, tries=2, align="stretch", profile="flat", before=BEFORE)
    count, *values = restore(model, {"r": link["query"][3:]})
    boxes, (fewer, more), rest = values[:MAX_BOXES], values[MAX_BOXES:][:2], values[MAX_BOXES + 2 :]
    assert count == 3 and [box["value"] for box in boxes[:3]] == list(EXAMPLES[3])
    assert [box["visible"] for box in boxes] == [True] * 3 + [False] * (MAX_BOXES - 3)
    assert fewer["interactive"] and more["interactive"]
    assert rest[:-1] == ["through_flow", 4, 29, 2, "flat", "stretch", BEFORE, *values_of(SETTINGS)]
    assert "press Interpolate" in rest[-1]["message"]


@pytest.mark.parametrize("road", METHODS)
def test_a_link_repeats_its_interpolation(model, road):
    rows, _, link, _ = _last(model, road=road)
    recipe = Recipe.from_url(link["query"][3:])
    stops = [event for event in run(model, recipe) if isinstance(event, Interpolation)][-1].waypoints
    assert [row["text"] for row in rows["rows"]] == [stop.text for stop in stops]


def test_a_link_of_another_model_says_so(model):
    recipe = Recipe("interpolate", PAIR, SETTINGS, model="other")
    assert "another one" in restore(model, _query(recipe))[-1]["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"r": "nonsense"},
        _query(Recipe("interpolate", PAIR, options={"road": "ferry"})),
        _query(Recipe("interpolate", PAIR, options={"weights": [1.0, 2.0]})),
        _query(Recipe("interpolate", ("a",) * 9)),
    ],
)
def test_a_link_that_cannot_be_shown_says_so_and_changes_nothing(model, query):
    *values, progress = restore(model, query)
    assert progress["state"] == "error" and "link" in progress["message"]
    assert all(value == gr.skip() for value in values)


def test_without_a_link_of_this_tab_what_the_visitor_has_set_meanwhile_stays(model):
    for query in ({}, _query(Recipe("generate", ("x",)))):
        assert all(value == gr.skip() for value in restore(model, query))


# boxes and words


def test_boxes_come_and_go_between_two_and_the_most():
    assert show_boxes(1)[0] == 2 and show_boxes(99)[0] == MAX_BOXES
    n, *boxes, fewer, more = show_boxes(2)
    assert n == 2 and not fewer["interactive"] and more["interactive"] and "value" not in boxes[0]


def test_filling_the_boxes_empties_those_that_are_left():
    assert [box["value"] for box in fill_boxes(["a", "b"])[1:-2]] == ["a", "b"] + [""] * (MAX_BOXES - 2)


def test_texts_that_are_sent_here_fill_the_boxes_and_a_single_one_the_first():
    assert several(["a", "b", "c"]) == fill_boxes(["a", "b", "c"])
    assert several([str(i) for i in range(9)]) == fill_boxes([str(i) for i in range(MAX_BOXES)])
    assert [i for i, value in enumerate(several(["a"])) if value != gr.skip()] == [1]


def test_the_texts_to_send_are_those_of_the_waypoints(model):
    parts = parts_of(_view(model), _controls())
    assert (
        texts_of(parts["stage"]) == [row["text"] for row in parts["rows"]["rows"]] and len(parts["rows"]["rows"]) == 4
    )
    assert texts_of({"waypoints": [{"text": ""}]}) == []


def test_every_way_to_interpolate_has_a_choice():
    assert tuple(choice.value for choice in ROAD_CHOICES) == METHODS


def test_waypoints_are_called_by_where_they_are():
    assert label_of((0.0, 1.0)) == "text 2"
    assert label_of((0.75, 0.25)) == "25 %" and label_of((0.875, 0.125)) == "12.5 %"
    assert label_of((0.2, 0.3, 0.5)) == "mean"


# the API


def test_the_api_gives_the_waypoints_of_its_recipe(model):
    *_, (stops, recipe) = interpolate_texts(model, SCHEDULER, list(PAIR), {"stops": 3}, {"steps": 2})
    again = Recipe.from_json(json.dumps(recipe))
    road = [event for event in run(model, again) if isinstance(event, Interpolation)][-1]
    assert [stop["text"] for stop in stops] == [stop.text for stop in road.waypoints]
    assert all(len(stop["latent_distances"]) == 2 for stop in stops)


@pytest.mark.parametrize(
    ("texts", "options", "given", "note"),
    [
        (["", "b"], {}, {}, "texts"),
        (["a"], {}, {}, "texts"),
        (["a", 3], {}, {}, "texts"),
        (["a", "b"], {"renoise": 1.5}, {}, "renoise"),
        (["a", "b"], {"stops": 10**9}, {}, "stops"),
        (["a", "b"], {"road": "ferry"}, {}, "road"),
        (["a", "b"], {}, {"steps": 0}, "steps"),
        (["a", "b"], {}, {"steps": 900}, "steps"),
        (["word " * 600, "b"], {}, {}, "tokens"),
        (["a", "b"], {"before": "word " * 700, "stops": 2}, {}, "before"),
    ],
)
def test_the_api_refuses_with_a_sentence(model, texts, options, given, note):
    with pytest.raises(gr.Error, match=note):
        list(interpolate_texts(model, SCHEDULER, texts, options, given))


def _laid_out(model):
    """The tab as it is laid out: its parts by their names, and the values of the controls that Interpolate sends."""
    with gr.Blocks() as page:
        build(Resident(model), page)
    parts = {block.part: block.value for block in page.blocks.values() if getattr(block, "part", "")}
    (sent,) = (event for event in page.fns.values() if 'runs.run("interpolate", "interpolate"' in str(event.js))
    names = json.loads(sent.js.partition('"interpolate", "interpolate", ')[2].partition("]")[0] + "]")
    controls: dict = {}
    for name, control in zip(names, sent.inputs, strict=True):
        *above, last = name.split(".")
        inside = controls
        for key in above:
            inside = inside.setdefault(key, {})
        inside[last] = control.value
    return parts, controls


def test_the_tab_opens_with_the_interpolation_that_ships_which_is_that_of_its_controls(bundled):
    parts, controls = _laid_out(bundled)
    found, recipe = recorded_interpolation(bundled), recipe_of(bundled, controls)
    assert recipe.settings == first_recipe(bundled).settings and recipe.texts == first_recipe(bundled).texts
    assert check_options(recipe.options, OPTIONS) == check_options(first_recipe(bundled).options, OPTIONS)
    assert texts_of(parts["stage"]) == [waypoint.text for waypoint in found.waypoints]
    assert [row["text"] for row in parts["rows"]["rows"]] == texts_of(parts["stage"])
    assert parts["stage"]["recorded"] == f"a recorded interpolation, seed {recipe.settings.seed}, unedited"
    assert len(parts["distances"]["latents"]) == len(found.waypoints)
    assert len(json.dumps([parts[name] for name in ("stage", "rows", "distances")])) < 15_000


def test_the_tab_of_another_model_opens_with_nothing(model):
    parts, _ = _laid_out(model)
    assert (parts["stage"]["state"], parts["rows"]["state"], parts["distances"]) == ("empty", "empty", None)
