"""How fast a guided step of the sampler is, next to the bare matrix products it cannot do without.

A guided step of a block is one pass of the DiT over 2 * batch * block_size rows. Its bare products are the linear
layers of that pass alone: same weights, same rows, nothing else. Both are timed in turns within one run, so that
whatever else the machine does hits both.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator

import torch

from ..model import ColaDLM
from ..networks.layers import Linear
from ..sampling.events import Event, Step

PROMPT = "Once upon a time there was a little girl who liked to play in the garden. "


@dataclasses.dataclass(frozen=True)
class Speed:
    """Median seconds of a guided step and of its bare products, and the tokens a second at `steps` steps a block."""

    step: float
    products: float
    steps: int
    tokens: float


def synchronise(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_linears(model: ColaDLM) -> list[Linear]:
    """The linear layers that every step runs through; those of the time embedding are tabulated once a run."""
    dit = model.dit
    networks = (dit.txt_in, dit.blocks, dit.txt_out)
    layers = [(name, layer) for network in networks for name, layer in network.named_modules()]
    return [layer for name, layer in layers if isinstance(layer, Linear) and ".ada." not in name]


@torch.inference_mode()
def product_seconds(linears: list[Linear], inputs: list[torch.Tensor], device: torch.device) -> float:
    """Seconds of these layers' products with these inputs."""
    synchronise(device)
    start = time.perf_counter()
    for linear, x in zip(linears, inputs, strict=True):
        torch.nn.functional.linear(x, linear.weight, linear.bias)
    synchronise(device)
    return time.perf_counter() - start


def step_times(model: ColaDLM, batch: int, blocks: int) -> tuple[float, float]:
    """Median seconds of a guided step and of its bare products, timed in turns over `blocks` blocks of 16 steps."""
    *_, (steps, products) = _timed_steps(model, batch, blocks)
    return statistics.median(steps), statistics.median(products)


def _timed_steps(model: ColaDLM, batch: int, blocks: int) -> Iterator[tuple[list[float], list[float]]]:
    """The seconds of every step and of every product so far, after each; what happens in between is in neither."""
    b = model.block_size * model.patch_size
    settings = dataclasses.replace(model.defaults, steps=16, guidance=2.0, solver="euler", stochasticity=0.0,
                                   guidance_interval=(0.0, 1000.0), history="latents", stop_at_end=False,
                                   max_new_tokens=blocks * b)  # fmt: skip
    linears = step_linears(model)
    rows = 2 * batch * model.block_size
    inputs = [torch.randn(rows, layer.in_features, dtype=model.dtype, device=model.device) for layer in linears]
    steps, products, after_step = [], [], False
    for seconds, event in _timed(model, model.sample([PROMPT * 2] * batch, settings)):
        if isinstance(event, Step) and after_step:
            steps.append(seconds)
        products.append(product_seconds(linears, inputs, model.device))
        after_step = isinstance(event, Step)
        yield steps, products


def _timed(model: ColaDLM, events: Iterator[Event]) -> Iterator[tuple[float, Event]]:
    """Events, each with the seconds that it took to come."""
    while True:
        begun = time.perf_counter()
        event = next(events, None)
        synchronise(model.device)
        if event is None:
            return
        yield time.perf_counter() - begun, event


def quick_speed(model: ColaDLM, blocks: int = 3, tokens: int = 24) -> Iterator[Speed | None]:
    """A short measurement of one text at a time, a few seconds for a small model; in pieces, the Speed after the last.

    Others may use the model between two pieces.
    """
    settings = dataclasses.replace(model.defaults, stop_at_end=False, max_new_tokens=tokens)
    model.generate([PROMPT], dataclasses.replace(settings, max_new_tokens=4))  # warm up
    for timed in _timed_steps(model, 1, blocks):
        steps, products = timed
        yield None
    whole = 0.0
    for seconds, _ in _timed(model, model.sample([PROMPT], settings)):
        whole += seconds
        yield None
    yield Speed(statistics.median(steps), statistics.median(products), settings.steps, tokens / whole)
