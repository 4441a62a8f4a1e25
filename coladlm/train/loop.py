"""The training loop: a stage, batches, a time limit; resumable after a kill at any moment with the same curve.

A stage is a module: `stage(ids, generator)` gives a dict with `loss` and its parts, `stage.validate(batches,
generator)` a dict of numbers. What a step draws depends on (seed, step) alone, and the whole state (weights, their
moving average, the optimisers', steps and seconds) is one safetensors file that is replaced in one move. The learning
rate follows the share of the limit that has passed, so any number of minutes is a whole schedule. A run that is to go
on for days has a constant rate; a copy of its folder with a `decay` at its end gives weights to ship. Knows nothing of
what is trained.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .precision import autocast
from .ranks import ALONE, Ranks, like, whole
from .stopping import Stopped, asked_to_stop

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """Exactly one of `minutes` (of training, pauses not counted) and `steps` limits the run.

    clock: what minutes are of, "wall", or "processor": the sum over all cores, which on a machine that does other
    things too is the fair measure of two trainings.
    """

    minutes: float | None = None
    steps: int | None = None
    clock: str = "wall"
    seed: int = 0
    # optimiser
    optimizer: str = "adamw"  # adamw | muon (for matrices of attention and MLP, AdamW for the rest)
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay: float = 1.0  # share of the limit, at its end, over which the rate falls; before it the rate is constant
    final_rate: float = 0.02  # of the learning rate, at the end of the cosine
    clip: float = 1.0
    average: float = 0.999  # decay of the moving average of weights
    # Threads that share a batch's rows and run one core each. Threads inside every operation wait for each other
    # thousands of times a step, which on a CPU that does other things too costs a third of the speed.
    # Where several processes train together (see `ranks.py`), each is one of them.
    workers: int = 1
    # housekeeping
    log_steps: int = 20
    checkpoint_seconds: float = 180.0
    validate_seconds: float = 300.0

    def __post_init__(self):
        if (self.minutes is None) == (self.steps is None):
            raise ValueError(f"minutes is {self.minutes} and steps is {self.steps}, expected exactly one of them")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ValueError(f"minutes is {self.minutes:g}, expected a number above 0")
        for name, value in (("steps", self.steps), ("workers", self.workers)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        if not self.validate_seconds > 0:
            raise ValueError(f"validate_seconds is {self.validate_seconds:g}, expected a number above 0")
        if self.clock not in CLOCKS:
            raise ValueError(f"clock is {self.clock!r}, expected wall or processor")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, expected 0 to 1")
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer is {self.optimizer!r}, expected adamw or muon")


def generator_for(seed: int, step: int, device: torch.device | str) -> torch.Generator:
    """The randomness of one step."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % (1 << 63))


