"""What changed between two runs: only differences beyond the noise of both are called so."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

__all__ = ["compare", "load"]

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
            for number in (result["median_ns"], result["spread"]):
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


def compare(old: Report, new: Report) -> list[str]:
    """Return lines: how the machines differ, what got slower and faster, and the rest in a word."""
    lines = [""]
    for key in ("cpu", "cores", "target", "dtype", "clock", "threads"):
        before, after = old["machine"].get(key), new["machine"].get(key)
        if before != after:
            lines.append(f"caution: {key} was {before}, is {after}")
    was, now = _limits(old), _limits(new)
    earlier = {_key(result): result for result in old["results"]}
    changes, same, absent = [], 0, 0
    for result in new["results"]:
        before = earlier.pop(_key(result), None)
        if before is None:
            absent += 1
            continue
        change = result["median_ns"] / before["median_ns"]
        # The machine itself may have been faster or slower, as its measured limit tells.
        limit = result["threads"], result["bound"]
        drift = abs(math.log(now[limit] / was[limit])) if limit in was and limit in now else 0
        noise = _LEAST + _noise(old, before) + _noise(new, result) + drift
        if abs(math.log(change)) <= math.log1p(noise):
            same += 1
        else:
            changes.append((change, noise, before, result))
    changes.sort(key=lambda entry: -abs(math.log(entry[0])))
    for change, noise, before, result in changes:
        sizes = " ".join(f"{key}={value}" for key, value in result["sizes"].items())
        label = f"{result['kernel']} {sizes}"
        lines.append(
            f"{'slower' if change > 1 else 'faster'} x{max(change, 1 / change):.2f}  {label:52} "
            f"{before['median_ns'] / 1e3:.2f} -> {result['median_ns'] / 1e3:.2f} us, "
            f"{result['threads']} thread(s), noise {100 * noise:.0f}%"
        )
    slower = sum(change > 1 for change, *_ in changes)
    lines.append(
        f"{slower} slower, {len(changes) - slower} faster, {same} not different beyond the noise; "
        f"{absent} only here, {len(earlier)} only there"
    )
    return lines
