"""Normalisation layers: batch, instance, layer, group, RMS and local response norm."""

from __future__ import annotations

from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import nonnegative, number
from gradsmith._core import Tensor

from . import functional, init
from ._args import positive_int
from .module import Module
from .parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


def _register_affine(
    layer: Module, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any
) -> None:
    """Register the factor and the constant, where they are wanted."""
    for name, wanted, make in (("weight", weight, gs.ones), ("bias", bias, gs.zeros)):
        param = Parameter(make(shape, dtype=dtype, device=device)) if wanted else None
        layer.register_parameter(name, param)


def _reset_affine(layer: Module) -> None:
    for name, param in layer._parameters.items():
        if param is not None:
            init.constant_(param, 1.0 if name == "weight" else 0.0)


class _Tracking(Module):
    """Parameters and running statistics per channel, as batch and instance norms have them."""

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
        *,
        bias: bool = True,
    ) -> None:
        """Create parameters and running statistics."""
        super().__init__()
        self.num_features = positive_int(type(self).__name__, "num_features", num_features)
        self.eps = nonnegative(type(self).__name__, "eps", eps)
        own = type(self).__name__
        self.momentum = None if momentum is None else number(own, "momentum", momentum)
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (self.num_features,)
        _register_affine(self, shape, affine, affine and bias, device, dtype)
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
        _reset_affine(self)

    def _check_rank(self, input: Tensor) -> None:
        if len(input.shape) not in self._ranks:
            raise ValueError(
                f"{type(self).__name__}: input must be {self._layout}, got {tuple(input.shape)}"
            )

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracking):
    """What the batch norms share: everything but the shapes they accept."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer; in training it updates the running statistics."""
        self._check_rank(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        own: Any = self._parameters  # without a detour through __getattr__
        buffers: Any = self._buffers
        mean, var = buffers["running_mean"], buffers["running_var"]
        training = self.training or not self.track_running_stats
        if training and not input.shape[0]:  # nothing to take statistics of, and none are used
            shape = (self.num_features,)
            mean, var = (
                make(shape, dtype=input.dtype, device=input.device) for make in (gs.zeros, gs.ones)
            )
            training = False
        if self.training and self.track_running_stats and self.momentum is None:
            momentum = 1 / (self.num_batches_tracked.item() + 1)
        output = _core.batch_norm(
            input, mean, var, own["weight"], own["bias"], training, momentum, self.eps
        )
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)  # not before: a batch may be refused
        return output


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
        bias: whether an affine layer has `bias`.

    Shapes: input and output (N, C, H, W). Statistics run over N, H and W.
    """

    _ranks = (4,)
    _layout = "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); formula and arguments as in `BatchNorm2d`."""

    _ranks = (5,)
    _layout = "(N, C, D, H, W)"


class _InstanceNorm(_Tracking):
    """What the instance norms share: everything but the shapes they accept.

    Without running statistics, the input's own are used in evaluation too.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        """Create parameters and running statistics."""
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer; in training it updates the running statistics."""
        self._check_rank(input)
        single = len(input.shape) == self._ranks[0]
        channels = input.shape[0 if single else 1]
        if channels != self.num_features and (self.affine or self.track_running_stats):
            raise ValueError(
                f"{type(self).__name__}: input {tuple(input.shape)} has {channels} channels, "
                f"num_features is {self.num_features}"
            )
        output = functional.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output.squeeze(0) if single else output


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L); arguments as of `InstanceNorm2d`."""

    _ranks = (2, 3)
    _layout = "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per sample and channel.

    (Ulyanov, Vedaldi and Lempitsky, 2016.)

    Args:
        num_features: channels of the input.
        eps: added to the variance.
        momentum: share of the new statistics in the running ones.
        affine: whether `weight` (starts at 1) and `bias` (starts at 0) are learned.
        track_running_stats: keep running mean and (unbiased) variance for evaluation.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.
        bias: whether an affine layer has `bias`.

    Shapes: input and output (N, C, H, W) or (C, H, W). Statistics run over H and W.
    """

    _ranks = (3, 4)
    _layout = "(N, C, H, W) or (C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); see `InstanceNorm2d`."""

    _ranks = (4, 5)
    _layout = "(N, C, D, H, W) or (C, D, H, W)"


class LocalResponseNorm(Module):
    """x / (k + alpha mean(x^2))^beta over `size` channels around (Krizhevsky et al., 2012).

    Args:
        size: channels in the mean; beyond the ends they count as zeros.
        alpha: factor of the mean of squares.
        beta: exponent.
        k: added to it.

    Shapes: input and output (N, C, ...).
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        """Check and store the settings."""
        super().__init__()
        self.size = positive_int("LocalResponseNorm", "size", size)
        self.alpha = number(type(self).__name__, "alpha", alpha)
        self.beta = number(type(self).__name__, "beta", beta)
        self.k = number(type(self).__name__, "k", k)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


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
        _reset_affine(self)


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
        wanted = elementwise_affine
        _register_affine(self, self.normalized_shape, wanted, wanted and bias, device, dtype)

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
        bias: whether an affine layer has `bias`.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
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
        _register_affine(self, (self.num_channels,), affine, affine and bias, device, dtype)

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
