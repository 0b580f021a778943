"""Timing of several functions in turn, and what the machine does at most."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import gradsmith as gs
from gradsmith import kernels

from .case import Prepared, Run

__all__ = ["Effort", "Limits", "Timing", "clock_of", "measure", "measure_limits", "peak"]

_CACHE_BYTES = 256 * 1024  # a copy of this size stays in an L2 cache
_MEMORY_BYTES = 256 * 1024 * 1024

Clock = Callable[[], int]


@dataclass
class Timing:
    """Nanoseconds a call: the best round, the median, and the middle half's width over it."""

    best: float
    median: float
    spread: float
    calls: int
    rounds: int


@dataclass
class Effort:
    """How long to measure: rounds of at least round_ns; fewer, but three, beyond budget_ns."""

    rounds: int = 9
    round_ns: int = 20_000_000
    budget_ns: int = 10_000_000_000


@dataclass
class Limits:
    """What the machine does at most with these threads: operations and bytes per nanosecond."""

    flops: float
    cache: float
    memory: float

    def of(self, case: Prepared, threads: int) -> tuple[float, str]:
        """Return the fewest nanoseconds that a case can take, and what binds it."""
        in_cache = case.bytes <= 2 * _CACHE_BYTES * threads
        by_bytes = case.bytes / (self.cache if in_cache else self.memory)
        by_flops = case.flops / self.flops
        if by_flops >= by_bytes:
            return by_flops, "FMA"
        return by_bytes, "cache" if in_cache else "memory"


def clock_of(name: str) -> Clock:
    """Return the clock that `--clock` names."""
    return time.thread_time_ns if name == "cpu" else time.perf_counter_ns


def _settle() -> None:
    """Wait until no thread of this process works: other libraries' idle threads spin for a while.

    OpenBLAS's do so for 20 ms, and whoever comes next would have one core less. The clock counts
    other threads' time in ticks of up to 10 ms.
    """
    for _ in range(50):
        begin = time.process_time_ns()
        time.sleep(0.02)
        if time.process_time_ns() - begin < 1_000_000:
            return


def measure(runs: list[Run], effort: Effort, clock: Clock, *, settle: bool = False) -> list[Timing]:
    """Time several functions in turn, round by round, so that noise meets all of them.

    With `settle` each begins after the threads of the one before have gone to sleep, and wakes its
    own by a call that is not timed.
    """
    calls, total = [], 1
    for run in runs:
        run()
        begin = clock()
        run()
        once = max(clock() - begin, 1)
        calls.append(max(1, min(1_000_000, effort.round_ns // once)))
        total += calls[-1] * once
    rounds = max(min(3, effort.rounds), min(effort.rounds, effort.budget_ns // total))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, count, found in zip(runs, calls, times, strict=True):
            if settle:
                _settle()
                run()
            begin = clock()
            for _ in range(count):
                run()
            found.append((clock() - begin) / count)
    timings = []
    for count, found in zip(calls, times, strict=True):
        median = statistics.median(found)
        low, high = np.percentile(found, [25, 75])
        timings.append(Timing(min(found), median, float(high - low) / median, count, rounds))
    return timings


def peak(dtype: str, threads: int) -> tuple[Run, int]:
    """Return a call that does nothing but fused multiply-adds, and how many operations they are."""
    kind, rounds = getattr(gs, dtype), 100_000

    def run() -> int:
        return int(gs._core._kernels.peak_fma(kind, rounds, threads))

    return run, run()


def measure_limits(dtype: str, threads: int, clock: Clock) -> Limits:
    """Measure them; the best of a few rounds each."""
    run, operations = peak(dtype, threads)
    flops = operations / measure([run], Effort(7), clock)[0].best

    def copy_speed(bytes_each: int) -> float:
        # Half is read, half written. The gap keeps the two from lying 16 bytes apart modulo 4096,
        # which AMD's Zen 3 takes for a dependency: a copy is 15 times slower then, NumPy's too.
        count, gap = bytes_each // 8, 512
        room = np.ones(2 * count + gap, np.float32)
        x, y = room[:count], room[count + gap :]
        ours = measure([lambda: kernels.copy(x, y)], Effort(5), clock)[0]
        return 2 * x.nbytes / ours.best

    # One thread's cache, times the threads: a copy this small is not worth splitting.
    return Limits(flops, copy_speed(_CACHE_BYTES) * threads, copy_speed(_MEMORY_BYTES))
