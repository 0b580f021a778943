"""After a few steps, training and inference ask the system for no memory and fault no page in."""

from __future__ import annotations

import resource

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.cli.bench import cases
from gradsmith.cli.bench.case import CASES

assert cases.__all__  # imported for what it registers
MODELS = [name for name in CASES if name.startswith(("train_", "infer_"))]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_no_memory_is_asked_for(name: str, threads: int) -> None:
    before = gs.get_num_threads()
    gs.set_num_threads(threads)
    try:
        step = CASES[name].prepare({"batch": 8 if "train" in name else 1}, np.float32)
        with gs.set_grad_enabled(step.tracked):
            for _ in range(5):
                step.run()
            asked = gs._core.memory_stats()
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                step.run()
            now = gs._core.memory_stats()
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    finally:
        gs.set_num_threads(before)
    assert now["cache_hits"] > asked["cache_hits"]
    assert now["system_allocations"] == asked["system_allocations"]
    assert faults <= 8  # the interpreter's own; a single buffer of a step would be hundreds
