"""Optimizers and schedules: formulas, groups, state, checks, and torch where installed."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim
from gradsmith.optim import lr_scheduler as lrs

TARGET = np.linspace(-1, 1, 6).reshape(2, 3)
START = np.arange(6.0).reshape(2, 3) / 3


def problem():
    """Two parameters with different gradients."""
    return [nn.Parameter(gs.tensor(START)), nn.Parameter(gs.tensor(START[0] - 1))]


def set_grads(params, step):
    """The gradient of (p - target)^2 (1 + step % 3) / 2, computed by the tape."""
    for p, target in zip(params, (TARGET, TARGET[1]), strict=True):
        p.grad = None
        (((p - gs.tensor(target)) ** 2).sum() * ((1 + step % 3) / 2)).backward()


def run(make, steps=12):
    params = problem()
    optimizer = make(params)
    for step in range(steps):
        set_grads(params, step)
        optimizer.step()
    return [p.detach().numpy().copy() for p in params], optimizer


OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "betas": (0.5, 0.6)}),
    ("Adam", {"lr": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "maximize": True, "weight_decay": 0.1, "eps": 1e-3}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "betas": (0.5, 0.7), "maximize": True}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "centered": True, "alpha": 0.8, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5}),
    ("Adagrad", {"lr": 0.3}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adagrad", {"lr": 0.3, "weight_decay": 0.1, "eps": 1e-3}),
    ("NAdam", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Adamax", {"lr": 0.1}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adadelta", {"lr": 2.0}),
    ("Adadelta", {"lr": 2.0, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {"lr": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.02, 0.2), "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.6, "t0": 5, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.01, "maximize": True}),
]
OURS_ALONE = [
    ("Lion", {"lr": 0.03}),
    ("Lion", {"lr": 0.03, "betas": (0.5, 0.8), "weight_decay": 0.1, "maximize": True}),
]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    # torch keeps NAdam's product of momenta in the default dtype, also for float64 parameters.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_same_steps_as_torch(name, options, torch):
    ours, _ = run(lambda params: getattr(optim, name)(params, **options), 50)
    params = [torch.nn.Parameter(torch.tensor(p)) for p in (START, START[0] - 1)]
    optimizer = getattr(torch.optim, name)(params, **options)
    for step in range(50):
        for p, target in zip(params, (TARGET, TARGET[1]), strict=True):
            p.grad = (p.detach() - torch.tensor(target)) * (1 + step % 3)
        optimizer.step()
    for mine, other in zip(ours, params, strict=True):
        np.testing.assert_allclose(mine, other.detach().numpy(), rtol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS}))
def test_groups_and_missing_gradients_as_in_torch(name, torch):
    """The second group has options of its own, and a gradient in two steps of three."""
    more = {"etas": (0.4, 1.3)} if name == "Rprop" else {"weight_decay": 0.2}

    def run_groups(module, first, second):
        groups = [{"params": [first]}, {"params": [second], "lr": 0.05, **more}]
        optimizer = getattr(module, name)(groups, lr=0.1)
        for step in range(50):
            for p, target in ((first, TARGET), (second, TARGET[1])):
                against = module_of(p).tensor(target)
                p.grad = (p.detach() - against) * (1 + step % 3)
            if step % 3 == 1:
                second.grad = None
            optimizer.step()
        return [p.detach().numpy() for p in (first, second)]

    def module_of(p):
        return gs if isinstance(p, gs.Tensor) else torch

    ours = run_groups(optim, *problem())
    start = (torch.nn.Parameter(torch.tensor(p)) for p in (START, START[0] - 1))
    for mine, other in zip(ours, run_groups(torch.optim, *start), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Adamax", "ASGD", "Rprop"])
def test_gradients_that_are_no_numbers_as_in_torch(name, torch):
    values = [math.nan, math.inf, -math.inf, 0.0, 1.0]
    ours, theirs = gs.zeros(5, dtype="float64", requires_grad=True), torch.zeros(5)
    optimizers = [getattr(optim, name)([ours]), getattr(torch.optim, name)([theirs])]
    for grads in (values, [1.0] * 5, [0.5] * 5):
        with gs.no_grad():  # what follows where the parameter is put right
            ours.zero_()
        theirs.zero_()
        ours.grad, theirs.grad = gs.tensor(grads, dtype="float64"), torch.tensor(grads)
        for optimizer in optimizers:
            optimizer.step()
        np.testing.assert_allclose(ours.detach().numpy(), theirs.numpy(), rtol=1e-10)
        for key, value in optimizers[1].state[theirs].items():
            mine = optimizers[0].state[ours][key]
            if isinstance(mine, gs.Tensor):
                np.testing.assert_allclose(mine.numpy(), value.numpy(), rtol=1e-10, err_msg=key)


@pytest.mark.parametrize(("name", "options"), OURS_ALONE)
def test_lion_against_its_formula(name, options):
    lr, (b1, b2) = options["lr"], options.get("betas", (0.9, 0.99))
    turn = -1 if options.get("maximize") else 1
    p, m = START.copy(), np.zeros_like(START)
    for step in range(50):
        g = turn * (p - TARGET) * (1 + step % 3)
        p = p * (1 - lr * options.get("weight_decay", 0))
        p = p - lr * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
    ours, optimizer = run(lambda params: optim.Lion(params, **options), 50)
    np.testing.assert_allclose(ours[0], p, rtol=1e-12)
    assert optimizer.defaults.keys() == {"lr", "betas", "weight_decay", "maximize"}


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS + OURS_ALONE}))
def test_every_option_is_checked_and_named(name):
    def build(**options):
        return getattr(optim, name)(problem(), **options)

    for option, value in build().defaults.items():
        if (name, option) == ("AdamW", "decoupled_weight_decay"):
            continue  # what makes it AdamW
        text = f"{name}: {option}"
        if isinstance(value, bool):
            wrong = {1: TypeError, None: TypeError}
        elif isinstance(value, tuple):
            wrong = {0.5: ValueError, (0.5,): ValueError, (math.nan, value[1]): ValueError}
            wrong |= {(value[0], math.nan): ValueError, ("0.5", value[1]): TypeError}
        else:
            wrong = {math.nan: ValueError, math.inf: ValueError, "0.5": TypeError, True: TypeError}
        for given, error in wrong.items():
            with pytest.raises(error, match=text):
                build(**{option: given})


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (5, "'state' of state_dict must be a dict, got int"),
        ({0: 5}, "must be a dict, got int"),
        ({"x": {}}, "state for parameter 'x'"),
        ({0: {"step": "x"}}, "'step' must be a count, got 'x'"),
        ({0: {"step": math.nan}}, "'step' must be a count, got nan"),
        ({0: {"step": -1}}, "'step' must be a count, got -1"),
        ({0: {"step": 1e300}}, "'step' must be a count, got 1e.300"),
        ({0: {"exp_avg": "x"}}, "'exp_avg'.*str"),
        ({0: {"step": 1, "exp_avg": 3.0}}, "'exp_avg' must be a Tensor, got float"),
        ({0: {"step": 1, "exp_avg": gs.tensor(3.0)}}, r"'exp_avg' has shape \(\), its parameter"),
        ({0: {"exp_avg": gs.ones(2)}}, "the state of parameter 0 lacks 'step'"),
        ({0: {"momentum_buffer": gs.ones(2)}}, "state 'momentum_buffer' is none of"),
    ],
)
def test_alien_state_is_refused(state, text):
    optimizer = optim.Adam([gs.ones(2, requires_grad=True)])
    saved = optimizer.state_dict() | {"state": state}
    with pytest.raises(ValueError, match=text):
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize("given", [math.nan, 3.0, "x", True, gs.ones(2)])
def test_alien_numbers_of_a_state_are_refused(given):
    for optimizer, name in ((optim.NAdam, "mu_product"), (optim.ASGD, "mu")):
        one = optimizer([gs.ones(2, requires_grad=True)])
        saved = one.state_dict() | {"state": {0: {"step": 1, name: given}}}
        with pytest.raises(ValueError, match=f"state '{name}' must lie in"):
            one.load_state_dict(saved)


def test_a_group_that_has_lost_an_option():
    optimizer = optim.Adam([gs.ones(2, requires_grad=True)])
    del optimizer.param_groups[0]["betas"]
    with pytest.raises(ValueError, match=r"Adam: a group has lost its options \['betas'\]"):
        optimizer.step()


@pytest.mark.parametrize("shape", [(), (2,)])
def test_numbers_saved_as_tensors(shape):
    """As PyTorch saves them; None stands for what has not been made."""
    for name, state in (
        ("ASGD", {"step": 1.0, "eta": 0.01, "mu": 1.0, "ax": None}),
        ("NAdam", {"step": 1.0, "mu_product": 0.5, "exp_avg": None, "exp_avg_sq": None}),
    ):
        p = gs.ones(shape).requires_grad_()
        optimizer = getattr(optim, name)([p])
        state = {k: gs.zeros(shape) if v is None else gs.tensor(v) for k, v in state.items()}
        optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: state}})
        p.grad = gs.ones(shape)
        optimizer.step()
        held = optimizer.state[p]
        assert held["step"] == 2 and type(held.get("eta", held.get("mu_product"))) is float
    p = gs.ones(shape).requires_grad_()
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.5)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: {"momentum_buffer": None}}})
    p.grad = gs.ones(shape)
    optimizer.step()  # the first: undampened
    np.testing.assert_allclose(p.detach().numpy(), np.full(shape, 0.9), rtol=1e-6)


@pytest.mark.parametrize("name", ["Adam", "NAdam", "ASGD", "Rprop", "Lion", "Adagrad"])
def test_a_step_that_fails_is_not_counted(name):
    p = gs.ones(3, dtype="float64", requires_grad=True)
    optimizer = getattr(optim, name)([p])
    p.grad = gs.ones(3, dtype="float64")
    optimizer.step()
    before = {k: v for k, v in optimizer.state[p].items() if not isinstance(v, gs.Tensor)}
    tensors = [k for k, v in optimizer.state[p].items() if isinstance(v, gs.Tensor)]
    optimizer.state[p][tensors[0]] = gs.ones(3)  # of another dtype
    with pytest.raises(TypeError, match="float32"):
        optimizer.step()
    assert {k: optimizer.state[p][k] for k in before} == before


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (3, "must be a dict with 'state' and 'param_groups'"),
        ({"state": {}}, "must be a dict with 'state' and 'param_groups'"),
        ({"state": {}, "param_groups": 5}, "must be a list of dicts with 'params'"),
        ({"state": {}, "param_groups": [5]}, "must be a list of dicts with 'params'"),
    ],
)
def test_no_state_of_an_optimizer(state, text):
    with pytest.raises(ValueError, match=f"Adam: .*{text}"):
        optim.Adam([gs.ones(2, requires_grad=True)]).load_state_dict(state)


def test_state_of_a_scalar_parameter_and_from_json():
    scalar = gs.tensor(1.0, requires_grad=True)
    optimizer = optim.Adam([scalar], 0.1)
    (scalar * 2).backward()
    optimizer.step()
    state = optimizer.state_dict()
    state["state"] = {"0": {**state["state"][0], "step": gs.tensor(1.0)}}
    optimizer.load_state_dict(state)
    optimizer.step()
    assert optimizer.state[scalar]["step"] == 2


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov="x"), "SGD: nesterov"),
        (lambda p: optim.SGD(p, 0.1, maximize=1), "SGD: maximize"),
        (lambda p: optim.AdamW(p, amsgrad=None), "AdamW: amsgrad"),
        (lambda p: optim.RMSprop(p, centered=0.5), "RMSprop: centered"),
    ],
)
def test_flags_are_bools(build, name):
    with pytest.raises(TypeError, match=f"{name} must be a bool"):
        build(problem())


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_numpy_numbers_are_numbers(name):
    ours, _ = run(lambda params: getattr(optim, name)(params, np.float32(0.5)))
    plain, optimizer = run(lambda params: getattr(optim, name)(params, 0.5))
    assert all((a == b).all() for a, b in zip(ours, plain, strict=True))
    assert type(optimizer.param_groups[0]["lr"]) is float


def test_betas_are_two_numbers():
    with pytest.raises(ValueError, match=r"betas must be two numbers, got 0\.9"):
        optim.Adam([gs.ones(2, requires_grad=True)], betas=0.9)
    arrays = [np.ones(3, np.float32) for _ in range(4)]
    with pytest.raises(ValueError, match=r"adam_step.*betas"):
        gs.kernels.adam_step(*arrays, 1, betas=(0.9,))
    assert all((a == 1).all() for a in arrays)


def test_sgd_and_adam_against_their_formulas():
    def gradient(p, step):
        return (p - TARGET) * (1 + step % 3)

    p, v = START.copy(), None
    q, m, s = START.copy(), 0.0, 0.0
    for step in range(12):
        g = gradient(p, step) + 0.1 * p
        v = g if v is None else 0.9 * v + g
        p = p - 0.05 * v
        g = gradient(q, step)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        t = step + 1
        q = q * (1 - 0.05 * 0.2)
        q = q - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    sgd, _ = run(lambda ps: optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.1))
    adamw, _ = run(lambda ps: optim.AdamW(ps, 0.05, weight_decay=0.2))
    np.testing.assert_allclose(sgd[0], p, rtol=1e-12)
    np.testing.assert_allclose(adamw[0], q, rtol=1e-12)


def test_float32_and_strided_parameters():
    for make in (lambda ps: optim.SGD(ps, 0.1, momentum=0.9), lambda ps: optim.AdamW(ps, 0.1)):
        results = []
        for dtype in (gs.float32, gs.float64):
            p = nn.Parameter(gs.tensor(START).to(dtype))
            optimizer = make([p])
            for step in range(5):
                p.grad = None
                (((p.transpose(0, 1) - gs.tensor(TARGET.T).to(dtype)) ** 2).sum()).backward()
                optimizer.step()
                assert p.grad is not None, step
            results.append(p.detach().numpy())
        np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


def test_groups():
    a, b = problem()
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.0}], lr=0.5)
    set_grads([a, b], 0)
    before = b.detach().numpy().copy()
    optimizer.step()
    assert (b.detach().numpy() == before).all() and not (a.detach().numpy() == START).all()
    optimizer.add_param_group({"params": nn.Parameter(gs.zeros(1)), "momentum": 0.5})
    assert [g["momentum"] for g in optimizer.param_groups] == [0, 0, 0.5]
    assert "group 1: 1 parameters" in repr(optimizer)
    named = optim.SGD(nn.Linear(2, 2).named_parameters(), lr=0.1)
    assert len(named.param_groups[0]["params"]) == 2


def test_parameters_without_gradient_are_left_alone():
    params = problem()
    optimizer = optim.Adam(params, 0.1)
    set_grads(params, 0)
    params[1].grad = None
    before = params[1].detach().numpy().copy()
    optimizer.step()
    assert (params[1].detach().numpy() == before).all() and len(optimizer.state) == 1
    set_grads(params, 1)
    optimizer.step()  # now the two have made different numbers of steps
    assert [optimizer.state[p]["step"] for p in params] == [2, 1]


def test_zero_grad_and_closure():
    params = problem()
    optimizer = optim.SGD(params, 0.1)

    def closure():
        optimizer.zero_grad()
        loss = (params[0] ** 2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    assert optimizer.step(closure).item() < first
    optimizer.zero_grad(set_to_none=False)
    assert params[0].grad.numpy().sum() == 0
    optimizer.zero_grad()
    assert params[0].grad is None


@pytest.mark.parametrize(("name", "options"), OPTIONS + OURS_ALONE)
def test_state_dict_continues_exactly(name, options, tmp_path):
    def make(params):
        return getattr(optim, name)(params, **options)

    whole, _ = run(make, 12)
    params = problem()
    optimizer = make(params)
    for step in range(6):
        set_grads(params, step)
        optimizer.step()
    gs.save({"p": [p.detach() for p in params], "o": optimizer.state_dict()}, tmp_path / "s")
    loaded = gs.load(tmp_path / "s")
    params = [nn.Parameter(p) for p in loaded["p"]]
    optimizer = make(params)
    optimizer.load_state_dict(loaded["o"])
    for step in range(6, 12):
        set_grads(params, step)
        optimizer.step()
    for mine, other in zip(params, whole, strict=True):
        assert (mine.detach().numpy() == other).all()


def test_load_state_dict_checks():
    _, optimizer = run(lambda ps: optim.Adam(ps, 0.1), 2)
    state = optimizer.state_dict()
    other = optim.Adam([nn.Parameter(gs.zeros(2, 3, dtype=gs.float64))], 0.1)
    with pytest.raises(ValueError, match=r"has 2 parameters, the optimizer's has 1"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match=r"has 1 groups, the optimizer has 2"):
        optim.SGD([{"params": [p]} for p in problem()]).load_state_dict(state)
    wrong = optim.Adam([nn.Parameter(gs.zeros(9)), nn.Parameter(gs.zeros(3))], 0.1)
    with pytest.raises(ValueError, match=r"'exp_avg' has shape \(2, 3\), its parameter \(9,\)"):
        wrong.load_state_dict(state)
    assert not wrong.state


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda p: optim.SGD(p, lr=float("nan")),
            ValueError,
            r"lr must be finite and lie in .* got nan",
        ),
        (lambda p: optim.SGD(p, lr=-1.0), ValueError, "got -1.0"),
        (lambda p: optim.SGD(p, lr=math.inf), ValueError, "got inf"),
        (lambda p: optim.SGD(p, lr="0.1"), TypeError, "lr must be a number, got str"),
        (lambda p: optim.SGD(p, 0.1, nesterov=True), ValueError, "nesterov needs momentum"),
        (lambda p: optim.SGD(p, 0.1, momentum=-0.1), ValueError, "momentum"),
        (
            lambda p: optim.Adam(p, betas=(0.9, 1.0)),
            ValueError,
            r"betas\[1\] must be finite and lie in \[0.0, 1",
        ),
        (lambda p: optim.Adam(p, eps=-1.0), ValueError, "eps"),
        (lambda p: optim.AdamW(p, weight_decay=float("nan")), ValueError, "AdamW: weight_decay"),
        (lambda p: optim.NAdam(p, momentum_decay=-1.0), ValueError, "NAdam: momentum_decay"),
        (lambda p: optim.RAdam(p, betas=0.9), ValueError, "RAdam: betas must be two numbers"),
        (lambda p: optim.Adadelta(p, rho=1.5), ValueError, r"rho must lie in \[0, 1\], got 1.5"),
        (lambda p: optim.Rprop(p, etas=(1.2, 0.5)), ValueError, "etas must lie in"),
        (lambda p: optim.Rprop(p, step_sizes=(2, 1)), ValueError, "step_sizes must rise"),
        (lambda p: optim.ASGD(p, t0=-1.0), ValueError, "ASGD: t0"),
        (lambda p: optim.SGD([], 0.1), ValueError, "params is empty"),
        (lambda p: optim.SGD(p[0], 0.1), TypeError, "ordered iterable of tensors"),
        (lambda p: optim.SGD(set(p), 0.1), TypeError, "ordered iterable of .* got set"),
        (lambda p: optim.SGD([1.0], 0.1), TypeError, "must be tensors, got float"),
        (lambda p: optim.SGD([p[0] * 2], 0.1), TypeError, "leaf tensors"),
        (lambda p: optim.SGD([p[0], p[0]], 0.1), ValueError, "appears twice"),
        (lambda p: optim.SGD([{"params": p, "beta": 1}], 0.1), ValueError, r"unknown.*\['beta'\]"),
        (lambda p: optim.SGD([{"lr": 1}], 0.1), TypeError, "key 'params'"),
        (lambda p: lrs.StepLR("x", 2), TypeError, "optimizer must be an Optimizer, got str"),
        (lambda p: lrs.StepLR(optim.SGD(p), 0), ValueError, "step_size must be positive, got 0"),
        (
            lambda p: lrs.StepLR(optim.SGD(p), 2, math.nan),
            ValueError,
            "gamma must be finite",
        ),
        (lambda p: lrs.ExponentialLR(optim.SGD(p), "x"), TypeError, "gamma must be a number"),
        (lambda p: lrs.LinearLR(optim.SGD(p), 0.0), ValueError, "start_factor"),
        (lambda p: lrs.OneCycleLR(optim.SGD(p), 0.1), ValueError, "give total_steps"),
        (lambda p: lrs.LambdaLR(optim.SGD(p), []), ValueError, "0 functions for 1 parameter"),
        (lambda p: lrs.ReduceLROnPlateau(optim.SGD(p), factor=1.0), ValueError, "factor"),
        (lambda p: lrs.ReduceLROnPlateau(optim.SGD(p), "up"), ValueError, "min or max, got 'up'"),
    ],
)
def test_bad_arguments(build, error, text):
    with pytest.raises(error, match=text):
        build(problem())


def test_lr_that_becomes_nan_is_refused_at_the_step():
    params = problem()
    optimizer = optim.SGD(params, 0.1)
    set_grads(params, 0)
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr"):
        optimizer.step()
    assert (params[0].detach().numpy() == START).all()


def test_an_option_that_becomes_nan_changes_nothing():
    params = problem()
    optimizer = optim.RMSprop([{"params": params[:1]}, {"params": params[1:]}], 0.1)
    set_grads(params, 0)
    optimizer.param_groups[1]["alpha"] = float("nan")
    with pytest.raises(ValueError, match="RMSprop: alpha"):
        optimizer.step()
    assert (params[0].detach().numpy() == START).all()
