"""Learning-rate schedules.

All but `ReduceLROnPlateau` are closed formulas of the step count and the initial rate, so a
schedule restored from its state continues exactly; call `step()` per epoch or per batch.
"""

from __future__ import annotations

from .base import LRScheduler
from .cycle import OneCycleLR
from .formula import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
