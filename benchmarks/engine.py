"""The engine: what a guided step costs beside the bare products it cannot do without, and where the rest goes.

    python -m benchmarks.engine [--published] [--checkpoint FOLDER] [--device auto] [--dtype auto] [--threads N]
                                [--form auto] [--compiled] [--batch 1 8 32 64 256] [--steps 48] [--without] [--busy 2]

For each batch: milliseconds of a guided step (wall and, on a CPU, processor time of the process), of its bare
products as torch computes them and as the model does (packed, int8), tokens a second at 16 steps a block, in a second
run of the same shape, so that graphs are captured before. For the first batch and an eager step: how many operators
are called, how many of them compute (a kernel each; views and allocations do not), on a GPU the launches that the
profiler sees, the time in kernels (on a CPU: in operators that compute), and how many calls the captured form makes
from the host. The floor is the time in which the weights that a step reads come from memory once, at the bandwidth
that is measured here. The host's time is that of an eager step of a model of the same depth and minimal width. Then
the change of a block for batch 1, 8 and, if it is among the batches, 32; sequences that join; and memory. Last, on a
CPU, a story of 128 tokens with the model's settings and as many threads as the sampler finds best, alone and beside
--busy processes that keep the cores busy (0: alone only). Times are lower quartiles; the change of a block and a join
are differences of medians.

--published takes a DiT of the published size (1.8 B parameters) with random weights in the place of the bundled one,
and a small VAE, since only steps are measured: no story is written. --compiled compiles the layers, --no-compiled does
not (on a GPU a short run decides if both are absent).
--without measures batch 1 and 8 again, one part switched off at a time.
On a machine that does other things compare processor times: steps and products are timed in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from coladlm import ColaDLM, SamplerSettings, Step
from coladlm.evaluate.speed import PROMPT, synchronise
from coladlm.hardware.devices import DTYPES, choose_device, choose_dtype
from coladlm.hardware.threads import always
from coladlm.networks.int8 import Int8Linear
from coladlm.networks.layers import Linear
from coladlm.rounding import dit_to_int8
from coladlm.sampling import capture, velocity
from coladlm.sampling.form import FORMS, choose_form
from coladlm.sampling.graph import GraphEngine
from coladlm.sampling.shared_run import SharedRun
from coladlm.serve.threads import most_threads, set_threads
from coladlm.train.arguments import count

from .made_models import PUBLISHED, linears, narrow, published_model
from .operators import is_silent, name_kernels, operators

PLAIN = SamplerSettings(steps=16, guidance=2.0, stop_at_end=False)
CHANGES = 20  # of a block that are timed


def floor(model: ColaDLM, size: int = 1 << 28) -> tuple[float, float, float]:
    """Bytes of weights that a step reads, bytes a second that come from memory, and the milliseconds that follow.

    size: bytes of what is read to find out, too many for the cache of a processor: by adding up on a CPU, with the
    threads that torch has, and by copying on a GPU, which reads and writes.
    """
    device = model.device
    tensors = [x for layer in linears(model) for x in (*layer.parameters(), *layer.buffers())]
    weights = sum(x.numel() * x.element_size() for x in tensors)
    source = torch.ones(size // 4, device=device)
    to = torch.empty_like(source) if device.type != "cpu" else None
    best = float("inf")
    for _ in range(6):
        synchronise(device)
        begun = time.perf_counter()
        source.sum() if to is None else to.copy_(source)
        synchronise(device)
        best = min(best, time.perf_counter() - begun)
    bandwidth = (size if to is None else 2 * size) / best
    return weights, bandwidth, 1000 * weights / bandwidth


@dataclasses.dataclass
class Times:
    """Lower quartiles in milliseconds, which other work of the machine moves less than medians."""

    wall: list[float] = dataclasses.field(default_factory=list)
    processor: list[float] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def once(self, device: torch.device) -> Iterator[None]:
        synchronise(device)
        wall, processor = time.perf_counter(), time.process_time()
        yield
        synchronise(device)
        self.wall.append(1000 * (time.perf_counter() - wall))
        self.processor.append(1000 * (time.process_time() - processor))

    def wall_quartile(self) -> float:
        return _lower_quartile(self.wall)

    def beyond(self, other: Times) -> Times:
        """The median less the median of `other`: a quartile of differences would be one of their noise."""
        return Times([statistics.median(self.wall) - statistics.median(other.wall)],
                     [statistics.median(self.processor) - statistics.median(other.processor)])  # fmt: skip

    def __str__(self) -> str:
        return f"{_lower_quartile(self.wall):.2f} ({_lower_quartile(self.processor):.2f})"


def _lower_quartile(times: list[float]) -> float:
    return statistics.quantiles(times, n=4, method="inclusive")[0] if len(times) > 1 else times[0]


def weights_in(layer: Linear | Int8Linear, dtype: torch.dtype) -> torch.Tensor:
    return layer.weight if layer.weight.dtype == dtype else torch.zeros(layer.weight.shape, dtype=dtype)


@torch.inference_mode()
def step_times(model: ColaDLM, batch: int, count: int) -> tuple[Times, Times, Times]:
    """Of a guided step, of its products as torch computes them, and of those as the model does, in turns."""
    step, plain, own = Times(), Times(), Times()
    layers, device = linears(model), model.device
    rows = 2 * batch * model.block_size
    inputs = [torch.randn(rows, layer.in_features, dtype=model.dtype, device=device) for layer in layers]
    weights = [weights_in(layer, model.dtype).to(device) for layer in layers]
    blocks = 2 + -(-count // (PLAIN.steps - 1))  # the first step of each is not timed
    settings = dataclasses.replace(PLAIN, max_new_tokens=blocks * model.block_size * model.patch_size)
    events = model.sample([PROMPT * 2] * batch, settings)
    for _ in range(PLAIN.steps + 1):  # a block, in which graphs are captured
        next(events)
    while len(step.wall) < count:
        with step.once(device):
            event = next(events)
        if not isinstance(event, Step) or event.index == 0:  # has more to do than a step
            step.wall.pop(), step.processor.pop()
            continue
        for times, products in ((plain, zip(weights, inputs, strict=True)), (own, zip(layers, inputs, strict=True))):
            with times.once(device):
                for weight, x in products:
                    nn.functional.linear(x, weight) if isinstance(weight, torch.Tensor) else weight(x)
    events.close()
    return step, plain, own


def tokens_per_second(model: ColaDLM, batch: int) -> float:
    """Of the second of two equal runs: the first one captures the graphs that it needs."""
    tokens = 2 * model.block_size * model.patch_size
    settings = dataclasses.replace(PLAIN, max_new_tokens=tokens)
    for _ in range(2):
        begun = time.perf_counter()
        model.generate([PROMPT] * batch, settings)
    return batch * tokens / (time.perf_counter() - begun)


class Replays:
    """A capture that counts replays and hides what they call: on a CPU operators, or compiled pieces, which torch does
    not run in a dispatch mode.
    """

    def __init__(self, device: torch.device) -> None:
        self.capture, self.count = capture.capture_for(device), 0

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        replay = self.capture(function)

        def counted() -> None:
            self.count += 1
            with _disable_current_modes():
                replay()

        return counted


def host_calls(model: ColaDLM, batch: int) -> float:
    """Calls of a captured step from the host: replays, and operators that compute outside of them."""
    replays, outside = Replays(model.device), Counter[str]()

    class Watch(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if not is_silent(func._schema.name):
                outside[func._schema.name] += 1
            return func(*args, **(kwargs or {}))

    before, model.sampler.graphs = model.sampler.graphs, GraphEngine(model.dit, replays)
    settings = dataclasses.replace(PLAIN, max_new_tokens=3 * model.block_size * model.patch_size)
    events = model.sample([PROMPT * 2] * batch, settings)
    for _ in range(PLAIN.steps + 2):
        next(events)
    replays.count, steps = 0, 8
    with Watch():
        for _ in range(steps):
            next(events)
    events.close()
    model.sampler.graphs = before
    return (replays.count + outside.total()) / steps


def block_change(model: ColaDLM, batch: int) -> Times:
    """From the last step of a block to the first of the next, less the time of a step that is not a block's first."""
    blocks = 3 + CHANGES
    settings = dataclasses.replace(PLAIN, steps=2, max_new_tokens=blocks * model.block_size * model.patch_size)
    prompts = [PROMPT * 2] * batch
    if model.sampler.graphs is not None:  # captured here, for every length that the history will have
        model.generate(prompts, settings)
    change, step, events = Times(), Times(), model.sample(prompts, settings)
    for _ in range(2 * (settings.steps + 1) + settings.steps):  # two blocks, and the steps of the third
        next(events)
    for _ in range(CHANGES):
        with change.once(model.device):
            for _ in range(2):  # the block's result, and the first step after it
                next(events)
        with step.once(model.device):
            next(events)
    events.close()
    return change.beyond(step)


