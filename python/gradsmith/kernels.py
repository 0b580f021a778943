"""The kernels themselves, on raw memory: no tape, no copies, no GIL while they run.

::

    import numpy as np
    from gradsmith import kernels

    a, b = np.ones((64, 32), np.float32), np.ones((32, 16), np.float32)
    c = np.empty((64, 16), np.float32)
    kernels.gemm(a, b, out=c, activation="relu")

Arrays may be NumPy arrays (anything with the buffer protocol), gradsmith tensors, or objects with
`__dlpack__` such as torch tensors; they are used where they lie. `out` is filled and returned;
without it the result is a new array, a NumPy array where the first argument is one and a gradsmith
Tensor otherwise. Dtypes are never promoted. `out` must not overlap an input, except that
elementwise kernels, softmax, layer norm, dropout and floating cumsum may write over exactly their
input.

Every elementwise kernel is a function of its name here: `exp(x, out=None)`, `add(a, b, out=None)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from . import _core
from ._core import _kernels
from ._explain import Explanation, explain_call

Array = Any  # a NumPy array, a Tensor or whatever has __dlpack__
Axis = int | tuple[int, ...] | None
Pair = int | tuple[int, int]

# ---- targets ----


class Row(NamedTuple):
    """One kernel for one dtype, and the targets that have code of their own for it, best first."""

    family: str
    op: str
    dtype: str
    targets: tuple[str, ...]


def list() -> Sequence[Row]:
    """Return all registered kernels."""
    return [Row(f, op, dtype, tuple(targets)) for f, op, dtype, targets in _core.list_kernels()]


def targets() -> tuple[str, ...]:
    """Return the targets that this build has and this CPU can run, best first."""
    return tuple(_core.supported_targets())


def get_target() -> str:
    """Return the target in use."""
    return _core.get_target()


def set_target(name: str) -> None:
    """Run all kernels of the process on this target; "auto" is the best one.

    Raises:
        ValueError: for a target that is unknown, not compiled in or not supported by the CPU.
    """
    if not isinstance(name, str):
        raise TypeError(f"set_target: argument 'name' must be a str, got {type(name).__name__}")
    _core.set_target(name)


class use_target:
    """Switch to a target inside a `with` block; see `set_target`. It holds for all threads."""

    def __init__(self, name: str) -> None:
        """Remember the target; nothing changes yet."""
        self._name = name
        self._before: str | None = None

    def __enter__(self) -> Self:
        """Switch."""
        before = get_target()
        set_target(self._name)
        self._before = before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Switch back."""
        if self._before is not None:
            set_target(self._before)


def explain(
    kernel: str | Callable[..., object], *args: Any, measure: bool = False, **options: Any
) -> tuple[Explanation, ...]:
    """Run a kernel and return what its driver chose: path, tile, threads, work, and why.

    Args:
        kernel: the name of a function of this module ("gemm", "conv2d", ...), or any callable, such
            as a model, of which every matrix product and convolution is explained.
        args: its arguments.
        measure: time it too, as a share of the measured peak where it is one product (float32's).
        options: its keyword arguments.

    Kernels other than products and convolutions have one path each (`list` names their targets)
    and add nothing to the result.

    Raises:
        ValueError: if there is no kernel of that name.
    """
    if isinstance(kernel, str):
        function = globals().get(kernel)
        if kernel.startswith("_") or not callable(function) or isinstance(function, type):
            raise ValueError(f"explain: there is no kernel '{kernel}' in gradsmith.kernels")
        return explain_call(lambda: function(*args, **options), measure)
    if not callable(kernel):
        raise TypeError(
            f"explain: argument 'kernel' must be a name or callable, got {type(kernel).__name__}"
        )
    return explain_call(lambda: kernel(*args, **options), measure)


def get_winograd() -> bool:
    """Return whether convolutions may use Winograd's method."""
    return _core.get_winograd()


def set_winograd(enabled: bool) -> None:
    """Allow Winograd's method (the default) or forbid it, for all threads of the process.

    Float32 convolutions with 3x3 kernels and stride 1 and their gradients take F(4x4, 3x3) where it
    is expected to be faster, up to 2.5 times. Its rounding errors are 5 to 8 times those of the
    direct sum, and an infinity or NaN reaches all 4x4 outputs of its tile. The environment variable
    `GRADSMITH_WINOGRAD=0` forbids it from the start.
    """
    if not isinstance(enabled, bool):
        raise TypeError(
            f"set_winograd: argument 'enabled' must be a bool, got {type(enabled).__name__}"
        )
    _core.set_winograd(enabled)


