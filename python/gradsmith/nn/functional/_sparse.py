"""Looking rows of a table up: embedding and embedding_bag."""

from __future__ import annotations

import numpy as np

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor
from gradsmith._interop import on_device

from .._args import as_index, choice, dense_gradient

__all__ = ["embedding", "embedding_bag"]


def _renormalize(op: str, weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up, in place, to a norm of at most `max_norm`."""
    rows = np.unique(index.detach().cpu().numpy())
    if not rows.size:
        return
    if rows[0] < 0 or rows[-1] >= weight.shape[0]:
        raise IndexError(f"{op}: indices must lie in [0, {weight.shape[0]}), got {rows[[0, -1]]}")
    with gs.no_grad():
        chosen = on_device(rows, weight.device)
        values = gs.index_select(weight.detach(), 0, chosen)
        length = gs.norm(values, norm_type, 1, True)
        weight[chosen] = gs.where(length > max_norm, values * (max_norm / (length + 1e-7)), values)


def _divide_gradient_by_frequency(rows: Tensor, index: Tensor) -> None:
    """Divide the gradient of each row by how often its index occurs."""
    if rows.requires_grad:
        places = index.to("cpu").numpy()
        _, place, counts = np.unique(places, return_inverse=True, return_counts=True)
        often = gs.from_numpy(counts[place.reshape(places.shape)]).to(rows.dtype).unsqueeze(-1)
        often = often.to(rows.device)
        rows.register_hook(lambda grad: grad / often)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight`; indices of any integer type, gradients dense.

    With `max_norm`, rows that are looked up and longer are first shortened, in place; with
    `scale_grad_by_freq` a row's gradient is the mean over its places in the input, not the sum.
    """
    dense_gradient("embedding", sparse)
    index = as_index(input)
    if max_norm is not None:
        _renormalize("embedding", weight, index, max_norm, norm_type)
    rows = _core.embedding(index, weight, padding_idx)
    if scale_grad_by_freq:
        _divide_gradient_by_frequency(rows, index)
    return rows


def _bags(index: Tensor, offsets: Tensor | None, include_last: bool) -> tuple[Tensor, Tensor, int]:
    """Return flat indices, the bag of each, and the number of bags."""
    op = "embedding_bag"
    if len(index.shape) == 2:
        if offsets is not None:
            raise ValueError(f"{op}: offsets go with an input of one axis, got {index.shape}")
        bags, length = index.shape
        return index.flatten(), on_device(np.repeat(np.arange(bags), length), index.device), bags
    if len(index.shape) != 1 or offsets is None:
        raise ValueError(f"{op}: input must have two axes, or one and offsets, got {index.shape}")
    starts = as_index(offsets).cpu().numpy()
    total = index.shape[0]
    if starts.ndim != 1 or (starts.size and starts[0] != 0) or (np.diff(starts) < 0).any():
        raise ValueError(f"{op}: offsets must rise from 0, got {starts.tolist()}")
    if starts.size and starts[-1] > total:
        raise ValueError(f"{op}: offsets reach {starts[-1]}, the input has {total} indices")
    ends = starts[1:] if include_last else np.append(starts[1:], total)
    bags = len(ends)
    lengths = ends - starts[:bags]
    used = int(lengths.sum())
    bag = on_device(np.repeat(np.arange(bags), lengths), index.device)
    return index.narrow(0, 0, used), bag, bags


def _largest(rows: Tensor, bag: Tensor, counted: Tensor, bags: int) -> Tensor:
    """Maximum of each bag; zeros for one without rows."""
    kept = counted.nonzero().flatten()
    rows, numbers = gs.index_select(rows, 0, kept), bag[kept].cpu().numpy()
    lengths = np.bincount(numbers, minlength=bags)
    width = int(lengths.max(initial=1))
    # The rows of each bag side by side, padded with a row of minus infinity.
    order = np.argsort(numbers, kind="stable")
    table = np.full((bags, width), len(numbers))
    table[np.arange(width) < lengths[:, None]] = order
    low = gs.full((1, rows.shape[1]), float("-inf"), dtype=rows.dtype, device=rows.device)
    spread = gs.index_select(gs.cat([rows, low]), 0, on_device(table.reshape(-1), rows.device))
    found, _ = _core._max_dim(spread.reshape(bags, width, rows.shape[1]), 1)
    return found.masked_fill(on_device(lengths == 0, rows.device).unsqueeze(1), 0.0)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of the rows of each bag of indices; see `nn.EmbeddingBag`."""
    op = "embedding_bag"
    choice(op, "mode", mode, ("sum", "mean", "max"))
    dense_gradient(op, sparse)
    if scale_grad_by_freq and mode == "max":
        raise ValueError(f"{op}: scale_grad_by_freq goes with modes 'sum' and 'mean', not 'max'")
    if per_sample_weights is not None:
        if mode != "sum":
            raise ValueError(f"{op}: per_sample_weights needs mode 'sum', got {mode!r}")
        if tuple(per_sample_weights.shape) != tuple(input.shape):
            raise ValueError(
                f"{op}: per_sample_weights must have the shape of input {tuple(input.shape)}, "
                f"got {tuple(per_sample_weights.shape)}"
            )
    flat, bag, bags = _bags(as_index(input), offsets, include_last_offset)
    if max_norm is not None:
        _renormalize(op, weight, flat, max_norm, norm_type)
    if padding_idx is not None:
        padding_idx %= weight.shape[0]
    rows = _core.embedding(flat, weight, padding_idx)
    if scale_grad_by_freq:
        _divide_gradient_by_frequency(rows, flat)
    counted = (
        gs.ones(flat.shape, dtype=gs.bool, device=flat.device)
        if padding_idx is None
        else flat != padding_idx
    )
    if mode == "max":
        return _largest(rows, bag, counted, bags)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.flatten().narrow(0, 0, flat.shape[0]).unsqueeze(1)
    if padding_idx is not None:
        rows = rows.masked_fill(~counted.unsqueeze(1), 0.0)
    zeros = gs.zeros((bags, weight.shape[1]), dtype=rows.dtype, device=rows.device)
    sums = gs.index_add(zeros, 0, bag, rows)
    if mode == "sum":
        return sums
    none = gs.zeros((bags,), dtype=rows.dtype, device=rows.device)
    counts = gs.index_add(none, 0, bag, counted.to(rows.dtype))
    return sums / counts.clamp(min=1).unsqueeze(1)
