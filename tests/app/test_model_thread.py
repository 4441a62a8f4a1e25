"""No network is called from another thread than the scheduler's, whatever a visitor does."""

import dataclasses
import threading
from collections.abc import Mapping
from functools import partial

import pytest
import torch
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.openai_api import OpenAIApi
from app.api.operations import decode_latents, encode_text, invert_texts, replay_recipe
from app.edit.api import edit_text
from app.edit.controls import NAMES, OTHER
from app.edit.handlers import edit, tokens_of
from app.generate.api import generate_text
from app.generate.baseline_beside import write_baseline
from app.generate.comparisons import decode_again, run_beside
from app.generate.handlers import GenerateHandlers
from app.generate.sweep import Sweeps
from app.interpolate.api import interpolate_texts
from app.interpolate.handlers import interpolate
from app.map.handlers import Maps
from app.model.tab import measure_speed, save_latents, there_and_back
from app.page import build_page
from app.shared.cloud_holder import CloudHolder
from app.shared.resident import Resident
from app.shared.trace_store import TraceStore
from app.trajectories.handlers import Explorer
from app.trajectories.views import branch_on_map, run_on_map
from coladlm import SamplerSettings
from coladlm.latent.interpolate import METHODS
from coladlm.recipe import Recipe
from coladlm.serve.turns import THREAD

from .viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=8, seed=5, guidance=2.0, stop_at_end=False)
OTHERS = SamplerSettings(steps=2, max_new_tokens=8, seed=5, guidance=1.5, stop_at_end=False)
ME, TEXT, PAIR = "visitor", "The dog ran home and the bird sang.", ("The sun was warm", "The night was cold")


class Visit:
    """What the cases below share: the handlers, and a run that they can look into. `threads`: where networks ran."""

    def __init__(self, model, scheduler, baseline, folder):
        self.model, self.scheduler, self.baseline = model, scheduler, baseline
        self.desk = GenerateHandlers(model, TraceStore(), scheduler, baseline)
        holder = CloudHolder(model, folder / "none.npz", folder / "cache")
        self.explorer = Explorer(model, holder, TraceStore(), scheduler)
        self.maps = Maps(model, scheduler)
        self.threads: set[str] = set()

    def kept(self):
        return parts_of(self.desk.write, controls_of(SETTINGS, prompt=TEXT, variations=1), Viewer(ME))["kept"]

    def flow_run(self):
        """The id of a run on the map."""
        context = Viewer(ME)
        last = parts_of(partial(run_on_map, self.explorer), self.on_map(), context)
        assert last["kept"]["run"] == context.id
        return context.id

    def on_map(self):
        """The controls of a run on the map."""
        return controls_of(SETTINGS, prompt=TEXT, add=False, chosen=[])


@pytest.fixture(scope="module")
def visit(model, short_survey, scheduler, baseline, tmp_path_factory):
    visit = Visit(model, scheduler, baseline, tmp_path_factory.mktemp("visit"))
    networks = (model.vae, model.dit, baseline.get(model.device).network)
    ours = {id(module) for network in networks for module in network.modules()}

    def note(module, _):
        if id(module) in ours:
            visit.threads.add(threading.current_thread().name)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    yield visit
    hook.remove()


def interpolations(visit):
    texts = dict(zip("12", PAIR, strict=True))
    for road in METHODS:
        options = {"road": road, "stops": 3, "renoise": 50, "profile": "arch", "align": "pad", "before": "", "tries": 2}
        controls = controls_of(SETTINGS, count=2, texts=texts, options=options)
        yield from interpolate(visit.model, visit.scheduler, Viewer(ME), controls)


def edits(visit):
    for method in ("anew", "direction", "mix", "component"):
        options = {**dict.fromkeys(NAMES), "method": method, "direction": "happy-sad", "other": OTHER}
        options |= {"mixed_from": 10, "mixed": 50, "component": 1, "push_from": -1.0, "push": 1.0, "values": 2}
        options |= {"renoise": 40, "follow": 0, "candidates": 2}
        picker = tokens_of(visit.model, TEXT, 5, 9)
        controls = controls_of(SETTINGS, text=TEXT, picker=picker, options=options)
        yield from edit(visit.model, visit.scheduler, Viewer(ME), controls)


def look_at_a_token(visit):
    kept = visit.kept()
    trace = visit.desk.store.get(ME, kept["run"]).trace
    visit.threads.clear()
    return [visit.desk.inspect(ME, trace.z.shape[1] - 1, 0, kept)]


def open_a_point(visit):
    run = visit.flow_run()
    visit.threads.clear()
    card = visit.explorer.open(ME, run, 0, 1, visit.model.block_size - 1)
    assert card["read"] and card["point"]
    return []


