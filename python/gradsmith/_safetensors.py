"""Reader and writer of the safetensors format, on NumPy arrays.

Layout: 8 bytes little-endian header length, a JSON header (name to dtype, shape and the byte range
in the data), then the data without gaps. A file is not trusted: everything is checked against
the file's length before memory is allocated, and nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import struct
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

__all__ = ["BF16", "Stored", "read_file", "write_atomically", "write_file"]

BF16 = "BF16"
METADATA = "__metadata__"
_MAX_HEADER_BYTES = 100_000_000
_MAX_RANK = 32
# bfloat16 has no NumPy dtype: its bits travel as uint16.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    BF16: np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items() if code != BF16}


class Stored(NamedTuple):
    """An array with the dtype code it has in the file."""

    code: str
    array: np.ndarray[Any, Any]

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> Stored:
        """Find the code of an array's dtype; TypeError if the format has none."""
        little = array.dtype.newbyteorder("<")
        if little not in _CODES:
            raise TypeError(f"save: dtype {array.dtype} cannot be stored; allowed: {_names()}")
        return cls(_CODES[little], array)


def _names() -> str:
    return ", ".join(str(dtype.newbyteorder("=")) for dtype in _CODES)


def write_file(
    path: str | os.PathLike[str], tensors: Mapping[str, Stored], metadata: Mapping[str, str]
) -> None:
    """Write atomically: the file at `path` is the old one or the whole new one, never a part."""
    # Wide elements first, so that every tensor is aligned to its element size.
    order = sorted(tensors, key=lambda name: (-_DTYPES[tensors[name].code].itemsize, name))
    for name in order:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"save: the name {name!r} cannot be written: {error}") from None
    entries: dict[str, Any] = {}
    arrays, at = [], 0
    for name in order:
        code, array = tensors[name]
        array = np.ascontiguousarray(array, dtype=_DTYPES[code]).reshape(array.shape)
        entries[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
        arrays.append(array)
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    header.update((name, entries[name]) for name in tensors)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER_BYTES:
        raise ValueError(f"save: the header takes {len(text):,} bytes, more than the format allows")
    views = (array.reshape(-1).view(np.uint8).data for array in arrays if array.size)
    write_atomically(path, [struct.pack("<Q", len(text)), text, *views])


def write_atomically(
    path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview[int]]
) -> None:
    """Write beside `path`, flush to disk, rename over it; a failure leaves `path` as it was."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "save: path is a folder", os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "save: there is no such folder", str(target.parent))
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(beside, _mode(target))
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    with contextlib.suppress(OSError):  # not every system can flush a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _mode(target: Path) -> int:
    """Return the permissions of the file that is replaced, or those of any new file."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return the tensors and the metadata of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, inconsistent, or uses a dtype that is not known.
    """
    with open(path, "rb") as stream:
        info = os.fstat(stream.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise ValueError(f"load: {path} is not a regular file")
        try:
            return _read(stream, info.st_size)
        except ValueError as error:
            raise ValueError(f"load: {path} is no valid safetensors file: {error}") from None


def _read(stream: BinaryIO, file_bytes: int) -> tuple[dict[str, Stored], dict[str, str]]:
    prefix = stream.read(8)
    if len(prefix) < 8:
        raise ValueError(f"it has {file_bytes} bytes, fewer than 8")
    (header_bytes,) = struct.unpack("<Q", prefix)
    data_bytes = file_bytes - 8 - header_bytes
    if data_bytes < 0 or header_bytes > _MAX_HEADER_BYTES:
        raise ValueError(
            f"its header claims {header_bytes:,} bytes; the file has {file_bytes:,} "
            f"and the format allows {_MAX_HEADER_BYTES:,}"
        )
    header = _parse(stream.read(header_bytes))
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{METADATA} must map strings to strings")

    entries = sorted((_entry(name, value) for name, value in header.items()), key=lambda e: e.range)
    at = 0
    for entry in entries:
        begin, end = entry.range
        if begin != at:
            kind = "overlaps its neighbour" if begin < at else "leaves a gap before it"
            raise ValueError(f"tensor {entry.name!r} at bytes {begin} to {end} {kind}")
        at = end
    if at != data_bytes:
        raise ValueError(f"its tensors take {at:,} bytes, the file holds {data_bytes:,}")

    tensors = {}
    for entry in entries:
        begin, end = entry.range
        data = np.empty(end - begin, dtype=np.uint8)
        if stream.readinto(data) != data.size:  # type: ignore[attr-defined]
            raise ValueError(f"it ends inside tensor {entry.name!r}")
        if entry.code == "BOOL" and (data > 1).any():
            raise ValueError(f"tensor {entry.name!r} is BOOL but holds values other than 0 and 1")
        dtype = _DTYPES[entry.code]
        array = data.view(dtype).reshape(entry.shape)
        tensors[entry.name] = Stored(entry.code, array.astype(dtype.newbyteorder("="), copy=False))
    return {name: tensors[name] for name in header}, metadata


class _Entry(NamedTuple):
    name: str
    code: str
    shape: tuple[int, ...]
    range: tuple[int, int]


def _parse(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("its header names something twice")
        return result

    if not text.startswith(b"{"):
        raise ValueError("its header does not start with '{'")
    try:
        header = json.loads(text.decode(), object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _entry(name: str, value: Any) -> _Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs exactly dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ValueError(f"tensor {name!r} has dtype {code!r}; known are {', '.join(_DTYPES)}")
    if not _counts(shape) or len(shape) > _MAX_RANK or any(n >= 1 << 62 for n in shape):
        raise ValueError(f"tensor {name!r} has shape {shape!r}")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"tensor {name!r} has data_offsets {offsets!r}")
    size = math.prod(shape) * _DTYPES[code].itemsize
    if offsets[1] - offsets[0] != size:
        raise ValueError(
            f"tensor {name!r}, {code} of shape {shape}, takes {size:,} bytes; "
            f"data_offsets {offsets} give it {offsets[1] - offsets[0]:,}"
        )
    return _Entry(name, code, tuple(shape), (offsets[0], offsets[1]))