# ---- products and convolution ----


def gemm(
    a: Array,
    b: Array,
    out: Array = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array = None,
    residual: Array = None,
    activation: str = "none",
    slope: float = 0.01,
    compute: str = "dtype",
) -> Array:
    """Return `activation(alpha * a @ b + beta * out + bias + residual)`.

    Of bfloat16 matrices (tensors, or DLPack arrays) `out`, `bias` and `residual` are float32.

    Args:
        a: [m, k] or [batch, m, k]; any strides, so a transposed view costs nothing.
        b: [k, n] or [batch, k, n].
        out: [m, n] or [batch, m, n]; must be given where beta is not 0.
        alpha: factor of the product.
        beta: factor of what `out` held; 0 never reads it.
        bias: anything that broadcasts to the result: [n] is one value a column.
        residual: likewise, e.g. a whole matrix.
        activation: none, relu, leaky_relu, sigmoid, tanh, gelu, gelu_tanh or silu.
        slope: of leaky_relu.
        compute: "dtype", or "bfloat16": float32 matrices are rounded to bfloat16 while packed.
    """
    return _kernels.gemm(a, b, out, alpha, beta, bias, residual, activation, slope, compute)


matmul = gemm


def conv2d(
    x: Array,
    w: Array,
    bias: Array = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Array = None,
    activation: str = "none",
    slope: float = 0.01,
) -> Array:
    """Convolve images [n, c, h, w] with weights [o, c / groups, kh, kw]; C-contiguous arrays."""
    return _kernels.conv2d(x, w, bias, stride, padding, dilation, groups, out, activation, slope)


def conv2d_input_grad(
    dy: Array,
    w: Array,
    x_shape: tuple[int, int, int, int],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Array = None,
) -> Array:
    """Return the gradient of `conv2d` with respect to images of shape `x_shape`."""
    return _kernels.conv2d_input_grad(dy, w, x_shape, stride, padding, dilation, groups, out)


def conv2d_weight_grad(
    dy: Array,
    x: Array,
    w_shape: tuple[int, int, int, int],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Array = None,
) -> Array:
    """Return the gradient of `conv2d` with respect to weights of shape `w_shape`."""
    return _kernels.conv2d_weight_grad(dy, x, w_shape, stride, padding, dilation, groups, out)


def max_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    out: Array = None,
    indices: Array = None,
) -> Array:
    """Return the maximum of each window; `indices` (int64) takes where it was in its plane."""
    return _kernels.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, out, indices)


def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array = None,
) -> Array:
    """Return the mean of each window."""
    return _kernels.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, out)


def lstm(
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array = None,
    b_hh: Array = None,
    h0: Array = None,
    c0: Array = None,
    *,
    batch_first: bool = False,
    reverse: bool = False,
    out: Array = None,
) -> tuple[Array, Array, Array]:
    """Run one LSTM layer over whole sequences; returns all outputs and the last h and c.

    Args:
        x: [steps, batch, input], or [batch, steps, input] with `batch_first`.
        w_ih: [4 * hidden, input], gates in the order input, forget, cell, output.
        w_hh: [4 * hidden, hidden].
        b_ih: [4 * hidden].
        b_hh: [4 * hidden].
        h0: [batch, hidden]; zeros where not given.
        c0: likewise.
        batch_first: see x.
        reverse: from the last step to the first.
        out: for the outputs, x's layout with `hidden` last.
    """
    return _kernels.lstm(x, w_ih, w_hh, b_ih, b_hh, h0, c0, batch_first, reverse, out)


# ---- rows: softmax and norms ----


def softmax(x: Array, axis: int = -1, *, out: Array = None) -> Array:
    """Return `exp(x) / sum(exp(x))` along an axis of a C-contiguous array."""
    return _kernels.softmax(x, axis, False, out)


def log_softmax(x: Array, axis: int = -1, *, out: Array = None) -> Array:
    """Return the logarithm of `softmax`."""
    return _kernels.softmax(x, axis, True, out)


