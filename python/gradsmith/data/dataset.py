"""Datasets: anything with a length and items by index."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

from .sampler import whole_numbers

__all__ = [
    "BatchDataset",
    "ConcatDataset",
    "Dataset",
    "Subset",
    "TensorDataset",
    "gives_batches",
    "random_split",
]

Indices = np.ndarray[Any, np.dtype[np.int64]]


class Dataset:
    """Base class: `len(dataset)` samples, `dataset[i]` is one of them.

    A dataset that can fetch many samples faster than one by one also defines
    `take(indices)`, which returns a whole batch; `DataLoader` then skips collating.
    """

    def __len__(self) -> int:
        """Count the samples."""
        raise NotImplementedError(f"{type(self).__name__} does not define __len__()")

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__()")


@runtime_checkable
class BatchDataset(Protocol):
    """A dataset that fetches a whole batch at once."""

    def __len__(self) -> int:
        """Count the samples."""

    def take(self, indices: Indices) -> Any:
        """Return the samples at `indices` as one batch."""


def gives_batches(dataset: Any) -> TypeGuard[BatchDataset]:
    """Say whether `dataset.take` gives a batch (a Subset's depends on what it is a subset of).

    Arrays and data frames have a `take` too, but another one: only classes derived from `Dataset`
    or `BatchDataset` count.
    """
    if isinstance(dataset, Subset):
        return gives_batches(dataset.dataset)
    if isinstance(dataset, Dataset):
        return isinstance(dataset, BatchDataset)
    return BatchDataset in type(dataset).__mro__


class TensorDataset(Dataset):
    """Samples are the rows of one or several tensors of equal first size.

    Args:
        *tensors: tensors or NumPy arrays (shared, not copied).

    Raises:
        ValueError: there are none, one has no axes, or the first sizes differ.
    """

    def __init__(self, *tensors: Tensor | np.ndarray[Any, Any]) -> None:
        """Check the sizes."""
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor")
        self.tensors = tuple(
            t if isinstance(t, Tensor) else gs.from_numpy(np.asarray(t)) for t in tensors
        )
        shapes = [tuple(t.shape) for t in self.tensors]
        if not all(shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(f"TensorDataset: first sizes must be equal, got shapes {shapes}")

    def __len__(self) -> int:
        """Count the rows."""
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Return one row of each tensor (views)."""
        return tuple(t[index] for t in self.tensors)

    def take(self, indices: Indices) -> tuple[Tensor, ...]:
        """Return the rows at `indices` with one indexing operation per tensor."""
        rows = gs.from_numpy(np.ascontiguousarray(indices, dtype=np.int64))
        return tuple(t[rows] for t in self.tensors)


class Subset(Dataset):
    """Chosen samples of another dataset, in the order of `indices`.

    Raises:
        IndexError: an index is out of range.
        TypeError: indices are not integers.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | Indices) -> None:
        """Check the indices."""
        self.dataset = dataset
        self.indices = whole_numbers("Subset", "indices", indices)
        size = len(dataset)
        bad = self.indices[(self.indices < 0) | (self.indices >= size)]
        if bad.size:
            raise IndexError(f"Subset: index {bad[0]} out of range for {size} samples")

    def __len__(self) -> int:
        """Count the chosen samples."""
        return int(self.indices.size)

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""
        return self.dataset[int(self.indices[index])]

    def take(self, indices: Indices) -> Any:
        """Return several samples at once, where the underlying dataset can."""
        return self.dataset.take(self.indices[indices])


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        """Note where each one ends."""
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: needs at least one dataset")
        self._ends = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        """Count the samples of all."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"ConcatDataset: index {index} out of range for {size} samples")
        index %= size
        which = bisect.bisect_right(self._ends, index)
        return self.datasets[which][index - (self._ends[which - 1] if which else 0)]


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: int | None = None
) -> list[Subset]:
    """Split a dataset at random into parts that do not overlap.

    Args:
        dataset: what to split.
        lengths: sizes that sum to its length, or shares that sum to 1.
        generator: a seed; the global generator is used without one.

    Raises:
        ValueError: the lengths do not add up.
    """
    size = len(dataset)
    if all(isinstance(n, (int, np.integer)) for n in lengths):
        counts = [int(n) for n in lengths]
    else:
        if abs(sum(lengths) - 1) > 1e-6:
            raise ValueError(f"random_split: shares must sum to 1, got {sum(lengths)}")
        counts = [int(size * share) for share in lengths]
        for extra in range(size - sum(counts)):
            counts[extra % len(counts)] += 1
    if sum(counts) != size or min(counts, default=0) < 0:
        raise ValueError(f"random_split: lengths {counts} do not sum to the size, {size}")
    if generator is None:
        order = gs.randperm(size).numpy()
    else:
        order = np.random.default_rng(generator).permutation(size)
    ends = [0, *itertools.accumulate(counts)]
    return [Subset(dataset, order[a:b]) for a, b in itertools.pairwise(ends)]
