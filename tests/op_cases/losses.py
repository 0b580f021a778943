"""Losses, in each reduction."""

import numpy as np

from ._case import OpCase, S, uniform
from .reductions import _log_softmax


def reduce(loss, reduction):
    return {"none": lambda v: v, "sum": np.sum, "mean": np.mean}[reduction](loss)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean", dim=None):
    if x.ndim == 1:
        x, target = x[None], target[None]
        if reduction == "none":
            return nll_loss(x, target, weight, ignore_index)
    weight = np.ones(x.shape[1]) if weight is None else weight
    loss, scale = np.zeros(target.shape), np.zeros(target.shape)
    for at in np.ndindex(target.shape):
        label = target[at]
        if label != ignore_index:
            loss[at] = -weight[label] * x[(at[0], label, *at[1:])]
            scale[at] = weight[label]
    return loss.sum() / scale.sum() if reduction == "mean" else reduce(loss, reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    axis = 0 if x.ndim == 1 else 1
    logs = _log_softmax(x, axis)
    classes = x.shape[axis]
    per_class = np.ones(classes) if weight is None else weight
    spread = per_class.reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    if target.dtype.kind == "f":
        target = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -(logs * target * spread).sum(axis)
        count = loss.size
        return loss.sum() / count if reduction == "mean" else reduce(loss, reduction)
    hard = nll_loss(logs, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return hard
    kept = target != ignore_index
    soft = -(logs * spread).sum(axis) * kept
    if reduction == "mean":
        soft = soft.sum() / per_class[np.where(kept, target, 0)][kept].sum()
    elif reduction == "sum":
        soft = soft.sum()
    return (1 - label_smoothing) * hard + label_smoothing / classes * soft


def _class_samples(make, smoothing):
    def samples(rng):
        classes = rng.integers(0, 5, 4)
        some = np.array([0, 4, -100, 2])
        weight = uniform(rng, 5, low=0.5)
        for reduction in ("mean", "sum", "none"):
            yield S(make(rng, 4, 5), classes, reduction=reduction)
            yield S(make(rng, 4, 5), some, weight, reduction=reduction, grad=False)
        yield S(make(rng, 4, 5), some, ignore_index=-100)
        yield S(make(rng, 4, 5), classes, ignore_index=int(classes[0]))
        yield S(make(rng, 2, 5, 3), rng.integers(0, 5, (2, 3)))
        yield S(make(rng, 5), np.array(3))
        yield S(make(rng, 33, 130), rng.integers(0, 130, 33), grad=False)
        yield S(np.zeros((0, 5)), np.zeros(0, np.int64), reduction="sum")
        if not smoothing:
            return
        yield S(make(rng, 4, 5), classes, label_smoothing=0.2)
        yield S(make(rng, 4, 5), some, weight, label_smoothing=0.2, reduction="none", grad=False)
        yield S(make(rng, 4, 5), some, weight, label_smoothing=0.2, grad=False)
        probabilities = rng.dirichlet(np.ones(5), 4)
        yield S(make(rng, 4, 5), probabilities)
        yield S(make(rng, 4, 5), probabilities, label_smoothing=0.1, reduction="sum")
        yield S(np.array([[1e4, 0.0, -1e4]]), np.array([2]), grad=False)  # outliers

    return samples


def _huber(a, b, reduction="mean", delta=1.0):
    d = np.abs(a - b)
    return reduce(np.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def _smooth_l1(a, b, reduction="mean", beta=1.0):
    d = np.abs(a - b)
    return reduce(np.where(d < beta, 0.5 * d * d / (beta or 1), d - 0.5 * beta), reduction)


def _pair_samples(option=None, low=-2.0, low2=-2.0, high=2.0):
    def samples(rng):
        for reduction in ("mean", "sum", "none"):
            yield S(
                uniform(rng, 3, 4, low=low, high=high),
                uniform(rng, 3, 4, low=low2, high=high),
                reduction=reduction,
            )
        if option:
            yield S(
                uniform(rng, 3, 4, low=low, high=high),
                uniform(rng, 3, 4, low=low2, high=high),
                **option,
            )
        yield S(uniform(rng, 17, low=low, high=high), uniform(rng, 17, low=low2, high=high))
        yield S(np.zeros((0, 3)), np.zeros((0, 3)), reduction="sum")

    return samples


def _bce(p, target, weight=None, reduction="mean"):
    with np.errstate(divide="ignore"):
        logs, others = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
    loss = -(target * logs + (1 - target) * others)
    return reduce(loss if weight is None else loss * weight, reduction)


def _bce_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    w = 1 if pos_weight is None else pos_weight
    loss = w * target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    return reduce(loss if weight is None else loss * weight, reduction)


def _bce_samples(logits):
    low, high = (-3, 3) if logits else (0.1, 0.9)

    def samples(rng):
        def make(*shape):
            return uniform(rng, *shape, low=low, high=high)

        for reduction in ("mean", "sum", "none"):
            yield S(make(3, 4), rng.random((3, 4)), reduction=reduction)
        yield S(make(3, 4), rng.random((3, 4)), uniform(rng, 4, low=0.5))
        edge = np.array([200.0, -200, 0]) if logits else np.array([1.0, 0.0, 0.5])
        yield S(edge, np.array([0.0, 1.0, 0.25]), reduction="none", grad=False)
        yield S(np.zeros((0, 3)), np.zeros((0, 3)), reduction="sum")
        if logits:
            yield S(make(3, 4), rng.random((3, 4)), pos_weight=uniform(rng, 4, low=0.5))

    return samples


def _kl(x, target, reduction="mean", log_target=False):
    if log_target:
        loss = np.exp(target) * (target - x)
    else:
        loss = np.where(target > 0, target * (np.log(np.where(target > 0, target, 1)) - x), 0)
    if reduction == "batchmean":
        return loss.sum() / x.shape[0]
    return reduce(loss, reduction)


def _kl_samples(rng):
    for reduction in ("batchmean", "sum", "none", "mean"):
        yield S(uniform(rng, 3, 4), rng.random((3, 4)) + 0.1, reduction=reduction)
    yield S(uniform(rng, 3, 4), uniform(rng, 3, 4), reduction="sum", log_target=True)
    yield S(uniform(rng, 3), np.array([0.0, 0.5, 0.5]), reduction="sum", grad=False)


TOLERANCE = {"rtol": 3e-6, "atol": 1e-6, "rtol64": 1e-12, "atol64": 1e-13, "torch": "nn"}
CASES = [
    OpCase("cross_entropy", cross_entropy, _class_samples(uniform, True), **TOLERANCE),
    OpCase("nll_loss", nll_loss, _class_samples(uniform, False), **TOLERANCE),
    OpCase("mse_loss", lambda a, b, reduction="mean": reduce((a - b) ** 2, reduction),
           _pair_samples(), **TOLERANCE),
    OpCase("l1_loss", lambda a, b, reduction="mean": reduce(np.abs(a - b), reduction),
           _pair_samples(), **TOLERANCE),
    OpCase("smooth_l1_loss", _smooth_l1, _pair_samples({"beta": 0.5}), **TOLERANCE),
    OpCase("huber_loss", _huber, _pair_samples({"delta": 0.7}), **TOLERANCE),
    OpCase("binary_cross_entropy", _bce, _bce_samples(False), **TOLERANCE),
    OpCase("binary_cross_entropy_with_logits", _bce_logits, _bce_samples(True), **TOLERANCE),
    OpCase("kl_div", _kl, _kl_samples, **TOLERANCE),
]  # fmt: skip
