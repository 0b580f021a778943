"""Lists of problems from files: our own, DeepBench's JSON, benchdnn's batch files.

Ours has one problem a line, `gemm m=512 n=768 k=3072  # comment`. DeepBench's is a JSON object of
lists of lists of numbers (the kernels' tables of baidu-research/DeepBench, by set). benchdnn's are
those of oneDNN's tests/benchdnn/inputs: what they are about is the name of their folder, or comes
before the path: `conv:FILE`.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..case import Listed
from . import benchdnn, deepbench, own

__all__ = ["packaged", "read_problems"]

_FOLDER = Path(__file__).parents[1] / "problems"


def packaged() -> list[str]:
    """Return the names of the lists of this package."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt") if path.stem != "README")


def read_problems(name: str) -> Listed:
    """Read a list of the package by its name, or a file, with its kind before it or not.

    Raises:
        ValueError: naming file and line of what cannot be understood.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in benchdnn.KINDS:
        kind, rest = "", name
    path = _FOLDER / f"{rest}.txt"
    if kind or not path.is_file():
        path = Path(rest)
    if not path.is_file():
        raise ValueError(f"--shapes: no file '{rest}', and the package has {', '.join(packaged())}")
    return _read(path, kind)


def _read(path: Path, kind: str) -> Listed:
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8") from None
    found = Listed()
    if text.lstrip()[:1] in ("{", "["):
        deepbench.read(path, text, found)
    elif kind or _is_benchdnn(path, text):
        benchdnn.read(path, text, kind or path.parent.name, found)
    else:
        own.read(path, text, found)
    found.problems = list(dict.fromkeys(found.problems))
    if not found.problems and not found.left_out:
        raise ValueError(f"{path}:1: holds no problem")
    return found


def _is_benchdnn(path: Path, text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip() and line[0] != "#"), "")
    if path.parent.name in benchdnn.KINDS and "=" not in first.partition("--")[0]:
        return True
    if re.match("--[a-z]|_?[a-z]+[0-9]+_?[a-z]+[0-9]|[0-9]+x[0-9]", first):
        raise ValueError(
            f"{path}: looks like benchdnn's; say what its problems are: KIND:{path}, KIND one of "
            + ", ".join(benchdnn.KINDS)
        )
    return False
