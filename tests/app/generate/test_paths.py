"""The paths of a run, as the flow view beside its text reads them."""

import base64
import itertools
import json

import numpy as np
import pytest

from app.generate.handlers import GenerateHandlers
from app.generate.inspection import answer_tokens, look_value, paths_of
from app.generate.paths import NO_MAP
from app.generate.recorded import RECORDED, recorded_run
from app.shared.charts import PLANE_WORDS, Charts
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=3, max_new_tokens=10, seed=5, stop_at_end=False, stagger=0.5)
PROMPT = "Once upon a time there was a cat and"
VISITOR = "visitor"


class Cloud:
    def __init__(self, charts) -> None:
        self.charts = charts


@pytest.fixture(scope="module")
def charts(model, golden_cloud) -> Charts:
    return Charts(model, golden_cloud)


def written(model, scheduler, baseline, charts):
    handlers = GenerateHandlers(model, TraceStore(), scheduler, baseline, Cloud(charts))
    parts = parts_of(handlers.write, controls_of(SETTINGS, prompt=PROMPT, variations=1), Viewer(VISITOR))
    return parts, handlers.kept(VISITOR, parts["kept"]).trace


def states_of(value) -> list[dict]:
    return [json.loads(line) for line in value["lines"].split("\n") if line]


def test_a_finished_run_has_every_state_of_every_word_where_its_latent_lies(model, scheduler, baseline, charts):
    parts, trace = written(model, scheduler, baseline, charts)
    states, unit = states_of(parts["flow"]), charts.units["pca"]
    places = answer_tokens(model, trace, 0)
    for block in dict.fromkeys(b for b, _ in places):
        tokens = [w for b, w in places if b == block]
        of_block = [state for state in states if state["block"] == block]
        assert [state["step"] for state in of_block] == [0, 1, 2, 3]
        for state in of_block:
            z = trace.latents[0, block] if state["step"] == 3 else trace.z[0, block, state["step"]].astype(np.float32)
            wanted = charts.cloud.pca.place(z[[w // model.patch_size for w in tokens]])[:, :2]
            at = np.frombuffer(base64.b64decode(state["at"]), "<i2").reshape(-1, 2) * unit
            assert np.abs(at - np.clip(wanted, -32767 * unit, 32767 * unit)).max() <= unit / 2 + 1e-6
            assert len(state["words"]) == len(state["sure"]) == len(state["t"]) == len(tokens)
        noise = [state["t"] for state in of_block]
        assert all(a >= b for first, then in itertools.pairwise(noise) for a, b in zip(first, then, strict=True))
        assert set(noise[-1]) == {0}
    last = [word for state in states if state["step"] == 3 for word in state["words"]]
    settled = [json.loads(line) for line in parts["strip"]["settled"].split("\n") if line]
    assert "".join(last) == "".join(text for line in settled for text, *_ in line)


def test_the_states_are_those_that_the_text_goes_through(model, scheduler, baseline, charts):
    parts, trace = written(model, scheduler, baseline, charts)
    look = json.loads(look_value(model, trace, 0, "r")["look"])
    states = states_of(paths_of(charts, trace, 0, "r"))
    assert [(b["block"], s) for b in look for s in [*b["steps"], b["of"]]] == [(s["block"], s["step"]) for s in states]
    assert parts["flow"]["lines"] == paths_of(charts, trace, 0, "r")["lines"]


def test_a_run_grows_its_lines_and_its_last_frame_has_them_all(model, scheduler, baseline, charts):
    handlers = GenerateHandlers(model, TraceStore(), scheduler, baseline, Cloud(charts))
    viewer = Viewer(VISITOR)
    frames = list(handlers.write(viewer, controls_of(SETTINGS, prompt=PROMPT, variations=1)))
    lines = [frame["flow"]["lines"] for frame in frames if "flow" in frame]
    assert len(set(lines)) > 3
    assert all(then.startswith(first) for first, then in itertools.pairwise(lines))


def test_a_model_without_a_map_says_who_makes_one(model, scheduler, baseline):
    parts, _ = written(model, scheduler, baseline, None)
    assert parts["flow"]["note"] == NO_MAP and parts["flow"]["lines"] == ""


def test_the_cloud_is_small_and_in_sight(charts):
    cloud = json.loads(charts.plane)
    at = np.frombuffer(base64.b64decode(cloud["at"]), "<i2").reshape(-1, 2) * cloud["unit"]
    assert len(at) == len(cloud["words"]) <= PLANE_WORDS
    left, right, bottom, top = cloud["box"]
    inside = (at[:, 0] >= left) & (at[:, 0] <= right) & (at[:, 1] >= bottom) & (at[:, 1] <= top)
    assert inside.mean() > 0.9


def test_the_tab_opens_with_a_recorded_run_of_its_model_and_its_words_can_be_looked_into(bundled, scheduler, baseline):
    recorded = recorded_run(bundled)
    handlers = GenerateHandlers(bundled, TraceStore(), scheduler, baseline, None, recorded)
    first = handlers.first()
    assert f"seed {recorded.trace.recipe.settings.seed}" in first.strip["recorded"]
    assert json.loads(first.strip["look"])
    block = json.loads(first.strip["look"])[1]
    assert handlers.inspect(VISITOR, block["block"], block["first"], first.kept).card["title"]
    assert handlers.kept("anybody", {"run": RECORDED, "sequence": 0}).trace is recorded.trace


def test_another_model_opens_with_nothing(model, scheduler, baseline):
    assert recorded_run(model) is None
    assert GenerateHandlers(model, TraceStore(), scheduler, baseline).first() is None
