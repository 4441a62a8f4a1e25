"""Several processes train together: two give the curve of one to rounding, and a killed one is resumed."""

import functools
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.run import config_from_args, parse_args

from coladlm.train import ranks as module
from coladlm.train.ranks import Ranks, joined

from .rank_processes import SERVER, killed_in_the_middle, together, torchrun, train


def curve(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")}
            for line in lines]  # fmt: skip


def assert_same(found, wanted, later=0):
    """The same curve and the same state, up to rounding. later: the steps that the one has in its curve alone."""
    lines = curve(wanted)[later:]
    assert len(curve(found)) == len(lines)
    for one, other in zip(curve(found), lines, strict=True):
        assert one.pop("kind") == other.pop("kind")
        assert one == pytest.approx(other, rel=2e-4, abs=2e-5)
    states = load_file(found / "state.safetensors"), load_file(wanted / "state.safetensors")
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        # where a gradient is hardly more than rounding, AdamW makes a step of it all the same
        close = torch.isclose(value, states[1][name], rtol=2e-3, atol=1e-4 if name.startswith("optimizer") else 1e-3)
        assert close.all(), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a training by one process, by its name."""

    @functools.cache
    def folder(name):
        made = tmp_path_factory.mktemp("alone")
        train(made, name)
        return made

    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder that two processes have left of which one was killed after its fifth step, by whether they were
    sharded. It holds the state of the third step.
    """

    @functools.cache
    def folder(sharded):
        made = tmp_path_factory.mktemp("killed")
        codes = together(killed_in_the_middle, made, sharded=sharded)
        assert codes[1] == 9 and codes[0] != 0  # the other one does not go on without it
        return made

    return folder


@pytest.mark.parametrize(("name", "sharded"), [
    ("baseline", False), ("baseline", True), ("vae", False), ("vae", True), ("dit", False), ("dit", True),
    ("dit with a next-token head", False),
])  # fmt: skip
def test_two_processes_give_the_curve_of_one(tmp_path, alone, name, sharded):
    assert together(train, tmp_path, name, sharded=sharded) == [0, 0]
    assert_same(tmp_path, alone(name))


@pytest.mark.parametrize("sharded", [False, True], ids=["copied", "sharded"])
def test_a_killed_one_resumes_from_the_last_checkpoint_with_the_same_curve(tmp_path, alone, killed, sharded):
    run = shutil.copytree(killed(sharded), tmp_path / "run")
    assert together(train, run, "dit", sharded=sharded) == [0, 0]
    assert_same(run, alone("dit"), later=3)


def test_one_process_goes_on_with_what_two_have_written(tmp_path, alone, killed):
    run = shutil.copytree(killed(True), tmp_path / "run")
    train(run, "dit")
    assert_same(run, alone("dit"), later=3)


def test_settings_that_do_not_go_with_the_processes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="workers is 3, expected 2"):
        train(tmp_path, "baseline", Ranks(0, 2), workers=3)
    with pytest.raises(ValueError, match="optimizer is 'muon', expected adamw"):
        train(tmp_path, "baseline", Ranks(0, 2, sharded=True), optimizer="muon")
    with pytest.raises(ValueError, match="--shard is given and there is one process"), joined("cpu", sharded=True):
        pass


def test_the_command_that_is_documented_starts_the_stages_with_the_options_that_follow():
    (line,) = [line for line in module.__doc__.splitlines() if line.strip().startswith("torchrun")]
    _, given = line.split("torchrun ")
    _, program, words = config_from_args(parse_args(shlex.split(given)))
    assert [program, *words] == [sys.executable, "-u", "-m", "coladlm.train", "dit", "--run", "runs/story"]


def test_torchrun_starts_the_stages(tmp_path):
    """The command line, once: text in, a checkpoint out, written by one of the two. They are forked from torchrun, and
    so have imported everything.
    """
    for name in ("train", "valid"):
        stories = [f"The {who} went to the {where}. It was happy." for who in ("cat", "dog") for where in "abcdef"]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": story}) + "\n" for story in stories))
    sizes = "--vocab-size 300 --width 64 --layers 1 --vae-layers 1 1 --latent-dim 4 --longest 32 --tokens 128"
    places = ["--data", str(tmp_path), "--run", str(tmp_path / "run"), "--to", str(tmp_path / "model")]
    how = ["--standalone", "--nproc-per-node", "2", "--start-method", "fork", "--run-path"]
    program = Path(__file__).with_name("as_a_module.py")
    given = [*how, "--", str(program), "all", *places, "--steps", "3", "--device", "cpu", "--dtype", "float32",
             *sizes.split()]  # fmt: skip
    started = SERVER.Process(target=torchrun, args=(tmp_path / "said.txt", given))
    started.start()
    started.join(240)
    said = (tmp_path / "said.txt").read_text()
    assert started.exitcode == 0, said
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert [json.loads(line)["kind"] for line in lines if json.loads(line)["stage"] == "dit"] == ["train", "valid"]
    assert (tmp_path / "model" / "cola_dit" / "model.safetensors").is_file()
