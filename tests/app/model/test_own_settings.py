"""The settings that a model starts with, as the tab Model says them."""

import dataclasses

import pytest

from app.model.own_settings import MAIN, settings_line
from app.model.tab import facts_html
from coladlm import SamplerSettings

PUBLISHED = "steps a block 16, guidance 7, stochasticity 0, stagger 0, temperature 0{more}; all others as published"
OTHERS = {
    "solver": ("heun", "solver: Heun"),
    "max_new_tokens": (128, "new tokens 128"),
    "top_k": (0, "top-k 0"),
    "top_p": (0.125, "top-p 0.125"),
    "repetition_penalty": (1.0, "repetition penalty 1"),
    "seed": (2**40 + 1, "seed 1099511627777"),
    "stop_at_end": (False, "stop at the end off"),
    "history": ("reencoded", "history: words encoded again"),
    "time_grid": ("cosine", "time grid: cosine"),
    "time_shift": (2.0, "time shift 2"),
    "guidance_interval": ((100.0, 512.5), "guidance interval 100 to 512.5"),
    "no_repeat_ngram_size": (4, "no repeated n-gram 4"),
    "whole_sentences": (True, "whole sentences on"),
    "stop_when_settled": (3, "stop when settled 3"),
    "min_p": (0.1, "min-p 0.1"),
    "flow_temperature": (0.8, "flow temperature 0.8"),
    "guidance_space": ("logits", "guidance between: logits of words"),
    "noises": (4, "noises a block 4"),
    "block_size": (2, "block size 2"),
}


def test_the_published_settings_are_the_main_ones_alone():
    assert settings_line(SamplerSettings()) == PUBLISHED.format(more="")


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(SamplerSettings) if f.name not in MAIN])
def test_every_setting_that_differs_from_the_published_one_is_said(name):
    value, said = OTHERS[name]
    assert settings_line(SamplerSettings(**{name: value})) == PUBLISHED.format(more=f", {said}")


def test_the_tab_says_all_settings_that_a_copy_of_the_line_needs(bundled):
    line = settings_line(bundled.defaults)
    assert line in facts_html(bundled)
    for said in ("min-p", "flow temperature", "guidance between", "time shift", "history"):
        assert said in line
