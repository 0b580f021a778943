"""Callbacks: code that a Trainer or GANTrainer calls while it trains."""

from __future__ import annotations

from .average import EMA, WeightAverage
from .base import Callback, Logs
from .gradient_flow import Finding, GradientFlow, GradientFlowWarning, GradientRecord
from .loggers import CSVLogger, JSONLLogger
from .monitor import Checkpoint, EarlyStopping
from .plots import HistoryPlot
from .samples import SampleGrid
from .tensorboard import TensorBoard

__all__ = [
    "EMA",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Finding",
    "GradientFlow",
    "GradientFlowWarning",
    "GradientRecord",
    "HistoryPlot",
    "JSONLLogger",
    "Logs",
    "SampleGrid",
    "TensorBoard",
    "WeightAverage",
]
