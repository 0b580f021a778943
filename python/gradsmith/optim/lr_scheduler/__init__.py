"""Learning-rate schedules.

All but `ReduceLROnPlateau` are formulas of the step count and the initial rate. Stepped one after
the other, they multiply, and most go on from a rate set by hand, as in PyTorch. A schedule restored
from its state continues exactly; call `step()` per epoch or per batch.
"""

from __future__ import annotations

from .base import LRScheduler
from .chained import ChainedScheduler
from .cycle import CyclicLR, OneCycleLR
from .formula import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .sequential import SequentialLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
