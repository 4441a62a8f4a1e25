"""The program that serves: its options, the model, the server. `python app.py`, and the subcommand `serve`."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):  # see `on_zero_gpu`, whose module needs torch
    import spaces  # noqa: F401 - before torch, in which it replaces what would look for a GPU

import argparse
import importlib.util
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from coladlm.serve.queue import Limits

from .api.access import API_KEY, check_api_key, check_origin
from .api.hosts import is_loopback
from .api.openai_api import ApiOptions
from .api.parsed_request import RequestLimits

if TYPE_CHECKING:
    from coladlm import ColaDLM
    from coladlm.serve.far_runs import FarRuns

DESCRIPTION = "Cola-DLM Explorer: loads a model and serves the page and OpenAI's API."
EXAMPLES = """\
examples:
  python -m coladlm serve
  python -m coladlm serve --checkpoint path/to/folder --device cuda --dtype bfloat16
  python -m coladlm serve --host 0.0.0.0 --port 7861 --mcp"""
GRACE = 10.0


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Says the defaults, and leaves the examples as they are."""


def parser() -> argparse.ArgumentParser:
    """The options of the program."""
    options = argparse.ArgumentParser()
    add_arguments(options)
    return options


def add_arguments(options: argparse.ArgumentParser) -> None:
    """Adds the options; `run` takes what they parse to."""
    options.description, options.epilog, options.formatter_class = DESCRIPTION, EXAMPLES, _Help
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    port = os.environ.get("GRADIO_SERVER_PORT", 7860)
    many, one = Limits(), RequestLimits()
    add = options.add_argument
    add("--checkpoint", metavar="PATH", help="folder or Hugging Face Hub repository id; None is the bundled model")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--dtype", default="auto", help="of the weights: auto, float32, bfloat16, float16, or int8 (8 or 12 bits)")
    form = "how steps run: eager, one operation at a time; graph, recorded and replayed; auto, the faster on a GPU"
    add("--form", default="auto", choices=("auto", "eager", "graph"), help=form)
    compiled = "compile the layers of a step at loading; without either, a GPU keeps what is faster and a CPU does not"
    add("--compiled", action=argparse.BooleanOptionalAction, help=compiled)
    add("--host", default=host, help="address to listen on; 0.0.0.0 is every one")
    listening = "port to listen on; 0 takes the first free one from 7860"
    add("--port", type=at_least(0, 65535), default=str(port), help=listening)
    root_path = os.environ.get("GRADIO_ROOT_PATH", "")
    add("--root-path", default=root_path, help='where a proxy shows the page, such as "/cola", or its whole address')
    add("--share", action="store_true", help="open a public link through gradio's tunnel")
    loading = "may visitors load another model, and so name folders of this machine; None: where only this one listens"
    add("--allow-loading", action=argparse.BooleanOptionalAction, help=loading)
    add("--mcp", action="store_true", help="offer the operations as tools of an MCP server, too")
    names = "a host name that the server answers to; by default its own alone where only this machine listens, else all"
    add("--allowed-host", metavar="NAME", action="append", default=[], help=names)
    add = options.add_argument_group("OpenAI's API").add_argument
    key = f"what clients must send; better set as {API_KEY} in the environment: every user sees a command line"
    add("--api-key", type=checked(check_api_key), metavar="KEY", help=key)
    origin = "whose pages may call the API in a browser, such as https://example.org; '*' is all"
    add("--cors", metavar="ORIGIN", action="append", default=[], type=checked(check_origin), help=origin)
    add("--accept-any-model", action="store_true", help="take every model name for the one that is served")
    add = options.add_argument_group("many at once").add_argument
    add("--running", type=at_least(1), default=many.running, help="requests that are worked on at once, in turns")
    add("--queue-size", type=at_least(0), default=many.waiting, help="how many more may wait for a place")
    add("--per-visitor", type=at_least(0), default=many.per_visitor, help="requests of one visitor at once; 0: any")
    add("--batch", type=at_least(1), default=many.batch, help="texts that are written as one batch at most")
    add("--grace", type=float, default=GRACE, help="seconds that runs may go on after SIGTERM")
    add = options.add_argument_group("one request of OpenAI's API").add_argument
    add("--max-new-tokens", type=at_least(1), default=one.new_tokens, help="length of a text")
    add("--max-prompt-tokens", type=at_least(1), default=one.prompt, help="length of a prompt")
    add("--max-steps", type=at_least(1), default=one.steps, help="solver steps of a block")
    add("--max-texts", type=at_least(1), default=one.texts, help="prompts")
    add("--max-variations", type=at_least(1), default=one.variations, help="texts for a prompt")


