"""Trains the baseline on the token files of a run, beside its VAE and DiT: `python -m coladlm.train.baseline`.

The same rows in the same order, the same loop and the same optimiser as the DiT; one row is one story, read after the
end token, and what follows its own end token does not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baseline.baseline import Baseline, check_baseline_destination, save_baseline
from ..baseline.transformer import Transformer, TransformerConfig
from ..errors import sentence_of
from ..tokenizer import load_tokenizer
from . import arguments
from .curves import read_metrics
from .loop import LoopSettings, Stage, Training
from .precision import choose_dtype, training_device
from .progress import reporter
from .ranks import Ranks, joined
from .stages import Place, keep_memory, load_average
from .stopping import stop_sentence

FOLDER = "baseline"
BEFORE = "before.json"  # the `training` of the baseline that a run began with


class BaselineStage(Stage):
    """The network and what it is trained on: ids (B, n) in, the cross-entropy of the next token out."""

    def __init__(self, config: TransformerConfig, end: int, pad: int):
        super().__init__()
        self.network = Transformer(config)
        self.network.initialise()
        self.end, self.pad = end, pad

    def forward(self, ids: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """ids (B, n) -> the loss, a mean over the tokens that are no padding. Nothing is drawn."""
        return {"loss": self.cross_entropy(ids).mean()}

    def cross_entropy(self, ids: Tensor) -> Tensor:
        """In nats, (tokens that are no padding,), in the order of the rows."""
        start = torch.full_like(ids[:, :1], self.end)
        hidden = self.network.hidden(torch.cat((start, ids[:, :-1]), 1))
        real = ids != self.pad
        return F.cross_entropy(self.network.logits(hidden[real]), ids[real], reduction="none")

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator | None = None) -> dict[str, float]:
        """Cross-entropy a token, in nats."""
        values = torch.cat([self.cross_entropy(ids) for ids in batches])
        return {"cross_entropy": values.mean().item()}


def train(place: Place, config: TransformerConfig, settings: LoopSettings, report: Callable[[dict[str, Any]], None],
          start: Path | None = None) -> None:  # fmt: skip
    """Trains in `place.folder`/baseline, from its last state if there is one; the first time from the weights of the
    baseline in `start`, if given, else from new ones of `config`.
    """
    corpus, folder = place.corpus("train"), place.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file, begun = folder / "config.json", None
    if (folder / "state.safetensors").is_file():
        config = _config(folder)
    elif start is not None:
        begun = Baseline.from_pretrained(start, "cpu", "float32")
        config = begun.network.config
        if place.ranks.first:
            (folder / BEFORE).write_text(json.dumps(begun.training), encoding="utf-8")
    if place.ranks.first:
        file.write_text(json.dumps(config.to_dict(), indent=2), encoding="utf-8")
    torch.manual_seed(settings.seed)
    stage = BaselineStage(config, corpus.end, corpus.pad)
    if begun is not None:
        stage.network.load_state_dict(begun.network.state_dict())
    training = Training(
        stage,
        lambda step: corpus.batch(step, place.tokens, settings.seed),
        place.valid(), settings, folder, place.device, place.dtype, place.ranks,
    )  # fmt: skip
    before = _last(folder, "valid").get("cpu_seconds", 0.0) - time.process_time()
    kept = settings.clock == "processor"  # its seconds are the processor's already
    training.run(report, None if kept else lambda _: {"cpu_seconds": round(before + time.process_time(), 1)})
    place.ranks.wait()  # for the last state


def export(run: Path, folder: Path) -> None:
    """Writes the baseline of the run so far to `folder`: the moving average of weights, in bfloat16, whole or not at
    all. Its config says how it was trained, next to the run's DiT, with what came before the run. Raises
    CheckpointError.
    """
    before = _before(run / FOLDER)
    trained = {part: _added(before.get(part, {}), training_facts(run / part)) for part in (FOLDER, "dit")}
    network = load_average(Transformer(_config(run / FOLDER)), run / FOLDER, "network.")
    tokenizer = load_tokenizer(run / "tokenizer.json")
    save_baseline(folder, Baseline(network, tokenizer, training=trained), torch.bfloat16)


def _config(folder: Path) -> TransformerConfig:
    file = folder / "config.json"
    return TransformerConfig.from_dict(json.loads(file.read_text(encoding="utf-8")), str(file))


def training_facts(folder: Path) -> dict[str, float]:
    """Steps, tokens and minutes by a stage's clock, from its metrics; minutes of the processor where it kept them."""
    if not (folder / "metrics.jsonl").is_file():
        return {}
    last, valid = _last(folder, "train"), _last(folder, "valid")
    found = {"steps": last["step"], "tokens": last["tokens"], "minutes": round(last["seconds"] / 60, 1)}
    if "cpu_seconds" in valid:
        found["processor_minutes"] = round(valid["cpu_seconds"] / 60, 1)
    return found


