"""Elementwise ops: one input, two with broadcasting, three."""

import math

import numpy as np

from ._case import EDGES, TAILS, OpCase, S, uniform

_erf = np.vectorize(math.erf, otypes=[float])


def unary_samples(low=-2.0, high=2.0, edges=EDGES):
    def samples(rng):
        yield from (S(uniform(rng, n, low=low, high=high)) for n in TAILS)
        yield S(uniform(rng, 3, 5, low=low, high=high))
        yield S(uniform(rng, 70, 33, low=low, high=high), grad=False)
        yield S(uniform(rng, low=low, high=high))
        yield S(np.zeros((0, 3)))
        yield S(edges, grad=False)

    return samples


def unary(name, reference, low=-2.0, high=2.0, edges=EDGES, **kwargs):
    return OpCase(name, reference, unary_samples(low, high, edges), **kwargs)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def softplus(x, beta=1.0, threshold=20.0):
    return np.where(x * beta > threshold, x, np.logaddexp(0, beta * x) / beta)


def gelu(x, approximate="none"):
    if approximate == "none":
        return x * 0.5 * _erfc(-x / math.sqrt(2))
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * sigmoid(2 * inner)


def _torch_gelu(x, approximate="none"):
    """Return torch's GELU in double precision: with AVX-512 its float32 one overflows at 3e38."""
    import torch

    return torch.nn.functional.gelu(x.double(), approximate=approximate).to(x.dtype)


# What products and convolutions apply to their results, by name.
_ACTIVATED = {
    "none": lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "gelu": gelu,
    "gelu_tanh": lambda v: gelu(v, "tanh"),
    "silu": lambda v: v * sigmoid(v),
}
ACTIVATIONS = tuple(_ACTIVATED)


def activated(x, name):
    return _ACTIVATED[name](x)


def torch_activated(x, name):
    import torch.nn.functional as F

    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    return x if name == "none" else getattr(F, name)(x)


_erfc = np.vectorize(math.erfc, otypes=[float])
# Where the limit is zero times infinity, NumPy's formula has no answer: leave infinities out.
FINITE = EDGES[np.isfinite(EDGES) | np.isnan(EDGES)]
MODERATE = EDGES[(np.abs(EDGES) < 1e6) | np.isnan(EDGES)]

