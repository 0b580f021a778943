"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and defaults."""

from __future__ import annotations

from . import lr_scheduler
from .adadelta import Adadelta
from .adam import Adam, AdamW
from .adam_family import Adamax, NAdam, RAdam
from .adaptive import Adagrad, RMSprop
from .asgd import ASGD
from .lion import Lion
from .optimizer import Optimizer
from .rprop import Rprop
from .sgd import SGD

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