def joins(model: ColaDLM, others: int = 7) -> Times:
    """The turn in which a sequence joins `others` under way, less an ordinary first step of a block."""
    settings = dataclasses.replace(PLAIN, steps=2, max_new_tokens=40 * model.block_size * model.patch_size)
    own = dataclasses.replace(settings, max_new_tokens=4 * model.block_size * model.patch_size)
    shared, taken, ordinary = SharedRun(model.sampler, settings), Times(), Times()
    shared.join(model.plans([PROMPT] * others, settings))
    for turn in range(36):
        if turn % 3 == 2 and turn % 2:
            shared.join([dataclasses.replace(model.plan(PROMPT, own, sequence=turn), settings=own)])
        times = (taken if turn % 2 == 0 else ordinary) if turn % 3 == 0 else Times()
        with times.once(model.device):
            shared.advance()
    shared.close()
    return Times(taken.wall[1:], taken.processor[1:]).beyond(ordinary)  # the first one began the run


def parts_of(model: ColaDLM) -> list[str]:
    """Those parts of the engine that this model has, and that can be switched off."""
    packed = any(layer.packed is not None for layer in model.dit.modules() if isinstance(layer, Linear))
    has = {"packed weights": packed, "one attention": True, "graph": model.sampler.graphs is not None,
           "compiled pieces": model.dit.pieces is not None}  # fmt: skip
    return [part for part, there in has.items() if there]


