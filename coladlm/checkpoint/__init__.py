"""Finds, checks and loads checkpoints of the published form; knows nothing about sampling.

    <root>/ or <root>/cola_dlm/
      cola_dit/  config.json + model.safetensors   (or model.safetensors.index.json + shards)
      cola_vae/  config.json + model.safetensors
    tokenizer.json        beside those two, or one folder up
    sampler.json          beside those two; the sampler settings that suit this model; not in every checkpoint
    openings.json         beside those two; how a text may begin that has no prompt; not in every checkpoint

Weights come from safetensors files alone: a pickle is refused, never read. A wrong checkpoint gets one sentence that
names file, key, what was found and what was wanted (CheckpointError, or ConfigError for a field of a config.json).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from ..assets import ASSETS
from ..errors import describe
from ..networks.config import DiTConfig, TextVAEConfig, check_pair
from ..networks.dit import ROPE_THETA, BlockCausalDiT
from ..networks.text_vae import TextVAE
from ..paths import can_be_a_path
from ..settings import SamplerSettings, SettingsError
from .form import CONFIGS, INDEX, LEVEL, ROTARY, WEIGHTS, first_line, more_of, norm_keys, rotary_frequencies
from .hub import download, is_repository_id, snapshot_of, snapshot_to_name
from .links import circle_of_links, refuse_circles
from .replaced_folder import found_at, standing_folder
from .saving import save_checkpoint
from .skeleton import without_weights
from .weights import CheckpointError, StoredTensor, read_buffer, read_header

__all__ = ["BUNDLED", "Checkpoint", "CheckpointError", "find_checkpoint", "load_networks", "save_checkpoint"]

BUNDLED = ASSETS / "model"
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|pad|>")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files, configs, tensor names, shapes and dtypes and tokenizer have been checked.

    fingerprint: 16 hexadecimal digits, the same wherever the same checkpoint lies and however it is sharded. It covers
    the fields of both configs, the tokenizer file, and the name, shape, dtype and up to 32 KB of the bytes of every
    tensor: enough to tell one model from another, not a proof against tampering.
    """

    root: Path  # the folder that holds cola_vae and cola_dit
    vae_config: TextVAEConfig
    dit_config: DiTConfig
    vae_files: list[Path]
    dit_files: list[Path]
    tokenizer_file: Path
    sampler: dict[str, Any] | None  # the content of sampler.json
    sampler_file: Path | None
    openings: tuple[str, ...]  # the texts of openings.json, none without it
    fingerprint: str
    name: str

    @property
    def settings(self) -> SamplerSettings:
        """How this model samples if nothing else is said. Raises SettingsError, which names the file."""
        try:
            return SamplerSettings.from_dict(self.sampler or {})
        except SettingsError as error:
            raise SettingsError(f"{self.sampler_file}: {error}") from error


# finding


def find_checkpoint(path_or_repo: str | Path | None = None, revision: str | None = None) -> Checkpoint:
    """Finds and checks a checkpoint without loading its weights.

    path_or_repo: a folder; a Hugging Face Hub id "owner/name", with `revision` a branch, tag or commit, downloaded
    into the Hub's cache or, without a network, taken from it; or None for the bundled model in assets/model.
    Raises CheckpointError or ConfigError.
    """
    folder, name = _locate(path_or_repo, revision)
    refuse_circles(folder / LEVEL, *(folder / network for network in CONFIGS))
    root = folder
    if not any(os.path.exists(folder / network) for network in CONFIGS):
        root = folder / LEVEL
        if not os.path.isdir(root):
            wanted = f"expected a checkpoint{snapshot_to_name(folder)}"
            raise CheckpointError(f"{folder}: found neither cola_vae and cola_dit nor {LEVEL}, {wanted}")
    _refuse_circles_in(root, folder)
    vae_config, dit_config = _config(root, "cola_vae"), _config(root, "cola_dit")
    check_pair(vae_config, dit_config)
    vae_files, dit_files = weight_files(root / "cola_vae"), weight_files(root / "cola_dit")
    vae_tensors, dit_tensors = stored_tensors(vae_files), stored_tensors(dit_files)
    _check_tensors("cola_vae", vae_config, vae_tensors, vae_files)
    _check_tensors("cola_dit", dit_config, dit_tensors, dit_files)
    tokenizer_file = _first_file("tokenizer.json", root, root.parent)
    if tokenizer_file is None:
        raise CheckpointError(f"{root / 'tokenizer.json'}: found no file, expected a tokenizer here or one folder up")
    check_tokenizer(tokenizer_file, vae_config.vocab_size)
    sampler_file = _first_file("sampler.json", root, folder)
    openings_file = _first_file("openings.json", root, folder)
    return Checkpoint(
        root=root,
        vae_config=vae_config,
        dit_config=dit_config,
        vae_files=vae_files,
        dit_files=dit_files,
        tokenizer_file=tokenizer_file,
        sampler=None if sampler_file is None else json_object(sampler_file),
        sampler_file=sampler_file,
        openings=() if openings_file is None else _openings(openings_file),
        fingerprint=_fingerprint((vae_config, dit_config), (vae_tensors, dit_tensors), tokenizer_file),
        name=name,
    )


