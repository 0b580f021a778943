"""After some steps, training and inference ask the system for no memory and fault no page in."""

from __future__ import annotations

import resource

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.cli.bench import cases
from gradsmith.cli.bench.case import CASES

assert cases.__all__  # imported for what it registers
MODELS = [name for name in CASES if name.startswith(("train_", "infer_"))]


def _demands() -> tuple[int, int]:
    """Return how often the system gave memory, and how often it had to back it with a page."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return gs._core.memory_stats()["system_allocations"], faults


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_no_memory_is_asked_for(name: str, threads: int) -> None:
    before = gs.get_num_threads()
    gs.set_num_threads(threads)
    quiet, most = 0, 40  # which thread takes what varies: each warms up in its own time
    try:
        step = CASES[name].prepare({"batch": 8 if "train" in name else 1}, np.float32)
        with gs.set_grad_enabled(step.tracked):
            for _ in range(most):
                allocations, faults = _demands()
                for _ in range(5):
                    step.run()
                now = _demands()
                # A few faults are the interpreter's; one buffer of a step would be dozens.
                still = now[0] == allocations and now[1] - faults <= 4
                quiet = quiet + 1 if still else 0
                if quiet == 4:
                    return
    finally:
        gs.set_num_threads(before)
    pytest.fail(f"still asking for memory after {5 * most} steps")
