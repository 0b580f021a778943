"""MobileNetV2: inverted residuals and linear bottlenecks (Sandler et al., 2018)."""

from __future__ import annotations

from gradsmith import nn
from gradsmith._core import Tensor

from ._init import init_convolutional

__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]

# Per stage: expansion, channels, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _rounded(channels: float, divisor: int) -> int:
    """Return the nearest multiple of `divisor` that takes away no more than a tenth."""
    near = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * channels else near


def _conv(
    channels: int, outputs: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel_size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Widens with 1x1, filters each channel with 3x3, and narrows without an activation."""

    def __init__(self, channels: int, outputs: int, stride: int, expand_ratio: int) -> None:
        """Create the layers."""
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride must be 1 or 2, got {stride!r}")
        width = channels * expand_ratio
        self.use_res_connect = stride == 1 and channels == outputs
        layers: list[nn.Module] = [] if expand_ratio == 1 else [_conv(channels, width, 1)]
        self.conv = nn.Sequential(
            *layers,
            _conv(width, width, stride=stride, groups=width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the block."""
        return input + self.conv(input) if self.use_res_connect else self.conv(input)


class MobileNetV2(nn.Module):
    """MobileNetV2 with torchvision's parameter names (features.0.0.weight, classifier.1.bias).

    Args:
        num_classes: outputs.
        width_mult: factor on all widths.
        round_nearest: widths are multiples of this.
        dropout: probability before the classifier.
        in_channels: channels of the images.

    Shapes: input (N, in_channels, H, W), output (N, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        round_nearest: int = 8,
        dropout: float = 0.2,
        in_channels: int = 3,
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        channels = _rounded(32 * width_mult, round_nearest)
        self.last_channel = _rounded(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [_conv(in_channels, channels, stride=2)]
        for expansion, width, blocks, stride in _STAGES:
            outputs = _rounded(width * width_mult, round_nearest)
            for i in range(blocks):
                step = 1 if i else stride
                features.append(InvertedResidual(channels, outputs, step, expansion))
                channels = outputs
        features.append(_conv(channels, self.last_channel, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes)
        )
        init_convolutional(self, linear_std=0.01)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        return self.classifier(self.features(input).mean((2, 3)))


mobilenet_v2 = MobileNetV2
