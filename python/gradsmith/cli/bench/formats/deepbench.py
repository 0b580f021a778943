"""DeepBench's kernels as JSON: lists of numbers by set.

gemm: m, n, k, whether a and b are transposed. conv: w, h, c, n, o, the kernel's width and height,
padding and strides, width before height. rnn: hidden size, batch, steps, kind of cell.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..case import LARGEST, Listed, make

__all__ = ["read"]

_COUNTS = {"gemm": 5, "conv": 11, "rnn": 4}
_CELLS = {"vanilla": "rnn", "lstm": "lstm", "gru": "gru"}


def read(path: Path, text: str, found: Listed) -> None:
    """Append the problems of a file; its training sets run backward too."""
    try:
        tables = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}:1: nested too deeply") from None
    known = isinstance(tables, dict) and all(
        isinstance(rows, list) and title.partition(":")[0] in _COUNTS
        for title, rows in tables.items()
    )
    if not known:
        raise ValueError(f"{path}:1: not DeepBench's tables: lists named gemm:…, conv:… and rnn:…")
    # The innermost lists come in this order in the file too, which gives them line numbers.
    starts = (match.start() for match in re.finditer(r"\[[^][]*\]", text))
    for title, rows in tables.items():
        kind = title.partition(":")[0]
        for row in rows:
            start = next(starts, 0) if isinstance(row, list) else 0
            where = f"{path}:{text.count(chr(10), 0, start) + 1}"
            if not isinstance(row, list) or len(row) != _COUNTS[kind]:
                raise ValueError(
                    f"{where}: {title} needs lists of {_COUNTS[kind]}, got {row!r:.60}"
                )
            _row(where, title, kind, row, found)


def _number(where: str, value: object, least: int) -> int:
    text = str(value)
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= LARGEST:
        raise ValueError(f"{where}: {text[:80]!r} is not a number in [{least}, {LARGEST}]")
    return int(text)


def _row(where: str, title: str, kind: str, row: list[object], found: Listed) -> None:
    training = "training" in title
    if kind == "gemm":
        m, n, k = (_number(where, value, 1) for value in row[:3])
        for flag in row[3:]:
            if flag not in ("true", "false"):
                raise ValueError(f"{where}: {str(flag)[:80]!r} is neither 'true' nor 'false'")
        flags = {"ta": int(row[3] == "true"), "tb": int(row[4] == "true")}
        found.problems.append(make("gemm", {"m": m, "n": n, "k": k, **flags}))
    elif kind == "conv":
        w, h, c, n, o, kw, k = (_number(where, value, 1) for value in row[:7])
        pw, pad = (_number(where, value, 0) for value in row[7:9])
        sw, stride = (_number(where, value, 1) for value in row[9:])
        sizes = {"n": n, "c": c, "h": h, "w": w, "o": o, "k": k, "kw": kw}
        sizes |= {"stride": stride, "sw": sw, "pad": pad, "pw": pw}
        gradients = ("conv2d_input_grad", "conv2d_weight_grad") if training else ()
        found.problems.extend(make(name, sizes) for name in ("conv2d", *gradients))
    else:
        hidden, batch, steps = (_number(where, value, 1) for value in row[:3])
        cell = _CELLS.get(str(row[3]))
        if cell is None:
            raise ValueError(f"{where}: {str(row[3])[:80]!r} is none of {', '.join(_CELLS)}")
        sizes = {"steps": steps, "batch": batch, "input": hidden, "hidden": hidden}
        found.problems.append(make(cell, sizes))
        if training:
            found.problems.append(make(f"{cell}_and_grad", sizes))
