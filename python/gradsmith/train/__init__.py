"""Trainer, metrics and callbacks."""

from __future__ import annotations

from . import callbacks, metrics
from .callbacks import (
    EMA,
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    GradientFlow,
    GradientFlowWarning,
    HistoryPlot,
    JSONLLogger,
    SampleGrid,
    TensorBoard,
    WeightAverage,
)
from .cross_validation import cross_validate
from .gan import GANTrainer, GANWarning
from .gan_losses import gradient_penalty
from .history import History
from .inference import predict
from .lr_finder import find_lr
from .metrics import Metric
from .progress import Progress
from .trainer import Trainer

__all__ = [
    "EMA",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GANTrainer",
    "GANWarning",
    "GradientFlow",
    "GradientFlowWarning",
    "History",
    "HistoryPlot",
    "JSONLLogger",
    "Metric",
    "Progress",
    "SampleGrid",
    "TensorBoard",
    "Trainer",
    "WeightAverage",
    "callbacks",
    "cross_validate",
    "find_lr",
    "gradient_penalty",
    "metrics",
    "predict",
]
