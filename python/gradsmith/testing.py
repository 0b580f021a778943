"""Checks for tests: gradients against finite differences, closeness with a useful message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._core import Tensor

__all__ = ["assert_close", "gradcheck", "gradgradcheck"]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _float_outputs(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    return [
        y for y in _as_tuple(fn(*inputs)) if isinstance(y, Tensor) and y.dtype.is_floating_point
    ]


def _set_element(x: Tensor, i: int, value: float) -> None:
    flat = x.detach().numpy().reshape(-1)
    if not np.shares_memory(flat, x.detach().numpy()):
        raise ValueError("gradcheck: inputs must be contiguous; make views inside the function")
    flat[i] = value


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
) -> bool:
    """Compare the gradients of `fn` with central differences.

    Args:
        fn: takes `inputs`, returns one or several tensors; must be deterministic.
        inputs: float64 tensors that require grad are checked; anything else is passed on.
        eps: step of the difference quotient.
        atol: allowed absolute difference.
        rtol: allowed difference relative to the numerical gradient.

    Returns:
        True; a difference raises.

    Raises:
        AssertionError: names input, output, element and both values; also where no output is
            on the tape, and where one that is not depends on an input all the same.
        ValueError: if an input that requires grad is not contiguous float64.
    """
    inputs = _as_tuple(inputs)
    _recorded(fn, inputs)
    _check_jacobians(fn, inputs, eps, atol, rtol)
    return True


def _checked(inputs: Sequence[Any]) -> list[int]:
    """Which inputs are differentiated; all of them must allow it."""
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires grad")
    for i in checked:
        if inputs[i].dtype is not _core.float64 or not inputs[i].is_contiguous():
            raise ValueError(f"gradcheck: input {i} must be contiguous float64")
    return checked


def _recorded(fn: Callable[..., Any], inputs: Sequence[Any]) -> dict[int, Tensor]:
    """The outputs that are on the tape, by number."""
    _checked(inputs)
    outputs = enumerate(_float_outputs(fn, inputs))
    recorded = {o: output for o, output in outputs if output.requires_grad}
    if not recorded:
        raise AssertionError(
            "gradcheck: no floating output requires grad; is the function on the tape?"
        )
    return recorded


def _check_jacobians(
    fn: Callable[..., Any], inputs: Sequence[Any], eps: float, atol: float, rtol: float
) -> None:
    checked = _checked(inputs)
    for o, output in enumerate(_float_outputs(fn, inputs)):
        analytic = _analytic(fn, inputs, checked, o) if output.requires_grad else None
        for which, i in enumerate(checked):
            numeric = _numeric(fn, inputs, i, o, eps)
            if analytic is None:  # off the tape, so it must not depend on the input
                _compare(np.zeros_like(numeric), numeric, f"input {i}, output {o}", atol, rtol)
                continue
            _compare(analytic[which], numeric, f"input {i}, output {o}", atol, rtol)


def _analytic(
    fn: Callable[..., Any], inputs: Sequence[Any], checked: list[int], o: int
) -> list[np.ndarray[Any, Any]]:
    """Jacobians of output o: one row per output element."""
    output = _float_outputs(fn, inputs)[o]
    variables = [inputs[i] for i in checked]
    rows: list[list[np.ndarray[Any, Any]]] = [[] for _ in checked]
    for e in range(output.numel()):
        seed = np.zeros(output.numel())
        seed[e] = 1.0
        grads = _core.grad(
            (output,),
            variables,
            (_core.tensor(seed.reshape(output.shape)).to(output.dtype),),
            True,
            False,
            True,
        )
        for row, x, g in zip(rows, variables, grads, strict=True):
            row.append(
                np.zeros(x.numel()) if g is None else g.contiguous().numpy().reshape(-1).copy()
            )
    return [
        np.array(row).reshape(output.numel(), x.numel())
        for row, x in zip(rows, variables, strict=True)
    ]


def _numeric(
    fn: Callable[..., Any], inputs: Sequence[Any], i: int, o: int, eps: float
) -> np.ndarray[Any, Any]:
    x = inputs[i]
    start = x.detach().numpy().reshape(-1).copy()
    columns = []
    for e in range(x.numel()):
        sides = []
        for step in (eps, -eps):
            _set_element(x, e, float(start[e] + step))
            values = _float_outputs(fn, inputs)[o].detach().contiguous().numpy()
            sides.append(values.reshape(-1).astype(np.float64).copy())
        _set_element(x, e, float(start[e]))
        columns.append((sides[0] - sides[1]) / (2 * eps))
    size = _float_outputs(fn, inputs)[o].numel()
    return np.array(columns).reshape(x.numel(), size).T


def _compare(
    analytic: np.ndarray[Any, Any],
    numeric: np.ndarray[Any, Any],
    what: str,
    atol: float,
    rtol: float,
) -> None:
    wrong = ~(np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise AssertionError(
            f"gradcheck: {what}: d out[{row}] / d in[{column}] is {analytic[row, column]:.10g} by "
            f"the tape and {numeric[row, column]:.10g} by differences "
            f"({wrong.sum()} of {wrong.size} entries differ)"
        )


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
    seed: int = 0,
) -> bool:
    """Check the gradient of the gradient of `fn` the same way; arguments as for `gradcheck`.

    The gradients of the outputs are drawn once and checked as inputs too.
    """
    inputs = _as_tuple(inputs)
    used = _recorded(fn, inputs)
    rng = np.random.default_rng(seed)
    seeds = [_core.tensor(rng.standard_normal(y.shape)).requires_grad_() for y in used.values()]

    def first_order(*args: Any) -> tuple[Tensor, ...]:
        values, given = args[: len(inputs)], args[len(inputs) :]
        results = _float_outputs(fn, values)
        variables = [x for x in values if isinstance(x, Tensor) and x.requires_grad]
        grads = _core.grad([results[o] for o in used], variables, given, True, True, True)
        return tuple(
            _core.zeros(x.shape, dtype=x.dtype) if g is None else g
            for x, g in zip(variables, grads, strict=True)
        )

    # Gradients that are constants, of floor() say, are rightly off the tape.
    _check_jacobians(first_order, (*inputs, *seeds), eps, atol, rtol)
    return True


def assert_close(actual: Any, expected: Any, rtol: float = 1e-6, atol: float = 0.0) -> None:
    """Raise an AssertionError unless shapes agree and `|actual - expected|` is small.

    It may be at most `atol + rtol * |expected|`, element by element; the message names the
    worst element, both values and the distance in units in the last place of the actual dtype. NaNs
    agree with NaNs, infinities with equal infinities; dtypes may differ.
    """
    a = actual.detach() if isinstance(actual, Tensor) else actual
    a = np.asarray(a.float() if isinstance(a, Tensor) and a.dtype is _core.bfloat16 else a)
    e = np.asarray(expected.detach() if isinstance(expected, Tensor) else expected)
    if a.shape != e.shape:
        raise AssertionError(f"shapes differ: {a.shape} and {e.shape}")
    wide_a, wide_e = a.astype(np.float64), e.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (wide_a == wide_e) | (np.isnan(wide_a) & np.isnan(wide_e))
        error = np.where(same, 0.0, np.abs(wide_a - wide_e))
        excess = np.where(same, -np.inf, error - (atol + rtol * np.abs(wide_e)))
    excess = np.where(np.isnan(excess), np.inf, excess)
    if a.size == 0 or not (excess > 0).any():
        return
    worst = np.unravel_index(int(np.argmax(excess)), a.shape)
    unit = a.dtype if a.dtype.kind == "f" else np.float64
    ulp = np.spacing(np.abs(e[worst]).astype(unit)) if np.isfinite(e[worst]) else np.nan
    where = tuple(int(i) for i in worst)
    raise AssertionError(
        f"{int((excess > 0).sum())} of {a.size} elements differ; worst at {where}: "
        f"{a[worst]!r} is not {e[worst]!r} "
        f"(error {error[worst]:.3g}, {error[worst] / ulp:.1f} ulp, "
        f"allowed {atol + rtol * abs(float(e[worst])):.3g})"
    )
