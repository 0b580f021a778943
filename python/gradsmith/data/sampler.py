"""Samplers: the order in which a DataLoader visits a dataset.

A sampler's order is a function of its seed and an epoch number alone, so that it can be repeated
and resumed; `set_epoch` chooses the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._checks import integer

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "check_seed",
    "draw_seed",
    "whole_numbers",
]


def whole_numbers(owner: str, argument: str, values: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return them as int64; truth values and fractions are refused rather than cut."""
    array = np.asarray(values).reshape(-1)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{owner}: argument {argument!r} must be integers, got {array.dtype}")
    return array.astype(np.int64)


def draw_seed() -> int:
    """Draw a seed from the global generator, so that `manual_seed` decides it."""
    return int(gs.randint(0, 2**62, (1,)).item())


def check_seed(owner: str, generator: Any) -> None:
    """Raise unless it is a seed, a NumPy generator or None."""
    if generator is None or isinstance(generator, np.random.Generator):
        return
    if isinstance(generator, bool) or not isinstance(generator, int | np.integer) or generator < 0:
        raise ValueError(
            f"{owner}: generator must be a seed (an int of at least 0) or a NumPy generator, "
            f"got {generator!r}"
        )


class Sampler:
    """Base class: iterates over indices; `len()` says how many."""

    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Iterate over the indices."""
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")

    def __len__(self) -> int:
        """Count the indices."""
        raise NotImplementedError(f"{type(self).__name__} does not define __len__()")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Sized) -> None:
        """Store the dataset."""
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        """Iterate in order."""
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.data_source)


class _Seeded(Sampler):
    """A random sampler: `seed` is drawn from the global generator when first needed."""

    def __init__(self, generator: int | np.random.Generator | None) -> None:
        """Take a seed, or draw one from a NumPy generator."""
        check_seed(type(self).__name__, generator)
        if isinstance(generator, np.random.Generator):
            generator = int(generator.integers(2**62))
        self.seed = generator

    def _rng(self) -> np.random.Generator:
        if self.seed is None:
            self.seed = draw_seed()
        return np.random.default_rng([self.seed, self.epoch])


class RandomSampler(_Seeded):
    """A random permutation, or draws with replacement.

    Args:
        data_source: the dataset.
        replacement: draw independently.
        num_samples: how many; the dataset's size unless given.
        generator: a seed or a NumPy generator; otherwise the global generator decides.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: int | np.random.Generator | None = None,
    ) -> None:
        """Check and store the settings."""
        super().__init__(generator)
        own = "RandomSampler"
        if num_samples is not None and integer(own, "num_samples", num_samples) <= 0:
            raise ValueError(f"{own}: num_samples must be positive, got {num_samples}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples

    def __iter__(self) -> Iterator[int]:
        """Iterate in this epoch's order."""
        rng, size, wanted = self._rng(), len(self.data_source), len(self)
        if not size:
            return iter(())
        if self.replacement:
            return iter(rng.integers(size, size=wanted).tolist())
        rounds = [rng.permutation(size) for _ in range(math.ceil(wanted / size))]
        return iter(np.concatenate(rounds)[:wanted].tolist())

    def __len__(self) -> int:
        """Count the draws."""
        return len(self.data_source) if self._num_samples is None else self._num_samples


class SubsetRandomSampler(_Seeded):
    """A random permutation of given indices."""

    def __init__(
        self, indices: Sequence[int], generator: int | np.random.Generator | None = None
    ) -> None:
        """Store the indices."""
        super().__init__(generator)
        self.indices = whole_numbers("SubsetRandomSampler", "indices", indices)

    def __iter__(self) -> Iterator[int]:
        """Iterate in this epoch's order."""
        return iter(self._rng().permutation(self.indices).tolist())

    def __len__(self) -> int:
        """Count the indices."""
        return int(self.indices.size)


class WeightedRandomSampler(_Seeded):
    """Draws with probability proportional to a weight per sample.

    Args:
        weights: one non-negative number per sample.
        num_samples: how many to draw.
        replacement: draw independently.
        generator: a seed or a NumPy generator; otherwise the global generator decides.
    """

    def __init__(
        self,
        weights: Sequence[float] | np.ndarray[Any, Any],
        num_samples: int,
        replacement: bool = True,
        generator: int | np.random.Generator | None = None,
    ) -> None:
        """Check and store the weights."""
        super().__init__(generator)
        array = np.asarray(weights, dtype=np.float64)
        if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or not array.sum():
            raise ValueError(
                "WeightedRandomSampler: weights must be one axis of finite numbers, none negative, "
                "not all zero"
            )
        drawable = int(np.count_nonzero(array))
        drawn = integer("WeightedRandomSampler", "num_samples", num_samples)
        if drawn <= 0 or (not replacement and drawn > drawable):
            raise ValueError(
                f"WeightedRandomSampler: cannot draw {num_samples} of {drawable} samples "
                f"with replacement={replacement}"
            )
        self.weights = array / array.sum()
        self.num_samples = num_samples
        self.replacement = replacement

    def __iter__(self) -> Iterator[int]:
        """Iterate over this epoch's draws."""
        rng = self._rng()
        draws = rng.choice(
            self.weights.size, size=self.num_samples, replace=self.replacement, p=self.weights
        )
        return iter(draws.tolist())

    def __len__(self) -> int:
        """Count the draws."""
        return self.num_samples


class BatchSampler:
    """Groups a sampler's indices into lists.

    Args:
        sampler: gives the indices.
        batch_size: indices per list.
        drop_last: leave out a last list that is not full.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        """Check and store the settings."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"BatchSampler: batch_size must be a positive int, got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the sampler."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the lists."""
        # The order is drawn here and not at the first list: it is this epoch's, whatever comes.
        return self._lists(iter(self.sampler))

    def _lists(self, indices: Iterator[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in indices:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        """Count the lists."""
        count = len(self.sampler)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
