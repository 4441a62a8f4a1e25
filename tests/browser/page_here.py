"""The whole page, served by a thread of the tests' own process: no other one imports everything again for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from app.api.openai_api import ApiOptions
from app.runs.registry import RunLimits
from app.server import Options, make_app
from coladlm import ColaDLM
from coladlm.serve import Limits, Scheduler

from .net import Net, listening


@contextlib.contextmanager
def page_here(model: ColaDLM, sub_path: str = "") -> Iterator[tuple[str, Net, Callable[[], dict[str, int]]]]:
    """(the address of the page, what lies in between, the numbers of its runs). sub_path: as behind a proxy."""
    scheduler = Scheduler(Limits(running=4, waiting=4))
    options = Options(root_path=sub_path, quiet=True)
    app, page, registry = make_app(model, scheduler, ApiOptions(), options, RunLimits())
    net = Net(app, sub_path)
    with listening(net) as address:
        yield address, net, registry.numbers
        page.close(verbose=False)
    scheduler.close(grace=0)
