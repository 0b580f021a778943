"""MNIST out of the folder that `--data` names."""

from __future__ import annotations

from gradsmith.data.datasets import MNIST
from gradsmith.demo.harness import Options

__all__ = ["load_mnist"]


def load_mnist(options: Options, train: bool = True) -> MNIST:
    """Read the training or the test images.

    Args:
        options: of the run; the files lie in `options.data` or in its folder "mnist".
        train: the 60,000 training images, else the 10,000 test images.

    Raises:
        ValueError: no folder was given, or a file is corrupt.
        FileNotFoundError: a file is missing.
    """
    if options.data is None:
        raise ValueError(
            "needs --data DIR, a folder with the four MNIST IDX files, train-images-idx3-ubyte.gz "
            "and so on (https://ossci-datasets.s3.amazonaws.com/mnist/)"
        )
    inner = options.data / "mnist"
    return MNIST(inner if inner.is_dir() else options.data, train)
