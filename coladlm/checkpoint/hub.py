"""Fetches a checkpoint from the Hugging Face Hub, or from its cache on this machine where there is no network."""

from __future__ import annotations

import re
from pathlib import Path

from .weights import CheckpointError

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# What a checkpoint consists of, with and without the folder cola_dlm; a repository may hold much else.
PATTERNS = [
    level + file
    for level in ("", "cola_dlm/")
    for file in ("tokenizer.json", "sampler.json", "openings.json", "cola_[dv]*/*.json", "cola_[dv]*/*.safetensors")
]


def is_repository_id(name: str) -> bool:
    """True for names of the form owner/name."""
    return REPOSITORY.fullmatch(name) is not None


def snapshot_of(folder: Path) -> str | None:
    """The Hub id of the repository whose snapshot in the Hub's cache a folder is, or a link to it leads to."""
    for place in (folder.absolute(), folder.resolve()):
        if place.parent.name == "snapshots" and (repository := _repository_of(place.parent.parent)):
            return repository
    return None


def snapshot_to_name(folder: Path) -> str:
    """What to give in place of a repository's folder in the Hub's cache, for the end of a sentence; "" for others."""
    repository = next(filter(None, map(_repository_of, (folder.absolute(), folder.resolve()))), None)
    if repository is None:
        return ""
    snapshots = sorted((f for f in folder.glob("snapshots/*") if f.is_dir()), key=lambda f: f.stat().st_mtime)
    return f": load {snapshots[-1]}" if snapshots else f": load {repository} by its name once, with a network"


def _repository_of(folder: Path) -> str | None:
    """The Hub id of the repository that a folder of the Hub's cache keeps."""
    if not folder.name.startswith("models--"):
        return None
    return folder.name.removeprefix("models--").replace("--", "/", 1)


def download(repository: str, revision: str | None = None) -> Path:
    """The folder of the Hub's cache with the checkpoint files of `repository` at `revision` (branch, tag or commit).

    Only what the cache lacks is fetched; without a network the cache alone is used. Raises CheckpointError.
    """
    from huggingface_hub import errors, snapshot_download  # here: a model on this machine need not wait for its import

    wanted = f"{repository} at revision {revision!r}" if revision else repository
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=PATTERNS))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise CheckpointError(
            f"{wanted}: found no such folder here and no such repository on the Hub that is open to you "
            f"({_reason(error)}), expected a folder or a Hub id of the form owner/name"
        ) from error
    except Exception as error:  # a network fails in many ways, and the cache serves in all of them
        try:
            return Path(
                snapshot_download(repository, revision=revision, allow_patterns=PATTERNS, local_files_only=True)
            )
        except errors.LocalEntryNotFoundError as missing:
            if hasattr(missing, "snapshot_path"):  # the Hub's library knows which files there should be
                raise CheckpointError(
                    f"{wanted}: the Hub's cache is incomplete ({_reason(missing)}), expected the whole checkpoint"
                ) from error
            raise CheckpointError(
                f"{wanted}: found no such folder here and nothing whole in the Hub's cache, and the Hub gave no answer "
                f"({_reason(error)}), expected a folder, or a network for the first download"
            ) from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
