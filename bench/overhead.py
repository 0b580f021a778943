"""What one op on one element costs from Python, in nanoseconds, beside torch where installed.

python bench/overhead.py [--rounds N] [--json FILE]

Such an op computes nothing, so this is the price of the call, the checks, the allocation, the
dispatch and the tape. The rounds of the two libraries take turns, the median counts. The time is
that of the calling thread, and an empty loop is subtracted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradsmith as gs

CALLS = 2000

# Goals in nanoseconds for gradsmith.
GOALS = {"add": 200, "add, on the tape": 300, "mul and backward": 1500}


def cases(lib: Any) -> dict[str, Callable[[], object]]:
    x, y = lib.ones(1), lib.ones(1)
    leaf = lib.ones(1).requires_grad_()
    matrix = lib.ones(4, 4)
    relu = lib.nn.functional.relu

    def mul_backward() -> None:
        (leaf * y).backward()

    return {
        "add": lambda: x + y,
        "add a number": lambda: x + 1.0,
        "add, on the tape": lambda: leaf + y,
        "mul and backward": mul_backward,
        "relu": lambda: relu(x),
        "exp": lambda: lib.exp(x),
        "sum": lambda: x.sum(),
        "matmul 4x4": lambda: matrix @ matrix,
        "index [0]": lambda: matrix[0],
        "index [1:3, 2]": lambda: matrix[1:3, 2],
        "item": lambda: x.item(),
    }


def once(run: Callable[[], object]) -> float:
    """Nanoseconds a call."""
    loop = itertools.repeat(None, CALLS)
    begin = time.thread_time_ns()
    for _ in loop:
        run()
    return (time.thread_time_ns() - begin) / CALLS


def compare(rounds: int) -> list[dict[str, Any]]:
    libraries = {"gradsmith": gs}
    try:
        import torch

        torch.set_num_threads(1)
        libraries["torch"] = torch
    except ImportError:
        pass
    table = {name: cases(lib) for name, lib in libraries.items()}
    rows = []
    for name in table["gradsmith"]:
        runs = {"empty": lambda: None} | {lib: table[lib][name] for lib in table}
        found: dict[str, list[float]] = {lib: [] for lib in runs}
        for run in runs.values():
            once(run)
        for _ in range(rounds):
            for lib, run in runs.items():
                found[lib].append(once(run))
        medians = {lib: statistics.median(times) for lib, times in found.items()}
        empty = medians.pop("empty")
        rows.append({"op": name, **{lib: t - empty for lib, t in medians.items()}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    gs.set_num_threads(1)
    rows = compare(options.rounds)
    print(f"{'ns a call':20}{'gradsmith':>10}{'torch':>8}{'ratio':>7}{'goal':>7}")
    for row in rows:
        line = f"{row['op']:20}{row['gradsmith']:10.0f}"
        if "torch" in row:
            line += f"{row['torch']:8.0f}{row['torch'] / row['gradsmith']:7.1f}"
        else:
            line += f"{'-':>8}{'-':>7}"
        print(line + (f"{GOALS[row['op']]:7}" if row["op"] in GOALS else ""))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
