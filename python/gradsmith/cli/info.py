"""`gradsmith info`: versions, the CPU, the kernels in use, threads, caches and CUDA devices."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core

__all__ = ["info"]


def info() -> str:
    """Return the text, one fact per line."""
    cpu = _core.cpu_info()
    facts = [
        ("gradsmith", gs.__version__),
        ("Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("NumPy", np.__version__),
        ("CPU", _cpu(cpu)),
        ("CPU features", " ".join(cpu["features"]) or "none known"),
        ("target", f"{_core.get_target()} (supported: {' '.join(_core.supported_targets())})"),
        ("threads", f"{gs.get_num_threads()} (usable CPUs: {cpu['usable_cpus']})"),
        ("caches", _caches(cpu)),
        *(("CUDA", text) for text in _cuda()),
    ]
    settings = {k: v for k, v in sorted(os.environ.items()) if k.startswith("GRADSMITH_")}
    facts.extend(settings.items())
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts)


def _cpu(cpu: dict[str, Any]) -> str:
    virtual = ", virtual machine" if cpu["virtual_machine"] else ""
    return f"{cpu['brand']} ({cpu['physical_cores']} cores, {cpu['logical_cpus']} logical{virtual})"


def _caches(cpu: dict[str, Any]) -> str:
    levels = [("L1d", "l1d_bytes", 1)]
    levels += [(f"L{n}", f"l{n}_bytes", cpu[f"l{n}_shared_by"]) for n in (2, 3)]
    found = [
        f"{name} {_size(cpu[key])}" + (f" for {shared} CPUs" if shared > 1 else "")
        for name, key, shared in levels
        if cpu[key]
    ]
    return ", ".join(found) or "unknown"


def _size(count: int) -> str:
    """Write a number of bytes in the largest unit that divides it into at least 1."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            whole = count % scale == 0
            return f"{count // scale} {unit}" if whole else f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _cuda() -> list[str]:
    """Describe every device, or say why there is none."""
    if not gs.cuda.is_available():
        return [f"no device: {gs.cuda.reason()}"]
    lines = []
    for i in range(gs.cuda.device_count()):
        major, minor = gs.cuda.get_device_capability(i)
        memory = _size(gs.cuda.total_memory(i))
        lines.append(
            f"cuda:{i} {gs.cuda.get_device_name(i)} (capability {major}.{minor}, {memory})"
        )
    return lines
