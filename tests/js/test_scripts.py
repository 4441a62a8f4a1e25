"""The tests of the page's JavaScript without a browser, under the node that comes with Playwright."""

import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_javascript_tests_passes(file):
    node = compute_driver_executable()[0]
    done = subprocess.run([node, "--test", str(file)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
