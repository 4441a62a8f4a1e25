"""Which form the steps of a model take, eager or captured: measured once, when the model is loaded."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from ..settings import SamplerSettings
from .capture import capture_for
from .events import Step
from .graph import GraphEngine
from .plan import Plan
from .sampler import Sampler

FORMS = ("auto", "eager", "graph")
GRAPH_DEVICES = ("cuda",)  # where a captured step is worth a try
PROBE = SamplerSettings(steps=8, guidance=2.0, stop_at_end=False)
PROBE_BLOCKS = 3  # the first has no history, the second captures


def choose_form(sampler: Sampler, form: str = "auto", clock: Callable[[], float] = time.perf_counter) -> None:
    """Gives the sampler an engine for captured steps where `form` wants one; "auto" wants it on a GPU, if a short run
    is faster with it than without. Raises ValueError for a form that does not exist.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, expected one of {', '.join(FORMS)}")
    device = sampler.dit.device
    sampler.graphs = None
    if form == "eager" or (form == "auto" and device.type not in GRAPH_DEVICES):
        return
    engine = GraphEngine(sampler.dit, capture_for(device))
    if form == "auto":
        eager = step_seconds(sampler, clock)
        sampler.graphs = engine
        if step_seconds(sampler, clock) < eager and not engine.broken:
            return
        engine = None
    sampler.graphs = engine


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
