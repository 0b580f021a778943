"""Indexing, random numbers, pooling, optimizer steps and convolution on CUDA, against the CPU; see
test_cuda.py.
"""

import gradsmith as gs
import numpy as np
import pytest
from op_cases import CASES, map_arrays
from op_cases._case import as_list, cast, with_layout
from test_cuda import DTYPES, check, gpu, on_cuda, rand, run_emulated, same

BY_NAME = {case.name: case for case in CASES}
INDEXING = ["index_select", "index_add", "gather", "scatter_add", "masked_select", "masked_fill"]
INDEXING += ["nonzero", "one_hot", "embedding", "masked_fill_", "index_put_"]
VIEWS = ["flip", "diagonal", "split", "chunk", "unbind", "cat", "stack", "pad", "narrow"]
NAMES = [*INDEXING, *VIEWS]


def test_emulated():
    run_emulated(__file__)


def close(actual, expected, case, dtype):
    assert len(actual) == len(expected)
    # Other orders of sums, CUDA's own functions: a few roundings from the CPU.
    rtol, atol = (2e-5, 2e-6) if dtype is gs.float32 else (1e-11, 1e-13)
    for y, e in zip(actual, expected, strict=True):
        if isinstance(y, gs.Tensor):
            same(y, e, max(rtol, case.tolerance(dtype)["rtol"]), atol)
        else:
            assert y == e


def run(case, sample, dtype, layout, device):
    """Results, gradients and second derivatives."""
    tensors = []

    def tensor(a):
        t = (
            gs.tensor(cast(a, dtype))
            if layout is None
            else gs.from_numpy(with_layout(cast(a, dtype), layout))
        )
        t = t.to(device)
        if a.dtype.kind == "f" and case.grad and sample.grad:
            tensors.append(t.requires_grad_())
        return t

    gs.manual_seed(1)
    args, kwargs = map_arrays(sample.args, tensor), map_arrays(sample.kwargs, tensor)
    results = as_list(case.op(*args, **kwargs))
    changed = [t for t in arrays_in(args) if isinstance(t, gs.Tensor)]
    found = [r for r in results if r is not None] + changed
    outputs = [y for y in results if isinstance(y, gs.Tensor) and y.requires_grad]
    if tensors and outputs:
        seeds = [rand(*y.shape, dtype=y.dtype, seed=5).to(device) for y in outputs]
        first = gs.autograd.grad(
            outputs, tensors, seeds, create_graph=case.gradgrad, allow_unused=True
        )
        found += [g for g in first if g is not None]
        curved = [g for g in first if g is not None and g.requires_grad]
        if case.gradgrad and curved:
            seeds = [rand(*g.shape, dtype=g.dtype, seed=6).to(device) for g in curved]
            second = gs.autograd.grad(curved, tensors, seeds, allow_unused=True)
            found += [g for g in second if g is not None]
    return found


def arrays_in(value):
    if isinstance(value, list | tuple):
        for v in value:
            yield from arrays_in(v)
    else:
        yield value


