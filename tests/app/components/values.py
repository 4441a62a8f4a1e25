"""Values as the app's handlers make them: the one place where these tests know how the handlers are asked."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.edit import handlers as edit
from app.edit.controls import NAMES, OWN
from app.generate import handlers as generate
from app.generate.frames import LiveRun
from app.interpolate import handlers as interpolate_handlers
from app.interpolate.frames import LiveInterpolation
from app.map import handlers as text_map
from app.shared.cloud_holder import CloudHolder
from app.shared.encoding import compact
from app.shared.links import link_of
from app.shared.settings_panel import SETTINGS as SETTINGS_OF_THE_PAGE
from app.shared.settings_panel import values_of
from app.shared.trace_store import TRACES, TraceStore
from app.trajectories import handlers as explorer
from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.latent.projection import PCAMap
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Scheduler
from coladlm.trace import Trace

VISITOR = "visitor"
SETTINGS = SamplerSettings(steps=4, max_new_tokens=24, seed=3, guidance=2.0, stop_at_end=False)
SCHEDULER = Scheduler()
BEFORE = "Once upon a time, there was a little girl named Lily."
PAIR = ("The sun was warm", "The night was cold")


class Slow:
    """A clock that goes on by a second whenever it is read: every step of a run is due to be shown."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def controls_of(settings: SamplerSettings, prompt: str, variations: int = 1, **changes: Any) -> dict[str, Any]:
    """What the controls of the tab Generate send, by their names. changes: of single settings."""
    return {"prompt": prompt, "variations": variations, "settings": {**named_settings(settings), **changes}}


def named_settings(settings: SamplerSettings) -> dict[str, Any]:
    """The values of the controls of settings, by their names."""
    names = ["seed", *(setting.name for setting in SETTINGS_OF_THE_PAGE)]
    return dict(zip(names, values_of(settings), strict=True))


class Generated:
    """A run of the tab Generate: values of the strip, of the progress line, of the rows of variations, and the link.

    strips and progress have a frame for every step; the last strip can be scrubbed.
    """

    id, visitor = "run-of-a-test", VISITOR

    def __init__(self, model: ColaDLM, prompt: str, variations: int = 1, **settings: Any) -> None:
        chosen = dataclasses.replace(SETTINGS, **settings)
        recipe = Recipe("generate", (prompt,), chosen, variations, model=model.fingerprint)
        self._generate, self._parts = generate.GenerateHandlers(model, TraceStore(), SCHEDULER, BundledBaseline()), {}
        for frame in self._generate.write(self, controls_of(chosen, prompt, variations)):
            self.show(frame)
        frames = list(LiveRun(model, recipe, Slow()).frames(run(model, recipe)))
        self.strips = [frame.strip for frame in frames] + [self._parts["strip"]]
        self.progress = [frame.progress for frame in frames]
        self.rows, self.link = self._parts["rows"], self._parts["link"]

    def show(self, frame: dict[str, Any]) -> None:
        """As the context of a run: takes parts that the view shows."""
        self._parts |= frame

    @property
    def tokens(self) -> list[dict[str, int]]:
        """{"block", "token"} of every token of the answer."""
        blocks = json.loads(self.strips[-1]["look"])
        return [{"block": b["block"], "token": b["first"] + i} for b in blocks for i in range(b["count"])]

    @property
    def trace(self) -> Trace:
        return self._generate.kept(VISITOR, self._parts["kept"]).trace

    def card(self, block: int, token: int) -> dict[str, Any]:
        """What the tab says of a token of the answer."""
        return self._generate.inspect(VISITOR, block, token, self._parts["kept"]).card


def refused(model: ColaDLM, prompt: str, **changes: Any) -> str:
    """The sentence with which the tab Generate refuses a prompt, or values of its settings."""
    writer = generate.GenerateHandlers(model, TraceStore(), SCHEDULER, BundledBaseline())
    return sentence_of(lambda: list(writer.write(Generated, controls_of(SETTINGS, prompt, **changes))))


def refused_edit(model: ColaDLM, text: str, start: int, end: int, ends: tuple[str, str] | None = None) -> str:
    """The sentence with which the tab Edit refuses a span or the ends of a direction."""
    return sentence_of(lambda: Edited(model, text, start, end, ends))


def refused_texts(model: ColaDLM, *texts: str) -> str:
    """The sentence with which the tab Interpolate refuses texts."""
    return sentence_of(lambda: Interpolation(model, texts))


def sentence_of(run: Callable[[], Any]) -> str:
    """What is wrong with a run."""
    try:
        run()
    except ValueError as error:
        return str(error)
    raise AssertionError("nothing was wrong with it")


def link(prompt: str, model: str = "", **settings: Any) -> dict[str, Any]:
    """The value of a ShareLink for a run of a prompt."""
    return link_of(Recipe("generate", (prompt,), dataclasses.replace(SETTINGS, **settings), model=model))


class Unseen:
    """The context of a run whose last frame nobody looks at."""

    id, visitor = "run-of-a-test", VISITOR

    def show(self, frame: dict[str, Any]) -> None:
        pass