def at_least(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for whole numbers from `low` on, up to `high`."""

    def whole(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is too low, expected at least {low}")
        if high is not None and value > high:
            raise argparse.ArgumentTypeError(f"{value} is too high, expected at most {high}")
        return value

    return whole


def checked(check: Callable[[str], str]) -> Callable[[str], str]:
    """A type for texts that `check` returns, or refuses with a ValueError."""

    def text_type(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return text_type


def api_options(options: argparse.Namespace) -> ApiOptions:
    """How OpenAI's API is served. Raises ValueError for a key in the environment that cannot be one."""
    limits = RequestLimits(
        options.max_new_tokens, options.max_steps, options.max_texts, options.max_variations, options.max_prompt_tokens
    )
    key = options.api_key
    if key is None and API_KEY in os.environ:
        key = check_api_key(os.environ[API_KEY])
    return ApiOptions(limits, options.accept_any_model, key, tuple(options.cors))


def main(arguments: list[str] | None = None) -> int:
    """Parses `arguments` (the process's own if absent) and serves. Returns the exit status."""
    return run(parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Loads the model and serves until it is interrupted or asked to end. Returns the exit status."""
    from coladlm.serve.threads import set_threads

    from .server import Options, serve

    if options.mcp and importlib.util.find_spec("mcp") is None:
        print("--mcp needs the package mcp: install it with pip install 'mcp<2'.", file=sys.stderr)
        return 2
    try:
        api = api_options(options)
    except ValueError as error:
        print(f"{API_KEY} in the environment: {error}", file=sys.stderr)
        return 2
    try:
        print(f"Loading {options.checkpoint or 'the bundled model'} ...", flush=True)
        model, far = load(options)
    except (ValueError, OSError) as error:
        print(f"The model could not be loaded: {error}", file=sys.stderr)
        return 2
    if model.rounding is not None:
        print(model.rounding, flush=True)
    set_threads(model)
    many = Limits(options.running, options.queue_size, options.per_visitor, options.batch)
    loading = options.allow_loading
    if loading is None:
        loading = is_loopback(options.host) and not options.share
    how = Options(
        options.host, options.port, options.share, options.mcp, loading, options.root_path, tuple(options.allowed_host)
    )
    try:
        serve(model, many, api, how, options.grace, far)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 2
    return 0


def load(options: argparse.Namespace) -> tuple[ColaDLM, FarRuns | None]:
    """The model, and where its runs are worked on if that is not here. Raises ValueError and OSError."""
    from coladlm import ColaDLM
    from coladlm.hardware.devices import DTYPES

    from .zero_gpu import on_zero_gpu, zero_gpu_runs

    path, device, dtype = options.checkpoint, options.device, options.dtype
    if device != "auto" or not on_zero_gpu():
        form, compiled = options.form, options.compiled
        return ColaDLM.from_pretrained(path, device=device, dtype=dtype, form=form, compiled=compiled), None
    if dtype != "auto" and dtype not in DTYPES:  # int8, too: its weights are made where the model is loaded
        raise ValueError(f"{dtype} is not available on ZeroGPU, expected auto, float32, bfloat16 or float16")
    if options.form != "auto" or options.compiled is not None:
        print("ZeroGPU: steps run eagerly and are not compiled; --form and --compiled change nothing.", file=sys.stderr)
    from coladlm.serve.moved_model import moved_model

    model = ColaDLM.from_pretrained(path, device="cpu", dtype=dtype)
    return model, zero_gpu_runs(model, moved_model(path, "cuda", dtype))
