"""`replay`: runs again what a file holds, and says whether the text is the same."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..recipe import MAX_JSON, Recipe, RecipeError, decoded
from ..run import recorder
from ..trace import Trace
from ..trace.recorder import TraceRecorder
from . import STOPPED, CommandError
from .options import add_model_arguments, check_apart, check_output, load_model
from .play import Played, play, print_json

EXAMPLES = """\
examples:
  python -m coladlm replay run.json          a recipe, or what `generate --json` printed
  python -m coladlm replay run.npz           a trace, compared token by token
  python -m coladlm replay run.npz --trace again.npz

exit status: 0 the same or nothing to compare with, 1 another text"""
DIFFERENT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Runs again what a file holds, and says whether the text is the same."
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="a recipe or result (.json) or a trace (.npz)")
    parser.add_argument("--json", action="store_true", help="print the answers, the recipe and the verdict as JSON")
    parser.add_argument("--trace", type=Path, metavar="FILE.npz", help="save this run, step by step")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_output(args.trace)
    check_apart(args.file, args.trace)
    recipe, recorded = _read(args.file)
    model = load_model(args)
    recording = recorder(recipe, previews=args.trace is not None)
    played = play(model, recipe, args.json, recording)
    if args.trace:
        recording.trace().save(args.trace)
    same, verdict = _compare(recorded, played, recording)
    if args.json:
        print_json({"same": same, "verdict": verdict} | played.to_dict(model, recipe))
    print(f"{args.file}: {verdict}", file=sys.stderr)
    if played.stopped:
        return STOPPED
    return DIFFERENT if same is False else 0


def _read(path: Path) -> tuple[Recipe, Trace | list[str] | None]:
    """The recipe in a file, and what there is to compare with: a trace, texts, or nothing."""
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            trace = Trace.load(path)
            return trace.recipe, trace
        file.seek(0)
        data = file.read(4 * MAX_JSON)  # a result holds answers too
    try:
        try:
            return Recipe.from_json(data), None
        except RecipeError as error:
            result = _result(data)
            if result is None:
                raise error
            return Recipe.from_dict(result["recipe"]), [str(row["text"]) for row in result["sequences"]]
    except RecipeError as error:
        raise CommandError(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise CommandError(f"{path}: its sequences have no text, expected what `generate --json` prints") from error


def _result(data: bytes) -> dict[str, Any] | None:
    """What `generate --json` printed, or None if it is something else."""
    try:
        result = json.loads(decoded(data))
    except (ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) and {"recipe", "sequences"} <= result.keys() else None


def _compare(recorded: Trace | list[str] | None, played: Played, recording: TraceRecorder) -> tuple[bool | None, str]:
    """Whether the text is the same, None where that cannot be known, and a sentence."""
    if recorded is None:
        return None, "a recipe holds no text to compare with."
    if played.stopped:
        return None, "stopped before the end, so nothing was compared."
    if isinstance(recorded, list):
        different = [i for i, (a, b) in enumerate(zip(recorded, played.texts, strict=False), 1) if a != b]
        if len(recorded) != len(played.texts):
            return False, f"the file has {len(recorded)} texts, this run {len(played.texts)}."
        return (False, f"another text, first in sequence {different[0]}.") if different else (True, "the same text.")
    return _compare_traces(recorded, recording.trace())


def _compare_traces(old: Trace, new: Trace) -> tuple[bool, str]:
    """Token by token in the blocks that the old trace finished."""
    blocks = int(old.finished.sum())
    shape = (slice(None), slice(blocks))
    before, after = old.token_ids[shape], new.token_ids[shape]
    for name, axis in (("sequences", 0), ("steps a block", 2)):
        if old.z.shape[axis] != new.z.shape[axis]:
            return False, f"{old.z.shape[axis]} {name} in the file, {new.z.shape[axis]} by its recipe: one was edited."
    if before.shape != after.shape:
        return False, f"blocks of shape {before.shape} in the file, {after.shape} in this run: another kind of model."
    if not (before == after).all():
        sequence, block, token = (int(i) for i in np.argwhere(before != after)[0])
        return False, f"another text, first in sequence {sequence + 1}, block {block + 1}, token {token + 1}."
    if not old.stopped and old.answers != new.answers:
        return False, "the same tokens in every block, but another end."
    for name in ("prompts",) if old.stopped else ("prompts", "texts", "reasons"):
        if getattr(old, name) != getattr(new, name):
            return False, f"the same tokens, but other {name} in the file."
    distance = float(np.abs(old.latents[shape] - new.latents[shape]).max(initial=0))
    upto = f" up to block {blocks}, where it was stopped" if old.stopped else ""
    return True, f"the same text{upto}; latents differ by at most {distance:.1e}."
