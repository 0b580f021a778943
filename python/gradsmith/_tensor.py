"""Tensor functions and methods whose arguments take several forms; set on the type at import."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _along, _core, _elementwise, _indexed, _order, _products, _random, _shapes
from ._core import Tensor
from ._hooks import RemovableHandle

_Shape = int | tuple[int, ...] | list[int]


class Extreme(NamedTuple):
    """What `max(dim=...)` and `min(dim=...)` return."""

    values: Tensor
    indices: Tensor


def _extreme(
    input: Tensor,
    dim: int | Tensor | None,
    keepdim: bool,
    pairwise: Any,
    along: Any,
    over_all: Any,
) -> Tensor | Extreme:
    if dim is None:
        return over_all(input)
    if isinstance(dim, Tensor):
        return pairwise(input, dim)
    return Extreme(*along(input, dim, keepdim))


def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | Extreme:
    """Maximum of all elements; along `dim` with its indices; or of two tensors, elementwise."""
    return _extreme(input, dim, keepdim, _core.maximum, _core._max_dim, _core.amax)


def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | Extreme:
    """Minimum of all elements; along `dim` with its indices; or of two tensors, elementwise."""
    return _extreme(input, dim, keepdim, _core.minimum, _core._min_dim, _core.amin)


def full(
    size: _Shape,
    fill_value: float,
    *,
    dtype: Any = None,
    device: Any = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of one value; the dtype follows the value unless given."""
    if dtype is None:
        if isinstance(fill_value, bool | np.bool_):
            dtype = "bool"
        else:
            dtype = "int64" if isinstance(fill_value, int | np.integer) else "float32"
    return _core.full(size, fill_value, dtype, device, requires_grad)


def _like(name: str, input: Tensor, *args: Any, dtype: Any, device: Any, grad: bool) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}_like: argument 'input' must be a Tensor, got {type(input).__name__}"
        )
    return getattr(_core, name)(
        input.shape,
        *args,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=grad,
    )


