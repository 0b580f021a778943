"""Real data sets, read from files that are already on this machine."""

from __future__ import annotations

from .digits import MNIST, Digits, stratified_split
from .idx import read_idx
from .ring import GaussianRing

__all__ = ["MNIST", "Digits", "GaussianRing", "read_idx", "stratified_split"]
