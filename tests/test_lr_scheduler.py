"""Learning-rate schedules: formulas and PyTorch's rates, joining, stored state."""

import inspect
import math
import random

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim
from gradsmith.optim import lr_scheduler as lrs


def problem():
    return [nn.Parameter(gs.zeros(2))]


def sgd(lr=1.0):
    return optim.SGD(problem(), lr)


SCHEDULES = [
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [3, 7, 7, 20]}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 6}),
    ("CosineAnnealingLR", {"T_max": 30, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda step: 1 / (1 + step)}),
    ("ConstantLR", {"factor": 0.4, "total_iters": 7}),
    ("ConstantLR", {"factor": 0.4, "total_iters": 0}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 0}),
    ("PolynomialLR", {"total_iters": 20, "power": 1.7}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 1 - 0.01 * step}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 5, "step_size_down": 3}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4, "mode": "triangular2"}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 6, "mode": "exp_range", "gamma": 0.9},
    ),
    ("CosineAnnealingLR", {"T_max": 80}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 50}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60}),
    ("OneCycleLR", {"max_lr": 0.3, "epochs": 10, "steps_per_epoch": 6, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": [0.3, 0.2], "total_steps": 70, "pct_start": 0.2, "div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "cycle_momentum": False}),
]


def two_groups():
    return [{"params": problem()}, {"params": problem(), "lr": 0.05}]


def schedule_of(optimizer, scheduler, steps=59):
    seen = []
    for _ in range(steps):
        seen.append([(g["lr"], g.get("momentum", 0)) for g in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_same_rates_as_torch(name, options):
    torch = pytest.importorskip("torch")
    ours = optim.SGD(two_groups(), 0.2, momentum=0.9)
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.05}]
    theirs = torch.optim.SGD(groups, 0.2, momentum=0.9)
    a = schedule_of(ours, getattr(lrs, name)(ours, **options))
    b = schedule_of(theirs, getattr(torch.optim.lr_scheduler, name)(theirs, **options))
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedule_state_continues(name, options):
    def make():
        optimizer = optim.SGD(two_groups(), 0.2, momentum=0.9)
        return optimizer, getattr(lrs, name)(optimizer, **options)

    whole = schedule_of(*make())
    optimizer, scheduler = make()
    schedule_of(optimizer, scheduler, 11)
    state = scheduler.state_dict()
    optimizer, scheduler = make()
    scheduler.load_state_dict(state)
    assert schedule_of(optimizer, scheduler, 48) == whole[11:]
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
    with pytest.raises(ValueError, match="state has the entries"):
        scheduler.load_state_dict({"nonsense": 1})


def test_sequential_warm_up_then_cosine():
    def make():
        optimizer = optim.SGD(problem(), 0.2)
        parts = [
            lrs.LinearLR(optimizer, 0.1, total_iters=5),
            lrs.CosineAnnealingLR(optimizer, T_max=20),
        ]
        return optimizer, lrs.SequentialLR(optimizer, parts, milestones=[5])

    whole = [lr for [(lr, _)] in schedule_of(*make(), 25)]
    expected = [0.2 * (0.1 + 0.9 * k / 5) for k in range(5)]
    expected += [0.1 * (1 + math.cos(math.pi * k / 20)) for k in range(20)]
    np.testing.assert_allclose(whole, expected, rtol=1e-12)
    optimizer, scheduler = make()
    schedule_of(optimizer, scheduler, 9)
    state = scheduler.state_dict()
    optimizer, scheduler = make()
    scheduler.load_state_dict(state)
    assert [lr for [(lr, _)] in schedule_of(optimizer, scheduler, 16)] == whole[9:]
    with pytest.raises(ValueError, match="one milestone fewer"):
        lrs.SequentialLR(optimizer, scheduler.schedulers, [])


def test_one_cycle_refuses_to_go_on():
    optimizer = optim.Adam(problem(), 0.1)
    scheduler = lrs.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        scheduler.step()
    assert optimizer.param_groups[0]["betas"][0] == pytest.approx(0.95)
    with pytest.raises(ValueError, match="past the cycle of 3 steps"):
        scheduler.step()


