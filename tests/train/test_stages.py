"""The whole way through the command line: text in, a checkpoint of the published form out."""

import dataclasses
import itertools
import json
import shutil

import pytest
import torch
from safetensors import safe_open

from coladlm.baseline.baseline import BUNDLED
from coladlm.model import ColaDLM
from coladlm.networks.config import TextVAEConfig
from coladlm.networks.text_vae import TextVAE
from coladlm.train.__main__ import main
from coladlm.train.baseline import main as train_baseline
from coladlm.train.curves import read_metrics
from coladlm.train.stages import load_average, load_vae

STORY = 'Once upon a time there was a {} {}. It went to the {} and found a {} ball. "What a day!" it said.'


@pytest.fixture(scope="module", autouse=True)
def short_samples():
    """Those that come with every validation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coladlm.train.__main__.SAMPLE_TOKENS", 8)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, and a run of a few steps in all stages."""
    root = tmp_path_factory.mktemp("train")
    for name, places in (("train", ("park", "lake", "hill", "shop")), ("valid", ("barn",))):
        words = itertools.product(("big", "sad"), ("cat", "dog", "cow"), places, ("red", "blue"))
        stories = [STORY.format(*chosen) for chosen in words]
        (root / f"{name}.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    assert main(["all", "--data", str(root), *options(root), "--tokens", "512"]) == 0
    return root


@pytest.fixture(autouse=True)
def no_more_curves(folder, monkeypatch):
    """Those of the first run are looked at; matplotlib draws for longer than the others train."""
    monkeypatch.setattr("coladlm.train.__main__._draw_curves", lambda *_: None)


def load_vae_of(folder):
    return load_average(
        TextVAE(TextVAEConfig.from_dict(json.loads((folder / "config.json").read_text()))), folder, "vae."
    )


def options(root, steps=30, layers=1):
    sizes = f"--vocab-size 400 --width 64 --layers {layers} --vae-layers 1 1 --latent-dim 8 --longest 64 --tokens 256"
    fixed = f"{sizes} --steps {steps} --dtype float32 --device cpu"
    return ["--run", f"{root}/run", "--to", f"{root}/model", *fixed.split()]


def test_the_checkpoint_loads_and_writes(folder):
    model = ColaDLM.from_pretrained(folder / "model", device="cpu")
    assert model.defaults.history == "reencoded"
    (text,) = model.generate(["Once upon a time"], dataclasses.replace(model.defaults, steps=2, max_new_tokens=12))
    assert isinstance(text, str)


def test_the_checkpoint_has_the_published_form_in_bfloat16(folder):
    for network in ("cola_vae", "cola_dit"):
        config = json.loads((folder / "model" / network / "config.json").read_text())
        assert config["model_type"] == {"cola_vae": "cola_text_vae", "cola_dit": "cola_dit"}[network]
        with safe_open(folder / "model" / network / "model.safetensors", "pt") as file:
            names = list(file.keys())
            assert not any("head" in name.split(".")[0] or "meaning" in name for name in names)
            matrix = next(name for name in names if name.endswith("proj.weight"))
            assert file.get_tensor(matrix).dtype == torch.bfloat16


def test_the_losses_fall(folder):
    for stage, name in (("vae", "restored"), ("dit", "head")):
        lines = [line for line in read_metrics(folder / "run" / stage) if line["kind"] == "train"]
        assert lines[-1][name] < 0.95 * lines[0][name]


def test_the_decoder_goes_on_while_the_latents_stay(folder):
    whole, vae = load_vae(folder / "run"), load_vae_of(folder / "run" / "vae")
    ids = torch.randint(3, 300, (2, 16))
    assert torch.equal(whole.encode(ids).mean, vae.encode(ids).mean)
    assert not torch.equal(whole.decoder.final_layer.weight, vae.decoder.final_layer.weight)


def test_validation_comes_with_samples_curves_and_neighbours(folder):
    last = [line for line in read_metrics(folder / "run" / "dit") if line["kind"] == "valid"][-1]
    assert len(last["samples"]) == 2 and "flow_0.9" in last
    assert (folder / "run" / "dit" / "curves.png").stat().st_size > 1000
    assert json.loads((folder / "run" / "vae" / "neighbours.json").read_text())


def test_more_steps_go_on_from_the_state_and_keep_the_config(folder):
    assert main(["dit", *options(folder, steps=32, layers=3)]) == 0
    assert json.loads((folder / "run" / "dit" / "config.json").read_text())["num_layers"] == 1
    assert read_metrics(folder / "run" / "dit")[-1]["step"] == 32


def test_missing_data_is_one_sentence(tmp_path, capsys):
    assert main(["tokenizer", "--run", str(tmp_path / "run"), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"train: {tmp_path}/train.jsonl: no such file; expected JSON lines")


def test_a_stage_without_the_one_before_it_is_one_sentence(tmp_path, capsys):
    assert main(["dit", "--run", str(tmp_path / "run"), "--steps", "1", "--dtype", "float32"]) == 2
    assert "tokenizer" in capsys.readouterr().err


def test_blocks_that_the_vae_does_not_have_are_one_sentence(folder, capsys):
    assert main(["dit", *options(folder), "--name", "other", "--block-size", "8"]) == 2
    assert "the DiT has blocks of 8, expected 4" in capsys.readouterr().err


def test_a_transformer_on_the_same_tokens_teaches_the_dit(folder):
    run, teacher = str(folder / "run"), str(folder / "teacher")
    small = "--steps 4 --width 64 --layers 1 --tokens 256 --dtype float32 --device cpu"
    assert train_baseline(["--run", run, "--to", teacher, *small.split()]) == 0
    for name, more in (("taught", ["--teacher", teacher]), ("untaught", [])):
        assert main(["dit", *options(folder, steps=20), "--single-rows", "1", "--name", name, *more]) == 0
    taught, untaught = (read_metrics(folder / "run" / name) for name in ("taught", "untaught"))
    losses = [[line["flow"] for line in lines if line["kind"] == "train"][-1] for lines in (taught, untaught)]
    assert losses[0] < 0.8 * losses[1]  # what no model can know is not asked for
    assert abs(taught[-1]["flow"] - untaught[-1]["flow"]) < 0.2 * untaught[-1]["flow"]  # on true latents


def test_a_teacher_of_other_tokens_is_one_sentence(folder, capsys):
    assert main(["dit", *options(folder), "--name", "other", "--teacher", str(BUNDLED)]) == 2
    assert f"{BUNDLED}: its tokenizer is not that of the run" in capsys.readouterr().err
    assert main(["dit", *options(folder), "--name", "other", "--teacher", "nowhere"]) == 2
    assert "nowhere: found nothing" in capsys.readouterr().err


def test_token_heads_learn_before_the_dit_goes_on(folder):
    start = ["--start-from", str(folder / "model"), "--name", "on", "--next-weight", "0.5", "--heads-first", "60",
             "--tokens", "512"]  # fmt: skip
    assert main(["dit", *options(folder, steps=1), *start]) == 0
    heads, on = (read_metrics(folder / "run" / name) for name in ("on-heads", "on"))
    first, *_, last = [line["next"] for line in heads if line["kind"] == "train"]
    begun = next(line["next"] for line in on if line["kind"] == "train")
    assert last < 0.5 * first and begun == pytest.approx(last, rel=0.2)
    with safe_open(folder / "run" / "on-heads" / "state.safetensors", "pt") as file:
        assert {name.split(".")[1] for name in set(file.keys()) if name.startswith("average.")} == {"head", "next_head"}


def test_heads_that_help_in_training_are_not_exported(folder):
    whole = ["--next-weight", "0.5", "--head-weight", "0.5", "--name", "helped"]
    assert main(["dit", *options(folder, steps=1), *whole]) == 0
    assert main(["export", *options(folder), "--name", "helped", "--to", str(folder / "helped")]) == 0
    with safe_open(folder / "helped" / "cola_dit" / "model.safetensors", "pt") as file:
        helped = set(file.keys())
    with safe_open(folder / "model" / "cola_dit" / "model.safetensors", "pt") as file:
        assert helped == set(file.keys())


def test_a_run_that_names_tokens_starts_from_a_published_form_resumes_and_is_exported(folder, tmp_path):
    start = ["dit", "--start-from", f"{folder}/model", "--data", str(folder), "--run", f"{tmp_path}/run"]
    how = "--token-output --heads-first 4 --tokens 256 --dtype float32 --device cpu --longest 64"
    for steps in ("3", "6"):
        assert main([*start, *how.split(), "--steps", steps]) == 0
    lines = [line for line in read_metrics(tmp_path / "run" / "dit") if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [3, 6]
    assert main(["export", "--run", f"{tmp_path}/run", "--to", f"{tmp_path}/model"]) == 0
    model, before = (ColaDLM.from_pretrained(path, "cpu", "float32") for path in (tmp_path / "model", folder / "model"))
    assert model.dit.config.token_output == model.vae.config.vocab_size == before.vae.config.vocab_size
    output = model.dit.tokens
    assert float(output.spread) == pytest.approx(0.05)
    # the means are where the VAE puts the tokens of the text
    (text,) = model.encode_texts(["Once upon a time there was a big cat. It went to the park and found a red ball."])
    found = torch.cdist(text.latents, output.means).argmin(-1)
    assert (found == text.ids).float().mean() > 0.8
    # and the rest is what it began with, trained on
    distance = (model.dit.txt_in["proj"].weight - before.dit.txt_in["proj"].weight).abs().max()
    assert 0 < distance < 0.1


@pytest.fixture(scope="module")
def known(folder):
    """A run with a transformer of two layers, and its checkpoint."""
    run, to = folder / "reading", folder / "known"
    shutil.copytree(folder / "run", run, ignore=shutil.ignore_patterns("baseline"))
    small = "--steps 60 --width 64 --layers 2 --tokens 256 --dtype float32 --device cpu --learning-rate 5e-3"
    assert train_baseline(["--run", str(run), "--to", str(to), *small.split()]) == 0
    return run, to


def test_a_dit_begins_with_what_a_transformer_knows(folder, known):
    """Of the next token it knows nearly as much after its lessons, and one that begins from nothing hardly anything."""
    run, transformer = known
    how = ["--run", str(run), "--next-weight", "0.5", "--single-rows", "1", "--optimizer", "muon"]
    begin = ["--from-transformer", str(transformer), "--lessons", "40", "40", "--learning-rate", "3e-3"]
    assert main(["dit", *options(folder, steps=1, layers=2), *how, *begin, "--name", "knows"]) == 0
    assert main(["dit", *options(folder, steps=1), *how, "--name", "does-not"]) == 0

    def last(name: str) -> dict:
        return next(line for line in reversed(read_metrics(run / name)) if line["kind"] == "valid")

    layers = [line for line in read_metrics(run / "knows-layers") if line["kind"] == "train"]
    assert all(layers[-1][layer] < 0.1 * layers[0][layer] for layer in ("layer_0", "layer_1"))
    wanted, clean = last("baseline")["cross_entropy"], last("knows-clean")["next"]
    assert clean < wanted + 0.3 and last("does-not")["next"] > wanted + 2
    assert last("knows")["next"] < wanted + 1.5  # the next-token head has it, too
    config = json.loads((run / "knows" / "config.json").read_text())
    assert config["token_input"] and config["token_output"] > 0 and config["rope_dim"] == config["head_dim"]
    assert main(["export", "--run", str(run), "--name", "knows", "--to", str(run / "knows" / "model")]) == 0
    model = ColaDLM.from_pretrained(run / "knows" / "model", "cpu", "float32")
    settings = dataclasses.replace(model.defaults, steps=2, max_new_tokens=8)
    assert settings.min_p > 0 and isinstance(model.generate(["Once"], settings)[0], str)


def test_a_transformer_of_another_size_is_one_sentence(folder, known, capsys):
    begin = ["--run", str(known[0]), "--from-transformer", str(known[1]), "--layers", "1", "--name", "other"]
    assert main(["dit", *options(folder), *begin]) == 2
    assert "num_layers of the DiT is 1, expected 2, that of the transformer" in capsys.readouterr().err
