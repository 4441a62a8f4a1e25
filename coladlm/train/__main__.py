"""`python -m coladlm.train`: the stages of training, their options, and what is printed on the way."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from ..checkpoint.saving import check_destination
from ..errors import sentence_of
from ..extras import MissingExtraError
from ..model import ColaDLM
from ..networks.config import DiTConfig, TextVAEConfig
from ..tokenizer import load_tokenizer
from . import arguments
from .corpus import CorpusError, Rows
from .curves import draw_curves
from .dit import DiTStage
from .dit_objective import DiTObjective
from .export import export, sampler_of
from .loop import LoopSettings, Training
from .precision import choose_dtype, training_device
from .progress import reporter
from .ranks import ALONE, Ranks, joined
from .stages import (
    Beginning,
    Place,
    begin_from,
    keep_memory,
    run_decoder,
    run_dit,
    run_tokenizer,
    run_vae,
)
from .stopping import stop_sentence
from .vae import VAEObjective

HEAD_DIM = 64
SAMPLE_PROMPTS = ("Once upon a time", "Tom and his dog went to the park.")
SAMPLE_TOKENS = 48
# Noise beyond what the first training has, and clean blocks before noisy ones, as they are while a text is written.
DECODER_OBJECTIVE = VAEObjective(noise=0.65, noise_by_block=0.25, own_noise_rows=0.0, mask_rows=0.0)
STAGES = ("tokenizer", "vae", "decoder", "dit", "export", "all")
DESCRIPTION = """\
Trains a Cola-DLM from a folder with train.jsonl and valid.jsonl (one JSON object a line, key `text`).

  tokenizer   a byte-level BPE, and both files as token ids (seconds)
  vae         the text VAE: tokens to latents and back (about 9 minutes on two cores)
  decoder     the VAE's decoder on, to read noisy latents by their context; latents stay (a few minutes)
  dit         the DiT: the flow from noise to latents (as long as you like)
  export      a checkpoint in the published form, from the moving average of weights so far
  all         one after another