def softmax_backward(y: Array, dy: Array, axis: int = -1, *, out: Array = None) -> Array:
    """Return the gradient of `softmax`, given its result and the gradient of that."""
    return _kernels.softmax_backward(y, dy, axis, False, out)


def log_softmax_backward(y: Array, dy: Array, axis: int = -1, *, out: Array = None) -> Array:
    """Return the gradient of `log_softmax`, given its result and the gradient of that."""
    return _kernels.softmax_backward(y, dy, axis, True, out)


def layer_norm(
    x: Array, weight: Array = None, bias: Array = None, eps: float = 1e-5, *, out: Array = None
) -> Array:
    """Normalise the last dimension to mean 0 and variance 1, then scale and shift."""
    return _kernels.norm_rows(False, x, weight, bias, eps, out)


def rms_norm(x: Array, weight: Array = None, eps: float = 1e-5, *, out: Array = None) -> Array:
    """Divide by the root mean square of the last dimension, then scale."""
    return _kernels.norm_rows(True, x, weight, None, eps, out)


def batch_norm_stats(x: Array) -> tuple[Array, Array]:
    """Return mean and biased variance of each channel of [n, c, ...]."""
    return _kernels.batch_norm_stats(x)


def batch_norm(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array = None,
    bias: Array = None,
    eps: float = 1e-5,
    *,
    out: Array = None,
) -> Array:
    """Return `(x - mean) / sqrt(var + eps) * weight + bias`, channel by channel."""
    return _kernels.batch_norm(x, mean, var, weight, bias, eps, out)


def dropout(
    x: Array,
    p: float = 0.5,
    *,
    seed: int | None = None,
    out: Array = None,
    mask: Array = None,
) -> tuple[Array, Array]:
    """Zero elements with probability p and scale the rest by 1 / (1 - p).

    Returns the result and the bool mask of what was kept. Without `seed` the numbers come from
    the generator of `gradsmith.manual_seed`.
    """
    return _kernels.dropout(x, p, seed, out, mask)


# ---- optimizer steps, in place ----


def sgd_step(
    param: Array,
    grad: Array,
    momentum_buffer: Array = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Update `param` and `momentum_buffer` as torch.optim.SGD does."""
    _kernels.sgd_step(param, grad, momentum_buffer, lr, momentum, dampening, weight_decay, nesterov)


def adam_step(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Update `param`, `exp_avg` and `exp_avg_sq` as Adam does, or AdamW with `decoupled`.

    Args:
        param: written in place.
        grad: only read.
        exp_avg: first moment, written.
        exp_avg_sq: second moment, written.
        step: number of this step, from 1.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        weight_decay: factor of the decay.
        decoupled: decay the weights themselves instead of the gradient.
    """
    if not isinstance(betas, Sequence) or len(betas) != 2:
        raise ValueError(f"adam_step: argument 'betas' must be two numbers, got {betas!r}")
    _kernels.adam_step(
        param, grad, exp_avg, exp_avg_sq, step, lr, *betas, eps, weight_decay, decoupled
    )


# ---- moving and choosing elements, arg reductions ----


def copy(x: Array, out: Array = None, *, dtype: Any = None) -> Array:
    """Copy and cast, between any strides and dtypes; x may be broadcast to `out`."""
    return _kernels.copy(x, out, dtype)


def where(condition: Array, a: Array, b: Array, out: Array = None) -> Array:
    """Choose from `a` where the bool condition holds, from `b` elsewhere."""
    return _kernels.where(condition, a, b, out)


def argmax(x: Array, axis: Axis = None, *, keepdims: bool = False, out: Array = None) -> Array:
    """Return the position of the first largest element, counted over the reduced dimensions."""
    return _kernels.arg_reduce(True, x, axis, keepdims, out)


def argmin(x: Array, axis: Axis = None, *, keepdims: bool = False, out: Array = None) -> Array:
    """Return the position of the first smallest element, counted over the reduced dimensions."""
    return _kernels.arg_reduce(False, x, axis, keepdims, out)


def cumsum(x: Array, axis: int = -1, *, out: Array = None) -> Array:
    """Return the running sums along an axis of a C-contiguous array; integers give int64."""
    return _kernels.cumsum(x, axis, out)


def clamp(x: Array, low: float, high: float, out: Array = None) -> Array:
    """Limit x to [low, high]."""
    return _kernels.unary("clamp", x, out, low, high)


def leaky_relu(x: Array, slope: float = 0.01, out: Array = None) -> Array:
    """Return x where positive, `slope * x` elsewhere."""
    return _kernels.unary("leaky_relu", x, out, slope)


def elu(x: Array, alpha: float = 1.0, out: Array = None) -> Array:
    """Return x where positive, `alpha * (exp(x) - 1)` elsewhere."""
    return _kernels.unary("elu", x, out, alpha)


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0, out: Array = None) -> Array:
    """Return `log(1 + exp(beta * x)) / beta`, and x where `beta * x > threshold`."""
    return _kernels.unary("softplus", x, out, beta, threshold)


