"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes of which few are frequent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradsmith import _core
from gradsmith._checks import positive
from gradsmith._core import Tensor

from ._args import as_index, positive_int
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss", "AdaptiveOutput"]


class AdaptiveOutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns: log-probabilities of the targets, and the loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax whose classes, by falling frequency, are cut into clusters (Grave et al., 2017).

    The head scores the most frequent classes and one entry for each cluster of the others; inside
    a cluster classes are scored from fewer and fewer features, and only for the samples in it.

    Args:
        in_features: size of the inputs.
        n_classes: how many classes; 0 is the most frequent.
        cutoffs: the first classes of the clusters, rising, in [1, n_classes).
        div_value: cluster i, from 1, has in_features / div_value^i features.
        head_bias: whether to add a bias to the head's scores.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, in_features) and target int64 (N), or (in_features) and (); the result is
    (output, loss) with the targets' log-probabilities, (N) or (), and minus their mean.

    Raises:
        ValueError: the cutoffs are none, or a target is no class, or a shape does not fit.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create the head and the clusters."""
        super().__init__()
        own = type(self).__name__
        self.in_features = positive_int(own, "in_features", in_features)
        self.n_classes = positive_int(own, "n_classes", n_classes)
        self.div_value = positive(own, "div_value", div_value)
        self.head_bias = head_bias
        if not isinstance(cutoffs, (tuple, list)):
            raise TypeError(f"{own}: cutoffs must be a list of ints, got {type(cutoffs).__name__}")
        firsts = [positive_int(own, "cutoffs", cutoff) for cutoff in cutoffs]
        ends = [*firsts, self.n_classes]
        if not firsts or any(a >= b for a, b in itertools.pairwise(ends)):
            raise ValueError(
                f"{own}: cutoffs must rise from 1 and stay below n_classes {n_classes}, "
                f"got {firsts}"
            )
        self.cutoffs = ends
        self.head = Linear(
            self.in_features, firsts[0] + len(firsts), head_bias, device=device, dtype=dtype
        )
        self.tail = ModuleList()
        for number, (low, high) in enumerate(itertools.pairwise(ends), 1):
            features = int(self.in_features // self.div_value**number)
            self.tail.append(
                Sequential(
                    Linear(self.in_features, features, bias=False, device=device, dtype=dtype),
                    Linear(features, high - low, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> AdaptiveOutput:
        """Compute the targets' log-probabilities and the loss."""
        own = type(self).__name__
        if len(input.shape) not in (1, 2) or tuple(target.shape) != tuple(input.shape[:-1]):
            raise ValueError(
                f"{own}: input must be (N, {self.in_features}) with target (N), or of one axis "
                f"less, got {tuple(input.shape)} and {tuple(target.shape)}"
            )
        x, labels = input.reshape(-1, input.shape[-1]), as_index(target).detach().to("cpu").numpy()
        labels = labels.reshape(-1)
        if labels.dtype != np.int64 or ((labels < 0) | (labels >= self.n_classes)).any():
            raise ValueError(
                f"{own}: target must hold integers from 0 to {self.n_classes - 1}, "
                f"got {target.dtype.name} with {labels.tolist()[:8]}"
            )
        cluster = np.searchsorted(self.cutoffs, labels, side="right")  # 0: in the head alone
        place = np.where(cluster == 0, labels, self.cutoffs[0] + cluster - 1)
        scores = _core.log_softmax(self.head(x), 1)
        half = scores.dtype in (_core.float16, _core.bfloat16)  # whose sums are float32
        output = _chosen(scores.float() if half else scores, place)
        for number, tail in enumerate(self.tail, 1):
            (rows,) = np.nonzero(cluster == number)
            if rows.size:
                within = labels[rows] - self.cutoffs[number - 1]
                at = _core.from_numpy(rows).to(x.device)
                scores = _core.log_softmax(tail(_core.index_select(x, 0, at)), 1)
                output = _core.index_add(output, 0, at, _chosen(scores, within).to(output.dtype))
        output = output.to(scores.dtype).reshape(target.shape)
        return AdaptiveOutput(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log-probabilities of all classes, (N, n_classes) of an input (N, features)."""
        head, short = _core.log_softmax(self.head(input), -1), self.cutoffs[0]
        parts = [head.narrow(-1, 0, short)]
        for number, tail in enumerate(self.tail):
            parts.append(_core.log_softmax(tail(input), -1) + head.narrow(-1, short + number, 1))
        return _core.cat(parts, -1)

    def predict(self, input: Tensor) -> Tensor:
        """Return the likeliest class of each input, (N)."""
        return self.log_prob(input).argmax(-1)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"in_features={self.in_features}, n_classes={self.n_classes}, "
            f"cutoffs={self.cutoffs[:-1]}, div_value={self.div_value}"
        )


def _chosen(scores: Tensor, index: np.ndarray[Any, Any]) -> Tensor:
    """Return one score of each row."""
    return _core.gather(scores, 1, _core.from_numpy(index[:, None]).to(scores.device)).squeeze(1)
