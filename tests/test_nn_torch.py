"""Every layer and loss beside torch's, where torch is installed: names, outputs, gradients."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape)


LAYERS = [
    ("Linear", (5, 3), {}, (4, 5)),
    ("Linear", (5, 3), {"bias": False}, (2, 4, 5)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv1d", (2, 3, 3), {"dilation": 2, "bias": False}, (2, 2, 9)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 7)),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2}, (2, 4, 7, 6)),
    ("Conv2d", (4, 8, 3), {"padding": 2, "dilation": 2, "groups": 4}, (1, 4, 7, 7)),
    ("Conv2d", (2, 2, 5), {"padding": "same", "bias": False}, (1, 2, 6, 6)),
    ("Conv2d", (2, 2, (4, 2)), {"padding": "same"}, (1, 2, 6, 6)),
    ("Conv1d", (2, 2, 4), {"padding": "same", "dilation": 3}, (1, 2, 14)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 6)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8, 7)),
    ("MaxPool2d", (2,), {"dilation": 2, "stride": 1}, (1, 2, 6, 6)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 6)),
    ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, (2, 3, 7, 8)),
    ("AvgPool2d", (3, 2, 1), {"ceil_mode": True}, (2, 3, 8, 8)),
    ("AvgPool2d", (3, 2, 1), {"divisor_override": -2}, (2, 3, 7, 8)),
    ("AvgPool3d", (2,), {"divisor_override": -3}, (2, 3, 4, 4, 4)),
    ("AvgPool3d", (2,), {"divisor_override": 5}, (2, 3, 4, 4, 4)),
    ("AdaptiveAvgPool2d", ((2, 3),), {}, (2, 3, 7, 8)),
    ("AdaptiveAvgPool2d", ((None, 1),), {}, (2, 3, 7, 8)),
    ("AdaptiveMaxPool2d", (3,), {}, (2, 3, 7, 8)),
    ("BatchNorm1d", (3,), {}, (5, 3)),
    ("BatchNorm1d", (3,), {"affine": False, "momentum": None}, (5, 3, 4)),
    ("BatchNorm2d", (3,), {"momentum": 0.3, "eps": 1e-3}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (4, 3, 2, 5)),
    ("LayerNorm", (6,), {}, (3, 6)),
    ("LayerNorm", ((4, 6),), {"bias": False}, (3, 4, 6)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (3, 6)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4, 2)),
    ("GroupNorm", (3, 6), {"affine": False}, (3, 6)),
    ("RMSNorm", (6,), {}, (3, 6)),
    ("RMSNorm", ((4, 6),), {"eps": 1e-4}, (3, 4, 6)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, -1)), {}, (3, 6)),
    ("Identity", (7,), {"any": 1}, (2, 3)),
    ("ReLU", (), {}, (50,)),
    ("LeakyReLU", (0.2,), {}, (50,)),
    ("ELU", (0.7,), {}, (50,)),
    ("GELU", (), {}, (50,)),
    ("GELU", ("tanh",), {}, (50,)),
    ("SiLU", (), {}, (50,)),
    ("Softplus", (2.0, 1.5), {}, (50,)),
    ("Softplus", (-2.0, 1.5), {}, (50,)),
    ("Sigmoid", (), {}, (50,)),
    ("Tanh", (), {}, (50,)),
    ("Hardtanh", (-0.5, 0.8), {}, (50,)),
    ("ReLU6", (), {}, (50,)),
    ("Hardsigmoid", (), {}, (50,)),
    ("Hardswish", (), {}, (50,)),
    ("Mish", (), {}, (50,)),
    ("LogSigmoid", (), {}, (50,)),
    ("Softmax", (1,), {}, (4, 6)),
    ("Softmax", (0,), {}, (4, 6, 2)),
    ("LogSoftmax", (-1,), {}, (4, 6)),
    ("Softmax", (), {}, (4, 6)),
    ("LogSoftmax", (), {}, (2, 4, 6)),
    ("Softmin", (), {}, (2, 4, 3, 2)),
    ("Softmin", (), {}, (5,)),
    ("Dropout", (0.0,), {}, (4, 6)),
]


def pair(name, args, kwargs):
    """The gradsmith layer and torch's, with the same parameters, in float64."""
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(nn, name)(*args, **kwargs).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if hasattr(theirs, "weight") and theirs.weight is not None and name.endswith("Norm2d"):
        with torch.no_grad():
            theirs.weight.copy_(torch.from_numpy(floats(*theirs.weight.shape)))
    state = {k: gs.from_numpy(v.detach().numpy().copy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    return ours, theirs


def check(ours, theirs, gs_inputs, torch_inputs, gs_out, torch_out):
    """Outputs, and the gradients of a random weighting of them, agree."""
    # torch's gradient of hardsigmoid holds 1 / 6 in float32, also for float64.
    rtol = 1e-7 if type(ours) is nn.Hardsigmoid else 1e-8
    np.testing.assert_allclose(
        gs_out.detach().numpy(), torch_out.detach().numpy(), rtol=1e-9, atol=1e-11
    )
    weighting = floats(*torch_out.shape)
    (gs_out * gs.from_numpy(weighting)).sum().backward()
    (torch_out * torch.from_numpy(weighting)).sum().backward()
    pairs = list(zip(gs_inputs, torch_inputs, strict=True))
    pairs += list(zip(ours.parameters(), theirs.parameters(), strict=True))
    for mine, other in pairs:
        if other.requires_grad:
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=rtol, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same'", "ignore:Implicit dimension choice")
@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_layer(name, args, kwargs, shape):
    ours, theirs = pair(name, args, kwargs)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        ours.zero_grad()
        theirs.zero_grad()
        x = floats(*shape)
        a = gs.tensor(x, requires_grad=True)
        b = torch.tensor(x, requires_grad=True)
        check(ours, theirs, [a], [b], ours(a), theirs(b))
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(
                ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "softshrink"]
)
def test_slopes_where_pieces_meet(name, dtype):
    at = np.array([-6, -3, -1, -0.5, 0, 0.5, 1, 3, 6] * 9, dtype)
    b = torch.tensor(at, requires_grad=True)
    getattr(torch.nn.functional, name)(b).sum().backward()
    for recorded in (False, True):  # by a kernel, and by ops that can be differentiated again
        a = gs.tensor(at, requires_grad=True)
        y = getattr(nn.functional, name)(a).sum()
        (slope,) = gs.autograd.grad(y, [a], create_graph=recorded)
        np.testing.assert_allclose(slope.detach().numpy(), b.grad.numpy(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_functions_along_an_axis(name):
    ours, theirs = getattr(nn.functional, name), getattr(torch.nn.functional, name)
    for shape in ((), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)):
        x = floats(*shape)
        found, wanted = ours(gs.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-12)
    x = RNG.integers(-3, 3, (2, 3))
    for given in ({}, {"dim": 0}, {"dim": -1}):
        found = ours(gs.tensor(x), **given, dtype=gs.float64)
        wanted = theirs(torch.tensor(x), **given, dtype=torch.float64)
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-12)
        assert found.dtype is gs.float64


def test_divergence_of_negative_targets_and_scalars():
    x, y = np.array([0.1, 0.3, 0.4]), np.array([-0.5, 0.2, 0.0])
    a, b = gs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours = nn.KLDivLoss(reduction="none")(a, gs.tensor(y))
    theirs = torch.nn.KLDivLoss(reduction="none")(b, torch.tensor(y))
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    ours.sum().backward()
    theirs.sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
    for reduction in ("batchmean", "sum"):
        ours = nn.functional.kl_div(gs.tensor(0.3), gs.tensor(0.2), reduction)
        theirs = torch.nn.functional.kl_div(
            torch.tensor(0.3), torch.tensor(0.2), reduction=reduction
        )
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "LSTM", "LSTMCell", "Embedding"])
def test_initial_distribution(name):
    args = {"Conv2d": (20, 30, 5), "LSTM": (30, 40)}.get(name, (300, 200))
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        a, b = mine.detach().numpy(), other.detach().numpy()
        assert a.shape == b.shape
        if a.size > 1000:
            assert a.std() == pytest.approx(b.std(), rel=0.1)
            assert abs(a.mean()) < 0.1 * b.std()


