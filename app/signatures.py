"""Gradio with signatures that are found once.

To say what a component is made of, which it does seven times for each while a page is laid out, gradio (6.31) asks
Python for the signature of the component's `__init__`, which Python puts together anew each time: a fifth of the time
that the page takes. It takes the one that a function has as its `__signature__`, where there is one.
"""

from __future__ import annotations

import inspect

from gradio.blocks import Block


def keep_signatures(kind: type[Block] = Block) -> None:
    """Notes the signature of `__init__` with it, of a class and of all that are derived from it by now."""
    made_by = inspect.unwrap(kind.__init__)
    if not hasattr(made_by, "__signature__"):
        made_by.__signature__ = inspect.signature(kind.__init__)
    for derived in kind.__subclasses__():
        keep_signatures(derived)
