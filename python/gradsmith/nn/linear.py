"""Dense layers and reshaping: Linear, Bilinear, Identity, Flatten, Unflatten."""

from __future__ import annotations

import math
from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import integer
from gradsmith._core import Tensor

from . import functional, init
from ._args import positive_int
from .module import Module
from .parameter import Parameter

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Module):
    """y = x W^T + b over the last axis.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether to add a learned `b`.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (..., in_features), output (..., out_features), weight (out_features,
    in_features), bias (out_features). Both start uniform in +-1/sqrt(in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        self.in_features = positive_int("Linear", "in_features", in_features, 0)
        self.out_features = positive_int("Linear", "out_features", out_features, 0)
        self.weight = Parameter(
            gs.empty((self.out_features, self.in_features), dtype=dtype, device=device)
        )
        if bias:
            self.bias = Parameter(gs.empty((self.out_features,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return self.forward_activated(input, "none")

    def forward_activated(self, input: Tensor, activation: str) -> Tensor:
        """Apply the layer and then an activation of `functional.linear`, in one pass."""
        own: Any = self._parameters  # without a detour through __getattr__
        return _core.linear(input, own["weight"], own["bias"], activation)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y_k = x1^T W_k x2 + b_k.

    Args:
        in1_features: size of the last axis of the first input.
        in2_features: size of the last axis of the second input.
        out_features: size of the last axis of the output.
        bias: whether to add a learned `b`.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: inputs (..., in1_features) and (..., in2_features) with equal leading axes, output
    (..., out_features), weight (out_features, in1_features, in2_features).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        self.in1_features = positive_int("Bilinear", "in1_features", in1_features)
        self.in2_features = positive_int("Bilinear", "in2_features", in2_features)
        self.out_features = positive_int("Bilinear", "out_features", out_features)
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = Parameter(gs.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(gs.empty((self.out_features,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        bound = 1 / math.sqrt(self.in1_features)
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Identity(Module):
    """Returns its input; arguments are accepted and ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ignore the arguments."""
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


class Flatten(Module):
    """Joins the axes from `start_dim` to `end_dim` (inclusive) into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        """Store the axes."""
        super().__init__()
        self.start_dim = integer(type(self).__name__, "start_dim", start_dim)
        self.end_dim = integer(type(self).__name__, "end_dim", end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """Reshape, without a copy where the layout allows."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one axis into several; one size may be -1."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        """Store axis and sizes."""
        super().__init__()
        self.dim = integer(type(self).__name__, "dim", dim)
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                "Unflatten: unflattened_size must be a tuple of ints, "
                f"got {type(unflattened_size).__name__}"
            )
        self.unflattened_size = tuple(
            integer("Unflatten", "unflattened_size", size) for size in unflattened_size
        )

    def forward(self, input: Tensor) -> Tensor:
        """Reshape."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Show axis and sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
