"""Tables: CSV files, splits, and columns made into numbers without leakage."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

import gradsmith as gs

from .dataset import TensorDataset
from .scaling import Standardizer

__all__ = ["Table", "TableEncoder", "read_csv"]

Array = np.ndarray[Any, Any]
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "?")


class Table(Mapping[str, Array]):
    """Named columns of equal length: float64 for numbers (NaN where missing), or text.

    Raises:
        ValueError: there are no columns, or their lengths differ.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        """Store the columns; numbers become float64 and everything else text."""
        self._columns: dict[str, Array] = {}
        for name, values in columns.items():
            array = np.asarray(values)
            numeric = array.dtype.kind in "biuf"
            self._columns[name] = array.astype(np.float64) if numeric else array.astype(object)
        sizes = {name: column.shape for name, column in self._columns.items()}
        if len(set(sizes.values())) != 1 or any(len(shape) != 1 for shape in sizes.values()):
            raise ValueError(f"Table: columns must have one axis of one length, got {sizes}")

    def __getitem__(self, name: str) -> Array:
        """Return a column."""
        if name not in self._columns:
            raise KeyError(f"Table: no column {name!r}; there are {', '.join(self._columns)}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Count the columns."""
        return len(self._columns)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self._columns.values())))

    def is_numeric(self, name: str) -> bool:
        """Say whether a column holds numbers."""
        return self[name].dtype.kind == "f"

    def take(self, indices: Any) -> Table:
        """Return a table of those rows, by number or by a mask."""
        return Table({name: column[indices] for name, column in self._columns.items()})

    def drop(self, *names: str) -> Table:
        """Return a table without those columns."""
        for name in names:
            self[name]
        return Table({n: column for n, column in self._columns.items() if n not in names})

    def split(
        self,
        shares: Sequence[float] = (0.8, 0.2),
        *,
        stratify: str | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> list[Table]:
        """Split the rows into parts that do not overlap.

        Args:
            shares: of the parts; they sum to 1.
            stratify: a column whose values each part holds in the same shares.
            shuffle: draw at random; otherwise parts are runs of rows, as for series in time.
            seed: decides the draw.

        Raises:
            ValueError: the shares do not sum to 1, or `stratify` is given without `shuffle`.
        """
        if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"split: shares must sum to 1, none negative; got {list(shares)}")
        if stratify is not None and not shuffle:
            raise ValueError("split: stratify needs shuffle")
        order = np.arange(self.rows)
        if shuffle:
            order = np.random.default_rng(seed).permutation(self.rows)
        groups = [order]
        if stratify is not None:
            kinds = np.unique(self[stratify].astype(str), return_inverse=True)[1][order]
            groups = [order[kinds == kind] for kind in range(kinds.max(initial=-1) + 1)]
        ends = np.cumsum(shares)[:-1]
        cut = [np.split(group, np.round(ends * group.size).astype(int)) for group in groups]
        parts = [np.sort(np.concatenate(pieces)) for pieces in zip(*cut, strict=True)]
        return [self.take(part) for part in parts]

    def __repr__(self) -> str:
        """Show size and columns."""
        return f"Table({self.rows} rows: {', '.join(self._columns)})"


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: bool = True,
    names: Sequence[str] | None = None,
    delimiter: str = ",",
    missing: Sequence[str] = _MISSING,
    text: Sequence[str] = (),
    encoding: str = "utf-8-sig",
) -> Table:
    """Read a CSV file; a column whose values are all numbers, or missing, holds numbers.

    Args:
        path: the file.
        header: whether the first line holds the columns' names.
        names: the columns' names instead; "0", "1", ... where there is neither.
        delimiter: between values; " " takes any number of spaces or tabs for one.
        missing: what stands for a missing value.
        text: columns that stay text, though they look like numbers.
        encoding: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are no rows, a line has another number of values than the first, `text`
            names no column, `delimiter` is not one character, or the file is no text of that
            encoding or no CSV (a quote is not closed; a value has more than 131,072 characters).
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"read_csv: delimiter must be one character, got {delimiter!r}")
    rows: list[list[str]] = []
    try:
        with Path(path).open(newline="", encoding=encoding) as stream:
            lines: Any = (line.split() for line in stream)
            if delimiter != " ":
                lines = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            rows.extend([_bare(value) for value in row] for row in lines if row)
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"read_csv: {path}: after row {len(rows)}: {error}") from None
    heading = rows.pop(0) if header and rows else None
    if not rows:
        raise ValueError(f"read_csv: {path} has no rows")
    columns = list(names or heading or map(str, range(len(rows[0]))))
    if len(set(columns)) != len(columns):
        raise ValueError(f"read_csv: {path}: two of the columns {columns} share a name")
    for number, row in enumerate(rows, 2 if heading else 1):
        if len(row) != len(columns):
            raise ValueError(
                f"read_csv: {path}: row {number} has {len(row)} values, expected {len(columns)}"
            )
    texts = [text] if isinstance(text, str) else list(text)
    if unknown := [name for name in texts if name not in columns]:
        raise ValueError(f"read_csv: {path}: text names {unknown}; the columns are {columns}")
    gone = set(missing)
    found = {
        name: values if name in texts else _numbers(values, gone)
        for name, values in zip(columns, map(list, zip(*rows, strict=True)), strict=True)
    }
    return Table(found)


def _bare(value: str) -> str:
    """Take off spaces, and single quotes that some files put around values."""
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] == "'"
    return value[1:-1] if quoted else value


def _numbers(values: list[str], missing: set[str]) -> Any:
    """Return the values as numbers if they all are; texts that are missing become empty."""
    try:
        if any("_" in value for value in values):  # float() takes 1_000 for a number
            raise ValueError
        return np.array([np.nan if value in missing else float(value) for value in values])
    except ValueError:
        return ["" if value in missing else value for value in values]


class TableEncoder:
    """Makes rows of a table into vectors: numbers standardised, categories one-hot.

    Everything it knows (means, deviations, categories, classes) comes from the table it is fit to:
    fit it to the training part, and apply it to the others. A missing number becomes the training
    mean, a missing or unknown category zeros in all of its places.

    Args:
        target: the column to predict; it is no input.
        task: "classification", where targets become class numbers, or "regression".
        categorical: columns of numbers that are to be taken as categories.
        standardise: whether numbers are scaled; missing ones become the mean either way.

    Attributes:
        features: a name for each place of the vectors, "age" or "colour=red".
        classes: the target's values in order, of which class numbers are the places.

    Raises:
        ValueError: `task` is another.
    """

    def __init__(
        self,
        target: str | None = None,
        task: str = "classification",
        categorical: Sequence[str] = (),
        standardise: bool = True,
    ) -> None:
        """Check and store the settings."""
        if task not in ("classification", "regression"):
            raise ValueError(
                f"TableEncoder: task must be classification or regression, got {task!r}"
            )
        self.target = target
        self.task = task
        self.categorical = tuple(categorical)
        self.standardise = standardise
        self.features: list[str] = []
        self.classes: list[str] = []
        self._numeric: list[str] = []
        self._categories: dict[str, list[str]] = {}
        self._scaler = Standardizer()

    def fit(self, table: Table) -> Self:
        """Take means, deviations, categories and classes from a table.

        Raises:
            ValueError: the table has no rows, or a column of numbers has none, or an infinite one.
        """
        inputs = [name for name in table if name != self.target]
        numeric = [n for n in inputs if table.is_numeric(n) and n not in self.categorical]
        for name in numeric:
            if not table.rows or np.isnan(table[name]).all():
                raise ValueError(f"TableEncoder: column {name!r} holds no number")
        self._numeric = numeric
        self._categories = {
            name: sorted({value for value in _texts(table[name]) if value})
            for name in inputs
            if name not in numeric
        }
        if numeric:
            self._scaler.fit(self._numbers(table))
        if self.target is not None and self.task == "classification":
            self.classes = sorted({value for value in _texts(table[self.target]) if value})
        kinds = [f"{name}={value}" for name, all in self._categories.items() for value in all]
        self.features = [*numeric, *kinds]
        return self

    def _numbers(self, table: Table) -> Array:
        for name in self._numeric:
            if not table.is_numeric(name):
                raise ValueError(
                    f"TableEncoder: column {name!r} held numbers when `fit` saw it, and now text"
                )
            if np.isinf(table[name]).any():
                raise ValueError(f"TableEncoder: column {name!r} holds an infinite number")
        return np.column_stack([table[name] for name in self._numeric])

    def transform(self, table: Table) -> Array:
        """Return the vectors (rows, features), float32.

        Raises:
            ValueError: `fit` has not been called, a number is infinite, or a column of numbers
                has become text.
        """
        if not self.features:
            raise ValueError("TableEncoder: fit comes before transform")
        blocks: list[Array] = []
        if self._numeric:
            scaled = np.nan_to_num(self._scaler.transform(self._numbers(table)), nan=0.0)
            blocks.append(scaled if self.standardise else self._scaler.inverse(scaled))
        for name, categories in self._categories.items():
            blocks.append(_texts(table[name])[:, None] == np.asarray(categories, dtype=object))
        return np.concatenate([block.astype(np.float32) for block in blocks], axis=1)

    def targets(self, table: Table) -> Array:
        """Return class numbers, int64, or for regression the numbers, float32.

        Raises:
            ValueError: there is no target, or one is missing, infinite, or of no known class.
        """
        if self.target is None:
            raise ValueError("TableEncoder: there is no target")
        column = table[self.target]
        if self.task == "regression":
            if not table.is_numeric(self.target) or not np.isfinite(column).all():
                raise ValueError(f"TableEncoder: target {self.target!r} holds no number somewhere")
            return column.astype(np.float32)
        places = {value: place for place, value in enumerate(self.classes)}
        texts = _texts(column)
        if unknown := sorted({value for value in texts if value not in places}):
            raise ValueError(f"TableEncoder: target {unknown[0]!r} is none of {self.classes}")
        return np.array([places[value] for value in texts], dtype=np.int64)

    def dataset(self, table: Table) -> TensorDataset:
        """Return vectors and targets as a dataset."""
        inputs = gs.from_numpy(np.ascontiguousarray(self.transform(table)))
        return TensorDataset(inputs, gs.from_numpy(self.targets(table)))


def _texts(column: Array) -> Array:
    """Return values as texts, whole numbers without a point, missing ones empty."""
    if column.dtype.kind != "f":
        return column
    whole = np.isfinite(column) & (column == np.floor(column))
    texts = [
        "" if np.isnan(v) else str(int(v)) if is_whole else repr(float(v))
        for v, is_whole in zip(column, whole, strict=True)
    ]
    return np.asarray(texts, dtype=object)
