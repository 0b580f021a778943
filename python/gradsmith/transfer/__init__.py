"""Transfer learning: weights from files, frozen layers, new heads, learning rates by depth."""

from __future__ import annotations

from .pretrained import PretrainedReport, load_pretrained, read_weights
from .tuning import freeze, layer_groups, replace_head, unfreeze

__all__ = [
    "PretrainedReport",
    "freeze",
    "layer_groups",
    "load_pretrained",
    "read_weights",
    "replace_head",
    "unfreeze",
]
