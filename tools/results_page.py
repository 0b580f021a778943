"""Write the tables of docs/results.md from docs/results/*.json.

The files are the `results.json` of full runs of `gradsmith demo NAME`; those in `results/avx2` of
runs with other vectors. `--check` tells whether the page is true.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gradsmith.demo.harness import HEAD, Row
from gradsmith.examples import EXAMPLES

FOLDER = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- begin: tools/results_page.py -->", "<!-- end: tools/results_page.py -->"


def section(record: dict[str, Any]) -> str:
    """Lay out the record of one example."""
    example = EXAMPLES[record["example"]]
    rows = [Row(**row).cells() for row in record["rows"]]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    threads = record["threads"]
    return "\n".join(
        [
            f"## {record['example']}: {example.title}",
            "",
            f"`{record['command']}`, {record['date']}, {record['machine']}, "
            f"{threads} thread{'s' * (threads > 1)}, {record['seconds'] / 60:.1f} minutes in all.",
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
        ]
    )


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a folder in the order of the examples."""
    records = [json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json")]
    order = list(EXAMPLES)
    return sorted(records, key=lambda record: order.index(record["example"]))


def comparison(records: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Lay out the rows with a target beside those of another run."""
    lines = [["example", "what", "metric", "above", "here", "target"], ["---"] * 6]
    for record, other in zip(records, others, strict=True):
        for first, second in zip(record["rows"], other["rows"], strict=True):
            if first["target"] is not None:
                what, metric, above, target, _ = Row(**first).cells()
                here = Row(**second).cells()[2]
                lines.append([record["example"], what, metric, above, here, target])
    machines = ", ".join(sorted({other["machine"] for other in others}))
    return "\n".join(
        [f"## The same on {machines}", "", *(f"| {' | '.join(line)} |" for line in lines)]
    )


def page(text: str) -> str:
    """Return the page with its generated part written anew."""
    records = read(FOLDER / "results")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    others = comparison(records, read(FOLDER / "results" / "avx2"))
    body = "\n\n".join([*map(section, records), others])
    return f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}"


def main() -> int:
    """Write or check the page; returns the exit code."""
    if unknown := set(sys.argv[1:]) - {"--check"}:
        print(f"unknown: {' '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    path = FOLDER / "results.md"
    old = path.read_text(encoding="utf-8")
    new = page(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
