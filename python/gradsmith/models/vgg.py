"""VGG networks (Simonyan and Zisserman, 2015), with and without batch normalisation."""

from __future__ import annotations

from functools import partial

from gradsmith import nn
from gradsmith._core import Tensor

from ._init import init_convolutional

__all__ = [
    "VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip

# Convolutions before each of the five poolings.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """A VGG network with torchvision's parameter names (features.0.weight, classifier.6.bias).

    Args:
        depth: layers with weights: 11, 13, 16 or 19.
        num_classes: outputs.
        batch_norm: normalise after every convolution.
        dropout: probability in the classifier.
        in_channels: channels of the images.

    Shapes: input (N, in_channels, H, W) with H and W at least 32, output (N, num_classes).
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 1000,
        batch_norm: bool = False,
        dropout: float = 0.5,
        in_channels: int = 3,
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        if depth not in _DEPTHS:
            raise ValueError(f"VGG: depth must be one of {list(_DEPTHS)}, got {depth!r}")
        layers: list[nn.Module] = []
        channels = in_channels
        for count, width in zip(_DEPTHS[depth], _WIDTHS, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        init_convolutional(self, linear_std=0.01)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        return self.classifier(self.avgpool(self.features(input)).flatten(1))


vgg11 = partial(VGG, 11)
vgg13 = partial(VGG, 13)
vgg16 = partial(VGG, 16)
vgg19 = partial(VGG, 19)
vgg11_bn = partial(VGG, 11, batch_norm=True)
vgg13_bn = partial(VGG, 13, batch_norm=True)
vgg16_bn = partial(VGG, 16, batch_norm=True)
vgg19_bn = partial(VGG, 19, batch_norm=True)
