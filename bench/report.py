"""Writes the figures of docs/benchmarks.md from what `gradsmith bench --json` wrote.

python bench/report.py bench/results/*.json [--page docs/benchmarks.md] [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gradsmith.cli.bench.compare import load
from gradsmith.cli.bench.report import geometric_mean, groups, peers, worst

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin: bench/report.py -->\n", "<!-- end: bench/report.py -->\n"
NOTHING = "No full run is recorded yet.\n"


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _best(row: dict[str, Any]) -> float:
    return min(other["ratio"] for other in row["against"].values())


def _ratio(row: dict[str, Any], name: str) -> str:
    return f"{row['against'][name]['ratio']:.2f}" if name in row["against"] else ""


def _suite(suite: str, threads: int, rows: list[dict[str, Any]]) -> list[str]:
    names = peers(rows)
    lines = ["", f"### {suite}, {threads} thread{'s' * (threads > 1)}", ""]
    lines.append(_line("group", "problems", "of the limit", *names, "least", "slower"))
    lines.append("|---" * (5 + len(names)) + "|")
    parts = [(group, members) for (_, group, _), members in groups(rows).items()]
    for group, members in [*parts, ("**all**", rows)]:
        found = [[r["against"][n]["ratio"] for r in members if n in r["against"]] for n in names]
        means = [f"{geometric_mean(ratios):.2f}" if ratios else "" for ratios in found]
        best = [_best(row) for row in members if row["against"]]
        share = f"{100 * geometric_mean(row['share_of_limit'] for row in members):.0f} %"
        slower = f"{100 * sum(ratio < 1 for ratio in best) / len(best):.0f} %" if best else ""
        least = f"{min(best):.2f}" if best else ""
        lines.append(_line(group, len(members), share, *means, least, slower))
    again = [abs(row["aa"]) for row in rows if "aa" in row]
    if again:
        lines += ["", f"The same twice (A/A) differed by up to {100 * max(again):.1f} %."]
    lines += ["", "The worst:", "", _line("problem", "us", "of the limit", *names)]
    lines.append("|---" * (3 + len(names)) + "|")
    for row in worst(rows):
        sizes = " ".join(f"{key}={value}" for key, value in row["sizes"].items())
        share = f"{100 * row['share_of_limit']:.0f} % of {row['bound']}"
        ratios = [_ratio(row, name) for name in names]
        time = f"{row['median_ns'] / 1e3:.2f}"
        lines.append(_line(f"`{row['kernel']} {sizes}`".replace(" `", "`"), time, share, *ratios))
    return lines


def figures(report: dict[str, Any]) -> str:
    """Return the section of one file."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
    lines = [
        f"**{machine['cpu']}**, {machine['cores']} cores, target {machine['target']}, "
        f"{machine['dtype']}; {machine['date'][:10]}, gradsmith {machine['gradsmith']} "
        f"({machine['commit'] or 'no commit'}), Python {machine['python']}"
        + (f"; against {versions}" if versions else "")
        + ". Ratios are the other's time over ours, geometric means; `least` and `slower` are of "
        "the best peer of each problem.",
        "",
        _line("threads", "GFLOP/s", "copy in L2, GB/s", "copy in memory, GB/s"),
        "|---|---|---|---|",
    ]
    for limits in report["limits"]:
        speeds = (f"{limits[key]:.1f}" for key in ("flops", "cache", "memory"))
        lines.append(_line(limits["threads"], *speeds))
    results = report["results"]
    for suite, threads in dict.fromkeys((row["suite"], row["threads"]) for row in results):
        rows = [row for row in results if (row["suite"], row["threads"]) == (suite, threads)]
        lines += _suite(suite, threads, rows)
    return "\n".join(lines) + "\n"


def page(text: str, files: list[Path]) -> str:
    """Return the page with the figures of these files in their place."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the page needs one line {BEGIN.strip()} and one {END.strip()}")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join(figures(load(path)) for path in files) or NOTHING
    return before + BEGIN + body + END + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it would")
    options = parser.parse_args()
    old = options.page.read_text(encoding="utf-8")
    try:
        new = page(old, options.files)
    except ValueError as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 1
    if options.check:
        return int(new != old)
    options.page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
