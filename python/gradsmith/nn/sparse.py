"""Embedding and EmbeddingBag: rows of a table looked up by index."""

from __future__ import annotations

from typing import Any, Self

import gradsmith as gs
from gradsmith._checks import integer, nonnegative, number
from gradsmith._core import Tensor

from . import functional, init
from ._args import choice, dense_gradient, positive_int
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """A learned table of vectors: what the two layers share."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Tensor | None,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        dense_gradient(name, sparse)
        self.num_embeddings = positive_int(name, "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int(name, "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= integer(name, "padding_idx", padding_idx) < num_embeddings:
                raise ValueError(
                    f"{name}: padding_idx must lie in [{-num_embeddings}, {num_embeddings}), "
                    f"got {padding_idx}"
                )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = None if max_norm is None else nonnegative(name, "max_norm", max_norm)
        self.norm_type = number(name, "norm_type", norm_type)
        self.scale_grad_by_freq = scale_grad_by_freq
        shape = (self.num_embeddings, self.embedding_dim)
        if weight is None:
            self.weight = Parameter(gs.empty(shape, dtype=dtype, device=device))
            self.reset_parameters()
        else:
            self.weight = weight if isinstance(weight, Parameter) else Parameter(weight)

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with gs.no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, **options: Any) -> Self:
        """Make the layer of a table, (num_embeddings, embedding_dim), which is shared.

        Args:
            embeddings: the table.
            freeze: whether it gets no gradient.
            **options: further arguments of the layer.
        """
        if not isinstance(embeddings, Tensor) or len(embeddings.shape) != 2:
            raise ValueError(f"{cls.__name__}: embeddings must be a tensor of two axes")
        made: Any = cls
        layer: Self = made(*embeddings.shape, _weight=embeddings, **options)
        layer.weight.requires_grad = not freeze
        return layer

    def extra_repr(self) -> str:
        """Show the sizes."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"


class Embedding(_Table):
    """A learned table of vectors.

    Args:
        num_embeddings: rows of the table; indices run from 0 to this, exclusive.
        embedding_dim: length of each vector.
        padding_idx: a row that starts at zero and gets no gradient; negative counts from the end.
        max_norm: rows that are looked up and longer are first shortened to this, in place.
        norm_type: p of that norm.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up in a batch.
        sparse: False; gradients are dense.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (...) of int64 or int32, output (..., embedding_dim), weight (num_embeddings,
    embedding_dim), which starts standard normal.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        _weight: Tensor | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the table."""
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Look the rows up."""
        return functional.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )


class EmbeddingBag(_Table):
    """Sum, mean or maximum of the vectors of each bag of indices.

    Args:
        num_embeddings: rows of the table; indices run from 0 to this, exclusive.
        embedding_dim: length of each vector.
        max_norm: rows that are looked up and longer are first shortened to this, in place.
        norm_type: p of that norm.
        scale_grad_by_freq: divide each row's gradient by how often it is looked up in a batch.
        mode: "mean", "sum" or "max".
        sparse: False; gradients are dense.
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: an index that does not count; its row starts at zero and gets no gradient.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (bags, length), or (indices) with offsets (bags): where each bag starts; output
    (bags, embedding_dim), zeros for an empty bag.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        *,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        _weight: Tensor | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the table."""
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            device,
            dtype,
        )
        self.mode = choice("EmbeddingBag", "mode", mode, ("sum", "mean", "max"))
        if scale_grad_by_freq and mode == "max":
            raise ValueError(
                "EmbeddingBag: scale_grad_by_freq goes with modes 'sum' and 'mean', not 'max'"
            )
        self.include_last_offset = include_last_offset

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Look the rows up and join them; `per_sample_weights` are factors, for mode "sum"."""
        return functional.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{super().extra_repr()}, mode={self.mode!r}"
