"""Residual networks for images of ImageNet's kind (He, Zhang, Ren and Sun, 2016)."""

from __future__ import annotations

from functools import partial

from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.nn import init

from ._init import init_convolutional

__all__ = [
    "BasicBlock", "Bottleneck", "ResNet", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152", "resnext50_32x4d", "wide_resnet50_2",
]  # fmt: skip


def _shortcut(channels: int, width: int, stride: int) -> nn.Sequential | None:
    """Fit the input to the block's output where its shape changes."""
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(
        nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    expansion = 1

    def __init__(
        self, channels: int, planes: int, stride: int = 1, groups: int = 1, base_width: int = 64
    ) -> None:
        """Create the layers."""
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock: groups must be 1 and base_width 64")
        self.conv1 = nn.Conv2d(channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(channels, planes, stride)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the block."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + (input if self.downsample is None else self.downsample(input)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around which the input is added; the stride is in the 3x3."""

    expansion = 4

    def __init__(
        self, channels: int, planes: int, stride: int = 1, groups: int = 1, base_width: int = 64
    ) -> None:
        """Create the layers."""
        super().__init__()
        width = planes * base_width // 64 * groups
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels, outputs, stride)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the block."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + (input if self.downsample is None else self.downsample(input)))


class ResNet(nn.Module):
    """A residual network with torchvision's parameter names (layer1.0.conv1.weight, fc.bias).

    Args:
        block: BasicBlock or Bottleneck.
        layers: blocks in each of the four stages.
        num_classes: outputs.
        zero_init_residual: start every block as the identity (Goyal et al., 2017).
        groups: of the 3x3 convolutions (Bottleneck; Xie et al., 2017).
        width_per_group: channels per group in the first stage (Bottleneck).
        in_channels: channels of the images.

    Shapes: input (N, in_channels, H, W), output (N, num_classes).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        in_channels: int = 3,
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, count in enumerate(layers):
            blocks: list[nn.Module] = []
            for i in range(count):
                planes, stride = 64 * 2**stage, 2 if stage and not i else 1
                blocks.append(block(channels, planes, stride, groups, width_per_group))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        init_convolutional(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (BasicBlock, Bottleneck)):
                    last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                    init.zeros_(last.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


resnet18 = partial(ResNet, BasicBlock, (2, 2, 2, 2))
resnet34 = partial(ResNet, BasicBlock, (3, 4, 6, 3))
resnet50 = partial(ResNet, Bottleneck, (3, 4, 6, 3))
resnet101 = partial(ResNet, Bottleneck, (3, 4, 23, 3))
resnet152 = partial(ResNet, Bottleneck, (3, 8, 36, 3))
resnext50_32x4d = partial(ResNet, Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4)
wide_resnet50_2 = partial(ResNet, Bottleneck, (3, 4, 6, 3), width_per_group=128)
