"""The fields of a checkpoint's two config.json files, validated. Knows nothing about tensors or files.

`TextVAEConfig` is `cola_vae/config.json` (model_type `cola_text_vae`), `DiTConfig` is `cola_dit/config.json`
(model_type `cola_dit`). Field names and defaults are those of the published format; keys that are not listed here
(those of the Transformers library, for instance) are ignored.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar


class ConfigError(ValueError):
    """A config field has a wrong type or an unsupported value; the message names file, key, found and wanted."""


@dataclasses.dataclass(frozen=True)
class TextVAEConfig:
    """The text VAE: an encoder from tokens to a posterior over latents, and a decoder from latents to logits."""

    # vocabulary and widths
    vocab_size: int = 100278
    encoder_num_blocks: int = 4
    decoder_num_blocks: int = 4
    dim: int = 1536
    ffn_dim: int = 6144
    num_heads: int = 12
    shared_heads_kv: int = 1
    # latents
    latent_dim: int = 16
    patch_size: int = 1
    block_size: int = 4
    encoder_last_ln: bool = True
    use_variation: bool = True
    scaling_factor: float = 1.0
    shifting_factor: float = 0.0
    # blocks
    layer_norm_eps: float = 1e-6
    layer_norm_affine: bool = True
    post_norm: bool = True
    qk_bias: bool = False
    qk_norm: bool = True
    qk_norm_affine: bool = True
    bias: bool = True
    clip_qkv: float | None = None
    act: str = "swiglu"
    rope_theta: float = 500000.0
    rope_full_precision: bool = True
    # masks
    causal: bool = False
    block_causal: bool = True
    settled: ClassVar[Mapping[str, Any]] = {}

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def kv_heads(self) -> int:
        return self.num_heads // self.shared_heads_kv

    @property
    def tokens_per_block(self) -> int:
        return self.patch_size * self.block_size

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: str = "cola_vae/config.json") -> TextVAEConfig:
        """Reads the listed keys of `data` and checks them. Raises ConfigError."""
        config = read_fields(cls, data, file, model_type="cola_text_vae")
        check = FieldCheck(config, file)
        for key in ("vocab_size", "dim", "ffn_dim", "num_heads", "latent_dim", "patch_size", "block_size"):
            check(key, getattr(config, key) >= 1, "a positive integer")
        for key in ("encoder_num_blocks", "decoder_num_blocks"):
            check(key, getattr(config, key) >= 0, "0 or more")
        check("dim", config.dim % config.num_heads == 0, f"a multiple of num_heads = {config.num_heads}")
        check("dim", config.head_dim % 2 == 0, f"an even number of channels for each of {config.num_heads} heads")
        heads = config.num_heads
        check("shared_heads_kv", config.shared_heads_kv in (1, heads), f"1 or num_heads = {heads}")
        check("act", config.act in ("swiglu", "gelu", "silu"), "one of swiglu, gelu, silu")
        check("ffn_dim", config.act != "swiglu" or config.ffn_dim % 2 == 0, "an even number, since act is swiglu")
        check("layer_norm_eps", config.layer_norm_eps > 0, "a positive number")
        check("rope_theta", config.rope_theta > 0, "a positive number")
        check("clip_qkv", config.clip_qkv is None or config.clip_qkv > 0, "null or a positive number")
        check("scaling_factor", 1e-6 < abs(config.scaling_factor) < 1e6, "a number from 1e-6 to 1e6, or below 0 as far")
        check("block_causal", config.block_causal, "true: a text is decoded block by block")
        return config

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"model_type": "cola_text_vae", **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """The block-causal Diffusion Transformer: the velocity field on latents."""

    # latents
    txt_in_channels: int = 16
    txt_out_channels: int = 16
    patch_size: int = 1
    block_size: int = 4
    # widths
    txt_dim: int = 2048
    emb_dim: int = 2048
    heads: int = 16
    head_dim: int = 128
    expand_ratio: int = 4
    num_layers: int = 24
    # blocks
    norm_eps: float = 1e-5
    qk_bias: bool = False
    rope_dim: int = 96
    # an extension: how many tokens the output layer names (see `token_output.py`); 0, as published: it gives velocities
    token_output: int = 0
    # and whether the input layer reads them from the states, too
    token_input: bool = False
    # keys of earlier versions that leave no choice any more: a file may still carry one, with this value
    settled: ClassVar[Mapping[str, Any]] = {"attention_dtype": "float32"}

    @property
    def hidden_dim(self) -> int:
        """Width of the MLP's hidden layer."""
        return self.txt_dim * self.expand_ratio

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: str = "cola_dit/config.json") -> DiTConfig:
        """Reads the listed keys of `data` and checks them. Raises ConfigError."""
        config = read_fields(cls, data, file, model_type="cola_dit")
        check = FieldCheck(config, file)
        for key in ("txt_in_channels", "txt_dim", "heads", "head_dim", "block_size"):
            check(key, getattr(config, key) >= 1, "a positive integer")
        check("num_layers", config.num_layers >= 0, "0 or more")
        check("txt_out_channels", config.txt_out_channels == config.txt_in_channels,
              f"txt_in_channels = {config.txt_in_channels}")  # fmt: skip
        check("emb_dim", config.emb_dim == config.txt_dim, f"txt_dim = {config.txt_dim}")
        check("patch_size", config.patch_size == 1, "1")
        check("head_dim", config.head_dim % 2 == 0, "an even number")
        check("rope_dim", 0 < config.rope_dim <= config.head_dim and config.rope_dim % 2 == 0,
              f"an even number from 2 to head_dim = {config.head_dim}")  # fmt: skip
        check("expand_ratio", config.expand_ratio >= 1, "a positive integer")
        check("norm_eps", config.norm_eps > 0, "a positive number")
        check("token_output", config.token_output >= 0, "0 or more")
        check("token_output", not config.token_output or config.txt_dim >= config.txt_out_channels + 4,
              f"0 where txt_dim = {config.txt_dim} is below txt_out_channels + 4")  # fmt: skip
        check("token_input", config.token_output > 0 or not config.token_input, "false where token_output is 0")
        return config

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json; that of the published form has no keys of extensions."""
        fields = dataclasses.asdict(self)
        for key in ("token_output", "token_input"):
            if not fields[key]:
                del fields[key]
        return {"model_type": "cola_dit", **fields}


def check_pair(vae: TextVAEConfig, dit: DiTConfig) -> None:
    """Raises ConfigError unless the VAE and the DiT agree on the latents and on the block."""
    if vae.block_size != dit.block_size:
        raise ConfigError(
            f"cola_vae/config.json has block_size {vae.block_size}, cola_dit/config.json has block_size "
            f"{dit.block_size}: expected the same number in both"
        )
    if vae.latent_dim != dit.txt_in_channels:
        raise ConfigError(
            f"cola_vae/config.json has latent_dim {vae.latent_dim}, cola_dit/config.json has txt_in_channels "
            f"{dit.txt_in_channels}: expected the same number in both"
        )
    if dit.token_output not in (0, vae.vocab_size):
        raise ConfigError(
            f"cola_vae/config.json has vocab_size {vae.vocab_size}, cola_dit/config.json has token_output "
            f"{dit.token_output}: expected the same number in both, or no token_output"
        )
    if dit.token_output and vae.patch_size != 1:
        raise ConfigError(
            f"cola_vae/config.json has patch_size {vae.patch_size}, cola_dit/config.json has token_output "
            f"{dit.token_output}: expected patch_size 1, a token in each latent, or no token_output"
        )


class FileFields(typing.Protocol):
    """A dataclass with the fields of a config.json. settled: keys that may be there too, with one value alone."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    settled: ClassVar[Mapping[str, Any]]


