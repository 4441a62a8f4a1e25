"""Reads the tensors of a safetensors file as a stream, straight into memory of the dtype and device where they stay.

The file is read with plain reads in pieces, not mapped: mapped pages count as memory of the process, and a float32 file
loaded as bfloat16 would then need three times the memory of its weights. Every length and offset in the header is
checked before it is used; nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import math
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors format
PIECE = 8 << 20  # bytes read at a time
SAMPLE, SAMPLES = 4096, 8  # bytes and number of the places of a tensor that its fingerprint covers


class CheckpointError(ValueError):
    """A checkpoint is incomplete or wrong; the message names file, key, what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file. dtype is the format's name ("F32"); offset and nbytes are counted in the file."""

    file: Path
    key: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    def load(self, device: torch.device | str, dtype: torch.dtype, buffer: Tensor | None = None) -> Tensor:
        """The tensor on `device` in `dtype`; needs no more memory than that and the buffer.

        buffer: from `read_buffer`, for those who load many tensors: buffers that come and go between the tensors that
        stay leave holes, which were measured to add two fifths to the memory of a process.
        Raises CheckpointError where the file ends early or the tensor holds NaN or infinity.
        """
        stored = DTYPES[self.dtype]
        buffer = (read_buffer() if buffer is None else buffer).view(stored)
        tensor = torch.empty(self.shape, dtype=dtype, device=device)
        in_place = tensor.device.type == "cpu" and dtype == stored
        with open(self.file, "rb", buffering=0) as file:
            file.seek(self.offset)
            for part in tensor.view(-1).split(len(buffer)):
                piece = part if in_place else buffer[: len(part)]
                self._read(file, piece.view(torch.uint8).numpy().data)
                # The sum is many times faster than a look at each value, and NaN and infinity never leave it finite.
                if not piece.sum(dtype=torch.float32).isfinite() and not piece.isfinite().all():
                    raise CheckpointError(f"{self.file}: {self.key} holds NaN or infinity, expected finite numbers")
                if not in_place:
                    part.copy_(piece)
        return tensor

    def sample(self) -> bytes:
        """Bytes from evenly spread places of the tensor, all of them where it is small."""
        if self.nbytes <= SAMPLE * SAMPLES:
            places = [(0, self.nbytes)]
        else:
            last = self.nbytes - SAMPLE
            places = [(last * i // (SAMPLES - 1), SAMPLE) for i in range(SAMPLES)]
        found = bytearray(sum(length for _, length in places))
        rest = memoryview(found)
        with open(self.file, "rb", buffering=0) as file:
            for start, length in places:
                file.seek(self.offset + start)
                self._read(file, rest[:length])
                rest = rest[length:]
        return bytes(found)

    def _read(self, file: FileIO, buffer: memoryview) -> None:
        while len(buffer):
            count = file.readinto(buffer)
            if not count:
                raise CheckpointError(
                    f"{self.file}: the file ends inside {self.key}, expected {len(buffer)} bytes more"
                )
            buffer = buffer[count:]


def read_buffer() -> Tensor:
    """Room for what is read at a time, (PIECE,) uint8."""
    return torch.empty(PIECE, dtype=torch.uint8)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by key, without reading their values.

    Raises CheckpointError where the file is missing, truncated, not in the safetensors format, or where its header
    describes other bytes than it has.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(9)
            length = int.from_bytes(head[:8], "little")
            if len(head) < 9 or head[8:] != b"{":
                raise CheckpointError(f"{path}: found {_kind(head, path)}, expected a safetensors file")
            if length > min(size - 8, MAX_HEADER):
                raise CheckpointError(f"{path}: the file has {size} bytes, expected a header of {length} bytes in it")
            text = b"{" + file.read(length - 1)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}, expected a safetensors file") from error
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {key: _stored(path, key, entry, 8 + length) for key, entry in header.items()}
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not that of a safetensors file: {error!r}") from error
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset != end:
            raise CheckpointError(f"{path}: {tensor.key} starts at byte {tensor.offset}, expected byte {end}")
        end += tensor.nbytes
    if size != end:
        raise CheckpointError(f"{path}: the file has {size} bytes, expected {end} by its header: is it truncated?")
    return tensors


def _stored(path: Path, key: str, entry: dict[str, Any], data: int) -> StoredTensor:
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, end)) or type(entry["dtype"]) is not str:
        raise CheckpointError(f"{path}: {key} is described as {entry}, expected a dtype, a shape and two offsets")
    if entry["dtype"] not in DTYPES:
        wanted = ", ".join(DTYPES)
        raise CheckpointError(f"{path}: {key} has dtype {entry['dtype']}, expected one of {wanted}")
    wanted = math.prod(shape) * DTYPES[entry["dtype"]].itemsize
    if end - start != wanted:
        raise CheckpointError(f"{path}: {key} of shape {shape} has {end - start} bytes, expected {wanted}")
    return StoredTensor(path, key, entry["dtype"], shape, data + start, wanted)


def _kind(head: bytes, path: Path) -> str:
    """What a file that is not safetensors seems to be, in words."""
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        return "a pickle or an archive of one, which is never read"
    if head.startswith(b"version "):
        return "a Git LFS pointer in place of the file (git lfs pull fetches it)"
    return "an empty file" if not head else f"a file that starts with the bytes {head!r}"
