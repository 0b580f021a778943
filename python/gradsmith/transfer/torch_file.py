"""Tensors out of PyTorch's zip files (.pt, .pth), without executing what they contain.

Such a file holds a pickle that describes containers and tensors, and the tensors' bytes beside it.
A pickle may name any function to be called; here it can name those in `_ALLOWED` alone, which make
containers and tensors, and everything else is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

__all__ = ["is_torch_file", "is_zip_file", "read_torch_file", "unreadable_format"]

_PICKLE = "data.pkl"
# What PyTorch put first before it wrote zip files: a number of its own, pickled.
_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP_MAGIC = b"PK\x03\x04"
# Bytes of storages and tensors for each byte of the file. Once as it stands and once as tensors
# takes two, widened from 8 bits five; the rest is for tensors that share memory.
_MOST_MEMORY = 8
# Elements by the name of the storage's class.
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


class _Storage(NamedTuple):
    """A tensor's memory, as it stands in the file."""

    kind: str
    data: bytes


def _rebuild_tensor(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> Tensor:
    """Make a tensor of a part of a storage; what follows concerns gradients and hooks."""
    kind = "<u2" if storage.kind == "bfloat16" else storage.kind
    flat = np.frombuffer(storage.data, kind)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    elements = math.prod(int(n) for n in size)  # no more than are stored: none are repeated
    if min((offset, *size, *stride), default=0) < 0 or (
        elements and (last >= flat.size or elements > flat.size)
    ):
        raise ValueError(f"a tensor of shape {size} does not lie in its storage")
    steps = tuple(s * flat.itemsize for s in stride)
    array = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
    array = np.array(array)  # contiguous, and its own memory
    if storage.kind == "bfloat16":  # the upper half of a float32
        wide = (np.atleast_1d(array).astype(np.uint32) << 16).view(np.float32)
        return gs.from_numpy(wide.reshape(size)).to(gs.bfloat16)
    if array.dtype.itemsize < 4 and array.dtype.kind == "i":
        array = array.astype(np.int32)
    return gs.from_numpy(array)


def _rebuild_parameter(data: Tensor, *rest: Any) -> Tensor:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): lambda: OrderedDict(),  # empty: its items come one by one
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): name for name in _STORAGES},
}


# The one in C hashes keys as deep as they nest, until its stack ends the process.
_Unpickler: Any = pickle._Unpickler


class _Reader(_Unpickler):  # type: ignore[misc]
    """Unpickles with the opcodes that containers and tensors need; keys are names or numbers."""

    allowed: ClassVar = _ALLOWED
    dispatch: ClassVar = dict(_Unpickler.dispatch)

    def __init__(self, archive: zipfile.ZipFile, folder: str, file_bytes: int) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}{_PICKLE}")))
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, _Storage] = {}
        self._bytes_left = _MOST_MEMORY * file_bytes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise ValueError(f"it asks for {module}.{name}; only tensors and containers are read")
        found = self.allowed[module, name]
        return self._tensor if found is _rebuild_tensor else found

    def _tensor(self, *args: Any) -> Tensor:
        tensor = _rebuild_tensor(*args)  # no larger than its storage; but many may share one
        self._spend(tensor.numel() * tensor.dtype.itemsize)
        return tensor

    def _spend(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ValueError(f"its tensors take more than {_MOST_MEMORY} times the file's memory")

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("it sets items of something else than a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise ValueError(f"it has a key of type {type(key).__name__}")
            target[key] = value

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def _set_items(self) -> None:
        self._put(self.pop_mark())

    def _drop_attributes(self) -> None:
        self.stack.pop()

    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    dispatch[pickle.BUILD[0]] = _drop_attributes  # such as _metadata
    for _code in (pickle.DICT, pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.OBJ,
                  pickle.INST, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2,
                  pickle.EXT4, pickle.BYTEARRAY8):  # fmt: skip
        dispatch.pop(_code[0])

    def persistent_load(self, pid: Any) -> _Storage:
        # Nothing but text is looked at: tuples within tuples would take for ever to print.
        known = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"
        if not known or not all(isinstance(name, str) for name in pid[1:3]):
            raise ValueError("it has a reference of unknown kind")
        _, storage, key, _, _ = pid
        if storage not in _STORAGES:
            raise ValueError("it has a reference of unknown kind")
        if key not in self._storages:
            entry = self._archive.getinfo(f"{self._folder}data/{key}")
            self._spend(entry.file_size)
            self._storages[key] = _Storage(_STORAGES[storage], self._archive.read(entry))
        return self._storages[key]


def _folder(archive: zipfile.ZipFile) -> str | None:
    """Return what stands before "data.pkl" in the archive."""
    names = [name for name in archive.namelist() if name.split("/")[-1] == _PICKLE]
    return names[0].removesuffix(_PICKLE) if len(names) == 1 else None


def is_zip_file(path: Path) -> bool:
    """Say whether it is a zip file, sound or damaged."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # its end is a zip file's, but what stands there contradicts itself
        return True


def unreadable_format(path: Path) -> str | None:
    """Say what a file is that holds a pickle or half a zip file, and what to do; else None."""
    with path.open("rb") as stream:
        head = stream.read(len(_OLD_MAGIC))
    if head == _OLD_MAGIC:
        return (
            "a PyTorch file of the format before 1.6; write it anew with PyTorch: "
            "torch.save(torch.load(old), new)"
        )
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:  # so begins every pickle since 2
        return (
            "a pickle, which can run any code; where you trust it, load it with what wrote it and "
            "save its arrays with numpy.savez(new, **arrays)"
        )
    if head.startswith(_ZIP_MAGIC) and not is_zip_file(path):
        return (
            "a truncated zip file (.npz, .pt or .pth): its end is missing, as after a download "
            "that broke off; fetch or write it again"
        )
    return None


def is_torch_file(path: Path) -> bool:
    """Say whether it is a zip file as PyTorch writes them."""
    if not is_zip_file(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _folder(archive) is not None
    except Exception:  # damaged: whoever opens it next says so
        return False


def read_torch_file(path: Path) -> Any:
    """Return the containers and tensors in the file.

    Raises:
        ValueError: it holds anything else, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = _folder(archive)
            assert folder is not None
            # PyTorch does not compress; a small file must not become large memory.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are compressed")
            order = f"{folder}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise ValueError("its numbers are not little-endian")
            return _Reader(archive, folder, path.stat().st_size).load()
    except Exception as error:  # a damaged pickle can fail in any way, by an unknown opcode too
        raise ValueError(f"load_pretrained: {path} cannot be read: {error}") from None
