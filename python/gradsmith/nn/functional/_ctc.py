"""Connectionist temporal classification, composed of ops; see `nn.CTCLoss`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import integer
from gradsmith._core import Tensor

from .._args import choice

__all__ = ["ctc_loss"]

_OP = "ctc_loss"
_NOTHING = -1e30  # the logarithm of a path that does not exist; finite, so that slopes are too
_Lengths = Tensor | Sequence[int] | int
_Array = np.ndarray[Any, Any]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: _Lengths,
    target_lengths: _Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability that the paths of an input spell its target; see `nn.CTCLoss`."""
    choice(_OP, "reduction", reduction, ("mean", "sum", "none"))
    if len(log_probs.shape) not in (2, 3) or not log_probs.dtype.is_floating_point:
        raise ValueError(
            f"{_OP}: log_probs must be floating, (T, N, C) or (T, C), got "
            f"{log_probs.dtype.name} of shape {tuple(log_probs.shape)}"
        )
    batched = len(log_probs.shape) == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    half = x.dtype in (gs.float16, gs.bfloat16)
    x = x.float() if half else x
    steps, batch, classes = x.shape
    if not 0 <= integer(_OP, "blank", blank) < classes:
        raise ValueError(f"{_OP}: blank must lie in [0, {classes}), got {blank}")
    times = _lengths("input_lengths", input_lengths, batch)
    if times.max(initial=0) > steps:
        raise ValueError(f"{_OP}: input_lengths must not exceed {steps}, got {times.max()}")
    sizes = _lengths("target_lengths", target_lengths, batch)
    labels = _labels(targets, sizes, batched, classes, blank)

    loss = -_spelled(x, labels, times, sizes, blank)
    impossible = loss.detach() > -_NOTHING / 2
    loss = loss.masked_fill(impossible, 0.0 if zero_infinity else float("inf"))
    if half:
        loss = loss.to(log_probs.dtype)
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss if batched else loss.squeeze(0)
    per_label = _core.from_numpy(np.maximum(sizes, 1)).to(loss.dtype).to(loss.device)
    return (loss / per_label).mean()


def _spelled(x: Tensor, labels: _Array, times: _Array, sizes: _Array, blank: int) -> Tensor:
    """Return the log-probability of each target, by the forward recursion over its states.

    The states of a target are its labels with blanks before, between and behind. A step stays,
    moves on by one state, or by two where that leaves out a blank between different labels.
    """
    steps, batch, _ = x.shape
    states = np.full((batch, 2 * labels.shape[1] + 1), blank)
    states[:, 1::2] = labels
    stuck = np.ones(states.shape, dtype=bool)  # where no step by two arrives
    stuck[:, 3::2] = labels[:, 1:] == labels[:, :-1]
    width = states.shape[1]

    def on_device(array: _Array) -> Tensor:
        return _core.from_numpy(np.ascontiguousarray(array)).to(x.device)

    scores = _core.gather(x, 2, on_device(states).unsqueeze(0).expand(steps, batch, width))
    scores = scores.clamp(min=_NOTHING)
    no_skip = on_device(stuck)
    # Before the first step all probability stands at the first blank.
    start = np.full(states.shape, _NOTHING)
    start[:, 0] = 0
    alpha = on_device(start).to(x.dtype)
    if not times.max(initial=0):  # no step: still a function of x, of slope zero
        alpha = alpha + scores.narrow(0, 0, 0).sum(0)
    for t in range(int(times.max(initial=0))):
        on = gs.nn.functional.pad(alpha, (1, 0), value=_NOTHING).narrow(1, 0, width)
        skip = gs.nn.functional.pad(on, (1, 0), value=_NOTHING).narrow(1, 0, width)
        ways = _core.stack([alpha, on, skip.masked_fill(no_skip, _NOTHING)])
        moved = _core.logsumexp(ways, 0) + scores[t]
        over = t >= times
        alpha = gs.where(on_device(over[:, None]), alpha, moved) if over.any() else moved

    last = np.stack([2 * sizes, np.maximum(2 * sizes - 1, 0)], axis=1)
    ends = _core.gather(alpha, 1, on_device(last))
    twice = np.stack([np.zeros(batch, dtype=bool), sizes == 0], axis=1)  # the empty target's end
    return _core.logsumexp(ends.masked_fill(on_device(twice), _NOTHING), 1)


def _lengths(name: str, given: _Lengths, batch: int) -> _Array:
    """Return one length per sequence."""
    host = given.detach().to("cpu").numpy() if isinstance(given, Tensor) else np.asarray(given)
    values = np.atleast_1d(host)
    if values.dtype.kind not in "iu" or values.shape != (batch,) or values.min(initial=0) < 0:
        raise ValueError(
            f"{_OP}: {name} must be {batch} whole numbers from 0, got {values.tolist()}"
        )
    return values.astype(np.int64)


def _labels(targets: Tensor, sizes: _Array, batched: bool, classes: int, blank: int) -> _Array:
    """Return the targets as (N, S), filled up with blanks, from (N, S) or one behind the other."""
    given = targets.detach().to("cpu").numpy()
    if given.dtype.kind not in "iu":
        raise TypeError(f"{_OP}: targets must hold integers, got {targets.dtype.name}")
    rows = given[None] if given.ndim == 1 and not batched else given
    longest = int(sizes.max(initial=0))
    if rows.shape == (sizes.sum(),):
        pieces = np.split(rows, np.cumsum(sizes))[:-1]
    elif rows.ndim == 2 and len(rows) == len(sizes) and rows.shape[1] >= longest:
        pieces = [row[:size] for row, size in zip(rows, sizes, strict=True)]
    else:
        raise ValueError(
            f"{_OP}: targets {tuple(targets.shape)} do not fit target_lengths {sizes.tolist()}"
        )
    labels = np.full((len(sizes), longest), blank, dtype=np.int64)
    for row, piece in zip(labels, pieces, strict=True):
        wrong = piece[(piece < 0) | (piece >= classes) | (piece == blank)]
        if wrong.size:
            raise ValueError(
                f"{_OP}: targets must be classes from 0 to {classes - 1} without the blank "
                f"{blank}, got {wrong[0]}"
            )
        row[: piece.size] = piece
    return labels
