"""The one table of op cases; every test that runs over all ops reads it.

A new op is one row here. tests/test_layering.py fails for a bound op without one.
"""

from ._case import LAYOUTS, OpCase, Sample, arrays_of, call, expect, map_arrays, to_array
from .elementwise import CASES as ELEMENTWISE
from .indexing import CASES as INDEXING
from .inplace import CASES as INPLACE
from .losses import CASES as LOSSES
from .nn import CASES as NN
from .norms import CASES as NORMS
from .reductions import CASES as REDUCTIONS
from .steps import CASES as STEPS
from .views import CASES as VIEWS

CASES: list[OpCase] = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *VIEWS,
    *INDEXING,
    *INPLACE,
    *NN,
    *LOSSES,
    *NORMS,
    *STEPS,
]

# Ops whose result is random or that make tensors out of nothing: tests/test_creation.py.
WITHOUT_CASE = {
    "arange",
    "bernoulli_",
    "data_ptr",
    "detach",
    "dim",
    "empty",
    "empty_like",
    "eye",
    "full",
    "is_contiguous",
    "linspace",
    "normal_",
    "numel",
    "ones",
    "ones_like",
    "rand",
    "randint",
    "randn",
    "randperm",
    "requires_grad_",
    "retain_grad",
    "uniform_",
    "zeros",
    "zeros_like",
}

__all__ = [
    "CASES",
    "LAYOUTS",
    "WITHOUT_CASE",
    "OpCase",
    "Sample",
    "arrays_of",
    "call",
    "expect",
    "map_arrays",
    "to_array",
]
