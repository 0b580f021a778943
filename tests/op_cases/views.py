"""Views, copies and joining: nothing is computed, so results are exact."""

import numpy as np

from ._case import OpCase, S, uniform


def _each(*calls, **kwargs):
    """Samples with one array of each shape: (shape, args...)."""

    def samples(rng):
        return [S(uniform(rng, *shape), *args, **kwargs) for shape, *args in calls]

    return samples


def _flatten(x, start_dim=0, end_dim=-1):
    end = end_dim % max(x.ndim, 1)
    return x.reshape(*x.shape[:start_dim], -1, *x.shape[end + 1 :]) if x.size else x.reshape(0)


def _unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _squeeze(x, dim=None):
    if dim is None:
        return np.squeeze(x)
    dims = [d % x.ndim for d in (dim if isinstance(dim, tuple) else (dim,))]
    return np.squeeze(x, tuple(d for d in dims if x.shape[d] == 1))


def _narrow(x, dim, start, length):
    return np.take(x, np.arange(start, start + length), axis=dim)


def _split(x, split_size, dim=0):
    n = x.shape[dim]
    if isinstance(split_size, int):
        edges = list(range(split_size, n, split_size))
    else:
        edges = list(np.cumsum(split_size)[:-1])
    return np.split(x, edges, axis=dim)


def _chunk(x, chunks, dim=0):
    return _split(x, max(1, -(-x.shape[dim] // chunks)), dim)


def _unbind(x, dim=0):
    return [np.take(x, i, axis=dim) for i in range(x.shape[dim])]


def _expand(x, *sizes):
    lead = len(sizes) - x.ndim
    shape = [x.shape[d - lead] if n == -1 else n for d, n in enumerate(sizes)]
    return np.broadcast_to(x, shape)


def _pad(x, pad, mode="constant", value=0.0):
    widths = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[x.ndim - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    crop = tuple(
        slice(max(0, -b), n - max(0, -a)) for (b, a), n in zip(widths, x.shape, strict=True)
    )
    widths = [(max(0, b), max(0, a)) for b, a in widths]
    if mode == "constant":
        return np.pad(x[crop], widths, constant_values=value)
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return np.pad(x, widths, mode=names[mode])


def _pad_samples(rng):
    x = uniform(rng, 2, 3, 4)
    yield from (S(x, p) for p in ((1, 2), (1, 0, 2, 1), (0, 0), (-1, 1), (1, -2, -1, 0)))
    yield S(x, (1, 2), value=3.5)
    yield from (S(x, (2, 1), mode) for mode in ("reflect", "replicate", "circular"))
    yield S(np.zeros((2, 0)), (1, 1))


def _torch_pad(x, pad, mode="constant", value=0.0):
    import torch.nn.functional as F

    return F.pad(x, pad, mode, value) if mode == "constant" else F.pad(x, pad, mode)


def _lists(*calls, **kwargs):
    def samples(rng):
        return [S([uniform(rng, *s) for s in shapes], dim, **kwargs) for shapes, dim in calls]

    return samples


VIEWS = [
    OpCase(
        "view",
        lambda x, *shape: x.reshape(shape),
        lambda rng: [
            S(uniform(rng, 2, 6), 3, 4, layouts=False),
            S(uniform(rng, 2, 6), -1, layouts=False),
            S(np.zeros((0, 3)), 3, 0, layouts=False),
        ],
    ),
    OpCase(
        "reshape",
        lambda x, *shape: x.reshape(shape),
        _each(((2, 6), 3, 4), ((2, 6), -1), ((2, 3, 4), 6, -1), ((1,),), ((0, 3), 3, 0)),
        fn=lambda x, *shape: x.reshape(shape),
    ),
    OpCase("flatten", _flatten, _each(((2, 3, 4),), ((2, 3, 4), 1), ((2, 3, 4), 0, 1), ((0, 3),))),
    OpCase(
        "unflatten", _unflatten, _each(((6, 2), 0, (2, 3)), ((2, 6), -1, (3, 2))), torch="Tensor"
    ),
    OpCase("transpose", np.swapaxes, _each(((2, 3, 4), 0, 2), ((2, 3), -1, 0), ((0, 3), 0, 1))),
    OpCase("t", np.transpose, _each(((2, 3),), ((4,),), ((0, 3),))),
    OpCase(
        "permute",
        lambda x, *dims: x.transpose(dims),
        _each(((2, 3, 4), 2, 0, 1), ((2, 3), -1, 0)),
        torch="Tensor",
    ),
    OpCase("expand", _expand, _each(((1, 3), 2, 3), ((3,), 2, 3), ((2, 1), -1, 4), ((0, 1), 0, 5))),
    OpCase(
        "broadcast_to",
        lambda x, shape: np.broadcast_to(x, shape),
        _each(((1, 3), (2, 3)), ((3,), (2, 3)), ((), (2,))),
    ),
    OpCase(
        "squeeze",
        _squeeze,
        _each(((1, 3, 1),), ((1, 3, 1), 0), ((1, 3, 1), -1), ((1, 3, 1), 1), ((1, 0, 1), (0, 2))),
    ),
    OpCase(
        "unsqueeze", lambda x, d: np.expand_dims(x, d), _each(((2, 3), 0), ((2, 3), -1), ((), 0))
    ),
    OpCase(
        "select",
        lambda x, d, i: np.take(x, i, axis=d),
        _each(((2, 3), 0, 1), ((2, 3), 1, -1), ((4,), 0, 2)),
    ),
    OpCase("narrow", _narrow, _each(((4, 3), 0, 1, 2), ((2, 5), 1, 0, 5), ((2, 5), -1, 2, 0))),
    OpCase(
        "flip",
        lambda x, *dims: np.flip(x, dims),
        _each(((2, 3), 0), ((2, 3), 0, 1), ((0, 3), 0), ((17,), -1)),
        torch="Tensor",
    ),
    OpCase(
        "diagonal",
        lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
        _each(((3, 3),), ((3, 4), 1), ((4, 3), -2), ((2, 3, 3), 0, 1, 2), ((2, 2), 5)),
    ),
    OpCase("split", _split, _each(((5, 2), 2), ((2, 5), (1, 4), 1), ((2, 3), 9))),
    OpCase("chunk", _chunk, _each(((5, 2), 2), ((2, 6), 3, 1), ((2, 3), 9))),
    OpCase("unbind", _unbind, _each(((3, 2),), ((3, 2), 1))),
]

COPIES = [
    OpCase("clone", np.array, _each(((2, 3),), ((),), ((0, 3),), ((70, 33),))),
    OpCase("contiguous", np.array, _each(((2, 3),), ((),), ((0, 3),), ((17,),))),
    OpCase("cat", lambda ts, d: np.concatenate(ts, d), _lists(
        ([(2, 3), (1, 3)], 0), ([(2, 1), (2, 3), (2, 2)], -1), ([(4,)], 0), ([(0, 3), (2, 3)], 0),
    )),
    OpCase("stack", lambda ts, d: np.stack(ts, d), _lists(
        ([(2, 3), (2, 3)], 0), ([(2,), (2,), (2,)], 1), ([(), ()], 0), ([(0,), (0,)], -1),
    )),
    OpCase("pad", _pad, _pad_samples, torch=_torch_pad),
    OpCase(
        "repeat",
        lambda x, *n: np.tile(x, n),
        _each(((2, 3), 2, 1), ((3,), 2, 2), ((2, 3), 1, 1), ((2, 3), 0, 2)),
    ),
]  # fmt: skip

CASES = [*VIEWS, *COPIES]
