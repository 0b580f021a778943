"""`gradsmith bench`: measures kernels against what this machine can do at most.

First the limits: floating point operations per second from registers, and bytes per second of a
copy inside the L2 cache and in memory. Then every case: warm-up, rounds of at least 20 ms, the
median round, its spread, and the share of the limit that binds the case.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core, kernels

from .bench_cases import CASES, Prepared, read_shapes

__all__ = ["Limits", "Timing", "bench", "measure", "measure_limits"]

_SHAPES = Path(__file__).parent / "bench_shapes"
_ROUND_NS = 20_000_000
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


def measure(
    runs: list[Callable[[], object]], rounds: int, clock: Clock, *, settle: bool = False
) -> list[Timing]:
    """Time several functions in turn, round by round, so that noise meets all of them.

    With `settle` each begins after the threads of the one before have gone to sleep, and wakes its
    own by a call that is not timed.
    """
    calls = []
    for run in runs:
        run()
        begin = clock()
        run()
        once = max(clock() - begin, 1)
        calls.append(max(1, min(1_000_000, _ROUND_NS // once)))
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


def _peak(dtype: str, threads: int) -> tuple[Callable[[], object], int]:
    """Return a call that does nothing but fused multiply-adds, and how many operations they are."""
    kind, rounds = getattr(gs, dtype), 100_000

    def run() -> int:
        return int(gs._core._kernels.peak_fma(kind, rounds, threads))

    return run, run()


def measure_limits(dtype: str, threads: int, clock: Clock) -> Limits:
    """Measure them; the best of a few rounds each."""
    peak, operations = _peak(dtype, threads)
    flops = operations / measure([peak], 7, clock)[0].best

    def copy_speed(bytes_each: int) -> float:
        # Half is read, half written. The gap keeps the two from lying 16 bytes apart modulo 4096,
        # which AMD's Zen 3 takes for a dependency: a copy is 15 times slower then, NumPy's too.
        count, gap = bytes_each // 8, 512
        room = np.ones(2 * count + gap, np.float32)
        x, y = room[:count], room[count + gap :]
        ours = measure([lambda: kernels.copy(x, y)], 5, clock)[0]
        return 2 * x.nbytes / ours.best

    # One thread's cache, times the threads: a copy this small is not worth splitting.
    return Limits(flops, copy_speed(_CACHE_BYTES) * threads, copy_speed(_MEMORY_BYTES))


def _describe(threads: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "gradsmith": gs.__version__,
        "cpu": _core.cpu_info()["brand"],
        "target": kernels.get_target(),
        "threads": threads,
        "dtype": options.dtype,
        "clock": options.clock,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _shape_file(name: str) -> Path:
    packaged = _SHAPES / f"{name}.txt"
    path = packaged if packaged.is_file() else Path(name)
    if not path.is_file():
        raise ValueError(f"--shapes: no file '{name}', and the package has {_packaged()}")
    return path


def _packaged() -> str:
    return ", ".join(sorted(path.stem for path in _SHAPES.glob("*.txt") if path.stem != "README"))


def _list() -> None:
    print(f"shape files: {_packaged()}")
    families: dict[str, list[str]] = {}
    for name, case in CASES.items():
        sizes = " ".join(f"{k}={'N' if v is None else v}" for k, v in case.sizes.items())
        families.setdefault(f"{case.family:12} {sizes}", []).append(name)
    for title, names in families.items():
        print(f"{title}\n    {' '.join(names)}")


def _limit_others(libraries: list[str], threads: int) -> None:
    """Give other libraries as many threads as we take, for the rest of the process."""
    if "torch" in libraries:
        importlib.import_module("torch").set_num_threads(threads)
    if "numpy" in libraries:
        try:
            importlib.import_module("threadpoolctl").threadpool_limits(threads)
        except ImportError:
            raise ImportError(
                "--against numpy needs threadpoolctl: pip install 'gradsmith[bench]'"
            ) from None


def _others(case: Prepared, libraries: list[str]) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {}
    if "numpy" in libraries and case.numpy:
        runs["numpy"] = case.numpy
    if "torch" in libraries and case.torch:
        runs["torch"] = case.torch(importlib.import_module("torch"))
    return runs


def _measure_case(
    name: str, sizes: dict[str, int], limits: Limits, threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    clock = time.thread_time_ns if options.clock == "cpu" else time.perf_counter_ns
    case = CASES[name].prepare(sizes, options.dtype)
    others = _others(case, options.against)
    least, bound = limits.of(case, threads)
    runs = [case.run, *others.values()]
    if bound == "FMA":  # its limit is measured in turn with it: clock rates and neighbours change
        peak, operations = _peak(options.dtype, threads)
        runs.append(peak)
    timings = measure(runs, options.rounds, clock, settle=bool(others) and threads > 1)
    ours = timings[0]
    if bound == "FMA":
        least = case.flops * timings.pop().median / operations
    return {
        "kernel": name,
        "sizes": sizes,
        **{f"{key}_ns" if key in ("best", "median") else key: v for key, v in asdict(ours).items()},
        "gflops": case.flops / ours.median,
        "gbytes_per_s": case.bytes / ours.median,
        "share_of_limit": least / ours.median,
        "bound": bound,
        "against": {
            other: {"median_ns": timing.median, "ratio": timing.median / ours.median}
            for other, timing in zip(others, timings[1:], strict=True)
        },
    }


def _row(result: dict[str, Any]) -> str:
    shape = " ".join(f"{key}={value}" for key, value in result["sizes"].items())
    if result["bound"] == "FMA":
        speed = f"{result['gflops']:9.1f} GFLOP/s"
    else:
        speed = f"{result['gbytes_per_s']:9.1f} GB/s   "
    text = (
        f"{result['kernel']:19} {shape:42} {result['median_ns'] / 1e3:11.1f} us "
        f"{100 * result['spread']:3.0f}% {speed} {100 * result['share_of_limit']:4.0f}% "
        f"of {result['bound']:6}"
    )
    for name, other in result["against"].items():
        text += f"  {name} x{other['ratio']:.2f}"
    return text.rstrip()


def _run(options: argparse.Namespace) -> int:
    clock = time.thread_time_ns if options.clock == "cpu" else time.perf_counter_ns
    threads = gs.get_num_threads()
    cases = read_shapes(_shape_file(options.shapes))
    if options.kernels:
        cases = [
            case for case in cases if any(fnmatch.fnmatch(case[0], p) for p in options.kernels)
        ]
        if not cases:
            raise ValueError(f"'{options.shapes}' has no shape for {' '.join(options.kernels)}")
    _limit_others(options.against, threads)
    machine = _describe(threads, options)
    print(f"{machine['cpu']}, target {machine['target']}, {threads} thread(s), {options.dtype}")
    limits = measure_limits(options.dtype, threads, clock)
    print(
        f"limits: {limits.flops:.1f} GFLOP/s, copies {limits.cache:.1f} GB/s in cache, "
        f"{limits.memory:.1f} GB/s in memory"
    )
    heading = f"{'kernel':19} {'shape':42} {'median':>14} +-   {'speed':>17}  of limit"
    print(f"\n{heading}" + ("  time of others over ours" if options.against else ""))
    results = []
    for name, sizes in cases:
        results.append(_measure_case(name, sizes, limits, threads, options))
        print(_row(results[-1]), flush=True)
    if options.json:
        report = {"machine": machine, "limits": asdict(limits), "results": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def bench(options: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    if options.list:
        _list()
        return 0
    before = gs.get_num_threads()
    try:
        if options.clock == "cpu" and options.threads != 1:
            raise ValueError("--clock cpu sees one thread only; add --threads 1")
        gs.set_num_threads(options.threads or before)
        with kernels.use_target(options.target or kernels.get_target()), gs.no_grad():
            return _run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"gradsmith bench: {error}", file=sys.stderr)
        return 1
    finally:
        gs.set_num_threads(before)
