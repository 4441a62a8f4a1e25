"""`python -m coladlm.evaluate`: the same as `python -m coladlm evaluate`."""

import sys

from ..cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
