import json
import math

import pytest

from coladlm import SamplerSettings, SettingsError


def test_the_defaults_are_those_of_the_published_sampler():
    s = SamplerSettings()
    assert (s.steps, s.guidance, s.solver, s.temperature) == (16, 7.0, "euler", 0.0)
    assert (s.top_k, s.top_p, s.repetition_penalty, s.stochasticity, s.history) == (50, 0.9, 1.1, 0.0, "latents")
    assert s.no_repeat_ngram_size == 0


def test_settings_survive_json():
    s = SamplerSettings(steps=4, guidance_interval=(100, 800), time_grid="cosine", seed=2**40)
    assert SamplerSettings.from_dict(json.loads(json.dumps(s.to_dict()))) == s


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 1001), ("steps", 2.5), ("steps", True), ("steps", "4"), ("steps", None),
        ("guidance", math.nan), ("guidance", math.inf), ("guidance", -1), ("guidance", 10**400),
        ("solver", "rk4"), ("max_new_tokens", 0), ("max_new_tokens", 10**9), ("temperature", -0.1), ("top_k", -1),
        ("top_p", 0), ("top_p", 1.1), ("repetition_penalty", 0), ("no_repeat_ngram_size", 1),
        ("no_repeat_ngram_size", 65), ("seed", -1), ("seed", 2**63), ("stop_at_end", 1),
        ("stochasticity", 1.5), ("history", "none"), ("time_grid", ""), ("time_shift", 0),
        ("guidance_interval", (800, 200)), ("guidance_interval", (0, 2000)), ("guidance_interval", 5),
        ("guidance_interval", ("a", "b")),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_found_and_wanted(name, value):
    with pytest.raises(SettingsError, match=rf"{name} is .*expected"):
        SamplerSettings(**{name: value})


def test_an_unknown_setting_is_named():
    with pytest.raises(SettingsError, match="unknown sampler setting 'step'"):
        SamplerSettings.from_dict({"step": 3})


def test_whole_floats_are_whole_numbers():
    assert SamplerSettings(steps=8.0, guidance=2).steps == 8
    assert isinstance(SamplerSettings(guidance=2).guidance, float)


def test_from_dict_lays_values_over_a_base():
    base = SamplerSettings(steps=4, seed=9)
    assert SamplerSettings.from_dict({"seed": 1}, base) == SamplerSettings(steps=4, seed=1)
