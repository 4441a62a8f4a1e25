"""A trace on a disk that fills up, and by a process that is killed: what was there before is there still."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.trace import Trace

SAVE = """
import os, resource, signal, sys
from coladlm.trace import Trace
trace = Trace.load(sys.argv[1])
if sys.argv[3] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
else:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
try:
    trace.save(sys.argv[2])
except OSError:
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def traces(golden_folder, tmp_path_factory):
    """Two files with traces of different texts."""
    folder = tmp_path_factory.mktemp("traces")
    model = ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
    for name in ("old", "new"):
        recipe = Recipe("generate", (f"The {name} cat",), SamplerSettings(steps=2, max_new_tokens=8))
        watcher = recorder(recipe)
        for _ in watcher.watch(run(model, recipe)):
            pass
        watcher.trace().save(folder / f"{name}.npz")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGKILL nor a limit on the size of files")
@pytest.mark.parametrize("end, status", [("full", 7), ("killed", -signal.SIGKILL if hasattr(signal, "SIGKILL") else 0)])
def test_a_save_that_does_not_come_to_its_end_leaves_the_old_trace(traces, end, status):
    before = Trace.load(traces / "old.npz")
    command = [sys.executable, "-c", SAVE, str(traces / "new.npz"), str(traces / "old.npz"), end]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    after = Trace.load(traces / "old.npz")
    assert after.texts == before.texts and np.array_equal(after.z, before.z)
    Trace.load(traces / "new.npz").save(traces / "other.npz")  # and the next save works
