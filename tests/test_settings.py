import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest

from coladlm import ColaDLM, SamplerSettings, SettingsError
from coladlm.sampling.events import BlockDone
from coladlm.sampling.flow import GRIDS, SOLVERS
from coladlm.settings import DESCRIPTIONS, HISTORIES, MAX_SEED, TOKEN_SETTINGS


@pytest.fixture(scope="module")
def golden_model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def test_the_defaults_are_those_of_the_published_sampler():
    s = SamplerSettings()
    assert (s.steps, s.guidance, s.solver, s.temperature) == (16, 7.0, "euler", 0.0)
    assert (s.top_k, s.top_p, s.repetition_penalty, s.stochasticity, s.history) == (50, 0.9, 1.1, 0.0, "latents")
    assert s.no_repeat_ngram_size == 0 and s.stop_when_settled == 0 and not s.whole_sentences
    assert s.block_size is None and "block_size" not in s.to_dict()
    # so that a recipe of a published model stays what it was
    assert s.min_p == 0 and s.flow_temperature == 1 and not TOKEN_SETTINGS.keys() & s.to_dict().keys()


def test_numbers_of_numpy_are_numbers():
    made = SamplerSettings(steps=np.int64(3), guidance=np.float64(2.5), stagger=np.float32(0.5), seed=np.uint64(7))
    assert made == SamplerSettings(steps=3, guidance=2.5, stagger=0.5, seed=7)
    assert json.loads(json.dumps(made.to_dict())) == made.to_dict()
    assert [type(x) for x in (made.steps, made.guidance, made.stagger)] == [int, float, float]
    for wrong in ({"steps": np.float64(1.5)}, {"guidance": np.float64("nan")}, {"steps": np.bool_(True)}):
        with pytest.raises(SettingsError, match="expected a"):
            SamplerSettings(**wrong)


def test_every_setting_is_described_and_nothing_else():
    assert DESCRIPTIONS.keys() == {field.name for field in dataclasses.fields(SamplerSettings)}


def test_the_described_choices_are_what_the_sampler_knows():
    choices = {name: tuple(about.choices) for name, about in DESCRIPTIONS.items() if about.choices}
    assert choices == {
        "solver": tuple(SOLVERS),
        "time_grid": tuple(GRIDS),
        "history": HISTORIES,
        "guidance_space": ("velocities", "logits"),
    }


@pytest.mark.parametrize("name", [name for name, about in DESCRIPTIONS.items() if about.control])
def test_a_control_offers_valid_values_alone(name):
    for value in DESCRIPTIONS[name].control[:2]:
        SamplerSettings(**{name: value})


def test_settings_survive_json():
    s = SamplerSettings(
        steps=4,
        guidance_interval=(100, 800),
        time_grid="cosine",
        seed=2**40,
        min_p=0.02,
        flow_temperature=0.8,
        noises=8,
    )
    assert SamplerSettings.from_dict(json.loads(json.dumps(s.to_dict()))) == s


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 1001), ("steps", 2.5), ("steps", True), ("steps", "4"), ("steps", None),
        ("guidance", math.nan), ("guidance", math.inf), ("guidance", -1), ("guidance", 10**400),
        ("guidance", Fraction(10**400)),
        ("solver", "rk4"), ("max_new_tokens", 0), ("max_new_tokens", 10**9), ("temperature", -0.1), ("top_k", -1),
        ("top_p", 0), ("top_p", 1.1), ("repetition_penalty", 0), ("repetition_penalty", 1e-45),
        ("no_repeat_ngram_size", 1), ("no_repeat_ngram_size", 65),
        ("seed", -1), ("seed", 2**53), ("seed", 2.0**53), ("seed", 1.5), ("seed", "5"),
        ("seed", True), pytest.param("seed", 10**5000, id="a seed of 5,000 digits"), ("solver", "x" * 1000),
        ("stop_at_end", 1), ("whole_sentences", "yes"), ("stop_when_settled", -1), ("stop_when_settled", 1.5),
        ("block_size", 0), ("block_size", -2), ("block_size", 65), ("block_size", 2.5), ("block_size", "4"),
        ("block_size", True), ("min_p", -0.1), ("min_p", 1.5), ("noises", 0), ("noises", 17),
        ("noises", 2.5), ("flow_temperature", 0), ("flow_temperature", 101),
        ("stochasticity", 1.5), ("history", "none"), ("time_grid", ""), ("time_shift", 0),
        ("guidance_interval", (800, 200)), ("guidance_interval", (0, 2000)), ("guidance_interval", 5),
        ("guidance_interval", ("a", "b")),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_found_and_wanted(name, value):
    with pytest.raises(SettingsError, match=rf"^{name} is .*expected") as found:
        SamplerSettings(**{name: value})
    assert len(str(found.value)) < 200


FLOATS = ("guidance", "temperature", "top_p", "repetition_penalty", "stochasticity", "time_shift", "stagger")
TINY, HUGE = (5e-324, 1e-300, 1e-45, 1e-40), (1e30, 1e308, math.inf, -math.inf, math.nan)
ENDS = (0.0, -0.0, *TINY, -1e-45, -1.0, 0.01, 1.0, 100.0, *HUGE)


@pytest.mark.parametrize("name", [*FLOATS, "guidance_interval"])
def test_every_float_works_or_is_refused_in_a_sentence(name, golden_model):
    """What works survives JSON and writes a text of finite latents; what does not never gets as far as the model."""
    worked = 0
    for value in ENDS:
        given = {name: [value, 1000] if name == "guidance_interval" else value}
        try:
            settings = SamplerSettings.from_dict({"steps": 2, "max_new_tokens": 6, "temperature": 0.7, **given})
        except SettingsError as error:
            assert str(error).startswith(f"{name} is ") and "expected" in str(error)
            continue
        assert SamplerSettings.from_dict(json.loads(json.dumps(settings.to_dict(), allow_nan=False))) == settings
        events = list(golden_model.run_plans(golden_model.plans(["Once upon a time"], settings), settings))
        assert all(event.latents.isfinite().all() for event in events if isinstance(event, BlockDone))
        worked += 1
    assert 2 <= worked < len(ENDS)


def test_there_is_one_zero():
    """Equal settings have equal JSON, and with it equal keys of their recipes."""
    assert math.copysign(1, SamplerSettings(temperature=-0.0).temperature) == 1
    assert math.copysign(1, SamplerSettings(guidance_interval=(-0.0, 5)).guidance_interval[0]) == 1


def test_the_largest_seed_is_one_that_javascript_holds():
    assert MAX_SEED == 2**53 - 1  # Number.MAX_SAFE_INTEGER
    assert SamplerSettings(seed=MAX_SEED).seed == SamplerSettings(seed=float(MAX_SEED)).seed == MAX_SEED


def test_an_unknown_setting_is_named():
    with pytest.raises(SettingsError, match="unknown sampler setting 'step'"):
        SamplerSettings.from_dict({"step": 3})


def test_whole_floats_are_whole_numbers():
    assert SamplerSettings(steps=8.0, guidance=2).steps == 8
    assert isinstance(SamplerSettings(guidance=2).guidance, float)


def test_from_dict_lays_values_over_a_base():
    base = SamplerSettings(steps=4, seed=9)
    assert SamplerSettings.from_dict({"seed": 1}, base) == SamplerSettings(steps=4, seed=1)


def test_noises_keep_runs_apart_only_where_they_act():
    one, several = (SamplerSettings(noises=noises) for noises in (1, 4))
    assert one.flow != several.flow
    assert dataclasses.replace(one, stagger=0.5).flow == dataclasses.replace(several, stagger=0.5).flow