UNARY = [
    unary("neg", np.negative),
    unary("abs", np.abs),
    unary("sign", lambda x: np.nan_to_num(np.sign(x))),  # of NaN: 0, as in PyTorch
    unary("sqrt", np.sqrt, 0.1, 4),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.1, 4, np.abs(EDGES)),
    unary("reciprocal", lambda x: 1 / x, 0.3, 3),
    unary("square", np.square),
    unary("exp", np.exp),
    unary("exp2", np.exp2),
    unary("expm1", np.expm1),
    unary("log", np.log, 0.1, 4),
    unary("log1p", np.log1p, -0.8, 4),
    unary("log2", np.log2, 0.1, 4),
    unary("log10", np.log10, 0.1, 4),
    unary("sin", np.sin, edges=MODERATE),
    unary("cos", np.cos, edges=MODERATE),
    unary("tan", np.tan, -1, 1, edges=MODERATE[np.abs(MODERATE) < 1000]),
    unary("asin", np.arcsin, -0.9, 0.9),
    unary("acos", np.arccos, -0.9, 0.9),
    unary("atan", np.arctan),
    unary("sinh", np.sinh),
    unary("cosh", np.cosh),
    unary("tanh", np.tanh),
    unary("sigmoid", sigmoid),
    unary("erf", _erf),
    unary("erfc", _erfc),
    unary("floor", np.floor),
    unary("ceil", np.ceil),
    unary("round", np.round),
    unary("trunc", np.trunc),
    unary("relu", lambda x: np.maximum(x, 0)),
    unary("relu6", lambda x: np.clip(x, 0, 6), torch="nn"),
    unary("silu", lambda x: x * sigmoid(x), edges=FINITE, rtol=2e-6),
    unary("hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), -5, 5, torch_grad=False),
    unary("hardswish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), -5, 5, MODERATE, rtol64=1e-12),
    unary("log_sigmoid", lambda x: -np.logaddexp(0, -x), torch="logsigmoid"),
    unary("mish", lambda x: x * np.tanh(np.logaddexp(0, x)), edges=FINITE, rtol=2e-6, atol=1e-43),
    unary("softsign", lambda x: x / (1 + np.abs(x)), edges=FINITE),
    unary("selu", lambda x: 1.0507009873554804934 * np.where(
        x > 0, x, 1.6732632423543772848 * np.expm1(np.minimum(x, 0)))),
]  # fmt: skip

PREDICATES = [
    unary(name, reference, grad=False)
    for name, reference in {
        "isnan": np.isnan,
        "isinf": np.isinf,
        "isfinite": np.isfinite,
        "logical_not": np.logical_not,
    }.items()
]


def with_options(samples, *options):
    """The samples under the first options; one small array under each of the others."""

    def all_samples(rng):
        for s in samples(rng):
            yield S(*s.args, grad=s.grad, **options[0])
        for option in options[1:]:
            yield S(uniform(rng, 4, 5), **option)

    return all_samples


def _elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _clamp(x, min=None, max=None):
    return np.clip(x, min, max)


PARAMETRIC = [
    OpCase(
        "leaky_relu",
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        with_options(unary_samples(), {}, {"negative_slope": 0.2}),
    ),
    OpCase("elu", _elu, with_options(unary_samples(), {}, {"alpha": 0.7})),
    OpCase(
        "gelu",
        gelu,
        with_options(unary_samples(edges=FINITE), {}, {"approximate": "tanh"}),
        torch=_torch_gelu,
        rtol=3e-6,
        rtol64=1e-11,
    ),
    OpCase(
        "softplus",
        softplus,
        with_options(unary_samples(), {}, {"beta": 2.0, "threshold": 1.5}),
    ),
    OpCase(
        "hardtanh",
        lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
        with_options(unary_samples(), {}, {"min_val": -0.3, "max_val": 0.8}),
    ),
    OpCase(
        "clamp",
        _clamp,
        with_options(
            unary_samples(),
            {"min": -0.5, "max": 0.7},
            {"min": 0.1},
            {"max": 0.1},
            {"min": 0.7, "max": -0.5},  # then max is the result
        ),
    ),
]


def binary_samples(low=-2.0, high=2.0, low2=None, high2=None, edges=True):
    low2, high2 = low if low2 is None else low2, high if high2 is None else high2

    def samples(rng):
        def pair(a, b):
            return uniform(rng, *a, low=low, high=high), uniform(rng, *b, low=low2, high=high2)

        yield from (S(*pair((n,), (n,))) for n in TAILS)
        shapes = [((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)), ((), (3, 4)), ((5,), (1,))]
        yield from (S(*pair(*shape)) for shape in shapes)
        yield S(*pair((40, 1, 17), (9, 17)), grad=False)
        yield S(np.zeros((0, 3)), np.ones((1, 3)))
        yield S(pair((2, 3), ())[0], 1.25)
        yield S(1.25, pair((), (2, 3))[1])
        if edges:
            yield S(EDGES[:, None], EDGES[None, :], grad=False)

    return samples


def binary(name, reference, *domain, edges=True, **kwargs):
    return OpCase(name, reference, binary_samples(*domain, edges=edges), **kwargs)


def _remainder(a, b):
    # NumPy's fmod-based rule differs at infinities only.
    return np.mod(a, b)


BINARY = [
    binary("add", np.add),
    binary("sub", np.subtract),
    binary("mul", np.multiply),
    binary("div", np.divide, -2, 2, 0.5, 2),
    binary("floor_divide", np.floor_divide, -5, 5, 0.5, 2, edges=False, grad=False),
    binary("remainder", _remainder, -5, 5, 1.1, 1.9, edges=False, rtol=1e-5, rtol64=1e-12),
    binary("fmod", np.fmod, -5, 5, 1.1, 1.9, edges=False, rtol=1e-5, rtol64=1e-12),
    binary("pow", np.power, 0.2, 2, -2, 2),
    binary("maximum", np.maximum),
    binary("minimum", np.minimum),
    binary("atan2", np.arctan2, 0.3, 2, edges=False),
    binary("logical_and", np.logical_and, grad=False),
    binary("logical_or", np.logical_or, grad=False),
    binary("logical_xor", np.logical_xor, grad=False),
    *(
        binary(name, reference, grad=False)
        for name, reference in {
            "eq": np.equal,
            "ne": np.not_equal,
            "lt": np.less,
            "le": np.less_equal,
            "gt": np.greater,
            "ge": np.greater_equal,
        }.items()
    ),
]


def _bit_samples(rng):
    for dtype in (np.int64, np.int32, np.uint8, np.bool_):
        for n in TAILS:
            a, b = rng.integers(0, 2 if dtype is np.bool_ else 100, (2, n))
            yield S(a.astype(dtype), b.astype(dtype))
    yield S(rng.integers(-9, 9, (3, 1)), rng.integers(-9, 9, (1, 4)))
    yield S(np.zeros((0, 2), np.int64), np.zeros((1, 2), np.int64))


def _ternary_samples(rng):
    for n in TAILS:
        yield S(rng.random(n) > 0.5, uniform(rng, n), uniform(rng, n))
    yield S(rng.random((3, 1)) > 0.5, uniform(rng, 4), uniform(rng, 2, 1, 1))
    yield S(rng.random((3, 2)) > 0.5, uniform(rng, 3, 2), 0.5)
    yield S(rng.random((3, 2)) > 0.5, 0.5, uniform(rng, 3, 2))
    yield S(np.zeros((0, 2), bool), np.zeros((0, 2)), np.zeros(2))
    yield S(rng.random((33, 40)) > 0.5, uniform(rng, 33, 40), uniform(rng, 40), grad=False)
    yield S(np.array([True, False]), np.array([np.nan, 1.0]), np.array([2.0, np.inf]), grad=False)


def _lerp_samples(rng):
    yield S(uniform(rng, 3, 4), uniform(rng, 3, 4), 0.3)
    yield S(uniform(rng, 17), uniform(rng, 17), uniform(rng, 17, low=0, high=1))
    yield S(np.zeros((0,)), np.zeros((0,)), 0.3)


OTHERS = [
    OpCase("bitwise_and", np.bitwise_and, _bit_samples, grad=False),
    OpCase("bitwise_or", np.bitwise_or, _bit_samples, grad=False),
    OpCase("bitwise_xor", np.bitwise_xor, _bit_samples, grad=False),
    OpCase(
        "bitwise_not", np.invert, lambda rng: [S(s.args[0]) for s in _bit_samples(rng)], grad=False
    ),
    OpCase("where", np.where, _ternary_samples),
    OpCase("lerp", lambda a, b, w: a + w * (b - a), _lerp_samples, atol=1e-6, atol64=1e-15),
]

CASES = [*UNARY, *PREDICATES, *PARAMETRIC, *BINARY, *OTHERS]