Fields = TypeVar("Fields", bound=FileFields)


def read_fields(cls: type[Fields], data: Mapping[str, Any], file: str, model_type: str) -> Fields:
    """The dataclass `cls` from a config.json's content; unknown keys are left out. Raises ConfigError."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{file}: found {type(data).__name__}, expected a JSON object")
    found = data.get("model_type", model_type)
    if found != model_type:
        raise ConfigError(f"{file}: model_type is {found!r}, expected {model_type!r}")
    for key, value in getattr(cls, "settled", {}).items():
        if data.get(key, value) != value:
            raise ConfigError(f"{file}: {key} is {data[key]!r}, expected {value!r} or no such key")
    kinds = typing.get_type_hints(cls)
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _typed(data[field.name], kinds[field.name], file, field.name)
    return cls(**values)


def _typed(value: Any, kind: Any, file: str, key: str) -> Any:
    """`value` as the annotated `kind`. An int is fine where a float is wanted, a bool is never a number."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(value) is int and int not in kinds and float in kinds:
        value = float(value)
    if type(value) is float and float not in kinds and int in kinds and value.is_integer():
        value = int(value)
    if type(value) not in kinds or (type(value) is float and not math.isfinite(value)):
        names = " or ".join("null" if k is types.NoneType else k.__name__ for k in kinds)
        raise ConfigError(f"{file}: {key} is {value!r}, expected {names}")
    return value


class FieldCheck:
    """Called with a field's name, whether its value will do, and what would; raises ConfigError where it will not."""

    def __init__(self, config: Any, file: str):
        self.config, self.file = config, file

    def __call__(self, key: str, fine: bool, wanted: str) -> None:
        if not fine:
            raise ConfigError(f"{self.file}: {key} is {getattr(self.config, key)!r}, expected {wanted}")
