"""How a tensor prints; called from the extension."""

from __future__ import annotations

import numpy as np

from ._core import Tensor


def tensor_repr(tensor: Tensor) -> str:
    """Return `tensor([...], dtype=..., requires_grad=...)`, long ones shortened as in NumPy."""
    values = tensor.detach()
    name = values.dtype.name
    if name in ("bfloat16", "float16"):
        values = values.float()
    text = np.array2string(
        values.to("cpu").numpy(), separator=", ", prefix="tensor(", precision=4, suppress_small=True
    )
    extras = []
    if name not in ("float32", "int64", "bool"):
        extras.append(f"dtype=gradsmith.{name}")
    if str(tensor.device) != "cpu":
        extras.append(f"device='{tensor.device}'")
    if 0 in tensor.shape:
        extras.append(f"size={tensor.shape}")
    if tensor.grad_fn is not None:
        extras.append(f"grad_fn={tensor.grad_fn}")
    elif tensor.requires_grad:
        extras.append("requires_grad=True")
    return f"tensor({', '.join([text, *extras])})"
