"""Whether a file or folder could be written, asked before the work whose result it is to hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def why_unwritable(folder: Path) -> str | None:
    """Why no file can be made in `folder`, or in the nearest folder above it that exists; None where one can.

    It is tried: permissions do not tell of a file system that is read-only, full or no place for files (/proc).
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder}: {error.strerror}"
