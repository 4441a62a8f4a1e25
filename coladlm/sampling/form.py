"""Which form the steps of a model take, eager or captured, of operators or of compiled pieces: measured once, when the
model is loaded.
"""

from __future__ import annotations

import itertools
import logging
import operator
import statistics
import time
from collections.abc import Callable

import torch

from ..networks.compiled_pieces import CompiledPieces, can_compile, compiled_pieces
from ..settings import SamplerSettings
from .capture import as_one, capture_for
from .events import Step
from .graph import GraphEngine
from .plan import Plan
from .sampler import Sampler

log = logging.getLogger(__name__)
FORMS = ("auto", "eager", "graph")
GRAPH_DEVICES = ("cuda",)  # where a captured step is worth a try
COMPILE_SECONDS = 60.0  # that compiling may take where nobody asked for it
PROBE = SamplerSettings(steps=8, guidance=2.0, stop_at_end=False)
PROBE_BLOCKS = 3  # the first has no history, the second captures


def choose_form(sampler: Sampler, form: str = "auto", compiled: bool | None = None,
                clock: Callable[[], float] = time.perf_counter) -> None:  # fmt: skip
    """Gives the sampler an engine for captured steps where `form` wants one, and its DiT compiled pieces where
    `compiled` does. "auto" and None leave it to short runs on a GPU, of which the fastest is taken; elsewhere they mean
    neither, since a processor gains nothing from a tape, and little from pieces that take it half a minute to compile.
    Raises ValueError for a form that does not exist.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, expected one of {', '.join(FORMS)}")
    if compiled not in (None, True, False):
        raise ValueError(f"compiled is {compiled!r}, expected True, False or None")
    dit, on_gpu = sampler.dit, sampler.dit.device.type in GRAPH_DEVICES
    sampler.graphs = dit.pieces = None
    captured = [False, True] if form == "auto" and on_gpu else [form == "graph"]
    pieces: list[CompiledPieces | None] = [None]
    if compiled or (compiled is None and on_gpu and can_compile(dit)):
        log.info("Compiling the layers of a step, which may take a minute")
        made = compiled_pieces(dit, seconds=float("inf") if compiled else COMPILE_SECONDS, noted=as_one)
        pieces = pieces if made is None else [made] if compiled else [None, made]
    choices = list(itertools.product(pieces, captured))
    found = []
    for choice in choices if len(choices) > 1 else ():
        _take(sampler, *choice)
        seconds = step_seconds(sampler, clock)
        if sampler.graphs is None or not sampler.graphs.broken:
            found.append((seconds, choice))
    _take(sampler, *min(found, key=operator.itemgetter(0))[1] if found else choices[0])


def _take(sampler: Sampler, pieces: CompiledPieces | None, captured: bool) -> None:
    """Each choice captures its own steps: a graph holds the kernels that it was made of."""
    sampler.dit.pieces = pieces
    sampler.graphs = GraphEngine(sampler.dit, capture_for(sampler.dit.device)) if captured else None


def step_seconds(sampler: Sampler, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median seconds of a guided step of one sequence, over a made-up text."""
    config, device = sampler.vae.config, sampler.dit.device
    b, d, ps = config.block_size, config.latent_dim, config.patch_size
    plan = Plan(torch.zeros(b, d), torch.zeros(b * ps, dtype=torch.long), torch.zeros(PROBE_BLOCKS, b, d),
                torch.full((PROBE_BLOCKS, b), 1000.0), torch.full((PROBE_BLOCKS, b * ps), -1),
                PROBE_BLOCKS * b * ps)  # fmt: skip
    seconds, before = [], None
    for event in sampler.run([plan], PROBE):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = clock()
        if isinstance(event, Step) and before is not None and event.block == PROBE_BLOCKS - 1:
            seconds.append(now - before)
        before = now if isinstance(event, Step) else None
    return statistics.median(seconds)