def _locate(path_or_repo: str | Path | None, revision: str | None) -> tuple[Path, str]:
    """The folder of a checkpoint on this machine, and the name to show for it."""
    if path_or_repo is None:
        folder, name = BUNDLED, "bundled"
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder}: found no folder, expected the model that comes with a clone of the repository; "
                "elsewhere, name a folder or a Hub id"
            )
    elif not isinstance(path_or_repo, (str, os.PathLike)):
        wanted = "a folder, or a Hub id of the form owner/name"
        raise CheckpointError(f"the checkpoint is {describe(path_or_repo)}, expected {wanted}")
    elif not can_be_a_path(path_or_repo):
        wanted = "a path, without null characters and halves of surrogate pairs"
        raise CheckpointError(f"the checkpoint is {describe(path_or_repo)}, expected {wanted}")
    else:
        folder = Path(os.path.expanduser(path_or_repo))
        name = os.path.basename(os.path.realpath(folder))
        folder = standing_folder(folder)
        is_id = isinstance(path_or_repo, str) and is_repository_id(path_or_repo)
        if is_id and not os.path.lexists(folder) and not circle_of_links(folder):
            return _downloaded(str(path_or_repo), revision)
        if not os.path.isdir(folder):
            wanted = "a folder, or a Hub id of the form owner/name"
            raise CheckpointError(f"{folder}: found {found_at(folder)}, expected {wanted}")
    if revision is not None:
        raise CheckpointError(f"revision is {revision!r}, expected none: {folder} is a folder, not a Hub repository")
    repository = snapshot_of(folder)
    if repository and (missing := _missing_file(folder)):
        refuse_circles(missing)
        raise CheckpointError(
            f"{folder}: this snapshot of {repository} in the Hub's cache is incomplete, {missing} is missing, expected "
            f"the whole checkpoint: load {repository} by its name once, with a network"
        )
    return folder, name


def _downloaded(repository: str, revision: str | None) -> tuple[Path, str]:
    folder, name = download(repository, revision), f"{repository}@{revision}" if revision else repository
    missing = _missing_file(folder)
    if missing is not None:
        raise CheckpointError(
            f"{name}: the Hub's cache is incomplete, {missing} is missing, expected the whole checkpoint: load it once "
            "more with a network, or see whether the repository has this file at all"
        )
    return folder, name


def _missing_file(folder: Path) -> Path | None:
    """The first file that a checkpoint in this folder lacks."""
    root = folder if any(os.path.exists(folder / network) for network in CONFIGS) else folder / LEVEL
    files = [root / network / "config.json" for network in CONFIGS]
    for network in CONFIGS:
        single, index = root / network / WEIGHTS, root / network / INDEX
        if single.exists() or not index.exists():
            files.append(single)
        else:
            files += _shards(index)
    if _first_file("tokenizer.json", root, root.parent) is None:
        files.append(folder / "tokenizer.json")
    return next((file for file in files if not file.is_file()), None)


def _refuse_circles_in(root: Path, folder: Path) -> None:
    """Raises CheckpointError where a file of a checkpoint is a link that leads back to itself."""
    refuse_circles(*(root / network / file for network in CONFIGS for file in ("config.json", WEIGHTS, INDEX)))
    refuse_circles(*(place / file for place in (root, folder) for file in ("sampler.json", "openings.json")))
    refuse_circles(root / "tokenizer.json", root.parent / "tokenizer.json")


def _config(root: Path, network: str) -> Any:
    file = root / network / "config.json"
    return CONFIGS[network].from_dict(json_object(file), str(file))


