"""Activation layers. Each keeps the shape and the dtype of its input.

`inplace` is taken where PyTorch has it, so that its code runs, and changes nothing: the result is
always a new tensor.
"""

from __future__ import annotations

from typing import Never

from gradsmith import _core
from gradsmith._core import Tensor

from ._args import choice
from .module import Module

__all__ = [
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
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
        self.negative_slope = negative_slope

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
        self.alpha = alpha

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
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to every element."""
        return _core.softplus(input, self.beta, self.threshold)

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
        self.min_val = min_val
        self.max_val = max_val
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


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int) -> None:
        """Store the axis."""
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"Softmax: dim must be an int, got {type(dim).__name__}")
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along `dim`, without overflow."""

    def __init__(self, dim: int) -> None:
        """Store the axis."""
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"LogSoftmax: dim must be an int, got {type(dim).__name__}")
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"