def _before(folder: Path) -> dict[str, dict[str, float]]:
    """What the baseline that this run began with says of its own training and that of the DiT beside it."""
    file = folder / BEFORE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _added(before: dict[str, float], trained: dict[str, float]) -> dict[str, float]:
    """Both together, number by number."""
    return {name: round(before.get(name, 0) + trained.get(name, 0), 1) for name in {**before, **trained}}


def _last(folder: Path, kind: str) -> dict[str, Any]:
    file = folder / "metrics.jsonl"
    lines = [line for line in read_metrics(folder) if line["kind"] == kind] if file.is_file() else []
    return lines[-1] if lines else {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Trains the autoregressive baseline on the token files that `train tokenizer` left in a run."
    parser.add_argument("--run", type=Path, default=Path("runs/story"), help="the run's folder (%(default)s)")
    parser.add_argument("--to", type=Path, help="folder of the result (RUN/baseline/checkpoint)")
    parser.add_argument("--start-from", type=Path, metavar="BASELINE", help="begin with the weights of a baseline")
    parser.add_argument("--export", action="store_true", help="train no further, only write the result")
    parser.add_argument("--minutes", type=arguments.minutes, default=40, help="of training (%(default)g)")
    parser.add_argument("--steps", type=arguments.count, help="instead: steps")
    parser.add_argument("--width", type=int, default=TransformerConfig.dim, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=arguments.count, default=TransformerConfig.num_layers, help="(%(default)s)")
    parser.add_argument("--tokens", type=arguments.count, default=3072, help="a batch (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="(%(default)g)")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto",
                        help="of matrix products; auto measures (%(default)s)")  # fmt: skip
    parser.add_argument("--threads", type=arguments.count, help="of the CPU (all)")
    parser.add_argument("--workers", type=arguments.count, default=1,
                        help="threads of one core each that share a batch (%(default)s)")  # fmt: skip
    parser.add_argument("--shard", action="store_true", help="with torchrun: shard a large network (FSDP2)")


def run(args: argparse.Namespace) -> int:
    """Trains and exports. Returns the exit status."""
    torch.set_flush_denormal(True)
    keep_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        with joined(training_device(args.device), args.shard) as (ranks, device):
            return _train_and_export(args, ranks, device)
    except (ValueError, OSError) as error:
        print(f"baseline: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        sentence, status = stop_sentence(stop)
        print(f"\nbaseline: {sentence}", file=sys.stderr)
        return status


def _train_and_export(args: argparse.Namespace, ranks: Ranks, device: str) -> int:
    to = args.to or args.run / FOLDER / "checkpoint"
    if ranks.first:
        check_baseline_destination(to)
    if not args.export:
        dtype = ranks.agreed_dtype(choose_dtype(args.dtype, device))
        if ranks.first:
            print(f"device {device}, products in {str(dtype).removeprefix('torch.')}", flush=True)
        place = Place(args.run, device, dtype, args.tokens, ranks=ranks)
        limit = {"steps": args.steps} if args.steps else {"minutes": args.minutes}
        settings = LoopSettings(**limit, seed=args.seed, learning_rate=args.learning_rate,
                                optimizer=args.optimizer, validate_seconds=240, workers=args.workers)  # fmt: skip
        config = TransformerConfig(
            vocab_size=place.tokenizer().get_vocab_size(), dim=args.width, num_layers=args.layers,
            num_heads=args.width // 64, ffn_dim=args.width * 21 // 8, max_tokens=place.rows.longest,
        )  # fmt: skip
        train(place, config, settings, reporter("transformer"), args.start_from)
    if ranks.first:
        export(args.run, to)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Parses `argv` and trains. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m coladlm.train.baseline")
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
