"""Runs the models under one instruction set after the other and writes what came out as JSON.

    python tests/numerical_report.py FOLDER [DEFAULT] [AVX2] [AVX512] [native]

FOLDER/exact.safetensors holds what `test_every_processor.py` has computed in float64 for the bundled model; the reports
are FOLDER/DEFAULT.json and so on. Everything is done with one thread and with two. Errors are largest absolute
differences; tokens are listed whole.

torch, oneDNN and MKL choose their instruction set when they compute for the first time. So one process imports torch,
which takes longer than all the rest, and a fork of it for each set changes the environment before it computes anything.
"""

import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from coladlm import BlockDone, ColaDLM, Finished, SamplerSettings, Step
from coladlm.networks.layers import Linear
from coladlm.networks.packed import PackedWeights, can_pack
from coladlm.sampling.shared_run import SharedRun

# (what it is called here, the environment that restricts torch's kernels, oneDNN and MKL to it)
RESTRICTED = {
    "DEFAULT": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
    "AVX512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_CBWR": "AVX512"},
    "native": {},
}
GOLDEN = Path(__file__).parent / "fixtures" / "golden"
PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day"]
SHORT = SamplerSettings(steps=2, guidance=2.0, max_new_tokens=8, stop_at_end=False)
BUNDLED_PROMPTS = ["Once upon a time there was a little girl who", "The dog ran to the park and"]
BUNDLED_SETTINGS = SamplerSettings(steps=3, guidance=1.4, max_new_tokens=8, stop_at_end=False)
FLOAT32 = 2.0**-24  # half a unit in the last place of 1


class Errors(dict):
    """The largest error of each name."""

    def note(self, name: str, found: Tensor, wanted: Tensor) -> None:
        self[name] = max(self.get(name, 0.0), float((found.double() - wanted.double()).abs().max()))


def golden_errors(model: ColaDLM) -> dict[str, Any]:
    """The golden answers: networks alone, and a whole generation that runs free."""
    golden, about = load_file(GOLDEN / "golden.safetensors"), json.loads((GOLDEN / "golden.json").read_text())
    errors = Errors()
    for i, prompt in enumerate(about["prompts"]):
        posterior = model.encode(prompt)
        errors.note("mean", posterior.mean, golden[f"encode.{i}.mean"])
        errors.note("logvar", posterior.logvar, golden[f"encode.{i}.logvar"])
        errors.note("decode", model.decode(golden[f"encode.{i}.mean"]), golden[f"decode.{i}.logits"])
        found = model.velocity(golden[f"velocity.{i}.z"], golden[f"velocity.{i}.t"])
        errors.note("velocity", found, golden[f"velocity.{i}.v"])
    settings = SamplerSettings(steps=about["timestep_num"], guidance=about["guidance_scale"],
                               max_new_tokens=about["max_new_tokens"], temperature=about["temperature"],
                               repetition_penalty=about["repetition_penalty"])  # fmt: skip
    for event in model.sample(about["prompts"], settings, noise=golden["sample.noise"]):
        if isinstance(event, Step):
            at = event.block, event.index
            errors.note("state", event.z, golden["sample.z"][at])
            errors.note("conditional", event.conditional, golden["sample.velocity_cond"][at])
            errors.note("unconditional", event.unconditional, golden["sample.velocity_uncond"][at])
        elif isinstance(event, BlockDone):
            errors.note("latents", event.latents, golden["sample.block_latents"][event.block])
            errors.note("logits", event.logits, golden["sample.logits"][event.block])
    return {"golden": errors, "golden texts": event.texts}


