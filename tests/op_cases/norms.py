"""Normalisation, and whole-sequence recurrent layers."""

import math

import gradsmith as gs
import numpy as np

from ._case import OpCase, S, uniform
from .elementwise import sigmoid


def _affine(y, weight, bias):
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _standardise(x, axes, eps):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)


def _layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    n = len(normalized_shape) if isinstance(normalized_shape, tuple) else 1
    return _affine(_standardise(x, tuple(range(-n, 0)), eps), weight, bias)


def _rms_norm(x, normalized_shape, weight=None, eps=None):
    n = len(normalized_shape) if isinstance(normalized_shape, tuple) else 1
    # The default is the dtype's epsilon: far below what these samples can show in either.
    mean = (x**2).mean(tuple(range(-n, 0)), keepdims=True)
    return _affine(x / np.sqrt(mean + (eps or 0)), weight, None)


def _per_channel(v, x):
    return None if v is None else v.reshape(-1, *(1,) * (x.ndim - 2))


def _group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    groups = x.reshape(x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)
    y = _standardise(groups, -1, eps).reshape(x.shape)
    return _affine(y, _per_channel(weight, x), _per_channel(bias, x))


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """The result, and the running statistics as they are afterwards."""
    axes = (0, *range(2, x.ndim))
    statistics = [v for v in (mean, var) if v is not None]
    if training or mean is None:
        y = _standardise(x, axes, eps)
        n = x.size // x.shape[1]
        if mean is not None and training:
            mean = (1 - momentum) * mean + momentum * x.mean(axes)
            var = (1 - momentum) * var + momentum * x.var(axes) * n / (n - 1)
            statistics = [mean, var]
    else:
        y = (x - _per_channel(mean, x)) / np.sqrt(_per_channel(var, x) + eps)
    return [_affine(y, _per_channel(weight, x), _per_channel(bias, x)), *statistics]


def _run_batch_norm(x, mean=None, var=None, *rest, **kwargs):
    kept = [None if v is None else v.detach().clone() for v in (mean, var)]
    y = gs._core.batch_norm(x, *kept, *rest, **kwargs)
    return [y, *(v for v in kept if v is not None)]


def _layer_samples(rng):
    yield S(uniform(rng, 3, 4), 4)
    yield S(uniform(rng, 3, 4), (4,), uniform(rng, 4), uniform(rng, 4))
    yield S(uniform(rng, 2, 2, 3), (2, 3), uniform(rng, 2, 3))
    yield S(uniform(rng, 3, 4), 4, None, uniform(rng, 4), eps=1e-3)
    yield from (S(uniform(rng, 2, n), n, grad=False) for n in (7, 8, 9, 15, 16, 17, 130))
    yield S(uniform(rng, 70, 33) + 30, 33, uniform(rng, 33), uniform(rng, 33), grad=False)
    yield S(np.zeros((0, 4)), 4)


def _rms_samples(rng):
    yield S(uniform(rng, 3, 4), 4)
    yield S(uniform(rng, 3, 4), (4,), uniform(rng, 4), eps=1e-3)
    yield S(uniform(rng, 2, 2, 3), (2, 3), uniform(rng, 2, 3))
    yield from (S(uniform(rng, 2, n), n, grad=False) for n in (7, 9, 16, 17, 130))
    yield S(np.zeros((0, 4)), 4)


def _group_samples(rng):
    yield S(uniform(rng, 2, 4), 2)
    yield S(uniform(rng, 2, 4, 3), 2, uniform(rng, 4), uniform(rng, 4))
    yield S(uniform(rng, 1, 2, 2, 3), 1, uniform(rng, 2), uniform(rng, 2), eps=1e-3)
    yield S(uniform(rng, 3, 12, 5, 7), 3, uniform(rng, 12), uniform(rng, 12), grad=False)
    yield S(np.zeros((0, 4, 3)), 2)


def _batch_samples(rng):
    def statistics(c):
        return uniform(rng, c), uniform(rng, c, low=0.5)

    for training in (True, False):
        yield S(uniform(rng, 5, 3), *statistics(3), training=training, grad=False)
        yield S(uniform(rng, 4, 2, 3), *statistics(2), uniform(rng, 2), uniform(rng, 2),
                training=training, momentum=0.3, grad=False)  # fmt: skip
        yield S(uniform(rng, 9, 5, 7, 8), *statistics(5), uniform(rng, 5), uniform(rng, 5),
                training=training, eps=1e-3, grad=False)  # fmt: skip
    yield S(uniform(rng, 5, 3), None, None, uniform(rng, 3), uniform(rng, 3), training=True)
    yield S(uniform(rng, 2, 2, 2, 2), None, None, training=True)


def _recur(x, states, step, reverse, batch_sizes):
    """Run `step` over the time axis; of a packed batch the first sequences alone take part."""
    parts = list(x) if batch_sizes is None else np.split(x, np.cumsum(batch_sizes)[:-1])
    outputs = [None] * len(parts)
    for t in reversed(range(len(parts))) if reverse else range(len(parts)):
        n = len(parts[t])
        now = step(parts[t], *(s[:n] for s in states))
        outputs[t] = now[0]
        states = [np.concatenate([new, old[n:]]) for new, old in zip(now, states, strict=True)]
    return [np.stack(outputs) if batch_sizes is None else np.concatenate(outputs), *states]


