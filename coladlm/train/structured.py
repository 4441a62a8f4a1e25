"""A pair of tiny models on the structured tasks alone: `python -m coladlm.train.structured --out FOLDER`.

A Cola-DLM and an autoregressive transformer of equal size see the same instances in the same order for the same
processor time. Everything is kept in the folder: run/ with the states, cola/ and transformer/ with the results.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baseline.baseline import check_baseline_destination
from ..baseline.transformer import TransformerConfig
from ..checkpoint.saving import check_destination, write_json
from ..errors import sentence_of
from ..networks.config import DiTConfig, TextVAEConfig
from ..settings import SamplerSettings
from ..structured.generators import training_instance
from ..structured.vocabulary import make_tokenizer
from . import arguments, baseline
from .corpus import Rows, write_tokens
from .dit_objective import DiTObjective
from .export import export
from .loop import LoopSettings
from .precision import choose_dtype
from .progress import reporter
from .stages import Place, keep_memory, run_dit, run_vae
from .stopping import stop_sentence
from .vae import VAEObjective

FACTS = "training.json"  # of each stage its steps, tokens and minutes of processor time
BEGUN = "begun.json"  # those of OF_THE_FOLDER that the pair was begun with
OF_THE_FOLDER = ("seed", "instances", "tokens")  # what both models have to share, or they would not be a pair
MODELS = ("cola", "transformer")
ROWS = Rows(longest=96, bucket=16)
MAX_TOKENS = 320  # that the transformer may write, though no row of training is so long
BLOCK, CHANNELS, HEAD_DIM = 4, 16, 32
VALIDATION_INSTANCES = 256
VAE_SHARE = 0.133  # of the Cola-DLM's time
SAMPLER = SamplerSettings(
    steps=16,
    stagger=1.0,
    guidance=1.0,
    time_shift=2.0,
    history="reencoded",
    max_new_tokens=64,
    repetition_penalty=1.0,
)
# What makes a small flow learn fast (docs/training.md): rows of single positions, and to name tokens, too.
DIT_OBJECTIVE = DiTObjective(single_rows=0.6, head_weight=1.0, next_weight=0.5, pinned_blocks=0.25)
VOCABULARY = make_tokenizer().get_vocab_size()
VAE = TextVAEConfig(
    vocab_size=VOCABULARY, encoder_num_blocks=1, decoder_num_blocks=1, dim=64, ffn_dim=256, num_heads=2,
    latent_dim=CHANNELS, block_size=BLOCK, post_norm=False,
)  # fmt: skip
DIT = DiTConfig(
    txt_in_channels=CHANNELS, txt_out_channels=CHANNELS, block_size=BLOCK, txt_dim=128, emb_dim=128, heads=4,
    head_dim=HEAD_DIM, rope_dim=HEAD_DIM * 3 // 4, expand_ratio=3, num_layers=3,
)  # fmt: skip
TRANSFORMER = TransformerConfig(
    vocab_size=VOCABULARY, dim=128, num_layers=5, num_heads=4, ffn_dim=336, max_tokens=MAX_TOKENS
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """How a pair is trained. minutes: of processor time for each of the two models, over all cores. steps: instead, of
    each stage. instances: in the corpus, which begins again after the last. only: one of MODELS, or None for both.
    Raises ValueError.
    """

    only: str | None = None
    minutes: float = 9.0
    steps: int | None = None
    instances: int = 300_000
    tokens: int = 2048  # a batch
    workers: int = 1
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf:
            raise ValueError(f"minutes is {self.minutes:g}, expected a number above 0")
        for name in ("steps", "instances", "tokens", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")


def train(folder: Path, pair: Pair) -> None:
    """Trains both models in `folder`, each stage from its last state if there is one, and writes both results.

    Raises ValueError where the folder was begun with another seed, or has no place for the results.
    """
    place = Place(folder / "run", "cpu", choose_dtype(pair.dtype), pair.tokens, ROWS)
    check_destination(folder / "cola")
    check_baseline_destination(folder / "transformer")
    _begin(place.folder, pair)
    write_corpus(place.folder, pair)
    if pair.only != "transformer":
        _train_cola(place, pair, folder / "cola")
    if pair.only != "cola":
        settings = _settings(pair, 1.0, optimizer="muon")
        baseline.train(place, TRANSFORMER, settings, reporter("transformer"))
        baseline.export(place.folder, folder / "transformer")
    stages = {"vae": "vae", "dit": "dit", "transformer": baseline.FOLDER}
    facts = {name: baseline.training_facts(place.folder / stage) for name, stage in stages.items()}
    write_json(folder / FACTS, facts)


def _train_cola(place: Place, pair: Pair, result: Path) -> None:
    share = 1.0 if pair.steps else VAE_SHARE
    run_vae(place, VAE, VAEObjective(), _settings(pair, share), reporter("vae"), codes())
    settings = _settings(pair, share if pair.steps else 1 - VAE_SHARE, optimizer="muon")
    run_dit(place, DIT, DIT_OBJECTIVE, settings, reporter("dit"))
    export(place.folder, result, SAMPLER.to_dict())


def _begin(run: Path, pair: Pair) -> None:
    """Writes down what the pair is begun with. Raises ValueError where it was begun with something else."""
    file, own = run / BEGUN, {name: getattr(pair, name) for name in OF_THE_FOLDER}
    if not file.is_file():
        run.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(
            f".{os.getpid()}.partial"
        )  # for the two processes of --only, which may begin at once
        write_json(partial, own)
        os.replace(partial, file)
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    for name, value in own.items():
        if begun.get(name) != value:
            raise ValueError(f"{name} is {value}, and the pair in {run.parent} was begun with {begun.get(name)}, "
                             f"expected the same {name} or another folder")  # fmt: skip


def write_corpus(run: Path, pair: Pair) -> None:
    """The tokenizer and both token files, whose instances no test has."""
    run.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(run / "tokenizer.json"))
    for name, count in (("valid", min(VALIDATION_INSTANCES, pair.instances)), ("train", pair.instances)):
        if not (run / f"{name}.u16").is_file():
            random = Random(f"{name} {pair.seed}")
            instances = (training_instance(random) for _ in range(count))
            write_tokens(run / f"{name}.u16", [x.prompt + x.answer for x in instances], tokenizer)


def codes() -> Tensor:
    """(VOCABULARY, CHANNELS): a random direction for each symbol; the company that symbols keep tells nothing here."""
    drawn = torch.randn(VOCABULARY, CHANNELS, generator=torch.Generator().manual_seed(0))
    return F.layer_norm(drawn, (CHANNELS,))


def _settings(pair: Pair, share: float, optimizer: str = "adamw") -> LoopSettings:
    return LoopSettings(
        minutes=None if pair.steps else share * pair.minutes,
        steps=pair.steps,
        clock="processor",
        seed=pair.seed,
        learning_rate=3e-3,
        optimizer=optimizer,
        warmup_steps=100,
        average=0.995,
        workers=pair.workers,
        log_steps=50,
        checkpoint_seconds=60,
        validate_seconds=120,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a tiny Cola-DLM and a tiny transformer of equal size on the structured tasks of the bench, for equal "
        "processor time. The same command goes on where it was stopped."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/structured"), help="the pair's folder (%(default)s)")
    parser.add_argument("--only", choices=MODELS, help="one of the two, as for two processes side by side (both)")
    parser.add_argument("--minutes", type=arguments.minutes, default=Pair.minutes,
                        help="processor time for each model, summed over cores (%(default)g)")  # fmt: skip
    parser.add_argument(
        "--steps", type=arguments.count, help="instead: steps of each stage, for curves that repeat to the digit"
    )
    parser.add_argument("--instances", type=arguments.count, default=Pair.instances,
                        help="in the corpus (%(default)s)")  # fmt: skip
    parser.add_argument("--tokens", type=arguments.count, default=Pair.tokens, help="a batch (%(default)s)")
    parser.add_argument("--workers", type=arguments.count, default=Pair.workers,
                        help="threads of one core each that share a batch (%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=Pair.seed,
                        help="of everything that is drawn; a folder keeps its own (%(default)s)")  # fmt: skip
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default=Pair.dtype,
                        help="of matrix products; auto measures (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains and exports. Returns the exit status."""
    torch.set_flush_denormal(True)
    keep_memory()
    torch.set_num_threads(1)
    names = [field.name for field in dataclasses.fields(Pair)]
    try:
        train(args.out, Pair(**{name: getattr(args, name) for name in names}))
    except (ValueError, OSError) as error:
        print(f"structured: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        sentence, status = stop_sentence(stop)
        print(f"\nstructured: {sentence}", file=sys.stderr)
        return status
    return 0


def main(argv: list[str] | None = None) -> int:
    """Parses `argv` and trains. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m coladlm.train.structured")
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
