"""`python -m coladlm.evaluate`: the same as `python -m coladlm evaluate`."""

import sys

if __name__ == "__main__":
    from ..cli import main

    sys.exit(main(["evaluate", *sys.argv[1:]]))
