"""Cola-DLM as a library: continuous latent diffusion for text (arXiv:2605.06548).

>>> from coladlm import ColaDLM
>>> model = ColaDLM.from_pretrained()
>>> print(model.generate(["Once upon a time"])[0])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import ColaDLM, PromptError
    from .networks.text_vae import Posterior
    from .sampling.events import BlockDone, Event, Finished, Step
    from .sampling.plan import Plan, PlanError
    from .settings import SamplerSettings, SettingsError

# where each name comes from: torch is imported with the first that is asked for, so that a command's help needs none
_MODULES = {
    "BlockDone": "sampling.events",
    "ColaDLM": "model",
    "Event": "sampling.events",
    "Finished": "sampling.events",
    "Plan": "sampling.plan",
    "PlanError": "sampling.plan",
    "Posterior": "networks.text_vae",
    "PromptError": "model",
    "SamplerSettings": "settings",
    "SettingsError": "settings",
    "Step": "sampling.events",
}
__all__ = [
    "BlockDone",
    "ColaDLM",
    "Event",
    "Finished",
    "Plan",
    "PlanError",
    "Posterior",
    "PromptError",
    "SamplerSettings",
    "SettingsError",
    "Step",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
