"""The tape itself: accumulation, modes, hooks, errors, second order."""

import gc
import threading
import weakref

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import autograd


def leaf(*values, dtype=None):
    return gs.tensor(list(values), dtype=dtype or gs.float64, requires_grad=True)


# ---- accumulation, modes ----


def test_gradients_accumulate_over_paths_and_calls():
    x = leaf(2.0, 3.0)
    (x * x + 3 * x).sum().backward()
    assert x.grad.tolist() == [7.0, 9.0]
    (x * 2).sum().backward()
    assert x.grad.tolist() == [9.0, 11.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_accumulation_does_not_alias():
    x, y = leaf(1.0), leaf(1.0)
    (x + y).sum().backward()
    with gs.no_grad():
        x.grad.mul_(5.0)
    assert y.grad.tolist() == [1.0]
    seed = gs.ones(1, dtype="float64")
    (x * 1).backward(seed)
    z = leaf(1.0)
    z.clone().backward(seed)
    with gs.no_grad():
        z.grad.mul_(0.0)
    assert seed.tolist() == [1.0]


def test_no_grad_and_detach():
    x = leaf(1.0, 2.0)
    with gs.no_grad():
        y = x * 2
        assert not gs.is_grad_enabled()
        with gs.enable_grad():
            z = x * 2
    assert gs.is_grad_enabled()
    assert not y.requires_grad and y.is_leaf
    assert z.requires_grad
    d = (x * 3).detach()
    assert not d.requires_grad
    assert (x * d).sum().requires_grad
    assert d.data_ptr() == d.detach().data_ptr()

    @gs.no_grad()
    def f(v):
        return v * 2

    assert not f(x).requires_grad
    with pytest.raises(ZeroDivisionError), gs.no_grad():
        raise ZeroDivisionError
    assert gs.is_grad_enabled()


def test_decorated_functions():
    x = leaf(1.0)

    @autograd.set_grad_enabled(False)
    def off(v):
        return v * 2

    assert gs.is_grad_enabled()  # decorating alone changes nothing
    assert not off(x).requires_grad and not off(x).requires_grad
    assert gs.is_grad_enabled()

    @gs.no_grad
    def bare(v, again=True):
        """Say what it does."""
        return bare(v, False) if again else v * 2

    assert not bare(x).requires_grad
    assert bare.__name__ == "bare"

    @gs.no_grad()
    def steps():
        got = yield gs.is_grad_enabled()
        try:
            yield got, gs.is_grad_enabled()
        except ValueError:
            yield "caught", gs.is_grad_enabled()
        return "end"

    run = steps()
    assert next(run) is False
    assert gs.is_grad_enabled()  # the caller's mode is its own between the steps
    assert run.send(7) == (7, False)
    assert run.throw(ValueError()) == ("caught", False)
    with pytest.raises(StopIteration, match="end"):
        next(run)
    assert gs.is_grad_enabled()


def test_set_grad_enabled():
    gs.set_grad_enabled(False)
    assert not gs.is_grad_enabled()
    with gs.set_grad_enabled(True):
        assert gs.is_grad_enabled()
    assert not gs.is_grad_enabled()
    gs.set_grad_enabled(True)
    with pytest.raises(TypeError, match="bool"):
        gs.set_grad_enabled(None)


def test_set_grad_enabled_restores():
    with autograd.set_grad_enabled(False):
        assert not gs.is_grad_enabled()
    assert gs.is_grad_enabled()


def test_constants_are_not_recorded():
    y = gs.ones(3) * 2
    assert y.grad_fn is None and not y.requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


def test_integers_cannot_require_grad():
    with pytest.raises((TypeError, RuntimeError, ValueError), match="float"):
        gs.tensor([1, 2], requires_grad=True)


def test_grad_of_intermediate_and_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]
    y = x * 3
    (g,) = autograd.grad((y * y).sum(), y)
    assert g.tolist() == [6.0, 12.0]


def test_grad_leaves_dot_grad_alone():
    x = leaf(1.0, 2.0)
    (g,) = autograd.grad((x * x).sum(), x)
    assert g.tolist() == [2.0, 4.0]
    assert x.grad is None


def test_unused_input():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="allow_unused"):
        autograd.grad((x * 2).sum(), [x, y])
    a, b = autograd.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert a.tolist() == [2.0] and b is None


