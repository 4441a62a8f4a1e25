"""The command line: a row of COMMANDS for each subcommand, one module each, imported only when it is used.

Such a module has `add_arguments(parser)` and `run(args) -> exit status`. What the user did wrong becomes one line on
stderr and exit status 2; an error of the program keeps its traceback.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..assets import PAGE
from ..errors import sentence_of

PROGRAM = "python -m coladlm"
# name: module, one line of help
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": (f"{PAGE}.command", "open the page and serve the APIs"),
    "generate": ("coladlm.cli.generate", "continue a text, or several"),
    "interpolate": ("coladlm.cli.interpolate", "interpolate between texts in latent space"),
    "fill": ("coladlm.cli.fill", "fill the holes ___ of a text"),
    "edit": ("coladlm.cli.edit", "change a span of a text and keep the rest"),
    "invert": ("coladlm.cli.invert", "carry texts to their noise and back"),
    "replay": ("coladlm.cli.replay", "run a recipe or a trace again and compare"),
    "train": ("coladlm.train.__main__", "train a model of your own"),
    "evaluate": ("coladlm.cli.evaluate", "measure a model beside real text and a baseline"),
    "bench": ("coladlm.cli.bench", "measure what the model does well and at what cost"),
    "likelihood": ("coladlm.cli.likelihood", "bound how likely a text is"),
    "sweep": ("coladlm.cli.sweep", "measure sampler settings against each other"),
    "info": ("coladlm.cli.info", "say what a checkpoint is"),
}
DESCRIPTION = """\
Cola-DLM, a language model that writes by letting noise flow into words, block by block.

Try:  python -m coladlm generate "Once upon a time"
Then: python -m coladlm generate --help"""
STOPPED = 130  # exit status after Ctrl-C


class CommandError(Exception):
    """A command cannot be carried out; the message is a sentence for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (help: {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (the process's own if absent) and runs the command. Returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character gets a question mark, not an error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = _Parser(prog=PROGRAM, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND [--help]", title="commands")
    name = next((word for word in argv if not word.startswith("-")), None)
    module = None
    for known, (path, help_) in COMMANDS.items():
        command = commands.add_parser(known, help=help_, description=help_[0].upper() + help_[1:] + ".")
        if known == name:
            module = importlib.import_module(path)
            command.set_defaults(parser=command)
            module.add_arguments(command)
    args, unknown = parser.parse_known_args(argv)
    used = vars(args).pop("parser")  # of the command, or of its part, whose help says what there is
    if unknown:
        used.error(f"unrecognized arguments: {' '.join(unknown)}")
    if module is None:
        parser.print_help()
        return 0
    try:
        return module.run(args)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:  # nobody reads our output any more: nothing to report, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        print(f"{PROGRAM} {name}: {sentence_of(error)}", file=sys.stderr)
        return 2


def _user_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the user; all others are ours."""
    import torch

    from ..checkpoint.weights import CheckpointError
    from ..model import PromptError
    from ..networks.config import ConfigError
    from ..recipe import RecipeError
    from ..sampling.plan import PlanError
    from ..settings import SettingsError
    from ..trace import TraceError

    own = (ConfigError, CheckpointError, PlanError, PromptError, RecipeError, SettingsError, TraceError)
    return (CommandError, *own, OSError, torch.OutOfMemoryError)
