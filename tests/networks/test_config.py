"""The two config.json: defaults, what is ignored, and the sentence for every wrong value."""

import dataclasses
import json

import pytest

from coladlm.networks.config import ConfigError, DiTConfig, TextVAEConfig, check_pair

KINDS = [TextVAEConfig, DiTConfig]


def test_vae_defaults_are_the_published_table():
    assert dataclasses.asdict(TextVAEConfig.from_dict({})) == {
        "vocab_size": 100278, "encoder_num_blocks": 4, "decoder_num_blocks": 4, "dim": 1536, "ffn_dim": 6144,
        "num_heads": 12, "latent_dim": 16, "patch_size": 1, "block_size": 4, "shared_heads_kv": 1,
        "encoder_last_ln": True, "use_variation": True, "layer_norm_eps": 1e-6, "layer_norm_affine": True,
        "post_norm": True, "qk_bias": False, "qk_norm": True, "qk_norm_affine": True, "bias": True, "clip_qkv": None,
        "rope_theta": 500000, "rope_full_precision": True, "act": "swiglu", "causal": False, "block_causal": True,
        "scaling_factor": 1.0, "shifting_factor": 0.0,
    }  # fmt: skip


def test_dit_defaults_are_the_published_table():
    assert dataclasses.asdict(DiTConfig.from_dict({})) == {
        "txt_in_channels": 16, "txt_out_channels": 16, "txt_dim": 2048, "emb_dim": 2048, "heads": 16, "head_dim": 128,
        "expand_ratio": 4, "num_layers": 24, "norm_eps": 1e-5, "qk_bias": False, "patch_size": 1, "rope_dim": 96,
        "block_size": 4, "token_output": 0, "token_input": False,
    }  # fmt: skip


def test_the_published_form_is_written_without_keys_of_extensions():
    assert not {"token_output", "token_input"} & DiTConfig().to_dict().keys()
    for extended in (DiTConfig(token_output=7), DiTConfig(token_output=7, token_input=True)):
        assert DiTConfig.from_dict(extended.to_dict()) == extended


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_other_libraries_are_ignored(kind):
    other = {"architectures": ["ColaDiTModel"], "dtype": "float32", "transformers_version": "5.23.0", "dropout": 0.0}
    assert kind.from_dict(other) == kind.from_dict({})


