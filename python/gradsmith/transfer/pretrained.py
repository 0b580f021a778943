"""load_pretrained: weights from a file into a model, with a report by name and shape."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.nn import Module

from .torch_file import is_torch_file, is_zip_file, read_torch_file, unreadable_format

__all__ = ["PretrainedReport", "load_pretrained", "read_weights"]

Shape = tuple[int, ...]
# Where programs that save more than weights put them, and what a parallel wrapper puts before
# every name.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PREFIX = "module."
# Files written before batch normalisation counted its batches lack this; the model's count stays.
_COUNTER = "num_batches_tracked"


@dataclass
class PretrainedReport:
    """What `load_pretrained` did with every name; `str()` gives it as a table.

    Attributes:
        loaded: names and shapes that were copied.
        missing: names and shapes of the model that the file lacks.
        unexpected: names and shapes of the file that the model lacks.
        mismatched: names with the model's shape and the file's.
    """

    loaded: dict[str, Shape] = field(default_factory=dict)
    missing: dict[str, Shape] = field(default_factory=dict)
    unexpected: dict[str, Shape] = field(default_factory=dict)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether file and model match, name by name and shape by shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        """Count what was loaded and list the rest, one name a line."""
        lines = [f"{len(self.loaded)} loaded"]
        for title, entries in (
            ("missing in the file", self.missing),
            ("unexpected in the file", self.unexpected),
        ):
            if entries:
                lines.append(f"{len(entries)} {title}:")
                lines += [f"  {name} {shape}" for name, shape in entries.items()]
        if self.mismatched:
            lines.append(f"{len(self.mismatched)} of another shape:")
            lines += [
                f"  {name} model {own}, file {given}"
                for name, (own, given) in self.mismatched.items()
            ]
        return "\n".join(lines)


def read_weights(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the named tensors of a file, without executing anything in it.

    Formats: safetensors (what `gs.save` writes, checkpoints of a Trainer included), NumPy's .npz,
    and the zip files that PyTorch writes (.pt, .pth), of which tensors and plain containers alone
    are understood. A dictionary under "model" or "state_dict" stands for the whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another format, or damaged.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"load_pretrained: there is no file {path}")
    found: object
    if is_torch_file(path):
        found = read_torch_file(path)
    elif is_zip_file(path):
        try:
            # Of a damaged archive that it opened itself, np.load would leave the file open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                found = {name: gs.tensor(arrays[name]) for name in arrays.files}
        except Exception as error:  # damaged archives and headers fail in many ways
            raise ValueError(
                f"load_pretrained: {path} is no .npz of plain arrays: {error}"
            ) from None
    else:
        try:
            found = gs.load(path)
        except ValueError:
            if (what := unreadable_format(path)) is None:
                raise
            raise ValueError(f"load_pretrained: {path} is {what}") from None
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"load_pretrained: {path} holds no dictionary from names to tensors")
    return {str(name): tensor for name, tensor in found.items()}


def load_pretrained(
    model: Module,
    file: str | os.PathLike[str] | Mapping[str, Tensor],
    strict: bool = True,
    *,
    rename: Callable[[str], str | None] | Mapping[str, str] | None = None,
) -> PretrainedReport:
    """Copy weights from a file into `model` and say what became of every name.

    Args:
        model: changed in place; dtype and device stay.
        file: see `read_weights`; or the named tensors themselves.
        strict: raise, and change nothing, unless names and shapes all match. Otherwise what fits
            is copied: a model with another head takes everything but the head.
        rename: from names in the file to names in the model: a mapping for those that differ, or
            a function, which may return None to leave one out. "module." before all names, as
            PyTorch's parallel wrappers leave it, is taken off without it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, two names become one, nothing fits, or, with
            `strict`, names or shapes differ; the text is then the report.
    """
    given = dict(file) if isinstance(file, Mapping) else read_weights(file)
    own = model.state_dict()
    given = _renamed(given, own, rename)

    report = PretrainedReport()
    for name, target in own.items():
        shape = tuple(target.shape)
        if name not in given:
            if not name.endswith(_COUNTER):
                report.missing[name] = shape
        elif tuple(given[name].shape) != shape:
            report.mismatched[name] = (shape, tuple(given[name].shape))
        else:
            report.loaded[name] = shape
    report.unexpected = {n: tuple(t.shape) for n, t in given.items() if n not in own}
    if strict and not report.complete:
        raise ValueError(f"load_pretrained: {type(model).__name__} and the file differ; {report}")
    if given and not report.loaded:
        raise ValueError(f"load_pretrained: nothing fits {type(model).__name__}; {report}")
    model.load_state_dict({name: given[name] for name in report.loaded}, strict=False)
    return report


def _renamed(
    given: dict[str, Tensor],
    own: Mapping[str, Tensor],
    rename: Callable[[str], str | None] | Mapping[str, str] | None,
) -> dict[str, Tensor]:
    wrapped = given and all(name.startswith(_PREFIX) for name in given)
    if wrapped and not any(name.startswith(_PREFIX) for name in own):
        given = {name.removeprefix(_PREFIX): tensor for name, tensor in given.items()}
    if rename is None:
        return given
    renamed: dict[str, Tensor] = {}
    for name, tensor in given.items():
        new = rename.get(name, name) if isinstance(rename, Mapping) else rename(name)
        if new is None:
            continue
        if new in renamed:
            raise ValueError(f"load_pretrained: rename gives the name {new!r} twice")
        renamed[new] = tensor
    return renamed
