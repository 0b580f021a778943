"""CUDA devices: which there are, their memory, streams and events, and graphs.

Tensors go there by `device="cuda"` or `.to("cuda")`. Where there is no device, `is_available()` is
False and `reason()` says why.
"""

from __future__ import annotations

from gradsmith import _core

from ._device import Where, index
from .graphs import Graph, graph
from .streams import Event, Stream, current_stream, default_stream, set_stream, stream

__all__ = [
    "Event",
    "Graph",
    "Stream",
    "current_stream",
    "default_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "graph",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "memory_stats",
    "reason",
    "set_stream",
    "stream",
    "synchronize",
    "total_memory",
]


def is_available() -> bool:
    """Whether there is a CUDA device to work on."""
    return device_count() > 0


def device_count() -> int:
    """Return the number of CUDA devices."""
    return int(_core.cuda_device_count())


def reason() -> str:
    """Say in one sentence why there is no CUDA device; "" where there is one."""
    return str(_core.cuda_reason())


def get_device_name(device: Where = 0) -> str:
    """Return the name of a device, such as "NVIDIA H100 80GB HBM3"."""
    return str(_core.cuda_device_info(index(device))["name"])


def get_device_capability(device: Where = 0) -> tuple[int, int]:
    """Return the compute capability of a device, major and minor."""
    major, minor = _core.cuda_device_info(index(device))["capability"]
    return major, minor


def total_memory(device: Where = 0) -> int:
    """Return the bytes of memory that a device has."""
    return int(_core.cuda_device_info(index(device))["total_bytes"])


def synchronize(device: Where = 0) -> None:
    """Wait until a device has finished all work that was given to it."""
    _core.cuda_synchronize(index(device))


def memory_stats(device: Where = 0) -> dict[str, int]:
    """Return bytes in use, their peak, bytes cached, and how often the driver was asked."""
    return dict(_core.cuda_memory_info(index(device)))


def memory_allocated(device: Where = 0) -> int:
    """Return the bytes of a device that tensors hold, rounded up to the allocator's sizes."""
    return memory_stats(device)["in_use_bytes"]


def max_memory_allocated(device: Where = 0) -> int:
    """Return the greatest `memory_allocated` so far."""
    return memory_stats(device)["peak_bytes"]


def empty_cache(device: Where = 0) -> None:
    """Give cached memory that no tensor holds back to the driver."""
    _core.cuda_empty_cache(index(device))
