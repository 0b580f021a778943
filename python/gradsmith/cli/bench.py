"""`gradsmith bench`: hands over to gs_bench, which measures every registered kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gradsmith

__all__ = ["bench"]


def bench(arguments: Sequence[str]) -> int:
    """Run gs_bench with `arguments`; returns its exit code, 1 where it is not installed."""
    inside = [Path(root) / "bin" / "gs_bench" for root in gradsmith.__path__]
    program = next((str(path) for path in inside if path.is_file()), shutil.which("gs_bench"))
    if program is None:
        print(
            "gradsmith: this installation has no gs_bench; build it with "
            "pip install . -C cmake.define.GRADSMITH_BENCH=ON",
            file=sys.stderr,
        )
        return 1
    return subprocess.run([program, *arguments], check=False).returncode