def test_a_plateau_cannot_be_joined():
    optimizer = sgd()
    plateau = lrs.ReduceLROnPlateau(optimizer)
    with pytest.raises(TypeError, match="schedules of the step count, got ReduceLROnPlateau"):
        lrs.SequentialLR(optimizer, [lrs.StepLR(optimizer, 1), plateau], [2])


def test_warm_restarts_between_epochs():
    scheduler = lrs.CosineAnnealingWarmRestarts(sgd(), 4)
    scheduler.step(1.5)
    assert scheduler.get_last_lr() == pytest.approx([(1 + math.cos(math.pi * 1.5 / 4)) / 2])
    scheduler.step()
    assert scheduler.last_epoch == 2.5
    with pytest.raises(ValueError, match="epoch must not be negative, got -1"):
        scheduler.step(-1)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda o: lrs.StepLR(o, 2), {"step_size": 0}),
        (lambda o: lrs.StepLR(o, 2), {"base_lrs": []}),
        (lambda o: lrs.StepLR(o, 2), {"base_lrs": ["1"]}),
        (lambda o: lrs.StepLR(o, 2), {"last_epoch": "3"}),
        (lambda o: lrs.StepLR(o, 2), {"_last_lr": [0.5, 0.5]}),
        (lambda o: lrs.StepLR(o, 2), {"_last_lr": ["1"]}),
        (lambda o: lrs.StepLR(o, 2), {"_apply": 1}),
        (lambda o: lrs.ReduceLROnPlateau(o), {"step": 5}),
        (lambda o: lrs.ReduceLROnPlateau(o), {"mode": 5}),
        (lambda o: lrs.ReduceLROnPlateau(o), {"min_lrs": [0.0, 0.0]}),
        (lambda o: lrs.SequentialLR(o, [lrs.StepLR(o, 2)], []), {"optimizer": None}),
    ],
)
def test_state_that_does_not_fit_changes_nothing(make, change):
    scheduler = make(sgd())
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="state"):
        scheduler.load_state_dict({**before, **change})
    missing = dict(list(before.items())[1:])
    with pytest.raises(ValueError, match="state has the entries"):
        scheduler.load_state_dict(missing)
    assert scheduler.state_dict() == before and scheduler.get_last_lr() == [1.0]


def chain_of(module, optimizer):
    parts = (
        module.ConstantLR(optimizer, 0.1, 4),
        module.ExponentialLR(optimizer, 0.9),
        module.StepLR(optimizer, 3, 0.5),
    )
    return module.ChainedScheduler(parts)


def test_chained_schedules_multiply():
    optimizer = sgd(2.0)
    scheduler = chain_of(lrs, optimizer)
    seen = [scheduler.get_last_lr()[0]]
    for _ in range(7):
        scheduler.step()
        seen.append(scheduler.get_last_lr()[0])
    factors = [(0.1 if k < 4 else 1) * 0.9**k * 0.5 ** (k // 3) for k in range(8)]
    assert seen == pytest.approx([2 * factor for factor in factors])
    other = chain_of(lrs, sgd(2.0))
    other.load_state_dict(scheduler.state_dict())
    assert other.get_last_lr() == scheduler.get_last_lr()
    with pytest.raises(ValueError, match="state has 2 schedules, expected 3"):
        other.load_state_dict({"schedulers": scheduler.state_dict()["schedulers"][:2]})
    with pytest.raises(ValueError, match="same optimizer"):
        lrs.ChainedScheduler([lrs.StepLR(sgd(), 2), lrs.StepLR(sgd(), 2)])
    with pytest.raises(TypeError, match="schedules of the step count, got ReduceLROnPlateau"):
        lrs.ChainedScheduler([lrs.ReduceLROnPlateau(optimizer)])


@pytest.mark.torch
def test_chained_like_torch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], 2.0)
    theirs, ours = chain_of(torch.optim.lr_scheduler, optimizer), chain_of(lrs, sgd(2.0))
    for _ in range(60):
        optimizer.step()
        theirs.step()
        ours.step()
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-10)


def warm_up_of(module, optimizer, first):
    parts = [
        getattr(module, first)(optimizer, 0.25, total_iters=8),
        module.CosineAnnealingLR(optimizer, 30, 0.01),
        module.ExponentialLR(optimizer, 0.9),
    ]
    return module.SequentialLR(optimizer, parts, [8, 38])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's own SequentialLR passes it
