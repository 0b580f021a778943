"""What a second thread brings, and whether it costs anything while another process holds a core.

    python bench/held_core.py

Prints medians and means of a few calls on one and on two threads, first on a machine that is left
alone, then beside a process that does nothing but keep the last usable CPU busy.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import gradsmith as gs
import numpy as np
from gradsmith import kernels

Call = Callable[[], object]


def calls() -> dict[str, Call]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    def product(n: int) -> Call:
        a, b, c = normal(n, n), normal(n, n), np.empty((n, n), np.float32)
        return lambda: kernels.gemm(a, b, out=c)

    def exponential(n: int) -> Call:
        x, y = normal(n), np.empty(n, np.float32)
        return lambda: kernels.exp(x, out=y)

    x, w = normal(16, 64, 28, 28), normal(64, 64, 3, 3)
    return {
        **{f"gemm {n}": product(n) for n in (64, 128, 256, 512, 1024)},
        **{f"exp {n}": exponential(n) for n in (1 << 16, 1 << 20)},
        "conv2d 16x64x28x28": lambda: kernels.conv2d(x, w, padding=1),
    }


def microseconds(call: Call) -> tuple[float, float]:
    times: list[float] = []
    call()
    while len(times) < 20 or sum(times) < 0.3:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6, statistics.mean(times) * 1e6


def table(title: str) -> None:
    print(f"{title}\n{'':20} 1 thread, us    2 threads, us   1 over 2 (median, mean)")
    for name, call in calls().items():
        found = []
        for threads in (1, 2):
            gs.set_num_threads(threads)
            found.append(microseconds(call))
        (m1, a1), (m2, a2) = found
        print(f"{name:20} {m1:12.1f} {m2:16.1f} {m1 / m2:11.2f} {a1 / a2:6.2f}")


if __name__ == "__main__":
    cpu = max(os.sched_getaffinity(0))
    table("alone")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        os.sched_setaffinity(other.pid, {cpu})
        time.sleep(0.5)
        table(f"\nCPU {cpu} held by another process")
        other.kill()
