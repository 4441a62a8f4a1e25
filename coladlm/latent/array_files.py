"""Writing arrays to an .npz file that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..paths import written_whole


def save_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays by name, compressed and without pickle, in place of what stands there. Makes the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as partial, open(partial, "wb") as opened:
        np.savez_compressed(opened, **arrays)
