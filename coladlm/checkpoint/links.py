"""Symbolic links that lead in a circle: what a path runs into there, and the sentence that names them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .weights import CheckpointError


def circle_of_links(path: str | Path) -> list[Path]:
    """The links that lead from one to the next and back to the first, where a path runs into such; else none."""
    seen: list[Path] = []
    link = _stuck(Path(os.path.abspath(path)))
    while link is not None and link not in seen:
        seen.append(link)
        link = _stuck(Path(os.path.normpath(os.path.join(os.path.realpath(link.parent), os.readlink(link)))))
    return [] if link is None else seen[seen.index(link) :]


def in_a_circle(path: str | Path) -> str:
    """What there is in the place of a path that runs into a circle of links, for a sentence; "" where it does not."""
    circle = circle_of_links(path)
    return f"links that lead in a circle ({' -> '.join(map(str, (*circle, circle[0])))})" if circle else ""


def refuse_circles(*paths: Path) -> None:
    """Raises CheckpointError for the first path that runs into a circle of links."""
    for path in paths:
        if os.path.islink(path) and not os.path.exists(path) and (found := in_a_circle(path)):
            raise CheckpointError(f"{path}: found {found}, expected what belongs to a checkpoint")


def _stuck(path: Path) -> Path | None:
    """The first part of a path that is a link which the system follows without an end."""
    for part in (*reversed(path.parents), path):
        try:
            part.stat()
        except OSError as error:
            return part if error.errno == errno.ELOOP and os.path.islink(part) else None
    return None
