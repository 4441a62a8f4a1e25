"""Trace: what a run did, as numpy arrays, in memory and in a file.

Everything that looks back at a run (scrubbing, paths, speed and curvature, the step that settled a word) reads a trace;
nothing runs the sampler again. A trace is saved as one `.npz` with its recipe inside and without pickle, and every
array of a file is checked before it is used. `recorder.py` makes a trace out of events.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tokenize
import typing
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np

from ..errors import describe
from ..paths import can_be_a_path, written_whole
from ..recipe import Recipe, RecipeError
from ..settings import NOISE_TIME

VERSION = 1
MAX_BYTES = 1 << 30  # of all arrays of a file together, unpacked
MAX_AXIS = 1 << 20
STOPPED = "stopped"  # the reason of every sequence of a run that did not come to its end

AXES = {"s": "sequence", "b": "block", "k": "step", "p": "position", "w": "token of a block", "d": "channel"}
DTYPES = {"float": ("float16", "float32"), "float32": ("float32",), "int": ("int32",), "bool": ("bool",)}


class TraceError(ValueError):
    """A trace, or a file that should hold one, is not what it should be; the message names file and array."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """What an array of a trace is: a letter of AXES for each axis, a kind of DTYPES, the range of its values."""

    axes: str
    kind: str
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """What a run did. Axes in this order: sequence S, block B, step K, position p or token w of a block, channel d.

    Where nothing happened (a sequence that had come to its end, a step that a stopped run did not reach) numbers are 0
    and token ids -1: `active`, `recorded` and `finished` tell. Raises TraceError for arrays that do not fit together.
    """

    recipe: Recipe
    prompts: list[str]  # the text each sequence started from
    texts: list[str]  # the answers
    reasons: list[str]  # why each sequence ended: "end", "length" or STOPPED
    answers: list[list[int]] | None  # token ids of the answers, None for a run that was stopped

    # every step, before it is taken
    z: Annotated[np.ndarray, Spec("sbkpd", "float")]
    velocity: Annotated[np.ndarray, Spec("sbkpd", "float")]  # the guided one
    t: Annotated[np.ndarray, Spec("sbkp", "float32", 0, NOISE_TIME)]  # in [0, 1000]; a pinned position stays at 0
    t_next: Annotated[np.ndarray, Spec("sbkp", "float32", 0, NOISE_TIME)]
    # the two velocities behind a guided one; in steps that are not `guided`, `velocity` and 0
    conditional: Annotated[np.ndarray | None, Spec("sbkpd", "float", optional=True)] = None
    unconditional: Annotated[np.ndarray | None, Spec("sbkpd", "float", optional=True)] = None
    # what the decoder reads in the clean estimate: the likeliest token, its probability, the distance of its logit to
    # the second, and the entropy of the distribution in nats
    preview_ids: Annotated[np.ndarray | None, Spec("sbkw", "int", -1, optional=True)] = None
    preview_confidence: Annotated[np.ndarray | None, Spec("sbkw", "float", 0, 1, optional=True)] = None
    preview_margin: Annotated[np.ndarray | None, Spec("sbkw", "float", 0, optional=True)] = None
    preview_entropy: Annotated[np.ndarray | None, Spec("sbkw", "float", -0.01, optional=True)] = None
    # every block when it was done
    latents: Annotated[np.ndarray, Spec("sbpd", "float32")]
    token_ids: Annotated[np.ndarray, Spec("sbw", "int", -1)]
    logprobs: Annotated[np.ndarray, Spec("sbw", "float32", high=0.01)]
    # what there is
    active: Annotated[np.ndarray, Spec("sb", "bool")]  # was the sequence still written in this block
    recorded: Annotated[np.ndarray, Spec("bk", "bool")]
    guided: Annotated[np.ndarray, Spec("bk", "bool")]
    finished: Annotated[np.ndarray, Spec("b", "bool")]  # all blocks but the last one of a run that was stopped

    def __post_init__(self) -> None:
        _check(self)

    @property
    def stopped(self) -> bool:
        """Did the run end before its end?"""
        return self.answers is None

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, those that are absent left out."""
        return {name: getattr(self, name) for name in SPECS if getattr(self, name) is not None}

    def answer(self, sequence: int) -> list[int]:
        """Token ids of a sequence's answer. Raises TraceError for a run that was stopped."""
        if self.answers is None:
            raise TraceError("the run was stopped, expected one that came to its end")
        return self.answers[sequence]

    def free(self) -> np.ndarray:
        """Where positions were not pinned, (S, B, p): those that had noise at some step."""
        return np.any(self.t > 0, axis=2)

    def clean(self) -> np.ndarray:
        """The clean estimate of every step, z - t/1000 v, (S, B, K, p, d) float32."""
        return self.z.astype(np.float32) - self.t[..., None] / NOISE_TIME * self.velocity

    # out and in

    def save(self, path: str | Path) -> None:
        """Writes an .npz file, whole or not at all. Raises OSError."""
        path = Path(path)
        outcome = {"version": VERSION, "prompts": self.prompts, "texts": self.texts, "reasons": self.reasons,
                   "answers": self.answers}  # fmt: skip
        words = {"recipe": self.recipe.to_json(), "outcome": json.dumps(outcome, ensure_ascii=False)}
        entries: dict[str, Any] = {name: np.frombuffer(text.encode(), np.uint8) for name, text in words.items()}
        entries |= self.arrays()
        with written_whole(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **entries)
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, file: str | Path | BinaryIO, max_bytes: int = MAX_BYTES, name: str = "") -> Trace:
        """Reads what `save` wrote; never unpickles and never unpacks more than `max_bytes`.

        name: of the file, for people; its own if absent.

        Raises TraceError for a file that is no whole and sound trace, OSError for one that cannot be read.
        """
        if isinstance(file, (str, Path)):
            if not can_be_a_path(file):
                raise TraceError(f"the file is {describe(str(file))}, expected the path of a trace")
            with open(file, "rb") as opened:
                return cls.load(opened, max_bytes, name)
        if not hasattr(file, "seek"):
            raise TraceError(f"the file is {describe(file)}, expected a path or a file that is open for reading")
        name = name or str(getattr(file, "name", "trace"))
        try:
            with zipfile.ZipFile(file) as archive:
                entries = _read(archive, max_bytes)
            recipe, outcome = (bytes(entries.pop(part)) for part in WORDS)
            return cls(recipe=Recipe.from_json(recipe), **_outcome(outcome), **entries)
        except TraceError as error:
            raise TraceError(f"{name}: {error}") from error
        except RecipeError as error:
            raise TraceError(f"{name}: the recipe inside cannot be used: {error}") from error
        except DAMAGES as error:
            raise TraceError(f"{name}: not an .npz file, or a damaged one ({error}), expected a trace") from error


