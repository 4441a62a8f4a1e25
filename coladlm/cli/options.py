"""Options that several commands share: which model, on what, and every setting of the sampler."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..hardware.devices import choose_threads
from ..hardware.threads import tuner_for
from ..model import ColaDLM
from ..paths import why_unwritable
from ..sampling.form import FORMS
from ..settings import DESCRIPTIONS, SamplerSettings
from . import CommandError


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --revision, --device, --dtype, --form and --compiled."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", "--checkpoint", metavar="PLACE",
                       help="a folder or a Hugging Face Hub id (the bundled model)")  # fmt: skip
    group.add_argument("--revision", metavar="NAME", help="branch, tag or commit, for a Hub id")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, ... (%(default)s)")
    group.add_argument("--dtype", default="auto", metavar="NAME",
                       help="of the large matrices: auto, float32, bfloat16, float16, or int8, which keeps 8 or 12 "
                            "bits of a weight and says what that changes (%(default)s)")  # fmt: skip
    group.add_argument("--form", default="auto", choices=FORMS,
                       help="how steps run: eager, one operation at a time; graph, recorded once and replayed; auto, "
                            "the faster of the two on a GPU and eager on a CPU (%(default)s)")  # fmt: skip
    group.add_argument("--compiled", action=argparse.BooleanOptionalAction,
                       help="compile the layers of a step with torch.compile when the model is loaded, which may take "
                            "minutes, or do not (by default: on a GPU compile for at most about a minute, time both "
                            "and keep the faster; on a CPU do not compile)")  # fmt: skip


def load_model(args: argparse.Namespace) -> ColaDLM:
    """The model that the options name. Raises CommandError."""
    try:
        model = ColaDLM.from_pretrained(args.model, args.device, args.dtype, args.revision, form=args.form,
                                        compiled=args.compiled)  # fmt: skip
    except ValueError as error:
        raise CommandError(str(error)) from error
    if model.rounding is not None:
        print(model.rounding, file=sys.stderr)
    most, start = torch.get_num_threads(), choose_threads(model.parameters, model.device)
    torch.set_num_threads(start)
    model.sampler.threads = tuner_for(model.device, start, most)
    return model


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of SamplerSettings."""
    left_out = "What is left out is as the model's own settings have it (see `info`), else as in the brackets."
    group = parser.add_argument_group("sampler", left_out)
    kinds = typing.get_type_hints(SamplerSettings)
    metavars = {int: "N", float: "X", str: "NAME"}
    for field in dataclasses.fields(SamplerSettings):
        name, kind = field.name, kinds[field.name]
        default: Any = field.default
        how: dict[str, Any]
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            shown = "yes" if default else "no"
            how = {"action": argparse.BooleanOptionalAction}
        elif kind == int | None:
            shown = "the checkpoint's own"
            how = {"type": int, "metavar": metavars[int]}
        elif kind in metavars:
            shown = default
            how = {"type": kind, "metavar": metavars[kind]}
        else:
            low, high = default
            shown = f"{low:g} {high:g}"
            how = {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
        group.add_argument(flag, dest=name, default=None, help=f"{_help(name)} ({shown})", **how)


def _help(name: str) -> str:
    """What `--help` says of a setting."""
    return DESCRIPTIONS[name].text.replace("%", "%%")  # argparse formats it


def settings_from(args: argparse.Namespace, base: SamplerSettings) -> SamplerSettings:
    """The settings given on the command line over those of `base`. Raises SettingsError."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(SamplerSettings)}
    return dataclasses.replace(base, **{name: value for name, value in given.items() if value is not None})


def texts_from(args: argparse.Namespace) -> list[str]:
    """The texts given as arguments, or on stdin: as one text, or one in each line with --lines. Raises CommandError."""
    if args.texts and args.texts != ["-"]:
        return args.texts
    if sys.stdin.isatty() and not args.texts:
        raise CommandError('there is no text to continue: give one, as in generate "Once upon a time", or pipe one in')
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"stdin is not UTF-8 at byte {error.start}, expected text") from error
    if not args.lines:
        return [text.removesuffix("\n").removesuffix("\r")]
    texts = [line for line in text.splitlines() if line.strip()]
    if not texts:
        raise CommandError("stdin has no line with a text, expected at least one with --lines")
    return texts


def check_apart(*paths: Path | None) -> None:
    """Raises CommandError where two of the files that are read or written are one."""
    names = [path for path in paths if path is not None]
    real = [os.path.realpath(path) for path in names]
    for index, path in enumerate(names):
        if real[index] in real[:index] and not path.is_char_device():
            raise CommandError(f"{path}: found the same file twice, expected one for each")


def check_output(path: Path | None, endings: Sequence[str] = (), replaced: bool = True) -> None:
    """Raises CommandError now if a file could not be written to `path` after a long run. endings: those that a name may
    have, any if there are none. replaced: will a new file take the place of an old one, which no device or pipe bears?
    """
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise CommandError(f"{path}: expected the name of a file in an existing folder")
    if endings and path.suffix.lower() not in endings:
        raise CommandError(f"{path}: expected a name that ends in {', '.join(endings[:-1])} or {endings[-1]}")
    if path.exists() and not path.is_file():
        if replaced:
            raise CommandError(f"{path}: found a device or a pipe, expected the name of a file")
        return
    refusal = why_unwritable(path.parent)
    if refusal is not None:
        raise CommandError(f"{path}: cannot be written ({refusal}), expected free space and permission")
