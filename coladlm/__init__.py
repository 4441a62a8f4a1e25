"""Cola-DLM as a library: continuous latent diffusion for text (arXiv:2605.06548).

>>> from coladlm import ColaDLM
>>> model = ColaDLM.from_pretrained()
>>> print(model.generate(["Once upon a time"])[0])
"""

from .model import ColaDLM, PromptError
from .networks.text_vae import Posterior
from .sampling.events import BlockDone, Event, Finished, Step
from .sampling.plan import Plan, PlanError
from .settings import SamplerSettings, SettingsError

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