@pytest.mark.parametrize(
    ("name", "args"), [("MaxPool2d", (3, 2, 1)), ("AdaptiveMaxPool2d", ((2, 3),))]
)
def test_pool_indices(name, args):
    x = floats(2, 3, 7, 8)
    ours = getattr(nn, name)(*args, return_indices=True)(gs.tensor(x))
    theirs = getattr(torch.nn, name)(*args, return_indices=True)(torch.tensor(x))
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.numpy() == other.numpy()).all()


def test_embedding_and_bilinear():
    ours, theirs = pair("Embedding", (7, 4), {"padding_idx": 2})
    index = np.array([[0, 2, 6], [6, 6, 1]])
    check(ours, theirs, [], [], ours(gs.tensor(index)), theirs(torch.tensor(index)))
    ours, theirs = pair("Bilinear", (3, 4, 5), {})
    arrays = floats(2, 6, 3), floats(2, 6, 4)
    a = [gs.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    check(ours, theirs, a, b, ours(*a), theirs(*b))


PROBABILITIES = 1 / (1 + np.exp(-floats(4, 5)))
CLASSES = np.array([0, 4, -100, 2])
LOSSES = [
    ("MSELoss", {}, floats(4, 5), floats(4, 5)),
    ("L1Loss", {}, floats(4, 5), floats(4, 5)),
    ("SmoothL1Loss", {"beta": 0.7}, floats(4, 5), floats(4, 5)),
    ("HuberLoss", {"delta": 0.7}, floats(4, 5), floats(4, 5)),
    ("BCELoss", {}, PROBABILITIES, PROBABILITIES[::-1].copy()),
    ("BCEWithLogitsLoss", {}, floats(4, 5), PROBABILITIES),
    ("BCEWithLogitsLoss", {"pos_weight": [1.0, 2, 3, 4, 5]}, floats(4, 5), PROBABILITIES),
    ("KLDivLoss", {}, np.log(PROBABILITIES), PROBABILITIES[::-1].copy()),
    ("KLDivLoss", {"log_target": True}, np.log(PROBABILITIES), np.log(PROBABILITIES[::-1])),
    ("NLLLoss", {"weight": [1.0, 2, 3, 4, 5]}, floats(4, 5), CLASSES),
    ("CrossEntropyLoss", {}, floats(4, 5), CLASSES),
    ("CrossEntropyLoss", {"weight": [1.0, 2, 3, 4, 5]}, floats(4, 5), CLASSES),
    (
        "CrossEntropyLoss",
        {"label_smoothing": 0.2, "ignore_index": 4},
        floats(4, 5),
        abs(CLASSES) % 5,
    ),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, floats(4, 5), PROBABILITIES),
    ("CrossEntropyLoss", {}, floats(2, 5, 3), np.array([[0, 1, 2], [4, 3, -100]])),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "kwargs", "x", "y"), LOSSES)
def test_loss(name, kwargs, x, y, reduction):
    def build(module, tensor):
        options = {k: tensor(v) if isinstance(v, list) else v for k, v in kwargs.items()}
        return getattr(module, name)(reduction=reduction, **options)

    if name == "KLDivLoss" and reduction == "mean":
        reduction = "batchmean"  # torch warns about "mean"
    ours = build(nn, lambda v: gs.tensor(v, dtype=gs.float64))
    theirs = build(torch.nn, lambda v: torch.tensor(v, dtype=torch.float64))
    a, b = gs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    check(ours, theirs, [a], [b], ours(a, gs.tensor(y)), theirs(b, torch.tensor(y)))
