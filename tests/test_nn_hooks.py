"""Hooks of modules, forward and backward, and PyTorch's beside them."""

import itertools
import pickle

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn import hooked_call


def test_hooks():
    net = nn.Linear(2, 2)
    calls = []
    with net.register_forward_pre_hook(lambda m, args: (args[0] * 0,)):
        handle = net.register_forward_hook(lambda m, args, out: calls.append(out.shape))
        assert (net(gs.ones(3, 2)) - net.bias).abs().sum().item() == 0
    handle.remove()
    handle.remove()
    net(gs.ones(1, 2))
    assert calls == [(3, 2)]
    with net.register_forward_hook(lambda m, args, out: out * 0):
        assert net(gs.ones(1, 2)).abs().sum().item() == 0


def watched(module, net, x, replace):
    """What backward hooks see of each layer, and the gradients that come out."""
    seen = []

    def before(layer, grad_output):
        seen.append(("pre", type(layer).__name__, [g.tolist() for g in grad_output]))
        return tuple(g * 2 for g in grad_output) if replace else None

    def after(layer, grad_input, grad_output):
        known = [None if g is None else g.tolist() for g in (*grad_input, *grad_output)]
        seen.append(("post", type(layer).__name__, known))
        return (grad_input[0] * 3,) if replace and grad_input[0] is not None else None

    handles = [layer.register_full_backward_pre_hook(before) for layer in net]
    handles += [layer.register_full_backward_hook(after) for layer in net]
    (net(x) ** 2).sum().backward()
    for handle in handles:
        handle.remove()
    grads = [p.grad.tolist() for p in net.parameters()]
    return seen, grads, x.grad.tolist() if x.requires_grad else None


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Full backward hook")  # where no input requires grad
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
def test_backward_hooks_like_torch(leaf, replace):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    ).double()
    ours = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    ours.load_state_dict({k: gs.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.arange(6.0).reshape(2, 3) - 2
    mine = watched(nn, ours, gs.tensor(x, requires_grad=leaf), replace)
    other = watched(torch.nn, theirs, torch.tensor(x, requires_grad=leaf), replace)
    assert [entry[:2] for entry in mine[0]] == [entry[:2] for entry in other[0]]
    for (*_, a), (*_, b) in zip(mine[0], other[0], strict=True):
        for one, two in zip(a, b, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_allclose(one, two, rtol=1e-12)
    for a, b in zip(mine[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    if leaf:
        np.testing.assert_allclose(mine[2], other[2], rtol=1e-12)


def test_backward_hooks_of_several_values():
    class Two(nn.Module):
        def forward(self, x, scale, y):
            return x * scale, "text", y + x

    calls = []
    net = Two()
    net.register_full_backward_hook(lambda m, given, taken: calls.append((given, taken)))
    x, y = gs.ones(2, requires_grad=True), gs.zeros(2)
    first, text, second = net(x, 3.0, y)
    assert text == "text"
    (first.sum() + 2 * second.sum()).backward()
    (given, taken) = calls[0]
    assert given[0].tolist() == [5, 5] and given[1:] == (None, None)
    assert taken[0].tolist() == [1, 1] and taken[1] is None and taken[2].tolist() == [2, 2]
    with gs.no_grad():
        assert net(x, 3.0, y)[0].tolist() == [3, 3]
    assert len(calls) == 1
    (g,) = gs.autograd.grad(net(x, x, y)[0].sum(), [x], create_graph=True)
    assert gs.autograd.grad(g.sum(), [x])[0].tolist() == [2, 2]


def test_backward_hooks_that_go_wrong():
    net, x = nn.Linear(2, 2), gs.ones(1, 2, requires_grad=True)
    many = net.register_full_backward_hook(lambda m, given, taken: (*given, *given))
    with many, pytest.raises(RuntimeError, match=r"Linear: a backward hook returned 2 .* for 1"):
        net(x).sum().backward()
    same = net.register_full_backward_hook(lambda m, given, taken: given)
    with same, pytest.raises(RuntimeError, match="must return None where no input requires grad"):
        net(x.detach()).sum().backward()
    net.register_forward_hook(lambda m, args, out: {"y": out})
    net.register_full_backward_hook(lambda m, given, taken: None)
    with pytest.raises(TypeError, match="a tensor or a tuple, got dict"):
        net(x)


def test_hooks_before_those_that_are_there():
    net, order = nn.Linear(2, 2), []
    for name in ("forward_pre", "forward", "full_backward_pre", "full_backward"):
        register = getattr(net, f"register_{name}_hook")
        register(lambda *given, name=name: order.append((name, "second")))
        first = register(lambda *given, name=name: order.append((name, "first")), prepend=True)
        gone = register(lambda *given, name=name: order.append((name, "gone")), prepend=True)
        gone.remove()
        assert first
    net(gs.ones(1, 2, requires_grad=True)).sum().backward()
    names = ("forward_pre", "forward", "full_backward_pre", "full_backward")
    assert order == [(name, when) for name in names for when in ("first", "second")]


class Scaled(nn.Module):
    def forward(self, x, by=1):
        if by == 0:
            raise ZeroDivisionError("by 0")
        return x / by


def test_hooks_with_keyword_arguments():
    net, seen = Scaled(), []
    with net.register_forward_pre_hook(lambda m, a, k: (a, {"by": k["by"] * 2}), with_kwargs=True):
        net.register_forward_hook(
            lambda m, a, k, y: seen.append(k["by"]) or y + 1, with_kwargs=True
        )
        net.register_forward_pre_hook(lambda m, a, k: None, with_kwargs=True)
        assert net(gs.ones(1), by=2).item() == 1.25 and seen == [4]
    with (
        net.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True),
        pytest.raises(RuntimeError, match=r"Scaled: a forward pre-hook .* got tuple"),
    ):
        net(gs.ones(1), by=2)


def test_hooks_that_are_always_called():
    net, seen = Scaled(), []
    net.register_forward_hook(lambda m, a, y: seen.append("usual"))
    net.register_forward_hook(lambda m, a, y: seen.append(y), always_call=True)
    with pytest.raises(ZeroDivisionError, match="by 0"):
        net(gs.ones(1), by=0)
    assert seen == [None]
    net(gs.ones(1))
    assert len(seen) == 3 and seen[1] == "usual"

    def fails(module, args, output):
        seen.append("fails")
        raise ValueError("of the hook")

    net.register_forward_hook(fails, always_call=True, prepend=True)
    with (
        pytest.warns(
            UserWarning, match="Scaled: a forward hook, called after an error.*of the hook"
        ),
        pytest.raises(ZeroDivisionError, match="by 0"),
    ):
        net(gs.ones(1), by=0)
    del seen[:]
    with pytest.raises(ValueError, match="of the hook"):  # without another error it is the error
        net(gs.ones(1))
    assert seen[0] == "fails" and len(seen) == 2  # the other hook that is always called, once


@pytest.mark.parametrize("replace", [lambda g: g.sum(), lambda g: g.reshape(-1)])
def test_gradients_of_another_shape_are_refused(replace):
    for name in ("full_backward_pre", "full_backward"):
        net = nn.Linear(2, 3)
        getattr(net, f"register_{name}_hook")(lambda m, *grads: (replace(grads[0][0]),))
        y = net(gs.ones(4, 2, requires_grad=True))
        with pytest.raises(
            RuntimeError, match=r"Linear: a backward hook returned a gradient of sha"
        ):
            y.sum().backward()


def test_gradients_that_are_no_tensors_are_refused():
    net = nn.Linear(2, 3)
    net.register_full_backward_hook(lambda m, *grads: ("x",))
    y = net(gs.ones(4, 2, requires_grad=True))
    with pytest.raises(TypeError, match="Linear: a backward hook must return tensors or None, got"):
        y.sum().backward()


def test_removed_hooks_leave_nothing():
    net = Scaled()
    kept = net.register_forward_hook(lambda m, a, k, y: None, with_kwargs=True, always_call=True)
    marks = (net._hooks_with_kwargs, net._hooks_always_called)
    for _ in range(3):
        net.register_forward_pre_hook(lambda m, a, k: None, with_kwargs=True).remove()
        net.register_forward_hook(lambda m, a, y: None, always_call=True).remove()
    assert [len(numbers) for numbers in marks] == [1, 1]
    kept.remove()
    kept.remove()
    assert not any(marks) and not net._forward_hooks


def add_keyword(module, args, kwargs, output):
    return output + kwargs["by"]


def test_hooks_of_an_unpickled_module_are_kept(monkeypatch):
    def new_process():  # where hooks are counted anew
        monkeypatch.setattr(hooked_call, "_hook_ids", itertools.count())

    new_process()
    net = Scaled()
    net.register_forward_hook(add_keyword, with_kwargs=True)
    net = pickle.loads(pickle.dumps(net))
    for register in (net.register_forward_hook, net.register_forward_pre_hook):
        new_process()
        seen = []
        handle = register(lambda module, *given, seen=seen: seen.append(len(given)))
        assert net(gs.ones(1), by=2).item() == 2.5 and len(seen) == 1
        handle.remove()
        assert net(gs.ones(1), by=2).item() == 2.5 and len(seen) == 1
