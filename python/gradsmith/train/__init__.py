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
)
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
    "GradientFlow",
    "GradientFlowWarning",
    "History",
    "JSONLLogger",
    "Metric",
    "Progress",
    "Trainer",
    "callbacks",
    "metrics",
    "predict",
]
