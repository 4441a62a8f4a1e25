"""`generate`: continues texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..recipe import MAX_VARIATIONS, Recipe
from ..run import OPERATIONS, recorder
from ..settings import SamplerSettings
from . import STOPPED
from .operation import add_option_arguments, options_of
from .options import (
    add_model_arguments,
    add_settings_arguments,
    check_apart,
    check_output,
    load_model,
    settings_from,
    texts_from,
)
from .play import play, print_json, write_json

EXAMPLES = """\
examples:
  python -m coladlm generate "Once upon a time"
  python -m coladlm generate "The cat" "The dog" --variations 3 --seed 7 --json
  cat prompts.txt | python -m coladlm generate --lines --max-new-tokens 40
  python -m coladlm generate "Once upon a time there was a little" --towards "There was a dog. The dog was big."
  python -m coladlm generate "Once upon a time there was a little" --negative "There was a dog. The dog was big."
  python -m coladlm generate "Tom went to the park with mom." --direction happy-sad --direction-strength -1
  python -m coladlm generate "Once upon a time" --trace run.npz --recipe run.json
  python -m coladlm replay run.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = OPERATIONS["generate"].description
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text to continue; none, or -, reads one from stdin")
    parser.add_argument("--lines", action="store_true", help="every line of stdin is a text of its own")
    parser.add_argument("--variations", type=int, default=1, metavar="N",
                        help=f"how many answers to each text, up to {MAX_VARIATIONS} (%(default)s)")  # fmt: skip
    add_option_arguments(parser, OPERATIONS["generate"].options)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the answers and the recipe as JSON")
    output.add_argument("--recipe", type=Path, metavar="FILE.json", help="save what was run, for `replay`")
    output.add_argument("--trace", type=Path, metavar="FILE.npz", help="save everything that happened, step by step")
    add_model_arguments(parser)
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_output(args.recipe, replaced=False)
    check_output(args.trace)
    check_apart(args.recipe, args.trace)
    settings_from(args, SamplerSettings())  # checked before a large model is loaded
    texts = texts_from(args)
    model = load_model(args)
    settings = model.plain(settings_from(args, model.defaults))
    recipe = Recipe("generate", tuple(texts), settings, args.variations,
                    options_of(args, OPERATIONS["generate"].options), model.fingerprint)  # fmt: skip
    recording = recorder(recipe) if args.trace else None
    if args.recipe:
        write_json(args.recipe, recipe.to_dict())
    played = play(model, recipe, args.json, recording)
    if recording:
        recording.trace().save(args.trace)
    if args.json:
        print_json(played.to_dict(model, recipe))
    return STOPPED if played.stopped else 0
