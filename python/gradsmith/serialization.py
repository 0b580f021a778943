"""gs.save and gs.load: tensors and plain Python values in one safetensors file, never pickle.

A dictionary from names to tensors is stored under those names, as every other safetensors program
expects. Anything nested (an optimizer's state, a checkpoint) is stored as the tensors it contains
plus a description of its structure in the file's metadata.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

from ._safetensors import BF16, METADATA, Stored, read_file, write_file

__all__ = ["load", "save"]

_TREE = "gradsmith.tree"
_MAX_DEPTH = 64
_MAX_INT_BITS = 14_000  # Python reads at most 4300 digits
_TENSOR_CODES = ("F64", "F32", "F16", BF16, "I64", "I32", "U8", "BOOL")


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write `obj` to `path`, atomically.

    Args:
        obj: a tensor, or dicts, lists and tuples of tensors, NumPy arrays, numbers, strings,
            booleans and None, nested as you like.
        path: the file; an existing one is replaced once the new one is whole.

    Raises:
        TypeError: something in `obj` cannot be stored; the text says where.
        ValueError: a name is no valid Unicode, or an int is too long; the text says where.
    """
    if _is_flat(obj):
        write_file(path, {name: _stored(tensor) for name, tensor in obj.items()}, {})
        return
    tensors: dict[str, Stored] = {}
    tree = json.dumps(_encode(obj, (), tensors), separators=(",", ":"))
    write_file(path, tensors, {_TREE: tree})


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save`, or any other safetensors program, wrote.

    Returns:
        The object that was saved; for a foreign file a dict from names to tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, inconsistent or hostile; nothing is half-loaded.
    """
    stored, metadata = read_file(path)
    if _TREE not in metadata:
        try:
            return {name: _tensor(name, item) for name, item in stored.items()}
        except ValueError as error:
            raise ValueError(f"load: {path}: {error}") from None
    try:
        return _decode(json.loads(metadata[_TREE]), stored, 0)
    except (KeyError, TypeError, IndexError, RecursionError, ValueError) as error:
        raise ValueError(f"load: {path} describes its structure wrongly: {error}") from None


def _is_flat(obj: Any) -> bool:
    return (
        isinstance(obj, Mapping)
        and METADATA not in obj
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items())
    )


def _stored(tensor: Tensor) -> Stored:
    tensor = tensor.detach().to("cpu")
    if tensor.dtype == gs.bfloat16:  # the upper half of a float32
        bits = np.ascontiguousarray(tensor.to(gs.float32).numpy()).view(np.uint32) >> 16
        return Stored(BF16, bits.astype(np.uint16).reshape(tuple(tensor.shape)))
    return Stored.of(tensor.numpy())


def _tensor(name: str, stored: Stored) -> Tensor:
    if stored.code not in _TENSOR_CODES:
        raise ValueError(
            f"tensor {name!r} has dtype {stored.code}; tensors can be {', '.join(_TENSOR_CODES)}"
        )
    try:
        if stored.code == BF16:
            wide = (np.atleast_1d(stored.array).astype(np.uint32) << 16).view(np.float32)
            return gs.from_numpy(wide.reshape(stored.array.shape)).to(gs.bfloat16)
        return gs.from_numpy(stored.array)
    except ValueError as error:  # more axes than a tensor can have
        raise ValueError(f"tensor {name!r}: {error}") from None


def _name(path: tuple[str, ...], taken: dict[str, Stored]) -> str:
    base = name = ".".join(path) or "value"
    number = 2
    while name in taken or name == METADATA:
        name = f"{base}#{number}"
        number += 1
    return name


def _encode(obj: Any, path: tuple[str, ...], tensors: dict[str, Stored]) -> Any:
    """Describe `obj` as JSON and collect its tensors.

    Scalars stand for themselves; {"t": name} is a tensor, {"a": name} an array, {"l": ...} a
    list, {"u": ...} a tuple, {"d": pairs} a dict, {"f": text} a float that JSON cannot hold.
    """
    where = ".".join(path) or "the object itself"
    if len(path) > _MAX_DEPTH:
        raise TypeError(f"save: {where} is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(obj, np.generic):
        obj = obj.item()
    if isinstance(obj, int) and obj.bit_length() > _MAX_INT_BITS:
        raise ValueError(
            f"save: {where} is an int of {obj.bit_length():,} bits; allowed are {_MAX_INT_BITS:,}"
        )
    if obj is None or isinstance(obj, (bool, int, str)):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else {"f": repr(obj)}
    if isinstance(obj, (Tensor, np.ndarray)):
        name = _name(path, tensors)
        tensors[name] = _stored(obj) if isinstance(obj, Tensor) else Stored.of(obj)
        return {"t" if isinstance(obj, Tensor) else "a": name}
    if isinstance(obj, (list, tuple)):
        items = [_encode(v, (*path, str(i)), tensors) for i, v in enumerate(obj)]
        return {"l" if isinstance(obj, list) else "u": items}
    if isinstance(obj, Mapping):
        pairs = []
        for key, value in obj.items():
            if key is not None and not isinstance(key, (bool, int, float, str)):
                raise TypeError(f"save: {where} has a key of type {type(key).__name__}")
            key_node = _encode(key, path, tensors)
            pairs.append([key_node, _encode(value, (*path, str(key)), tensors)])
        return {"d": pairs}
    raise TypeError(
        f"save: {where} is a {type(obj).__name__}; allowed are tensors, NumPy arrays, numbers, "
        "strings, booleans, None, and dicts, lists and tuples of these"
    )


def _decode(node: Any, stored: dict[str, Stored], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} levels")
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if not isinstance(node, dict) or len(node) != 1:
        raise ValueError("a node must be an object with one member")
    ((kind, value),) = node.items()
    if kind in ("t", "a"):
        # Taken only once, as `save` writes it: a small file must not become a large object.
        if value not in stored:
            raise ValueError(f"tensor {value!r} is missing or named twice")
        item = stored.pop(value)
        return _tensor(value, item) if kind == "t" else item.array
    if kind == "f":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value]
    if kind in ("l", "u"):
        items = [_decode(item, stored, depth + 1) for item in value]
        return items if kind == "l" else tuple(items)
    if kind == "d":
        return {_decode(k, stored, depth + 1): _decode(v, stored, depth + 1) for k, v in value}
    raise ValueError(f"unknown kind of node {kind!r}")
