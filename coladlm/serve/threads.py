"""How many threads a process that serves a model gives to torch."""

import functools

import torch

from ..hardware.devices import choose_threads
from ..hardware.threads import tuner_for
from ..model import ColaDLM


@functools.cache
def most_threads() -> int:
    """With how many torch begins: one for each core, or OMP_NUM_THREADS. First asked before another number is set."""
    return torch.get_num_threads()


def set_threads(model: ColaDLM) -> None:
    """Begins with the number that is best for a program that does other things beside this model; the sampler finds
    out the rest, step by step (`hardware/threads.py`). For the first model of a process and for each that follows.
    """
    most = most_threads()
    start = choose_threads(model.parameters, model.device, most)
    torch.set_num_threads(start)
    model.sampler.threads = tuner_for(model.device, start, most)
