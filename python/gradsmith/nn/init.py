"""Initial values for parameters; every function fills its tensor in place and returns it.

Those that draw take a `generator`: an int, which seeds a stream of this call alone, or a
`numpy.random.Generator`, from which such a seed is drawn. Otherwise the global generator decides.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np

import gradsmith as gs
from gradsmith._checks import finite, integer, number
from gradsmith._core import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Generator = int | np.random.Generator | None
_Fill = TypeVar("_Fill", bound=Callable[..., Tensor])


def _checked(fill: _Fill) -> _Fill:
    """Refuse what is no tensor in the function's name."""

    @functools.wraps(fill)
    def checked(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{fill.__name__}: tensor must be a Tensor, got {type(tensor).__name__}"
            )
        return fill(tensor, *args, **kwargs)

    return cast(_Fill, checked)


_GAINS = {
    "linear": 1.0,
    **{f"conv{kind}{axes}d": 1.0 for kind in ("", "_transpose") for axes in (1, 2, 3)},
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance of activations through `nonlinearity`.

    Args:
        nonlinearity: linear, conv1d to conv3d, conv_transpose1d to conv_transpose3d, sigmoid, tanh,
            relu, leaky_relu or selu.
        param: the negative slope of leaky_relu, 0.01 unless given.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else finite("calculate_gain", "param", param)
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"calculate_gain: nonlinearity must be one of {', '.join([*_GAINS, 'leaky_relu'])}; "
            f"got {nonlinearity!r}"
        )
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out): inputs per output value, and outputs per input value."""
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ValueError(f"init: fan in and fan out need at least 2 axes, got shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


@contextlib.contextmanager
def _drawing(generator: Generator) -> Iterator[None]:
    """Draw from a stream of its own inside, and leave the global one as it was."""
    if generator is None:
        yield
        return
    if isinstance(generator, np.random.Generator):
        seed = int(generator.integers(2**63))
    elif isinstance(generator, bool) or not hasattr(generator, "__index__"):
        raise TypeError(
            "init: generator must be an int or a numpy.random.Generator, "
            f"got {type(generator).__name__}"
        )
    else:
        seed = generator.__index__()
    before = gs.get_rng_state()
    gs.manual_seed(seed)
    try:
        yield
    finally:
        gs.set_rng_state(before)


def _fill(tensor: Tensor, values: np.ndarray[Any, Any]) -> Tensor:
    with gs.no_grad():
        tensor.copy_(gs.from_numpy(np.ascontiguousarray(values)).to(tensor.dtype))
    return tensor


@_checked
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill from the uniform distribution on [a, b)."""
    with gs.no_grad(), _drawing(generator):
        tensor.uniform_(a, b)
    return tensor


@_checked
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator = None
) -> Tensor:
    """Fill from the normal distribution."""
    with gs.no_grad(), _drawing(generator):
        tensor.normal_(mean, std)
    return tensor


@_checked
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with gs.no_grad():
        tensor.fill_(val)
    return tensor


@_checked
def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


@_checked
def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def _cdf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


@_checked
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator = None,
) -> Tensor:
    """Fill from the normal distribution cut to [a, b], by rejection.

    Raises:
        ValueError: `a` is not below `b`, `std` is not positive, or `mean` or `std` is not finite.
    """
    owner = "trunc_normal_"
    finite(owner, "mean", mean)
    finite(owner, "std", std)
    if not number(owner, "a", a) < number(owner, "b", b) or not std > 0:
        raise ValueError(f"trunc_normal_: needs a < b and std > 0, got a={a}, b={b}, std={std}")
    low, high = (a - mean) / std, (b - mean) / std
    peak = min(max(0.0, low), high)  # the likeliest point inside the interval
    if not math.isfinite(peak):
        raise ValueError(f"{owner}: a and b ({a} and {b}) are too far from mean {mean}")
    # Further from the peak, nothing is likely enough to be drawn.
    reach = min(12.0, 40 / abs(peak)) if peak else 12.0
    low, high = max(low, peak - reach), min(high, peak + reach)
    from_normal = _cdf(high) - _cdf(low) > 0.3
    count = math.prod(tensor.shape)
    found = np.empty(0)
    with _drawing(generator):
        while found.size < count:
            need = count - found.size
            if from_normal:
                draw = gs.randn(2 * need, dtype=gs.float64).numpy()
                draw = draw[(draw >= low) & (draw <= high)]
            else:  # proposals uniform on the interval, accepted by the density's ratio to its peak
                draw = low + (high - low) * gs.rand(4 * need, dtype=gs.float64).numpy()
                accept = gs.rand(4 * need, dtype=gs.float64).numpy()
                draw = draw[accept < np.exp((peak**2 - draw**2) / 2)]
            found = np.concatenate([found, draw[:need]])
    values = np.clip(mean + std * found, a, b).reshape(tuple(tensor.shape))
    return _fill(tensor, values)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    total = sum(fans(tensor))
    return finite("init", "gain", gain) * math.sqrt(2 / total) if total else 0.0


