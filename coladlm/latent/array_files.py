"""Writing arrays to an .npz file that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def save_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays by name, compressed and without pickle, in place of what stands there. Makes the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as opened:
            np.savez_compressed(opened, **arrays)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
