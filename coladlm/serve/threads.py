"""How many threads a process that serves a model gives to torch."""

import torch

from ..hardware.devices import choose_threads
from ..hardware.threads import tuner_for
from ..model import ColaDLM


def set_threads(model: ColaDLM) -> None:
    """Begins with the number that is best for a program that does other things beside this model; the sampler finds
    out the rest, step by step (`hardware/threads.py`).
    """
    most, start = torch.get_num_threads(), choose_threads(model.parameters, model.device)
    torch.set_num_threads(start)
    model.sampler.threads = tuner_for(model.device, start, most)
