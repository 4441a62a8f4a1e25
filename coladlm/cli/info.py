"""`info`: what a checkpoint is, from its files' headers; no weights are read."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..checkpoint import Checkpoint, find_checkpoint
from ..checkpoint.weights import read_header
from .play import print_json

EXAMPLES = """\
examples:
  python -m coladlm info
  python -m coladlm info path/to/checkpoint --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Says what a checkpoint is: its networks, sizes, fingerprint and sampler settings."
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "place", nargs="?", metavar="PLACE", help="a folder or a Hugging Face Hub id (the bundled model)"
    )
    parser.add_argument("--model", "--checkpoint", metavar="PLACE", help="the same, as the other commands have it")
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit, for a Hub id")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    data = describe(find_checkpoint(args.place or args.model, args.revision))
    if args.json:
        print_json(data)
    else:
        print("\n".join(_lines(data)))
    return 0


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as plain data."""
    vae, dit = checkpoint.vae_config, checkpoint.dit_config
    return {
        "name": checkpoint.name,
        "folder": str(checkpoint.root),
        "fingerprint": checkpoint.fingerprint,
        "tokens": Tokenizer.from_file(str(checkpoint.tokenizer_file)).get_vocab_size(),
        "latents": {"channels": vae.latent_dim, "tokens_each": vae.patch_size, "in_a_block": dit.block_size},
        "cola_vae": _network(checkpoint.vae_files) | {"config": vae.to_dict()},
        "cola_dit": _network(checkpoint.dit_files) | {"config": dit.to_dict()},
        "sampler": checkpoint.settings.to_dict(),
        "sampler_of_its_own": sorted(checkpoint.sampler or {}),
    }


def _network(files: list[Path]) -> dict[str, Any]:
    tensors = [tensor for file in files for tensor in read_header(file).values()]
    return {
        "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "dtypes": sorted({tensor.dtype for tensor in tensors}),
        "files": [file.name for file in files],
    }


def _lines(data: dict[str, Any]) -> list[str]:
    latents, own = data["latents"], data["sampler_of_its_own"]
    lines = [
        f"{data['name']}, fingerprint {data['fingerprint']}",
        f"in {data['folder']}",
        f"{data['tokens']:,} tokens; {latents['tokens_each']} in a latent of {latents['channels']} channels; "
        f"{latents['in_a_block']} latents in a block",
    ]
    for part, words in (("cola_vae", "text VAE"), ("cola_dit", "DiT")):
        network = data[part]
        size = f"{network['bytes'] / 1e6:,.1f} MB in the file ({', '.join(network['dtypes'])})"
        lines += ["", f"{words} ({part}): {network['parameters']:,} parameters, {size}", *_table(network["config"])]
    title = "* from the checkpoint's sampler.json" if own else "those of the published sampler"
    marked = {name + ("*" if name in own else ""): value for name, value in data["sampler"].items()}
    return [*lines, "", f"sampler settings, {title}", *_table(marked)]


def _table(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values))
    return [f"  {name:<{width}}  {_word(value)}" for name, value in values.items()]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_word, value))
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