def test_several_outputs_and_grad_outputs():
    x = leaf(1.0, 2.0)
    (g,) = autograd.grad(
        [x * 2, x * x], x, [gs.tensor([1.0, 0.0]).double(), gs.tensor([0.0, 1.0]).double()]
    )
    assert g.tolist() == [2.0, 4.0]
    a, b = gs.split(x, 1)
    (g,) = autograd.grad(b.sum(), x)
    assert g.tolist() == [0.0, 1.0]
    assert a.shape == (1,)


def test_gradient_has_the_dtype_and_shape_of_its_tensor():
    x = gs.ones(3, dtype="float32").requires_grad_()
    (x * gs.ones(2, 3, dtype="float64")).sum().backward()
    assert x.grad.dtype is gs.float32 and x.grad.shape == (3,)


# ---- errors ----


def test_backward_twice():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_backward_needs_a_gradient_for_many_elements():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"\(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match="shape"):
        (x * 2).backward(gs.ones(3, dtype="float64"))
    with pytest.raises(TypeError, match="float32"):
        (x * 2).backward(gs.ones(2))


@pytest.mark.parametrize("op", ["mul", "exp", "softmax", "matmul"])
def test_saved_tensor_changed_in_place(op):
    x = gs.ones(2, 2, dtype="float64").requires_grad_()
    a = x * 1
    y = {
        "mul": lambda: a * a,
        "exp": lambda: gs.exp(a),
        "softmax": lambda: gs.softmax(a, 1),
        "matmul": lambda: a @ a,
    }[op]()
    with gs.no_grad():
        (y if op in ("exp", "softmax") else a).add_(1.0)
    with pytest.raises(RuntimeError, match=r"in place") as e:
        y.sum().backward()
    assert op in str(e.value)


def test_change_through_a_view_counts():
    x = leaf(1.0, 2.0)
    a = x * 1
    y = (a * a).sum()
    with gs.no_grad():
        a.detach()[0].fill_(7.0)
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()


def test_in_place_on_a_leaf_that_requires_grad():
    x = leaf(1.0)
    for change in (lambda: x.add_(1.0), lambda: x.fill_(0.0), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match="in-place"):
            change()
    with gs.no_grad():
        x.add_(1.0)
    assert x.tolist() == [2.0]


def test_augmented_assignment_on_the_tape():
    x = leaf(1.0, 2.0)
    y = x * 2
    before = y
    y += x
    y *= x
    assert before.tolist() == [2.0, 4.0]
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]


# ---- hooks ----


def test_hooks_see_and_replace_gradients():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert seen == [[1.0, 1.0]]
    assert x.grad.tolist() == [30.0, 30.0]
    handle.remove()
    handle.remove()
    x.grad = None
    leaf_hook = x.register_hook(lambda g: g * 0 + 5)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    leaf_hook.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert len(seen) == 1


def test_hooks_that_add_and_remove_hooks():
    x = leaf(1.0, 2.0)
    handles = []

    def once(grad):
        for handle in handles:
            handle.remove()
        x.register_hook(lambda g: g * 3)
        return grad * 2

    handles += [x.register_hook(once) for _ in range(3)]
    (x * 1).sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]  # those that were there when the gradient came
    x.grad = None
    (x * 1).sum().backward()
    assert x.grad.tolist() == [27.0, 27.0]


def test_threads_share_a_leaf():
    x = gs.ones(20_000).requires_grad_()

    def run():
        for _ in range(100):
            (x * 2).sum().backward()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (x.grad == 800.0).all().item()


def test_hook_errors():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="require grad"):
        x.detach().register_hook(print)
    y = x * 1
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    y = x * 1
    y.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match="shape"):
        y.sum().backward()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: autograd.backward([None]),
        lambda x: autograd.grad((x * 2).sum(), [None]),
        lambda x: autograd.grad([None], x),
    ],
)
def test_none_is_refused(call):
    with pytest.raises(TypeError, match="must be a Tensor, got None"):
        call(leaf(1.0))


@pytest.mark.parametrize(
    "write",
    [
        lambda x, v: x.index_put_([gs.tensor([0, 1])], v),
        lambda x, v: x.masked_fill_(gs.tensor([True, False, True]), v.sum()),
        lambda x, v: x.fill_(v.sum()),
        lambda x, v: x.add_(v.sum()),
        lambda x, v: x.copy_(v.sum()),
    ],
)
def test_gradients_are_not_dropped_in_silence(write):
    x, v = gs.zeros(3), leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="requires grad"):
        write(x, v)
    with gs.no_grad():
        write(x, v)


