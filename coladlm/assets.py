"""Where the files lie that come with the program: the bundled model, its baseline, maps, directions, recorded runs.

An installed package has them inside (`setup.py` puts them there), a checkout beside it.
"""

from pathlib import Path

_INSIDE = Path(__file__).resolve().parent / "shipped"
INSTALLED = _INSIDE.is_dir()
ASSETS = _INSIDE if INSTALLED else _INSIDE.parents[1] / "assets"
PAGE = "coladlm_page" if INSTALLED else "app"
"""The package of the page: an installation gives it a name that no other package has."""
