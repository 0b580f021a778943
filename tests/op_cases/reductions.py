"""Reductions, softmax, and products of matrices."""

import numpy as np

from ._case import TAILS, OpCase, S, distinct, uniform
from .elementwise import ACTIVATIONS, activated, torch_activated


def _axes(dim):
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def reduction(fn):
    """NumPy's reduction under PyTorch's names."""
    return lambda x, dim=None, keepdim=False: fn(x, axis=_axes(dim), keepdims=keepdim)


def samples(make=uniform, several=True, empty=True, single=True):
    def draw(rng):
        if single:
            yield from (S(make(rng, n)) for n in TAILS)
        for dim in (0, 1, -1):
            yield S(make(rng, 3, 4, 2), dim)
            yield S(make(rng, 2, 5), dim, keepdim=True)
        if several:
            yield S(make(rng, 2, 3, 2), (0, 2))
            yield S(make(rng, 2, 3, 2), (-1, 0), keepdim=True)
            yield S(make(rng, 70, 9, 33), (0, 2), grad=False)
        yield S(make(rng, 70, 133), 0, grad=False)
        yield S(make(rng, 70, 133), 1, grad=False)
        yield S(make(rng, 1, 1), 0)
        if single:
            yield S(make(rng))
            yield S(make(rng, 4099), grad=False)
        if empty:
            yield S(np.zeros((0, 3)), 0)
        yield S(np.zeros((0, 3)), 1)

    return draw


def _extreme_samples(rng):
    yield from samples(distinct, empty=False)(rng)
    yield S(np.array([[1.0, 3, 3], [2, 2, 2]]), 1, grad=False)  # ties
    yield S(np.array([1.0, np.nan, 3]), grad=False)
    yield S(np.array([[np.inf, -np.inf, 0], [-np.inf] * 3]), 1, grad=False)


def _arg_samples(rng):
    yield from samples(distinct, several=False, empty=False)(rng)
    yield S(np.array([[1.0, 3, 3], [2, 2, 2]]), 1)
    yield S(np.array([[1.0, 3, 3], [2, 2, 2]]))
    yield S(np.array([1.0, np.nan, 3, np.nan]))


def _norm(x, p=2.0, dim=None, keepdim=False):
    axis = _axes(dim)
    if p == np.inf:
        return np.abs(x).max(axis=axis, keepdims=keepdim)
    if p == 0:
        return (x != 0).sum(axis=axis, keepdims=keepdim).astype(float)
    return (np.abs(x) ** p).sum(axis=axis, keepdims=keepdim) ** (1 / p)


def _norm_samples(rng):
    yield from (S(s.args[0], 2.0, *s.args[1:], grad=s.grad, **s.kwargs) for s in samples()(rng))
    yield from (S(uniform(rng, 3, 4), p, 1, grad=p != 0) for p in (1.0, 3.0, 0.0))
    yield S(distinct(rng, 3, 4), np.inf, 1)


def _spread(fn):
    return lambda x, dim=None, correction=1, keepdim=False: fn(
        x, axis=_axes(dim), ddof=correction, keepdims=keepdim
    )


def _spread_samples(rng):
    yield from (S(uniform(rng, n)) for n in TAILS[1:])
    yield S(uniform(rng, 3, 4, 2), 1)
    yield S(uniform(rng, 3, 4, 2), (0, 2), keepdim=True)
    yield S(uniform(rng, 3, 4), 0, correction=0)
    yield S(uniform(rng, 1000, 3) + 1e3, 0, grad=False)  # far from zero
    yield S(np.zeros((0, 3)), 1)


def _logsumexp(x, dim, keepdim=False):
    axis = _axes(dim)
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isinf(top), 0, top)
    y = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return y if keepdim else np.squeeze(y, axis)


def _row_samples(rng):
    yield from (S(uniform(rng, 2, n), 1) for n in TAILS)
    yield S(uniform(rng, 3, 4, 2), 1)
    yield S(uniform(rng, 3, 4, 2), 0)
    yield S(uniform(rng, 33, 130), -1, grad=False)
    yield S(uniform(rng, 33, 65, 17), 1, grad=False)
    yield S(np.array([[1e4, 0, -1e4], [88, 89, -104]]), 1, grad=False)  # outliers
    yield S(np.array([[-np.inf, 0, 1], [np.nan, 0, 1]]), 1, grad=False)
    yield S(np.zeros((0, 3)), 1)
    yield S(np.zeros((3, 0, 2)), 0)


