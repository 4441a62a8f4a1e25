"""The loop: it learns, it goes on after a kill as if nothing had happened, and its schedule fills its limit."""

import json
import os
import signal
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from coladlm.train import loop
from coladlm.train.loop import LoopSettings, Training, generator_for, share_of_rate
from coladlm.train.stopping import Stopped


class Line(nn.Module):
    """Fits y = 3 x - 1 from noisy draws."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 1)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)

    def forward(self, ids, generator):
        x = torch.rand(ids.shape[0], 1, generator=generator)
        y = 3 * x - 1 + 0.1 * torch.randn(x.shape, generator=generator)
        return {"loss": (self.layer(x) - y).square().mean()}

    def validate(self, batches, generator):
        return {"error": (self.layer.weight - 3).abs().item()}


def training(folder, steps=40, **settings):
    fixed = {"learning_rate": 0.1, "warmup_steps": 5, "log_steps": 1, "validate_seconds": 1e9, "average": 0.9}
    return Training(
        Line(),
        lambda step: torch.zeros(32, 4, dtype=torch.long),
        [],
        LoopSettings(steps=steps, **(fixed | settings)),
        folder,
    )


def curve(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


def test_it_learns(tmp_path):
    run = training(tmp_path, steps=300)
    before = run.validate()["error"]
    run.run()
    assert run.validate()["error"] < 0.2 < before


class Killed(Exception):
    pass


@pytest.mark.parametrize(("optimizer", "workers"), [("adamw", 1), ("muon", 1), ("adamw", 2)])
def test_after_a_kill_the_curve_is_the_same(tmp_path, optimizer, workers):
    whole = training(tmp_path / "whole", optimizer=optimizer, workers=workers)
    whole.run()

    def kill(metrics):
        if metrics["step"] == 25:
            raise Killed

    first = training(tmp_path / "killed", optimizer=optimizer, workers=workers, checkpoint_seconds=1e9)
    for _ in range(17):
        first.train_step()
    first.save()
    with pytest.raises(Killed):  # eight steps later, none of them saved
        first.run(kill)

    second = training(tmp_path / "killed", optimizer=optimizer, workers=workers)
    assert second.step == 17
    second.run()
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")[17:]
    for name, parameter in whole.average.items():
        assert torch.equal(parameter, second.average[name])


def test_workers_add_up_to_the_gradient_of_the_whole_batch(tmp_path):
    run = training(tmp_path, workers=2)
    halves = [run.gradients(torch.zeros(16, 4), worker)[1] for worker in (0, 1)]
    run.train_step()
    expected = [(one + other) / 2 for one, other in zip(*halves, strict=True)]
    moved = [state["exp_avg"] / 0.1 for state in run.optimizers[0].state_dict()["state"].values()]
    norm = torch.stack([gradient.norm() for gradient in expected]).norm()
    for gradient, average in zip(expected, moved, strict=True):
        torch.testing.assert_close(average, gradient / max(1.0, norm.item()), atol=1e-4, rtol=1e-3)


def test_a_finished_run_returns_at_once(tmp_path):
    training(tmp_path).run()
    again = training(tmp_path)
    again.run(report=lambda metrics: pytest.fail("trained on"))
    assert again.step == 40


def test_what_a_killed_save_left_beside_the_state_is_not_read(tmp_path):
    run = training(tmp_path)
    run.train_step()
    run.save()
    (tmp_path / "state.partial").write_bytes(b"half a fi")
    assert training(tmp_path).step == 1


def test_a_kill_in_the_middle_of_writing_leaves_the_old_state(tmp_path, monkeypatch):
    def write_half(tensors, file, metadata):
        # straight into the file: safetensors 0.8 writes beside it first, which the state is not to depend on
        whole = save(tensors, metadata)
        file.write_bytes(whole[: len(whole) // 2])
        raise Killed

    run = training(tmp_path)
    run.train_step()
    run.save()
    old = run.state_file.read_bytes()
    run.train_step()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "save_file", write_half)
        run.save()
    assert run.state_file.read_bytes() == old
    assert training(tmp_path).step == 1
    run.save()  # what the killed one left is not in the way
    assert training(tmp_path).step == 2


def test_a_kill_between_writing_the_state_and_renaming_it_leaves_the_old_state(tmp_path, monkeypatch):
    def kill(*names):
        raise Killed

    run = training(tmp_path)
    run.train_step()
    run.save()
    run.train_step()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        run.save()
    assert training(tmp_path).step == 1


def test_frozen_parameters_are_neither_trained_nor_saved(tmp_path):
    run = training(tmp_path)
    assert set(run.trained) == {"layer.weight", "layer.bias"}
    run.train_step()
    run.save()
    with safe_open(run.state_file, "pt") as file:
        weights = {name for name in list(file.keys()) if not name.startswith("optimizer.")}
    assert weights == {"model.layer.weight", "model.layer.bias", "average.layer.weight", "average.layer.bias"}


@pytest.mark.parametrize("size", [1e-3, 1e6])
def test_a_huge_gradient_reaches_the_optimiser_at_the_size_of_the_clip_and_a_small_one_as_it_is(tmp_path, size):
    run = training(tmp_path, clip=0.5)
    run.stage.register_forward_hook(lambda stage, given, parts: {"loss": size * parts["loss"]})
    norm = run.train_step()["norm"].item()
    # AdamW's first step hardly depends on the gradient's size: its moving average, a tenth of the gradient, shows it.
    taken = [state["exp_avg"].norm() / 0.1 for state in run.optimizers[0].state.values()]
    assert norm < 0.5 if size < 1 else norm > 1e5  # what is reported is the size before the clip
    assert torch.stack(taken).norm().item() == pytest.approx(min(norm, 0.5), rel=1e-4)


def test_the_average_takes_the_place_of_the_weights_only_inside(tmp_path):
    run = training(tmp_path)
    for _ in range(10):
        run.train_step()
    weight = run.stage.layer.weight.item()
    with run.averaged() as stage:
        inside = stage.layer.weight.item()
    assert inside == run.average["layer.weight"].item() != weight == run.stage.layer.weight.item()


def test_the_rate_warms_up_and_follows_a_cosine():
    settings = LoopSettings(steps=1000, warmup_steps=10, final_rate=0.1)
    assert share_of_rate(0, 0.0, settings) == pytest.approx(0.1)
    assert share_of_rate(500, 0.5, settings) == pytest.approx(0.55)
    assert share_of_rate(1000, 1.0, settings) == pytest.approx(0.1)


def test_the_warm_up_of_a_short_run_takes_a_tenth_of_its_steps():
    short = LoopSettings(steps=50, warmup_steps=100, decay=0.0)
    assert [share_of_rate(step, step / 50, short) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    # how many steps minutes will hold is not known before
    timed = LoopSettings(minutes=1, warmup_steps=100, decay=0.0)
    assert share_of_rate(5, 0.1, timed) == pytest.approx(0.06)


def test_the_rate_is_constant_until_its_decay():
    settings = LoopSettings(steps=1000, warmup_steps=10, final_rate=0.1, decay=0.2)
    assert [share_of_rate(s, s / 1000, settings) for s in (100, 500, 800)] == pytest.approx([1.0, 1.0, 1.0])
    assert share_of_rate(900, 0.9, settings) == pytest.approx(0.55)
    assert share_of_rate(1000, 1.0, settings) == pytest.approx(0.1)
    constant = LoopSettings(steps=1000, warmup_steps=10, decay=0.0)
    assert share_of_rate(1000, 1.0, constant) == 1.0
    with pytest.raises(ValueError, match="decay is 2"):
        LoopSettings(steps=1, decay=2)


def test_a_step_is_random_by_seed_and_step_alone():
    draw = [
        torch.rand(1, generator=generator_for(seed, step, "cpu")).item()
        for seed, step in ((0, 5), (0, 5), (1, 5), (0, 6))
    ]
    assert draw[0] == draw[1] and len(set(draw)) == 3


def test_exactly_one_limit_is_wanted():
    with pytest.raises(ValueError, match="minutes is None and steps is None"):
        LoopSettings()


@pytest.mark.parametrize("clock", ["processor", "wall"])
def test_the_processor_clock_does_not_count_waiting_and_the_wall_clock_does(tmp_path, clock):
    run = training(tmp_path, steps=3, clock=clock)
    drawn, waited = run.batch, []

    def wait(step):
        begun = time.perf_counter()
        time.sleep(0.1)
        waited.append(time.perf_counter() - begun)
        return drawn(step)

    run.batch, before = wait, time.process_time()
    run.run()
    if clock == "wall":
        assert run.seconds >= sum(waited)
    else:
        assert run.seconds <= time.process_time() - before


def test_an_unknown_clock_is_refused():
    with pytest.raises(ValueError, match="clock is 'sun'"):
        LoopSettings(steps=1, clock="sun")


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [({"minutes": -1}, "minutes is -1, expected a number above 0"), ({"minutes": 0}, "minutes is 0"),
     ({"minutes": float("nan")}, "minutes is nan"), ({"steps": 0}, "steps is 0, expected 1 or more"),
     ({"steps": 1, "workers": 0}, "workers is 0"), ({"steps": 1, "validate_seconds": 0}, "validate_seconds is 0")],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused(limit, sentence):
    with pytest.raises(ValueError, match=sentence):
        LoopSettings(**limit)


def test_another_seed_does_not_go_on(tmp_path):
    run = training(tmp_path)
    run.train_step()
    run.save()
    with pytest.raises(ValueError, match=r"seed is 5, and the training in .* began with 0"):
        training(tmp_path, seed=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_asked_to_stop_ends_its_step_and_saves_it(tmp_path, number):
    whole = training(tmp_path / "whole")
    whole.run()
    handler = signal.getsignal(number)

    def ask(metrics):
        if metrics["step"] == 25 and metrics["kind"] == "train":
            signal.raise_signal(number)

    with pytest.raises(Stopped, match="stopped after step 25, which is saved") as stop:
        training(tmp_path / "stopped", checkpoint_seconds=1e9).run(ask)
    assert stop.value.status == 128 + number and signal.getsignal(number) is handler

    again = training(tmp_path / "stopped")
    assert again.step == 25
    again.run()
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    def ask(metrics):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        training(tmp_path).run(ask)
    assert not isinstance(stop.value, Stopped) and not (tmp_path / "state.safetensors").exists()


def test_a_stop_in_the_last_step_is_not_forgotten(tmp_path):
    with pytest.raises(Stopped, match="step 1,"):
        training(tmp_path, steps=1).run(lambda metrics: signal.raise_signal(signal.SIGTERM))
    assert training(tmp_path, steps=1).step == 1
