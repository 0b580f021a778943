"""ReduceLROnPlateau: modes, thresholds, and PyTorch's rates."""

import math

import gradsmith as gs
import pytest
from gradsmith import nn, optim
from gradsmith.optim import lr_scheduler as lrs


def problem():
    return [nn.Parameter(gs.zeros(2))]


def sgd(lr=1.0):
    return optim.SGD(problem(), lr)


def rates(scheduler, values):
    found = []
    for value in values:
        scheduler.step(value)
        found.append(scheduler.get_last_lr()[0])
    return found


@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_plateau(mode):
    optimizer = optim.SGD(problem(), 1.0)
    scheduler = lrs.ReduceLROnPlateau(
        optimizer, patience=1, cooldown=1, min_lr=0.05, threshold=0.1, threshold_mode=mode
    )
    rates = []
    for value in [10, 5, 4.99, 4.98, 4.97, 4.96, 4.95, 4.94, 4.93, 1, 1, 1, 1]:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:3] == [1, 1, 1] and rates[3] == pytest.approx(0.1) and rates[-1] == 0.05
    other = lrs.ReduceLROnPlateau(optimizer)
    other.load_state_dict(scheduler.state_dict())
    assert other.best == scheduler.best and other.patience == 1


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
    values = [sign * (1 + 0.1 * math.sin(k)) for k in range(60)]
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(theirs_of.param_groups[0]["lr"])
    ours = lrs.ReduceLROnPlateau(sgd(), **options, cooldown=1)
    assert rates(ours, values) == pytest.approx(expected)


@pytest.mark.parametrize("metrics", [None, "x", []])
def test_what_a_plateau_is_measured_by(metrics):
    scheduler = lrs.ReduceLROnPlateau(sgd())
    with pytest.raises(TypeError, match="ReduceLROnPlateau: step: metrics must be a number, got"):
        scheduler.step(metrics)
    assert scheduler.last_epoch == 0
