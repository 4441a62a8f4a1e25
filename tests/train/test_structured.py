"""The pair on structured tasks: equal in size, trained by one command that goes on where it was stopped."""

import json

import pytest
import torch

from coladlm import ColaDLM
from coladlm.baseline.baseline import Baseline
from coladlm.baseline.transformer import Transformer
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.text_vae import TextVAE
from coladlm.structured.vocabulary import make_tokenizer
from coladlm.train.corpus import Corpus
from coladlm.train.curves import read_metrics
from coladlm.train.structured import DIT, ROWS, TRANSFORMER, VAE, Pair, codes, main, write_corpus


def parameters(*networks):
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def train(folder, steps, *more):
    options = f"--out {folder} --steps {steps} --instances 8 --tokens 256"
    return main([*options.split(), *more])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A pair after one step of each stage, then one more."""
    folder = tmp_path_factory.mktemp("pair")
    assert train(folder, 1) == 0
    assert train(folder, 2) == 0
    return folder


def test_the_two_models_are_of_equal_size():
    cola, transformer = parameters(TextVAE(VAE), BlockCausalDiT(DIT)), parameters(Transformer(TRANSFORMER))
    assert abs(cola / transformer - 1) < 0.05


def test_every_stage_goes_on_where_it_was(pair):
    for stage in ("vae", "dit", "baseline"):
        assert [m["step"] for m in read_metrics(pair / "run" / stage) if m["kind"] == "valid"] == [1, 2]


def test_the_results_are_models_with_the_same_tokenizer(pair):
    cola = ColaDLM.from_pretrained(pair / "cola", "cpu", "float32")
    transformer = Baseline.from_pretrained(pair / "transformer", "cpu", "float32")
    assert cola.tokenizer.to_str() == transformer.tokenizer.to_str()
    assert transformer.training["baseline"]["steps"] == transformer.training["dit"]["steps"] == 2


def test_a_finished_pair_is_written_again_without_training(pair):
    files = [pair / "transformer" / "model.safetensors", *(pair / "cola").rglob("*.safetensors")]
    before = [file.read_bytes() for file in files]
    assert train(pair, 2) == 0
    assert [file.read_bytes() for file in files] == before


def test_one_of_the_two_may_be_trained_alone(tmp_path):
    assert train(tmp_path, 1, "--only", "transformer") == 0
    assert (tmp_path / "transformer").is_dir() and not (tmp_path / "cola").exists()


def test_the_corpus_follows_from_the_seed_and_fits_its_rows(tmp_path):
    for name in ("a", "b", "c"):
        write_corpus(tmp_path / name, Pair(instances=500, seed=int(name == "c")))
    a, b, c = ((tmp_path / name / "train.u16").read_bytes() for name in ("a", "b", "c"))
    assert a == b != c
    tokenizer = json.loads((tmp_path / "a" / "tokenizer.json").read_text())
    assert tokenizer["model"]["merges"] == []
    corpus = Corpus(tmp_path / "a" / "train.u16", make_tokenizer(), ROWS)
    assert len(corpus) == 500 and max(corpus.ends - corpus.starts) <= ROWS.longest


def test_the_codes_of_symbols_lie_apart():
    distances = torch.cdist(codes(), codes()).fill_diagonal_(9)
    assert distances.min() > 2.5


def test_a_corpus_of_another_kind_gets_one_line(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "train.u16").write_bytes(b"")
    assert train(tmp_path, 1) == 2
    assert "train.u16: expected a file of uint16 token ids" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [("--minutes -1", "--minutes: found -1, expected a number above 0"), ("--minutes 0", "found 0, expected"),
     ("--minutes soon", "'soon', expected a number"), ("--steps 0", "0, expected a whole number from 1"),
     ("--workers 0.5", "0.5, expected a whole number from 1")],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_before_anything_is_written(tmp_path, capsys, options, sentence):
    with pytest.raises(SystemExit) as exit_:
        main(["--out", str(tmp_path / "pair"), *options.split()])
    assert exit_.value.code == 2 and sentence in capsys.readouterr().err
    assert not (tmp_path / "pair").exists()
    with pytest.raises(ValueError, match="minutes is 0"):
        Pair(minutes=0)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("--seed 5", "seed is 5, and the pair in {} was begun with 0"),
     ("--instances 50", "instances is 50, and the pair in {} was begun with 8")],
)  # fmt: skip
def test_a_folder_keeps_what_its_pair_was_begun_with(pair, capsys, option, sentence):
    assert train(pair, 2, *option.split()) == 2
    assert sentence.format(pair) in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(tmp_path / "file" / "pair", 1) == 2
    err = capsys.readouterr().err
    assert err.startswith("structured: ") and err.count("\n") == 1 and "cannot be written" in err


def test_a_place_of_the_result_that_is_taken_is_told_before_the_training(tmp_path, capsys):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "thesis.txt").write_text("")
    assert train(tmp_path, 1) == 2
    assert "found thesis.txt, expected nothing but a baseline to replace" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