def test_a_settled_key_with_its_one_value_is_read_and_not_written():
    config = DiTConfig.from_dict({"attention_dtype": "float32"})
    assert config == DiTConfig.from_dict({}) and "attention_dtype" not in config.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_to_dict_is_json_that_reads_back_the_same(kind):
    config = kind.from_dict({"block_size": 16})
    assert kind.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_numbers_may_be_written_as_integers_or_with_a_point():
    config = TextVAEConfig.from_dict({"rope_theta": 500000, "dim": 1536.0, "clip_qkv": 8})
    assert (config.rope_theta, config.dim, config.clip_qkv) == (500000.0, 1536, 8.0)
    assert [type(value) for value in (config.rope_theta, config.dim, config.clip_qkv)] == [float, int, float]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"dim": "48"}, r"dim is '48', expected int"),
        ({"dim": True}, r"dim is True, expected int"),
        ({"dim": 1.5}, r"dim is 1.5, expected int"),
        ({"dim": None}, r"dim is None, expected int"),
        ({"bias": 1}, r"bias is 1, expected bool"),
        ({"act": 3}, r"act is 3, expected str"),
        ({"rope_theta": float("nan")}, r"rope_theta is nan, expected float"),
        ({"clip_qkv": "no"}, r"clip_qkv is 'no', expected float or null"),
        ({"vocab_size": 0}, r"vocab_size is 0, expected a positive integer"),
        ({"patch_size": -1}, r"patch_size is -1, expected a positive integer"),
        ({"encoder_num_blocks": -1}, r"encoder_num_blocks is -1, expected 0 or more"),
        ({"dim": 1537}, r"dim is 1537, expected a multiple of num_heads = 12"),
        ({"dim": 36}, r"dim is 36, expected an even number of channels for each of 12 heads"),
        ({"shared_heads_kv": 4}, r"shared_heads_kv is 4, expected 1 or num_heads = 12"),
        ({"act": "relu"}, r"act is 'relu', expected one of swiglu, gelu, silu"),
        ({"ffn_dim": 7}, r"ffn_dim is 7, expected an even number, since act is swiglu"),
        ({"layer_norm_eps": 0}, r"layer_norm_eps is 0.0, expected a positive number"),
        ({"rope_theta": -1}, r"rope_theta is -1.0, expected a positive number"),
        ({"clip_qkv": 0}, r"clip_qkv is 0.0, expected null or a positive number"),
        ({"scaling_factor": 0}, r"scaling_factor is 0.0, expected a number from 1e-6 to 1e6"),
        ({"scaling_factor": 1e300}, r"scaling_factor is 1e\+300, expected a number from 1e-6 to 1e6"),
        ({"block_causal": False}, r"block_causal is False, expected true"),
        ({"model_type": "bert"}, r"model_type is 'bert', expected 'cola_text_vae'"),
        ([], r"found list, expected a JSON object"),
    ],
)
def test_a_wrong_vae_config_gets_a_sentence(data, message):
    with pytest.raises(ConfigError, match=f"^a/config.json: {message}"):
        TextVAEConfig.from_dict(data, "a/config.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"heads": "16"}, r"heads is '16', expected int"),
        ({"qk_bias": None}, r"qk_bias is None, expected bool"),
        ({"num_layers": -1}, r"num_layers is -1, expected 0 or more"),
        ({"txt_in_channels": 8}, r"txt_out_channels is 16, expected txt_in_channels = 8"),
        ({"emb_dim": 64}, r"emb_dim is 64, expected txt_dim = 2048"),
        ({"patch_size": 2}, r"patch_size is 2, expected 1"),
        ({"head_dim": 127}, r"head_dim is 127, expected an even number"),
        ({"rope_dim": 130}, r"rope_dim is 130, expected an even number from 2 to head_dim = 128"),
        ({"rope_dim": 0}, r"rope_dim is 0, expected an even number from 2"),
        ({"rope_dim": 5}, r"rope_dim is 5, expected an even number from 2"),
        ({"expand_ratio": 0}, r"expand_ratio is 0, expected a positive integer"),
        ({"norm_eps": 0.0}, r"norm_eps is 0.0, expected a positive number"),
        ({"token_output": -1}, r"token_output is -1, expected 0 or more"),
        (
            {"token_output": 9, "txt_dim": 18, "emb_dim": 18},
            r"token_output is 9, expected 0 where txt_dim = 18",
        ),
        ({"token_input": True}, r"token_input is True, expected false where token_output is 0"),
        ({"attention_dtype": "bfloat16"}, r"attention_dtype is 'bfloat16', expected 'float32' or no such key"),
        ({"attention_dtype": None}, r"attention_dtype is None, expected 'float32' or no such key"),
        ({"model_type": "cola_text_vae"}, r"model_type is 'cola_text_vae', expected 'cola_dit'"),
    ],
)
def test_a_wrong_dit_config_gets_a_sentence(data, message):
    with pytest.raises(ConfigError, match=f"^b/config.json: {message}"):
        DiTConfig.from_dict(data, "b/config.json")


def test_unequal_block_sizes_are_refused():
    with pytest.raises(ConfigError, match=r"block_size 4, cola_dit/config.json has block_size 16: expected the same"):
        check_pair(TextVAEConfig(block_size=4), DiTConfig(block_size=16))


def test_unequal_latent_widths_are_refused():
    with pytest.raises(ConfigError, match=r"latent_dim 16, cola_dit/config.json has txt_in_channels 8"):
        check_pair(TextVAEConfig(), DiTConfig(txt_in_channels=8, txt_out_channels=8))


def test_an_output_layer_names_the_tokens_of_the_vae_or_none():
    check_pair(TextVAEConfig(vocab_size=50), DiTConfig(token_output=50))
    with pytest.raises(ConfigError, match=r"vocab_size 50, cola_dit/config.json has token_output 49: expected the"):
        check_pair(TextVAEConfig(vocab_size=50), DiTConfig(token_output=49))
    with pytest.raises(ConfigError, match=r"patch_size 2, cola_dit/config.json has token_output 50: expected patch"):
        check_pair(TextVAEConfig(vocab_size=50, patch_size=2), DiTConfig(token_output=50))
