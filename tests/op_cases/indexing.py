"""Gathering, scattering, masks. x[...] itself is in tests/test_indexing.py."""

import numpy as np

from ._case import OpCase, S, uniform


def _scatter_add(x, dim, index, source, axis_vector=False):
    y = np.array(x)
    for at in np.ndindex(index.shape):
        to = list(at)
        to[dim] = index[at]
        y[tuple(to)] += source[at]
    return y


def _index_add(x, dim, index, source):
    y = np.moveaxis(np.array(x), dim, 0)
    np.add.at(y, index, np.moveaxis(source, dim, 0))
    return np.moveaxis(y, 0, dim)


def _index_select_samples(rng):
    for shape, dim in (((4, 3), 0), ((3, 4, 2), 1), ((3, 5), -1), ((5,), 0)):
        yield S(uniform(rng, *shape), dim, rng.integers(0, shape[dim], 6))
    yield S(uniform(rng, 4, 3), 0, np.zeros(0, np.int64))
    yield S(np.zeros((4, 0)), 0, np.array([1, 2]))
    yield S(uniform(rng, 300, 70), 0, rng.integers(0, 300, 900), grad=False)


def _index_add_samples(rng):
    for shape, dim in (((4, 3), 0), ((3, 4, 2), 1), ((5,), 0)):
        source = list(shape)
        source[dim] = 6  # some rows twice
        yield S(uniform(rng, *shape), dim, rng.integers(0, shape[dim], 6), uniform(rng, *source))
    yield S(uniform(rng, 4, 3), 0, np.zeros(0, np.int64), np.zeros((0, 3)))


def _gather_samples(rng):
    for shape, dim, index in (((4, 3), 0, (2, 3)), ((3, 4), 1, (3, 6)), ((2, 3, 2), 1, (2, 2, 1))):
        yield S(uniform(rng, *shape), dim, rng.integers(0, shape[dim], index))
    yield S(uniform(rng, 5), 0, np.array([0, 0, 4]))
    yield S(uniform(rng, 5), 0, np.zeros(0, np.int64))


def _gather(x, dim, index):
    y = np.empty(index.shape)
    for at in np.ndindex(index.shape):
        source = list(at)
        source[dim] = index[at]
        y[at] = x[tuple(source)]
    return y


def _mask_samples(rng, *rest):
    yield S(uniform(rng, 3, 4), rng.random((3, 4)) > 0.5, *rest)
    yield S(uniform(rng, 3, 4), rng.random(4) > 0.5, *rest)
    yield S(uniform(rng, 17), np.zeros(17, bool), *rest)
    yield S(np.zeros((0, 3)), np.zeros((0, 3), bool), *rest)


def _masked_select(x, mask):
    x, mask = np.broadcast_arrays(x, mask)
    return x[mask]


def _one_hot(x, num_classes=-1):
    n = x.max() + 1 if num_classes == -1 else num_classes
    return np.eye(n, dtype=np.int64)[x]


EXACT_SUM = {"rtol": 1e-6, "atol": 1e-6, "rtol64": 1e-13, "atol64": 1e-14}

CASES = [
    OpCase("index_select", lambda x, d, i: np.take(x, i, axis=d), _index_select_samples),
    OpCase("index_add", _index_add, _index_add_samples, **EXACT_SUM),
    OpCase("gather", _gather, _gather_samples),
    OpCase(
        "scatter_add",
        _scatter_add,
        lambda rng: [S(*s.args, uniform(rng, *s.args[2].shape)) for s in _gather_samples(rng)],
        **EXACT_SUM,
    ),
    OpCase("masked_select", _masked_select, _mask_samples),
    OpCase(
        "masked_fill",
        lambda x, mask, value: np.where(mask, value, x),
        lambda rng: _mask_samples(rng, -1.5),
    ),
    OpCase(
        "nonzero",
        lambda x: np.argwhere(x),
        lambda rng: [
            S(rng.integers(0, 2, (3, 4))),
            S(rng.integers(0, 2, 17) > 0),
            S(np.array([0.0, -0.0, 2.0, np.nan])),
            S(np.zeros((0, 3))),
        ],
        grad=False,
    ),
    OpCase(
        "one_hot",
        _one_hot,
        lambda rng: [S(rng.integers(0, 4, (2, 3)), 5), S(np.array([0, 2, 1]))],
        grad=False,
        torch="nn",
    ),
]
