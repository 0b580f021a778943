"""PyTorch through torch.compile, for whole models; the first call compiles, half a minute each."""

from __future__ import annotations

from ..case import Prepared, Run
from .torch import _torch, mode, threads, version

__all__ = ["NEEDS", "mode", "prepare", "threads", "version"]

NEEDS = "torch and a C++ compiler"


def prepare(name: str, case: Prepared) -> dict[str, Run]:
    """Return the compiled step or inference."""
    if case.compiled is None:
        return {}
    torch = _torch()
    return {"": case.compiled(torch, torch.compile)}