@gpu
@pytest.mark.parametrize("dtype", [gs.float32, gs.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_case(name, dtype):
    case = BY_NAME[name]
    for i, sample in enumerate(case.draw()):
        layouts = [None, "transposed", "step"] if sample.layouts and i < 2 else [None]
        for layout in layouts:
            expected = run(case, sample, dtype, layout, "cpu")
            actual = run(case, sample, dtype, layout, "cuda")
            close(actual, expected, case, dtype)
            for y in actual:
                assert not isinstance(y, gs.Tensor) or y.device == gs.device("cuda")


@gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_moves_of_every_dtype(dtype):
    x = rand(6, 7, low=0, high=9).to(dtype)
    i, j = gs.tensor([5, -6, 0, 0]), gs.tensor([1, 6, -7, 2])
    check(lambda x, i: x[i], x, i, backward=False)
    check(lambda x, i, j: x[i, j], x, i, j, backward=False)
    check(lambda x, i: x[:, i], x, i, backward=False)
    check(lambda x, i: x.t().gather(0, i.unsqueeze(1)), x, i, backward=False)
    check(lambda x, on: gs.where(on, x, x.t().reshape(6, 7)), x, x > 4, backward=False)
    check(lambda x, on: x.masked_fill(on, 1), x, x > 4, backward=False)
    check(lambda x, on: x[on], x, x > 4, backward=False)

    def put(x, i, v):
        y = x.clone()
        y[i] = v
        y[:, i[0]] = 3
        y[y > 7] = 2
        return y

    check(put, x, i, rand(4, 7, low=0, high=9, seed=3).to(dtype), backward=False)
    check(put, x, i, rand(7, low=0, high=9, seed=3).to(dtype), backward=False)


@gpu
def test_python_indexing():
    x = rand(4, 5, 6)
    i, mask = gs.tensor([3, 0, -1]), rand(4, 5) > 0
    check(lambda x: x[[2, 0]], x)  # lists and arrays are on the CPU
    check(lambda x: x[np.array([1, 3]), :, np.array([0, 5])], x)
    check(lambda x, i: x[i], x, i)
    check(lambda x, i: x[i, 1:3, i], x, i)
    check(lambda x, i: x[..., i[:, None], i], x, i)
    check(lambda x, mask: x[mask], x, mask)
    check(lambda x, mask: x[mask, i.to(x.device)[0]], x, mask)
    check(lambda x: x[x[:, 0, 0] > 0], x)
    here, there = x.clone(), on_cuda(x)
    for y in (here, there):
        y[[1, 2]] = 5
        y[mask.to(y.device)] = rand(6, seed=4).to(y.device)
        y[i.to(y.device), 0] += 1
        y.index_put_([i.to(y.device)], rand(3, 5, 6, seed=8).to(y.device), accumulate=True)
    same(there, here)
    for bad in ([4], [-5], [0, 9]):
        with pytest.raises(IndexError, match=rf"index {bad[-1]} \(at position {len(bad) - 1}\)"):
            there[gs.tensor(bad).cuda()]
        with pytest.raises(IndexError, match="out of range"):
            there.gather(0, gs.tensor(bad).cuda()[:, None, None])
    with pytest.raises(IndexError, match="embedding: index -1 at position 1"):
        gs.nn.functional.embedding(gs.tensor([0, -1]).cuda(), there[0])
    with pytest.raises(IndexError, match="one_hot: class 3 is out of range for 3 classes"):
        gs.nn.functional.one_hot(gs.tensor([0, 3]).cuda(), 3)
    with pytest.raises(ValueError, match="different devices"):
        there.index_select(0, i)
    with pytest.raises(ValueError, match="different devices"):
        here[i.cuda()]
    with pytest.raises(ValueError, match="different devices"):
        gs.where(there > 0, here, there)


@gpu
@pytest.mark.parametrize("n", [1, 31, 2048, 2049, 5000])
def test_additions_keep_the_order_of_the_source(n):
    """The bits of the CPU, however often an index repeats."""
    index = gs.tensor(np.random.default_rng(n).integers(0, 17, n))
    x, source = rand(17, 3), rand(n, 3, seed=1) * 1e3
    there = on_cuda(x).index_add(0, index.cuda(), on_cuda(source))
    assert (there.cpu() == x.index_add(0, index, source)).all()
    there = on_cuda(x[:, 0]).scatter_add(0, index.cuda(), on_cuda(source[:, 0]))
    assert (there.cpu() == x[:, 0].scatter_add(0, index, source[:, 0])).all()
    there = on_cuda(x.t()).index_add(1, index.cuda(), on_cuda(source.t()))
    assert (there.cpu() == x.t().index_add(1, index, source.t())).all()
    here, there = x.clone(), on_cuda(x.clone())
    here[index] = source  # the last one wins
    there[index.cuda()] = on_cuda(source)
    assert (there.cpu() == here).all()


@gpu
@pytest.mark.parametrize("shape", [(0,), (1,), (2047,), (2048,), (4097,), (3, 0), (40, 129), ()])
def test_nonzero(shape):
    for keep in (-3.0, 0.0, 3.0):
        x = rand(*shape)
        assert_equal(on_cuda(x > keep).nonzero(), (x > keep).nonzero())
    assert_equal(on_cuda(x).nonzero(), x.nonzero())


def assert_equal(actual, expected):
    assert actual.shape == expected.shape and actual.tolist() == expected.tolist()


@gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_sequences(dtype):
    if dtype != "bool":
        for args in ((7,), (1, 100, 3), (9, 2, -2), (0, 1, 0.1), (5, 5)):
            same(gs.arange(*args, dtype=dtype, device="cuda"), gs.arange(*args, dtype=dtype), 0)
    for args in ((0, 1, 7), (3, 200, 2), (5, 1, 1), (1, 2, 0)):
        same(gs.linspace(*args, dtype=dtype, device="cuda"), gs.linspace(*args, dtype=dtype), 0)
