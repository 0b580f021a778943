"""Models with torchvision's parameter names and initial values where it has them.

`gs.load_pretrained` fills them from files; `gs.transfer` freezes, replaces heads and groups
learning rates.
"""

from __future__ import annotations

from .cifar_resnet import (
    CifarBlock,
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .dcgan import DCGANDiscriminator, DCGANGenerator
from .lenet import LeNet
from .mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2
from .resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from .text import CharLSTM, TextCNN
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "CharLSTM",
    "CifarBlock",
    "CifarResNet",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "InvertedResidual",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "TextCNN",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnext50_32x4d",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
]
