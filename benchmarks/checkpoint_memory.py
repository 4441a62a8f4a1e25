"""Peak memory of loading a checkpoint, over the bytes of the loaded weights: python -m benchmarks.checkpoint_memory.

Writes a synthetic checkpoint of about 1.3 GB (float32, several shards, one tensor of a quarter of it), loads it in a
fresh process for each device and dtype, and removes it again. Exits with 1 where a ratio is above 1.2.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import nn

from coladlm.checkpoint import SPECIAL_TOKENS, find_checkpoint, load_networks
from coladlm.checkpoint.skeleton import without_weights
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.text_vae import TextVAE

LIMIT = 1.2
SHARD = 200 << 20  # bytes
VAE = TextVAEConfig(dim=768, ffn_dim=3072, num_heads=12, encoder_num_blocks=2, decoder_num_blocks=2)
DIT = DiTConfig(txt_dim=1024, emb_dim=1024, heads=8, head_dim=128, num_layers=8)


def write_checkpoint(root: Path) -> int:
    """Writes random weights of the published form in float32; returns the bytes of all shards."""
    size = 0
    for folder, network, config in (("cola_vae", TextVAE, VAE), ("cola_dit", BlockCausalDiT, DIT)):
        (root / folder).mkdir(parents=True)
        (root / folder / "config.json").write_text(json.dumps(config.to_dict()))
        with without_weights():
            shapes = {key: tensor.shape for key, tensor in network(config).state_dict().items()}
        places = {}
        for number, keys in enumerate(shards(shapes)):
            name = f"model-{number:05d}.safetensors"
            save_file({key: torch.randn(shapes[key]) for key in keys}, root / folder / name)
            places.update(dict.fromkeys(keys, name))
            size += (root / folder / name).stat().st_size
        (root / folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    vocabulary = {token: i for i, token in enumerate(SPECIAL_TOKENS)}
    Tokenizer(models.WordLevel(vocabulary, SPECIAL_TOKENS[-1])).save(str(root / "tokenizer.json"))
    return size


def shards(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    """The keys in groups of about SHARD bytes of float32."""
    keys, size = [], 0
    for key, shape in shapes.items():
        keys.append(key)
        size += 4 * shape.numel()
        if size >= SHARD:
            yield keys
            keys, size = [], 0
    if keys:
        yield keys


def measure(root: Path, device: str, dtype: str) -> dict[str, float]:
    """Loads the checkpoint in this process: bytes of its weights, peak memory above that before, seconds."""
    checkpoint = find_checkpoint(root)
    if device == "cuda":
        torch.zeros(1, device=device)  # the context itself
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resident_bytes()
    start = time.perf_counter()
    networks = load_networks(checkpoint, device, getattr(torch, dtype))
    seconds = time.perf_counter() - start
    peak = (torch.cuda.max_memory_allocated() if device == "cuda" else peak_bytes()) - before
    return {"weights": sum(weight_bytes(network) for network in networks), "peak": peak, "seconds": seconds}


def weight_bytes(network: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in network.parameters())


def resident_bytes() -> int:
    """Memory of this process now; where the system does not tell, its peak so far."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else peak_bytes()


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", nargs=3, metavar=("FOLDER", "DEVICE", "DTYPE"), help="measure one load, as JSON")
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(measure(*arguments.load)))
        return 0
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        size = write_checkpoint(Path(folder) / "model")
        print(f"{size / 1e9:.2f} GB in float32 on disk")
        print("device  dtype     weights MB  peak MB  ratio  seconds")
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            for dtype in ("float32", "bfloat16"):
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.checkpoint_memory",
                    "--load",
                    f"{folder}/model",
                    device,
                    dtype,
                ]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                ratio = found["peak"] / found["weights"]
                worst = max(worst, ratio)
                print(
                    f"{device:7} {dtype:9} {found['weights'] / 1e6:10.0f} {found['peak'] / 1e6:8.0f} "
                    f"{ratio:6.3f} {found['seconds']:8.2f}"
                )
    print(f"largest ratio {worst:.3f}, {'within' if worst <= LIMIT else 'ABOVE'} the limit of {LIMIT}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
