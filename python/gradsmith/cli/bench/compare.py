"""What changed between two runs: only differences beyond the noise of both are called so.

Spread and A/A differences are of one process with its arrays where they are. What another process
is faster or slower by, they do not show: so what seems to have changed is measured again with new
arrays (`again_ns`), and the time nearest to the old one counts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Report", "compare", "load", "suspects"]

Report = dict[str, Any]
_VERSION = 2
_LEAST = 0.02  # no difference below this is called one, however quiet the machine seemed


def load(path: Path) -> Report:
    """Read what `--json` wrote.

    Raises:
        ValueError: naming the file, where it is something else.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise ValueError(f"{path}:{line}: not JSON: {error}") from None
    if not isinstance(report, dict) or report.get("version") != _VERSION:
        raise ValueError(f"{path}:1: not written by `gradsmith bench --json` of this version")
    try:
        for result in report["results"]:
            _key(result)
            for number in (result["median_ns"], result["spread"], *result.get("again_ns", [])):
                if not (isinstance(number, int | float) and math.isfinite(number)):
                    raise ValueError(f"{number!r} is not a time")
        dict(report["machine"])
        _limits(report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is damaged: {error!r}") from None
    return report


def _key(result: Report) -> tuple[Any, ...]:
    return result["kernel"], tuple(sorted(result["sizes"].items())), result["threads"]


def _limits(report: Report) -> dict[tuple[int, str], float]:
    names = {"FMA": "flops", "cache": "cache", "memory": "memory"}
    return {
        (entry["threads"], bound): float(entry[name])
        for entry in report["limits"]
        for bound, name in names.items()
    }


def _noise(report: Report, result: Report) -> float:
    """Return how far a time of this run may be off: its spread, and what A/A runs differed by."""
    again = [
        abs(other["aa"])
        for other in report["results"]
        if "aa" in other
        and (other["suite"], other["threads"]) == (result["suite"], result["threads"])
    ]
    return max(float(result["spread"]), *again, 0.0)


@dataclass
class _Change:
    """What a problem's time was multiplied by, beside the noise of both times."""

    factor: float
    noise: float
    before: Report
    result: Report


def _change(old: Report, new: Report, before: Report, result: Report) -> _Change:
    times = [result["median_ns"], *result.get("again_ns", [])]
    factor = min((time / before["median_ns"] for time in times), key=lambda f: abs(math.log(f)))
    # The machine itself may have been faster or slower, as its measured limit tells.
    was, now = _limits(old), _limits(new)
    limit = result["threads"], result["bound"]
    drift = abs(math.log(now[limit] / was[limit])) if limit in was and limit in now else 0
    return _Change(
        factor, _LEAST + _noise(old, before) + _noise(new, result) + drift, before, result
    )


def _changes(old: Report, new: Report) -> tuple[list[_Change], int]:
    """Return what differs beyond the noise, most of all first, and how many do not."""
    earlier = {_key(result): result for result in old["results"]}
    both = [
        _change(old, new, earlier[_key(result)], result)
        for result in new["results"]
        if _key(result) in earlier
    ]
    found = [c for c in both if abs(math.log(c.factor)) > math.log1p(c.noise)]
    return sorted(found, key=lambda c: -abs(math.log(c.factor))), len(both) - len(found)


def suspects(old: Report, new: Report) -> list[Report]:
    """Return the results of `new` that would be called changed."""
    return [change.result for change in _changes(old, new)[0]]


def compare(old: Report, new: Report) -> list[str]:
    """Return lines: how the machines differ, what got slower and faster, and the rest in a word."""
    lines = [""]
    for key in ("cpu", "cores", "target", "dtype", "clock", "threads"):
        was, now = old["machine"].get(key), new["machine"].get(key)
        if was != now:
            lines.append(f"caution: {key} was {was}, is {now}")
    changes, same = _changes(old, new)
    for c in changes:
        sizes = " ".join(f"{key}={value}" for key, value in c.result["sizes"].items())
        label = f"{c.result['kernel']} {sizes}"
        before_us = c.before["median_ns"] / 1e3
        lines.append(
            f"{'slower' if c.factor > 1 else 'faster'} x{max(c.factor, 1 / c.factor):.2f}  "
            f"{label:52} {before_us:.2f} -> {before_us * c.factor:.2f} us, "
            f"{c.result['threads']} thread(s), noise {100 * c.noise:.0f}%"
        )
    slower = sum(c.factor > 1 for c in changes)
    here, there = ({_key(result) for result in run["results"]} for run in (new, old))
    lines.append(
        f"{slower} slower, {len(changes) - slower} faster, {same} not different beyond the noise; "
        f"{len(here - there)} only here, {len(there - here)} only there"
    )
    return lines
