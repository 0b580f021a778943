"""Arrays from nested sequences, for the extension, and tensors from arrays on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._core import Tensor


def _plain(value: Any) -> Any:
    """Replace tensors inside nested sequences by NumPy arrays."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(v) for v in value]
    return value.detach().numpy() if hasattr(value, "detach") else value


def numbers_array(where: str, data: Any) -> np.ndarray[Any, Any]:
    """Return an array of numbers in nested sequences.

    Raises:
        ValueError: they are integers, and one is beyond int64, where NumPy would go on with floats,
            uint64 or objects.
    """
    array = np.asarray(data)
    kind, first = array.dtype.kind, data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if array.dtype == np.uint64 or (kind in "fO" and isinstance(first, (int, np.integer))):
        numbers = np.asarray(data, dtype=object).ravel().tolist()
        if all(isinstance(number, int | np.integer) for number in numbers):
            least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
            for number in numbers:
                if not least <= number <= most:
                    raise ValueError(
                        f"{where}: {number} does not fit into int64 ({least} to {most})"
                    )
    return array


def array_from_sequence(data: Any) -> np.ndarray[Any, Any]:
    """Return a C-contiguous array of a supported dtype from nested sequences of numbers."""
    array = numbers_array("tensor: argument 'data'", _plain(data))
    if array.dtype.kind in "iu" and array.dtype not in (np.int64, np.int32, np.uint8):
        array = array.astype(np.int64)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"tensor: argument 'data' must hold numbers, got elements of dtype {array.dtype}"
        )
    return np.ascontiguousarray(array).reshape(array.shape)


def on_device(array: np.ndarray[Any, Any], device: Any) -> Tensor:
    """Return an array as a tensor on `device`, of the same dtype; the memory may be shared."""
    return _core.from_numpy(np.ascontiguousarray(array)).to(device)
