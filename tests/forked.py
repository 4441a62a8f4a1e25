"""Forks of the process of the tests, which have imported everything: to start Python and torch takes longer than what
most commands do.

Threads do not come along, so a fork computes with one: it would wait for ever for others that have computed before.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

import torch

from coladlm.__main__ import main


def started(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """A fork that calls work(*arguments) and ends."""
    process = multiprocessing.get_context("fork").Process(target=_work, args=(work, arguments))
    process.start()
    return process


def _work(work: Callable[..., object], arguments: Sequence[object]) -> None:
    torch.set_num_threads(1)
    work(*arguments)


def command(arguments: Sequence[str], streams: Sequence[int], others: Sequence[int] = (), **environment: str) -> None:
    """`python -m coladlm` with these arguments. streams: open files in the place of stdin, stdout and stderr. others:
    what else is closed here, such as the other ends of pipes, which would not end before this process.
    """
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in (*streams, *others):
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - they stay open
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.argv[1:] = arguments
    sys.exit(main())
