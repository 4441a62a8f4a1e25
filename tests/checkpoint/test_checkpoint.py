"""Finding, checking, loading and saving checkpoints; every wrong one gets one sentence, and none is half written."""

import dataclasses
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from coladlm import ColaDLM, SamplerSettings, SettingsError
from coladlm import checkpoint as checkpoint_module
from coladlm.checkpoint import CheckpointError, find_checkpoint, load_networks, save_checkpoint
from coladlm.checkpoint.weights import SAMPLE, SAMPLES, StoredTensor, read_header
from coladlm.networks.config import ConfigError
from coladlm.networks.layers import LayerNorm

from ..forked import started

VAE, DIT = "cola_vae/model.safetensors", "cola_dit/model.safetensors"


@pytest.fixture
def folder(golden_folder, tmp_path) -> Path:
    """A copy of the golden checkpoint that a test may spoil."""
    root = tmp_path / "model"
    for name in ("cola_vae", "cola_dit"):
        shutil.copytree(golden_folder / name, root / name)
    shutil.copy(golden_folder / "tokenizer.json", root)
    return root


def edit_json(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_tensors(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def shard(folder: Path) -> None:
    """Splits model.safetensors of a network into two shards and an index."""
    tensors = load_file(folder / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {key: names[i % 2] for i, key in enumerate(tensors)}
    for name in names:
        save_file({key: tensors[key] for key in tensors if places[key] == name}, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def networks(folder: Path, dtype: torch.dtype = torch.float32):
    return load_networks(find_checkpoint(folder), "cpu", dtype)


def tokenizer_of(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


# finding


def test_a_folder_is_found_with_all_its_parts(folder):
    found = find_checkpoint(folder)
    assert (found.root, found.name, found.sampler) == (folder, "model", None)
    assert found.vae_files == [folder / VAE]
    assert found.dit_files == [folder / DIT]
    assert found.tokenizer_file == folder / "tokenizer.json"
    assert (found.vae_config.dim, found.dit_config.txt_dim) == (48, 64)
    assert re.fullmatch("[0-9a-f]{16}", found.fingerprint)


@pytest.mark.parametrize("tokenizer", ["beside", "one folder up"])
def test_the_level_cola_dlm_is_found(folder, tokenizer):
    (folder / "cola_dlm").mkdir()
    for name in ("cola_vae", "cola_dit", *(["tokenizer.json"] if tokenizer == "beside" else [])):
        (folder / name).rename(folder / "cola_dlm" / name)
    found = find_checkpoint(str(folder))
    assert found.root == folder / "cola_dlm"
    assert found.tokenizer_file == (folder / "cola_dlm" if tokenizer == "beside" else folder) / "tokenizer.json"
    assert find_checkpoint(folder / "cola_dlm").tokenizer_file == found.tokenizer_file


def test_shards_load_the_same_weights(folder, golden_folder):
    shard(folder / "cola_dit")
    shard(folder / "cola_vae")
    assert [len(files) for files in (find_checkpoint(folder).vae_files, find_checkpoint(folder).dit_files)] == [2, 2]
    for sharded, single in zip(networks(folder), networks(golden_folder), strict=True):
        torch.testing.assert_close(sharded.state_dict(), single.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(("content", "message"), [
    ('{"steps": "x"}', "sampler.json: steps is 'x', expected a whole number"),
    ('{"nonsense": 1}', "sampler.json: unknown sampler setting 'nonsense'"),
])  # fmt: skip
def test_what_is_wrong_in_sampler_json_names_the_file(folder, content, message):
    (folder / "sampler.json").write_text(content)
    with pytest.raises(SettingsError, match=message):
        ColaDLM.from_pretrained(folder)


@pytest.mark.parametrize("name", ["sampler.json", "openings.json"])
def test_a_folder_in_the_place_of_a_file_is_not_taken_for_none(folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(CheckpointError, match=f"{name}: Is a directory, expected a JSON file"):
        ColaDLM.from_pretrained(folder)


def test_a_checkpoint_without_settings_of_its_own_has_those_of_the_published_sampler(folder):
    assert find_checkpoint(folder).sampler is None
    assert ColaDLM.from_pretrained(folder).defaults == SamplerSettings()


def test_sampler_json_is_read(folder):
    (folder / "sampler.json").write_text('{"steps": 8, "stochasticity": 0.5}')
    assert find_checkpoint(folder).sampler == {"steps": 8, "stochasticity": 0.5}


def test_openings_are_read_and_outlive_a_checkpoint_that_is_saved_in_their_place(folder):
    assert find_checkpoint(folder).openings == ()
    (folder / "openings.json").write_text('{"openings": ["Once", "One day,"]}')
    save_checkpoint(folder, *networks(folder), tokenizer_of(folder))
    assert find_checkpoint(folder).openings == ("Once", "One day,")


def test_the_bundled_model_is_the_default(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "BUNDLED", folder)
    found = find_checkpoint()
    assert (found.root, found.name) == (folder, "bundled")


def test_a_missing_bundled_model_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "BUNDLED", tmp_path / "assets" / "model")
    with pytest.raises(CheckpointError, match=r"assets/model: found no folder, expected the model that comes with"):
        find_checkpoint()


# fingerprint


def test_fingerprint_is_of_the_content_not_of_its_place(folder, golden_folder, tmp_path):
    before = find_checkpoint(golden_folder).fingerprint
    shard(folder / "cola_vae")
    moved = folder.rename(tmp_path / "elsewhere")
    config = moved / "cola_dit" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "transformers_version": "6"}, indent=7))
    assert find_checkpoint(moved).fingerprint == before


@pytest.mark.parametrize("part", ["config", "weight", "tokenizer"])
def test_fingerprint_tells_models_apart(folder, part):
    before = find_checkpoint(folder).fingerprint
    if part == "config":
        edit_json(folder / "cola_vae" / "config.json", scaling_factor=1.25)
    elif part == "weight":
        edit_tensors(folder / DIT, lambda tensors: tensors["blocks.2.mlp.proj_in.weight"].mul_(1.001))
    else:
        tokenizer = tokenizer_of(folder)
        tokenizer.enable_truncation(5)
        tokenizer.save(str(folder / "tokenizer.json"))
    assert find_checkpoint(folder).fingerprint != before


def test_a_large_tensor_is_sampled_from_its_first_to_its_last_byte(tmp_path):
    values = torch.arange(300_000, dtype=torch.float32)
    save_file({"small": torch.ones(3), "x": values}, tmp_path / "x.safetensors")
    sample = read_header(tmp_path / "x.safetensors")["x"].sample()
    raw = values.numpy().tobytes()
    assert len(sample) == SAMPLE * SAMPLES
    assert (sample[:SAMPLE], sample[-SAMPLE:]) == (raw[:SAMPLE], raw[-SAMPLE:])


# loading


def test_matrices_take_the_compute_dtype_and_norms_stay_float32(folder):
    for network in networks(folder, torch.bfloat16):
        for name, module in network.named_modules():
            for parameter in module.parameters(recurse=False):
                wanted = torch.float32 if isinstance(module, LayerNorm) else torch.bfloat16
                assert parameter.dtype == wanted, name
                assert not parameter.requires_grad
        assert not network.training


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_a_stored_tensor_loads_exactly_in_every_dtype(tmp_path, stored, wanted):
    tensor = torch.randn(700, 701).to(stored)
    save_file({"first": torch.ones(5), "x": tensor, "scalar": torch.tensor(2.5)}, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    assert torch.equal(header["x"].load("cpu", wanted), tensor.to(wanted))
    assert header["scalar"].load("cpu", wanted).item() == 2.5


def test_a_tensor_larger_than_one_piece_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("coladlm.checkpoint.weights.PIECE", 1000)
    tensor = torch.randn(33, 77)
    save_file({"x": tensor}, tmp_path / "x.safetensors")
    header = read_header(tmp_path / "x.safetensors")
    assert torch.equal(header["x"].load("cpu", torch.float32), tensor)
    assert torch.equal(header["x"].load("cpu", torch.bfloat16), tensor.bfloat16())


def test_rotary_frequencies_are_not_required(folder, golden_folder):
    def drop(tensors):
        for key in [key for key in tensors if key.endswith("freqs")]:
            del tensors[key]

    edit_tensors(folder / DIT, drop)
    assert find_checkpoint(folder).fingerprint == find_checkpoint(golden_folder).fingerprint
    networks(folder)


# what is wrong


def missing_folder(folder):
    shutil.rmtree(folder)


def no_networks(folder):
    shutil.rmtree(folder / "cola_vae")
    shutil.rmtree(folder / "cola_dit")


def pickle_beside(folder):
    (folder / VAE).rename(folder / "cola_vae" / "pytorch_model.bin")


def pickle_inside(folder):
    (folder / VAE).write_bytes(pickle.dumps({"x": 1}))


def archive_inside(folder):
    with zipfile.ZipFile(folder / VAE, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"x": 1}))


def truncated(folder):
    os.truncate(folder / VAE, (folder / VAE).stat().st_size - 1000)


def truncated_header(folder):
    os.truncate(folder / VAE, 100)


def overlapping(folder):
    data = (folder / VAE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["encoder.wte.weight"]["data_offsets"] = [0, 321 * 48 * 4]
    text = json.dumps(header).encode()
    (folder / VAE).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def renamed_tensor(old: str, new: str):
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def weight_map(folder, place):
    shard(folder / "cola_dit")
    index = folder / "cola_dit" / "model.safetensors.index.json"
    edit_json(index, weight_map={**json.loads(index.read_text())["weight_map"], "txt_in.proj.bias": place})


def tokenizer_without(folder, token):
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text().replace(json.dumps(token), '"other"'))
    file.write_text(json.dumps(data))


def tokenizer_too_large(folder):
    tokenizer = tokenizer_of(folder)
    tokenizer.add_tokens([f"word{i}" for i in range(400)])
    tokenizer.save(str(folder / "tokenizer.json"))


def tensors(change, file=DIT):
    return lambda folder: edit_tensors(folder / file, change)


def config(network, **changes):
    return lambda folder: edit_json(folder / network / "config.json", **changes)


def text(file, content):
    return lambda folder: (folder / file).write_bytes(content)


WRONG = {
    "no folder": (missing_folder, r"model: found nothing, expected a folder, or a Hub id of the form owner/name"),
    "an empty folder": (no_networks, r"model: found neither cola_vae and cola_dit nor cola_dlm, expected a checkpoint"),
    "one network": (
        lambda folder: shutil.rmtree(folder / "cola_dit"),
        r"cola_dit/config.json: No such file or directory, expected a JSON file",
    ),
    "no weights": (
        lambda folder: (folder / VAE).unlink(),
        r"cola_vae: found no weights, expected model.safetensors or model.safetensors.index.json",
    ),
    "a pickle alone": (
        pickle_beside,
        r"cola_vae: found only pytorch_model.bin, a pickle, which is never read, expected",
    ),
    "a pickle by a false name": (pickle_inside, r"found a pickle or an archive of one, .* expected a safetensors file"),
    "an archive by a false name": (archive_inside, r"found a pickle or an archive of one, .* expected a safetensors"),
    "a Git LFS pointer": (text(VAE, b"version https://git-lfs"), r"found a Git LFS pointer in place of the file"),
    "an empty file": (text(VAE, b""), r"cola_vae/model.safetensors: found an empty file, expected a safetensors file"),
    "a text": (text(VAE, b"<html><body>"), r"found a file that starts with the bytes b'<html><bo', expected"),
    "a header of no JSON": (text(VAE, (4).to_bytes(8, "little") + b"{{{{"), r"its header is not that of a safetensors"),
    "a header of other JSON": (text(VAE, (9).to_bytes(8, "little") + b'{"x": 1} '), r"is not that of a safetensors"),
    "a truncated file": (truncated, r"the file has \d+ bytes, expected \d+ by its header: is it truncated\?"),
    "a truncated header": (truncated_header, r"the file has 100 bytes, expected a header of \d+ bytes in it"),
    "overlapping tensors": (overlapping, r"starts at byte \d+, expected byte \d+"),
    "a missing tensor": (
        tensors(lambda t: t.pop("blocks.1.msa.proj_out.weight")),
        r"cola_dit/model.safetensors: blocks.1.msa.proj_out.weight is missing, expected shape \(64, 64\)",
    ),
    "another missing tensor": (
        tensors(renamed_tensor("decoder.in_layer.bias", "decoder.in_layer.biased"), VAE),
        r"cola_vae/model.safetensors: decoder.in_layer.bias is missing, expected shape \(48,\)",
    ),
    "an extra tensor": (
        tensors(lambda t: t.update({"blocks.0.lora": torch.zeros(2)})),
        r"cola_dit/model.safetensors: blocks.0.lora belongs to no layer of this config, expected none",
    ),
    "an extra layer": (
        tensors(lambda t: t.update({"blocks.7.mlp.proj_in.bias": torch.zeros(2), "y": torch.zeros(2)})),
        r"blocks.7.mlp.proj_in.bias belongs to no layer of this config \(and 1 more\), expected none",
    ),
    "a wrong shape": (
        tensors(lambda t: t.update({"txt_in.proj.weight": t["txt_in.proj.weight"].T.contiguous()})),
        r"cola_dit/model.safetensors: txt_in.proj.weight has shape \(8, 64\), expected \(64, 8\)",
    ),
    "integers": (
        tensors(lambda t: t.update({"txt_in.proj.weight": t["txt_in.proj.weight"].long()})),
        r"cola_dit/model.safetensors: txt_in.proj.weight has dtype I64, expected one of F32, F16, BF16",
    ),
    "float64": (
        tensors(lambda t: t.update({"decoder.in_layer.bias": t["decoder.in_layer.bias"].double()}), VAE),
        r"cola_vae/model.safetensors: decoder.in_layer.bias has dtype F64, expected one of F32, F16, BF16",
    ),
    "rotary frequencies of another theta": (
        tensors(lambda t: t["blocks.0.msa.rope.rope.freqs"].pow_(2)),
        r"blocks.0.msa.rope.rope.freqs is \[.*\], expected the rotary frequencies of theta 10000 over rope_dim = 12",
    ),
    "too few rotary frequencies": (
        tensors(lambda t: t.update({"blocks.0.msa.rope.rope.freqs": torch.ones(3)})),
        r"blocks.0.msa.rope.rope.freqs has shape \(3,\), expected \(6,\)",
    ),
    "too many layers in the config": (
        config("cola_dit", num_layers=10**9),
        r"cola_dit/model.safetensors: found 3 blocks, expected num_layers = 1000000000",
    ),
    "sizes beyond any tensor": (
        config("cola_dit", heads=10**12, head_dim=10**8),
        r"cola_dit/config.json: found sizes that no tensor can have",
    ),
    "a config that is not JSON": (
        text("cola_dit/config.json", b"{block_size: 4}"),
        r"something that is not JSON \(.*\)",
    ),
    "a config in another encoding": (text("cola_dit/config.json", b"\xff\xfe{"), r"something that is not JSON \(.*\)"),
    "a config that is a list": (text("cola_vae/config.json", b"[]"), r"found a JSON list, expected a JSON object"),
    "an index without a map": (
        lambda folder: (shard(folder / "cola_dit"), edit_json(folder / f"{DIT}.index.json", weight_map=[])),
        r"index.json: weight_map is \[\], expected an object from tensor to file",
    ),
    "an index with a missing shard": (
        lambda folder: weight_map(folder, "model-00003-of-00003.safetensors"),
        r"index.json: model-00003-of-00003.safetensors is not in the folder, expected every shard",
    ),
    "an index out of the folder": (
        lambda folder: weight_map(folder, "../cola_vae/model.safetensors"),
        r"txt_in.proj.bias is in '../cola_vae/model.safetensors', expected the name of a .safetensors file in the same",
    ),
    "an index with an absolute path": (
        lambda folder: weight_map(folder, "/etc/model.safetensors"),
        r"txt_in.proj.bias is in '/etc/model.safetensors', expected the name",
    ),
    "an index naming a pickle": (
        lambda folder: weight_map(folder, "model.bin"),
        r"txt_in.proj.bias is in 'model.bin', expected the name of a .safetensors file",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        r"tokenizer.json: found no file, expected a tokenizer here or one folder up",
    ),
    "a broken tokenizer": (text("tokenizer.json", b"{}"), r"tokenizer.json: found no tokenizer \(.*\), expected"),
    "a tokenizer without padding": (
        lambda folder: tokenizer_without(folder, "<|pad|>"),
        r"tokenizer.json: found no token <\|pad\|>, expected <\|endoftext\|>, <\|im_end\|>, <\|pad\|>",
    ),
    "a tokenizer for another model": (
        tokenizer_too_large,
        r"tokenizer.json: found token id \d+, expected ids below vocab_size = 320",
    ),
    "a sampler.json that is not an object": (
        text("sampler.json", b"16"),
        r"sampler.json: found a JSON int, expected a JSON object",
    ),
    "an openings.json with an empty line": (
        text("openings.json", b'{"openings": ["Once", " "]}'),
        r"openings.json: openings is a list of 2, expected a list of texts, none of them empty",
    ),
    "an openings.json without openings": (
        text("openings.json", b"{}"),
        r"openings.json: openings is None, expected a list of texts, none of them empty",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_checkpoint_gets_a_sentence(folder, case):
    spoil, message = WRONG[case]
    spoil(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        find_checkpoint(folder)
    assert str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act": "relu"}, r"cola_vae/config.json: act is 'relu', expected one of swiglu, gelu, silu"),
        ({"dim": "48"}, r"cola_vae/config.json: dim is '48', expected int"),
        ({"block_size": 16}, r"block_size 16, cola_dit/config.json has block_size 4: expected the same number"),
    ],
)
def test_an_unsupported_config_value_gets_a_sentence(folder, changes, message):
    edit_json(folder / "cola_vae" / "config.json", **changes)
    with pytest.raises(ConfigError, match=message):
        find_checkpoint(folder)


def test_a_tensor_in_two_shards_is_refused(folder):
    shard(folder / "cola_dit")
    first, second = sorted((folder / "cola_dit").glob("*.safetensors"))
    key = next(iter(load_file(first)))
    edit_tensors(second, lambda t: t.update({key: torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=rf"{second}: {key} is also in {first.name}, expected it once"):
        find_checkpoint(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(folder, value, dtype):
    edit_tensors(folder / VAE, lambda t: t["encoder.wte.weight"][7, 5].fill_(value))
    with pytest.raises(CheckpointError, match=rf"{folder / VAE}: encoder.wte.weight holds NaN or infinity, expected"):
        networks(folder, dtype)


def test_a_file_that_shrinks_after_it_was_checked_is_refused(folder):
    found = read_header(folder / VAE)["decoder.blocks.0.attn_out_proj.bias"]
    beyond = dataclasses.replace(found, offset=(folder / VAE).stat().st_size - 10)
    assert isinstance(beyond, StoredTensor)
    with pytest.raises(
        CheckpointError, match=r"the file ends inside decoder.blocks.0.attn_out_proj.bias, expected 182"
    ):
        beyond.load("cpu", torch.float32)


def test_a_file_in_place_of_a_folder_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"tokenizer.json: found a file, expected a folder, or a Hub id"):
        find_checkpoint(folder / "tokenizer.json")


def test_a_folder_has_no_revision(folder):
    with pytest.raises(CheckpointError, match=r"revision is 'main', expected none: .*model is a folder"):
        find_checkpoint(folder, revision="main")


# saving


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_checkpoint_loads_the_same(folder, tmp_path, dtype):
    before = networks(folder, dtype)
    target = tmp_path / "runs" / "saved"
    save_checkpoint(target, *before, tokenizer_of(folder), {"steps": 4}, dtype)
    found = find_checkpoint(target)
    assert found.sampler == {"steps": 4}
    assert (found.vae_config, found.dit_config) == (
        find_checkpoint(folder).vae_config,
        find_checkpoint(folder).dit_config,
    )
    assert tokenizer_of(target).to_str() == tokenizer_of(folder).to_str()
    for old, new in zip(before, load_networks(found, "cpu", dtype), strict=True):
        torch.testing.assert_close(new.state_dict(), old.state_dict(), rtol=0, atol=0)
    assert sorted(path.name for path in target.parent.iterdir()) == ["saved"]


def test_saved_tensors_have_the_published_names_shapes_and_dtypes(folder, tmp_path):
    save_checkpoint(tmp_path / "saved", *networks(folder), tokenizer_of(folder))
    for file in (VAE, DIT):
        saved, published = load_file(tmp_path / "saved" / file), load_file(folder / file)
        assert {k: (t.shape, t.dtype) for k, t in saved.items()} == {
            k: (t.shape, t.dtype) for k, t in published.items()
        }
    assert not (tmp_path / "saved" / "sampler.json").exists()


def test_saving_replaces_a_checkpoint(folder):
    vae, dit = networks(folder)
    dit.txt_in["proj"].weight.mul_(2)
    save_checkpoint(folder, vae, dit, tokenizer_of(folder))
    torch.testing.assert_close(networks(folder)[1].txt_in["proj"].weight, dit.txt_in["proj"].weight)


def test_saving_into_a_folder_of_other_things_is_refused(folder):
    parts, tokenizer = networks(folder), tokenizer_of(folder)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"model: found thesis.txt, expected nothing but a checkpoint to replace"):
        save_checkpoint(folder, *parts, tokenizer)
    with pytest.raises(CheckpointError, match=r"thesis.txt: found a file, expected a folder or nothing"):
        save_checkpoint(folder / "thesis.txt", *parts, tokenizer)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_saving_keeps_the_documents_beside_a_checkpoint(folder):
    (folder / "README.md").write_text("a model card")
    save_checkpoint(folder, *networks(folder), tokenizer_of(folder))
    assert (folder / "README.md").read_text() == "a model card"
    find_checkpoint(folder)


@pytest.mark.parametrize("wrong", ["weight", "dtype", "blocks", "sampler"])
def test_a_save_that_fails_leaves_what_was_there(folder, wrong):
    vae, dit = networks(folder)
    before, dtype, sampler = find_checkpoint(folder), torch.float32, None
    if wrong == "weight":
        dit.txt_out["proj"].bias[0] = float("nan")
        message = r"cola_dit/model.safetensors: txt_out.proj.bias would hold NaN or infinity, expected finite numbers"
    elif wrong == "dtype":
        dtype, message = torch.float16, r"dtype is torch.float16, expected torch.float32 or torch.bfloat16"
    elif wrong == "blocks":
        dit.config = dataclasses.replace(dit.config, block_size=8)
        message = r"block_size 4, cola_dit/config.json has block_size 8: expected the same number"
    else:
        sampler, message = {"guidance": float("nan")}, r"sampler.json: .*expected plain data with finite numbers"
    with pytest.raises(ValueError, match=message):
        save_checkpoint(folder, vae, dit, tokenizer_of(folder), sampler, dtype)
    assert find_checkpoint(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files to fill a disk with")
def test_a_disk_that_fills_up_leaves_what_was_there(folder):
    import resource

    parts, before = networks(folder), find_checkpoint(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, limits[1]))  # the VAE fits, the DiT does not
    try:
        with pytest.raises(CheckpointError, match=r"model: cannot be written \(.*\), expected free space"):
            save_checkpoint(folder, *parts, tokenizer_of(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert find_checkpoint(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def killed_save(folder: Path, renames: int, *parts) -> None:
    """Saves, and kills its process before it renames something for the second time, or the first."""
    rename = Path.rename

    def rename_or_die(path, target):
        nonlocal renames
        if not renames:
            os.kill(os.getpid(), signal.SIGKILL)
        renames -= 1
        return rename(path, target)

    Path.rename = rename_or_die
    save_checkpoint(folder, *parts)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_save_that_is_killed_leaves_what_was_there_and_the_next_one_cleans_up(folder, tmp_path):
    other = tmp_path / "other" / "model"
    shutil.copytree(folder, other)
    before, parts = find_checkpoint(folder), networks(folder)
    for renames, place in enumerate((folder, other)):
        saving = started(killed_save, place, renames, *parts, tokenizer_of(folder))
        saving.join(60)
        assert saving.exitcode == -signal.SIGKILL
    assert folder.exists()
    assert not other.exists()  # it stands beside its place, where it is found
    for place in (folder, other):
        after = find_checkpoint(place)
        assert (after.fingerprint, after.name) == (before.fingerprint, before.name)
        save_checkpoint(place, *load_networks(after, "cpu", torch.float32), tokenizer_of(after.root))
        assert not list(place.parent.glob(".*"))
        networks(place)


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_loop_of_links_is_said_to_be_one(tmp_path, inside):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).symlink_to(tmp_path / other)
    circle = " -> ".join(str(tmp_path / name) for name in "aba")
    with pytest.raises(
        CheckpointError, match=rf"a(.model)?: found links that lead in a circle \({re.escape(circle)}\)"
    ):
        find_checkpoint(tmp_path / "a" / inside)


@pytest.mark.parametrize("loop", ["owner/model", "owner"])
def test_a_loop_of_links_on_a_relative_path_is_no_hub_id(tmp_path, monkeypatch, loop):
    (tmp_path / loop).parent.mkdir(exist_ok=True)
    (tmp_path / loop).symlink_to((tmp_path / loop).name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"^owner.model: found links that lead in a circle \(.*{loop} -> .*{loop}\)"
    ):
        find_checkpoint("owner/model")


def test_a_long_way_of_links_is_no_circle(tmp_path):
    for i in range(60):
        (tmp_path / str(i)).symlink_to(str(i + 1))
    with pytest.raises(CheckpointError, match=r"0: found nothing that can be opened \(Too many"):
        find_checkpoint(tmp_path / "0")


@pytest.mark.parametrize(
    "part", ["tokenizer.json", "sampler.json", "cola_vae/config.json", "cola_dit/model.safetensors", "cola_vae"]
)
def test_a_loop_of_links_inside_a_checkpoint_gets_a_sentence(folder, part):
    if (folder / part).is_dir():
        shutil.rmtree(folder / part)
    else:
        (folder / part).unlink(missing_ok=True)
    (folder / part).symlink_to((folder / part).name)
    with pytest.raises(CheckpointError, match=rf"{part}: found links that lead in a circle \(.*{part} -> .*{part}\)"):
        find_checkpoint(folder)


def test_a_shard_that_links_to_itself_gets_a_sentence(folder):
    shard(folder / "cola_dit")
    part = folder / "cola_dit" / "model-00002-of-00002.safetensors"
    part.unlink()
    part.symlink_to(part.name)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(part))}: found links that lead in a circle"):
        find_checkpoint(folder)


def test_nothing_is_saved_through_a_loop_of_links(folder, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CheckpointError, match="loop: cannot be written"):
        save_checkpoint(tmp_path / "loop", *networks(folder), tokenizer_of(folder))
    assert (tmp_path / "loop").is_symlink()


def test_a_name_that_no_folder_can_have_gets_a_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="found nothing that can be opened"):
        find_checkpoint(tmp_path / ("x" * 5000))


# the Hub


class Hub:
    """A Hub on this machine: the three routes that a download takes, over one folder, at two revisions."""

    def __init__(self, folder: Path):
        self.folder, self.served = folder, []
        self.commits = {"main": "a" * 40, "v2": "b" * 40}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self, body=True)

            def do_HEAD(self):
                hub.answer(self, body=False)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, body: bool) -> None:
        path = unquote(request.path.split("?")[0])
        headers, data, status = {"Content-Type": "application/json"}, b"", 200
        if match := re.fullmatch("/api/models/owner/model/revision/(.+)", path):
            sha = self.commits.get(match[1])
            data = json.dumps({"_id": "1", "id": "owner/model", "sha": sha, "siblings": []}).encode()
            if sha is None:
                status, headers["X-Error-Code"] = 404, "RevisionNotFound"
        elif re.fullmatch("/api/models/owner/model/tree/.+", path):
            files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
            entries = [
                {"type": "file", "path": file.relative_to(self.folder).as_posix(), "size": file.stat().st_size,
                 "oid": self.etag(file)}
                for file in files
            ]  # fmt: skip
            data = json.dumps(entries).encode()
        elif match := re.fullmatch("/owner/model/resolve/([ab]{40})/(.+)", path):
            file = self.folder / match[2]
            data = file.read_bytes()
            headers = {"ETag": f'"{self.etag(file)}"', "X-Repo-Commit": match[1], "Accept-Ranges": "bytes"}
            if body:
                self.served.append(match[2])
        else:
            status, headers["X-Error-Code"] = 404, "RepoNotFound"
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if body:
            request.wfile.write(data)

    @staticmethod
    def etag(file: Path) -> str:
        return hashlib.sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A Hub that serves `folder` under cola_dlm/, and an empty cache."""
    served = tmp_path / "hub"
    (served / "cola_dlm").mkdir(parents=True)
    for name in ("cola_vae", "cola_dit"):
        shutil.copytree(folder / name, served / "cola_dlm" / name)
    shard(served / "cola_dlm" / "cola_dit")
    shutil.copy(folder / "tokenizer.json", served)
    (served / "cola_dlm" / "cola_vae" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (served / "modeling.py").write_text("raise SystemExit")
    server = Hub(served)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield server
    server.stop()


def test_a_hub_id_is_downloaded_once_and_without_anything_but_the_checkpoint(hub, folder):
    found = find_checkpoint("owner/model")
    assert (found.name, found.fingerprint) == ("owner/model", find_checkpoint(folder).fingerprint)
    assert len(hub.served) == 7
    assert not [file for file in hub.served if file.endswith((".py", ".bin"))]
    load_networks(found, "cpu", torch.float32)
    find_checkpoint("owner/model")
    assert len(hub.served) == 7


def test_the_revision_is_honoured(hub):
    first = find_checkpoint("owner/model")
    edit_json(hub.folder / "cola_dlm" / "cola_vae" / "config.json", scaling_factor=2.0)
    second = find_checkpoint("owner/model", revision="v2")
    assert (first.vae_config.scaling_factor, second.vae_config.scaling_factor) == (1.3, 2.0)
    assert second.name == "owner/model@v2"
    assert "b" * 40 in str(second.root)


def test_without_a_network_the_cache_serves(hub):
    online = find_checkpoint("owner/model")
    hub.stop()
    assert find_checkpoint("owner/model") == online


def test_without_a_network_and_a_cache_there_is_a_sentence(hub):
    hub.stop()
    message = (
        r"^owner/model: found no such folder here and nothing whole in the Hub's cache, and the Hub gave no answer"
    )
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint("owner/model")


HALF = ["tokenizer.json", "cola_dlm/cola_dit/config.json", "cola_dlm/cola_vae/model.safetensors",
        "cola_dlm/cola_dit/model-00002-of-00002.safetensors"]  # fmt: skip


@pytest.mark.parametrize("listed", [True, False], ids=["files listed", "files not listed"])
@pytest.mark.parametrize("missing", HALF)
def test_half_a_cache_is_called_incomplete_with_the_file_that_is_missing(hub, missing, listed):
    """As a download that was cut off leaves it, with and without the list of files that newer Hub libraries keep."""
    cached = find_checkpoint("owner/model").root.parent
    (cached / missing).unlink()
    if not listed:
        shutil.rmtree(cached.parent.parent / "trees")
    hub.stop()
    with pytest.raises(CheckpointError, match=rf"^owner/model: the Hub's cache is incomplete.*{missing}.*expected"):
        find_checkpoint("owner/model")
    with pytest.raises(CheckpointError, match=rf"snapshot of owner/model in the Hub's cache.*{missing} is missing"):
        find_checkpoint(cached)
    link = cached.parent.parent.parent / "link"
    link.symlink_to(cached)
    with pytest.raises(CheckpointError, match=rf"link: this snapshot of owner/model .*{missing} is missing"):
        find_checkpoint(link)


def test_for_a_repositorys_folder_in_the_cache_its_snapshot_is_named(hub):
    cached = find_checkpoint("owner/model").root.parent
    kept = cached.parent.parent
    with pytest.raises(CheckpointError, match=rf"{kept}: found neither .*, expected a checkpoint: load {cached}$"):
        find_checkpoint(kept)
    shutil.rmtree(kept / "snapshots")
    with pytest.raises(CheckpointError, match=r"expected a checkpoint: load owner/model by its name once, with"):
        find_checkpoint(kept)


def test_a_repository_without_a_file_is_called_incomplete_with_that_file(hub):
    (hub.folder / "cola_dlm" / "cola_dit" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"^owner/model: .*cola_dit/config.json is missing.* the repository has"):
        find_checkpoint("owner/model")


@pytest.mark.parametrize("repository", ["owner/nothing", "owner/model"])
def test_an_unknown_repository_or_revision_gets_a_sentence(hub, repository):
    revision = "v3" if repository == "owner/model" else None
    with pytest.raises(CheckpointError, match=rf"^{repository}( at revision 'v3')?: .* no such repository on the Hub"):
        find_checkpoint(repository, revision)


def test_a_folder_goes_before_a_repository_of_the_same_name(hub, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "owner" / "model")
    assert find_checkpoint("owner/model").name == "model"
    assert hub.served == []


def test_saved_files_have_the_permissions_of_their_folder(folder, tmp_path):
    save_checkpoint(tmp_path / "saved", *networks(folder), tokenizer_of(folder))
    for file in (tmp_path / "saved").rglob("*.*"):
        assert file.stat().st_mode & 0o666 == (tmp_path / "saved").stat().st_mode & 0o666, file
