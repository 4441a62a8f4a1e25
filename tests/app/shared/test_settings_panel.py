"""Controls and settings are two forms of one thing."""

import dataclasses

import pytest

from app.shared.settings_panel import SETTINGS, preset_values, settings_from, values_of
from coladlm import SamplerSettings, SettingsError

SOME = SamplerSettings(
    steps=9,
    guidance=2.5,
    solver="heun",
    max_new_tokens=33,
    temperature=0.7,
    seed=12345,
    stop_at_end=False,
    stochasticity=0.4,
    history="reencoded",
    time_grid="cosine",
    time_shift=2.0,
    stagger=0.5,
    guidance_interval=(120.0, 870.0),
    block_size=8,
)


FINE = SamplerSettings(seed=2**53 - 1, guidance_interval=(12.3, 987.654321), temperature=1e-300, top_p=1e-45)


@pytest.mark.parametrize("settings", [SamplerSettings(), SOME, FINE, SamplerSettings(block_size=12)])
def test_settings_survive_the_controls(settings):
    assert settings_from(values_of(settings)) == settings


def test_there_is_a_control_for_every_setting():
    shown = {setting.name for setting in SETTINGS} | {"seed"}
    fields = {field.name for field in dataclasses.fields(SamplerSettings)}
    assert shown - {"guidance_from", "guidance_to"} == fields - {"guidance_interval"}


def _values(**changes):
    names = ["seed", *(setting.name for setting in SETTINGS)]
    values = dict(zip(names, values_of(SamplerSettings()), strict=True))
    return list({**values, **changes}.values())


@pytest.mark.parametrize(
    "name, value",
    [
        ("seed", None),
        ("seed", -1),
        ("seed", 1e30),
        ("seed", 1.5),
        ("seed", 2**53),  # what a browser makes of 2**53 + 1
        ("seed", True),
        ("seed", "7"),
        ("steps", 0),
        ("steps", 2.5),
        ("steps", 1000),
        ("steps", float("nan")),
        ("max_new_tokens", 10**9),
        ("max_new_tokens", "many"),
        ("temperature", -0.1),
        ("temperature", float("inf")),
        ("top_p", 0),
        ("solver", "magic"),
        ("guidance_from", 101),
        ("guidance_from", "x"),
        ("guidance_to", None),
        ("stop_at_end", "yes"),
        ("block_size", None),
        ("block_size", "0"),
        ("block_size", "several"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(name, value):
    with pytest.raises(SettingsError, match=name):
        settings_from(_values(**{name: value}))


def test_guidance_that_ends_before_it_begins_is_refused():
    with pytest.raises(SettingsError, match="guidance_from"):
        settings_from(_values(guidance_from=10, guidance_to=60))


def test_every_preset_is_a_valid_set_of_controls():
    base = SamplerSettings(seed=9, max_new_tokens=5, steps=7)
    names = ["seed", *(setting.name for setting in SETTINGS)]
    presets = preset_values(base, names)
    for values in presets.values():
        settings = settings_from(values)
        assert (settings.seed, settings.max_new_tokens) == (9, 5)
    assert settings_from(presets["the model's own"]) == base
    assert settings_from(presets["as published"]) == SamplerSettings(seed=9, max_new_tokens=5)
