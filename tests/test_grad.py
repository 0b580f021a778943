"""First and second derivatives of every differentiable op against finite differences."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.autograd import gradcheck, gradgradcheck
from op_cases import CASES, map_arrays

MOST = 48  # elements of a sample; larger ones only cost time


def leaves_and_function(case, sample):
    """The floating arrays as contiguous float64 leaves, and a function of exactly those."""
    leaves = []

    def collect(a):
        if a.dtype.kind != "f":
            return gs.from_numpy(a)
        leaves.append(gs.tensor(a, dtype=gs.float64, requires_grad=True))
        return len(leaves) - 1

    class Place(int):
        """Stands for a leaf, so that no other number is mistaken for one."""

    def mark(a):
        found = collect(a)
        return Place(found) if isinstance(found, int) else found

    args, kwargs = map_arrays(sample.args, mark), map_arrays(sample.kwargs, mark)

    def fill(value, given):
        if isinstance(value, Place):
            return given[value]
        if isinstance(value, list | tuple):
            return type(value)(fill(v, given) for v in value)
        return value

    def function(*given):
        return case.op(*fill(args, given), **{k: fill(v, given) for k, v in kwargs.items()})

    return leaves, function


def smooth(case):
    return [s for s in case.draw() if s.grad and s.size <= MOST]


@pytest.mark.parametrize("case", [c for c in CASES if c.grad], ids=str)
def test_gradient(case):
    checked = 0
    for i, sample in enumerate(smooth(case)):
        leaves, function = leaves_and_function(case, sample)
        try:
            gradcheck(function, leaves, atol=2e-6, rtol=1e-5)
        except (AssertionError, RuntimeError, ValueError) as e:
            raise AssertionError(f"sample {i}: {e}") from e
        checked += sample.size > 0
    assert checked > 0


@pytest.mark.parametrize("case", [c for c in CASES if c.grad and c.gradgrad], ids=str)
def test_second_gradient(case):
    checked = 0
    for i, sample in enumerate(smooth(case)):
        leaves, function = leaves_and_function(case, sample)
        try:
            gradgradcheck(function, leaves, atol=2e-5, rtol=1e-4)
        except (AssertionError, RuntimeError, ValueError) as e:
            raise AssertionError(f"sample {i}: {e}") from e
        checked += sample.size > 0
    assert checked > 0


@pytest.mark.parametrize("case", [c for c in CASES if c.grad], ids=str)
def test_gradient_of_a_view(case):
    """Non-contiguous inputs and gradients give what contiguous ones give."""
    sample = next(s for s in smooth(case) if s.size > 0)
    if not sample.layouts:
        return
    results = []
    for strided in (False, True):
        leaves, function = leaves_and_function(case, sample)
        given = [_strided(x) if strided else x for x in leaves]
        outputs = function(*given)
        outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
        total = gs.zeros((), dtype=gs.float64)
        for y in outputs:
            if not y.requires_grad:
                continue
            seed = gs.from_numpy(np.random.default_rng(0).normal(size=y.shape))
            y = _strided(y) if strided else y
            total = total + (y * seed).sum()
        total.backward()
        results.append([x.grad.numpy() for x in leaves])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def _strided(x):
    """The same values, through memory with gaps and in reverse."""
    if x.dim() == 0:
        return gs.stack([x, x])[1]
    return gs.flip(gs.stack([gs.flip(x, (0,))] * 2, -1), (0,))[..., 1]


def test_ties_share_the_gradient():
    x = gs.tensor([1.0, 3.0, 3.0], requires_grad=True)
    gs.amax(x).backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    a = gs.tensor([1.0, 2.0], requires_grad=True)
    b = gs.tensor([1.0, 3.0], requires_grad=True)
    gs.maximum(a, b).sum().backward()
    assert a.grad.tolist() == [0.5, 0.0]
    assert b.grad.tolist() == [0.5, 1.0]


def test_bounded_activations_are_flat_at_their_bounds():
    x = gs.tensor([0.0, 3.0, 6.0], requires_grad=True)
    gs.nn.functional.relu6(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_binary_cross_entropy_at_certainty():
    """A sigmoid of 40 is 1 in float32; its loss must still have a gradient."""
    x = gs.tensor([40.0, -3.0], requires_grad=True)
    gs.nn.BCELoss()(x.sigmoid(), gs.tensor([1.0, 0.0])).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 0.5 / (1 + np.exp(3))], rtol=1e-6)
    p = gs.tensor([0.0, 1.0], requires_grad=True)
    gs.nn.functional.binary_cross_entropy(p, gs.tensor([1.0, 0.0])).backward()
    np.testing.assert_allclose(p.grad.numpy(), [-5e11, 5e11], rtol=1e-6)


def test_gradients_at_kinks_are_finite():
    for name in (
        "relu",
        "abs",
        "hardswish",
        "hardsigmoid",
        "leaky_relu",
        "elu",
        "selu",
        "hardtanh",
    ):
        x = gs.tensor([0.0, -3.0, 3.0, 1.0, -1.0], requires_grad=True)
        getattr(gs, name)(x).sum().backward()
        assert np.isfinite(x.grad.numpy()).all(), name
    x = gs.tensor([[0.0, 0.0], [0.0, 1.0]], requires_grad=True)
    gs.norm(x, dim=1).sum().backward()
    gs.std(x, dim=0).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [(gs.norm, [0.0], [0.0]), (gs.std, [1.0, 1.0, 1.0], [2.0, 2.0, 2.0])],
)
def test_second_order_at_zero(op, values, expected):
    x = gs.tensor(values, dtype=gs.float64, requires_grad=True)
    (g,) = gs.autograd.grad(op(x), x, create_graph=True)
    (h,) = gs.autograd.grad((g * g + x * x).sum(), x)
    assert h.tolist() == expected
