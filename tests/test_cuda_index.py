"""Indexing, random numbers, pooling, optimizer steps and convolution on CUDA, against the CPU; see
test_cuda.py.
"""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.testing import assert_close
from op_cases import CASES, map_arrays
from op_cases._case import as_list, cast, with_layout
from test_cuda import DTYPES, check, gpu, on_cuda, rand, run_emulated, same

BY_NAME = {case.name: case for case in CASES}
INDEXING = ["index_select", "index_add", "gather", "scatter_add", "masked_select", "masked_fill"]
INDEXING += ["nonzero", "one_hot", "embedding", "masked_fill_", "index_put_"]
VIEWS = ["flip", "repeat", "diagonal", "split", "chunk", "unbind", "cat", "stack", "pad", "narrow"]
POOLING = ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"]
STEPS = ["sgd_step_", "adam_step_", "rmsprop_step_", "adagrad_step_", "nadam_step_", "radam_step_"]
STEPS += ["adamax_step_", "adadelta_step_", "asgd_step_", "rprop_step_", "lion_step_"]
STEPS += ["clip_grad_norm_", "clip_grad_value_"]
CONVOLUTION = ["conv2d", "conv1d", "conv_transpose2d"]
NAMES = [*INDEXING, *VIEWS, *POOLING, *STEPS, *CONVOLUTION, "dropout"]


def test_emulated():
    run_emulated(__file__)


def close(actual, expected, case, dtype):
    assert len(actual) == len(expected)
    # Other orders of sums, CUDA's own functions: a few roundings from the CPU.
    rtol, atol = (2e-5, 2e-6) if dtype is gs.float32 else (1e-11, 1e-13)
    for y, e in zip(actual, expected, strict=True):
        if isinstance(y, gs.Tensor):
            allowed = case.tolerance(dtype)
            same(y, e, max(rtol, allowed["rtol"]), max(atol, allowed["atol"]))
        else:
            assert y == e


def sums_on(device):
    """Whether reductions run there: the gradient of a bias is one."""
    try:
        gs.ones(1, device=device).sum()
    except RuntimeError:
        return False
    return True


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
        if a.dtype.kind == "f" and case.grad and sample.grad and (biased or a.ndim > 1):
            tensors.append(t.requires_grad_())
        return t

    biased = case.name not in CONVOLUTION or sums_on("cuda")
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
    check(lambda x, i: x.t().gather(0, i.abs().unsqueeze(1)), x, i, backward=False)
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
    for call in (there.index_select, there[:, 0, 0].gather):
        with pytest.raises(IndexError, match=r"index -1 \(at position 1\).*\[0, 4\)"):
            call(0, gs.tensor([0, -1]).cuda())
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
def test_in_place():
    for op in ("add_", "sub_", "mul_", "div_"):
        for other in (rand(3, 5, low=0.5, high=2), rand(5, low=0.5, high=2), 3):
            x = rand(3, 5)
            y = on_cuda(x)
            getattr(y, op)(on_cuda(other) if isinstance(other, gs.Tensor) else other)
            assert_close(y.cpu(), getattr(x, op)(other))
    y = gs.zeros(4, 5, device="cuda")
    y[1:3, ::2] = 7
    y[0] = gs.arange(5, dtype="float32")
    y[3] += 1
    y[:, gs.tensor(1).cuda()] = gs.ones(4).cuda()
    assert y.tolist() == [[0, 1, 2, 3, 4], [7, 1, 7, 0, 7], [7, 1, 7, 0, 7], [1, 1, 1, 1, 1]]
    assert y.fill_(3).zero_().clamp_(1, 2).tolist() == [[1.0] * 5] * 4


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


# ---- random numbers ----


