"""Tables: a row a problem, then what they sum up to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["geometric_mean", "heading", "row", "summary", "worst"]

Row = dict[str, Any]
_WORST = 10


def geometric_mean(values: Iterable[float]) -> float:
    """Return it; of positive numbers, at least one."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))


def _label(result: Row) -> str:
    return " ".join(
        [result["kernel"], *(f"{key}={value}" for key, value in result["sizes"].items())]
    )


def heading(against: list[str]) -> str:
    """Return the line above the rows."""
    text = f"{'problem':58} {'median':>14}   +-  {'speed':>17}  of limit"
    return text + ("    time of others over ours" if against else "")


def row(result: Row) -> str:
    """Return a line: time, spread, speed, share of the limit, ratio to each peer."""
    if result["bound"] == "FMA":
        speed = f"{result['gflops']:9.1f} GFLOP/s"
    else:
        speed = f"{result['gbytes_per_s']:9.1f} GB/s   "
    text = (
        f"{_label(result):58} {result['median_ns'] / 1e3:11.2f} us "
        f"{100 * result['spread']:4.0f}%  {speed} {100 * result['share_of_limit']:4.0f}% "
        f"of {result['bound']:6}"
    )
    for name, other in result["against"].items():
        text += f"  {name} x{other['ratio']:.2f}"
    if "aa" in result:
        text += f"  A/A {100 * result['aa']:+.1f}%"
    return text.rstrip()


def _best(result: Row) -> float | None:
    """Return the best peer's time over ours, if there was one."""
    return min((other["ratio"] for other in result["against"].values()), default=None)


def worst(results: list[Row], count: int = _WORST) -> list[Row]:
    """Return the rows that lose most against the best peer; without peers, against the limit."""
    compared = [result for result in results if result["against"]]
    if compared:
        return sorted(compared, key=lambda result: _best(result) or 0)[:count]
    return sorted(results, key=lambda result: float(result["share_of_limit"]))[:count]


def groups(results: list[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Return the rows by suite, group and number of threads."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for result in results:
        key = result["suite"], result["group"], result["threads"]
        found.setdefault(key, []).append(result)
    return found


def peers(results: list[Row]) -> list[str]:
    """Return the names of the peers that ran anything."""
    return list(dict.fromkeys(name for result in results for name in result["against"]))


def _means(results: list[Row], names: list[str]) -> str:
    cells = []
    for name in names:
        ratios = [r["against"][name]["ratio"] for r in results if name in r["against"]]
        cells.append(f"x{geometric_mean(ratios):.2f}" if ratios else "-")
    best = [ratio for ratio in map(_best, results) if ratio is not None]
    slower = sum(ratio < 1 for ratio in best) / len(best) if best else 0
    share = geometric_mean(r["share_of_limit"] for r in results)
    text = f"{len(results):5} {100 * share:6.0f}%" + "".join(f"{cell:>13}" for cell in cells)
    return text + (f"{f'x{min(best):.2f}':>9}{100 * slower:8.0f}%" if best else "")


def summary(results: list[Row]) -> list[str]:
    """Return lines: geometric means by group and in all, then the worst rows, for each suite."""
    lines = []
    names = peers(results)
    for suite in dict.fromkeys(result["suite"] for result in results):
        for threads in dict.fromkeys(r["threads"] for r in results if r["suite"] == suite):
            of = [r for r in results if (r["suite"], r["threads"]) == (suite, threads)]
            title = f"{suite}, {threads} thread{'s' * (threads > 1)}"
            columns = "".join(f"{name:>13}" for name in names)
            lines += ["", f"{title:34}{'rows':>5} {'limit':>7}{columns}"]
            lines[-1] += f"{'least':>9}{'slower':>9}" if names else ""
            for (_, group, _), members in groups(of).items():
                lines.append(f"  {group:32}{_means(members, names)}")
            lines.append(f"  {'all':32}{_means(of, names)}")
            if len(of) > _WORST:
                lines += [f"  the {_WORST} worst:"]
                lines += [f"  {row(result)}" for result in worst(of)]
    return lines
