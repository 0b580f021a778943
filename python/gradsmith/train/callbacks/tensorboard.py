"""TensorBoard: the history as an event file, written without TensorBoard or TensorFlow."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .base import Callback, Logs

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["TensorBoard", "crc32c", "encode_event"]


def _crc_table() -> list[int]:
    """Return the remainders of all bytes by Castagnoli's polynomial, bits reversed."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """Return the checksum that records are guarded with (RFC 3720)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, data: bytes) -> bytes:
    """Return a protobuf field that holds text or a message."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def encode_event(
    wall_time: float,
    step: int = 0,
    scalars: Iterable[tuple[str, float]] = (),
    file_version: str | None = None,
) -> bytes:
    """Return TensorBoard's Event message, which protobuf would encode to the same bytes."""
    event = b"\x09" + struct.pack("<d", wall_time)
    if step:
        event += b"\x10" + _varint(step)
    if file_version is not None:
        event += _field(3, file_version.encode())
    values = b"".join(
        _field(1, _field(1, tag.encode()) + b"\x15" + _float32(value)) for tag, value in scalars
    )
    return event + _field(5, values) if values else event


def _float32(value: float) -> bytes:
    """Return the four bytes of a number; of an infinity, where it is too large for them."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.inf if value > 0 else -math.inf)


def _record(data: bytes) -> bytes:
    """Return a record: its length and its content, each with a masked checksum."""

    def guard(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + guard(length) + data + guard(data)


class TensorBoard(Callback):
    """Writes every epoch's row for `tensorboard --logdir`; the viewer is not needed to write.

    Values of training and validation stand under one name ("loss/train", "loss/val") and so share
    a chart. A resumed run writes a file of its own, which the viewer joins.

    Args:
        folder: where the files go; one folder for each run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Store the folder."""
        self.folder = Path(folder)
        self._stream: BinaryIO | None = None

    def on_fit_start(self, trainer: Loop) -> None:
        """Open a new file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
        path, number = self.folder / f"{name}.0", 0
        while path.exists():
            number += 1
            path = self.folder / f"{name}.{number}"
        self._stream = path.open("wb")
        self._stream.write(_record(encode_event(now, file_version="brain.Event:2")))

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Write and flush one row."""
        assert self._stream is not None
        scalars = [(_tag(name, logs), value) for name, value in logs.items() if name != "epoch"]
        self._stream.write(_record(encode_event(time.time(), trainer.epoch, scalars)))
        self._stream.flush()

    def on_fit_end(self, trainer: Loop) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _tag(name: str, logs: Logs) -> str:
    if name.startswith("val_"):
        return f"{name.removeprefix('val_')}/val"
    return f"{name}/train" if f"val_{name}" in logs else name
