"""A trace on a disk that fills up, and by a process that is killed: what was there before is there still."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.trace import Trace

# Saves the trace NEW over the trace OLD in two forks: one may write 2000 bytes, one is killed before it is done.
SAVES = """
import json, os, resource, signal, sys
from coladlm.trace import Trace
new, old = sys.argv[1:]
trace = Trace.load(new)

def full():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

def killed():
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

statuses = {}
for end in (full, killed):
    child = os.fork()
    if not child:
        end()
        try:
            trace.save(old)
        except OSError:
            os._exit(7)
        os._exit(0)
    statuses[end.__name__] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def traces(model, tmp_path_factory):
    """Two files with traces of different texts."""
    folder = tmp_path_factory.mktemp("traces")
    for name in ("old", "new"):
        recipe = Recipe("generate", (f"The {name} cat",), SamplerSettings(steps=2, max_new_tokens=8))
        watcher = recorder(recipe)
        for _ in watcher.watch(run(model, recipe)):
            pass
        watcher.trace().save(folder / f"{name}.npz")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGKILL nor a limit on the size of files")
def test_a_save_that_does_not_come_to_its_end_leaves_the_old_trace(traces):
    before = Trace.load(traces / "old.npz")
    command = [sys.executable, "-c", SAVES, str(traces / "new.npz"), str(traces / "old.npz")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"full": 7, "killed": -signal.SIGKILL}
    after = Trace.load(traces / "old.npz")
    assert after.texts == before.texts and np.array_equal(after.z, before.z)
    Trace.load(traces / "new.npz").save(traces / "other.npz")  # and the next save works
