"""What the commands of latent operations share: an argument for each option, the run, and the outcome as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from ..model import ColaDLM
from ..recipe import Option, Recipe, RecipeError
from ..run import OPERATIONS, recorder
from ..settings import SamplerSettings
from ..trace.recorder import TraceRecorder
from . import STOPPED, CommandError
from .options import (
    add_model_arguments,
    add_settings_arguments,
    check_apart,
    check_output,
    load_model,
    settings_from,
)
from .play import play, print_json, write_json


def add_operation_arguments(parser: argparse.ArgumentParser, name: str, examples: str) -> None:
    """Adds the texts, the operation's options, output, model and sampler."""
    operation = OPERATIONS[name]
    parser.description, parser.epilog = operation.description, examples
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="the texts to work on")
    add_option_arguments(parser, operation.options)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the texts, the outcome and the recipe as JSON")
    output.add_argument("--recipe", type=Path, metavar="FILE.json", help="save what was run, for `replay`")
    output.add_argument("--trace", type=Path, metavar="FILE.npz", help="save everything that happened, step by step")
    add_model_arguments(parser)
    add_settings_arguments(parser)


def add_option_arguments(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Adds an argument for each option of an operation."""
    group = parser.add_argument_group("operation")
    for option in options:
        how: dict[str, Any] = {"type": option.kind, "default": None}
        if option.kind is bool:
            how = {"action": argparse.BooleanOptionalAction, "default": None}
        elif option.choices:
            how["choices"] = option.choices
        else:
            how["metavar"] = {int: "N", float: "X", str: "TEXT"}[option.kind]
        if option.many:
            how["nargs"] = "+"
        default = "" if option.default is None else f" ({option.default})"
        flag = "--" + option.name.replace("_", "-")
        group.add_argument(flag, dest=f"option_{option.name}", help=option.help.replace("%", "%%") + default, **how)


def options_of(args: argparse.Namespace, options: Sequence[Option]) -> dict[str, Any]:
    """Those options that were given."""
    given = {option.name: getattr(args, f"option_{option.name}") for option in options}
    return {name: value for name, value in given.items() if value is not None}


def run_operation(args: argparse.Namespace, name: str, outcome: type, variations: int = 1,
                  complete: Callable[[ColaDLM], dict[str, Any]] = lambda model: {}) -> tuple[Any, int]:  # fmt: skip
    """Runs a recipe of the arguments and shows its texts. Returns the last event of type `outcome` (None if there was
    none or it has been printed as JSON) and the exit status. complete: options that need the model. Raises
    CommandError.
    """
    check_output(args.recipe, replaced=False)
    check_output(args.trace)
    check_apart(args.recipe, args.trace)
    settings_from(args, SamplerSettings())  # checked before a large model is loaded
    options = options_of(args, OPERATIONS[name].options)
    model = load_model(args)
    settings = model.plain(settings_from(args, model.defaults))
    try:
        options |= complete(model)
        recipe = Recipe(name, tuple(args.texts), settings, variations, options, model.fingerprint)
        recording = recorder(recipe) if args.trace else None
        watcher = _Watcher(outcome, recording)
        if args.recipe:
            write_json(args.recipe, recipe.to_dict())
        played = play(model, recipe, args.json, watcher)
    except RecipeError as error:
        raise CommandError(str(error)) from error
    if recording:
        recording.trace().save(args.trace)
    if args.json:
        print_json(played.to_dict(model, recipe) | {"outcome": None if watcher.last is None else plain(watcher.last)})
    return None if args.json else watcher.last, STOPPED if played.stopped else 0


class _Watcher:
    """Passes events on, keeps the last one of a type, and lets a recorder see them all."""

    def __init__(self, outcome: type, recording: TraceRecorder | None):
        self.outcome, self.recording = outcome, recording
        self.last: Any = None

    def watch(self, events: Generator[object]) -> Generator[object]:
        """Closing this generator closes `events`."""
        try:
            for event in events:
                if self.recording:
                    self.recording.add(event)
                if isinstance(event, self.outcome):
                    self.last = event
                yield event
        finally:
            events.close()


def plain(value: Any) -> Any:
    """An event of an operation as plain data for JSON; tensors are left out."""
    if isinstance(value, SamplerSettings):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        fields = typing.cast(Any, dataclasses.fields(value))
        parts = {field.metadata.get("json", field.name): getattr(value, field.name) for field in fields}
        return {key: plain(part) for key, part in parts.items() if not hasattr(part, "numpy")}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value