def json_object(file: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object. Raises CheckpointError."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror or error}, expected a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: found something that is not JSON ({error}), expected a JSON object") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{file}: found a JSON {type(data).__name__}, expected a JSON object")
    return data


def _openings(file: Path) -> tuple[str, ...]:
    found = json_object(file).get("openings")
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise CheckpointError(f"{file}: openings is {describe(found)}, expected a list of texts, none of them empty")
    return tuple(found)


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the shards that the index names."""
    single, index = folder / WEIGHTS, folder / INDEX
    if single.exists():
        return [single]
    if not index.exists():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        found = f"only {pickles[0]}, a pickle, which is never read" if pickles else "no weights"
        raise CheckpointError(f"{folder}: found {found}, expected {WEIGHTS} or {INDEX}")
    shards = _shards(index)
    for shard in shards:
        refuse_circles(shard)
        if not shard.is_file():
            raise CheckpointError(
                f"{index}: {shard.name} is not in the folder, expected every shard that is named here"
            )
    return shards


def _shards(index: Path) -> list[Path]:
    """The files that an index names; they need not be there."""
    places = json_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index}: weight_map is {places!r}, expected an object from tensor to file")
    for key, name in places.items():
        # Backslashes and drives too: on Windows they leave the folder.
        if not isinstance(name, str) or re.search(r"[/\\:]", name) or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: {key} is in {name!r}, expected the name of a .safetensors file in the same folder"
            )
    return [index.parent / name for name in sorted(set(places.values()))]


def _first_file(name: str, *folders: Path) -> Path | None:
    """What has this name, in the first folder that has it: it may turn out to be no file when it is read."""
    return next((folder / name for folder in folders if (folder / name).exists()), None)


# checking


def stored_tensors(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """The tensors of one network by key, from the headers of its files."""
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for key, tensor in read_header(file).items():
            if key in tensors:
                raise CheckpointError(f"{file}: {key} is also in {tensors[key].file.name}, expected it once")
            tensors[key] = tensor
    return tensors


def _check_tensors(
    network: str, config: TextVAEConfig | DiTConfig, tensors: dict[str, StoredTensor], files: list[Path]
) -> None:
    """Raises CheckpointError unless `tensors` are exactly those that the network of this config wants."""
    place = files[0] if len(files) == 1 else files[0].parent
    depths = {"num_layers": "blocks"} if network == "cola_dit" else {
        "encoder_num_blocks": "encoder.blocks", "decoder_num_blocks": "decoder.blocks"}  # fmt: skip
    for field, prefix in depths.items():
        found = len({m[1] for m in (re.match(rf"{re.escape(prefix)}\.(\d+)\.", key) for key in tensors) if m})
        if found < getattr(config, field):  # before a network of a million layers is built, only to find them missing
            raise CheckpointError(f"{place}: found {found} {prefix}, expected {field} = {getattr(config, field)}")
    try:
        wanted = _wanted_shapes(config)
    except (RuntimeError, TypeError, OverflowError) as error:  # by how far they are too large
        raise CheckpointError(
            f"{place.parent if len(files) == 1 else place}/config.json: found sizes that no tensor can have "
            f"({first_line(error)}), expected those of the weights"
        ) from error
    missing = [key for key in wanted if key not in tensors]
    if missing:
        raise CheckpointError(
            f"{place}: {missing[0]} is missing{more_of(missing)}, expected shape {wanted[missing[0]]}"
        )
    for key, tensor in tensors.items():
        if isinstance(config, DiTConfig) and ROTARY.fullmatch(key):
            _check_rotary(tensor, config)
        elif key not in wanted:
            extra = [k for k in tensors if k not in wanted and not ROTARY.fullmatch(k)]
            raise CheckpointError(
                f"{tensor.file}: {key} belongs to no layer of this config{more_of(extra)}, expected none"
            )
        elif tensor.shape != wanted[key]:
            raise CheckpointError(f"{tensor.file}: {key} has shape {tensor.shape}, expected {wanted[key]}")


def _skeleton(config: TextVAEConfig | DiTConfig) -> TextVAE | BlockCausalDiT:
    """The network without memory for its weights."""
    with without_weights():
        return BlockCausalDiT(config) if isinstance(config, DiTConfig) else TextVAE(config)


@functools.lru_cache(maxsize=8)
def _wanted_shapes(config: TextVAEConfig | DiTConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's tensors by key. Kept, since to build one takes a quarter of a small model's loading."""
    return {key: tuple(tensor.shape) for key, tensor in _skeleton(config).state_dict().items()}


