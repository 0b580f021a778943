"""What one op on one element costs from Python, with the tape and without.

Such an op computes nothing, so this is the price of the call, the checks, the allocation, the
dispatch and the tape. The loop and the call of the function measured are subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..case import Prepared, Run, Sizes, case, same

_ONE: dict[str, Callable[..., Run]] = {
    "add": lambda lib, x, y, leaf, matrix: lambda: x + y,
    "add_number": lambda lib, x, y, leaf, matrix: lambda: x + 1.0,
    "add_tape": lambda lib, x, y, leaf, matrix: lambda: leaf + y,
    "mul_backward": lambda lib, x, y, leaf, matrix: lambda: (leaf * y).backward(),
    "relu": lambda lib, x, y, leaf, matrix: lambda: lib.relu(x),
    "exp": lambda lib, x, y, leaf, matrix: lambda: lib.exp(x),
    "sum": lambda lib, x, y, leaf, matrix: lambda: x.sum(),
    "matmul_4x4": lambda lib, x, y, leaf, matrix: lambda: matrix @ matrix,
    "index": lambda lib, x, y, leaf, matrix: lambda: matrix[0],
    "slice": lambda lib, x, y, leaf, matrix: lambda: matrix[1:3, 2],
    "item": lambda lib, x, y, leaf, matrix: lambda: x.item(),
}
_OPS = {f"op_{name}": op for name, op in _ONE.items()}


@case("elementwise", *_OPS)
def _tiny(s: Sizes, dtype: Any, name: str) -> Prepared:
    kind = dtype.name

    def program(lib: Any) -> Run:
        x, y, leaf = (lib.ones(1, dtype=getattr(lib, kind)) for _ in range(3))
        matrix = lib.ones(4, 4, dtype=getattr(lib, kind))
        return _OPS[name](lib, x, y, leaf.requires_grad_(), matrix)

    return same(program, 0, 12.0, tracked=True, bare=True)
