"""Our own format: a problem a line, `gemm m=512 n=768 k=3072  # comment`."""

from __future__ import annotations

import re
from pathlib import Path

from ..case import CASES, LARGEST, Listed, Sizes, make

__all__ = ["read"]


def read(path: Path, text: str, found: Listed) -> None:
    """Append the problems of a file."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}:{number}"
        case = CASES.get(words[0])
        if case is None:
            raise ValueError(f"{where}: there is no kernel '{words[0][:80]}' to measure")
        sizes: Sizes = {}
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key not in case.sizes or not re.fullmatch("[0-9]{1,10}", value):
                raise ValueError(
                    f"{where}: '{word[:80]}' is not a size of {words[0]}; it takes "
                    + " ".join(f"{name}=N" for name in case.sizes)
                )
            sizes[key] = int(value)
            least = 0 if case.sizes[key] in (0, -1) or key == "axis" else 1
            if not least <= sizes[key] <= LARGEST:
                raise ValueError(f"{where}: '{word}': must lie in [{least}, {LARGEST}]")
        missing = [key for key, value in case.sizes.items() if value is None and key not in sizes]
        if missing:
            raise ValueError(f"{where}: {words[0]} needs {' and '.join(missing)}")
        found.problems.append(make(words[0], sizes))