Everything is kept in the run's folder. Ctrl-C saves and stops. A stage that was stopped, or killed, goes on from its
last checkpoint when it is started again with the same options; one that has reached its limit returns at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of training; `run` takes what they parse to."""
    parser.description, parser.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--data", type=Path, help="folder with train.jsonl and valid.jsonl (tokenizer, all)")
    parser.add_argument("--run", type=Path, default=Path("runs/story"), help="the run's folder (%(default)s)")
    parser.add_argument("--to", type=Path, help="folder of the checkpoint (export, all; RUN/checkpoint)")
    parser.add_argument("--start-from", type=Path, metavar="CHECKPOINT",
                        help="begin with the tokenizer, VAE and DiT of a checkpoint (needs --data)")  # fmt: skip
    parser.add_argument(
        "--vocab-size", type=arguments.count, default=4096, help="tokens of the tokenizer (%(default)s)"
    )

    limit = parser.add_argument_group("limits")
    limit.add_argument("--vae-minutes", type=arguments.minutes, default=9, help="of training of the VAE (%(default)g)")
    limit.add_argument(
        "--decoder-minutes", type=arguments.minutes, default=4, help="of training of the decoder (%(default)g)"
    )
    limit.add_argument("--minutes", type=arguments.minutes, default=60, help="of training of the DiT (%(default)g)")
    limit.add_argument(
        "--steps", type=arguments.count, help="instead: steps of either, for curves that repeat to the digit"
    )

    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--block-size", type=arguments.count, default=4, help="latents a block (%(default)s)")
    sizes.add_argument("--latent-dim", type=arguments.count, default=16, help="channels of a latent (%(default)s)")
    sizes.add_argument("--width", type=int, default=256, help="of both networks, a multiple of 64 (%(default)s)")
    sizes.add_argument("--layers", type=arguments.count, default=6, help="of the DiT (%(default)s)")
    sizes.add_argument("--vae-layers", type=int, nargs=2, default=(2, 2), metavar=("ENC", "DEC"),
                       help="of encoder and decoder (2 2)")  # fmt: skip
    sizes.add_argument(
        "--longest", type=arguments.count, default=256, help="tokens of a row; longer stories are cut (%(default)s)"
    )

    _add_training_arguments(parser)

    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (%(default)s)")
    machine.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto",
                         help="of matrix products; auto measures (%(default)s)")  # fmt: skip
    machine.add_argument("--threads", type=arguments.count, help="of the CPU (all)")
    machine.add_argument("--workers", type=arguments.count, default=1,
                         help="threads of one core each that share a batch; as many as cores is best on a busy CPU "
                         "(%(default)s)")  # fmt: skip
    machine.add_argument("--shard", action="store_true",
                         help="with torchrun: shard a large network over the processes (FSDP2)")  # fmt: skip
    machine.add_argument("--compile", action="store_true", help="compile the DiT's layers (minutes at the start)")


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how it is trained")
    how.add_argument("--tokens", type=arguments.count, default=4096, help="a batch (%(default)s)")
    how.add_argument("--vae-learning-rate", type=float, default=2e-3, help="(%(default)g)")
    how.add_argument("--learning-rate", type=float, default=1e-3, help="of the DiT (%(default)g)")
    how.add_argument("--validate-minutes", type=arguments.minutes, default=8.0, metavar="M",
                     help="training between two validations, which do not count as training (%(default)g)")  # fmt: skip
    how.add_argument("--decay-minutes", type=float, metavar="M",
                     help="the DiT's rate falls in the last M minutes alone; 0: never (all along)")  # fmt: skip
    how.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw",
                     help="of the matrices of the DiT's attention and MLP (%(default)s)")  # fmt: skip
    how.add_argument("--head-weight", type=float, default=DiTObjective.head_weight,
                     help="of the token head's cross-entropy, 0 for none (%(default)g)")  # fmt: skip
    how.add_argument("--next-weight", type=float, default=DiTObjective.next_weight,
                     help="of the next-token loss on the clean copy, 0 for none (%(default)g)")  # fmt: skip
    how.add_argument("--token-output", action="store_true",
                     help="the DiT's output layer names tokens, an extension of the published form")  # fmt: skip
    how.add_argument("--from-transformer", type=Path, metavar="BASELINE",
                     help="the DiT begins with what an autoregressive transformer of its size knows of the same "
                          "tokens; it reads tokens and names them, an extension of the published form")  # fmt: skip
    how.add_argument("--lessons", type=arguments.count, nargs=2, metavar=("LAYERS", "CLEAN"),
                     default=[Beginning.layer_steps, Beginning.clean_steps],
                     help="steps in which it learns that: its layers one by one, then together")  # fmt: skip
    how.add_argument("--heads-first", type=int, default=0, metavar="STEPS",
                     help="with --start-from: steps in which the token heads learn alone (%(default)s)")  # fmt: skip
    how.add_argument(
        "--teacher",
        type=Path,
        metavar="BASELINE",
        help="an autoregressive transformer on the same tokens (coladlm.train.baseline) that teaches",
    )
    how.add_argument("--taught", type=float, default=DiTObjective.taught,
                     help="share of the teacher in what is to be predicted (%(default)g)")  # fmt: skip
    how.add_argument("--staggered-blocks", type=float, default=DiTObjective.staggered_blocks,
                     help="share of blocks whose positions are noised one behind another (%(default)g)")  # fmt: skip
    how.add_argument("--single-rows", type=float, default=DiTObjective.single_rows,
                     help="share of rows with blocks of one position, all of them learned (%(default)g)")  # fmt: skip
    how.add_argument("--wide-rows", type=float, default=DiTObjective.wide_rows,
                     help="share of rows with blocks two or four times as long (%(default)g)")  # fmt: skip
    how.add_argument("--pinned-blocks", type=float, default=DiTObjective.pinned_blocks,
                     help="share of blocks in which some positions stand clean (%(default)g)")  # fmt: skip
    how.add_argument("--average", type=float, default=LoopSettings.average,
                     help="decay of the moving average of the DiT's weights (%(default)g)")  # fmt: skip
    how.add_argument("--copies", type=arguments.count, default=DiTObjective.copies,
                     help="noisy copies of each row, which share its clean one (%(default)s)")  # fmt: skip
    how.add_argument("--time-location", type=float, help="of the logit-normal times (1 with 16 channels)")
    how.add_argument("--time-scale", type=float, default=DiTObjective.time_scale,
                     help="of the logit-normal times (%(default)g)")  # fmt: skip
    how.add_argument("--history-noise", type=float, default=DiTObjective.history_noise,
                     help="largest size of the noise on the clean copy (%(default)g)")  # fmt: skip
    how.add_argument("--name", default="dit", help="folder of the DiT inside the run, for comparisons (%(default)s)")
    how.add_argument("--seed", type=int, default=0, help="of everything that is drawn (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Runs the stages that `args` names. Returns the exit status."""
    try:
        with joined(training_device(args.device), args.shard) as (ranks, device):
            _run(args, ranks, device)
    except (CorpusError, ValueError, OSError) as error:
        print(f"train: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        sentence, status = stop_sentence(stop)
        print(f"\ntrain: {sentence}", file=sys.stderr)
        return status
    return 0


def _run(args: argparse.Namespace, ranks: Ranks, device: str) -> None:
    torch.set_flush_denormal(True)  # a model that starts from zero computes with denormals, several times slower
    keep_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.compile and args.shard:
        raise ValueError("--compile is given with --shard, expected one of them: compiled layers take whole weights")
    trains = args.stage not in ("tokenizer", "export")  # else there is nothing for which to find the faster one
    dtype = ranks.agreed_dtype(choose_dtype(args.dtype if trains else "float32", device))
    place = Place(args.run, device, dtype, args.tokens, Rows(longest=args.longest), args.compile, ranks)
    stages = STAGES[:-1] if args.stage == "all" else (args.stage,)
    to = args.to or args.run / "checkpoint"
    if ranks.first:
        if "export" in stages:
            check_destination(to)
        print(f"run {args.run}, device {device}, products in {str(dtype).removeprefix('torch.')}", flush=True)
        if args.start_from is not None and not (args.run / "valid.u16").is_file():
            begin_from(place, args.start_from, _data(args))
        if "tokenizer" in stages and (args.stage == "tokenizer" or not (args.run / "valid.u16").is_file()):
            run_tokenizer(place, _data(args), args.vocab_size)
    ranks.wait()  # for what the first process alone has written
    if "vae" in stages and args.start_from is None:
        config = vae_config(args, place.tokenizer().get_vocab_size())
        run_vae(place, config, VAEObjective(), _vae_settings(args, args.vae_minutes), reporter("vae"))
        _draw_curves(args.run / "vae", ranks)
    if "decoder" in stages:
        settings = dataclasses.replace(_vae_settings(args, args.decoder_minutes), learning_rate=5e-4)
        run_decoder(place, DECODER_OBJECTIVE, settings, reporter("decoder"))
        _draw_curves(args.run / "decoder", ranks)
    if "dit" in stages:
        limit = {"steps": args.steps} if args.steps else {"minutes": args.minutes}
        settings = LoopSettings(
            **limit,
            seed=args.seed,
            learning_rate=args.learning_rate,
            optimizer=args.optimizer,
            decay=1.0 if args.decay_minutes is None or args.steps else min(1.0, args.decay_minutes / args.minutes),
            validate_seconds=60 * args.validate_minutes,
            workers=args.workers,
            average=args.average,
        )
        objective = DiTObjective(
            time_location=args.time_location,
            time_scale=args.time_scale,
            copies=args.copies,
            history_noise=args.history_noise,
            staggered_blocks=args.staggered_blocks,
            single_rows=args.single_rows,
            wide_rows=args.wide_rows,
            pinned_blocks=args.pinned_blocks,
            head_weight=args.head_weight,
            next_weight=args.next_weight,
            taught=args.taught,
        )
        run_dit(place, dit_config(args), objective, settings, reporter(args.name), _after_validation, args.name,
                args.teacher, _beginning(args))  # fmt: skip
        _draw_curves(args.run / args.name, ranks)
    if "export" in stages and ranks.first:
        export(args.run, to, name=args.name)


def _beginning(args: argparse.Namespace) -> Beginning:
    layers, clean = args.lessons
    return Beginning(args.start_from, args.token_output, args.from_transformer, layers, clean, args.heads_first)


def _draw_curves(folder: Path, ranks: Ranks = ALONE) -> None:
    """The curves as a picture, or a sentence where matplotlib is missing: no training ends for a picture."""
    if not ranks.first:
        return
    try:
        draw_curves(folder)
    except MissingExtraError as error:
        print(error, file=sys.stderr, flush=True)


def _data(args: argparse.Namespace) -> Path:
    if args.data is None:
        raise CorpusError("--data: expected a folder with train.jsonl and valid.jsonl")
    return args.data


def _vae_settings(args: argparse.Namespace, minutes: float) -> LoopSettings:
    return LoopSettings(
        minutes=None if args.steps else minutes,
        steps=args.steps,
        seed=args.seed,
        learning_rate=args.vae_learning_rate,
        warmup_steps=50,
        average=0.995,
        validate_seconds=60,
        checkpoint_seconds=60,
        workers=args.workers,
    )


def vae_config(args: argparse.Namespace, vocab_size: int) -> TextVAEConfig:
    """The VAE that the options ask for: normalisation before each layer, heads of 64."""
    return TextVAEConfig(
        vocab_size=vocab_size,
        encoder_num_blocks=args.vae_layers[0],
        decoder_num_blocks=args.vae_layers[1],
        dim=args.width,
        ffn_dim=4 * args.width,
        num_heads=args.width // HEAD_DIM,
        latent_dim=args.latent_dim,
        block_size=args.block_size,
        post_norm=False,
    )


def dit_config(args: argparse.Namespace) -> DiTConfig:
    """The DiT that the options ask for: heads of 64 of which 48 channels rotate."""
    return DiTConfig(
        txt_in_channels=args.latent_dim,
        txt_out_channels=args.latent_dim,
        block_size=args.block_size,
        txt_dim=args.width,
        emb_dim=args.width,
        heads=args.width // HEAD_DIM,
        head_dim=HEAD_DIM,
        rope_dim=HEAD_DIM * 3 // 4,
        num_layers=args.layers,
    )


def _after_validation(training: Training) -> dict[str, Any]:
    """Two short samples from the moving average of weights, and a fresh picture of the curves, but for the last one,
    which is drawn when the stage has ended.
    """
    stage, tokenizer = training.stage, load_tokenizer(training.folder.parent / "tokenizer.json")
    if training.progress < 1:
        _draw_curves(training.folder)
    assert isinstance(stage, DiTStage)
    with training.averaged():
        settings = dataclasses.replace(sampler_of(stage.dit.config), max_new_tokens=SAMPLE_TOKENS)
        texts = ColaDLM(stage.vae, stage.dit, tokenizer).generate(SAMPLE_PROMPTS, settings)
    training.stage.train()
    return {"samples": [prompt + text for prompt, text in zip(SAMPLE_PROMPTS, texts, strict=True)]}


def main(argv: list[str] | None = None) -> int:
    """Parses `argv` and trains. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m coladlm.train")
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
