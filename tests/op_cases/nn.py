"""Convolution, pooling, embedding and dropout.

The references are loops that read like the definition.
"""

import itertools

import numpy as np

from ._case import OpCase, S, distinct, uniform
from .elementwise import ACTIVATIONS, activated, torch_activated


def pair(v):
    return tuple(v) if isinstance(v, tuple | list) else (v, v)


def _sides(padding):
    if isinstance(padding, tuple | list) and len(padding) == 4:
        return (padding[0], padding[1]), (padding[2], padding[3])
    h, w = pair(padding)
    return (h, h), (w, w)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, activation="none"):
    if x.ndim == 3:
        return conv2d(x[None], weight, bias, stride, padding, dilation, groups, activation)[0]
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    x = np.pad(x, ((0, 0), (0, 0), *_sides(padding)))
    o, cg, kh, kw = weight.shape
    oh = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    ow = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((x.shape[0], o, oh, ow))
    for g, i, j in itertools.product(range(groups), range(kh), range(kw)):
        rows = slice(i * dh, i * dh + sh * (oh - 1) + 1, sh)
        columns = slice(j * dw, j * dw + sw * (ow - 1) + 1, sw)
        part = x[:, g * cg : (g + 1) * cg, rows, columns]
        filters = slice(g * (o // groups), (g + 1) * (o // groups))
        y[:, filters] += np.einsum("nchw,oc->nohw", part, weight[filters, :, i, j])
    return activated(y if bias is None else y + bias[:, None, None], activation)


def _torch_conv2d(x, weight, bias=None, *options, activation="none", **named):
    import torch

    y = torch.nn.functional.conv2d(x, weight, bias, *options, **named)
    return torch_activated(y, activation)


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    sides = padding if isinstance(padding, tuple) else (padding, padding)
    y = conv2d(
        x[..., None, :],
        weight[:, :, None],
        bias,
        (1, stride),
        (0, 0, *sides),
        (1, dilation),
        groups,
    )
    return y[..., 0, :]


def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    (sh, sw), (dh, dw), (eh, ew) = pair(stride), pair(dilation), pair(output_padding)
    (ph, _), (pw, _) = _sides(padding)
    n, c, h, w = x.shape
    _, og, kh, kw = weight.shape
    full = np.zeros((n, og * groups, (h - 1) * sh + dh * (kh - 1) + 1 + eh,
                     (w - 1) * sw + dw * (kw - 1) + 1 + ew))  # fmt: skip
    cg = c // groups
    for g, i, j in itertools.product(range(groups), range(kh), range(kw)):
        part = np.einsum(
            "nchw,co->nohw", x[:, g * cg : (g + 1) * cg], weight[g * cg : (g + 1) * cg, :, i, j]
        )
        rows = slice(i * dh, i * dh + sh * (h - 1) + 1, sh)
        columns = slice(j * dw, j * dw + sw * (w - 1) + 1, sw)
        full[:, g * og : (g + 1) * og, rows, columns] += part
    y = full[:, :, ph : full.shape[2] - ph, pw : full.shape[3] - pw]
    return y if bias is None else y + bias[:, None, None]


def _conv_samples(rng):
    def make(x, w, bias=False, grad=True, **options):
        b = (uniform(rng, w[0]),) if bias else ()
        return S(uniform(rng, *x), uniform(rng, *w), *b, grad=grad, **options)

    yield make((1, 1, 3, 3), (1, 1, 2, 2))
    yield make((2, 2, 4, 3), (2, 2, 3, 2), True)
    yield make((2, 4, 3), (2, 2, 2, 2))  # without a batch
    yield make((1, 2, 5, 4), (2, 2, 3, 2), True, stride=(2, 1), padding=(1, 0))
    yield make((1, 1, 5, 5), (1, 1, 2, 3), dilation=(2, 1), padding=1)
    yield make((1, 2, 3, 3), (4, 1, 2, 2), True, groups=2)
    yield make((1, 2, 4, 3), (2, 1, 3, 3), groups=2, padding=1)  # depthwise
    yield make((1, 1, 2, 3), (1, 1, 2, 2), padding=(1, 0, 0, 2))  # uneven
    yield make((0, 2, 4, 4), (3, 2, 3, 3), True)
    for activation in ACTIVATIONS:
        yield make((1, 2, 4, 3), (2, 2, 2, 2), True, activation=activation)
    yield make((1, 3, 30, 33), (20, 3, 5, 5), True, grad=False, activation="relu")
    yield make((2, 9, 20, 20), (10, 9, 3, 3), True, grad=False, activation="tanh")
    yield make((2, 3, 9, 17), (5, 3, 1, 1), grad=False)
    yield make((2, 16, 15, 17), (17, 16, 3, 3), True, grad=False, padding=1)
    yield make((1, 3, 40, 33), (20, 3, 5, 5), grad=False, stride=2, padding=2)
    yield make((2, 24, 20, 20), (24, 1, 3, 3), True, grad=False, padding=1, groups=24)
    yield make((1, 12, 14, 14), (18, 4, 3, 3), grad=False, dilation=2, groups=3)


def _conv1d_samples(rng):
    yield S(uniform(rng, 1, 1, 5), uniform(rng, 1, 1, 2))
    yield S(uniform(rng, 2, 2, 6), uniform(rng, 2, 2, 3), uniform(rng, 2), stride=2, padding=1)
    yield S(uniform(rng, 2, 6), uniform(rng, 4, 1, 2), None, dilation=2, groups=2)
    yield S(uniform(rng, 1, 3, 200), uniform(rng, 8, 3, 7), uniform(rng, 8), padding=3, grad=False)
    yield S(np.zeros((0, 2, 6)), uniform(rng, 2, 2, 3))


def _transpose_samples(rng):
    yield S(uniform(rng, 1, 1, 2, 2), uniform(rng, 1, 1, 2, 2))
    yield S(
        uniform(rng, 1, 2, 2, 3), uniform(rng, 2, 2, 3, 2), uniform(rng, 2), stride=2, padding=1
    )
    yield S(uniform(rng, 1, 2, 2, 2), uniform(rng, 2, 1, 2, 2), None, 2, 0, 1, 2)
    yield S(uniform(rng, 1, 1, 2, 2), uniform(rng, 1, 2, 2, 2), dilation=2)
    # More output padding than the stride: the last rows and columns are reached by no input.
    yield S(uniform(rng, 1, 1, 2, 2), uniform(rng, 1, 2, 2, 2), dilation=3, output_padding=(2, 1))
    yield S(
        uniform(rng, 2, 8, 9, 7), uniform(rng, 8, 5, 3, 3), uniform(rng, 5), 2, 1, 1, grad=False
    )


# ---- pooling ----


def _windows(x, kernel_size, stride, padding, dilation, ceil_mode):
    """For each output pixel: its rows and columns in the unpadded input."""
    k, p, d = pair(kernel_size), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    per_axis = []
    for axis in range(2):
        n, span = x.shape[axis - 2], d[axis] * (k[axis] - 1) + 1
        room = n + 2 * p[axis] - span
        count = (-(-room // s[axis]) if ceil_mode else room // s[axis]) + 1
        if ceil_mode and (count - 1) * s[axis] >= n + p[axis]:
            count -= 1
        starts = [i * s[axis] - p[axis] for i in range(count)]
        per_axis.append([(b, [b + d[axis] * j for j in range(k[axis])]) for b in starts])
    return per_axis


def _inside(positions, n):
    return [p for p in positions if 0 <= p < n]


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
               return_indices=False):  # fmt: skip
    rows, columns = _windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    h, w = x.shape[-2:]
    y = np.empty((*x.shape[:-2], len(rows), len(columns)))
    index = np.empty(y.shape, np.int64)
    for i, (_, r) in enumerate(rows):
        for j, (_, c) in enumerate(columns):
            flat = np.array([a * w + b for a in _inside(r, h) for b in _inside(c, w)])
            values = x.reshape(*x.shape[:-2], h * w)[..., flat]
            y[..., i, j] = values.max(-1)
            index[..., i, j] = flat[values.argmax(-1)]
    return (y, index) if return_indices else y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):  # fmt: skip
    rows, columns = _windows(x, kernel_size, stride, padding, 1, ceil_mode)
    h, w = x.shape[-2:]
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    y = np.empty((*x.shape[:-2], len(rows), len(columns)))
    for i, (top, r) in enumerate(rows):
        for j, (left, c) in enumerate(columns):
            r_in, c_in = _inside(r, h), _inside(c, w)
            total = x[..., r_in, :][..., c_in].sum((-1, -2))
            padded = (min(top + kh, h + ph) - top) * (min(left + kw, w + pw) - left)
            count = padded if count_include_pad else len(r_in) * len(c_in)
            y[..., i, j] = total / (divisor_override or count)
    return y


def _adaptive(reduce):
    def reference(x, output_size):
        oh, ow = pair(output_size)
        h, w = x.shape[-2:]
        y = np.empty((*x.shape[:-2], oh, ow))
        for i, j in itertools.product(range(oh), range(ow)):
            rows = slice(i * h // oh, -(-(i + 1) * h // oh))
            columns = slice(j * w // ow, -(-(j + 1) * w // ow))
            y[..., i, j] = reduce(x[..., rows, columns], axis=(-2, -1))
        return y

    return reference


def _pool_samples(make, options):
    def samples(rng):
        yield S(make(rng, 1, 2, 4, 4), 2)
        yield S(make(rng, 2, 4, 5), 2)  # without a batch
        for option in options:
            yield S(make(rng, 1, 2, 5, 4), (3, 2), **option)
        yield S(make(rng, 2, 3, 17, 33), 3, 2, 1, grad=False)
        yield S(make(rng, 2, 16, 16, 16), 2, grad=False)
        yield S(np.zeros((0, 2, 4, 4)), 2)

    return samples


_MAX_OPTIONS = [
    {"stride": (2, 1)},
    {"padding": 1},
    {"dilation": (1, 2), "stride": 1},
    {"stride": 2, "ceil_mode": True},
    {"return_indices": True},
]
_AVERAGE_OPTIONS = [
    {"stride": (2, 1)},
    {"padding": 1},
    {"padding": 1, "count_include_pad": False},
    {"stride": 2, "ceil_mode": True, "padding": 1},
    {"divisor_override": 5},
]


def _adaptive_samples(make):
    return lambda rng: [
        S(make(rng, 1, 2, 4, 5), (2, 3)),
        S(make(rng, 2, 3, 4), 1),
        S(make(rng, 1, 1, 3, 3), 3),
        S(make(rng, 2, 3, 17, 15), (7, 4), grad=False),
    ]


CONVOLUTION = {"rtol": 1e-5, "atol": 5e-5, "rtol64": 1e-12, "atol64": 1e-12}
MEAN = {"rtol": 3e-6, "atol": 1e-6, "rtol64": 1e-12, "atol64": 1e-14}

CONVOLUTIONS = [
    OpCase("conv2d", conv2d, _conv_samples, torch=_torch_conv2d, **CONVOLUTION),
    OpCase("conv1d", conv1d, _conv1d_samples, torch="nn", **CONVOLUTION),
    OpCase("conv_transpose2d", conv_transpose2d, _transpose_samples, torch="nn", **CONVOLUTION),
]
POOLS = [
    OpCase("max_pool2d", max_pool2d, _pool_samples(distinct, _MAX_OPTIONS), torch="nn"),
    OpCase("avg_pool2d", avg_pool2d, _pool_samples(uniform, _AVERAGE_OPTIONS), torch="nn", **MEAN),
    OpCase(
        "adaptive_avg_pool2d", _adaptive(np.mean), _adaptive_samples(uniform), torch="nn", **MEAN
    ),
    OpCase("adaptive_max_pool2d", _adaptive(np.max), _adaptive_samples(distinct), torch="nn"),
]


# ---- embedding, dropout ----


def _embedding_samples(rng):
    yield S(rng.integers(0, 5, (2, 3)), uniform(rng, 5, 2))
    yield S(np.array([1, 1, 0]), uniform(rng, 3, 4))
    yield S(np.array(2), uniform(rng, 3, 4))
    yield S(np.zeros((0, 2), np.int64), uniform(rng, 3, 4))
    yield S(rng.integers(0, 50, (20, 9)), uniform(rng, 50, 17), grad=False)


OTHERS = [
    OpCase("embedding", lambda i, weight: weight[i], _embedding_samples, torch="nn"),
    OpCase(
        "dropout",
        lambda x, p, training=True: x if not training or p == 0 else np.zeros_like(x),
        lambda rng: [
            S(uniform(rng, 3, 4), p, t) for p, t in ((0.0, True), (1.0, True), (0.5, False))
        ],
        torch="nn",
    ),
]

CASES = [*CONVOLUTIONS, *POOLS, *OTHERS]
