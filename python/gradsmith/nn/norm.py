"""Normalisation layers: BatchNorm1d/2d, LayerNorm, GroupNorm, RMSNorm."""

from __future__ import annotations

from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import init
from ._args import nonnegative, positive_int
from .module import Module
from .parameter import Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share: everything but the shapes they accept."""

    _ranks: ClassVar[tuple[int, ...]]
    _layout: ClassVar[str]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create parameters and running statistics."""
        super().__init__()
        self.num_features = positive_int(type(self).__name__, "num_features", num_features)
        self.eps = nonnegative(type(self).__name__, "eps", eps)
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (self.num_features,)
        if affine:
            self.weight = Parameter(gs.ones(shape, dtype=dtype, device=device))
            self.bias = Parameter(gs.zeros(shape, dtype=dtype, device=device))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", gs.zeros(shape, dtype=dtype, device=device) if tracked else None
        )
        self.register_buffer(
            "running_var", gs.ones(shape, dtype=dtype, device=device) if tracked else None
        )
        self.register_buffer(
            "num_batches_tracked", gs.zeros((), dtype=gs.int64, device=device) if tracked else None
        )

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Return everything to its initial value."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer; in training it updates the running statistics."""
        if len(input.shape) not in self._ranks:
            raise ValueError(
                f"{type(self).__name__}: input must be {self._layout}, got {tuple(input.shape)}"
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.momentum is None:
            momentum = 1 / (self.num_batches_tracked.item() + 1)
        own: Any = self._parameters  # without a detour through __getattr__
        buffers = self._buffers
        output = _core.batch_norm(
            input,
            buffers["running_mean"],
            buffers["running_var"],
            own["weight"],
            own["bias"],
            self.training or not self.track_running_stats,
            momentum,
            self.eps,
        )
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)  # not before: a batch may be refused
        return output

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); formula and arguments as in `BatchNorm2d`."""

    _ranks = (2, 3)
    _layout = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel (Ioffe and Szegedy, 2015).

    Args:
        num_features: channels, axis 1 of the input.
        eps: added to the variance.
        momentum: share of the new batch in the running statistics; None averages all batches.
        affine: whether `weight` (starts at 1) and `bias` (starts at 0) are learned.
        track_running_stats: keep running mean and (unbiased) variance for evaluation.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input and output (N, C, H, W). Statistics run over N, H and W.
    """

    _ranks = (4,)
    _layout = "(N, C, H, W)"


def _shape(layer: str, normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape
    if not isinstance(sizes, (tuple, list)):
        sizes = (sizes,)
    if not sizes:
        raise ValueError(f"{layer}: normalized_shape must name at least one axis, got ()")
    return tuple(positive_int(layer, "normalized_shape", size) for size in sizes)


class _Affine(Module):
    """What LayerNorm, GroupNorm and RMSNorm share: a factor, and a bias where there is one."""

    def reset_parameters(self) -> None:
        """Return `weight` to 1 and `bias` to 0."""
        for name, param in self._parameters.items():
            if param is not None:
                init.constant_(param, 1.0 if name == "weight" else 0.0)


class LayerNorm(_Affine):
    """Normalises over the last axes to mean 0 and variance 1 (Ba, Kiros and Hinton, 2016).

    Args:
        normalized_shape: sizes of the last axes, an int or a tuple.
        eps: added to the variance.
        elementwise_affine: whether `weight` (starts at 1) is learned.
        bias: whether `bias` (starts at 0) is learned too.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps = nonnegative("LayerNorm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        shape = self.normalized_shape
        self.register_parameter(
            "weight",
            Parameter(gs.ones(shape, dtype=dtype, device=device)) if elementwise_affine else None,
        )
        self.register_parameter(
            "bias",
            Parameter(gs.zeros(shape, dtype=dtype, device=device))
            if elementwise_affine and bias
            else None,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Normalises over groups of channels and all positions (Wu and He, 2018).

    Args:
        num_groups: groups; must divide `num_channels`.
        num_channels: channels, axis 1 of the input (N, C, ...).
        eps: added to the variance.
        affine: whether `weight` (starts at 1) and `bias` (starts at 0) are learned per channel.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"GroupNorm: num_channels ({num_channels}) must be divisible by "
                f"num_groups ({num_groups})"
            )
        self.eps = nonnegative("GroupNorm", "eps", eps)
        self.affine = affine
        shape = (self.num_channels,)
        self.register_parameter(
            "weight", Parameter(gs.ones(shape, dtype=dtype, device=device)) if affine else None
        )
        self.register_parameter(
            "bias", Parameter(gs.zeros(shape, dtype=dtype, device=device)) if affine else None
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class RMSNorm(_Affine):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last axes (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: sizes of the last axes, an int or a tuple.
        eps: added to the mean square; the dtype's machine epsilon unless given.
        elementwise_affine: whether `weight` (starts at 1) is learned.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create the parameter."""
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps = None if eps is None else nonnegative("RMSNorm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        self.register_parameter(
            "weight",
            Parameter(gs.ones(self.normalized_shape, dtype=dtype, device=device))
            if elementwise_affine
            else None,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