@pytest.mark.parametrize("first", ["LinearLR", "ConstantLR"])
def test_warm_up_like_torch(first):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], 2.0)
    theirs = warm_up_of(torch.optim.lr_scheduler, optimizer, first)
    ours = warm_up_of(lrs, sgd(2.0), first)
    for _ in range(60):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-10)
        optimizer.step()
        theirs.step()
        ours.step()


def joined(module, optimizer, way, parts):
    """Return the schedules to step, one after the other."""
    made = [getattr(module, name)(optimizer, **options) for name, options in parts]
    if way in ("sequential", "sequential in chained"):
        made = [module.SequentialLR(optimizer, made, [7, 20][: len(made) - 1])]
    if way == "sequential in chained":
        made.append(module.StepLR(optimizer, 9, 0.5))
    return [module.ChainedScheduler(made)] if "chained" in way else made


# Without the settings that only stand still, at which PyTorch's SequentialLR divides by 0.
MEMBERS = [(name, options) for name, options in SCHEDULES if options.get("total_iters") != 0]
CYCLES = {"CyclicLR", "OneCycleLR"}  # two in PyTorch share what they note in the groups


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # older ones' SequentialLR passes it
@pytest.mark.parametrize("way", ["in turn", "chained", "sequential", "sequential in chained"])
@pytest.mark.parametrize("first", MEMBERS, ids=lambda member: member[0])
def test_joined_schedules_like_torch(first, way):
    torch = pytest.importorskip("torch")
    choice = random.Random(first[0] + way)
    others = [member for member in MEMBERS if member[0] not in CYCLES]
    for trial in range(6):
        parts = [first, *choice.choices(others, k=1 + trial % 2)]
        choice.shuffle(parts)
        by_hand = trial in (2, 3)
        theirs_of = torch.optim.SGD(
            [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.05}],
            0.2,
            momentum=0.9,
        )
        ours_of = optim.SGD(two_groups(), 0.2, momentum=0.9)
        theirs = joined(torch.optim.lr_scheduler, theirs_of, way, parts)
        ours = joined(lrs, ours_of, way, parts)
        for step in range(59):
            theirs_of.step()
            if by_hand and step in (4, 25):
                for group in [*theirs_of.param_groups, *ours_of.param_groups]:
                    group["lr"] = 0.3
            if step in (6, 21):
                states = [scheduler.state_dict() for scheduler in ours]
                ours_of = optim.SGD(two_groups(), 0.2, momentum=0.9)
                ours = joined(lrs, ours_of, way, parts)
                for scheduler, state in zip(ours, states, strict=True):
                    scheduler.load_state_dict(state)
            for scheduler in [*theirs, *ours]:
                scheduler.step()
            a, b = (
                [(group["lr"], group["momentum"]) for group in optimizer.param_groups]
                for optimizer in (ours_of, theirs_of)
            )
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-13, err_msg=f"{parts}, {step}")


@pytest.mark.torch
@pytest.mark.parametrize("last_epoch", [3, 6])
@pytest.mark.parametrize(("name", "options"), MEMBERS)
def test_going_on_from_a_step_count_like_torch(name, options, last_epoch):
    torch = pytest.importorskip("torch")
    seen = []
    for module, parameter in [(optim, problem()[0]), (torch.optim, torch.zeros(1))]:
        optimizer = module.SGD([parameter], 0.15, momentum=0.9)
        group = optimizer.param_groups[0]
        group["initial_lr"] = 0.01 if name == "CyclicLR" else 0.2
        if name == "OneCycleLR":
            options = options | {"max_lr": 0.3, "div_factor": 1.5, "final_div_factor": 10.0}
            group.update(max_lr=0.3, min_lr=0.02, max_momentum=0.95, base_momentum=0.85)
        scheduler = getattr(module.lr_scheduler, name)(optimizer, **options, last_epoch=last_epoch)
        seen.append([group["lr"]])
        for _ in range(30):
            optimizer.step()
            scheduler.step()
            seen[-1].append(group["lr"])
    np.testing.assert_allclose(*seen, rtol=1e-8, atol=1e-13)


