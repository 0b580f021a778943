"""Products in bfloat16 with everything else in float32."""

from __future__ import annotations

from typing import Any

from . import _core
from .autograd import _Switch

__all__ = ["autocast", "is_autocast_enabled"]


class autocast(_Switch):
    """Round the factors of float32 matrix products to bfloat16 inside; sums stay float32.

    `matmul` (`@`, `bmm`, `dot`) and `linear` round their factors to nearest even, and so do their
    gradients, also where `backward` runs outside. Results are float32: unlike in torch no tensor
    changes its dtype, so parameters are their own master weights and no loss needs scaling.
    Convolutions, other ops and other dtypes are not affected.

    On the CPU the recurrent layers and cells round as well, and rounding is part of packing. On
    CPUs with AVX512_BF16 a large product takes up to half the time; on others the same numbers are
    computed in float32, at float32's speed where they are large. Small products and single rows
    are slower than float32's, for they are always packed. On CUDA the factors are cast first, and
    tensor cores multiply them; whole recurrent layers stay float32 there.

    As a context manager or a decorator, for the current thread and one type of device.

    Args:
        device_type: "cpu" or "cuda".
        dtype: gs.bfloat16.
        enabled: False switches it off inside.

    Raises:
        ValueError: another device_type or dtype.
        TypeError: `enabled` is not a bool.

    Example:
        >>> with gs.autocast("cpu", dtype=gs.bfloat16):
        ...     loss = criterion(model(x), y)
        >>> loss.backward()
    """

    def __init__(
        self, device_type: str = "cpu", dtype: Any = _core.bfloat16, enabled: bool = True
    ) -> None:
        super().__init__()
        if device_type not in ("cpu", "cuda"):
            raise ValueError(
                f"autocast: argument 'device_type' is {device_type!r}, allowed are 'cpu' and 'cuda'"
            )
        if dtype != _core.bfloat16:
            raise ValueError(f"autocast: argument 'dtype' is {dtype}, allowed is gs.bfloat16")
        if not isinstance(enabled, bool):
            raise TypeError(
                f"autocast: argument 'enabled' must be a bool, got {type(enabled).__name__}"
            )
        self._mode = enabled
        self._cuda = device_type == "cuda"

    def _get(self) -> bool:
        return _core.is_autocast_enabled(self._cuda)

    def _set(self, mode: bool) -> None:
        _core.set_autocast_enabled(mode, self._cuda)


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Return whether `autocast` is on in this thread for a type of device."""
    return device_type in ("cpu", "cuda") and _core.is_autocast_enabled(device_type == "cuda")