# ---- the rest of the elementwise kernels and the reductions, from lists ----

UNARY = (  # noqa: SIM905
    "neg abs sign square relu bitwise_not sqrt rsqrt reciprocal exp exp2 expm1 log log1p log2 "
    "log10 sin cos tan asin acos atan sinh cosh tanh sigmoid erf erfc floor ceil round trunc selu "
    "gelu gelu_tanh silu log_sigmoid mish softsign hardsigmoid hardswish "
    "isnan isinf isfinite logical_not"
).split()
BINARY = (  # noqa: SIM905
    "add sub mul maximum minimum floor_divide remainder fmod pow div atan2 bitwise_and bitwise_or "
    "bitwise_xor eq ne lt le gt ge"
).split()
# Gradients: of the incoming gradient and the forward's input (x) or output (y). p and q are the
# forward's parameters in its order.
GRADIENTS = (  # noqa: SIM905
    "relu_backward_y sigmoid_backward_y tanh_backward_y leaky_relu_backward_x elu_backward_x "
    "selu_backward_x gelu_backward_x gelu_tanh_backward_x silu_backward_x softplus_backward_x "
    "log_sigmoid_backward_x mish_backward_x clamp_backward_x hardsigmoid_backward_x "
    "hardswish_backward_x"
).split()
REDUCTIONS = "sum mean prod max min any all count_nonzero sumsq norm1 norm2".split()  # noqa: SIM905


def _unary(name: str) -> Callable[..., Array]:
    def kernel(x: Array, out: Array = None) -> Array:
        return _kernels.unary(name, x, out)

    kernel.__doc__ = f"Apply {name} to every element."
    return kernel


def _binary(name: str) -> Callable[..., Array]:
    def kernel(a: Array, b: Array, out: Array = None) -> Array:
        return _kernels.binary(name, a, b, out)

    kernel.__doc__ = f"Apply {name} to every pair of elements; shapes broadcast."
    return kernel


def _gradient(name: str) -> Callable[..., Array]:
    def kernel(g: Array, saved: Array, out: Array = None, *, p: float = 0, q: float = 0) -> Array:
        return _kernels.binary(name, g, saved, out, p, q)

    function, _, what = name.rpartition("_backward_")
    kernel.__doc__ = f"Return the gradient of {function}, given that of its result and {what}."
    return kernel


def _reduction(name: str) -> Callable[..., Array]:
    def kernel(x: Array, axis: Axis = None, *, keepdims: bool = False, out: Array = None) -> Array:
        return _kernels.reduce(name, x, axis, keepdims, out)

    kernel.__doc__ = f"Reduce dimensions (default: all) to their {name}."
    return kernel


def _variance(name: str) -> Callable[..., Array]:
    def kernel(
        x: Array,
        axis: Axis = None,
        *,
        correction: float = 1,
        keepdims: bool = False,
        out: Array = None,
    ) -> Array:
        return _kernels.reduce(name, x, axis, keepdims, out, correction)

    kernel.__doc__ = f"Reduce dimensions to their {name}, dividing by the count - correction."
    return kernel


def _define(make: Callable[[str], Callable[..., Array]], names: Any) -> None:
    for name in names:
        kernel = make(name)
        kernel.__name__ = kernel.__qualname__ = name
        globals()[name] = kernel


_define(_unary, UNARY)
_define(_binary, BINARY)
_define(_gradient, GRADIENTS)
_define(_reduction, REDUCTIONS)
_define(_variance, ("var", "std"))
