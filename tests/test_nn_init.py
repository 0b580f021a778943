"""Initial values: their distributions, and what is refused."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn import functional as F
from gradsmith.nn import init


def test_initial_values():
    gs.manual_seed(0)
    layer = nn.Linear(100, 200)
    assert 0.09 < np.abs(layer.weight.detach().numpy()).max() <= 0.1
    assert 0.09 < np.abs(layer.bias.detach().numpy()).max() <= 0.1
    w = gs.empty(300, 400)
    checks = [
        (init.xavier_uniform_, math.sqrt(2 / 700)),
        (init.xavier_normal_, math.sqrt(2 / 700)),
        (init.kaiming_uniform_, math.sqrt(2 / 400)),
        (
            lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
            math.sqrt(2 / 300),
        ),
        (init.lecun_uniform_, math.sqrt(1 / 400)),
        (init.lecun_normal_, math.sqrt(1 / 400)),
        (lambda t: init.normal_(t, 1.0, 0.5), 0.5),
        (lambda t: init.trunc_normal_(t, 0.0, 1.0, -2.0, 2.0), 0.8796),
        (lambda t: init.trunc_normal_(t, 0.0, 1.0, 3.0, 4.0), 0.2223),
    ]
    for fill, deviation in checks:
        assert fill(w) is w
        assert w.numpy().std() == pytest.approx(deviation, rel=0.02)
    assert w.numpy().min() >= 3 and w.numpy().max() <= 4
    for shape in ((20, 30), (30, 20), (8, 2, 3)):
        q = init.orthogonal_(gs.empty(*shape)).numpy().reshape(shape[0], -1)
        gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)
    assert (init.eye_(gs.empty(2, 3)).numpy() == np.eye(2, 3)).all()
    image = gs.rand(1, 4, 5, 5)
    same = F.conv2d(image, init.dirac_(gs.empty(4, 2, 3, 3), groups=2), None, 1, 1, 1, 2)
    np.testing.assert_allclose(same.numpy(), image.numpy(), rtol=1e-6)
    zeros = (init.sparse_(gs.empty(10, 6), 0.3).numpy() == 0).sum(0)
    assert (zeros == 3).all()
    for bad in (lambda: init.fans(gs.empty(3)), lambda: init.trunc_normal_(w, a=1.0, b=0.0)):
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        init.calculate_gain("cube")


@pytest.mark.parametrize(
    ("a", "b", "mean"),
    [
        (5.0, math.inf, 5.1865),
        (-math.inf, -5.0, -5.1865),
        (1e6, 1e9, 1e6),
        (-math.inf, math.inf, 0),
    ],
)
def test_normal_draws_from_a_tail(a, b, mean):
    gs.manual_seed(1)
    w = init.trunc_normal_(gs.empty(20_000, dtype=gs.float64), a=a, b=b).numpy()
    assert w.min() >= a and w.max() <= b and w.mean() == pytest.approx(mean, rel=1e-3, abs=0.02)


@pytest.mark.parametrize(
    ("fill", "text"),
    [
        (lambda t: init.trunc_normal_(t, math.nan), "trunc_normal_: mean must be finite, got nan"),
        (lambda t: init.trunc_normal_(t, std="x"), "trunc_normal_: std must be a number"),
        (lambda t: init.trunc_normal_(t, b=None), "trunc_normal_: b must be a number"),
        (lambda t: init.trunc_normal_(t, 0.0, 1e-300, 1e300, 2e300), "too far from mean"),
        (lambda t: init.xavier_uniform_(t, math.inf), "gain must be finite"),
        (lambda t: init.kaiming_normal_(t, "x"), "param must be a number, got str"),
        (lambda t: init.orthogonal_(t, None), "orthogonal_: gain must be a number"),
        (lambda t: init.sparse_(t, "x"), "sparse_: sparsity must be a number"),
        (lambda t: init.dirac_(t, 0), "dirac_: needs a convolution weight"),
        *[
            (lambda t, name=name: getattr(init, name)("text"), f"{name}: tensor must be a Tensor")
            for name in init.__all__
            if name.endswith("_") and name not in ("constant_", "sparse_")
        ],
    ],
)
def test_initial_values_that_are_refused(fill, text):
    with pytest.raises((TypeError, ValueError), match=text):
        fill(gs.empty(4, 4))


@pytest.mark.parametrize("name", [
    "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "normal_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
])  # fmt: skip
def test_a_generator_of_its_own(name):
    options = {"sparsity": 0.5} if name == "sparse_" else {}

    def draw(generator):
        return getattr(init, name)(gs.empty(6, 5), generator=generator, **options).tolist()

    gs.manual_seed(3)
    before = gs.get_rng_state()
    assert draw(7) == draw(7) != draw(8)
    numpy_rng, again = np.random.default_rng(0), np.random.default_rng(0)
    first, second = draw(numpy_rng), draw(numpy_rng)
    assert first == draw(again) and first != second == draw(again)
    assert gs.get_rng_state() == before
    draw(None)
    assert gs.get_rng_state() != before
    with pytest.raises(TypeError, match="init: generator must be an int or a numpy"):
        draw("x")


@pytest.mark.torch
def test_gains_beside_torch():
    torch = pytest.importorskip("torch")
    names = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    names += [f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3)]
    for name in names:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
