"""The arguments of `gradsmith bench`; apart from it, so that parsing loads no kernels."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_bench_arguments", "positive"]

_EPILOG = """examples:
  gradsmith bench                                the quick set
  gradsmith bench gemm 'conv2d*' --threads 1     some kernels of it
  gradsmith bench --shapes resnet50 --against torch
  gradsmith bench --shapes my_shapes.txt --target avx2 --json result.json
"""


def positive(text: str) -> int:
    """Read a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _libraries(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ("numpy", "torch"):
            raise argparse.ArgumentTypeError(f"'{name}' is not one of numpy, torch")
    return names


def add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of the `bench` command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="only these; * is a wildcard")
    parser.add_argument(
        "--shapes",
        default="quick",
        metavar="NAME|FILE",
        help="a shape file of the package or a path (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="list kernels and shape files")
    parser.add_argument("--threads", type=positive, help="default: all that are allowed")
    parser.add_argument("--target", help="run on this target, e.g. scalar or avx2")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--rounds", type=positive, default=9, help="default: %(default)s")
    parser.add_argument(
        "--clock",
        default="wall",
        choices=["wall", "cpu"],
        help="cpu: time of this thread, for one thread on a machine that does other work too",
    )
    parser.add_argument(
        "--against",
        type=_libraries,
        default=[],
        metavar="LIBRARIES",
        help="numpy, torch or both with a comma: measured in turn with ours",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
