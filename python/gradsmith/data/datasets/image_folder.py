"""Images in folders, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._checks import integer
from gradsmith._core import Tensor
from gradsmith.data.dataset import Dataset

__all__ = ["ImageFolder"]

Array = np.ndarray[Any, Any]
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFolder(Dataset):
    """Reads images as they are asked for: root/cat/1.png belongs to class "cat".

    Args:
        root: the folder of folders; images may lie deeper in them.
        size: (height, width), or one number for both: images are scaled to cover it and cut to it
            about their middle. None keeps each image's size, and batches need equal ones.
        channels: 3 for colour, 1 for grey.

    Samples are (image float32 (channels, H, W) in [0, 1], label int64), in the order of their
    paths; grey images of 16 bits keep their precision. `classes` are the folders' names in order,
    `paths` and `labels` say what is where.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ModuleNotFoundError: Pillow is not installed; the text says how to install it.
        TypeError: `size` holds something else than ints.
        ValueError: `channels` is neither 1 nor 3, `size` is not positive, or an image cannot be
            read, or has more pixels than Pillow takes (twice its `Image.MAX_IMAGE_PIXELS`), or its
            values have no largest one that would become 1 (32-bit and floating images).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | Sequence[int] | Array | None = None,
        channels: int = 3,
    ) -> None:
        """List the files."""
        if channels not in (1, 3):
            raise ValueError(f"ImageFolder: channels must be 1 or 3, got {channels!r}")
        folder = Path(root)
        if not folder.is_dir():
            raise FileNotFoundError(f"ImageFolder: there is no folder {folder}")
        self.size = None if size is None else _height_and_width(size)
        self.channels = channels
        self.classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in _SUFFIXES)
            self.paths += found
            labels += [label] * len(found)
        if not self.paths:
            raise FileNotFoundError(f"ImageFolder: {folder} has no folders with images")
        self.labels = np.asarray(labels, dtype=np.int64)
        _pillow()

    def __len__(self) -> int:
        """Count the images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Read one image; returns it and its label."""
        image, ops = _pillow()
        path = self.paths[index]
        try:
            with image.open(path) as opened:
                picture, largest = ops.exif_transpose(opened), 255
                if picture.mode.startswith(("I", "F")):  # wider than `convert` keeps it
                    picture, largest = image.fromarray(_wide_grey(picture)), 65535
                else:
                    picture = picture.convert("L" if self.channels == 1 else "RGB")
                if self.size is not None:
                    high, wide = self.size
                    picture = ops.fit(picture, (wide, high), image.Resampling.BILINEAR)
                pixels = np.asarray(picture, dtype=np.float32) / np.float32(largest)
        except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
            raise ValueError(f"ImageFolder: {path} cannot be read: {error}") from None
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if len(planes) != self.channels:  # grey of 16 bits, asked for in colour
            planes = np.repeat(planes, self.channels, axis=0)
        return gs.from_numpy(np.ascontiguousarray(planes)), int(self.labels[index])


def _height_and_width(size: Any) -> tuple[int, int]:
    try:
        given = tuple(size)
    except TypeError:  # one number
        given = (size, size)
    sizes = [integer("ImageFolder", "size", side) for side in given]
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(f"ImageFolder: size must be a positive int or two of them, got {size!r}")
    return sizes[0], sizes[1]


def _wide_grey(picture: Any) -> Array:
    """Return the values of a 16-bit grey image, which some formats hand over as 32-bit ones."""
    values = np.asarray(picture)
    if values.dtype.kind == "f" or (values.size and not 0 <= values.min() <= values.max() <= 65535):
        raise ValueError(f"its values ({picture.mode!r}) are not 8 or 16 bits wide")
    return values.astype(np.float32)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ImageFolder needs Pillow: pip install 'gradsmith[images]'", name="PIL"
        ) from error
    return Image, ImageOps
