"""Embedding: rows of a table looked up by index."""

from __future__ import annotations

from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import init
from ._args import as_index, positive_int
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned table of vectors.

    Args:
        num_embeddings: rows of the table; indices run from 0 to this, exclusive.
        embedding_dim: length of each vector.
        padding_idx: a row that starts at zero and gets no gradient; negative counts from the end.
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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the table."""
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding: padding_idx must lie in [{-num_embeddings}, {num_embeddings}), "
                    f"got {padding_idx}"
                )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.weight = Parameter(
            gs.empty((self.num_embeddings, self.embedding_dim), dtype=dtype, device=device)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with gs.no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Look the rows up."""
        return _core.embedding(as_index(input), self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Show the sizes."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
