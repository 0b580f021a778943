"""Callbacks that write the history to files: CSVLogger, JSONLLogger."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gradsmith._safetensors import write_atomically

from .base import Callback, Logs

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["CSVLogger", "JSONLLogger"]


class CSVLogger(Callback):
    """Appends one line per epoch to a CSV file; a resumed run continues the same file.

    Lines of epochs that are trained again are dropped first. Where values come up that had no
    column before, the file is written anew, whole, with columns for them at the end.

    Args:
        path: the file.
        append: keep lines from an earlier run, even when this run is not resumed.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        """Store the settings."""
        self.path = Path(path)
        self.append = append
        self._stream: TextIO | None = None
        self._columns: list[str] = []

    def on_fit_start(self, trainer: Loop) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._columns = []

        def before(epoch: str) -> bool:
            """Whether a line stays; one that a crash has torn does not."""
            try:
                return float(epoch) <= trainer.epoch
            except ValueError:
                return False

        kept: list[list[str]] = []
        if (self.append or trainer.epoch > 0) and self.path.exists():
            kept = self._read()
        if kept:
            self._columns = kept[0]
            if not self.append and "epoch" in kept[0]:
                at = kept[0].index("epoch")
                kept[1:] = [row for row in kept[1:] if len(row) == len(kept[0]) and before(row[at])]
        self._rewrite(kept)

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Write and flush one line."""
        assert self._stream is not None
        new = [column for column in logs if column not in self._columns]
        if new:  # the first epoch, or a later one that is the first to be validated, say
            rows = self._read()[1:]
            self._columns += new
            blanks = len(self._columns)
            rows = [row + [""] * (blanks - len(row)) for row in rows]
            self._rewrite([self._columns, *rows])
        self._stream.write(_csv([[logs.get(column, "") for column in self._columns]]))
        self._stream.flush()

    def on_fit_end(self, trainer: Loop) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read(self) -> list[list[str]]:
        with self.path.open(newline="", encoding="utf-8") as stream:
            return [row for row in csv.reader(stream) if row]

    def _rewrite(self, rows: list[list[str]]) -> None:
        """Put a whole new file in place of the old one, and go on behind its end."""
        if self._stream is not None:
            self._stream.close()
        write_atomically(self.path, [_csv(rows).encode()])
        self._stream = self.path.open("a", newline="", encoding="utf-8")


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


class JSONLLogger(Callback):
    """Appends one JSON object per epoch to a file; a resumed run continues the same file.

    Lines of epochs that are trained again are dropped first. Values that JSON cannot hold (NaN,
    infinities) are written as null.

    Args:
        path: the file.
        append: keep lines from an earlier run, even when this run is not resumed.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        """Store the settings."""
        self.path = Path(path)
        self.append = append
        self._stream: TextIO | None = None

    def on_fit_start(self, trainer: Loop) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)

        def stays(line: str) -> bool:
            """Whether a line is whole, and of an epoch that is not trained again."""
            try:
                return self.append or json.loads(line)["epoch"] <= trainer.epoch
            except (ValueError, KeyError, TypeError):
                return False

        kept: list[str] = []
        if (self.append or trainer.epoch > 0) and self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if stays(line)]
        self._stream = self.path.open("w")
        self._stream.writelines(f"{line}\n" for line in kept)

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Write and flush one line."""
        assert self._stream is not None
        row = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()

    def on_fit_end(self, trainer: Loop) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
