"""Ops that write into their first argument: same values, same memory."""

import numpy as np

from ._case import OpCase, S, uniform


def _in_place(name, reference, samples, covers=None):
    """The method on a copy; it must return the tensor itself, and raise its version."""

    def fn(x, *args, **kwargs):
        target = x.clone()
        before = target._version
        result = getattr(target, name)(*args, **kwargs)
        assert result is target
        assert target._version > before or target.numel() == 0
        return result

    return OpCase(name, reference, samples, fn=fn, grad=False, covers=(name,))


def _pairs(low=-2.0):
    def samples(rng):
        yield from (S(uniform(rng, n), uniform(rng, n, low=low)) for n in (1, 8, 17))
        yield S(uniform(rng, 3, 4), uniform(rng, 4, low=low))
        yield S(uniform(rng, 3, 4), uniform(rng, 3, 1, low=low))
        yield S(uniform(rng, 3, 4), 1.5)
        yield S(np.zeros((0, 3)), 1.5)

    return samples


def _masks(rng):
    yield S(uniform(rng, 3, 4), rng.random((3, 4)) > 0.5, -1.5)
    yield S(uniform(rng, 3, 4), rng.random(4) > 0.5, 2.0)


def _index_put(x, indices, values, accumulate=False):
    y = np.array(x)
    if accumulate:
        np.add.at(y, tuple(indices), values)
    else:
        y[tuple(indices)] = values
    return y


def _index_put_samples(rng):
    rows, columns = np.array([0, 2, 2]), np.array([1, 0, 0])
    yield S(uniform(rng, 3, 4), [rows[:2], columns[:2]], uniform(rng, 2))
    yield S(uniform(rng, 3, 4), [rows, columns], uniform(rng, 3), True)  # one place twice
    yield S(uniform(rng, 3, 4), [rows[:2]], 7.0)
    yield S(uniform(rng, 3, 4), [rows[:2]], uniform(rng, 4))
    yield S(uniform(rng, 3, 4), [rng.random((3, 4)) > 0.5], 0.25)


CASES = [
    _in_place("add_", np.add, _pairs()),
    _in_place("sub_", np.subtract, _pairs()),
    _in_place("mul_", np.multiply, _pairs()),
    _in_place("div_", np.divide, _pairs(0.5)),
    _in_place(
        "clamp_",
        lambda x, low, high: np.clip(x, low, high),
        lambda rng: [S(uniform(rng, 17), -0.5, 0.5), S(np.zeros((0,)), 0.0, 1.0)],
    ),
    _in_place(
        "copy_",
        lambda x, source: np.broadcast_to(source, x.shape),
        lambda rng: [*_pairs()(rng), S(uniform(rng, 3, 4), rng.integers(-5, 5, 4))],
    ),
    _in_place(
        "fill_",
        lambda x, v: np.full(x.shape, v),
        lambda rng: [S(uniform(rng, 3, 4), 2.5), S(uniform(rng), -1.0), S(np.zeros((0,)), 1.0)],
    ),
    _in_place("zero_", np.zeros_like, lambda rng: [S(uniform(rng, 3, 4)), S(uniform(rng, 17))]),
    _in_place("masked_fill_", lambda x, mask, v: np.where(mask, v, x), _masks),
    _in_place("index_put_", _index_put, _index_put_samples),
]