def zeros_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the input's shape; its dtype and device unless given."""
    return _like("zeros", input, dtype=dtype, device=device, grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the input's shape; its dtype and device unless given."""
    return _like("ones", input, dtype=dtype, device=device, grad=requires_grad)


def empty_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uninitialised, of the input's shape; its dtype and device unless given."""
    return _like("empty", input, dtype=dtype, device=device, grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: float,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value in the input's shape; its dtype and device unless given."""
    return _like("full", input, fill_value, dtype=dtype, device=device, grad=requires_grad)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform on [0, 1) in the input's shape; its dtype and device unless given."""
    return _like("rand", input, dtype=dtype, device=device, grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal in the input's shape; its dtype and device unless given."""
    return _like("randn", input, dtype=dtype, device=device, grad=requires_grad)


def randint(*args: Any, dtype: Any = "int64", device: Any = "cpu", **kwargs: Any) -> Tensor:
    """Integers drawn uniformly: randint(high, size) or randint(low, high, size)."""
    if len(args) + len(kwargs) == 2 and "low" not in kwargs:
        args = (0, *args)
    make: Any = _core.randint
    return make(*args, dtype=dtype, device=device, **kwargs)


def is_tensor(obj: Any) -> bool:
    """Whether it is a tensor."""
    return isinstance(obj, Tensor)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor of the data, without a copy where there need be none.

    Args:
        data: a tensor, which is returned where dtype and device are its own; a NumPy array, whose
            memory is shared where they can be; or numbers, also in nested sequences.
        dtype: the data's unless given.
        device: a tensor's own, or the CPU, unless given.
    """
    if isinstance(data, np.ndarray) and data.flags.writeable:
        data = _core.from_numpy(data)
    if isinstance(data, Tensor):
        return data.to(device=data.device if device is None else device, dtype=dtype)
    return _core.tensor(data, dtype=dtype, device="cpu" if device is None else device)


# ---- methods ----


def _backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of this tensor to the `grad` of every leaf it was computed from.

    Args:
        gradient: of this tensor's shape; may be left out for one element, and is then 1.
        retain_graph: keep what backward needs for another call; default: `create_graph`.
        create_graph: record the backward, so that gradients of gradients can be had.

    Raises:
        RuntimeError: without a graph, or when it was used before and not retained.
    """
    grads = None if gradient is None else (gradient,)
    _core.backward((self,), grads, retain_graph, create_graph)


def _register_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """Call `hook(grad)` when this tensor's gradient is complete; a returned tensor replaces it.

    The tensor keeps its hooks: one that refers to the tensor itself keeps it alive until removed.
    """
    if not callable(hook):
        raise TypeError(
            f"register_hook: argument 'hook' must be callable, got {type(hook).__name__}"
        )
    key = _core.add_hook(self, hook)
    return RemovableHandle(lambda: _core.remove_hook(self, key))


def _tolist(self: Tensor) -> Any:
    """Return the elements as nested Python lists (a number for rank 0)."""
    source = self.detach().to("cpu")
    return (source.float() if source.dtype is _core.bfloat16 else source).numpy().tolist()


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"__array__: {array.dtype} cannot be had as {dtype} without a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def _reduce(self: Tensor) -> Any:
    dtype = self.dtype.name
    stored = self.detach().to("cpu")
    if dtype == "bfloat16":
        stored = stored.float()
    return _rebuild, (type(self), stored.numpy(), dtype, self.requires_grad, str(self.device))


def _rebuild(
    cls: type[Tensor], array: Any, dtype: str, requires_grad: bool, device: str = "cpu"
) -> Tensor:
    data = _core.tensor(array, dtype=dtype, device=device)
    return Tensor._make_subclass(cls, data, requires_grad)


def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError("deepcopy: only leaf tensors can be copied; use detach() or clone()")
    copied = Tensor._make_subclass(type(self), self.detach().clone(), self.requires_grad)
    memo[id(self)] = copied
    if self.grad is not None:
        copied.grad = self.grad.detach().clone()
    return copied


def _view_as(self: Tensor, other: Tensor) -> Tensor:
    """View in the shape of `other`."""
    return self.view(other.shape)


def _expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Broadcast to the shape of `other`."""
    return self.expand(other.shape)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Cast to the dtype of `other`."""
    return self.to(other.dtype)


def _cpu(self: Tensor) -> Tensor:
    """Copy to the CPU unless it is there."""
    return self.to("cpu")


def _cuda(self: Tensor) -> Tensor:
    """Copy to the first CUDA device unless it is there."""
    return self.to("cuda")


def _record_stream(self: Tensor, stream: Any) -> None:
    """Keep the memory from being used again before `stream` has done its work so far."""
    from .cuda.streams import checked  # which imports this package

    _core.cuda_use_on(self, checked("record_stream", "stream", stream).cuda_stream)


def _format(self: Tensor, spec: str) -> str:
    """Format the value of a tensor of one element, `f"{loss:.3f}"`."""
    return (
        format(self.item(), spec) if spec and self.numel() == 1 else object.__format__(self, spec)
    )


# Functions of other modules that are methods under the same name.
_FUNCTIONS = {
    _along: ("cummax", "cummin", "cumprod", "diff", "logcumsumexp"),
    _elementwise: (
        "addcdiv",
        "addcmul",
        "allclose",
        "clamp_max",
        "clamp_min",
        "clip",
        "count_nonzero",
        "equal",
        "isclose",
        "logaddexp",
        "nan_to_num",
        "positive",
    ),
    _indexed: (
        "argwhere",
        "index_copy",
        "index_fill",
        "masked_scatter",
        "nonzero",
        "scatter",
        "scatter_",
        "scatter_add_",
        "scatter_reduce",
        "scatter_reduce_",
        "take_along_dim",
    ),
    _products: ("addmm", "baddbmm", "inner", "mm", "mv"),
    _random: ("bernoulli", "multinomial"),
    _shapes: (
        "diag",
        "diag_embed",
        "moveaxis",
        "movedim",
        "ravel",
        "repeat_interleave",
        "roll",
        "swapaxes",
        "tile",
        "trace",
        "tril",
        "triu",
    ),
    _order: (
        "argsort",
        "bincount",
        "bucketize",
        "kthvalue",
        "median",
        "quantile",
        "sort",
        "topk",
        "unique",
    ),
}
_METHODS = {
    "backward": _backward,
    "register_hook": _register_hook,
    "tolist": _tolist,
    "max": max,
    "min": min,
    "view_as": _view_as,
    "expand_as": _expand_as,
    "type_as": _type_as,
    "cpu": _cpu,
    "cuda": _cuda,
    "record_stream": _record_stream,
    "where": _indexed.where_method,
    "unfold": _shapes.windows,
    "__pos__": _elementwise.positive,
    "__array__": _array,
    "__reduce__": _reduce,
    "__deepcopy__": _deepcopy,
    "__format__": _format,
}
_METHODS |= {name: getattr(module, name) for module, names in _FUNCTIONS.items() for name in names}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
