"""Real data sets, read from files that are already on this machine."""

from __future__ import annotations

from .cifar import CIFAR10, CIFAR100
from .digits import MNIST, Digits, stratified_split
from .idx import read_idx
from .image_folder import ImageFolder
from .ring import GaussianRing

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Digits",
    "GaussianRing",
    "ImageFolder",
    "read_idx",
    "stratified_split",
]
