"""`evaluate`: measures a model beside real text and the autoregressive baseline."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..baseline.baseline import Baseline
from ..evaluate.generation import table
from ..evaluate.judge import Judge
from ..evaluate.report import PARTS, Request, evaluate
from ..evaluate.stories import EvaluationError
from ..paths import written_whole
from ..settings import SamplerSettings
from ..train.corpus import CorpusError, read_stories
from . import CommandError
from .options import add_model_arguments, add_settings_arguments, check_output, load_model, settings_from
from .terminal_progress import TerminalProgress

EXAMPLES = """\
examples:
  python -m coladlm evaluate --data data/tinystories --json result.json
  python -m coladlm evaluate --data data/tinystories --parts samples --samples 40 --max-new-tokens 64
  python -m coladlm evaluate --data data/tinystories --parts reconstruction neighbours"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measures a model: what its VAE restores, what its flow knows, and its unselected samples "
        "beside real text and the autoregressive baseline."
    )
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER",
                        help="with train.jsonl and valid.jsonl, one JSON object a line, key `text`")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="save all numbers and the samples")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"some of {', '.join(PARTS)} (all)")  # fmt: skip
    sizes = {
        "stories": "held-out stories for reconstruction, flow and likelihood",
        "samples": "samples that a held-out story's first sentence begins",
        "free": "samples without a prompt, and as many that begin with the model's openings",
        "batch": "samples at once",
        "draws": "passes over the stories for the likelihood",
    }
    for name, help_ in sizes.items():
        default = getattr(Request, name)
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{help_} (%(default)s)")
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="of the autoregressive baseline (the bundled)")
    parser.add_argument("--judge", type=Path, metavar="PATH",
                        help="a causal language model that reads the samples, too: a folder that Transformers reads or "
                        "a .gguf file (needs the extra `judge`)")  # fmt: skip
    add_model_arguments(parser)
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_output(args.json)
    settings_from(args, SamplerSettings())  # checked before a large model is loaded
    progress = TerminalProgress()
    try:
        train, valid = (read_stories(args.data / f"{name}.jsonl") for name in ("train", "valid"))
        model, baseline = load_model(args), Baseline.from_pretrained(args.baseline, args.device)
        judge = None if args.judge is None else Judge.from_pretrained(args.judge)
        sizes = {name: getattr(args, name) for name in ("stories", "samples", "free", "batch", "draws")}
        request = Request(settings_from(args, model.defaults), tuple(args.parts), **sizes)
        result = evaluate(model, baseline, train, valid, request, progress, judge)
    except (CorpusError, EvaluationError) as error:
        raise CommandError(str(error)) from error
    progress.clear()
    print("\n".join(lines(result)))
    if args.json:
        with written_whole(args.json) as partial:
            partial.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


def lines(result: dict[str, Any]) -> list[str]:
    """A result as lines to read."""
    found = [f"{result['model']['name']}, fingerprint {result['model']['fingerprint']}"]
    if "reconstruction" in result:
        shares = result["reconstruction"]["restored"].items()
        found += ["", "tokens restored, by noise on the latents", *(f"  {k:>9}  {v:.2%}" for k, v in shares)]
    if "by_time" in result.get("flow", {}):
        found += ["", "velocity error per channel by time (1 noise): with the text so far, alone, learned nothing"]
        found += [f"  {row['t']}  {row['with_history']:.3f}  {row['alone']:.3f}  {row['learned_nothing']:.3f}"
                  for row in result["flow"]["by_time"]]  # fmt: skip
    if "upper_bound" in result.get("likelihood", {}):
        best, exact = result["likelihood"]["upper_bound"]["best"], result["likelihood"]["baseline_exact"]
        found += ["", "perplexity of held-out stories, end included: per token, per word"]
        for who, row in (("model, at most", best), ("baseline, exact", exact)):
            found.append(f"  {who:16} {row['perplexity_per_token']:9.1f}  {row['perplexity_per_word']:9.1f}")
    for name in ("prompted", "free", "opened"):
        if name in result:
            judge = "perplexity under the baseline, which knows its own texts best"
            found += ["", f"samples, {name}; {judge}", *table(result[name]["measures"])]
    if "neighbours" in result:
        found += ["", "nearest tokens", *(f"  {w}: {', '.join(near)}" for w, near in result["neighbours"].items())]
    return found