@contextlib.contextmanager
def without(model: ColaDLM, part: str) -> Iterator[None]:
    """The model with a part of the engine switched off."""
    packed = {layer: layer.packed for layer in model.dit.modules() if isinstance(layer, Linear)}
    graphs, pieces, long = model.sampler.graphs, model.dit.pieces, velocity.LONG_HISTORY
    if graphs is not None:  # what was captured before would be replayed with the part that is to be off
        model.sampler.graphs = GraphEngine(model.dit, capture.capture_for(model.device))
    try:
        if part == "packed weights":
            for layer in packed:
                layer.packed = None
        elif part == "one attention":
            _set_long_history(0)
        elif part == "graph":
            model.sampler.graphs = None
        elif part == "compiled pieces":
            model.dit.pieces = None
        yield
    finally:
        for layer, weights in packed.items():
            layer.packed = weights
        _set_long_history(long)
        model.sampler.graphs, model.dit.pieces = graphs, pieces


def _set_long_history(positions: int) -> None:
    velocity.LONG_HISTORY = positions


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that take all the time they get."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def story(model: ColaDLM, times: int = 3) -> Times:
    """A story of 128 tokens, with the threads that the page and the command line would compute with."""
    settings, taken = dataclasses.replace(model.defaults, max_new_tokens=128, stop_at_end=False), Times()
    for _ in range(times):
        with taken.once(model.device):
            model.generate([PROMPT], settings)
    return taken


def memory(model: ColaDLM) -> str:
    tensors = [x for network in (model.vae, model.dit) for x in (*network.parameters(), *network.buffers())]
    weights = sum(x.numel() * x.element_size() for x in tensors) / 1e6
    if model.device.type == "cuda":
        most = torch.cuda.max_memory_allocated(model.device) / 1e6
        return f"weights {weights:,.0f} MB, at most {most:,.0f} MB allocated"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return f"weights {weights:,.0f} MB, the process at most {most:,.0f} MB"


def describe_step(model: ColaDLM, batch: int, steps: int, products: Times) -> None:
    """Prints what a step of this batch consists of. products: of the model, as measured for this batch."""
    with without(model, "graph"):
        calls = operators(model, batch, PLAIN)
    print(f"\nAn eager step calls {calls.called:.0f} operators, {calls.computing:.0f} of which compute", end="")
    if calls.kernels:
        print(f"; {calls.kernels:.0f} kernels and copies on the GPU, which is busy with them for {calls.busy:.2f} ms")
    else:
        print(f"; {calls.busy:.2f} ms of wall time inside those, the profiler's own cost included")
    weights, bandwidth, least = floor(model)
    print(f"The floor: {weights / 1e6:,.0f} MB of weights at {bandwidth / 1e9:,.1f} GB/s, {least:.2f} ms; the bare "
          f"products of the model at batch {batch}: {products} ms")  # fmt: skip
    print(f"Captured, it is {host_calls(model, batch):.1f} calls from the host", flush=True)
    slim = narrow(model)
    choose_form(slim.sampler, "eager", model.dit.pieces is not None)
    host, _, _ = step_times(slim, 1, steps)
    print(f"The host's part of an eager step (same depth, minimal width): {host} ms")


