"""The command line: `gradsmith info`, `demo` and `bench`, and paths for CMake."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .bench.options import add_bench_arguments, positive

__all__ = ["missing_packages", "run"]


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"must lie in [0, 2^63), got {value}")
    return value


def _parser() -> argparse.ArgumentParser:
    import gradsmith

    parser = argparse.ArgumentParser(
        prog="gradsmith", description="Deep learning on hand-written SIMD and CUDA kernels."
    )
    parser.add_argument("--version", action="version", version=gradsmith.__version__)
    parser.add_argument(
        "--cmake-dir", action="store_true", help="print the folder for find_package(gradsmith)"
    )
    parser.add_argument(
        "--include-dir", action="store_true", help="print the folder of the C++ headers"
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("info", help="versions, CPU features, threads, caches, CUDA devices")

    _add_demo_arguments(commands.add_parser("demo", help="train networks on real data"))

    bench = commands.add_parser("bench", help="measure kernels against this machine's limits")
    add_bench_arguments(bench)
    return parser


def _add_demo_arguments(demo: argparse.ArgumentParser) -> None:
    from gradsmith.demo import NAMES

    demo.add_argument(
        "recipe",
        nargs="?",
        default="digits",
        metavar="NAME",
        choices=NAMES,
        help="which one; digits unless given: a CNN on 8x8 handwritten digits",
    )
    demo.add_argument("--list", action="store_true", help="show what there is, and stop")
    demo.add_argument("--seed", type=_seed, default=0, help="of weights, order and dropout")
    demo.add_argument("--data", type=Path, metavar="DIR", help="folder of the data")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("gradsmith-demo"),
        metavar="DIR",
        help="where models and pictures go (default: %(default)s)",
    )
    demo.add_argument("--epochs", type=positive, help="digits, mnist, lstm: not the usual number")
    demo.add_argument("--resume", action="store_true", help="digits, mnist, lstm: after Ctrl-C")
    demo.add_argument("--seeds", type=positive, help="others: this many seeds in turn")
    demo.add_argument("--quick", action="store_true", help="others: shortened, to see that it runs")


def missing_packages(*needed: str | tuple[str, ...]) -> list[str]:
    """Return the packages that are not installed; of a tuple any one will do.

    Args:
        *needed: import names.
    """
    names = {"sklearn": "scikit-learn"}
    missing = []
    for entry in needed:
        options = entry if isinstance(entry, tuple) else (entry,)
        if not any(importlib.util.find_spec(option) for option in options):
            missing.append(" or ".join(names.get(option, option) for option in options))
    return missing


def _package_dir(relative: str) -> int:
    import gradsmith

    for root in map(Path, gradsmith.__path__):
        if (root / relative).is_dir():
            print(root / relative)
            return 0
    print(f"gradsmith: this installation has no folder {relative}", file=sys.stderr)
    return 1


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments and run the command; returns the exit code."""
    from gradsmith import _core

    parser = _parser()
    options = parser.parse_args(arguments)
    if options.cmake_dir:
        return _package_dir("share/cmake/gradsmith")
    if options.include_dir:
        return _package_dir("include")
    try:
        _core.get_num_threads()
    except ValueError as error:  # GRADSMITH_NUM_THREADS is read at the first need
        print(f"gradsmith: {error}", file=sys.stderr)
        return 2
    try:
        if options.command == "info":
            from .info import info

            print(info(), flush=True)
            return 0
        if options.command == "demo":
            from gradsmith.demo import run_demo

            return run_demo(options)
        if options.command == "bench":
            from .bench.command import bench

            return bench(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        # What is left to write must not fail once more at the exit.
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader of our output has gone
            print(f"gradsmith: {error}", file=sys.stderr)
        return 1
    parser.print_help()
    return 2