def share_of_rate(step: int, progress: float, settings: LoopSettings) -> float:
    """Warm-up by steps (at most a tenth of them), a constant rate, then a cosine over the last share of the limit."""
    fallen = max(0.0, 1 - (1 - min(progress, 1.0)) / settings.decay) if settings.decay else 0.0
    cosine = 0.5 * (1 + math.cos(math.pi * fallen))
    rate = settings.final_rate + (1 - settings.final_rate) * cosine
    warmup = settings.warmup_steps if settings.steps is None else min(settings.warmup_steps, settings.steps // 10)
    return rate * min(1.0, (step + 1) / max(1, warmup))


class Stage(nn.Module, abc.ABC):
    """What is trained: ids (B, n) and a generator in, the loss and its parts out.

    leaves_out: may a batch leave a parameter without a gradient?
    """

    leaves_out = False

    @abc.abstractmethod
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """The numbers of held-out batches of ids."""


class Training:
    """A stage in training, with its state file and its metrics in `folder`."""

    def __init__(self, stage: Stage, batch: Callable[[int], Tensor], valid: list[Tensor], settings: LoopSettings,
                 folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32,
                 ranks: Ranks = ALONE):  # fmt: skip
        """batch: step -> ids (B, n). valid: batches of ids, moved to the device here. ranks: which of the processes
        that train together this is. Raises ValueError for settings that do not go with them.
        """
        self.device, self.dtype, self.settings, self.folder = torch.device(device), dtype, settings, folder
        self.ranks = ranks
        if ranks.count > 1:
            self.settings = _of_ranks(settings, ranks)
        self.stage = stage.to(self.device)
        self.parallel = ranks.parallel(self.stage, stage.leaves_out if ranks.count > 1 else False)
        self.batch, self.valid = batch, [ids.to(self.device) for ids in valid]
        self.trained = {name: p for name, p in self.stage.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        state = self.stage.state_dict()
        self.kept = {name: x for name, x in self.stage.named_buffers() if name in state}
        self.optimizers = _optimizers(self.trained, self.settings, self.device)
        self.pool = ThreadPoolExecutor(settings.workers, initializer=torch.set_num_threads, initargs=(1,))
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self.state_file.is_file():
            self.resume()
        elif ranks.first:
            self.metrics_file.unlink(missing_ok=True)
        ranks.wait()  # nobody writes a state that another one is still looking for

    @property
    def state_file(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def progress(self) -> float:
        """The share of the limit that has passed."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        assert self.settings.minutes is not None  # it is, where steps are not: LoopSettings checks that
        return self.seconds / (60 * self.settings.minutes)

    # training

    def run(self, report: Callable[[dict[str, Any]], None] = lambda metrics: None,
            each_validation: Callable[[Training], dict[str, Any]] | None = None) -> None:  # fmt: skip
        """Trains to the limit. `report` gets every line of metrics; `each_validation` adds to those of validation.

        Raises Stopped after Ctrl-C or SIGTERM, with everything saved. (Processes that train together stop at once:
        what they save they save together, and a signal reaches each at a step of its own.)
        """
        listening = asked_to_stop() if self.ranks.count == 1 else contextlib.nullcontext(lambda: 0)
        with listening as signal_number:
            self._run(report, each_validation, signal_number)
            if number := signal_number():
                raise Stopped(number, self.step)

    def _run(self, report: Callable[[dict[str, Any]], None],
             each_validation: Callable[[Training], dict[str, Any]] | None,
             asked: Callable[[], int]) -> None:  # fmt: skip
        """Trains to the limit, or until it is asked to stop, and saves."""
        s, sums, clock = self.settings, {}, CLOCKS[self.settings.clock]
        since = clock()
        metrics: dict[str, float] = {}
        saved, validated = self.seconds, self.seconds // s.validate_seconds
        window_seconds, window_tokens = self.seconds, self.tokens
        while self.progress < 1:
            for name, value in self.train_step().items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % s.log_steps == 0 or self.progress >= 1:
                sums = self.ranks.mean(sums)
                count = sums.pop("count")
                metrics = {name: round(float(value) / count, 5) for name, value in sums.items()}
            now = clock()
            self.seconds, since = self.ranks.agreed(self.seconds + now - since), now
            if self.step % s.log_steps == 0 or self.progress >= 1:
                speed = (self.tokens - window_tokens) / max(1e-9, self.seconds - window_seconds)
                self.log({"kind": "train", **metrics, "tokens_per_second": round(speed)}, report)
                sums, window_seconds, window_tokens = {}, self.seconds, self.tokens
            if self.seconds // s.validate_seconds > validated or self.progress >= 1:
                validated = self.seconds // s.validate_seconds
                self._validate_and_log(report, each_validation)
                since = clock()  # validation is not training time
            stop = asked() > 0
            if self.seconds - saved > s.checkpoint_seconds or self.progress >= 1 or stop:
                saved = self.seconds
                self.save()
            if stop:
                break

    def _validate_and_log(self, report: Callable[[dict[str, Any]], None],
                          each_validation: Callable[[Training], dict[str, Any]] | None) -> None:  # fmt: skip
        """By the first process; by all where they hold the weights together, and then without `each_validation`."""
        if self.ranks.first or self.ranks.sharded:
            metrics = self.validate()
            if each_validation is not None and not self.ranks.sharded:
                metrics |= each_validation(self)
            self.log({"kind": "valid", **metrics}, report)

    def train_step(self) -> dict[str, Tensor | int]:
        s = self.settings
        ids = self.batch(self.step).to(self.device)
        rate = share_of_rate(self.step, self.progress, s)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = s.learning_rate * rate
        means = self._backward_here(ids) if self.ranks.count == 1 else self._backward_together(ids)
        norm = nn.utils.clip_grad_norm_(list(self.trained.values()), s.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step, self.tokens = self.step + 1, self.tokens + ids.numel()
        decay = min(s.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            trained: list[Tensor] = list(self.trained.values())
            torch._foreach_lerp_(list(self.average.values()), trained, 1 - decay)
        return {**means, "norm": whole(norm.detach()), "count": 1}

    def _backward_here(self, ids: Tensor) -> dict[str, Tensor]:
        """Leaves the gradients of a batch in the parameters; returns the parts of its loss."""
        shares = ids.chunk(self.settings.workers)
        if len(shares) == 1:
            found = [self.gradients(ids, 0)]
        else:
            found = list(self.pool.map(self.gradients, shares, range(len(shares))))
        parts, gradients = found[0]
        for more_parts, more_gradients in found[1:]:
            parts = {name: value + more_parts[name] for name, value in parts.items()}
            torch._foreach_add_(gradients, more_gradients)
        torch._foreach_div_(gradients, len(shares))
        for parameter, gradient in zip(self.trained.values(), gradients, strict=True):
            parameter.grad = gradient
        return {name: value / len(shares) for name, value in parts.items()}

    def _backward_together(self, ids: Tensor) -> dict[str, Tensor]:
        """The same with this process's rows: gradients are those of all, the parts of the loss are its own."""
        s, (rows, weight) = self.settings, self.ranks.share(ids)
        with autocast(self.dtype, self.device):
            parts = self.parallel(rows, generator_for(s.seed, self.step * s.workers + self.ranks.rank, self.device))
        (parts["loss"] * weight).backward()
        self.ranks.after_backward(self.stage)
        for parameter in self.trained.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return {name: value.detach() * weight for name, value in parts.items()}

    def gradients(self, ids: Tensor, worker: int) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The parts of the loss of a worker's rows, and the gradients of all trained parameters."""
        s = self.settings
        with autocast(self.dtype, self.device, shared=s.workers > 1):
            parts = self.stage(ids, generator_for(s.seed, self.step * s.workers + worker, self.device))
        gradients = torch.autograd.grad(parts["loss"], list(self.trained.values()), materialize_grads=True)
        return {name: value.detach() for name, value in parts.items()}, list(gradients)

    def validate(self) -> dict[str, float]:
        """The stage's validation with the moving average of weights, on the same draws every time."""
        with self.averaged(), autocast(self.dtype, self.device):
            found = self.stage.validate(self.valid, generator_for(0, 0, self.device))
        return {name: round(value, 5) for name, value in found.items()}

    @contextlib.contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The stage with the moving average in place of its weights, in evaluation mode."""
        kept = {name: p.data for name, p in self.trained.items()}
        if self.ranks.sharded:  # whose parts know where they lie
            kept = {name: value.clone() for name, value in kept.items()}
        self._put(self.average)
        self.stage.eval()
        try:
            yield self.stage
        finally:
            self.stage.train()
            self._put(kept)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            if self.ranks.sharded:
                parameter.copy_(weights[name])
            else:
                parameter.data = weights[name]
        self.ranks.after_backward(self.stage)  # a forward pass takes the new ones

    def log(self, metrics: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
        if not self.ranks.first:
            return
        line = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1),
                "share": round(min(1.0, self.progress), 4), **metrics}  # fmt: skip
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        report(line)

    # state

    def save(self) -> None:
        """Writes the whole state under another name, then renames it: a reader finds the old one or the new one."""
        tensors = {f"model.{name}": p.detach() for name, p in self.trained.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        tensors |= {f"buffer.{name}": buffer for name, buffer in self.kept.items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in state.items()}
        progress = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds, "seed": self.settings.seed}
        partial = self.state_file.with_suffix(".partial")
        tensors = {name: whole(value).contiguous().cpu() for name, value in tensors.items()}
        if not self.ranks.first:
            return
        save_file(tensors, partial, {"progress": json.dumps(progress)})
        os.replace(partial, self.state_file)

    def resume(self) -> None:
        """Takes up the state file, and drops the lines of metrics that were written after it. Raises ValueError where
        another seed began it, whose curve this one would not go on with.
        """
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.optimizers]
        with safe_open(self.state_file, "pt", device=str(self.device)) as file, torch.no_grad():
            progress = json.loads(file.metadata()["progress"])
            begun = progress.get("seed", self.settings.seed)  # states of older versions do not say it
            if begun != self.settings.seed:
                raise ValueError(f"seed is {self.settings.seed}, and the training in {self.folder} began with {begun}, "
                                 "expected the same seed or another folder")  # fmt: skip
            for name, parameter in self.trained.items():
                parameter.copy_(like(file.get_tensor(f"model.{name}"), parameter))
                self.average[name].copy_(like(file.get_tensor(f"average.{name}"), parameter))
            for key in list(file.keys()):
                if key.startswith("optimizer."):
                    _, number, index, entry = key.split(".", 3)
                    states[int(number)].setdefault(int(index), {})[entry] = file.get_tensor(key)
        for optimizer, state in zip(self.optimizers, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {index: {entry: like(value, parameters[index]) for entry, value in entries.items()}
                     for index, entries in state.items()}  # fmt: skip
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.tokens, self.seconds = progress["step"], progress["tokens"], progress["seconds"]
        if self.metrics_file.is_file() and self.ranks.first:
            lines = self.metrics_file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= self.step]
            self.metrics_file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _of_ranks(s: LoopSettings, ranks: Ranks) -> LoopSettings:
    """The settings of processes that train together, each of which is one worker. Raises ValueError."""
    if s.workers not in (1, ranks.count):
        raise ValueError(f"workers is {s.workers}, expected {ranks.count}: each process is one of them")
    if ranks.sharded and s.optimizer != "adamw":
        raise ValueError(
            f"optimizer is {s.optimizer!r}, expected adamw: Muon turns whole matrices, and shards are none"
        )
    return dataclasses.replace(s, workers=ranks.count)


def _optimizers(trained: dict[str, nn.Parameter], s: LoopSettings, device: torch.device) -> list[torch.optim.Optimizer]:
    """The matrices of attention and MLP by `s.optimizer`, all else by AdamW; vectors do not decay."""
    matrices = [p for name, p in trained.items() if p.ndim == 2 and ".blocks." in name and ".ada." not in name]
    inner = {id(p) for p in matrices} if s.optimizer == "muon" else set()
    others = [p for p in trained.values() if id(p) not in inner]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": s.weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=s.learning_rate, betas=s.betas, fused=device.type in ("cpu", "cuda"))
    ]
    if inner:
        # "match_rms_adamw" sizes the update like AdamW's, so both share one learning rate (Liu et al. 2025)
        muon = torch.optim.Muon(
            matrices, lr=s.learning_rate, weight_decay=s.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers
