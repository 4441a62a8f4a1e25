"""The resident model: the one that the page works with now, what runs it, and how another takes its place."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from coladlm import ColaDLM
from coladlm.baseline.bundled import BundledBaseline
from coladlm.serve import Scheduler

from ..runs.registry import Frame, RunContext, View
from .cloud_holder import CloudHolder

Made = TypeVar("Made")
Progress = Callable[[float], None]


@dataclasses.dataclass
class Loading:
    """A model on its way. state: "loading", "done" or "failed"; `error` says what went wrong. share: of the weights
    that have been read, in [0, 1].
    """

    path: str
    state: str = "loading"
    share: float = 0.0
    error: Exception | None = None


class Resident:
    """Holds the model of the page. An event reads `model` once, when it begins: a run keeps the one it began with.

    scheduler: runs whatever calls a model, this one and the baseline beside it.
    """

    def __init__(self, model: ColaDLM, may_load: bool = False, scheduler: Scheduler | None = None) -> None:
        """may_load: may visitors put another model in place, and so name a folder of this machine or a Hub id."""
        self.may_load, self.scheduler, self.baseline = may_load, scheduler or Scheduler(), BundledBaseline()
        self.first = self.model = model  # `first` is the one that the page was laid out for
        self.loading: Loading | None = None
        self._lock = threading.Lock()
        self.clouds = self.per_model(CloudHolder)  # the maps on which every tab draws

    def per_model(self, make: Callable[[ColaDLM], Made]) -> PerModel[Made]:
        """What belongs to a model, made once for each that is resident; the result, called, gives the present one's."""
        return PerModel(self, make)

    def load(self, path: str, load: Callable[[str, Progress], ColaDLM]) -> Loading:
        """Loads a model in the background and puts it in place when it is there; returns what is under way.

        load: (path, progress) -> the model, calling progress(share) as it goes.

        One at a time: while a model is on its way, its Loading is returned and nothing else begun.
        """
        with self._lock:
            if self.loading is not None and self.loading.state == "loading":
                return self.loading
            self.loading = loading = Loading(path)
        threading.Thread(target=self._load, args=(loading, load), name="load-model", daemon=True).start()
        return loading

    def _load(self, loading: Loading, load: Callable[[str, Progress], ColaDLM]) -> None:
        def progress(share: float) -> None:
            loading.share = share

        try:
            self.model = load(loading.path, progress)
            loading.state = "done"
        except Exception as error:  # told by whoever watches `loading`
            loading.error, loading.state = error, "failed"


class PerModel(Generic[Made]):
    """See `Resident.per_model`."""

    def __init__(self, resident: Resident, make: Callable[[ColaDLM], Made]) -> None:
        self._resident, self._make = resident, make
        self._lock = threading.Lock()
        self._model, self._made = resident.model, make(resident.model)

    def __call__(self) -> Made:
        with self._lock:
            if self._model is not self._resident.model:
                self._model = self._resident.model
                self._made = self._make(self._model)
            return self._made

    def view(self, view: Callable[[Made, RunContext, Mapping[str, Any]], Iterator[Frame]]) -> View:
        """The view of runs with what belongs to the model that is there when a run begins."""
        return lambda context, controls: view(self(), context, controls)