def _check_rotary(tensor: StoredTensor, config: DiTConfig) -> None:
    wanted = rotary_frequencies(config)
    if tensor.shape != tuple(wanted.shape):
        raise CheckpointError(f"{tensor.file}: {tensor.key} has shape {tensor.shape}, expected {tuple(wanted.shape)}")
    found = tensor.load("cpu", torch.float32)
    if not torch.allclose(found, wanted, rtol=1e-5 if tensor.dtype == "F32" else 1e-2):
        raise CheckpointError(
            f"{tensor.file}: {tensor.key} is {found.tolist()}, expected the rotary frequencies of theta {ROPE_THETA:g} "
            f"over rope_dim = {config.rope_dim} channels"
        )


def check_tokenizer(file: Path, vocab_size: int) -> None:
    """Raises CheckpointError unless the file is a tokenizer whose ids a network of this vocabulary can take."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(
            f"{file}: found no tokenizer ({first_line(error)}), expected a tokenizers file"
        ) from error
    for token in SPECIAL_TOKENS:
        if tokenizer.token_to_id(token) is None:
            raise CheckpointError(f"{file}: found no token {token}, expected {', '.join(SPECIAL_TOKENS)}")
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if largest >= vocab_size:
        raise CheckpointError(f"{file}: found token id {largest}, expected ids below vocab_size = {vocab_size}")


def _fingerprint(configs: Iterable[Any], networks: Iterable[dict[str, StoredTensor]], tokenizer_file: Path) -> str:
    digest = hashlib.sha256()
    for config, tensors in zip(configs, networks, strict=True):
        # with the settled keys, so that a model keeps the fingerprint that recipes of earlier versions name
        fields = config.to_dict() | dict(config.settled)
        digest.update(json.dumps(fields, sort_keys=True).encode())
        for key in sorted(key for key in tensors if not ROTARY.fullmatch(key)):
            tensor = tensors[key]
            digest.update(f"{key} {tensor.dtype} {tensor.shape}".encode())
            digest.update(tensor.sample())
    digest.update(tokenizer_file.read_bytes())
    return digest.hexdigest()[:16]


# loading


def load_networks(
    checkpoint: Checkpoint, device: torch.device | str, dtype: torch.dtype,
    progress: Callable[[float], None] | None = None,
) -> tuple[TextVAE, BlockCausalDiT]:  # fmt: skip
    """Loads both networks onto `device`, their matrices in `dtype` and their LayerNorms in float32.

    progress: called with the share of the weights that have been read, after every tensor.

    Each tensor goes from its file to where it stays in pieces of a few megabytes, so that peak memory is that of the
    loaded weights. The networks come back in evaluation mode and without gradients. Raises CheckpointError.
    """
    parts = [("cola_vae", checkpoint.vae_config, checkpoint.vae_files),
             ("cola_dit", checkpoint.dit_config, checkpoint.dit_files)]  # fmt: skip
    total = sum(file.stat().st_size for _, _, files in parts for file in files)
    done = 0

    def read(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress(min(1.0, done / max(1, total)))

    vae, dit = (_load(*part, device, dtype, read) for part in parts)
    return vae, dit


def _load(network: str, config: Any, files: list[Path], device: torch.device | str, dtype: torch.dtype,
          read: Callable[[int], None]) -> Any:  # fmt: skip
    """read: called with the bytes that each tensor took in its file."""
    tensors = stored_tensors(files)
    _check_tensors(network, config, tensors, files)
    module = _skeleton(config)
    norms, buffer = norm_keys(module), read_buffer()
    state = {}
    for key in module.state_dict():
        state[key] = tensors[key].load(device, torch.float32 if key in norms else dtype, buffer)
        read(tensors[key].nbytes)
    spread = state.get("txt_out.tokens.spread")
    # what a velocity at the end of the flow is divided by; an outline has no numbers to look at
    if spread is not None and not spread.is_meta and not spread > 0:
        file = tensors["txt_out.tokens.spread"].file
        raise CheckpointError(f"{file}: txt_out.tokens.spread is {spread.item():g}, expected a number above 0")
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)