def load(options: argparse.Namespace) -> ColaDLM:
    device = choose_device(options.device)
    if not options.published:
        return ColaDLM.from_pretrained(
            options.checkpoint, device, options.dtype, form=options.form, compiled=options.compiled
        )
    in_int8 = options.dtype == "int8"
    dtype = choose_dtype("auto" if in_int8 else options.dtype, device, PUBLISHED.txt_dim)
    model = published_model(ColaDLM.from_pretrained(device="cpu", dtype="float32"), device, dtype, options.layers)
    if in_int8:
        dit_to_int8(model.dit, dtype)
    choose_form(model.sampler, options.form, options.compiled)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--published", action="store_true", help="the published size, random weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES, "int8"), help="(%(default)s)")
    parser.add_argument("--form", default="auto", choices=FORMS, help="of the steps (%(default)s)")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, help="compile the layers")
    parser.add_argument("--layers", type=count, default=PUBLISHED.num_layers, help="of --published (%(default)s)")
    parser.add_argument("--threads", type=count, default=1, help="of torch on a CPU (%(default)s)")
    parser.add_argument("--batch", type=count, nargs="+", help="1 8 32 64 256 if absent; 1 8 of --published on a CPU")
    parser.add_argument("--steps", type=count, default=48, help="timed steps of a batch (%(default)s)")
    parser.add_argument("--busy", type=int, default=2, help="processes beside a story (%(default)s)")
    parser.add_argument("--without", action="store_true", help="again with each part switched off")
    options = parser.parse_args()
    if options.busy < 0:
        parser.error(f"argument --busy: found {options.busy}, expected a whole number from 0")
    most_threads()
    torch.set_num_threads(options.threads)
    name_kernels()
    try:
        model = load(options)
    except ValueError as error:  # a checkpoint or a device that cannot be used
        parser.error(str(error))
    model.sampler.threads = always(options.threads)
    where = (
        torch.cuda.get_device_name(model.device)
        if model.device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads"
    )
    load_average = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    captured = "graph" if model.sampler.graphs is not None else "eager"
    captured += ", compiled pieces" if model.dit.pieces is not None else ""
    print(f"{model.name}: {model.parameters / 1e6:,.1f} M parameters, {options.dtype}, {captured}, {where}, torch "
          f"{torch.__version__}, Python {platform.python_version()}, load {load_average}\n")  # fmt: skip
    if model.rounding is not None:
        print(f"{model.rounding}\n")
    print("Milliseconds of wall time (processor time):\n")
    print("| batch | guided step | products of torch | products of the model | tokens/s |\n|---|---|---|---|---|")
    on_cpu = model.device.type == "cpu"
    batches = options.batch or ([1, 8] if options.published and on_cpu else [1, 8, 32, 64, 256])
    products = []
    for batch in batches:
        step, plain, own = step_times(model, batch, options.steps)
        products.append(own)
        print(f"| {batch} | {step} | {plain} | {own} | {tokens_per_second(model, batch):.1f} |", flush=True)
    describe_step(model, batches[0], options.steps, products[0])
    changes = (f"batch {batch} {block_change(model, batch)} ms" for batch in (1, 8, 32) if batch < 32 or 32 in batches)
    print(f"Change of a block: {', '.join(changes)}")
    joining = joins(model)
    print(f"A sequence that joins seven: {joining} ms, {1000 / joining.wall_quartile():.0f} a second")
    print(memory(model), flush=True)
    if options.without:
        print("\n| without | batch 1 | batch 8 |\n|---|---|---|")
        for part in ("nothing", *parts_of(model)):
            with without(model, part):
                print(f"| {part} | {step_times(model, 1, options.steps)[0]} | "
                      f"{step_times(model, 8, options.steps)[0]} |", flush=True)  # fmt: skip
    if not on_cpu or options.published:
        print(f"\nNo story: {'random weights write none' if options.published else 'it is measured on a CPU only'}")
    else:
        set_threads(model)
        print(f"\nA story of 128 tokens: {story(model)} ms alone", flush=True)
        if options.busy:
            with busy(options.busy):
                print(f"and beside {options.busy} busy processes {story(model)} ms")


if __name__ == "__main__":
    main()
