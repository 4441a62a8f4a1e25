"""Cola-DLM Explorer: loads a model and serves the page and OpenAI's API. Start here.

    python app.py                                  the bundled model
    python app.py --checkpoint path/to/folder      a checkpoint of the published form, or a Hub repository id

Also the entry of a Hugging Face Space, which sets the host and the port in the environment. What is served where, and
what the limits mean: docs/serving.md.
"""

import sys

from coladlm.garbage_collection import collect_seldom

if __name__ == "__main__":
    collect_seldom()  # before all that the next line imports

from app.command import api_options, main, parser

__all__ = ["api_options", "main", "parser"]

if __name__ == "__main__":
    sys.exit(main())
