"""The baseline's training: its loss is its likelihood, it learns, goes on after a stop, and says how it was trained."""

import json
import math

import pytest
import torch

from coladlm.baseline.baseline import Baseline
from coladlm.baseline.transformer import TransformerConfig
from coladlm.train.baseline import BaselineStage, main
from coladlm.train.curves import read_metrics
from coladlm.train.stages import Place, run_tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory, stories):
    """A run's folder with a tokenizer and token files."""
    root = tmp_path_factory.mktemp("data")
    for name in ("train", "valid"):
        (root / f"{name}.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    run_tokenizer(Place(root), root, 300)
    return root


@pytest.fixture
def run(data, tmp_path):
    for name in ("tokenizer.json", "train.u16", "valid.u16"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    return tmp_path


def train(run, steps, *more):
    sizes = "--width 64 --layers 1 --tokens 256 --device cpu --dtype float32"
    return main(["--run", str(run), "--steps", str(steps), *sizes.split(), *more])


def test_an_untrained_network_expects_every_token_alike():
    torch.manual_seed(0)
    stage = BaselineStage(TransformerConfig(vocab_size=50, dim=64, num_layers=2, num_heads=1), end=0, pad=2)
    ids = torch.randint(3, 50, (4, 16))
    assert stage(ids)["loss"].item() == pytest.approx(math.log(50), abs=0.2)


def test_the_loss_is_the_likelihood_and_padding_does_not_count(run):
    assert train(run, 3) == 0
    baseline = Baseline.from_pretrained(run / "baseline" / "checkpoint", "cpu", "float32")
    stage = BaselineStage(baseline.network.config, baseline.start_id, baseline.tokenizer.token_to_id("<|pad|>"))
    stage.network = baseline.network
    texts = ["Once there was a cat.", "It ran"]
    ids = torch.full((2, 32), stage.pad)
    for row, text in enumerate(texts):
        tokens = [*baseline.tokenize(text), stage.end]
        ids[row, : len(tokens)] = torch.tensor(tokens)
    values = stage.cross_entropy(ids).tolist()
    wanted = [-x for likelihood in baseline.log_likelihood(texts, ended=True) for x in likelihood.log_probs]
    assert values == pytest.approx(wanted, abs=1e-3)


def test_it_learns_and_says_how_it_was_trained(run):
    assert train(run, 120) == 0
    valid = [m for m in read_metrics(run / "baseline") if m["kind"] == "valid"][-1]
    assert valid["cross_entropy"] < 1.5 and valid["cpu_seconds"] > 0
    baseline = Baseline.from_pretrained(run / "baseline" / "checkpoint", "cpu", "float32")
    assert baseline.training["baseline"]["steps"] == 120 and baseline.training["dit"] == {}
    assert baseline.network.embedding.weight.shape[1] == 64


def test_a_finished_run_is_exported_again_without_training(run):
    assert train(run, 3) == 0
    weights = run / "baseline" / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    assert main(["--run", str(run), "--export"]) == 0
    assert weights.read_bytes() == before


def test_a_run_goes_on_with_its_own_config(run):
    assert train(run, 3) == 0
    assert train(run, 5, "--width", "128") == 0
    baseline = Baseline.from_pretrained(run / "baseline" / "checkpoint", "cpu")
    assert baseline.network.config.dim == 64 and baseline.training["baseline"]["steps"] == 5


def test_a_run_begun_with_a_baseline_goes_on_from_its_weights_and_counts_what_it_had(run, data, tmp_path_factory):
    assert train(run, 60) == 0
    start = run / "baseline" / "checkpoint"
    again = tmp_path_factory.mktemp("again")
    for name in ("tokenizer.json", "train.u16", "valid.u16"):
        (again / name).write_bytes((data / name).read_bytes())
    assert train(again, 2, "--start-from", str(start), "--learning-rate", "0", "--width", "128") == 0
    begun, on = (Baseline.from_pretrained(f, "cpu", "float32") for f in (start, again / "baseline" / "checkpoint"))
    for name, value in begun.network.state_dict().items():
        torch.testing.assert_close(on.network.state_dict()[name], value, atol=1e-6, rtol=1e-2)
    assert on.training["baseline"]["steps"] == 62
    assert on.training["baseline"]["tokens"] > begun.training["baseline"]["tokens"]


def test_a_run_without_token_files_gets_one_line(tmp_path, capsys):
    assert train(tmp_path, 3) == 2
    assert "tokenizer.json: no such file" in capsys.readouterr().err
