"""What a row of the table of op cases is, and how tests read one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradsmith as gs
import numpy as np

# Sizes around the vector widths: a tail of every kind.
TAILS = (1, 7, 8, 9, 15, 16, 17)
LAYOUTS = ("transposed", "step", "reversed")


@dataclass(frozen=True)
class Sample:
    """One call: arrays in `args` (also inside lists) become tensors, all else is passed on.

    Floating arrays are float64 here and take the dtype under test; integer and bool arrays keep
    theirs.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    grad: bool = True  # smooth here, and small enough to be differentiated numerically
    layouts: bool = True  # try other strides too

    @property
    def size(self) -> int:
        return sum(a.size for a in arrays_of(self.args))


def S(*args: Any, grad: bool = True, layouts: bool = True, **kwargs: Any) -> Sample:
    return Sample(args, kwargs, grad, layouts)


@dataclass(frozen=True)
class OpCase:
    """One op: how to call it, what it must give, and on what.

    `fn` defaults to the op of that name; one that uses tensor methods only also runs on torch.
    `covers` names the bound functions and methods that the row exercises.
    """

    name: str
    reference: Callable[..., Any]
    samples: Callable[[np.random.Generator], Sequence[Sample]]
    fn: Callable[..., Any] | None = None
    rtol: float = 1e-6  # float32
    atol: float = 0.0  # float32
    rtol64: float = 1e-13
    atol64: float = 0.0
    grad: bool = True
    gradgrad: bool = True
    covers: tuple[str, ...] = ()
    torch: Any = "same"  # None: torch has no such op; a callable: torch's
    torch_grad: bool = True

    def __str__(self) -> str:
        return self.name

    def draw(self) -> Sequence[Sample]:
        seed = sum(map(ord, self.name))
        return list(self.samples(np.random.default_rng(seed)))

    @property
    def op(self) -> Callable[..., Any]:
        if self.fn is not None:
            return self.fn
        found = getattr(gs._core, self.name, None) or getattr(gs.Tensor, self.name, None)
        assert found is not None, f"no op is called {self.name}"
        return found

    @property
    def covered(self) -> tuple[str, ...]:
        return self.covers or (self.name,)

    def tolerance(self, dtype: Any) -> dict[str, float]:
        if dtype is gs.float64:
            return {"rtol": self.rtol64, "atol": self.atol64 or 1e-300}
        return {"rtol": self.rtol, "atol": self.atol or 3e-45}


def arrays_of(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from arrays_of(v)


def map_arrays(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(map_arrays(v, change) for v in value)
    if isinstance(value, dict):
        return {k: map_arrays(v, change) for k, v in value.items()}
    return value


def with_layout(a: np.ndarray, layout: str) -> np.ndarray:
    """The same values in other memory: what a kernel may meet besides row-major order."""
    if layout == "contiguous" or a.ndim == 0:
        return np.array(a, order="C")
    if layout == "transposed":
        return np.array(a.T, order="C").T
    if layout == "reversed":
        back = tuple(slice(None, None, -1) for _ in a.shape)
        return np.array(a[back], order="C")[back]
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
    view = wide[..., 1::2]
    view[...] = a
    return view


def cast(a: np.ndarray, dtype: Any) -> np.ndarray:
    """Round floating arrays to the dtype under test; keep the others."""
    return a.astype(dtype.name) if a.dtype.kind == "f" else a


def call(case: OpCase, sample: Sample, dtype: Any, layout: str = "contiguous") -> list[Any]:
    def tensor(a: np.ndarray) -> Any:
        return gs.from_numpy(with_layout(cast(a, dtype), layout))

    return as_list(case.op(*map_arrays(sample.args, tensor), **map_arrays(sample.kwargs, tensor)))


def expect(case: OpCase, sample: Sample, dtype: Any) -> list[np.ndarray]:
    """The reference in float64, of the inputs as rounded to the dtype under test."""

    def exact(a: np.ndarray) -> np.ndarray:
        return cast(a, dtype).astype(np.float64) if a.dtype.kind == "f" else np.array(a)

    with np.errstate(all="ignore"):
        result = case.reference(*map_arrays(sample.args, exact), **map_arrays(sample.kwargs, exact))
    return [np.asarray(y) for y in as_list(result)]


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def to_array(y: Any) -> np.ndarray:
    return y.detach().numpy() if isinstance(y, gs.Tensor) else np.asarray(y)


def uniform(rng: np.random.Generator, *shape: int, low: float = -2, high: float = 2) -> np.ndarray:
    return rng.uniform(low, high, shape)


def distinct(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """No two values nearer than 0.1: extremes stay where they are when one moves a little."""
    n = int(np.prod(shape))
    return (rng.permutation(n) * 0.1 - n * 0.05 + 0.03).reshape(shape)


# Zeros, infinities, NaN, denormals, halves, and where exp, tanh and friends run out of range.
_NEAR = [0, -0.0, 0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 20, -20, 88.5, -88.5, 104, -104, 1e5, -1e5]
_FAR = [np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-30, 1e30, -1e30, 3e38, -3e38]
EDGES = np.array([*_NEAR, *_FAR])

__all__ = [
    "EDGES",
    "LAYOUTS",
    "TAILS",
    "OpCase",
    "S",
    "Sample",
    "arrays_of",
    "as_list",
    "call",
    "cast",
    "distinct",
    "expect",
    "map_arrays",
    "to_array",
    "uniform",
    "with_layout",
]