@gpu
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1023, 1025])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_random(n, dtype):
    """The CPU's numbers, and as many of them drawn."""
    for make, exact in (
        (lambda d: gs.rand(n, dtype=dtype, device=d), True),
        (lambda d: gs.empty(n, dtype=dtype, device=d).uniform_(-3, 7), True),
        (lambda d: gs.empty(n + 1, dtype=dtype, device=d)[1:].uniform_(-3, 7), True),
        (lambda d: gs.empty(n, 2, dtype=dtype, device=d)[:, 0].uniform_(2, 2), True),
        (lambda d: gs.empty(n, dtype=dtype, device=d).bernoulli_(0.3), True),
        (lambda d: gs.randint(-5, 2**40, (n,), device=d), True),
        (lambda d: gs.randint(-(2**63), 2**63 - 1, (n,), device=d), True),
        (lambda d: gs.randperm(n, device=d), True),
        (lambda d: gs.randn(n, dtype=dtype, device=d), False),
        (lambda d: gs.empty(n, dtype=dtype, device=d).normal_(2, 0.5), False),
    ):
        gs.manual_seed(3)
        expected, next_one = make("cpu"), gs.rand(1).item()
        gs.manual_seed(3)
        actual = make("cuda")
        assert gs.rand(1).item() == next_one and actual.device == gs.device("cuda")
        if exact:
            assert actual.dtype is expected.dtype and actual.tolist() == expected.tolist()
        elif dtype == "bfloat16":
            same(actual, expected, 1e-2, 1e-6)
        else:
            same(actual, expected, *((2e-6, 1e-6) if dtype == "float32" else (1e-14, 1e-14)))


@gpu
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout(p, dtype):
    def dropout(x):
        gs.manual_seed(11)
        return nn.functional.dropout(x, p)

    for x in (rand(3, 341), rand(4), rand(0), rand(9, 5).t()[1:]):
        check(dropout, x.to(dtype), rtol=1e-7)


# ---- optimizer steps ----


@gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: gs.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: gs.optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
        lambda p: gs.optim.AdamW(p, lr=0.1, maximize=True),
        lambda p: gs.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
        lambda p: gs.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
        lambda p: gs.optim.NAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True),
        lambda p: gs.optim.RAdam(p, lr=0.1, betas=(0.8, 0.5), weight_decay=0.1),
        lambda p: gs.optim.Adamax(p, lr=0.1, maximize=True),
        lambda p: gs.optim.Adadelta(p, lr=2.0, weight_decay=0.1),
        lambda p: gs.optim.ASGD(p, lr=0.1, t0=1, weight_decay=0.1),
        lambda p: gs.optim.Rprop(p, lr=0.1),
        lambda p: gs.optim.Lion(p, lr=0.1, weight_decay=0.1),
    ],
    ids=[
        *("sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", "radam", "adamax", "adadelta"),
        *("asgd", "rprop", "lion"),
    ],
)
def test_optimizers(make, dtype):
    """More tensors than one launch takes, of sizes around the pieces; clipped every other step."""
    sizes = [(1,), (3, 5), (0,), (4095,), (4096,), (4097,), *[(7,)] * 70]
    runs = []
    for device in ("cpu", "cuda"):
        params = [
            nn.Parameter(rand(*s, seed=i, dtype=dtype).to(device)) for i, s in enumerate(sizes)
        ]
        optimizer, norms = make(params), []
        for step in range(3):
            for i, p in enumerate(params):
                p.grad = rand(*p.shape, seed=100 * step + i, dtype=dtype).to(device)
            if step % 2:
                norms.append(nn.utils.clip_grad_norm_(params, 1.0))
                nn.utils.clip_grad_value_(params, 0.004)
            optimizer.step()
        runs.append([*params, *norms, nn.utils.clip_grad_norm_(params, 1e9)])
    for here, there in zip(*runs, strict=True):
        assert there.device == gs.device("cuda")
        same(there, here, *((1e-5, 1e-5) if dtype == "float32" else (1e-12, 1e-12)))


@gpu
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, float("inf")])
def test_norms_of_gradients(power):
    for bad in (0.0, float("inf"), float("nan")):
        totals, grads = [], []
        for device in ("cpu", "cuda"):
            params = [nn.Parameter(gs.zeros(n, device=device)) for n in (20000, 3)]
            params += [nn.Parameter(gs.zeros(5, dtype="float64", device=device))]
            for i, p in enumerate(params):
                p.grad = rand(*p.shape, seed=i, dtype=p.dtype).to(device)
                if i == 1 and bad:
                    p.grad[1] = bad
            totals.append(nn.utils.clip_grad_norm_(params, 2.0, power))
            grads.append([p.grad for p in params])
        same(totals[1], totals[0], 1e-6)
        for here, there in zip(*grads, strict=True):
            same(there, here, 1e-6, 1e-9)