def test_retained_gradients_come_after_the_hooks():
    x = leaf(1.0)
    y = x * 2
    y.grad = None  # makes no difference
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    assert y.grad.tolist() == [10.0]
    y.sum().backward()
    assert y.grad.tolist() == [20.0]


# ---- second order ----


def test_second_and_third_derivative():
    x = leaf(2.0)
    (g,) = autograd.grad((x**4).sum(), x, create_graph=True)
    (h,) = autograd.grad(g.sum(), x, create_graph=True)
    (k,) = autograd.grad(h.sum(), x)
    assert g.tolist() == [32.0] and h.tolist() == [48.0] and k.tolist() == [48.0]


def test_create_graph_fills_grad_with_a_graph():
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = autograd.grad(x.grad.sum(), x)
    assert second.tolist() == [18.0]


def test_gradient_penalty():
    """The penalty of WGAN-GP (Gulrajani et al. 2017) trains through a gradient of a network."""
    gs.manual_seed(0)
    nn = gs.nn
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    points = gs.from_numpy(np.random.default_rng(0).normal(size=(5, 3)))

    def penalty():
        x = points.detach().requires_grad_()
        (g,) = autograd.grad(critic(x).sum(), x, create_graph=True)
        return ((gs.norm(g, dim=1) - 1) ** 2).mean()

    penalty().backward()
    weight = critic[0].weight
    analytic = weight.grad.numpy().copy()
    eps = 1e-6
    for at in ((0, 0), (5, 2)):
        sides = []
        for step in (eps, -eps):
            with gs.no_grad():
                weight[at] = weight[at].item() + step
            sides.append(penalty().item())
            with gs.no_grad():
                weight[at] = weight[at].item() - step
        assert analytic[at] == pytest.approx((sides[0] - sides[1]) / (2 * eps), rel=1e-5)


# ---- anomalies ----


def test_detect_anomaly_names_the_op():
    x = leaf(-1.0)
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="log"):
        gs.log(x)
    y = gs.sqrt(x * 0)
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="backward of sqrt"):
        (y * 0).sum().backward()
    for odd in (lambda v: gs.log(v).transpose(0, 1), lambda v: gs.log(v.bfloat16())):
        with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="log"):
            odd(gs.full((2, 3), -1.0).requires_grad_())
    z = gs.full((2, 3), 0.0).requires_grad_()
    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="backward of"):
        (gs.sqrt(z).transpose(0, 1) * gs.full((3, 2), 0.0)).sum().backward()
    assert not gs._core.is_anomaly_enabled()
    assert np.isnan(gs.log(x).detach().numpy()).all()


# ---- memory ----


def test_deep_chain_neither_overflows_the_stack_nor_leaks():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + x
    y.backward()
    assert x.grad.tolist() == [100_001.0]
    z = x
    for _ in range(100_000):
        z = z + 1.0
    del z  # freeing a graph that was never walked
    gc.collect()


def test_graph_frees_what_it_saved():
    x = gs.ones(1000, dtype="float64").requires_grad_()
    before = gs._core.memory_stats()["in_use_bytes"]
    for _ in range(3):
        y = gs.exp(x) * gs.exp(x)
        y.sum().backward()
        x.grad = None
        del y
    gc.collect()
    assert gs._core.memory_stats()["in_use_bytes"] <= before + 1024


def test_wrapper_identity_and_weak_references():
    x = leaf(1.0)
    held = [x]
    (back,) = (v for v in held)
    assert back is x
    reference = weakref.ref(x)
    del x, held, back
    assert reference() is None


def test_data_of_another_shape():
    p = gs.ones(3, requires_grad=True)
    p.data = gs.ones(5)
    (p * 2).sum().backward()
    assert p.grad.tolist() == [2.0] * 5
    with pytest.raises(TypeError, match="data: dtype int64 differs"):
        p.data = gs.ones(5, dtype=gs.int64)


def test_a_gradient_that_is_looked_at_while_it_is_replaced():
    class Sub(gs.Tensor):
        pass

    class Looks:
        def __del__(self):
            seen.append(self.owner.grad)

    seen = []
    for _ in range(50):
        p, g = gs.ones(2, requires_grad=True), Sub(gs.ones(2))
        g.note = Looks()
        g.note.owner = p
        p.grad = g
        del g
        p.grad = None
    assert [grad.tolist() for grad in seen] == [[1.0, 1.0]] * 50
