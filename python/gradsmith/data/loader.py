"""DataLoader: batches in a repeatable order, prepared ahead by threads."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._checks import integer
from gradsmith._core import Tensor
from gradsmith._interop import numbers_array

from .dataset import gives_batches
from .sampler import BatchSampler, RandomSampler, SequentialSampler, check_seed, draw_seed

__all__ = ["DataLoader", "default_collate"]

Transform = Callable[[Any, np.random.Generator], Any]


# What a tensor can hold; other integers become int64.
_NUMBERS = {"bool", "uint8", "int32", "int64", "float16", "float32", "float64"}


def _widened(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if numbers.dtype.name in _NUMBERS or numbers.dtype.kind not in "iuf":
        return numbers  # from_numpy names what it cannot take
    if numbers.dtype.kind == "u" and numbers.size and numbers.max() > np.iinfo(np.int64).max:
        raise ValueError(f"default_collate: {numbers.max()} does not fit into int64")
    return numbers.astype(np.float64 if numbers.dtype.kind == "f" else np.int64)


def default_collate(batch: list[Any]) -> Any:
    """Join samples into one batch: tensors and arrays are stacked, numbers become a tensor.

    Tuples, lists and dicts are joined item by item; strings stay a list.

    Raises:
        TypeError: a sample is of another type.
        ValueError: there are no samples, or they differ in structure or shape.
    """
    if not batch:
        raise ValueError("default_collate: batch is empty, there are no samples to join")
    first = batch[0]
    if isinstance(first, Tensor):
        return gs.stack(batch)
    if isinstance(first, np.ndarray):
        return gs.from_numpy(_widened(np.stack(batch)))
    if isinstance(first, (bool, int, float, np.generic)) and not isinstance(first, np.flexible):
        numbers = numbers_array("default_collate", batch)
        if numbers.ndim != 1 or numbers.dtype.kind not in "biuf":
            kinds = ", ".join(sorted({type(item).__name__ for item in batch}))
            raise TypeError(f"default_collate: cannot join numbers with {kinds}")
        return gs.from_numpy(_widened(numbers))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        for item in batch:
            if not isinstance(item, Mapping) or item.keys() != first.keys():
                given = list(item) if isinstance(item, Mapping) else type(item).__name__
                raise ValueError(
                    f"default_collate: samples of one batch differ: {list(first)} and {given}"
                )
        return {name: default_collate([item[name] for item in batch]) for name in first}
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in batch):
            raise ValueError("default_collate: samples of one batch differ in length")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*columns)
        return tuple(columns) if isinstance(first, tuple) else columns
    raise TypeError(
        "default_collate: samples must be tensors, arrays, numbers, strings, tuples, lists or "
        f"dicts, got {type(first).__name__}; pass collate_fn"
    )


class DataLoader:
    """Iterates over a dataset in batches.

    The order, and every random number of `transform`, follow from `generator` and the number of
    the epoch alone, so they are the same for any number of workers and can be resumed.

    Args:
        dataset: has `len()` and items by index; of a `Dataset` with a `take` method (TensorDataset)
            a batch is fetched by one indexing operation.
        batch_size: samples per batch.
        shuffle: visit in a new random order each epoch.
        sampler: gives the indices instead; excludes `shuffle`.
        batch_sampler: gives lists of indices instead; excludes the three above and `drop_last`.
        num_workers: threads that prepare batches ahead; 0 prepares them in the caller.
        collate_fn: joins a list of samples; `default_collate` unless given.
        drop_last: leave out a last batch that is not full.
        prefetch_factor: batches prepared ahead per worker.
        generator: seed of the order; otherwise the global generator decides.
        transform: `transform(batch, rng)` changes a batch, with its own `numpy.random.Generator`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        drop_last: bool = False,
        prefetch_factor: int = 2,
        generator: int | np.random.Generator | None = None,
        transform: Transform | None = None,
    ) -> None:
        """Check the settings."""
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must be 0 or more, got {num_workers!r}")
        if integer("DataLoader", "prefetch_factor", prefetch_factor) < 1:
            raise ValueError(f"DataLoader: prefetch_factor must be positive, got {prefetch_factor}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
            )
        needed = [] if gives_batches(dataset) else ["__getitem__"]
        if sampler is None and batch_sampler is None:
            needed.append("__len__")
        if not all(hasattr(dataset, name) for name in needed):
            raise TypeError(
                "DataLoader: dataset must have len() and items by index, "
                f"got {type(dataset).__name__}; a list() of it has both"
            )
        check_seed("DataLoader", generator)
        if isinstance(generator, np.random.Generator):
            generator = int(generator.integers(2**62))
        if batch_sampler is None:
            if sampler is None and shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            elif sampler is None:
                sampler = SequentialSampler(dataset)
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.prefetch_factor = prefetch_factor
        self.transform = transform
        self.seed = generator
        self.epoch = 0
        self._by_batch = collate_fn is None and gives_batches(dataset)

    @property
    def batch_size(self) -> int | None:
        """Samples per batch, where the batch sampler says."""
        return getattr(self.batch_sampler, "batch_size", None)

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives; each iteration then moves on by one."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the coming epochs: the seeds and the number of the next epoch."""
        self._settle_seed()
        sampler = getattr(self.batch_sampler, "sampler", self.batch_sampler)
        return {
            "seed": self.seed,
            "sampler_seed": getattr(sampler, "seed", None),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: a part of it is missing.
        """
        if lacking := sorted({"seed", "sampler_seed", "epoch"} - set(state_dict)):
            raise ValueError(f"DataLoader: load_state_dict: state_dict lacks {', '.join(lacking)}")
        self.seed = state_dict["seed"]
        self.epoch = state_dict["epoch"]
        sampler = getattr(self.batch_sampler, "sampler", self.batch_sampler)
        if hasattr(sampler, "seed"):
            sampler.seed = state_dict["sampler_seed"]

    def _settle_seed(self) -> None:
        sampler = getattr(self.batch_sampler, "sampler", self.batch_sampler)
        random = hasattr(sampler, "seed")
        if self.seed is None and (random or self.transform is not None):
            self.seed = sampler.seed if random and sampler.seed is not None else draw_seed()
        if random and sampler.seed is None:
            sampler.seed = self.seed

    def _load(self, epoch: int, number: int, indices: list[int]) -> Any:
        if self._by_batch:
            batch = self.dataset.take(np.asarray(indices, dtype=np.int64))
        else:
            batch = (self.collate_fn or default_collate)([self.dataset[i] for i in indices])
        if self.transform is not None:
            # The leading 1 keeps this stream apart from the sampler's.
            rng = np.random.default_rng([1, self.seed or 0, epoch, number])
            batch = self.transform(batch, rng)
        return batch

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the batches of the next epoch."""
        self._settle_seed()
        epoch = self.epoch
        self.epoch += 1
        if hasattr(self.batch_sampler, "set_epoch"):
            self.batch_sampler.set_epoch(epoch)
        numbered = enumerate(iter(self.batch_sampler))
        if not self.num_workers:
            return (self._load(epoch, number, indices) for number, indices in numbered)
        return self._ahead(epoch, numbered)

    def _ahead(self, epoch: int, numbered: Iterator[tuple[int, list[int]]]) -> Iterator[Any]:
        """Keep a bounded number of batches under way; give them out in order."""
        waiting: collections.deque[Future[Any]] = collections.deque()
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="gradsmith-data")
        try:
            for number, indices in numbered:
                waiting.append(pool.submit(self._load, epoch, number, indices))
                if len(waiting) > self.num_workers * self.prefetch_factor:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
