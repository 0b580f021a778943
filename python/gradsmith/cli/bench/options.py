"""The arguments of `gradsmith bench`; apart from it, so that parsing loads no kernels."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

__all__ = ["PEERS", "SUITE_NAMES", "add_bench_arguments", "positive"]

SUITE_NAMES = ("gemm", "conv", "rnn", "memory", "overhead", "train", "infer")
PEERS = ("torch", "torch-compile", "numpy", "onnxruntime")

_EPILOG = """examples:
  gradsmith bench                                the quick set
  gradsmith bench gemm 'conv2d*' --threads 1     some kernels of it
  gradsmith bench --shapes resnet50 --against torch
  gradsmith bench --problems conv:shapes_vgg_19 --against torch
  gradsmith bench --suite gemm,memory --against torch,numpy --threads 1,2 --json new.json
  gradsmith bench --suite all --quick --against torch --compare old.json --plot roofline.png
"""


def positive(text: str) -> int:
    """Read a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def _counts(text: str) -> list[int]:
    return list(dict.fromkeys(positive(part) for part in text.split(",")))


def _some_of(allowed: tuple[str, ...], text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"'{name}' is not one of {', '.join(allowed)}")
    return names


def _libraries(text: str) -> list[str]:
    return _some_of(PEERS, text)


def _suites(text: str) -> list[str]:
    names = _some_of((*SUITE_NAMES, "all"), text)
    return list(SUITE_NAMES) if "all" in names else names


def add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of the `bench` command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("kernels", nargs="*", metavar="KERNEL", help="only these; * is a wildcard")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--suite",
        type=_suites,
        metavar="NAMES",
        help=f"{', '.join(SUITE_NAMES)} or all, several with a comma",
    )
    what.add_argument(
        "--shapes",
        "--problems",
        default="quick",
        metavar="NAME|[KIND:]FILE",
        help="a list of the package or a file, DeepBench's and benchdnn's too (default: quick)",
    )
    add("--list", action="store_true", help="list kernels, lists of problems and suites")
    add("--filter", metavar="TEXT", help="only problems whose line has this; * is a wildcard")
    add("--quick", action="store_true", help="a few problems of each group, short rounds")
    add(
        "--limit-seconds",
        type=_seconds,
        metavar="S",
        help="of each suite and number of threads measure what fits, in an order that samples it",
    )
    add("--threads", type=_counts, metavar="N,N", help="default: all that are allowed")
    add("--target", help="run on this target, e.g. scalar or avx2")
    add("--dtype", default="float32", choices=["float32", "float64"])
    add("--rounds", type=positive, help="default: 9; with --quick 5")
    add(
        "--clock",
        default="wall",
        choices=["wall", "cpu"],
        help="cpu: time of this thread, for one thread on a machine that does other work too",
    )
    add(
        "--against",
        type=_libraries,
        default=[],
        metavar="LIBRARIES",
        help=f"{', '.join(PEERS)}, several with a comma: measured in turn with ours",
    )
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--plot", type=Path, metavar="FILE", help="draw a roofline there (needs matplotlib)")
    add("--compare", type=Path, metavar="FILE", help="tell what changed since this --json file")
