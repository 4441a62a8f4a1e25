"""The controls of the sampler: one table of settings, and the way from controls to SamplerSettings and back."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from coladlm import SamplerSettings
from coladlm.settings import DESCRIPTIONS, TOKEN_SETTINGS, SettingsError

from ..components import ChoiceBox

OWN_SIZE = "own"  # of a block: the checkpoint's
BLOCK_SIZES = (("the model's own", OWN_SIZE), *((str(size), str(size)) for size in (1, 2, 4, 8, 16)))
SEED_JS = "() => Math.floor(Math.random() * 2 ** 31)"


Control = gr.Number | gr.Slider | gr.Checkbox | ChoiceBox


@dataclasses.dataclass(frozen=True)
class Setting:
    """One control. name: the field of SamplerSettings. bounds: (low, high, step) of a slider, whose high is also the
    most that this page runs. choices: (words, value) of a ChoiceBox. Neither: a switch. more: folded away at first.
    """

    name: str
    label: str
    hint: str
    bounds: tuple[float, float, float] | None = None
    choices: tuple[tuple[str, str], ...] | None = None
    more: bool = False


def _described(name: str, more: bool = True) -> Setting:
    """The control of a setting, as the library describes it."""
    about = DESCRIPTIONS[name]
    choices = None if about.choices is None else tuple((words, value) for value, words in about.choices.items())
    return Setting(name, about.label, about.help, about.control, choices, more)


SETTINGS = (
    *(_described(name, more=False) for name in ("max_new_tokens", "steps", "guidance", "stagger")),
    *map(
        _described,
        (
            "stochasticity",
            "temperature",
            "top_k",
            "top_p",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "history",
            "solver",
            "time_grid",
            "time_shift",
            "min_p",
            "flow_temperature",
            "guidance_space",
            "noises",
            "stop_when_settled",
        ),
    ),
    Setting("block_size", DESCRIPTIONS["block_size"].label, DESCRIPTIONS["block_size"].help, choices=BLOCK_SIZES,
            more=True),
    # the guidance interval, as two shares of noise
    Setting("guidance_from", "Guidance from noise (%)", "Guidance begins when the noise has fallen to this.",
            (0, 100, 1), more=True),
    Setting("guidance_to", "Guidance to noise (%)", "And ends here; below, the block follows the plain flow.",
            (0, 100, 1), more=True),
    _described("stop_at_end", more=False),
    _described("whole_sentences", more=False),
)  # fmt: skip


# name, what it changes of the model's own settings; seed and length stay as they are
PRESETS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("the model's own", {}),
    ("fast draft", {"steps": 8}),
    ("careful", {"steps": 64}),
    ("a block at once", {"stagger": 0.0}),
    ("word after word", {"stagger": 1.0}),
    ("varied words", {"temperature": 0.9, "top_k": 50, "top_p": 0.95}),
    ("fresh noise at every step", {"stochasticity": 1.0, "guidance": 1.4, "stagger": 1.0}),
    ("as published", {"block_size": None, **TOKEN_SETTINGS,
                      **{name: value for name, value in SamplerSettings().to_dict().items()
                         if name not in ("seed", "max_new_tokens")}}),
)  # fmt: skip


class SettingSlider(gr.Slider):
    """A slider that leaves the check of its value to the settings, which say in the page what is wrong."""

    def get_block_name(self) -> str:
        return "slider"

    def preprocess(self, payload: Any) -> Any:
        return payload


class SettingsPanel:
    """The controls, built where it is made. `inputs` are their components, in the order of `values_of`."""

    def __init__(self, defaults: SamplerSettings) -> None:
        self.names = self.names_of()
        start = dict(zip(self.names, values_of(defaults), strict=True))
        with gr.Row(elem_classes="seed set-seed", equal_height=False):
            seed = gr.Number(
                start["seed"],
                label=DESCRIPTIONS["seed"].label,
                info=DESCRIPTIONS["seed"].help,
                scale=1,
                min_width=120,
            )
            dice = gr.Button("Roll a new seed", elem_classes="dice", min_width=44, scale=0)
        dice.click(None, None, seed, js=SEED_JS, api_visibility="private")
        made: dict[str, Control] = {"seed": seed}
        for setting in (s for s in SETTINGS if not s.more):
            made[setting.name] = _control(setting, start[setting.name])
        preset = ChoiceBox(
            "Preset",
            "Sets the steps, the guidance and what is below at once, but not the seed and the length.",
            [(name, name) for name, _ in PRESETS],
            "",
            placeholder="Choose one",
            forgets=".setting:not(.set-max_new_tokens)",  # the seed is none
            elem_classes="setting",
        )
        with gr.Accordion("More settings", open=False, elem_classes="more"):
            for setting in (s for s in SETTINGS if s.more):
                made[setting.name] = _control(setting, start[setting.name])
        self.inputs = [made[name] for name in self.names]
        self.by_name = {f"settings.{name}": made[name] for name in self.names}  # for `connect_view`
        changed = [name for name in self.names if name not in ("seed", "max_new_tokens")]
        js = _preset_js(defaults, changed)
        preset.select(None, preset, [made[name] for name in changed], js=js, api_visibility="private")

    @staticmethod
    def names_of() -> list[str]:
        """The names of all controls, in the order of their values."""
        return ["seed", *(setting.name for setting in SETTINGS)]


def preset_values(defaults: SamplerSettings, names: Sequence[str]) -> dict[str, list[Any]]:
    """For each preset the values of the controls with these names."""
    found = {}
    for preset, changes in PRESETS:
        values = dict(
            zip(SettingsPanel.names_of(), values_of(SamplerSettings.from_dict(changes, base=defaults)), strict=True)
        )
        found[preset] = [values[name] for name in names]
    return found


def _preset_js(defaults: SamplerSettings, names: Sequence[str]) -> str:
    return f"(name) => ({json.dumps(preset_values(defaults, names))})[name]"


def values_of(settings: SamplerSettings) -> list[Any]:
    """The values of the controls that stand for `settings`: the seed, then those of SETTINGS in order."""
    low, high = settings.guidance_interval
    size = OWN_SIZE if settings.block_size is None else str(settings.block_size)
    values = {**TOKEN_SETTINGS, **settings.to_dict(), "guidance_from": high / 10, "guidance_to": low / 10,
              "block_size": size}  # fmt: skip
    return [values["seed"], *(values[setting.name] for setting in SETTINGS)]


def settings_from(values: Sequence[Any]) -> SamplerSettings:
    """The settings that the controls stand for. Raises SettingsError, also for more than this page runs."""
    return settings_of(dict(zip(SettingsPanel.names_of(), values, strict=True)))


def settings_of(values: Any) -> SamplerSettings:
    """The same for values by the names of the controls."""
    names = SettingsPanel.names_of()
    if not isinstance(values, Mapping) or set(values) != set(names):
        raise SettingsError(f"settings is not what the controls say, expected values for {', '.join(names)}")
    named = {name: values[name] for name in names}
    for name, value in named.items():
        if value is None:
            raise SettingsError(f"{name} is empty, expected a value")
    interval = []
    for name in ("guidance_to", "guidance_from"):
        value = named.pop(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise SettingsError(f"{name} is {value!r}, expected a noise from 0 to 100 %")
        interval.append(round(value * 10, 9))  # without the dust of floating point
    if interval[0] > interval[1]:
        end, start = (f"{time / 10:g} %" for time in interval)
        raise SettingsError(f"guidance_from is {start}, expected at least as much noise as guidance_to, {end}")
    named["block_size"] = _block_size(named["block_size"])
    settings = SamplerSettings.from_dict({**named, "guidance_interval": interval})
    check_limits(settings)
    return settings


def _block_size(value: Any) -> Any:
    """The setting that a choice stands for; what is none of the choices is left to the settings to refuse."""
    if value == OWN_SIZE:
        return None
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value) else value


def check_limits(settings: SamplerSettings) -> None:
    """Refuses what would keep everybody else waiting for minutes. Raises SettingsError."""
    for name in ("max_new_tokens", "steps"):
        setting = next(s for s in SETTINGS if s.name == name)
        if setting.bounds is not None and getattr(settings, name) > setting.bounds[1]:
            raise SettingsError(
                f"{name} is {getattr(settings, name):,}, expected at most {setting.bounds[1]:,} on this page"
            )


def in_labels(sentence: str) -> str:
    """A sentence about a field of the settings with the words of its control: "steps is 0" is "Steps a block is 0"."""
    first = sentence.split(" ", 1)[0]
    labels = {setting.name: setting.label for setting in SETTINGS}
    named = labels.get(first, first[:1].upper() + first[1:])
    return named + sentence[len(first) :]


def _control(setting: Setting, value: Any) -> Control:
    if setting.choices is not None:
        return ChoiceBox(setting.label, setting.hint, setting.choices, value, elem_classes="setting")
    about = {"label": setting.label, "info": setting.hint, "elem_classes": f"setting set-{setting.name}"}
    if setting.bounds is None:
        return gr.Checkbox(value, **about)
    low, high, step = setting.bounds
    return SettingSlider(low, max(high, value), value, step=step, buttons=["reset"], **about)
