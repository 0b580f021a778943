"""Modules: registration, state, containers, checks, initial values, summary."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn import functional as F
from gradsmith.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
        self.head = nn.Linear(3, 2)
        self.register_buffer("scale", gs.ones(2))
        self.register_buffer("scratch", gs.zeros(5), persistent=False)

    def forward(self, x):
        return self.head(self.body(x)) * self.scale


NAMES = [
    "scale",
    "body.0.weight",
    "body.0.bias",
    "body.1.weight",
    "body.1.bias",
    "body.1.running_mean",
    "body.1.running_var",
    "body.1.num_batches_tracked",
    "head.weight",
    "head.bias",
]


def values(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def test_registration_and_names():
    net = Net()
    assert list(net.state_dict()) == NAMES
    assert [n for n, _ in net.named_parameters()] == [
        n for n in NAMES if "running" not in n and "num_" not in n and n != "scale"
    ]
    assert [n for n, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2", "head"]
    assert [n for n, _ in net.named_children()] == ["body", "head"]
    assert net.get_submodule("body.1") is net.body[1]
    with pytest.raises(AttributeError, match=r"no sub-module 'x'.*body\.x"):
        net.get_submodule("body.x")
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())
    assert "head" in dir(net)


def test_attribute_rules():
    net = Net()
    with pytest.raises(TypeError, match="holds a Module; cannot assign a int"):
        net.head = 3
    with pytest.raises(TypeError, match="holds a Tensor"):
        net.scale = "x"
    net.scale = gs.zeros(2)
    assert net(gs.ones(2, 4)).detach().numpy().sum() == 0
    net.head = nn.Identity()
    assert "head.weight" not in net.state_dict()
    del net.head
    with pytest.raises(AttributeError, match="no attribute 'head'"):
        _ = net.head
    with pytest.raises(KeyError, match=r"without dots"):
        net.register_buffer("a.b", None)
    with pytest.raises(KeyError, match="already has an attribute 'forward'"):
        net.register_parameter("forward", None)
    with pytest.raises(TypeError, match="must be a Parameter"):
        net.register_parameter("p", gs.ones(1))

    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) before assigning 'layer'"):
        Early()


def test_parameter_shares_memory_and_is_a_leaf():
    data = gs.zeros(3)
    param = nn.Parameter(data)
    data.fill_(2)
    assert param.detach().numpy().tolist() == [2, 2, 2]
    assert param.is_leaf and param.requires_grad and isinstance(param, gs.Tensor)
    (param * param).sum().backward()
    assert param.grad.numpy().tolist() == [4, 4, 4]
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert repr(param).startswith("Parameter containing")
    with pytest.raises(TypeError, match="data must be a Tensor, got list"):
        nn.Parameter([1.0])


def test_load_state_dict_checks_first_and_reports():
    net, other = Net(), Net()
    report = net.load_state_dict(other.state_dict())
    assert report.missing_keys == [] and report.unexpected_keys == []
    for name, value in values(other).items():
        assert (values(net)[name] == value).all()

    before = values(net)
    bad = Net().state_dict()
    bad["head.bias"] = gs.zeros(7)
    with pytest.raises(
        ValueError, match=r"'head.bias' has shape \(7,\), the module expects \(2,\)"
    ):
        net.load_state_dict(bad)
    assert all((values(net)[name] == value).all() for name, value in before.items())

    partial = {"head.bias": gs.ones(2), "extra": gs.ones(1)}
    with pytest.raises(ValueError, match=r"missing .*'scale'.* unexpected \['extra'\]"):
        net.load_state_dict(partial)
    report = net.load_state_dict(partial, strict=False)
    assert report.unexpected_keys == ["extra"] and len(report.missing_keys) == len(NAMES) - 2
    assert net.head.bias.detach().numpy().tolist() == [1, 1]
    with pytest.raises(TypeError, match="must be a mapping, got list"):
        net.load_state_dict([])
    with pytest.raises(TypeError, match=r"'head.bias' must be a Tensor"):
        net.load_state_dict({"head.bias": np.ones(2)}, strict=False)


def test_load_state_dict_converts_dtype():
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": gs.ones(2, 2, dtype=gs.float64), "bias": gs.ones(2)})
    assert net.weight.dtype == gs.float32 and net.weight.detach().numpy().sum() == 4


def test_modes_apply_freeze_and_zero_grad():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(TypeError, match="mode must be a bool"):
        net.train("yes")
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "BatchNorm1d", "ReLU", "Sequential", "Linear", "Net"]
    net(gs.rand(4, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(p.grad.numpy().sum() == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(gs.rand(4, 4)).requires_grad


def test_to_converts_floats_only_and_keeps_ties():
    net = Net()
    net.tied = net.head
    net.double()
    assert net.tied is net.head and net.head.weight.dtype == gs.float64
    assert net.body[1].running_var.dtype == gs.float64
    assert net.body[1].num_batches_tracked.dtype == gs.int64
    weight = net.head.weight
    assert net.to("cpu").head.weight is weight
    assert net(gs.ones(2, 4, dtype=gs.float64)).dtype == gs.float64
    with pytest.raises(TypeError, match="must be floating"):
        net.to(gs.int64)
    with pytest.raises(TypeError, match="expected a dtype or a device"):
        net.to(3)


def test_repr_is_a_tree():
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    text = repr(Net())
    assert text.splitlines()[0] == "Net(" and "    (0): Linear(in_features=4" in text


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.GELU(), nn.GELU("tanh")],
    ids=lambda m: repr(m),
)
@pytest.mark.parametrize("tracked", [True, False])
def test_sequential_runs_a_layer_and_its_activation_as_one(activation, tracked):
    gs.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3), nn.Linear(4, 5)
    inputs = gs.randn(2, 2, 6, 6), gs.randn(7, 4)
    for layer, x in zip(layers, inputs, strict=True):
        with gs.set_grad_enabled(tracked):
            y = nn.Sequential(layer, activation)(x)
            z = activation(layer(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=2e-6, atol=1e-6)
        if tracked:
            found = gs.autograd.grad((y * y).sum(), [*layer.parameters()])
            wanted = gs.autograd.grad((z * z).sum(), [*layer.parameters()])
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_sequential_fuses_nothing_that_somebody_watches():
    seen = []

    class Doubled(nn.ReLU):
        def forward(self, input):
            return 2 * super().forward(input)

    class Shifted(nn.Linear):
        def forward(self, input):
            return super().forward(input) + 1

    x = gs.randn(3, 4)
    linear, relu = nn.Linear(4, 4), nn.ReLU()
    with gs.no_grad():
        wanted = linear(relu(relu(linear(x)))).numpy()
        np.testing.assert_allclose(nn.Sequential(linear, relu, relu, linear)(x).numpy(), wanted)
        np.testing.assert_array_equal(
            nn.Sequential(linear, Doubled())(x).numpy(), 2 * relu(linear(x)).numpy()
        )
        np.testing.assert_array_equal(
            nn.Sequential(shifted := Shifted(4, 4), relu)(x).numpy(), relu(shifted(x)).numpy()
        )
        with linear.register_forward_hook(lambda *_: seen.append("linear")):
            nn.Sequential(linear, relu)(x)
        with relu.register_forward_pre_hook(lambda *_: seen.append("relu")):
            nn.Sequential(linear, relu)(x)
        assert seen == ["linear", "relu"]
        assert (nn.Sequential(linear)(x).numpy() == linear(x).numpy()).all()


def test_sequential():
    layers = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3 and list(net) == layers and net[-1] is layers[2]
    assert list(net[1:].state_dict()) == ["2.weight", "2.bias"] and net[1:][0] is layers[1]
    net.append(nn.Sigmoid()).insert(1, nn.Tanh())
    assert [type(m).__name__ for m in net] == ["Linear", "Tanh", "ReLU", "Linear", "Sigmoid"]
    del net[1]
    net[0] = nn.Identity()
    assert net(gs.ones(1, 2)).shape == (1, 1)
    with pytest.raises(IndexError, match="index 9 out of range for 4"):
        net[9]
    named = nn.Sequential({"a": nn.Linear(1, 1)})
    assert list(named.state_dict()) == ["a.weight", "a.bias"]


def test_module_list_and_dict():
    items = nn.ModuleList([nn.Linear(1, 1)])
    items.extend([nn.ReLU()])
    assert len(items) == 2 and list(items.state_dict()) == ["0.weight", "0.bias"]
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        items(1)
    table = nn.ModuleDict({"a": nn.Linear(1, 1)})
    table["b"] = nn.ReLU()
    assert "b" in table and list(table) == ["a", "b"] and len(table) == 2
    del table["a"]
    assert list(table.keys()) == ["b"]
    with pytest.raises(TypeError, match="must be a Module"):
        table["c"] = 1


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: nn.Linear(-1, 2), ValueError, "in_features must be at least 0, got -1"),
        (lambda: nn.Linear(1.5, 2), TypeError, "in_features must be an int, got float"),
        (lambda: nn.Conv2d(3, 4, 0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError, "stride must be at least 1"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=-1), ValueError, "dilation must be at least 1"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ValueError, "an int or 2 ints"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, r"in_channels \(3\) must be divisible"),
        (lambda: nn.Conv2d(3, 4, 3, padding="all"), ValueError, "one of same, valid"),
        (lambda: nn.Conv2d(3, 4, 3, 2, padding="same"), ValueError, "needs stride 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), ValueError, "padding_mode"),
        (lambda: nn.MaxPool2d(2, stride=0), ValueError, "MaxPool2d: stride"),
        (lambda: nn.Dropout(1.5), ValueError, r"p must lie in \[0, 1\], got 1.5"),
        (lambda: nn.Dropout(float("nan")), ValueError, "got nan"),
        (lambda: nn.GroupNorm(3, 4), ValueError, "must be divisible by num_groups"),
        (lambda: nn.LayerNorm(()), ValueError, "at least one axis"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "padding_idx"),
        (lambda: nn.LSTM(2, 0), ValueError, "hidden_size must be at least 1"),
        (lambda: nn.GELU("fast"), ValueError, "one of none, tanh"),
        (lambda: nn.BatchNorm2d(3, eps=-1), ValueError, "BatchNorm2d: eps must be .* got -1"),
        (lambda: nn.LayerNorm(3, eps=math.nan), ValueError, "LayerNorm: eps must be"),
        (lambda: nn.GroupNorm(1, 3, eps="x"), TypeError, "GroupNorm: eps must be a number"),
        (lambda: nn.RMSNorm(3, eps=-1e-5), ValueError, "RMSNorm: eps must be"),
        (lambda: nn.ReLU(alpha=1), TypeError, "ReLU: got unexpected.*'alpha'"),
        (lambda: nn.Tanh(alpha=1), TypeError, "Tanh: got unexpected.*'alpha'"),
        (lambda: nn.Module(1), TypeError, "Module: got unexpected arguments, 1 positional"),
        (
            lambda: F.conv2d(gs.ones(1, 1, 4, 4), gs.ones(1, 1, 3, 3), stride=2, padding="same"),
            ValueError,
            "conv2d: padding 'same' needs stride 1",
        ),
        (
            lambda: F.conv1d(gs.ones(1, 1, 4), gs.ones(1, 1, 3), padding="all"),
            ValueError,
            "conv1d: padding must be one of same, valid",
        ),
        (
            lambda: F.conv2d(gs.ones(1, 1, 4, 4), gs.ones(1, 1, 3), padding="same"),
            ValueError,
            "conv2d",
        ),
        (lambda: F.adaptive_avg_pool2d(gs.ones(4), (None, 2)), TypeError, "adaptive_avg_pool2d"),
        (lambda: F.embedding([1], gs.ones(2, 2)), TypeError, "embedding: argument 'input'"),
        (lambda: nn.MSELoss("avg"), ValueError, "one of mean, sum, none; got 'avg'"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.1), ValueError, "label_smoothing"),
        (lambda: nn.Hardtanh(1.0, -1.0), ValueError, "must not exceed"),
        (lambda: nn.BatchNorm2d(3)(gs.zeros(2, 3)), ValueError, r"\(N, C, H, W\), got \(2, 3\)"),
        (lambda: nn.LSTM(2, 3)(gs.zeros(4, 1, 5)), ValueError, "5 features, input_size is 2"),
        (
            lambda: nn.LSTM(2, 3)(gs.zeros(4, 1, 2), (gs.zeros(1, 2, 3), gs.zeros(1, 1, 3))),
            ValueError,
            r"h_0 must have shape \(1, 1, 3\), got \(1, 2, 3\)",
        ),
        (lambda: nn.LSTMCell(2, 3)(gs.zeros(4, 5)), ValueError, "LSTMCell: input must have shape"),
    ],
)
def test_bad_arguments(build, error, text):
    with pytest.raises(error, match=text):
        build()


def test_functional_takes_the_forms_of_the_layers():
    x = gs.randn(2, 3, 7, 6)
    for padding in ("same", "valid"):
        conv = nn.Conv2d(3, 4, (4, 3), padding=padding, dilation=(1, 2))
        y = F.conv2d(x, conv.weight, conv.bias, padding=padding, dilation=(1, 2))
        np.testing.assert_array_equal(y.tolist(), conv(x).tolist())
    assert F.conv1d(x[:, :, 0], gs.randn(5, 3, 4), padding="same").shape == (2, 5, 6)
    for size in ((None, 2), (3, None), None, 2):
        average, most = nn.AdaptiveAvgPool2d(size)(x), nn.AdaptiveMaxPool2d(size)(x)
        assert F.adaptive_avg_pool2d(x, size).tolist() == average.tolist()
        assert F.adaptive_max_pool2d(x, size).tolist() == most.tolist()
    assert F.adaptive_avg_pool2d(x, (None, 2)).shape == (2, 3, 7, 2)
    assert F.adaptive_max_pool2d(x, (3, None), True)[1].shape == (2, 3, 3, 6)


@pytest.mark.parametrize("dtype", [gs.int32, gs.uint8])
def test_indices_of_small_integers(dtype):
    wide = gs.tensor([2, 0, 1])
    narrow, scores, table = wide.to(dtype), gs.randn(3, 4), nn.Embedding(3, 2)
    assert table(narrow).tolist() == table(wide).tolist()
    assert F.embedding(narrow, table.weight).tolist() == table(wide).tolist()
    for layer, op in ((nn.CrossEntropyLoss(), F.cross_entropy), (nn.NLLLoss(), F.nll_loss)):
        assert layer(scores, narrow).item() == op(scores, narrow).item() == op(scores, wide).item()
    with pytest.raises(TypeError, match="embedding"):
        table(wide.float())


def test_same_seed_same_values():
    def build():
        gs.manual_seed(3)
        return values(nn.Sequential(nn.Conv2d(2, 3, 3), nn.LSTM(3, 4), nn.Embedding(5, 6)))

    first, second = build(), build()
    assert all((first[name] == second[name]).all() for name in first)


def test_embedding_padding_row():
    layer = nn.Embedding(4, 3, padding_idx=-1)
    assert layer.padding_idx == 3 and layer.weight.detach().numpy()[3].sum() == 0
    layer(gs.tensor([0, 3, 3])).sum().backward()
    assert layer.weight.grad.numpy().sum(1).tolist() == [3, 0, 0, 0]


def test_summary():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    summary = net.summary((2, 1, 4, 4))
    assert summary.parameters == summary.trainable == 40 + 130 and summary.buffers == 0
    conv, relu, dense = 2 * 4 * 16 * (2 * 9 + 1), 2 * 64, 2 * 2 * (2 * 64 + 1)
    assert summary.flops == conv + relu + dense
    assert [row.output_shape for row in summary.rows][1:] == [
        "(2, 4, 4, 4)",
        "(2, 4, 4, 4)",
        "(2, 64)",
        "(2, 2)",
    ]
    assert "170 parameters (170 trainable)" in str(summary) and net.training
    assert [row.output_bytes for row in summary.rows] == [16, 512, 512, 512, 16]
    assert summary.weight_bytes == 4 * 170 and summary.output_bytes == 3 * 512 + 16
    assert str(summary).endswith("memory: 680 B of weights, 1.52 KiB of outputs")
    wide = net.double().summary((2, 1, 4, 4), gs.float64)
    assert (wide.weight_bytes, wide.output_bytes) == (8 * 170, 6 * 512 + 32)
    lstm = nn.LSTM(3, 5, num_layers=2, bidirectional=True).summary((7, 2, 3))
    assert lstm.flops == 14 * 5 * 2 * (8 * 8 + 14 + 8 * 15 + 14)
    assert lstm.rows[0].output_shape == "(7, 2, 10), (4, 2, 5), (4, 2, 5)"
    with pytest.raises(TypeError, match="input_size must be a shape"):
        net.summary("4")


def test_clipping():
    params = [nn.Parameter(gs.zeros(2)), nn.Parameter(gs.zeros(1)), nn.Parameter(gs.zeros(1))]
    params[0].grad, params[1].grad = gs.tensor([3.0, 0.0]), gs.tensor([4.0])
    assert clip_grad_norm_(params, 1.0).item() == pytest.approx(5.0)
    np.testing.assert_allclose(params[0].grad.numpy(), [0.6, 0], rtol=1e-5)
    assert clip_grad_norm_(params, 10.0).item() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(params[1].grad.numpy(), [0.8], rtol=1e-5)
    assert clip_grad_norm_(params, 9.0, math.inf).item() == pytest.approx(0.8, rel=1e-5)
    clip_grad_value_(params, 0.7)
    np.testing.assert_allclose(params[1].grad.numpy(), [0.7], rtol=1e-6)
    assert clip_grad_norm_(params[2], 1.0).item() == 0
    before = params[0].grad.tolist()
    params[1].grad = gs.tensor([math.nan])
    with pytest.raises(ValueError, match="the norm of the tensors is nan"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.tolist() == before
    with pytest.raises(ValueError, match="must not be negative"):
        clip_grad_norm_(params, -1.0)
    with pytest.raises(TypeError, match="clip_grad_norm_: norm_type must be a number, got str"):
        clip_grad_norm_(params, 1.0, "x")
    with pytest.raises(TypeError, match="clip_grad_value_: clip_value must be a number"):
        clip_grad_value_(params, None)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_total_norm(p):
    arrays = [np.arange(6.0).reshape(2, 3) - 2, np.array(1.5), np.array([-7.0])]
    found = get_total_norm([gs.tensor(a) for a in arrays], p)
    joined = np.concatenate([a.reshape(-1) for a in arrays])
    assert found.item() == pytest.approx(np.linalg.norm(joined, p), rel=1e-12)
    assert get_total_norm([]).item() == 0 and get_total_norm(gs.ones(4)).item() == 2


def test_parameter_vector():
    net = nn.Linear(2, 3)
    vector = parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    vector_to_parameters(gs.arange(9).to(gs.float32), net.parameters())
    assert net.bias.detach().numpy().tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match=r"must have shape \(9,\), got \(8,\)"):
        vector_to_parameters(gs.zeros(8), net.parameters())


@pytest.mark.parametrize("make", [nn.ReLU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Hardtanh, nn.Dropout])
def test_inplace_is_taken_and_changes_nothing(make):
    x = gs.tensor([-2.0, 0.5])
    layer = make(inplace=True).eval()
    assert layer.inplace is True
    assert layer(x).tolist() == make().eval()(x).tolist()
    assert x.tolist() == [-2.0, 0.5]


def test_format():
    assert f"{gs.tensor(1.23456):.3f}" == "1.235"
    assert f"{gs.tensor([7]):>3d}" == "  7"
    assert f"{gs.ones(2)}" == str(gs.ones(2))
    with pytest.raises(TypeError, match="format"):
        format(gs.ones(2), ".3f")


def test_insert_returns_the_container():
    layers = nn.Sequential(nn.Linear(2, 2))
    assert layers.insert(0, nn.ReLU()) is layers
    assert isinstance(layers[0], nn.ReLU)