class Interpolation:
    """A run of the tab Interpolate. rows: at every step, and the finished ones; distances, stage: of the finished
    ones.
    """

    def __init__(
        self, model: ColaDLM, texts: Sequence[str], stops: int = 9, way: str = "through_flow", tries: int = 1
    ) -> None:
        boxes = {str(i): text for i, text in enumerate(texts, 1)}
        options = dict(
            zip(interpolate_handlers.OPTION_NAMES, (way, stops, 50, tries, "arch", "pad", BEFORE), strict=True)
        )
        controls = {"count": len(texts), "texts": boxes, "options": options, "settings": named_settings(SETTINGS)}
        *_, last = frames = list(interpolate_handlers.interpolate(model, SCHEDULER, Unseen(), controls))
        self.distances, self.stage = last["distances"], last["stage"]
        recipe = Recipe.from_json(frames[0]["link"]["recipe"])
        live = LiveInterpolation(model, recipe)
        self.rows = [frame.rows for event in run(model, recipe) if (frame := live.after(event))]


class Edited:
    """An edit of a span of a text, by writing it anew or along a direction between two lists of sentences."""

    def __init__(
        self,
        model: ColaDLM,
        text: str,
        start: int,
        end: int,
        ends: tuple[str, str] | None = None,
        candidates: int = 4,
        strip: dict[str, Any] | None = None,
    ) -> None:
        self.picker = edit.tokens_of(model, text, start, end)
        how = ["anew", "happy-sad", "", ""] if ends is None else ["direction", OWN, *ends]
        options = {**dict.fromkeys(NAMES), **dict(zip(("method", "direction", "first", "second"), how, strict=True))}
        options |= {"push": 1.0, "values": 1, "renoise": 20, "follow": 0, "candidates": candidates}
        options |= strip or {}
        self.controls = {
            "text": text,
            "picker": self.picker,
            "options": options,
            "settings": named_settings(SETTINGS),
        }
        self.rows = [f["rows"] for f in edit.edit(model, SCHEDULER, Unseen(), self.controls) if "rows" in f]


def picked(model: ColaDLM, text: str) -> dict[str, Any]:
    """The value of a TokenPicker for a text in which nothing is selected."""
    return edit.tokens_of(model, text)


def thinned(cloud: str) -> str:
    """A cloud for a FlowMap with a sixth of its words: a browser draws all of them again for every map it makes."""
    found = json.loads(cloud)
    for chart, packed in found["at"].items():
        places = np.frombuffer(base64.b64decode(packed), "<i2").reshape(len(found["words"]), -1)
        found["at"][chart] = base64.b64encode(places[::6].tobytes()).decode()
    return compact({**found, "words": found["words"][::6]})


class Flows:
    """The tab Trajectories of the bundled model: its reference cloud, thinned, and the runs recorded with it."""

    def __init__(self, model: ColaDLM, cache: Path) -> None:
        self._store = TraceStore(TRACES)
        self._explorer = explorer.Explorer(model, CloudHolder(model, cache=cache), self._store, SCHEDULER)
        charts = self._explorer.cloud.charts
        self.cloud = charts.text = thinned(charts.text)  # which a page that is saved brings, too
        self.recorded = [id for _, id in self._store.shipped]
        lines_of = functools.cache(lambda run, made=self._explorer.lines: made([run]))  # they take half a second a run
        self._explorer.lines = lambda runs: "".join(map(lines_of, runs))

    def shown(self, *runs: str, play: bool = False) -> Any:
        """The values of the map (`flow`) and of the curves (`curves`) for these runs."""
        return self._explorer.show(VISITOR, runs, play)

    def card(self, point: dict[str, Any]) -> dict[str, Any]:
        """The value of a PointCard for a point that was opened on the map."""
        return self._explorer.open(VISITOR, *(point[name] for name in ("run", "block", "step", "place")))

    def exported(self, *runs: str, look: dict | None = None) -> str:
        """These runs as the page that plays without a server, as the page of the tab is given it."""
        return self._explorer.save(VISITOR, "html", runs, look)["data"]

    def opened(self, file: Path) -> dict[str, Any]:
        """What the progress line says of a file."""
        return self._explorer.upload(VISITOR, str(file)).progress


class Texts:
    """The tab Map with texts on it."""

    def __init__(self, model: ColaDLM, file: Path) -> None:
        self._maps = text_map.Maps(model, SCHEDULER)
        *_, (self.value, self.progress) = self._maps.upload(VISITOR, str(file))

    def near(self, text: str) -> dict[str, Any]:
        """The value with what lies near to a text."""
        return self._maps.near(VISITOR, text)[0]

    def road(self, texts: Sequence[str]) -> dict[str, Any]:
        """The value with waypoints on the map."""
        *_, (value, _) = self._maps.take_waypoints(VISITOR, list(texts))
        return value

    def with_umap(self) -> dict[str, Any]:
        """The value once a UMAP has joined the map: here a stored one, its axes those of PCA, one of them stretched."""
        cloud = self._maps.get(VISITOR)
        pca = cloud.charts["pca"]
        cloud.charts["umap-20-0.2"] = PCAMap(pca.mean, pca.components * [[3.0], [1.0]], pca.explained)
        try:
            return cloud.value()
        finally:
            del cloud.charts["umap-20-0.2"]
