"""What `python -m coladlm.train` runs, in the process that runs this file."""

import runpy

runpy.run_module("coladlm.train", run_name="__main__", alter_sys=True)
