"""Datasets, samplers and the DataLoader."""

from __future__ import annotations

from . import datasets, transforms
from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .loader import DataLoader, default_collate
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .scaling import Standardizer
from .series import WindowDataset, time_split
from .splits import class_weights, k_fold, sample_weights
from .table import Table, TableEncoder, read_csv
from .text import SequenceDataset, Vocabulary, tokenize

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "RandomSampler",
    "Sampler",
    "SequenceDataset",
    "SequentialSampler",
    "Standardizer",
    "Subset",
    "SubsetRandomSampler",
    "Table",
    "TableEncoder",
    "TensorDataset",
    "Vocabulary",
    "WeightedRandomSampler",
    "WindowDataset",
    "class_weights",
    "datasets",
    "default_collate",
    "k_fold",
    "random_split",
    "read_csv",
    "sample_weights",
    "time_split",
    "tokenize",
    "transforms",
]