def steps_of(optimizer, *schedulers, count=5):
    """Return the first rates."""
    seen = [optimizer.param_groups[0]["lr"]]
    while len(seen) < count:
        for scheduler in schedulers:
            scheduler.step()
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def test_schedules_in_turn_multiply():
    optimizer = sgd(0.5)
    parts = lrs.ExponentialLR(optimizer, 0.9), lrs.MultiStepLR(optimizer, [3, 6], 0.5)
    assert steps_of(optimizer, *parts) == pytest.approx([0.5, 0.45, 0.405, 0.18225, 0.164025])
    optimizer = sgd(0.5)
    parts = lrs.ConstantLR(optimizer, 0.1, 2), lrs.LinearLR(optimizer, 0.5, total_iters=4)
    expected = [0.025, 0.03125, 0.375, 0.4375, 0.5]
    assert steps_of(optimizer, *parts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: lrs.ExponentialLR(o, 0.9), [0.3, 0.27, 0.243]),
        (lambda o: lrs.StepLR(o, 2, 0.5), [0.3, 0.3, 0.15]),
        (lambda o: lrs.PolynomialLR(o, 2), [0.3, 0.15, 0.0]),
        (lambda o: lrs.MultiplicativeLR(o, lambda step: 0.5), [0.3, 0.15, 0.075]),
        (lambda o: lrs.CosineAnnealingLR(o, 2, 0.1), [0.3, 0.2, 0.1]),
        (lambda o: lrs.LambdaLR(o, lambda step: 0.5**step), [0.3, 0.25, 0.125]),
        (lambda o: lrs.CosineAnnealingWarmRestarts(o, 2), [0.3, 0.25, 0.5]),
        (lambda o: lrs.CyclicLR(o, 0.1, 0.2, 2, cycle_momentum=False), [0.3, 0.15, 0.2]),
    ],
)
def test_a_rate_set_by_hand(make, expected):
    optimizer = sgd(0.5)
    scheduler = make(optimizer)
    optimizer.param_groups[0]["lr"] = 0.3
    state = scheduler.state_dict()
    assert steps_of(optimizer, scheduler, count=3) == pytest.approx(expected)
    optimizer = sgd(0.5)
    scheduler = make(optimizer)
    scheduler.load_state_dict(state)
    assert steps_of(optimizer, scheduler, count=3) == pytest.approx(expected)


def test_a_rate_of_zero_set_by_hand():
    optimizer = sgd(0.0)
    scheduler = lrs.ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 0.4
    assert steps_of(optimizer, scheduler, count=3) == [0.4, 0.2, 0.1]


def test_rounding_does_not_add_up():
    optimizer = sgd(0.3)
    scheduler = lrs.ExponentialLR(optimizer, 0.999)
    assert steps_of(optimizer, scheduler, count=1000) == [0.3 * 0.999**k for k in range(1000)]


def test_sequential_starts_from_the_rate_of_one_cycle():
    optimizer = sgd(0.5)
    parts = [
        lrs.LinearLR(optimizer, 0.1, total_iters=4),
        lrs.OneCycleLR(optimizer, 0.5, total_steps=40, cycle_momentum=False),
    ]
    scheduler = lrs.SequentialLR(optimizer, parts, [4])
    expected = [0.002, 0.0065, 0.011, 0.0155, 0.02]
    assert steps_of(optimizer, scheduler) == pytest.approx(expected)


def test_a_chain_in_a_sequence():
    def chain(optimizer):
        warm = lrs.ConstantLR(optimizer, 0.5, 2)
        return lrs.ChainedScheduler([warm, lrs.ExponentialLR(optimizer, 0.1)])

    optimizer = sgd()
    parts = [chain(optimizer), lrs.StepLR(optimizer, 1), chain(optimizer)]
    inner = lrs.SequentialLR(optimizer, parts, [3, 4])
    scheduler = lrs.SequentialLR(optimizer, [inner, lrs.StepLR(optimizer, 9)], [8])
    expected = [0.5, 0.05, 0.01, 1, 0.5, 0.05, 0.01, 0.001, 1]
    assert steps_of(optimizer, scheduler, count=9) == pytest.approx(expected)


