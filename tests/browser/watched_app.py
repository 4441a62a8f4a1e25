"""`python app.py`, which logs a traceback where a network is called from another thread than the scheduler's.

The fixture that serves the page fails for any traceback in the log. While the file that TEST_PACE names is there, no
network is asked more often than a person can follow: a run is seen under way, and stopped, on the fastest machine.
"""

import functools
import logging
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from coladlm.garbage_collection import collect_seldom  # noqa: E402  (found by the line above)

collect_seldom()

import torch  # noqa: E402

from coladlm.baseline.transformer import Transformer  # noqa: E402
from coladlm.networks.dit import BlockCausalDiT  # noqa: E402
from coladlm.networks.text_vae import TextVAE  # noqa: E402
from coladlm.serve.turns import THREAD  # noqa: E402

PACE_SECONDS = 0.008
made: set[int] = set()  # the modules of every model's networks


def note_modules(network_class: type[torch.nn.Module]) -> None:
    """Has a class of networks take down its modules, once a network of it is ready to be called."""
    make_ready = network_class.eval

    def eval_and_note(self: torch.nn.Module) -> torch.nn.Module:
        made.update(map(id, self.modules()))
        return make_ready(self)

    network_class.eval = eval_and_note


def check(module: torch.nn.Module, _: object) -> None:
    if id(module) in made and threading.current_thread().name != THREAD:
        try:
            raise AssertionError(f"{type(module).__name__} is called in {threading.current_thread().name}")
        except AssertionError:
            logging.exception("a network is called from another thread than the scheduler's", stack_info=True)


def pace(network_class: type[Any], file: str) -> None:
    """Lets a network's answers take their time while `file` is there."""
    hidden = network_class.hidden

    @functools.wraps(hidden)
    def paced(*args: Any, **kwargs: Any) -> torch.Tensor:
        if os.path.exists(file):
            time.sleep(PACE_SECONDS)
        return hidden(*args, **kwargs)

    network_class.hidden = paced


if __name__ == "__main__":
    for paced_class in (BlockCausalDiT, Transformer):
        pace(paced_class, os.environ["TEST_PACE"])
    for network_class in (TextVAE, BlockCausalDiT):
        note_modules(network_class)
    torch.nn.modules.module.register_module_forward_pre_hook(check)
    sys.argv[0] = str(ROOT / "app.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
