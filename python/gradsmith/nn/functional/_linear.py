"""bilinear; `linear` is an op."""

from __future__ import annotations

from gradsmith._core import Tensor

__all__ = ["bilinear"]


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T W_k x2 + b_k for every k; see `nn.Bilinear`.

    One product with W for all k, then a weighted sum over x2.
    """
    lead = tuple(input1.shape[:-1])
    if lead != tuple(input2.shape[:-1]):
        raise ValueError(
            f"bilinear: leading axes differ: input1 {tuple(input1.shape)}, "
            f"input2 {tuple(input2.shape)}"
        )
    out, first, second = weight.shape
    for name, input, size in (("input1", input1, first), ("input2", input2, second)):
        if input.shape[-1] != size:
            raise ValueError(
                f"bilinear: {name} {tuple(input.shape)} must have {size} features, as weight "
                f"{tuple(weight.shape)} has"
            )
    folded = weight.permute(1, 0, 2).reshape(first, out * second)
    left = (input1.reshape(-1, first) @ folded).reshape(-1, out, second)
    result = (left * input2.reshape(-1, 1, second)).sum(-1).reshape(*lead, out)
    return result if bias is None else result + bias