def test_a_chain_goes_on_from_its_last_rate():
    optimizer = sgd()
    parts = [lrs.LambdaLR(optimizer, lambda step: 1 + step), lrs.ExponentialLR(optimizer, 0.5)]
    scheduler = lrs.ChainedScheduler(parts)
    assert steps_of(optimizer, scheduler, count=4) == [1, 1, 1.5, 2]


def test_stored_momentum_is_that_of_the_present_schedule():
    def make():
        optimizer = optim.SGD(problem(), 0.1, momentum=0.9)
        parts = [
            lrs.OneCycleLR(optimizer, 0.1, 30),
            lrs.ExponentialLR(optimizer, 0.9),
            lrs.CyclicLR(optimizer, 0.1, 0.2, 4),
        ]
        return optimizer, lrs.SequentialLR(optimizer, parts, [5, 8])

    for count in (3, 7, 10):
        (optimizer, scheduler), (other, restored) = make(), make()
        steps_of(optimizer, scheduler, count=count)
        restored.load_state_dict(scheduler.state_dict())
        for _ in range(3):
            found, wanted = other.param_groups[0], optimizer.param_groups[0]
            assert (found["lr"], found["momentum"]) == (wanted["lr"], wanted["momentum"])
            scheduler.step()
            restored.step()


@pytest.mark.parametrize("sequential", [False, True])
def test_a_bad_part_of_a_state_changes_nothing(sequential):
    optimizer = sgd()
    parts = [lrs.ExponentialLR(optimizer, 0.5), lrs.StepLR(optimizer, 2)]
    scheduler = (
        lrs.SequentialLR(optimizer, parts, [3]) if sequential else lrs.ChainedScheduler(parts)
    )
    before = scheduler.state_dict()
    scheduler.step()
    bad, now = scheduler.state_dict(), scheduler.state_dict()
    bad["schedulers"] = [before["schedulers"][0], bad["schedulers"][1] | {"step_size": 0}]
    for state in (bad, now | {"schedulers": None}, now | {"schedulers": [None, None]}):
        with pytest.raises(ValueError, match="state"):
            scheduler.load_state_dict(state)
        assert scheduler.state_dict() == now and scheduler.get_last_lr() == [0.5]


NEEDED = {
    "step_size": 2, "gamma": 0.9, "milestones": [2, 4], "T_max": 5, "T_0": 3, "base_lr": 0.1,
    "lr_lambda": lambda step: 1.0, "max_lr": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(set(lrs.__all__) - {"LRScheduler", "SequentialLR", "ChainedScheduler"})
)
def test_every_option_is_checked_and_named(name):
    schedule = getattr(lrs, name)
    options = dict(list(inspect.signature(schedule.__init__).parameters.items())[2:])
    base = {k: NEEDED[k] for k, p in options.items() if p.default is p.empty}
    if name == "OneCycleLR":
        base |= {"epochs": 3, "steps_per_epoch": 4}

    def build(**more):
        return schedule(optim.SGD(problem(), 0.1, momentum=0.9), **base | more)

    build()
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, got str"):
        schedule("x", **base)
    for option, kind in options.items():
        if "bool" in kind.annotation:
            continue
        for wrong in (object(), "text", math.nan, [1.5, "x"]):
            with pytest.raises((TypeError, ValueError), match=f"{name}: .*{option}"):
                build(**{option: wrong})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o: lrs.ConstantLR(o, 1.5), r"factor must lie in \[0, 1\], got 1.5"),
        (lambda o: lrs.PolynomialLR(o, 0), "total_iters must be positive"),
        (lambda o: lrs.CyclicLR(o, 0.1, 0.2, mode="square"), "mode must be triangular"),
        (lambda o: lrs.CyclicLR(o, [0.1, 0.1], 0.2), "2 values of base_lr for 1 parameter"),
        (lambda o: lrs.MultiplicativeLR(o, []), "0 functions for 1 parameter"),
        (lambda o: lrs.ChainedScheduler([]), "schedulers is empty"),
    ],
)
def test_settings_out_of_range(make, text):
    with pytest.raises(ValueError, match=text):
        make(sgd())