def branch(visit):
    run = visit.flow_run()
    card = visit.explorer.open(ME, run, 0, 1, 1)
    visit.threads.clear()
    controls = {"card": card, "noise": "other", "seed": 7, "guidance": 2.0, "steps": 2, "chosen": [run]}
    return [parts_of(partial(branch_on_map, visit.explorer), controls, Viewer(ME, "branch-of-a-test"))]


def map_of_own_texts(visit):
    yield from visit.maps.take_waypoints(ME, list(PAIR))
    visit.maps.near(ME, TEXT)
    assert "radii" in visit.maps.direction(["a cat", "the cat"], ["a dog", "the dog ran"])


def beside(visit):
    kept = visit.kept()
    visit.threads.clear()
    return list(run_beside(visit.desk, Viewer(ME), controls_of(OTHERS, kept=kept)))


def decoded(visit):
    kept = visit.kept()
    visit.threads.clear()
    controls = {"kept": kept, "temperature": 0.5, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    return list(decode_again(visit.desk, Viewer(ME), controls))


def beside_the_baseline(visit):
    kept = visit.kept()
    visit.threads.clear()
    return list(write_baseline(visit.desk, Viewer(ME), {"kept": kept, "temperature": 0.8, "top_p": 0.95}))


def programs(visit):
    api = OpenAIApi(lambda: visit.model, visit.scheduler)
    with TestClient(Starlette(routes=api.routes())) as client:
        note = client.post("/v1/completions", json={"prompt": TEXT, "max_tokens": 4, "steps": 2, "logprobs": 1})
        assert note.status_code == 200
    return []


def api(visit):
    both = (visit.model, visit.scheduler)
    yield from generate_text(*both, TEXT, {"steps": 2, "max_new_tokens": 4})
    yield from interpolate_texts(*both, list(PAIR), {"stops": 3}, {"steps": 2})
    yield from edit_text(*both, [TEXT], {"start": 1, "end": 3}, 2, {"steps": 2})
    yield from invert_texts(*both, [TEXT], {}, {"steps": 2})
    yield from replay_recipe(*both, Recipe("generate", (TEXT,), SETTINGS).to_dict())
    mean = encode_text(*both, TEXT)["mean"]
    decode_latents(*both, mean)


def errors_in(shown):
    """The parts that say that something went wrong, anywhere in what a view or a handler gives."""
    if isinstance(shown, Mapping):
        return [shown] if shown.get("state") == "error" else errors_in(list(shown.values()))
    if dataclasses.is_dataclass(shown) and not isinstance(shown, type):
        return errors_in([getattr(shown, field.name) for field in dataclasses.fields(shown)])
    return [error for part in shown for error in errors_in(part)] if isinstance(shown, list | tuple) else []


CASES = {
    "generate": lambda v: v.desk.write(Viewer(ME), controls_of(SETTINGS, prompt=TEXT, variations=2)),
    "a token": look_at_a_token,
    "a and b": beside,
    "decode again": decoded,
    "baseline": beside_the_baseline,
    "sweep": lambda v: Sweeps(v.model, v.scheduler, v.baseline).write(Viewer(ME), controls_of(
        SETTINGS, prompt=TEXT, down={"setting": "guidance", "values": "1, 2"},
        across={"setting": "seed", "values": "1, 2"})),
    "interpolate": interpolations,
    "edit": edits,
    "trajectories": lambda v: run_on_map(v.explorer, Viewer(ME), v.on_map()),
    "a point": open_a_point,
    "branch": branch,
    "map": map_of_own_texts,
    "round trip": lambda v: [there_and_back(v.model, v.scheduler, TEXT)],
    "latents": lambda v: [save_latents(v.model, v.scheduler, "npz", TEXT)],
    "speed": lambda v: measure_speed(v.model, v.scheduler),
    "api": api,
    "openai": programs,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_networks_are_called_in_the_thread_of_the_scheduler_alone(visit, case):
    visit.threads.clear()
    frames = list(CASES[case](visit))
    assert errors_in(frames) == []
    assert visit.threads == {THREAD}


def test_an_error_would_be_seen(visit):
    shown = visit.desk.inspect(ME, 0, 0, None)
    assert errors_in([{"rows": {"rows": []}}, shown]) == [shown.progress]


def test_a_page_is_laid_out_without_a_network(visit):
    visit.threads.clear()
    build_page(Resident(visit.model, scheduler=visit.scheduler))
    assert visit.threads == set()


def test_a_call_from_another_thread_would_be_seen(visit):
    visit.threads.clear()
    visit.model.encode(TEXT)
    assert visit.threads == {threading.current_thread().name}
