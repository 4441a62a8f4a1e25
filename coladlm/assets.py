"""Where the files lie that come with the program: the bundled model, its baseline, maps, directions, recorded runs."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
