"""Activation layers. Each keeps the shape and the dtype of its input.

`inplace` is taken where PyTorch has it, so that its code runs, and changes nothing: the result is
always a new tensor.
"""

from __future__ import annotations

from typing import Any, Never

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import integer, nonnegative, number
from gradsmith._core import Tensor

from . import functional
from ._args import choice, positive_int
from .init import constant_
from .module import Module
from .parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Elementwise(Module):
    def __init__(self, inplace: bool = False, **unexpected: Never) -> None:
        super().__init__(**unexpected)
        self.inplace = inplace


class ReLU(_Elementwise):
    """max(0, x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.relu(input)


class LeakyReLU(Module):
    """x where positive, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.inplace = inplace
        self.negative_slope = number(type(self).__name__, "negative_slope", negative_slope)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where positive, else alpha (exp(x) - 1) (Clevert, Unterthiner and Hochreiter, 2015)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.inplace = inplace
        self.alpha = number(type(self).__name__, "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x Phi(x), exact by erf or the tanh approximation (Hendrycks and Gimpel, 2016)."""

    def __init__(self, approximate: str = "none") -> None:
        """Store the settings."""
        super().__init__()
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"approximate={self.approximate!r}"


class SiLU(_Elementwise):
    """x sigmoid(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.silu(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x exceeds the threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        """Store the settings."""
        super().__init__()
        self.beta = number(type(self).__name__, "beta", beta)
        self.threshold = number(type(self).__name__, "threshold", threshold)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.sigmoid(input)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.tanh(input)


class Hardtanh(Module):
    """x cut to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.inplace = inplace
        self.min_val = number(type(self).__name__, "min_val", min_val)
        self.max_val = number(type(self).__name__, "max_val", max_val)
        if not min_val <= max_val:
            raise ValueError(f"Hardtanh: min_val ({min_val}) must not exceed max_val ({max_val})")

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(_Elementwise):
    """x cut to [0, 6]."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.relu6(input)


class Hardsigmoid(_Elementwise):
    """x / 6 + 1/2 cut to [0, 1]."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.hardsigmoid(input)


class Hardswish(_Elementwise):
    """x hardsigmoid(x) (Howard et al., 2019)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.hardswish(input)


class Mish(_Elementwise):
    """x tanh(softplus(x)) (Misra, 2019)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.mish(input)


class LogSigmoid(Module):
    """log(sigmoid(x)), without overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.log_sigmoid(input)


class SELU(_Elementwise):
    """scale (x where positive, else alpha (exp(x) - 1)), which keeps mean 0 and variance 1.

    scale is 1.0507, alpha 1.6733 (Klambauer et al., 2017).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.selu(input)


class CELU(Module):
    """x where positive, else alpha (exp(x / alpha) - 1) (Barron, 2017)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.inplace = inplace
        self.alpha = number(type(self).__name__, "alpha", alpha)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.celu(input, self.alpha)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"alpha={self.alpha}"


class GLU(Module):
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017).

    The axis has half the size afterwards.
    """

    def __init__(self, dim: int = -1) -> None:
        """Store the axis."""
        super().__init__()
        self.dim = integer("GLU", "dim", dim)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class Hardshrink(Module):
    """x, or 0 where `|x| <= lambd`."""

    def __init__(self, lambd: float = 0.5) -> None:
        """Store the settings."""
        super().__init__()
        self.lambd = number(type(self).__name__, "lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by lambd, and 0 where `|x| <= lambd`."""

    def __init__(self, lambd: float = 0.5) -> None:
        """Store the settings."""
        super().__init__()
        self.lambd = nonnegative("Softshrink", "lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.lambd}"


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.tanhshrink(input)


class Softsign(Module):
    """`x / (1 + |x|)`."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.softsign(input)


class Threshold(Module):
    """x where x > threshold, else `value`."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.inplace = inplace
        self.threshold = number(type(self).__name__, "threshold", threshold)
        self.value = number(type(self).__name__, "value", value)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"threshold={self.threshold}, value={self.value}"


class PReLU(Module):
    """x where positive, else weight x, with learned weights (He et al., 2015).

    Args:
        num_parameters: 1, or one per channel: axis 1 of the input.
        init: what the weights start at.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        """Create the parameter."""
        super().__init__()
        self.num_parameters = positive_int("PReLU", "num_parameters", num_parameters)
        self.init = number(type(self).__name__, "init", init)
        self.weight = Parameter(gs.empty((self.num_parameters,), dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Return the weights to their first value."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """Leaky ReLU whose slope is drawn from [lower, upper) per element in training.

    In evaluation it is the mean of the two (Xu et al., 2015).
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        """Check and store the settings."""
        super().__init__()
        self.inplace = inplace
        self.lower = number(type(self).__name__, "lower", lower)
        self.upper = number(type(self).__name__, "upper", upper)
        if not lower <= upper:
            raise ValueError(f"RReLU: lower ({lower}) must not exceed upper ({upper})")

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return functional.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"lower={self.lower}, upper={self.upper}"


class _AlongAxis(Module):
    def __init__(self, dim: int | None = None, *args: Never, **unexpected: Never) -> None:
        """Store the axis."""
        super().__init__(*args, **unexpected)
        self.dim = None if dim is None else integer(type(self).__name__, "dim", dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along `dim`: 0 of an input with 0, 1 or 3 axes, else 1, unless given."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.softmax(input, self.dim)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) along `dim` (see `Softmax`), without overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.log_softmax(input, self.dim)


class Softmin(_AlongAxis):
    """exp(-x) / sum(exp(-x)) along `dim`; see `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        if len(input.shape) not in (3, 4):
            raise ValueError(
                f"Softmax2d: input must be (N, C, H, W) or (C, H, W), got {tuple(input.shape)}"
            )
        return _core.softmax(input, -3)