SPECS: dict[str, Spec] = {
    name: hint.__metadata__[0]
    for name, hint in typing.get_type_hints(Trace, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
WORDS = ("recipe", "outcome")
PREVIEWS = tuple(name for name in SPECS if name.startswith("preview_"))
# What zipfile, zlib and numpy's header reader raise on damaged files.
DAMAGES = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, KeyError),
    *(zlib.error, SyntaxError, tokenize.TokenError, ValueError, TypeError, OverflowError, MemoryError),
)


# checks


def _check(trace: Trace) -> None:
    _check_words(trace)
    sizes = {"s": (len(trace.texts), "texts")}  # what an axis measures, and where that was first seen
    for name, spec in SPECS.items():
        array = getattr(trace, name)
        if array is None and spec.optional:
            continue
        wanted = DTYPES[spec.kind]
        if not isinstance(array, np.ndarray) or array.dtype.name not in wanted or not array.dtype.isnative:
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TraceError(f"{name} is {found}, expected an array of {' or '.join(wanted)}")
        axes = ", ".join(AXES[axis] for axis in spec.axes)
        if array.ndim != len(spec.axes) or max(array.shape) > MAX_AXIS:
            raise TraceError(f"{name} has shape {array.shape}, expected ({axes})")
        for axis, size in zip(spec.axes, array.shape, strict=True):
            known, where = sizes.setdefault(axis, (size, name))
            if size != known:
                raise TraceError(
                    f"{name} has shape {array.shape}, expected {known} for {AXES[axis]} in ({axes}), as in {where}"
                )
        if array.dtype == bool:
            fine, range_ = array.view(np.uint8) <= 1, "true or false"
        else:
            fine = np.isfinite(array) & (array >= spec.low) & (array <= spec.high)
            range_ = f"finite numbers from {spec.low:g} to {spec.high:g}"
        if not fine.all():
            where = tuple(int(i) for i in np.argwhere(~fine)[0])
            found = array.view(np.uint8)[where] if array.dtype == bool else array[where]
            raise TraceError(f"{name} is {found} at {where}, expected {range_}")
    _check_together(trace, sizes)


