"""Time series as windows: the last values in, the next ones out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

from .dataset import Dataset

__all__ = ["WindowDataset", "time_split"]

Array = np.ndarray[Any, Any]


def time_split(count: int, shares: Sequence[float] = (0.7, 0.15, 0.15)) -> list[slice]:
    """Cut a series into parts that follow each other, training first.

    Args:
        count: values in the series.
        shares: of the parts; they sum to 1.

    Raises:
        ValueError: the shares do not sum to 1.
    """
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"time_split: shares must sum to 1, none negative; got {list(shares)}")
    ends = [0, *(round(float(end) * count) for end in np.cumsum(shares))]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


class WindowDataset(Dataset):
    """Windows over a series, each with the values that follow it.

    Only targets decide which part of a series a window belongs to: `part` holds those whose whole
    target lies in it, and inputs may reach back before it, as they would when forecasting. So no
    value is the target of two parts, and none of a later part is seen in an earlier one.

    Args:
        series: (T) or (T, features), float32 afterwards.
        length: values in a window.
        horizon: values to predict.
        stride: from one window to the next.
        gap: values between a window and its target.
        targets: the columns to predict; all unless given. One number gives a target without a
            column axis.
        part: a slice of the series, of `time_split`, that targets lie in; all of it unless given.

    Samples are (window (length, features), target (horizon, columns)), both float32; of a series
    without a column axis the target is (horizon), while windows keep one feature.

    Raises:
        ValueError: a size is out of range, or there is no room for one window.
        IndexError: a target column does not exist.
    """

    def __init__(
        self,
        series: Any,
        length: int,
        horizon: int = 1,
        stride: int = 1,
        gap: int = 0,
        targets: int | Sequence[int] | None = None,
        part: slice | None = None,
    ) -> None:
        """Find where the windows begin."""
        given = series.detach().numpy() if isinstance(series, Tensor) else series
        values = np.asarray(given, dtype=np.float32)
        if values.ndim not in (1, 2):
            raise ValueError(
                f"WindowDataset: series must be (T) or (T, features), got {values.shape}"
            )
        for name, size, least in (
            ("length", length, 1), ("horizon", horizon, 1), ("stride", stride, 1), ("gap", gap, 0),
        ):  # fmt: skip
            if isinstance(size, bool) or not isinstance(size, int) or size < least:
                raise ValueError(
                    f"WindowDataset: {name} must be an int of at least {least}, got {size!r}"
                )
        self.inputs = values[:, None] if values.ndim == 1 else values
        self.outputs = values
        if targets is not None:
            columns = [targets] if isinstance(targets, int) else list(targets)
            for column in columns:
                if not -self.inputs.shape[1] <= column < self.inputs.shape[1]:
                    raise IndexError(
                        f"WindowDataset: target column {column} does not exist; there are "
                        f"{self.inputs.shape[1]}"
                    )
            self.outputs = self.inputs[:, targets if isinstance(targets, int) else columns]
        first, end, step = (part or slice(None)).indices(len(values))
        if step != 1:
            raise ValueError(f"WindowDataset: part must be a run of values, got {part}")
        # Where targets begin: in the part, and with a whole window before them.
        start = max(first, length + gap)
        self.starts = np.arange(start, end - horizon + 1, stride)
        if not self.starts.size:
            raise ValueError(
                f"WindowDataset: no window of {length} values, gap {gap} and horizon {horizon} "
                f"fits targets in {first} to {end}"
            )
        self._window = np.arange(-length - gap, -gap)
        self._horizon = np.arange(horizon)

    def __len__(self) -> int:
        """Count the windows."""
        return int(self.starts.size)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one window and its target."""
        windows, targets = self.take(np.asarray([range(len(self))[index]]))
        return windows[0], targets[0]

    def take(self, indices: Array) -> tuple[Tensor, Tensor]:
        """Return several windows and their targets."""
        at = self.starts[indices][:, None]
        windows, targets = self.inputs[at + self._window], self.outputs[at + self._horizon]
        return gs.from_numpy(windows), gs.from_numpy(targets)