def _softmax(x, dim):
    e = np.exp(x - x.max(axis=dim, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=dim, keepdims=True)


def _log_softmax(x, dim):
    shifted = x - x.max(axis=dim, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


def _cumsum_samples(rng):
    yield from (S(uniform(rng, n), 0) for n in TAILS)
    yield from (S(uniform(rng, 3, 4, 2), dim) for dim in (0, 1, -1))
    yield S(np.zeros((0, 3)), 0)
    yield S(np.zeros((3, 0)), 0)


def _prod_samples(rng):
    yield from samples(several=False)(rng)
    for zeros in ([1], [1, 3]):  # the gradient must not divide by a zero
        x = uniform(rng, 5)
        x[zeros] = 0
        yield S(x)


def _sum_to(x, *size):
    lead = x.ndim - len(size)
    axes = tuple(range(lead)) + tuple(
        d + lead for d, n in enumerate(size) if n == 1 and x.shape[d + lead] != 1
    )
    return x.sum(axis=axes, keepdims=True).reshape(size)


def _extreme_and_index(fn, argfn):
    def reference(x, dim, keepdim=False):
        return [fn(x, axis=dim, keepdims=keepdim), argfn(x, axis=dim, keepdims=keepdim)]

    return reference


CLOSE = {"rtol": 3e-6, "atol": 3e-6, "rtol64": 1e-12, "atol64": 1e-13}

REDUCTIONS = [
    OpCase("sum", reduction(np.sum), samples(), **CLOSE),
    OpCase("mean", reduction(np.mean), samples(empty=False), **CLOSE),
    OpCase("var", _spread(np.var), _spread_samples, **CLOSE),
    OpCase("std", _spread(np.std), _spread_samples, **CLOSE),
    OpCase("prod", reduction(np.prod), _prod_samples, **CLOSE),
    OpCase("amax", reduction(np.max), _extreme_samples),
    OpCase("amin", reduction(np.min), _extreme_samples),
    OpCase("argmax", reduction(np.argmax), _arg_samples, grad=False),
    OpCase("argmin", reduction(np.argmin), _arg_samples, grad=False),
    OpCase(
        "_max_dim",
        _extreme_and_index(np.max, np.argmax),
        samples(distinct, False, False, False),
        torch="max",
    ),
    OpCase(
        "_min_dim",
        _extreme_and_index(np.min, np.argmin),
        samples(distinct, False, False, False),
        torch="min",
    ),
    OpCase("any", reduction(np.any), samples(lambda r, *s: r.integers(0, 2, s)), grad=False),
    OpCase("all", reduction(np.all), samples(lambda r, *s: r.integers(0, 2, s)), grad=False),
    OpCase("norm", _norm, _norm_samples, **CLOSE),
    OpCase("cumsum", lambda x, dim: np.cumsum(x, axis=dim), _cumsum_samples, **CLOSE),
    OpCase("logsumexp", _logsumexp, _row_samples, **CLOSE),
    OpCase("softmax", _softmax, _row_samples, rtol=2e-6, atol=1e-40, rtol64=1e-12),
    OpCase("log_softmax", _log_softmax, _row_samples, **CLOSE),
    OpCase(
        "sum_to_size",
        _sum_to,
        lambda rng: [
            S(uniform(rng, 2, 3, 4), 3, 1),
            S(uniform(rng, 2, 3, 4), 2, 1, 4),
            S(uniform(rng, 2, 3), 2, 3),
            S(np.zeros((0, 3)), 1, 3),
        ],
        **CLOSE,
    ),
]


def _matmul_samples(rng):
    shapes = [
        ((3, 4), (4, 2)),
        ((1, 1), (1, 1)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 2)),
        ((2, 3, 4), (4, 2)),
        ((2, 3, 4), (2, 4, 2)),
        ((2, 1, 3, 2), (3, 2, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),  # an empty sum
        ((0, 2, 3), (3, 2)),
    ]
    yield from (S(uniform(rng, *a), uniform(rng, *b)) for a, b in shapes)
    for m, n, k in ((17, 9, 33), (64, 129, 70), (150, 7, 300)):
        yield S(uniform(rng, m, k), uniform(rng, k, n), grad=False)


def _linear(x, weight, bias=None, activation="none"):
    return activated(x @ weight.T + (0 if bias is None else bias), activation)


def _linear_samples(rng):
    yield S(uniform(rng, 3, 4), uniform(rng, 2, 4))
    for activation in ACTIVATIONS:
        yield S(uniform(rng, 3, 4), uniform(rng, 2, 4), uniform(rng, 2), activation)
    yield S(uniform(rng, 4), uniform(rng, 2, 4), uniform(rng, 2))
    yield S(uniform(rng, 2, 3, 4), uniform(rng, 2, 4), uniform(rng, 2))
    yield S(np.zeros((0, 4)), uniform(rng, 2, 4), uniform(rng, 2))
    yield S(np.zeros((3, 0)), np.zeros((2, 0)), uniform(rng, 2))
    yield S(uniform(rng, 65, 70), uniform(rng, 33, 70), uniform(rng, 33), "tanh", grad=False)


def _torch_linear(x, weight, bias=None, activation="none"):
    import torch

    return torch_activated(torch.nn.functional.linear(x, weight, bias), activation)


PRODUCT = {"rtol": 1e-5, "atol": 3e-5, "rtol64": 1e-12, "atol64": 1e-12}
PRODUCTS = [
    OpCase("matmul", np.matmul, _matmul_samples, **PRODUCT),
    OpCase(
        "bmm",
        np.matmul,
        lambda rng: [
            S(uniform(rng, 2, 3, 4), uniform(rng, 2, 4, 2)),
            S(np.zeros((0, 3, 4)), np.zeros((0, 4, 2))),
        ],
        **PRODUCT,
    ),
    OpCase("linear", _linear, _linear_samples, torch=_torch_linear, **PRODUCT),
    OpCase(
        "outer",
        np.outer,
        lambda rng: [S(uniform(rng, 3), uniform(rng, 4)), S(np.zeros(0), uniform(rng, 4))],
    ),
    OpCase(
        "dot",
        np.dot,
        lambda rng: [S(uniform(rng, n), uniform(rng, n)) for n in (0, *TAILS)],
        **PRODUCT,
    ),
]

CASES = [*REDUCTIONS, *PRODUCTS]
