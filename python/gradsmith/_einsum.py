"""einsum: sums of products by index letters, as one matrix product per pair of operands."""

from __future__ import annotations

import math
import re
import string
from typing import Any

from . import _core
from ._checks import dtypes_agree, integer, tensor
from ._core import Tensor

__all__ = ["einsum"]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase  # in the order of their codes


def _parse(equation: str, operands: tuple[Tensor, ...]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, letters also for an ellipsis."""
    text = equation.replace(" ", "")
    given, arrow, result = text.partition("->")
    terms = given.split(",")
    allowed = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
    if not all(re.fullmatch(allowed, term) for term in (*terms, result)):
        raise ValueError(f"einsum: {equation!r} must be letters, '...', ',' and '->'")
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {len(terms)} terms in {equation!r}, {len(operands)} operands")
    spare = [chr(0x100 + at) for at in range(64)]  # no letter of the user's
    extra = 0
    for at, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        rank, named = len(operand.shape), len(term.replace("...", ""))
        if named > rank or ("..." not in term and named != rank):
            raise ValueError(
                f"einsum: term {term!r} does not fit operand {at} of shape {tuple(operand.shape)}"
            )
        if "..." in term:
            extra = max(extra, rank - named)
    for at, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        count = len(operand.shape) - len(term.replace("...", ""))
        terms[at] = term.replace("...", "".join(spare[extra - count : extra]))
    broadcast = "".join(spare[:extra])
    if not arrow:
        letters = "".join(terms)
        once = sorted(c for c in set(letters) if letters.count(c) == 1 and c not in broadcast)
        return terms, broadcast + "".join(once)
    result = result.replace("...", broadcast)
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        raise ValueError(f"einsum: the result of {equation!r} must name letters of the terms once")
    return terms, result


def _diagonals(x: Tensor, term: str) -> tuple[Tensor, str]:
    """Take the diagonal wherever a letter appears twice."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ValueError(
                    f"einsum: '{letter}' stands for axes of {x.shape[first]} and "
                    f"{x.shape[second]} in one operand"
                )
            x = _core.diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return x, term


def _summed(x: Tensor, term: str, wanted: set[str]) -> tuple[Tensor, str]:
    gone = [at for at, letter in enumerate(term) if letter not in wanted]
    if gone:
        x = x.sum(gone)
    return x, "".join(letter for letter in term if letter in wanted)


def _pair(a: Tensor, b: Tensor, left: str, right: str, wanted: set[str]) -> tuple[Tensor, str]:
    """Multiply two operands and sum over the letters that nobody needs any more."""
    a, left = _summed(a, left, wanted | set(right))
    b, right = _summed(b, right, wanted | set(left))
    sizes: dict[str, int] = {}
    for operand, term in ((a, left), (b, right)):
        for letter, size in zip(term, operand.shape, strict=True):
            known = sizes.get(letter, 1)
            if 1 not in (known, size) and known != size:
                raise ValueError(f"einsum: an index has the sizes {known} and {size}")
            sizes[letter] = size if known == 1 else known
    both = [c for c in left if c in right]
    batch = [c for c in both if c in wanted]
    inner = [c for c in both if c not in wanted]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]

    def matrix(x: Tensor, term: str, *groups: list[str]) -> Tensor:
        order = [c for group in groups for c in group]
        x = _core.permute(x, [term.index(c) for c in order]) if order else x
        x = x.expand(*(sizes[c] for c in order)) if order else x
        return x.reshape(*(math.prod(sizes[c] for c in group) for group in groups))

    y = _core.bmm(matrix(a, left, batch, rows, inner), matrix(b, right, batch, inner, columns))
    term = "".join(batch + rows + columns)
    return y.reshape(*(sizes[c] for c in term)) if term else y.reshape(()), term


def _from_lists(given: tuple[Any, ...]) -> tuple[str, tuple[Tensor, ...]]:
    """Return equation and operands of `einsum(a, [0, 1], b, [1, 2], [0, 2])`."""
    pairs, result = (given[:-1], given[-1:]) if len(given) % 2 else (given, ())
    operands, lists = pairs[::2], (*pairs[1::2], *result)
    if not all(isinstance(x, Tensor) for x in operands) or not all(
        isinstance(indices, (list, tuple)) for indices in lists
    ):
        kinds = ", ".join(type(value).__name__ for value in given)
        raise TypeError(
            "einsum: expected an equation and tensors, or tensors each followed by the list of its "
            f"indices, got {kinds}"
        )
    terms = ["".join(map(_letter, indices)) for indices in lists]
    equation = ",".join(terms[: len(operands)])
    return equation + "->" + terms[-1] if result else equation, operands


def _letter(index: Any) -> str:
    if index is Ellipsis:
        return "..."
    if not 0 <= integer("einsum", "an index", index) < len(_LETTERS):
        raise ValueError(f"einsum: an index must lie in [0, {len(_LETTERS)}), got {index}")
    return _LETTERS[index]


def einsum(equation: str | Tensor, *operands: Any) -> Tensor:
    """Sum products of elements over the indices that the result does not name.

    Args:
        equation: letters for the axes of each operand, e.g. "bij,bjk->bik"; a letter twice in one
            operand is its diagonal, "..." stands for further axes, which are broadcast. Without
            "->" the result has the letters that appear once, in alphabetical order.
        *operands: one tensor per term, multiplied from left to right.

    Instead of letters, each operand may be followed by a list of numbers for its axes, and the
    last by one for the result: `einsum(a, [0, 1], b, [1, 2], [0, 2])`; Ellipsis stands for "...".

    Raises:
        TypeError: the arguments are of neither form, or the operands' dtypes differ.
        ValueError: the equation is none, or does not fit the operands.
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    for at, operand in enumerate(operands):
        tensor("einsum", f"operand {at}", operand)
        dtypes_agree("einsum", (f"operand {at}", operand), ("operand 0", operands[0]))
    terms, result = _parse(equation, operands)
    parts = [_diagonals(x, term) for x, term in zip(operands, terms, strict=True)]
    x, term = parts[0]
    for at in range(1, len(parts)):
        later = set(result).union(*(letters for _, letters in parts[at + 1 :]))
        x, term = _pair(x, parts[at][0], term, parts[at][1], later)
    x, term = _summed(x, term, set(result))
    return _core.permute(x, [term.index(c) for c in result]) if result else x
