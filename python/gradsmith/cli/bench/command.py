"""The command: problems in, rows out."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import platform
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core, kernels

from . import cases as _cases  # fills CASES
from . import compare as comparison
from . import plot as plotting
from .case import CASES, Problem, Unsupported, make
from .formats import packaged, read_problems
from .measure import Effort, Limits, clock_of, measure, measure_limits, peak
from .peers import Peer, load
from .progress import Progress
from .report import heading, row, summary
from .suites import SUITES, Item, sample, suite

__all__ = ["bench"]

assert _cases.__all__  # imported for what it registers
_QUICK = Effort(rounds=5, round_ns=5_000_000, budget_ns=1_500_000_000)
_QUICK_EACH = 6
_AA = 3  # problems of a suite that are measured as if we were our own peer
_CONFIRMATIONS = 2  # of what differs from an earlier run


@dataclass
class _Session:
    """What holds for all problems measured with the same number of threads."""

    threads: int
    dtype: str
    clock: str
    limits: Limits
    effort: Effort
    peers: dict[str, Peer] = field(default_factory=dict)


def _commit() -> str | None:
    """Return the commit that runs, where it runs from a clone."""
    here = str(Path(__file__).resolve().parent)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        tracked = ["git", "-C", here, "ls-files", "--error-unmatch", Path(__file__).name]
        if subprocess.run(tracked, capture_output=True, timeout=5).returncode == 0:
            return found.stdout.strip()
    return None


def _describe(options: argparse.Namespace, peers: dict[str, Peer]) -> dict[str, Any]:
    cpu = _core.cpu_info()
    return {
        "gradsmith": gs.__version__,
        "commit": _commit(),
        "cpu": cpu["brand"],
        "cores": cpu["physical_cores"],
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "caches": {key: cpu[key] for key in ("l1d_bytes", "l2_bytes", "l3_bytes")},
        "virtual_machine": cpu["virtual_machine"],
        "target": kernels.get_target(),
        "threads": options.threads,
        "dtype": options.dtype,
        "clock": options.clock,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peers": {name: peer.version() for name, peer in peers.items()},
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _list() -> None:
    print(f"lists of problems: {', '.join(packaged())}")
    for name in SUITES:
        print(f"suite {name}: {len(suite(name))} problems")
    families: dict[str, list[str]] = {}
    for name, case in CASES.items():
        sizes = " ".join(f"{k}={'N' if v is None else v}" for k, v in case.sizes.items())
        families.setdefault(f"{case.family:12} {sizes}", []).append(name)
    for title, names in families.items():
        print(f"{title}\n    {' '.join(names)}")


def _items(options: argparse.Namespace) -> dict[str, list[Item]]:
    """Return what to measure, by suite."""
    if options.suite:
        suites = {name: suite(name) for name in options.suite}
    else:
        listed = read_problems(options.shapes)
        for line in listed.left_out:
            print(f"left out: {line}")
        name = Path(options.shapes).stem
        suites = {name: [Item(name, p.kernel, p) for p in listed.problems]}
    chosen = {}
    for name, items in suites.items():
        kept = [item for item in items if _wanted(item.problem, options)]
        if options.quick:
            kept = sample(kept, _QUICK_EACH)
        if options.limit_seconds:  # any beginning of it is a sample of the whole
            random.Random(0).shuffle(kept)
        chosen[name] = kept
    if not any(chosen.values()):
        what = ",".join(options.suite) if options.suite else options.shapes
        patterns = " ".join([*options.kernels, *([options.filter] if options.filter else [])])
        raise ValueError(f"'{what}' has no problem for {patterns or 'this machine'}")
    return chosen


def _wanted(problem: Problem, options: argparse.Namespace) -> bool:
    if options.kernels and not any(fnmatch.fnmatch(problem.kernel, p) for p in options.kernels):
        return False
    return not options.filter or fnmatch.fnmatch(str(problem), f"*{options.filter}*")


def _measure(item: Item, session: _Session, again: bool) -> dict[str, Any]:
    """Measure a problem in turn with its peers, and with ourselves where `again`.

    Raises:
        Unsupported: where this library cannot run it.
    """
    name, sizes = item.problem.kernel, dict(item.problem.sizes)
    case = CASES[name].prepare(sizes, session.dtype)
    runs, labels = [case.run], [("", "")]
    with contextlib.ExitStack() as modes:
        modes.enter_context(gs.autograd.set_grad_enabled(case.tracked))
        for title, other in session.peers.items():
            modes.enter_context(other.mode(case.tracked))
            for variant, run in other.prepare(name, case).items():
                runs.append(run)
                labels.append((title, variant))
        extras = []  # measured in turn too: clock rates and neighbours change
        least, bound = session.limits.of(case, session.threads)
        if again:
            extras.append(("again", case.run))
        if bound == "FMA":
            flat_out, operations = peak(case.peak or session.dtype, session.threads)
            extras.append(("peak", flat_out))
        if case.bare:
            extras.append(("empty", lambda: None))
        timings = measure(
            [*runs, *(run for _, run in extras)],
            session.effort,
            clock_of(session.clock),
            settle=len(runs) > 1 and session.threads > 1,
        )
    extra = {
        key: timing.median for (key, _), timing in zip(extras, timings[len(runs) :], strict=True)
    }
    ours = timings[0]
    empty = extra.get("empty", 0.0)
    if bound == "FMA":
        least = case.flops * extra["peak"] / operations
    median = max(ours.median - empty, 1e-3)
    against: dict[str, Any] = {}
    for (title, variant), timing in zip(labels[1:], timings[1:], strict=False):
        time_ns = max(timing.median - empty, 1e-3)
        if title not in against or time_ns < against[title]["median_ns"]:
            against[title] = {
                "median_ns": time_ns,
                "ratio": time_ns / median,
                "spread": timing.spread,
                **({"variant": variant} if variant else {}),
            }
    result = {
        "suite": item.suite,
        "group": item.group,
        "kernel": name,
        "sizes": sizes,
        "threads": session.threads,
        "best_ns": max(ours.best - empty, 1e-3),
        "median_ns": median,
        "spread": ours.spread * ours.median / median,
        "calls": ours.calls,
        "rounds": ours.rounds,
        "flops": case.flops,
        "bytes": case.bytes,
        "gflops": case.flops / median,
        "gbytes_per_s": case.bytes / median,
        "share_of_limit": least / median,
        "bound": bound,
        "against": against,
    }
    if again:
        result["aa"] = (extra["again"] - empty) / median - 1
    return result


def _run_suite(
    name: str, items: list[Item], session: _Session, limit: float | None
) -> list[dict[str, Any]]:
    begin = time.monotonic()
    again = [i * len(items) // _AA for i in range(_AA)]
    results: list[dict[str, Any]] = []
    left_out: dict[str, int] = {}
    print(f"\n{name}, {session.threads} thread{'s' * (session.threads > 1)}")
    print(heading(list(session.peers)))
    with Progress(len(items), name) as progress:
        for i, item in enumerate(items):
            if limit and time.monotonic() - begin > limit:
                progress.note(f"{i} of {len(items)} problems measured within {limit:g} s")
                break
            progress.begin(str(item.problem))
            try:
                results.append(_measure(item, session, bool(again) and i >= again[0]))
            except Unsupported as reason:
                left_out[str(reason)] = left_out.get(str(reason), 0) + 1
                progress.skip()
            except (ValueError, RuntimeError, MemoryError) as error:
                progress.skip(f"failed: {item.problem}: {error}")
            else:
                if "aa" in results[-1]:
                    del again[0]
                progress.done(row(results[-1]))
    for why, count in left_out.items():
        print(f"left out: {count} problem{'s' * (count > 1)}: {why}")
    return results


def _write(path: Path, report: comparison.Report) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n")


def _confirm(old: comparison.Report, report: comparison.Report, session: _Session) -> None:
    """Measure again, with new arrays, what seems to have changed."""
    alone = replace(session, peers={})
    for _ in range(_CONFIRMATIONS):
        for result in comparison.suspects(old, report):
            if result["threads"] == session.threads:
                problem = make(result["kernel"], result["sizes"])
                found = _measure(Item(result["suite"], result["group"], problem), alone, False)
                result.setdefault("again_ns", []).append(found["median_ns"])


def _measure_all(
    options: argparse.Namespace, peers: dict[str, Peer], old: comparison.Report | None
) -> comparison.Report:
    chosen = _items(options)
    effort = Effort(**asdict(_QUICK)) if options.quick else Effort()
    effort.rounds = options.rounds or effort.rounds
    machine = _describe(options, peers)
    print(f"{machine['cpu']}, target {machine['target']}, {options.dtype}")
    report: comparison.Report = {"version": 2, "machine": machine, "limits": [], "results": []}
    for threads in options.threads:
        gs.set_num_threads(threads)
        with contextlib.ExitStack() as stack:
            for peer in peers.values():
                stack.enter_context(peer.threads(threads))
            limits = measure_limits(options.dtype, threads, clock_of(options.clock))
            print(
                f"limits with {threads} thread{'s' * (threads > 1)}: {limits.flops:.1f} GFLOP/s, "
                f"copies {limits.cache:.1f} GB/s in cache, {limits.memory:.1f} GB/s in memory"
            )
            report["limits"].append({"threads": threads, **asdict(limits)})
            session = _Session(threads, options.dtype, options.clock, limits, effort, peers)
            for name, items in chosen.items():
                report["results"] += _run_suite(name, items, session, options.limit_seconds)
                if options.json:  # what has been measured is kept, whatever comes next
                    _write(options.json, report)
            if old:
                _confirm(old, report, session)
    if options.json:
        _write(options.json, report)
    return report


def _run(options: argparse.Namespace) -> int:
    if options.clock == "cpu" and options.threads != [1]:
        raise ValueError("--clock cpu sees one thread only; add --threads 1")
    # What can be wrong is found before anything is measured.
    old = comparison.load(options.compare) if options.compare else None
    if options.plot:
        plotting.check()
    peers = {name: load(name) for name in options.against}
    report = _measure_all(options, peers, old)
    results = report["results"]
    if not results:
        raise ValueError("nothing could be measured")
    print("\n".join(summary(results)))
    noise = [abs(result["aa"]) for result in results if "aa" in result]
    if noise:
        print(f"\nnoise: the same twice (A/A) differs by up to {100 * max(noise):.1f}%")
    if options.plot:
        plotting.plot(report, options.plot)
    if old:
        print("\n".join(comparison.compare(old, report)))
    return 0


def bench(options: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    if options.list:
        _list()
        return 0
    before = gs.get_num_threads()
    options.threads = options.threads or [before]
    try:
        with kernels.use_target(options.target or kernels.get_target()):
            return _run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"gradsmith bench: {error}", file=sys.stderr)
        return 1
    finally:
        gs.set_num_threads(before)