def company(model: ColaDLM) -> dict[str, Any]:
    """Each text alone, in a batch, and in a batch that others join and leave."""
    settings = dataclasses.replace(SHORT, history="reencoded", stochasticity=0.5)
    together = list(model.sample(PROMPTS, settings))
    batch = {event.block: event.latents for event in together if isinstance(event, BlockDone)}
    errors, alone = Errors(), []
    for row, prompt in enumerate(PROMPTS):
        for event in model.sample([prompt], settings, sequences=[row]):
            if isinstance(event, BlockDone):
                errors.note("latents", event.latents[0], batch[event.block][row])
        alone.append(event.token_ids[0])
    shared = SharedRun(model.sampler, settings)
    groups = []
    for row, prompt in enumerate(PROMPTS):  # each joins while the one before it is under way
        groups.append(shared.join([model.plan(prompt, settings, row)]))
        for _ in range(settings.steps + 2):
            shared.advance()
        if row == 1:  # and this one leaves in the middle of a block
            passing = shared.join([model.plan("a", settings, 9)])
            shared.advance()
            shared.leave(passing)
    while not all(group.finished for group in groups):
        shared.advance()
    return {"alone": alone, "in a batch": together[-1].token_ids, "joined": [group.token_ids[0] for group in groups],
            "company": errors}  # fmt: skip


@torch.inference_mode()
def packed_error(model: ColaDLM) -> float | None:
    """The largest difference of packed from plain products, in units of what float32 allows (see the bound).

    Of layers of one shape, which take the same way through the library of products, the first has its turn.
    """
    if not can_pack():
        return None
    worst, draw = 0.0, torch.Generator().manual_seed(0)
    layers = [module for network in (model.vae, model.dit) for module in network.modules()]
    shapes = {(layer.weight.shape, layer.bias is None, layer.packed is None): layer
              for layer in reversed(layers) if isinstance(layer, Linear)}  # fmt: skip
    for layer in shapes.values():
        sizes = layer.weight.abs(), None if layer.bias is None else layer.bias.abs()
        packed = layer.packed or PackedWeights(layer.weight)  # which the smallest networks do without
        for rows in (1, 7, 32):
            x = torch.randn(rows, layer.in_features, generator=draw)
            # a sum of k products and a bias, in whatever order, is off by at most (k + 1) u sum |x w|; two by twice
            bound = 2 * (layer.in_features + 1) * FLOAT32 * F.linear(x.abs(), *sizes)
            difference = (packed.product(x, layer.bias) - F.linear(x, layer.weight, layer.bias)).abs()
            worst = max(worst, float((difference / bound).max()))
    return worst


def bundled_errors(model: ColaDLM, exact: dict[str, Tensor]) -> dict[str, Any]:
    """The bundled model against its generation in float64."""
    errors = Errors()
    for event in model.sample(BUNDLED_PROMPTS, BUNDLED_SETTINGS, noise=exact["noise"]):
        if isinstance(event, BlockDone):
            errors.note("latents", event.latents, exact["latents"][event.block])
            errors.note("logits", event.logits, exact["logits"][event.block])
    assert isinstance(event, Finished)
    return {"bundled": errors, "bundled tokens": event.token_ids}


def report_of(exact_file: Path) -> dict[str, Any]:
    exact = load_file(exact_file)
    golden, bundled = (ColaDLM.from_pretrained(folder, device="cpu", dtype="float32") for folder in (GOLDEN, None))
    report: dict[str, Any] = {"capability": torch.backends.cpu.get_cpu_capability()}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        report[f"{threads}"] = {
            **golden_errors(golden), **company(golden), **bundled_errors(bundled, exact),
            "packed": max(filter(None, map(packed_error, (golden, bundled))), default=None),
        }  # fmt: skip
    return report


def write_report(folder: Path, name: str) -> None:
    """Computes under the instruction set `name` and writes FOLDER/NAME.json, or what went wrong in its place."""
    for variable in {variable for environment in RESTRICTED.values() for variable in environment}:
        os.environ.pop(variable, None)
    os.environ |= RESTRICTED[name]
    try:
        report = report_of(folder / "exact.safetensors")
    except Exception:
        report = {"error": traceback.format_exc()}
    (folder / f"{name}.json").write_text(json.dumps(report))


def main() -> None:
    folder, *names = sys.argv[1:]
    for name in names:
        child = os.fork()
        if not child:
            write_report(Path(folder), name)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(f"under {name} it ended with status {status}")


if __name__ == "__main__":
    main()
