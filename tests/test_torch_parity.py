"""Every op beside torch's, where torch is installed: values and gradients."""

import operator

import gradsmith as gs
import numpy as np
import pytest
from op_cases import CASES, map_arrays

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning")]

COMPARED = [c for c in CASES if c.torch is not None]


def torch_function(case):
    """The op of the same name in torch, or what the case says."""
    if callable(case.torch):
        return case.torch
    if case.fn is not None and case.name.endswith("_"):
        return lambda x, *args, **kwargs: getattr(x.clone(), case.name)(*args, **kwargs)
    if case.fn is not None:
        return case.fn
    name = {"same": case.name, "nn": case.name, "Tensor": case.name}.get(case.torch, case.torch)
    order = [torch, torch.nn.functional, torch.Tensor]
    if case.torch == "nn":
        order = [torch.nn.functional, torch]
    elif case.torch == "Tensor":
        order = [torch.Tensor]
    for module in order:
        if hasattr(module, name):
            return getattr(module, name)
    raise AssertionError(f"torch has no {name}; set torch= in the case")


def flat(value):
    return [v for v in value if v is not None] if isinstance(value, tuple | list) else [value]


def run(make, function, sample, dtype, differentiate):
    leaves = []

    def tensor(a):
        a = a.astype(dtype) if a.dtype.kind == "f" else a
        t = make(np.ascontiguousarray(a).reshape(a.shape))
        if a.dtype.kind == "f" and differentiate:
            t.requires_grad_()
            leaves.append(t)
        return t

    y = function(*map_arrays(sample.args, tensor), **map_arrays(sample.kwargs, tensor))
    outputs = flat(y)
    if differentiate:
        total = sum((v * v).sum() + v.sum() for v in outputs if v.requires_grad)
        if not isinstance(total, int):
            total.backward()
    values = [v.detach().numpy() for v in outputs]
    return values, [None if x.grad is None else x.grad.numpy() for x in leaves]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", COMPARED, ids=str)
def test_op(case, dtype):
    ours_fn, theirs_fn = case.op, torch_function(case)
    double = dtype == "float64"
    bounds = {"rtol": 1e-10, "atol": 1e-12} if double else {
        "rtol": max(20 * case.rtol, 1e-5), "atol": max(20 * case.atol, 1e-5)}  # fmt: skip
    compared = 0
    for sample in case.draw():
        differentiate = case.grad and case.torch_grad and sample.grad and sample.size > 0
        if any(isinstance(a, list) and not a for a in sample.args):
            continue
        try:
            theirs = run(torch.from_numpy, theirs_fn, sample, dtype, differentiate)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
            continue  # torch is stricter here
        ours = run(gs.from_numpy, ours_fn, sample, dtype, differentiate)
        compared += 1
        assert len(ours[0]) == len(theirs[0])
        for mine, other in zip(ours[0], theirs[0], strict=True):
            assert mine.dtype == other.dtype and mine.shape == other.shape
            np.testing.assert_allclose(mine, other, **bounds)
        for mine, other in zip(ours[1], theirs[1], strict=True):
            if mine is None or other is None:
                assert (mine is None or not mine.any()) and (other is None or not other.any())
                continue
            np.testing.assert_allclose(mine, other, **bounds)
    assert compared > 0, "torch took none of the samples"


NORMS = [
    ("layer_norm", (3, 4, 5), lambda m, x, w, b: m.layer_norm(x, (5,), w, b)),
    ("layer_norm without", (3, 4, 5), lambda m, x, w, b: m.layer_norm(x, (4, 5))),
    ("rms_norm", (3, 4, 5), lambda m, x, w, b: m.rms_norm(x, (5,), w)),
    ("group_norm", (3, 5, 4), lambda m, x, w, b: m.group_norm(x, 5, w, b)),
    ("batch_norm", (3, 5, 4), lambda m, x, w, b: m.batch_norm(x, None, None, w, b, True)),
]


@pytest.mark.parametrize(("name", "shape", "call"), NORMS, ids=[n[0] for n in NORMS])
def test_norms(name, shape, call):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape), rng.normal(size=5), rng.normal(size=5)]
    mine = [gs.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]

    y, z = call(gs._core, *mine), call(torch.nn.functional, *other)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    (y * y * y).sum().backward()
    (z * z * z).sum().backward()
    for a, b in zip(mine, other, strict=True):
        if b.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-10)


PROMOTED = ["bool", "uint8", "int32", "int64", "bfloat16", "float16", "float32", "float64"]


@pytest.mark.parametrize("a", PROMOTED)
@pytest.mark.parametrize("b", [*PROMOTED, True, 2, 2.5])
def test_promotion(a, b):
    def result(module, op):
        x = module.ones(2, dtype=getattr(module, a) if module is torch else a)
        if isinstance(b, str):
            y = module.ones(2, dtype=getattr(module, b) if module is torch else b)
        else:
            y = b
        return str(op(x, y).dtype).split(".")[-1]

    for op in (lambda x, y: x + y, lambda x, y: y * x, lambda x, y: x / y, lambda x, y: x < y):
        assert result(gs, op) == result(torch, op)


@pytest.mark.parametrize("dtype", PROMOTED)
@pytest.mark.parametrize("number", [True, 2, -2, 2.5])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_promotion_beside_numbers(dtype, number, shape):
    def results(module, op, swapped):
        x = module.ones(shape).to(getattr(module, dtype)) * 3
        y = op(number, x) if swapped else op(x, number)
        return str(y.dtype).split(".")[-1], y.double().tolist()

    for op in (operator.add, operator.mul, operator.floordiv, operator.mod, operator.pow):
        for swapped in (False, True):
            try:
                want = results(torch, op, swapped)
            except RuntimeError:  # integers to negative powers
                with pytest.raises(ValueError, match="negative powers"):
                    results(gs, op, swapped)
                continue
            assert results(gs, op, swapped) == want, (op, swapped)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 64, 5), (17, 300, 33), (64, 784, 128)])
def test_products_of_bfloat16(m, k, n):
    """Torch's bfloat16 within one unit in the last place: both round a float32 sum."""
    rng = np.random.default_rng(m)
    a, w, bias = (rng.standard_normal(s, np.float32) for s in ((m, k), (n, k), (n,)))
    ours = [gs.tensor(v).to(gs.bfloat16).requires_grad_() for v in (a, w, bias)]
    theirs = [torch.tensor(v).to(torch.bfloat16).requires_grad_() for v in (a, w, bias)]
    y, want = gs.nn.functional.linear(*ours), torch.nn.functional.linear(*theirs)
    y.float().sum().backward()
    want.float().sum().backward()
    scale = np.abs(a) @ np.abs(w.T) + np.abs(bias)
    pairs = [(y, want, scale)] + [
        (p.grad, q.grad, np.abs(q.grad.float().numpy()) + 1e-2 * np.sqrt(k + m + n))
        for p, q in zip(ours, theirs, strict=True)
    ]
    for got, value, size in pairs:
        error = got.detach().float().numpy() - value.detach().float().numpy()
        assert np.all(np.abs(error) <= 2.0**-7 * size)


def test_autocast_is_near_that_of_torch():
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal(s, np.float32) for s in ((40, 500), (500, 30)))
    with gs.autocast("cpu", dtype=gs.bfloat16):
        y = gs.tensor(a) @ gs.tensor(b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        want = torch.tensor(a) @ torch.tensor(b)
    error = np.abs(y.numpy() - want.float().numpy())
    assert np.all(error <= 2.0**-8 * np.abs(y.numpy()) + 600 * 2.0**-24 * (np.abs(a) @ np.abs(b)))
