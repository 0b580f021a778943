"""CIFAR-10 and CIFAR-100 from their binary files."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.data.dataset import Dataset

__all__ = ["CIFAR10", "CIFAR100"]

Array = np.ndarray[Any, Any]
_PIXELS = 3 * 32 * 32
_MOST_BYTES = 1 << 28  # the largest file, of CIFAR-100, has 154 MB


class _Cifar(Dataset):
    """Images as they are in the files, one byte per value, and labels."""

    _folder: ClassVar[str]
    _train: ClassVar[tuple[str, ...]]
    _test: ClassVar[tuple[str, ...]]
    _label_bytes: ClassVar[int]
    _classes: ClassVar[tuple[int, ...]]  # how many each label byte tells apart

    def __init__(self, root: str | os.PathLike[str], train: bool = True) -> None:
        """Read the files."""
        owner, folder = type(self).__name__, Path(root)
        if (folder / self._folder).is_dir():
            folder = folder / self._folder
        if not folder.is_dir():
            raise FileNotFoundError(f"{owner}: there is no folder {folder}")
        rows = [self._read(folder / name) for name in (self._train if train else self._test)]
        table = np.concatenate(rows)
        self._labels = table[:, : self._label_bytes].astype(np.int64)
        for column, classes in enumerate(self._classes):
            if (worst := self._labels[:, column].max(initial=0)) >= classes:
                raise ValueError(
                    f"{owner}: {folder} holds label {worst}; allowed are 0 to {classes - 1}"
                )
        self.images = table[:, self._label_bytes :].reshape(-1, 3, 32, 32)
        self.labels = self._labels[:, -1]

    def _read(self, path: Path) -> Array:
        owner = type(self).__name__
        packed = path.with_name(path.name + ".gz")
        if path.is_file():
            data = path.read_bytes()
        elif packed.is_file():
            try:
                with gzip.open(packed, "rb") as stream:
                    data = stream.read(_MOST_BYTES + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(f"{owner}: {packed} is not a whole gzip file: {error}") from None
            if len(data) > _MOST_BYTES:
                raise ValueError(f"{owner}: {packed} holds more than {_MOST_BYTES:,} bytes")
        else:
            raise FileNotFoundError(
                f"{owner}: there is no {path}; the binary version of the data is at "
                "https://www.cs.toronto.edu/~kriz/cifar.html"
            )
        row = self._label_bytes + _PIXELS
        if not data or len(data) % row:
            raise ValueError(f"{owner}: {path} has {len(data)} bytes, no multiple of {row}")
        return np.frombuffer(data, np.uint8).reshape(-1, row)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image, scaled, and its label."""
        return gs.from_numpy(_scaled(self.images[index])), int(self.labels[index])

    def take(self, indices: Array) -> tuple[Tensor, Tensor]:
        """Return several images, scaled, and their labels."""
        return gs.from_numpy(_scaled(self.images[indices])), gs.from_numpy(self.labels[indices])


def _scaled(images: Array) -> Array:
    return images.astype(np.float32) / np.float32(255)


class CIFAR10(_Cifar):
    """The 60,000 small colour images of ten classes (Krizhevsky, 2009).

    Args:
        root: folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin (or these with
            .gz), or the folder around it.
        train: the 50,000 training images, else the 10,000 test images.

    Samples are (image float32 (3, 32, 32) in [0, 1], label int64); `images` holds the bytes.

    Raises:
        FileNotFoundError: a file is missing; the text says where to get it.
        ValueError: a file is corrupt.
    """

    _folder = "cifar-10-batches-bin"
    _train = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    _test = ("test_batch.bin",)
    _label_bytes = 1
    _classes = (10,)


class CIFAR100(_Cifar):
    """The 60,000 small colour images of a hundred classes (Krizhevsky, 2009).

    Args:
        root: folder with train.bin and test.bin (or these with .gz), or the folder around it.
        train: the 50,000 training images, else the 10,000 test images.

    Samples are (image float32 (3, 32, 32) in [0, 1], label int64); `images` holds the bytes and
    `coarse_labels` the numbers of the twenty superclasses.

    Raises:
        FileNotFoundError: a file is missing; the text says where to get it.
        ValueError: a file is corrupt.
    """

    _folder = "cifar-100-binary"
    _train = ("train.bin",)
    _test = ("test.bin",)
    _label_bytes = 2
    _classes = (20, 100)

    @property
    def coarse_labels(self) -> Array:
        """The superclass of every image."""
        return self._labels[:, 0]
