"""What a kernel's driver chose for a call, and how far that is from the machine's limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _core

__all__ = ["Explanation", "explain_call"]


@dataclass(frozen=True)
class Explanation:
    """One driver's choice.

    Attributes:
        op: what was computed.
        path: the way that was taken.
        target: the instruction set whose kernels ran.
        threads: how many were wanted.
        flops: floating point operations of the formula (a faster algorithm may do fewer).
        bytes: inputs and outputs, once each.
        sizes: the problem's, and the tile and block sizes where there are any.
        reasons: why no other way, and no better target, was taken.
        seconds: median time of a call, where it was measured.
        share_of_peak: flops a second over the measured peak of fused multiply-adds of as many
            threads; None where it was not measured or there are none.
    """

    op: str
    path: str
    target: str
    threads: int
    flops: float
    bytes: float
    sizes: dict[str, int]
    reasons: tuple[str, ...]
    seconds: float | None = None
    share_of_peak: float | None = None

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        sizes = ", ".join(f"{name} {value}" for name, value in self.sizes.items())
        lines = [
            f"{self.op}: {self.path} on {self.target}, {self.threads} thread(s)",
            f"  {sizes}",
            f"  {self.flops / 1e6:.3f} MFLOP, {self.bytes / 1e6:.3f} MB",
            *(f"  {reason}" for reason in self.reasons),
        ]
        if self.seconds is not None:
            share = "" if self.share_of_peak is None else f", {self.share_of_peak:.0%} of the peak"
            lines.append(f"  {self.seconds * 1e6:.1f} us{share}")
        return "\n".join(lines)


def _why_not_better(target: str) -> list[str]:
    """Say of each target above this one why its kernels did not run."""
    reasons, active, best = [], _core.get_target(), _core.best_target()
    allowed = considered = False
    for name, compiled, supported in _core.list_targets():
        if name == target:
            break
        allowed = allowed or name == active
        considered = considered or name == best
        if not compiled:
            why = "not in this build"
        elif not supported:
            why = "this CPU does not have it"
        elif allowed:
            why = "it has no kernel of its own for this dtype"
        elif not considered:
            why = f"{best} was measured to be faster on this CPU"
        else:
            why = f"{active} was asked for"
        reasons.append(f"not {name}: {why}")
    return reasons


def _median(call: Callable[[], object], rounds: int = 9) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return sorted(times)[rounds // 2]


def explain_call(call: Callable[[], object], measure: bool) -> tuple[Explanation, ...]:
    """Run `call` once, or a dozen times to measure it, and return what its drivers chose."""
    found: list[dict[str, Any]] = _core.trace(call)
    seconds = _median(call) if measure else None
    result = []
    for entry in found:
        share = None
        if seconds is not None and len(found) == 1 and entry["flops"] and seconds > 0:
            threads = entry["threads"]
            rounds = 20_000
            peak = _median(lambda: _core._kernels.peak_fma(_core.float32, rounds, threads))  # noqa: B023
            operations = _core._kernels.peak_fma(_core.float32, rounds, threads)
            share = entry["flops"] / seconds / (operations / peak)
        result.append(
            Explanation(
                **{
                    **entry,
                    "reasons": (*entry["reasons"], *_why_not_better(entry["target"])),
                },
                seconds=seconds if len(found) == 1 else None,
                share_of_peak=share,
            )
        )
    return tuple(result)
