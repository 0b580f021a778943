"""Schedules beyond their formulas (tests/test_optim.py): plateaus, joining, stored state."""

import math

import gradsmith as gs
import pytest
from gradsmith import nn, optim
from gradsmith.optim import lr_scheduler as lrs


def sgd(lr=1.0):
    return optim.SGD([nn.Parameter(gs.zeros(2))], lr)


def rates(scheduler, values):
    found = []
    for value in values:
        scheduler.step(value)
        found.append(scheduler.get_last_lr()[0])
    return found


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_of_an_equal_value(mode):
    scheduler = lrs.ReduceLROnPlateau(sgd(), mode, patience=1)
    assert rates(scheduler, [0.9] * 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "threshold", "values", "cut"),
    [
        ("max", "rel", 0.1, [1.0, 1.05, 1.09], True),
        ("max", "rel", 0.1, [1.0, 1.11, 1.23], False),
        ("max", "abs", 0.1, [-1.0, -0.95, -0.91], True),
        ("max", "abs", 0.1, [-1.0, -0.89, -0.78], False),
        ("min", "rel", 0.1, [1.0, 0.95, 0.91], True),
        ("min", "rel", 0.1, [1.0, 0.89, 0.79], False),
        ("min", "abs", 0.1, [-1.0, -1.05, -1.09], True),
        ("min", "abs", 0.1, [-1.0, -1.11, -1.22], False),
    ],
)
def test_plateau_thresholds(mode, threshold_mode, threshold, values, cut):
    scheduler = lrs.ReduceLROnPlateau(
        sgd(), mode, patience=1, threshold=threshold, threshold_mode=threshold_mode
    )
    assert (rates(scheduler, values)[-1] < 1) == cut


@pytest.mark.torch
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_like_torch(mode, threshold_mode, sign):
    torch = pytest.importorskip("torch")
    options = {"mode": mode, "patience": 1, "threshold": 0.05, "threshold_mode": threshold_mode}
    theirs_of = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs_of, **options, cooldown=1)
    values = [sign * (1 + 0.1 * math.sin(k)) for k in range(30)]
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(theirs_of.param_groups[0]["lr"])
    ours = lrs.ReduceLROnPlateau(sgd(), **options, cooldown=1)
    assert rates(ours, values) == pytest.approx(expected)


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
