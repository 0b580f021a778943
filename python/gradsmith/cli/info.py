"""`gradsmith info`: versions, the CPU, the kernels in use, threads, caches and CUDA devices."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import gradsmith as gs
from gradsmith import _core

__all__ = ["info"]

# CPU features that some kernel could use.
_FEATURES = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "sve",
    "sve2",
    "bf16",
)


def info() -> str:
    """Return the text, one fact per line."""
    facts = [
        ("gradsmith", gs.__version__),
        ("Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("NumPy", np.__version__),
        ("CPU", _cpu_name()),
        ("CPU features", " ".join(_cpu_features()) or "unknown"),
        ("target", f"{_core.get_target()} (available: {' '.join(_core.supported_targets())})"),
        ("threads", f"{gs.get_num_threads()} of {os.cpu_count()} processors"),
        ("caches", ", ".join(_caches()) or "unknown"),
        ("CUDA", _cuda()),
    ]
    settings = {k: v for k, v in sorted(os.environ.items()) if k.startswith("GRADSMITH_")}
    facts.extend((name, value) for name, value in settings.items())
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts)


def _cpuinfo(names: Iterable[str]) -> str:
    """Return the first value of one of these fields of /proc/cpuinfo, or ""."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    found = re.search(rf"^(?:{'|'.join(names)})\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _cpu_name() -> str:
    return _cpuinfo(["model name", "Model", "Hardware"]) or platform.processor() or "unknown"


def _cpu_features() -> list[str]:
    present = set(_cpuinfo(["flags", "Features"]).split())
    return [feature for feature in _FEATURES if feature in present]


def _caches() -> list[str]:
    """Describe the caches of the first processor, smallest first."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return found


def _cuda() -> str:
    if not gs.cuda.is_available():
        return "no device"
    count = gs.cuda.device_count()
    return f"{count} device{'s' if count != 1 else ''}"
