"""Cola-DLM Explorer: loads a model and opens the page. Start here.

    python app.py                                  the bundled model
    python app.py --checkpoint path/to/folder      a checkpoint of the published form, or a Hub repository id

Also the entry of a Hugging Face Space, which sets the host and the port in the environment.
"""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
# Read when torch is imported. Threads that wait in a loop for each other cost a busy machine several times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys

QUEUE_SIZE = 32


def parser() -> argparse.ArgumentParser:
    """The options of the program."""
    options = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    port = int(os.environ.get("GRADIO_SERVER_PORT", 7860))
    add = options.add_argument
    add("--checkpoint", metavar="PATH", help="folder or Hugging Face Hub repository id; None is the bundled model")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--dtype", default="auto", help="of the weights: auto, float32, bfloat16, float16")
    add("--host", default=host, help="address to listen on; 0.0.0.0 is every one")
    add("--port", type=int, default=port, help="port to listen on; 0 takes the first free one from 7860")
    add("--share", action="store_true", help="open a public link through gradio's tunnel")
    add("--queue-size", type=int, default=QUEUE_SIZE, help="how many requests may wait for the model")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Loads the model and serves the page until it is interrupted. Returns the exit status."""
    options = parser().parse_args(arguments)
    from app.page import build_page, launch_options
    from coladlm import ColaDLM

    try:
        print(f"Loading {options.checkpoint or 'the bundled model'} ...", flush=True)
        model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
    except (ValueError, OSError) as error:
        print(f"The model could not be loaded: {error}", file=sys.stderr)
        return 2
    page = build_page(model)
    page.queue(max_size=options.queue_size)
    page.launch(server_name=options.host, server_port=options.port or None, share=options.share, **launch_options())
    return 0


if __name__ == "__main__":
    sys.exit(main())
