"""How far a training is: a line to read on a terminal, JSON lines in a pipe."""

import json
import sys

from coladlm.train.progress import TimeLeft, line_of, reporter

TRAIN = {"step": 1200, "tokens": 1, "seconds": 60.0, "share": 0.25, "kind": "train", "loss": 1.23456, "norm": 0.5}


def test_a_line_says_the_stage_the_share_the_time_left_and_the_loss():
    assert line_of("dit", TRAIN, 725) == "dit, 25 % done, about 12 minutes left, loss 1.235, step 1,200"
    assert (
        line_of("vae", TRAIN | {"share": 0.999}, 8) == "vae, 100 % done, about 8 seconds left, loss 1.235, step 1,200"
    )


def test_a_validation_says_all_of_its_numbers():
    valid = {"step": 5, "seconds": 9.5, "share": 1.0, "kind": "valid", "flow": 0.5, "samples": ["a\nb"]}
    assert line_of("dit", valid) == "dit, 100 % done, flow 0.500, step 5\n  | 'a\\nb'"


def test_the_time_left_follows_from_the_clock_and_begins_again_with_another_training():
    now = 0.0
    left = TimeLeft(lambda: now)
    assert left(0.2) is None
    now = 10.0
    assert round(left(0.4)) == 30  # 20 % took ten seconds, and 60 % are left
    assert left(0.1) is None
    now = 20.0
    assert round(left(0.6)) == 8


def test_a_pipe_gets_json_lines_and_a_terminal_a_line_that_is_written_over(capsys, monkeypatch):
    reporter("dit")(TRAIN)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"stage": "dit", **TRAIN} and err == ""
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    show = reporter("dit")
    show(TRAIN)
    show(TRAIN | {"kind": "valid"})
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("\r\033[Kdit, 25 % done, loss") and err.count("\n") == 1
