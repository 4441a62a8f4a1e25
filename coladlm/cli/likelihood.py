"""`likelihood`: a bound on how likely a text is, with its parts and its error, beside a transformer's exact value."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..baseline.baseline import Baseline, perplexity
from ..evaluate.stories import EvaluationError
from ..evaluate.text_likelihood import ORDERS, BoundSettings, TextBound, exact_beside, text_bound_steps
from ..model import ColaDLM
from . import CommandError
from .options import add_model_arguments, load_model
from .play import print_json
from .terminal_progress import TerminalProgress

EXAMPLES = """\
examples:
  python -m coladlm likelihood "Once upon a time there was a little girl."
  python -m coladlm likelihood " She was happy." --context "The girl got a toy." --draws 64
  python -m coladlm likelihood "The end." --ended --json"""
START = BoundSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "An upper bound on -log p of a text, in nats (1 nat is 1.44 bits): the less, the likelier the text. The flow's "
        "part is what it takes to bring the latents out of noise, the decoder's what is left to say of the words then."
    )
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("--context", default="", metavar="TEXT", help="what stands before it, and is not counted")
    parser.add_argument("--ended", action="store_true", help="count the end token after the text")
    parser.add_argument("--order", choices=ORDERS, default=START.order,
                        help="how the text is written: a token after another, or the tokens of a block at once "
                             "(%(default)s)")  # fmt: skip
    parser.add_argument("--draws", type=int, default=START.draws, metavar="N",
                        help="more make the error smaller (%(default)s)")  # fmt: skip
    parser.add_argument("--guidance", type=float, default=START.guidance, metavar="X", help="(%(default)s: none)")
    parser.add_argument("--read-at", type=float, metavar="SHARE",
                        help="share of noise at which the decoder reads, 0.01 to 0.99 (the best of a few)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=START.seed, help="of the draws (%(default)s)")
    parser.add_argument("--transformer", type=Path, metavar="FOLDER", help="that reads it exactly (the bundled)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    try:
        settings = BoundSettings(args.order, args.draws, args.seed, args.guidance, args.read_at)
        model = load_model(args)
        baseline = Baseline.from_pretrained(args.transformer, model.device)
        bound = _bound(model, args, settings)
        exact = exact_beside(baseline, args.text, args.context, args.ended)
    except EvaluationError as error:
        raise CommandError(str(error)) from error
    said = {"model": {"name": model.name, "fingerprint": model.fingerprint}, "text": args.text,
            "context": args.context, "bound": bound.to_dict(model), "transformer": exact}  # fmt: skip
    if args.json:
        print_json(said)
    else:
        print("\n".join(_lines(said)))
    return 0


def _bound(model: ColaDLM, args: argparse.Namespace, settings: BoundSettings) -> TextBound:
    progress = TerminalProgress()
    try:
        for step in text_bound_steps(model, args.text, args.context, settings, args.ended):
            if isinstance(step, TextBound):
                return step
            progress("draws", step, settings.draws)
    finally:
        progress.clear()
    raise RuntimeError("the steps of a bound ended without one")


def _lines(said: dict[str, Any]) -> list[str]:
    bound, exact = said["bound"], said["transformer"]
    lines = [
        f"-log p is at most {bound['nats']:.1f} ± {bound['standard_error']:.1f} nats (one standard error): "
        f"{bound['nats_per_token']:.2f} a token of {bound['tokens']}, "
        f"perplexity {perplexity(bound['nats_per_token']):.1f}",
        f"{bound['draws']} draws, seed {bound['seed']}; the decoder reads at {bound['read_at']:.0%} noise",
        "",
        f"  {bound['decoder']:8.1f}  decoder",
    ]
    lines += [
        f"  {level['nats']:8.1f}  flow, {level['from']:.0%} to {level['to']:.0%} noise" for level in bound["levels"]
    ]
    lines += [""] + [f"  {unit['nats']:8.1f} ± {unit['standard_error']:<5.1f} {name}"
                     for unit, name in zip(bound["units"], _names(bound["units"]), strict=True)]  # fmt: skip
    told = exact.get("left_out") or (
        f"the transformer: {exact['nats']:.1f} nats exactly, {exact['nats_per_token']:.2f} a token of {exact['tokens']}"
    )
    return [*lines, "", told]


def _names(units: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The text of each unit; where one character takes several, that character and which of how many it is."""
    parts = 0
    for unit in units:
        parts += 1
        if unit["text"]:
            yield from (repr(unit["text"]) + (f", {part} of {parts}" if parts > 1 else "")
                        for part in range(1, parts + 1))  # fmt: skip
            parts = 0
