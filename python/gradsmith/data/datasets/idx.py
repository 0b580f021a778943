"""Reader of IDX files, the format of MNIST; gzip is recognised by its first bytes.

A file is not trusted: sizes are checked against the length of the file before memory is
allocated, and nothing is returned from a file that is short, long or corrupt.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 8
_DEFLATE_RATIO = 1032  # no deflate stream expands further
_CHUNK_BYTES = 1 << 20


def read_idx(path: str | os.PathLike[str], max_bytes: int = 1 << 30) -> np.ndarray[Any, Any]:
    """Read one array from an IDX file.

    Args:
        path: the file, plain or gzip.
        max_bytes: refuse larger arrays.

    Returns:
        The array, in native byte order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a whole IDX file, or its array exceeds `max_bytes`.
    """
    path = Path(path)
    stored = path.stat().st_size
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            return _read(raw, path, stored, max_bytes, exact=True)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, stored * _DEFLATE_RATIO, max_bytes, exact=False)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"read_idx: {path} is not a whole gzip file: {error}") from None


def _read(
    stream: BinaryIO, path: Path, most: int, max_bytes: int, exact: bool
) -> np.ndarray[Any, Any]:
    """Read header and data; `most` bounds what the stream can hold (`exact`: is its length)."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise ValueError(f"read_idx: {path} is no IDX file: it starts with {magic.hex() or '...'}")
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    if not 1 <= rank <= _MAX_RANK:
        raise ValueError(f"read_idx: {path} has {rank} axes; allowed are 1 to {_MAX_RANK}")
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"read_idx: {path} ends inside its header")
    shape = struct.unpack(f">{rank}I", sizes)
    data_bytes = math.prod(shape) * dtype.itemsize
    header_bytes = 4 + 4 * rank
    if data_bytes > max_bytes or max(shape) > max_bytes:  # an axis of 0 hides how long others are
        raise ValueError(
            f"read_idx: {path} says shape {shape}, {data_bytes:,} bytes; max_bytes is {max_bytes:,}"
        )
    total = header_bytes + data_bytes
    if total > most or (exact and total != most):
        raise ValueError(
            f"read_idx: {path} says shape {shape}, which takes {total:,} bytes; "
            f"the file holds {'' if exact else 'at most '}{most:,}"
        )
    data = bytearray(data_bytes)
    view, at = memoryview(data), 0
    while at < data_bytes:
        piece = stream.read(min(_CHUNK_BYTES, data_bytes - at))
        if not piece:
            raise ValueError(f"read_idx: {path} ends after {at:,} of {data_bytes:,} data bytes")
        view[at : at + len(piece)] = piece
        at += len(piece)
    if stream.read(1):
        raise ValueError(
            f"read_idx: {path} goes on after the {data_bytes:,} data bytes it announced"
        )
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
