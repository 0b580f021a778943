"""What every example shares: its options, where its data lies, and how its results are reported."""

from __future__ import annotations

import datetime
import gzip
import json
import shlex
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core

__all__ = ["Options", "Report", "Row", "find_data", "main", "read_text"]


@dataclass(frozen=True)
class Options:
    """How to run an example.

    Args:
        data: a folder that holds the data, directly or in the folders of `find_data`; or None.
        out: the folder for the model, the pictures and `results.json`.
        seed: the first seed.
        seeds: how many seeds in turn, `seed`, `seed + 1`, ...; None: as many as the example
            is reported with.
        quick: a shortened version that shows that everything runs, not how good it gets.
    """

    data: Path | None = None
    out: Path = Path("gradsmith-demo")
    seed: int = 0
    seeds: int | None = None
    quick: bool = False

    def seed_range(self, default: int) -> range:
        """Return the seeds to run: `default` of them unless the user or `quick` says otherwise."""
        count = self.seeds or (1 if self.quick else default)
        return range(self.seed, self.seed + count)


def find_data(options: Options, folder: str, name: str, where: str) -> Path:
    """Return the path of a data file, plain or gzipped.

    Args:
        options: of the run; `options.data` is the folder the user gave.
        folder: the file may also lie in `data/folder`.
        name: of the file.
        where: the file can be had there, for the error.

    Raises:
        ValueError: no folder was given.
        FileNotFoundError: the folder does not hold the file.
    """
    if options.data is None:
        raise ValueError(f"needs --data DIR, a folder with {name} ({where})")
    for place in (options.data, options.data / folder):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"neither {options.data} nor {options.data / folder} holds {name}; it can be had at {where}"
    )


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a UTF-8 file, which may be gzipped.

    Args:
        path: of the file.
        errors: see `bytes.decode`.

    Raises:
        ValueError: the file is damaged, or not text.
    """
    raw = path.read_bytes()
    try:
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", errors)
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


@dataclass
class Row:
    """One result: a metric of one model, one value per seed.

    Args:
        what: the model or method, such as "LeNet-5, augmented".
        metric: with its unit, such as "test accuracy, %".
        values: one per seed.
        target: what it should reach, or None where it is there for comparison.
        higher: whether more is better.
        seconds: of training, per seed.
        digits: decimals shown.
    """

    what: str
    metric: str
    values: list[float]
    target: float | None = None
    higher: bool = True
    seconds: float | None = None
    digits: int = 2

    @property
    def reached(self) -> bool | None:
        """Whether the mean reaches the target; None without one."""
        if self.target is None:
            return None
        mean = float(np.mean(self.values))
        return mean >= self.target if self.higher else mean <= self.target

    def cells(self) -> list[str]:
        """Return what, metric, mean and spread, target and time as text."""
        mean, digits = float(np.mean(self.values)), self.digits
        value = f"{mean:.{digits}f}"
        if len(self.values) > 1:
            value += f" ± {float(np.std(self.values, ddof=1)):.{digits}f} ({len(self.values)})"
        target = ""
        if self.target is not None:
            sign = "≥" if self.higher else "≤"
            target = f"{sign} {self.target:g}{'' if self.reached else ' MISSED'}"
        seconds = "" if self.seconds is None else f"{self.seconds:.0f} s"
        return [self.what, self.metric, value, target, seconds]


HEAD = ["what", "metric", "mean ± spread (seeds)", "target", "time"]


@dataclass
class Report:
    """The results of one example: a table for the reader, JSON for the documentation.

    Args:
        name: of the example.
        options: of the run.
    """

    name: str
    options: Options
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(
        self,
        what: str,
        metric: str,
        values: float | Sequence[float],
        *,
        target: float | None = None,
        higher: bool = True,
        seconds: float | None = None,
        digits: int = 2,
    ) -> None:
        """Add a `Row`; a single number counts as the value of one seed."""
        listed = [float(v) for v in np.atleast_1d(np.asarray(values, np.float64))]
        self.rows.append(Row(what, metric, listed, target, higher, seconds, digits))

    def table(self) -> str:
        """Lay the rows out in columns."""
        lines = [HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
        text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        text.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
        return "\n".join(line.rstrip() for line in text)

    def finish(self) -> None:
        """Print the table and write `results.json` into the folder of the example."""
        seconds = time.perf_counter() - self.started
        print(f"\n{self.table()}\n", flush=True)
        words = ["gradsmith", "demo", self.name]
        if self.options.data is not None:
            words += ["--data", "DIR"]
        if self.options.seed:
            words += ["--seed", str(self.options.seed)]
        if self.options.seeds is not None:
            words += ["--seeds", str(self.options.seeds)]
        if self.options.quick:
            words.append("--quick")
        record: dict[str, Any] = {
            "example": self.name,
            "command": shlex.join(words),
            "date": datetime.date.today().isoformat(),
            "gradsmith": gs.__version__,
            "machine": f"{_core.cpu_info()['brand']}, {_core.get_target()}",
            "threads": gs.get_num_threads(),
            "quick": self.options.quick,
            "seconds": round(seconds, 1),
            "rows": [row.__dict__ for row in self.rows],
        }
        path = self.folder() / "results.json"
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"results: {path}, after {seconds:.1f} s", flush=True)

    def folder(self) -> Path:
        """Return the folder of this example's files, made if it is not there."""
        folder = self.options.out / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def main(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run one example as a script; returns the exit code.

    Args:
        name: of the example.
        arguments: of the command line; None: the process's own.
    """
    from gradsmith.__main__ import main as gradsmith

    return gradsmith(["demo", name, *(sys.argv[1:] if arguments is None else arguments)])
