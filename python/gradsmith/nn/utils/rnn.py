"""Batches of sequences of different lengths: padded, packed, and from one to the other.

A padded batch is one tensor (T, N, ...), or (N, T, ...), in which shorter sequences end in padding.
A packed one holds the steps that exist, step by step: all first ones, then the second ones of the
sequences that have a second, and so on, with the sequences in order of falling length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith._interop import on_device

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

Lengths = np.ndarray[Any, np.dtype[np.int64]]


class PackedSequence(NamedTuple):
    """Sequences of different lengths without padding; made by the functions of this module.

    Attributes:
        data: the steps that exist, (sum of the lengths, ...), in time order.
        batch_sizes: how many sequences have step t, int64 (T).
        sorted_indices: which sequence of the given batch each of the sorted ones is; None where
            the batch was sorted.
        unsorted_indices: the inverse.

    All are on the device of the data but batch_sizes, which stay on the CPU.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return it with its data converted as by `Tensor.to`, the indices on the same device."""
        data = self.data.to(*args, **kwargs)
        indices = (None if i is None else i.to(data.device) for i in self[2:])
        return PackedSequence(data, self.batch_sizes, *indices)


def _as_lengths(function: str, lengths: Any, batch: int, steps: int) -> Lengths:
    values = lengths.cpu().numpy() if isinstance(lengths, Tensor) else np.asarray(lengths)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{function}: lengths must be integers, got {values.dtype}")
    if values.shape != (batch,):
        raise ValueError(f"{function}: lengths must have shape ({batch},), got {values.shape}")
    if batch == 0:
        raise ValueError(f"{function}: the batch is empty")
    if values.min() < 1 or values.max() > steps:
        raise ValueError(
            f"{function}: lengths must be in [1, {steps}], got {values.min()} to {values.max()}"
        )
    return values.astype(np.int64)


def _sizes(lengths: Lengths) -> Lengths:
    """Count the sequences that have step t."""
    return (lengths[None, :] > np.arange(lengths.max())[:, None]).sum(1)


def _rows(sizes: Lengths, device: Any) -> Tensor:
    """Return where each packed step lies in a padded batch seen as rows, step by step."""
    exists = np.arange(sizes[0])[None, :] < sizes[:, None]
    return on_device(np.flatnonzero(exists), device)


def _steps_first(input: Tensor, batch_first: bool) -> Tensor:
    return input.transpose(0, 1) if batch_first else input


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: (T, N, ...), or (N, T, ...) with `batch_first`.
        lengths: of the N sequences, each in [1, T]; a list, array or tensor of integers.
        batch_first: see `input`.
        enforce_sorted: the sequences are in order of falling length; False sorts them, and layers
            put their states back into the given order.

    Raises:
        ValueError: for lengths that do not fit, or do not fall where they must.
        TypeError: for lengths that are no integers.
    """
    if len(input.shape) < 2:
        raise ValueError(
            f"pack_padded_sequence: input must have 2 axes or more, got shape {tuple(input.shape)}"
        )
    padded = _steps_first(input, batch_first)
    steps, batch = padded.shape[:2]
    counts = _as_lengths("pack_padded_sequence", lengths, batch, steps)
    indices: tuple[Tensor | None, Tensor | None] = (None, None)
    if enforce_sorted:
        if (np.diff(counts) > 0).any():
            raise ValueError(
                "pack_padded_sequence: lengths must fall; enforce_sorted=False sorts them"
            )
    else:
        order = np.argsort(-counts, kind="stable")
        counts = counts[order]
        device = input.device
        indices = on_device(order, device), on_device(np.argsort(order), device)
        padded = padded.index_select(1, indices[0])
    sizes = _sizes(counts)
    flat = padded[: len(sizes)].reshape(len(sizes) * batch, *padded.shape[2:])
    data = flat.index_select(0, _rows(sizes, input.device))
    return PackedSequence(data, gs.from_numpy(sizes), *indices)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the padded batch, in the order it had before it was packed, and the lengths (int64).

    Args:
        sequence: the packed batch.
        batch_first: return (N, T, ...) instead of (T, N, ...).
        padding_value: what the steps past the end are filled with.
        total_length: pad to so many steps instead of the longest sequence's.

    Raises:
        ValueError: where total_length is too short.
    """
    sizes = sequence.batch_sizes.numpy()
    steps, batch = len(sizes), int(sizes[0])
    lengths = gs.from_numpy((sizes[:, None] > np.arange(batch)[None, :]).sum(0))
    data = sequence.data
    shape = tuple(data.shape[1:])
    zeros = gs.zeros((steps * batch, *shape), dtype=data.dtype, device=data.device)
    padded = zeros.index_add(0, _rows(sizes, data.device), data).reshape(steps, batch, *shape)
    if total_length is not None and total_length < steps:
        raise ValueError(
            f"pad_packed_sequence: total_length must be at least the longest sequence's {steps}, "
            f"got {total_length}"
        )
    longer = (total_length or steps) - steps
    if longer:
        more = gs.zeros((longer, *padded.shape[1:]), dtype=padded.dtype, device=padded.device)
        padded = gs.cat([padded, more], 0)
    if padding_value != 0:
        exists = np.arange(steps + longer)[:, None] < lengths.numpy()[None, :]
        shape = (steps + longer, batch, *(1,) * (len(padded.shape) - 2))
        padded = gs.where(on_device(exists, data.device).reshape(shape), padded, padding_value)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices.cpu())
    return _steps_first(padded, batch_first), lengths


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Join sequences (L_i, ...) to one padded batch (T, N, ...), or (N, T, ...).

    Args:
        sequences: tensors that differ in their first axis alone.
        batch_first: return (N, T, ...).
        padding_value: what fills the steps that a sequence does not have.
        padding_side: "right" or "left".

    Raises:
        ValueError: for no sequences, or a side that is neither.
    """
    if not sequences:
        raise ValueError("pad_sequence: there are no sequences")
    if padding_side not in ("right", "left"):
        raise ValueError(
            f"pad_sequence: padding_side must be 'right' or 'left', got {padding_side!r}"
        )
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        missing = longest - s.shape[0]
        fill = gs.full((missing, *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
        padded.append(gs.cat([s, fill] if padding_side == "right" else [fill, s], 0))
    return gs.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """Return the sequences of a padded batch, each of its own length."""
    padded = _steps_first(padded_sequences, batch_first)
    steps, batch = padded.shape[:2]
    counts = _as_lengths("unpad_sequence", lengths, batch, steps)
    return [padded[: int(n), i] for i, n in enumerate(counts)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, ...); see `pack_padded_sequence`."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences of a packed batch, in the order they had before."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))
