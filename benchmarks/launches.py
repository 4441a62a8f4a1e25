"""Launches of a step of the published size, counted without a GPU and without 24 layers: with two and with three of
them, random weights in bfloat16, from which the count of all 24 follows.

    python -m benchmarks.launches [--threads 1]

Counted by torch's profiler on a CPU (see `operators.py`), of operators and of compiled pieces. Where Triton is there as
well (`pip install triton`), Inductor writes the pieces for it, which needs no GPU either, and the launches in what it
has written are counted: those of a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch._inductor import config as inductor
from torch._inductor.exc import InductorError
from torch._inductor.graph import GraphLowering

from coladlm import ColaDLM
from coladlm.networks import compiled_pieces as pieces_module
from coladlm.networks.compiled_pieces import CompiledPieces, disagreement
from coladlm.networks.dit import BlockCausalDiT
from coladlm.sampling.form import choose_form

from .engine import PLAIN
from .made_models import PUBLISHED, published_model
from .operators import name_kernels, operators

PIECES = ("first", "between", "last")
LAUNCH = re.compile(r"^\s+(?:triton_\w+\.run|extern_kernels\.\w+)\(", re.MULTILINE)


class Written(Exception):
    """A piece has been written for Triton and is not to be compiled."""


def launches_of_triton(dit: BlockCausalDiT) -> list[int]:
    """Of each piece of a DiT of two layers, the first, that between two attentions, and the last."""
    found: list[int] = []

    def write(graph: GraphLowering) -> None:
        code, _ = graph.codegen()
        found.append(len(LAUNCH.findall(code.value)))
        raise Written

    def written(piece: Callable[..., Any], compiled: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            try:
                compiled(*given)
            except InductorError as error:
                if not isinstance(error.inner_exception, Written):
                    raise
            return piece(*given)

        return run

    pieces = CompiledPieces(dit)
    for name in PIECES:
        setattr(pieces, name, written(getattr(pieces_module, f"_{name}"), getattr(pieces, name)))
    with (
        inductor.patch({"cpu_backend": "triton", "compile_threads": 1, "fx_graph_cache": False}),
        mock.patch.object(GraphLowering, "compile_to_module", write),
        mock.patch("torch.utils._triton.triton_hash_with_backend", lambda: "no GPU"),
    ):
        disagreement(dit, pieces, 2, True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name_kernels()
    small = ColaDLM.from_pretrained(device="cpu", dtype="float32")
    device, dtype = torch.device("cpu"), torch.bfloat16
    print("| layers | operators that compute | the same and C++ functions, with compiled pieces |\n|---|---|---|")
    counts = []
    for layers in (2, 3):
        model = published_model(small, device, dtype, layers)
        counts.append([])
        for compiled in (False, True):
            choose_form(model.sampler, "eager", compiled)
            if compiled != (model.dit.pieces is not None):
                raise SystemExit("the pieces were not compiled: the log says why")
            counts[-1].append(operators(model, 1, PLAIN).computing)
        print(f"| {layers} | " + " | ".join(f"{count:.0f}" for count in counts[-1]) + " |", flush=True)
    whole = [two + (PUBLISHED.num_layers - 2) * (three - two) for two, three in zip(*counts, strict=True)]
    print(f"| {PUBLISHED.num_layers} | " + " | ".join(f"{count:.0f}" for count in whole) + " |", flush=True)
    if importlib.util.find_spec("triton") is None:
        print("\nThese are operators and functions in C++ on a CPU. Triton is not installed, so the code that a GPU "
              "would run was not written, and its launches not counted: install it and run this again.")  # fmt: skip
        return
    launches = launches_of_triton(published_model(small, device, dtype, 2).dit)
    print("\nWritten for Triton: " + ", ".join(f"{n} launches in the {name} piece"
                                               for name, n in zip(PIECES, launches, strict=True)))  # fmt: skip


if __name__ == "__main__":
    main()
