"""What code written for PyTorch expects of modules: conversion in place, names, state, handles."""

import builtins
import operator

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim


def test_an_optimizer_survives_a_conversion():
    model = nn.Linear(3, 2)
    weight, before = model.weight, model.weight.detach().numpy().copy()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    model(gs.ones(1, 3)).sum().backward()
    model.double()
    assert model.weight is weight and weight.dtype is gs.float64 and weight.is_leaf
    assert weight.grad.dtype is gs.float64 and weight.grad.tolist() == [[1.0] * 3] * 2
    optimizer.zero_grad()
    model(gs.ones(1, 3, dtype=gs.float64)).sum().backward()
    assert weight.grad.dtype is gs.float64
    optimizer.step()
    assert not np.allclose(weight.detach().numpy(), before) and weight.dtype is gs.float64


def test_a_graph_over_converted_data_says_so():
    model = nn.Linear(3, 2)
    x = gs.ones(1, 3, requires_grad=True)
    loss = model(x).sum()
    model.double()
    with pytest.raises(RuntimeError, match="changed"):
        loss.backward()


def test_a_conversion_to_what_it_is_changes_nothing():
    model = nn.Linear(3, 2)
    x = gs.ones(1, 3, requires_grad=True)
    loss = model(x).sum()
    model.float().to("cpu").to("cpu", gs.float32)
    loss.backward()
    assert x.grad is not None


def test_tied_parameters_stay_tied():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    net = nn.Sequential(a, b).half()
    assert net[0].weight is net[1].weight and net[1].weight.dtype is gs.float16
    assert net.bfloat16()[1].bias.dtype is gs.bfloat16 and net.cpu() is net
    assert net.float()[0].weight is b.weight


def test_names_of_dtypes():
    layer = nn.BatchNorm1d(2)
    for form in ("float64", gs.float64):
        layer.to(form)
        assert layer.weight.dtype is gs.float64 and layer.num_batches_tracked.dtype is gs.int64
    assert layer.to(dtype="float32").weight.dtype is gs.float32
    assert layer.to(gs.zeros(1, dtype=gs.float64)).weight.dtype is gs.float64
    with pytest.raises(TypeError, match="must be floating"):
        layer.to("int64")
    with pytest.raises(TypeError, match="there is no dtype 'float99'"):
        layer.to(dtype="float99")


@pytest.mark.parametrize(
    "build",
    [
        lambda **o: nn.Linear(2, 3, **o),
        lambda **o: nn.Bilinear(2, 2, 3, **o),
        lambda **o: nn.Conv1d(1, 2, 3, **o),
        lambda **o: nn.Conv2d(1, 2, 3, **o),
        lambda **o: nn.BatchNorm2d(2, **o),
        lambda **o: nn.LayerNorm(2, **o),
        lambda **o: nn.GroupNorm(1, 2, **o),
        lambda **o: nn.RMSNorm(2, **o),
        lambda **o: nn.Embedding(2, 3, **o),
        lambda **o: nn.LSTM(2, 3, **o),
        lambda **o: nn.LSTMCell(2, 3, **o),
    ],
)
def test_device_and_dtype_of_layers(build):
    layer = build(device="cpu", dtype="float64")
    assert all(p.dtype is gs.float64 and str(p.device) == "cpu" for p in layer.parameters())
    plain = build(device=None, dtype=None)
    assert all(p.dtype is gs.float32 for p in plain.parameters())


def test_members_by_path():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert net.get_parameter("0.weight") is net[0].weight
    assert net.get_buffer("1.running_mean") is net[1].running_mean
    with pytest.raises(AttributeError, match="Linear has no parameter 'scale'"):
        net.get_parameter("0.scale")


def test_a_slice_keeps_names():
    net = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU(), "last": nn.Linear(3, 1)})
    assert list(net[1:].state_dict()) == ["last.weight", "last.bias"]
    plain = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))[1:]
    plain.append(nn.Linear(1, 1))
    assert list(plain._modules) == ["1", "2", "3"] and len(plain) == 3
    assert list(nn.ModuleList([nn.ReLU(), nn.Linear(1, 1)])[1:].state_dict()) == [
        "0.weight",
        "0.bias",
    ]


def test_weights_of_losses_are_state():
    assert list(nn.CrossEntropyLoss(weight=gs.ones(3)).state_dict()) == ["weight"]
    assert list(nn.BCEWithLogitsLoss(pos_weight=gs.ones(3)).state_dict()) == ["pos_weight"]
    assert not nn.CrossEntropyLoss().state_dict()


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.RMSNorm(3), nn.BatchNorm1d(3)]
)
def test_norms_start_again(layer):
    with gs.no_grad():
        for param in layer.parameters():
            param.fill_(5)
    layer.reset_parameters()
    assert layer.weight.tolist() == [1, 1, 1]
    assert not hasattr(layer, "bias") or layer.bias.tolist() == [0, 0, 0]


