"""Programs that serve, each as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
START_SECONDS = 120
PATIENCE = 20  # seconds, for a busy machine


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def opened(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The address at which a command says that it has opened. It is asked to end, and has to do so without a fault."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)  # fmt: skip
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("Open "):
                break
        else:
            pytest.fail(f"it ended: {''.join(said)}")
        yield said[-1].split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in "".join(said) + rest


# One client for what is asked again and again.
CLIENT = httpx.Client(timeout=PATIENCE)


class Server:
    """`python app.py` with the small random checkpoint."""

    def __init__(self, folder: Path, checkpoint: Path, *options: str, **environment: str) -> None:
        port = free_port()
        self.ending = False
        self.address, self.log = f"http://127.0.0.1:{port}", folder / "log.txt"
        command = [sys.executable, str(ROOT / "app.py"), "--checkpoint", str(checkpoint), "--device", "cpu",
                   "--dtype", "float32", "--port", str(port), *options]  # fmt: skip
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLADLM_CACHE": str(folder / "cache"), **environment},
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def healthy(self) -> bool:
        try:
            return CLIENT.get(f"{self.address}/health").status_code == 200
        except httpx.HTTPError:
            return False

    def metric(self, name: str) -> float:
        lines = CLIENT.get(f"{self.address}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def ask_to_end(self) -> None:
        self.ending = True
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Asks it to end, once; returns its status. Fails for a traceback in its log."""
        if not self.ending:
            self.ask_to_end()
        status = self.process.wait(60)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()
        return status
