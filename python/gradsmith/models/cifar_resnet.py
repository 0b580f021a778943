"""Residual networks for 32x32 images (He, Zhang, Ren and Sun, 2016, section 4.2)."""

from __future__ import annotations

from functools import partial

from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.nn import init
from gradsmith.nn._args import choice
from gradsmith.nn.functional import pad

__all__ = [
    "CifarBlock", "CifarResNet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110",
]  # fmt: skip


class CifarBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added.

    Where the shape changes, option "A" drops every other pixel of the input and adds channels of
    zeros on both sides; "B" projects it with a 1x1 convolution.
    """

    def __init__(self, channels: int, planes: int, stride: int = 1, option: str = "A") -> None:
        """Create the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.stride = stride
        self.added = planes - channels
        changes = stride != 1 or self.added != 0
        self.shortcut = nn.Sequential()
        if changes and option == "B":
            self.shortcut.extend(
                [nn.Conv2d(channels, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)]
            )
        self.pads = changes and option == "A"

    def forward(self, input: Tensor) -> Tensor:
        """Apply the block."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.bn2(self.conv2(x))
        if self.pads:
            kept = input[:, :, :: self.stride, :: self.stride]
            before = self.added // 2
            input = pad(kept, (0, 0, 0, 0, before, self.added - before))
        return self.relu(x + self.shortcut(input))


class CifarResNet(nn.Module):
    """A network of 6 `blocks` + 2 layers with the paper's widths 16, 32 and 64.

    Args:
        blocks: blocks in each of the three stages.
        num_classes: outputs.
        option: shortcuts where the shape changes: "A" without parameters, as in the paper's
            CIFAR experiments, or "B", projections.
        in_channels: channels of the images.

    Shapes: input (N, in_channels, H, W), output (N, num_classes). Parameters: conv1, bn1,
    layer1.0.conv1, ..., linear, named as in the weights published for PyTorch.
    """

    def __init__(
        self, blocks: int, num_classes: int = 10, option: str = "A", in_channels: int = 3
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        choice("CifarResNet", "option", option, ("A", "B"))
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        channels = 16
        for stage, planes in enumerate((16, 32, 64)):
            stack: list[nn.Module] = []
            for i in range(blocks):
                stack.append(CifarBlock(channels, planes, 2 if stage and not i else 1, option))
                channels = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*stack))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                init.kaiming_normal_(module.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


resnet20 = partial(CifarResNet, 3)
resnet32 = partial(CifarResNet, 5)
resnet44 = partial(CifarResNet, 7)
resnet56 = partial(CifarResNet, 9)
resnet110 = partial(CifarResNet, 18)