def test_a_refused_batch_does_not_count():
    layer = nn.BatchNorm1d(3, momentum=None)
    with pytest.raises(ValueError):
        layer(gs.ones(1, 3))
    assert layer.num_batches_tracked.item() == 0
    layer(gs.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    assert layer.num_batches_tracked.item() == 1 and layer.running_mean.tolist() == [2, 3, 4]


def test_errors_of_loading_are_of_both_kinds():
    for kind in (RuntimeError, ValueError):
        with pytest.raises(kind, match="names do not match"):
            nn.Linear(2, 2).load_state_dict({})


def test_handles_are_context_managers():
    layer, seen = nn.Linear(2, 2), []
    x = gs.ones(1, 2, requires_grad=True)
    with (
        layer.register_forward_hook(lambda *_: seen.append("module")),
        x.register_hook(lambda _: seen.append("tensor")),
    ):
        layer(x).sum().backward()
    layer(x).sum().backward()
    assert seen == ["module", "tensor"]


def test_xavier_of_nothing():
    nn.init.xavier_uniform_(gs.empty(0, 0))
    nn.init.xavier_normal_(gs.empty(0, 0))


def test_star_import_leaves_builtins_alone():
    space = {}
    exec("from gradsmith import *", space)
    replaced = [n for n in vars(builtins) if n in space and space[n] is not vars(builtins)[n]]
    assert replaced == [] and space["Tensor"] is gs.Tensor and space["nn"] is nn
    assert "Any" not in space and "importlib" not in space


def test_numpy_numbers_decide_the_dtype():
    assert gs.full((1,), np.int64(3)).dtype is gs.int64
    assert gs.full((1,), np.bool_(True)).dtype is gs.bool
    assert gs.full((1,), np.float64(3)).dtype is gs.float32


def test_containers_add_up():
    a, b = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 1))
    both = a + b
    assert type(both) is nn.Sequential and list(both) == [*a, *b] and len(a) == 2
    assert list(both.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(TypeError):
        operator.add(a, [nn.ReLU()])
    before = a
    a += b
    assert a is before and list(a) == list(both)
    layers = nn.ModuleList([nn.Linear(2, 2)])
    more = operator.add(layers, [nn.ReLU()])
    assert type(more) is nn.ModuleList and len(more) == 2 and len(layers) == 1
    layers += [nn.Tanh(), nn.ReLU()]
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Tanh, nn.ReLU]
    last = layers[-1]
    assert layers.pop(-1) is last and len(layers) == 2
    with pytest.raises(IndexError, match="ModuleList: index 2"):
        layers.pop(2)
    named = nn.ModuleDict({"a": layers, "b": last})
    assert named.pop("b") is last and list(named) == ["a"]
    with pytest.raises(KeyError):
        named.pop("b")


def test_every_name_of_a_shared_module():
    shared = nn.BatchNorm1d(2)
    net = nn.Sequential(shared, shared)
    names = {
        kind: [name for name, _ in getattr(net, f"named_{kind}")(remove_duplicate=False)]
        for kind in ("modules", "parameters", "buffers")
    }
    assert names["modules"] == ["", "0", "1"]
    assert names["parameters"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(names["buffers"]) == 6 and len(list(net.named_buffers())) == 3
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    tied = nn.Module()
    tied.register_module("net", nn.Linear(1, 1, bias=False))
    tied.weight = tied.net.weight
    assert [n for n, _ in tied.named_parameters(remove_duplicate=False)] == ["weight", "net.weight"]


def test_a_state_without_counts_of_batches():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    net(gs.ones(3, 2))
    state = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert net.load_state_dict(state) == ([], [])
    assert net[0].num_batches_tracked.item() == 1  # it stays
    del state["0.running_mean"]
    with pytest.raises(ValueError, match=r"missing \['0.running_mean'\]"):
        net.load_state_dict(state)


def test_assigned_state():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net[0].bias.requires_grad_(False)
    old = net[0].weight
    state = {
        name: t.double() if t.dtype.is_floating_point else t + 1
        for name, t in net.state_dict().items()
    }
    state["0.weight"] = given = nn.Parameter(state["0.weight"])
    assert net.load_state_dict(state, assign=True) == ([], [])
    assert net[0].weight is given and given is not old
    assert not net[0].bias.requires_grad and net[1].weight.requires_grad
    assert all(t.dtype is gs.float64 for t in net.parameters())
    assert net[1].running_mean.dtype is gs.float64 and net[1].num_batches_tracked.item() == 1
    assert isinstance(net[1].weight, nn.Parameter) and isinstance(net[1].running_var, gs.Tensor)
    net(gs.ones(4, 2, dtype=gs.float64)).sum().backward()
    state["1.weight"] = gs.ones(2)
    with pytest.raises(ValueError, match=r"'1.weight' has shape \(2,\)"):
        net.load_state_dict({**state, "0.weight": gs.ones(3, 2)}, assign=True)
    assert net[0].weight is given


def test_assigned_integers_are_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = dict(net.named_parameters())
    given = nn.Parameter(gs.zeros(2, 2), requires_grad=False)
    state = {**net.state_dict(), "0.weight": given, "1.bias": gs.zeros(2, dtype=gs.int64)}
    with pytest.raises(TypeError, match=r"'1\.bias' .* must be floating point, got int64"):
        net.load_state_dict(state, assign=True)
    assert all(p is before[name] for name, p in net.named_parameters())
    assert not given.requires_grad
