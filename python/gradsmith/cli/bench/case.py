"""What a problem is: a kernel's name and sizes; and how it is prepared to be run and compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import gradsmith as gs

__all__ = [
    "CASES", "LARGEST", "Case", "Listed", "Prepared", "Problem", "Run", "Sizes", "Unsupported",
    "case", "integers", "make", "normal", "pair", "same",
]  # fmt: skip

Run = Callable[[], object]
Sizes = dict[str, int]
Program = Callable[[Any], Run]


class Unsupported(Exception):
    """The library does not have what a problem needs; the message says what."""


@dataclass
class Prepared:
    """One problem with its arrays: what to call and what that costs at least.

    Most are compared by `program`, code that is written once for every library with PyTorch's
    names: given its module it returns what to call. The rest give peers `arrays` and `options`.
    """

    run: Run
    flops: float  # 0: bound by memory alone
    bytes: float  # read and written once
    program: Program | None = None
    arrays: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    tracked: bool = False  # records gradients
    bare: bool = False  # so short that the loop around it is measured too, and subtracted
    compiled: Callable[[Any, Any], Run] | None = None  # a model's program, through a compiler
    peak: str = ""  # dtype whose multiply-adds are the limit, where not the case's own
    model: Callable[[], Any] | None = None  # of an inference problem, for peers that translate it


@dataclass
class Case:
    """A kernel, the sizes it takes with their defaults (None: required), and how to prepare it."""

    family: str
    sizes: dict[str, int | None]
    prepare: Callable[[Sizes, Any], Prepared]


class Problem(NamedTuple):
    """A case and its sizes, those that equal the default left out."""

    kernel: str
    sizes: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return " ".join([self.kernel, *(f"{key}={value}" for key, value in self.sizes)])


@dataclass
class Listed:
    """The problems of a list, and the lines that cannot be measured with the reason."""

    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


CASES: dict[str, Case] = {}
LARGEST = 2**31 - 1  # of a size
_PARTNERS = {"kw": "k", "sw": "stride", "pw": "pad", "dw": "dil"}


def make(kernel: str, sizes: Sizes) -> Problem:
    """Return the problem of these sizes, which must be the case's; equal ones compare equal."""
    defaults = CASES[kernel].sizes

    def tells(key: str) -> bool:
        if key not in sizes or sizes[key] == defaults[key]:
            return False
        partner = _PARTNERS.get(key, key) if defaults[key] == -1 else key
        return partner == key or sizes[key] != sizes.get(partner, defaults[partner])

    return Problem(kernel, tuple((key, sizes[key]) for key in defaults if tells(key)))


def case(
    family: str, *names: str, **sizes: int | None
) -> Callable[[Callable[..., Prepared]], Callable[..., Prepared]]:
    """Register a function (sizes, dtype, name) -> Prepared under these names.

    A size whose default is -1 takes that of its partner, e.g. the width that of the height.
    """

    def register(function: Callable[..., Prepared]) -> Callable[..., Prepared]:
        for name in names:

            def prepare(given: Sizes, dtype: Any, name: str = name) -> Prepared:
                return function({**sizes, **given}, np.dtype(dtype), name)

            CASES[name] = Case(family, dict(sizes), prepare)
        return function

    return register


def same(program: Program, flops: float, bytes: float, **options: Any) -> Prepared:
    """Return a problem that runs the same program in every library."""
    return Prepared(program(gs), flops, bytes, program, **options)


def pair(s: Sizes, second: str) -> tuple[int, int]:
    """Return a size and its partner, which is like it where it is -1."""
    first = s[_PARTNERS[second]]
    return first, first if s[second] < 0 else s[second]


_rng = np.random.default_rng(0)
_LARGEST = 4 << 30  # bytes of one array


def normal(dtype: Any, *shape: int) -> np.ndarray[Any, Any]:
    """Return normally distributed numbers.

    Raises:
        Unsupported: for an array that no benchmark needs, before memory runs out.
    """
    size = math.prod(shape) * 4
    if size > _LARGEST:
        raise Unsupported(f"an array of {size >> 30} GiB; at most {_LARGEST >> 30} are measured")
    return _rng.standard_normal(shape, np.float32).astype(dtype)


def integers(high: int, *shape: int) -> np.ndarray[Any, Any]:
    """Return whole numbers in [0, high)."""
    return _rng.integers(0, high, shape)