def _bias(b):
    return 0 if b is None else b


def lstm(x, h, c, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, batch_sizes=None, w_hr=None):
    def step(x, h, c):
        gates = x @ w_ih.T + h @ w_hh.T + _bias(b_ih) + _bias(b_hh)
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        out = sigmoid(o) * np.tanh(c)
        return out if w_hr is None else out @ w_hr.T, c

    return _recur(x, [h, c], step, reverse, batch_sizes)


def gru(x, h, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, batch_sizes=None):
    def step(x, h):
        ir, iz, new = np.split(x @ w_ih.T + _bias(b_ih), 3, axis=-1)
        hr, hz, hn = np.split(h @ w_hh.T + _bias(b_hh), 3, axis=-1)
        r, z = sigmoid(ir + hr), sigmoid(iz + hz)
        n = np.tanh(new + r * hn)
        return ((1 - z) * n + z * h,)

    return _recur(x, [h], step, reverse, batch_sizes)


def rnn(
    x, h, w_ih, w_hh, b_ih=None, b_hh=None, reverse=False, batch_sizes=None, nonlinearity="tanh"
):
    def step(x, h):
        y = x @ w_ih.T + h @ w_hh.T + _bias(b_ih) + _bias(b_hh)
        return (np.tanh(y) if nonlinearity == "tanh" else np.maximum(y, 0),)

    return _recur(x, [h], step, reverse, batch_sizes)


def _recurrent_samples(gates, states=1, **options):
    """Draw arguments of a layer with so many gates and states."""

    def draw(rng):
        def make(t, n, i, h, bias=True, sizes=None, **kwargs):
            if sizes is not None:
                kwargs["batch_sizes"] = np.array(sizes)
            return S(
                uniform(rng, t, n, i) if sizes is None else uniform(rng, sum(sizes), i),
                *(uniform(rng, n, h) for _ in range(states)),
                uniform(rng, gates * h, i, low=-0.5, high=0.5),
                uniform(rng, gates * h, h, low=-0.5, high=0.5),
                *(uniform(rng, gates * h) for _ in range(2 * bias)),
                **options,
                **kwargs,
            )

        yield make(2, 1, 2, 1)
        yield make(3, 2, 1, 1, reverse=True)
        yield make(2, 1, 1, 2, False)
        yield make(3, 3, 2, 1, sizes=[2, 1, 1])
        yield make(3, 2, 1, 1, sizes=[2, 1, 0], reverse=True)
        yield make(5, 3, 9, 17, grad=False)
        yield make(4, 1, 8, 40, grad=False, reverse=True)
        yield make(6, 19, 5, 33, grad=False, sizes=[18, 17, 16, 15, 14, 13])
        yield make(6, 19, 5, 33, grad=False, reverse=True, sizes=[19, 19, 14, 14, 3, 1])

    return draw


def _lstm_samples(rng):
    yield from _recurrent_samples(4, 2)(rng)

    def projected(n, i, h, p, x, **kwargs):
        states = uniform(rng, n, p), uniform(rng, n, h)
        small = {"low": -0.5, "high": 0.5}
        weights = [uniform(rng, 4 * h, n, **small) for n in (i, p)]
        weights += [uniform(rng, 4 * h) for _ in range(2)]
        return S(uniform(rng, *x), *states, *weights, w_hr=uniform(rng, p, h, **small), **kwargs)

    yield projected(1, 1, 2, 1, (2, 1, 1))
    yield projected(2, 1, 2, 1, (3, 1), reverse=True, batch_sizes=np.array([2, 1]))
    yield projected(5, 9, 33, 17, (4, 5, 9), grad=False)


def _rnn_samples(rng):
    for nonlinearity in ("tanh", "relu"):
        yield from _recurrent_samples(1, nonlinearity=nonlinearity)(rng)


TOLERANCE = {"rtol": 1e-5, "atol": 5e-6, "rtol64": 1e-11, "atol64": 1e-12}
CASES = [
    OpCase("layer_norm", _layer_norm, _layer_samples, torch=None, **TOLERANCE),
    OpCase("rms_norm", _rms_norm, _rms_samples, torch=None, **TOLERANCE),
    OpCase("group_norm", _group_norm, _group_samples, torch="nn", **TOLERANCE),
    OpCase("batch_norm", _batch_norm, _batch_samples, fn=_run_batch_norm, torch=None, **TOLERANCE),
    OpCase("lstm_layer", lstm, _lstm_samples, torch=None, **TOLERANCE),
    OpCase("gru_layer", gru, _recurrent_samples(3), torch=None, **TOLERANCE),
    OpCase("rnn_layer", rnn, _rnn_samples, torch=None, **TOLERANCE),
]
