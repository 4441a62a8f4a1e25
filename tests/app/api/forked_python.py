"""Interpreters that begin with modules imported: a program in place of `python` has a script run by processes that are
forked from one which has imported them.

`python forked_python.py SOCKET MODULE ...` is that one; it ends with its standard input.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# It starts in 15 ms, without site-packages, and hands on what it was started with: arguments, environment, files.
PROGRAM = """#!{python} -IS
import json, os, socket, sys
if os.path.basename(sys.argv[1]) != {script!r}:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as forking:
    forking.connect({address!r})
    given = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(forking, [len(given).to_bytes(4, "big")], [1, 2])
    forking.sendall(given)
"""


@contextlib.contextmanager
def forked_python(folder: Path, script: str, modules: Sequence[str]) -> Iterator[str]:
    """A program to be started in place of Python. script: the name of the file that it has run by a forked process, for
    which it does not wait; for any other it is Python. modules: what these processes have imported, in the environment
    of the first of them.
    """
    address, program = str(folder / "forking"), folder / "python"
    program.write_text(PROGRAM.format(python=sys.executable, script=script, address=address))
    program.chmod(0o700)
    command = [sys.executable, __file__, address, *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as forking:
        assert forking.stdout is not None
        assert forking.stdout.read(1), "it ended"  # it listens
        yield str(program)


def serve(address: str, modules: Sequence[str]) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(16)
    os.write(1, b".")
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(listening, selectors.EVENT_READ)
    imported = False
    while all(key.fileobj is listening for key, _ in waiting.select()):
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as sent:
            size, files, _, _ = socket.recv_fds(connection, 4, 2)
            arguments, environment, folder = json.loads(sent.read(int.from_bytes(size, "big")))
        if not imported:
            os.environ.update(environment)  # what libraries read of it at their import is there
            for module in modules:
                importlib.import_module(module)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a forked process
            imported = True
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            waiting.close()
            listening.close()
            run(arguments, environment, folder, files)
            return
        for file in files:
            os.close(file)


def run(arguments: list[str], environment: dict[str, str], folder: str, files: Sequence[int]) -> None:
    """Runs the script that someone asks for, as `__main__` of this process."""
    for place, file in enumerate(files, 1):
        os.dup2(file, place)
        os.close(file)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv[:] = arguments
    sys.path[0] = os.path.dirname(arguments[0])
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
