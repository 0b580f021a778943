"""Handwritten digits: MNIST from its IDX files, and the 8x8 digits that scikit-learn ships."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.data.dataset import TensorDataset

from .idx import read_idx

__all__ = ["MNIST", "Digits", "stratified_split"]

Array = np.ndarray[Any, Any]


class MNIST(TensorDataset):
    """The MNIST digits (LeCun, Cortes and Burges), or any set in the same four files.

    Args:
        root: folder with the files; names like "train-images-idx3-ubyte.gz", prefixes allowed.
        train: the 60,000 training images, else the 10,000 test images.

    Samples are (image float32 (1, 28, 28) in [0, 1], label int64).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is corrupt, or images and labels do not belong together.
    """

    def __init__(self, root: str | os.PathLike[str], train: bool = True) -> None:
        """Read two files."""
        part = "train" if train else "t10k"
        images_path = _find(Path(root), rf"{part}-images[.-]idx3-ubyte(\.gz)?$")
        labels_path = _find(Path(root), rf"{part}-labels[.-]idx1-ubyte(\.gz)?$")
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"MNIST: {images_path} must hold images, uint8 with 3 axes; "
                f"got {images.dtype} of shape {images.shape}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
            raise ValueError(
                f"MNIST: {labels_path} must hold one uint8 label per image; got {labels.dtype} "
                f"of shape {labels.shape} for {images.shape[0]} images"
            )
        if labels.size and labels.max() > 9:
            raise ValueError(f"MNIST: {labels_path} holds label {labels.max()}; allowed are 0 to 9")
        scaled = images[:, None].astype(np.float32)
        scaled /= np.float32(255)
        super().__init__(gs.from_numpy(scaled), gs.from_numpy(labels.astype(np.int64)))


def _find(root: Path, pattern: str) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"MNIST: there is no folder {root}")
    found = sorted(path for path in root.iterdir() if re.search(pattern, path.name))
    if not found:
        wanted = pattern.replace("[.-]", "-").replace(r"(\.gz)?$", "[.gz]")
        raise FileNotFoundError(f"MNIST: {root} has no file named like {wanted}")
    return found[0]


class Digits(TensorDataset):
    """The 1,797 handwritten 8x8 digits (Alpaydin and Kaynak, 1998) that scikit-learn ships.

    The split is stratified, 80 % to 20 %, and always the same.

    Args:
        train: the training part, else the held-out part; None gives all.

    Samples are (image float32 (1, 8, 8) in [0, 1], label int64).

    Raises:
        ModuleNotFoundError: scikit-learn is not installed; the text says how to install it.
    """

    def __init__(self, train: bool | None = True) -> None:
        """Read and split the images."""
        images, labels = _read_digits()
        if train is not None:
            chosen = stratified_split(labels, 0.2, seed=0)[0 if train else 1]
            images, labels = images[chosen], labels[chosen]
        super().__init__(gs.from_numpy(images), gs.from_numpy(labels))


def _read_digits() -> tuple[Array, Array]:
    """Return images (1797, 1, 8, 8) and labels (1797,).

    The table is read straight from the installed package: importing scikit-learn takes a second
    or two. Where the file is elsewhere, its own loader is asked.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the digits come with scikit-learn: pip install 'gradsmith[demo]'", name="sklearn"
        )
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        with gzip.open(path, "rb") as stream:
            table = np.loadtxt(io.BytesIO(stream.read()), delimiter=",", dtype=np.float32)
    else:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]

        bunch = load_digits()
        table = np.column_stack([bunch.data, bunch.target]).astype(np.float32)
    images = np.ascontiguousarray(table[:, :-1]).reshape(-1, 1, 8, 8) / np.float32(16)
    return images, table[:, -1].astype(np.int64)


def stratified_split(labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Return indices (rest, held_out) with `share` of every class held out, both ascending.

    Args:
        labels: one class per sample.
        share: between 0 and 1.
        seed: decides which samples of a class are held out.
    """
    if not 0 < share < 1:
        raise ValueError(f"stratified_split: share must lie in (0, 1), got {share}")
    rng = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held_out.append(rng.permutation(members)[: round(members.size * share)])
    chosen = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(labels.size), chosen), chosen
