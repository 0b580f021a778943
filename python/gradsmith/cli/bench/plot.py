"""A roofline: what was reached, under what the machine can do, over operations a byte."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["check", "plot"]


def check() -> None:
    """Raise ImportError, saying what to install, where plots cannot be drawn."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'gradsmith[bench]'") from None


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw a report: one panel for arithmetic, one for what only moves bytes."""
    figures: Any = importlib.import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(12, 5), layout="constrained")
    roof, moved = figure.subplots(1, 2)
    results = report["results"]
    colours = {suite: f"C{i}" for i, suite in enumerate(dict.fromkeys(r["suite"] for r in results))}
    marks = dict(zip([entry["threads"] for entry in report["limits"]], "osD^v", strict=False))
    for suite, colour in colours.items():
        for threads, mark in marks.items():
            rows = [r for r in results if (r["suite"], r["threads"]) == (suite, threads)]
            label = f"{suite}, {threads} thread{'s' * (threads > 1)}"
            style = {"color": colour, "marker": mark, "s": 14, "alpha": 0.7, "linewidths": 0}
            points = [(r["flops"] / r["bytes"], r["gflops"]) for r in rows if r["flops"]]
            if points:
                roof.scatter(*zip(*points, strict=True), label=label, **style)
            points = [(r["bytes"], r["gbytes_per_s"]) for r in rows if not r["flops"]]
            if points:
                moved.scatter(*zip(*points, strict=True), label=label, **style)
    for entry in report["limits"]:
        _limit(roof, moved, entry, results)
    roof.set(
        xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s", title="Roofline"
    )
    moved.set(
        xscale="log", yscale="log", xlabel="bytes that must move", ylabel="GB/s", title="Bandwidth"
    )
    for axes in (roof, moved):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    machine = report["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['target']}, {machine['dtype']}")
    figure.savefig(path, dpi=120)


def _limit(roof: Any, moved: Any, limits: dict[str, Any], results: list[dict[str, Any]]) -> None:
    style = {"color": "0.4", "linewidth": 1, "linestyle": "-" if limits["threads"] == 1 else "--"}
    peak = limits["flops"]
    densities = [r["flops"] / r["bytes"] for r in results if r["flops"]] or [1.0]
    ends = min(*densities, peak / limits["cache"]) / 2, max(densities) * 2
    for speed in (limits["cache"], limits["memory"]):
        knee = peak / speed
        roof.plot([ends[0], knee], [ends[0] * speed, peak], **style)
        moved.axhline(speed, **style)
    roof.plot([peak / limits["cache"], max(ends[1], peak / limits["memory"])], [peak] * 2, **style)
