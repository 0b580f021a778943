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


def array_from_sequence(data: Any) -> np.ndarray[Any, Any]:
    """Return a C-contiguous array of a supported dtype from nested sequences of numbers."""
    array = np.asarray(_plain(data))
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
