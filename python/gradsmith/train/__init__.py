"""Trainer, metrics and callbacks."""

from __future__ import annotations

from . import callbacks, metrics
from .callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    GradientFlow,
    GradientFlowWarning,
    JSONLLogger,
    SampleGrid,
)
from .gan import GANTrainer, GANWarning
from .gan_losses import gradient_penalty
from .history import History
from .inference import predict
from .metrics import Metric
from .progress import Progress
from .trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GANTrainer",
    "GANWarning",
    "GradientFlow",
    "GradientFlowWarning",
    "History",
    "JSONLLogger",
    "Metric",
    "Progress",
    "SampleGrid",
    "Trainer",
    "callbacks",
    "gradient_penalty",
    "metrics",
    "predict",
]