@_checked
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill uniformly in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


@_checked
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill normally with deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


@_checked
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill uniformly in +-gain sqrt(3 / fan) (He, Zhang, Ren and Sun, 2015).

    Args:
        tensor: at least two axes.
        a: negative slope where `nonlinearity` is leaky_relu.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: what follows the layer; see `calculate_gain`.
        generator: see the module.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


@_checked
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill normally with deviation gain / sqrt(fan); arguments as in `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@_checked
def lecun_uniform_(tensor: Tensor, generator: Generator = None) -> Tensor:
    """Fill uniformly in +-sqrt(3 / fan_in) (LeCun, Bottou, Orr and Mueller, 1998)."""
    return kaiming_uniform_(tensor, nonlinearity="linear", generator=generator)


@_checked
def lecun_normal_(tensor: Tensor, generator: Generator = None) -> Tensor:
    """Fill normally with deviation 1 / sqrt(fan_in), as SELU wants it (Klambauer et al., 2017)."""
    return kaiming_normal_(tensor, nonlinearity="linear", generator=generator)


@_checked
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with a random (semi-)orthogonal matrix times `gain` (Saxe et al., 2013).

    Axes after the first are taken together as columns.
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: needs at least 2 axes, got shape {shape}")
    finite("orthogonal_", "gain", gain)
    if 0 in shape:
        return tensor
    rows, cols = shape[0], math.prod(shape[1:])
    with _drawing(generator):
        draw = gs.randn(max(rows, cols), min(rows, cols), dtype=gs.float64).numpy()
    q, r = np.linalg.qr(draw)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without this the draw is not uniform
    return _fill(tensor, gain * (q.T if rows < cols else q).reshape(shape))


@_checked
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity."""
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: needs 2 axes, got shape {tuple(tensor.shape)}")
    return _fill(tensor, np.eye(*tensor.shape))


@_checked
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it passes its input through."""
    shape = tuple(tensor.shape)
    if len(shape) < 3 or integer("dirac_", "groups", groups) < 1 or shape[0] % groups:
        raise ValueError(
            f"dirac_: needs a convolution weight whose first axis {groups} groups divide, "
            f"got shape {shape}"
        )
    values = np.zeros(shape)
    per_group = shape[0] // groups
    centre = tuple(size // 2 for size in shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, shape[1])):
            values[(group * per_group + channel, channel, *centre)] = 1
    return _fill(tensor, values)


@_checked
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator = None
) -> Tensor:
    """Fill a matrix normally and set a share `sparsity` of each column to zero."""
    finite("sparse_", "std", std)
    if len(tensor.shape) != 2 or not 0 <= number("sparse_", "sparsity", sparsity) <= 1:
        raise ValueError(
            f"sparse_: needs 2 axes and sparsity in [0, 1], got shape {tuple(tensor.shape)}, "
            f"sparsity {sparsity}"
        )
    rows, cols = tensor.shape
    with _drawing(generator):
        values = std * gs.randn(rows, cols, dtype=gs.float64).numpy()
        for col in range(cols):
            values[gs.randperm(rows).numpy()[: math.ceil(sparsity * rows)], col] = 0
    return _fill(tensor, values)