def _check_together(trace: Trace, sizes: dict[str, tuple[int, str]]) -> None:
    positions, tokens = sizes["p"][0], sizes["w"][0]
    if (positions == 0) != (tokens == 0) or (positions and tokens % positions):
        raise TraceError(f"token_ids has {tokens} tokens in a block of {positions} positions, expected a multiple")
    for names in (PREVIEWS, ("conditional", "unconditional")):
        there = [name for name in names if getattr(trace, name) is not None]
        if there and len(there) < len(names):
            missing = next(name for name in names if name not in there)
            raise TraceError(f"{missing} is missing, expected it beside {there[0]}")
    if not trace.finished[:-1].all():
        raise TraceError("finished is false for a block before the last, expected true")


def _check_words(trace: Trace) -> None:
    if not isinstance(trace.recipe, Recipe):
        raise TraceError(f"recipe is {type(trace.recipe).__name__}, expected a Recipe")
    if not isinstance(trace.texts, list) or not trace.texts:
        raise TraceError("texts is no list or empty, expected a text for each sequence")
    for name in ("prompts", "texts", "reasons"):
        _check_texts(name, getattr(trace, name), len(trace.texts))
    if trace.answers is not None:
        _check_answers(trace.answers, len(trace.texts))


def _check_texts(name: str, texts: Any, count: int) -> None:
    if not isinstance(texts, list) or len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise TraceError(f"{name} is no list of {count} texts, expected one for each sequence")
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TraceError(
                f"{name} has half a character at {error.start}, expected whole Unicode characters"
            ) from error


def _check_answers(answers: Any, count: int) -> None:
    if not isinstance(answers, list) or len(answers) != count or not all(isinstance(ids, list) for ids in answers):
        raise TraceError(f"answers is no list of {count} lists, expected token ids for each sequence")
    if not all(type(token) is int and 0 <= token < 2**31 for ids in answers for token in ids):
        raise TraceError("answers holds something that is no token id, expected whole numbers from 0 up")


def _read(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, Any]:
    """The arrays of an npz file; sizes, names and headers are checked before anything is unpacked."""
    infos = archive.infolist()
    names = [info.filename.removesuffix(".npy") for info in infos]
    for name, info in zip(names, infos, strict=True):
        if name not in (*WORDS, *SPECS) or not info.filename.endswith(".npy"):
            raise TraceError(f"has an entry {info.filename[:60]!r}, which no trace has: expected a saved trace")
        if names.count(name) > 1:
            raise TraceError(f"has {names.count(name)} entries {info.filename!r}, expected each array of a trace once")
    for name in (*WORDS, *(name for name, spec in SPECS.items() if not spec.optional)):
        if name not in names:
            raise TraceError(f"{name} is missing, expected it in every trace")
    for name, info in zip(names, infos, strict=True):
        if name in WORDS and info.file_size > max_bytes // 8:  # parsed JSON takes several times its length
            raise TraceError(f"{name} is {info.file_size:,} bytes long, expected at most {max_bytes // 8:,}")
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise TraceError(f"holds {total:,} bytes unpacked, expected at most {max_bytes:,}")
    return {name: _read_array(archive, info, name) for name, info in zip(names, infos, strict=True)}


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise TraceError(f"{name} is in version {version} of the npy format, expected (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if name in WORDS and (dtype != np.uint8 or len(shape) != 1):
            raise TraceError(f"{name} is {dtype} of shape {shape}, expected bytes of text")
        if dtype.hasobject or fortran or stream.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise TraceError(
                f"{name} has {info.file_size} bytes for {dtype} of shape {shape}, expected plain rows of numbers"
            )
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _outcome(text: bytes) -> dict[str, Any]:
    outcome = json.loads(text)
    keys = ("version", "prompts", "texts", "reasons", "answers")
    if not isinstance(outcome, dict) or sorted(outcome) != sorted(keys):
        raise TraceError(f"outcome has the wrong keys, expected {', '.join(keys)}")
    if outcome.pop("version") != VERSION:
        raise TraceError(f"outcome is of another version, expected {VERSION}")
    return outcome
