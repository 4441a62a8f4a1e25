"""Cola-DLM Explorer: loads a model and opens the page and the doors for programs. Start here.

    python app.py                                  the bundled model
    python app.py --checkpoint path/to/folder      a checkpoint of the published form, or a Hub repository id

Also the entry of a Hugging Face Space, which sets the host and the port in the environment. What the doors are and what
the limits mean: docs/serving.md.
"""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import argparse
import importlib.util
import sys

from app.runs.access import LOOPBACK
from app.serving.asked import RequestLimits
from app.serving.sharing import Limits

GRACE = 10.0


def parser() -> argparse.ArgumentParser:
    """The options of the program."""
    options = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    port = int(os.environ.get("GRADIO_SERVER_PORT", 7860))
    many, one = Limits(), RequestLimits()
    add = options.add_argument
    add("--checkpoint", metavar="PATH", help="folder or Hugging Face Hub repository id; None is the bundled model")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--dtype", default="auto", help="of the weights: auto, float32, bfloat16, float16")
    add("--host", default=host, help="address to listen on; 0.0.0.0 is every one")
    add("--port", type=int, default=port, help="port to listen on; 0 takes the first free one from 7860")
    root_path = os.environ.get("GRADIO_ROOT_PATH", "")
    add("--root-path", default=root_path, help='where a proxy shows the page, such as "/cola", or its whole address')
    names = "one more host name, such as a proxy's, that a server of this machine alone answers to; may be repeated"
    add("--host-name", metavar="NAME", action="append", default=[], help=names)
    add("--share", action="store_true", help="open a public link through gradio's tunnel")
    loading = "may visitors load another model, and so name folders of this machine; None: where only this one listens"
    add("--allow-loading", action=argparse.BooleanOptionalAction, help=loading)
    add("--mcp", action="store_true", help="offer the operations as tools of an MCP server, too")
    add = options.add_argument_group("many at once").add_argument
    add("--running", type=at_least(1), default=many.running, help="requests that are worked on at once, in turns")
    add("--queue-size", type=at_least(0), default=many.waiting, help="how many more may wait for a place")
    add("--per-visitor", type=at_least(0), default=many.per_visitor, help="requests of one visitor at once; 0: any")
    add("--batch", type=at_least(1), default=many.batch, help="texts that are written as one batch at most")
    add("--grace", type=float, default=GRACE, help="seconds that runs may go on after SIGTERM")
    add = options.add_argument_group("one request of the doors for programs").add_argument
    add("--max-new-tokens", type=at_least(1), default=one.new_tokens, help="length of a text")
    add("--max-prompt-tokens", type=at_least(1), default=one.prompt, help="length of a prompt")
    add("--max-steps", type=at_least(1), default=one.steps, help="solver steps of a block")
    add("--max-texts", type=at_least(1), default=one.texts, help="prompts")
    add("--max-variations", type=at_least(1), default=one.variations, help="texts for a prompt")
    return options


def at_least(low: int):
    """A type for whole numbers from `low` on."""

    def whole(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is too low, expected at least {low}")
        return value

    return whole


def main(arguments: list[str] | None = None) -> int:
    """Loads the model and serves until it is interrupted or asked to end. Returns the exit status."""
    options = parser().parse_args(arguments)
    import torch

    from app.server import Options, serve
    from coladlm import ColaDLM
    from coladlm.devices import choose_threads

    if options.mcp and importlib.util.find_spec("mcp") is None:
        print("--mcp needs the package mcp: install it with pip install 'mcp<2'.", file=sys.stderr)
        return 2
    try:
        print(f"Loading {options.checkpoint or 'the bundled model'} ...", flush=True)
        model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
    except (ValueError, OSError) as error:
        print(f"The model could not be loaded: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(choose_threads(model.parameters, model.device))
    many = Limits(options.running, options.queue_size, options.per_visitor, options.batch)
    one = RequestLimits(
        options.max_new_tokens, options.max_steps, options.max_texts, options.max_variations, options.max_prompt_tokens
    )
    loading = options.allow_loading
    if loading is None:
        loading = options.host in LOOPBACK and not options.share
    how = Options(
        options.host, options.port, options.share, options.mcp, loading, options.root_path, tuple(options.host_name)
    )
    try:
        serve(model, many, one, how, options.grace)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
