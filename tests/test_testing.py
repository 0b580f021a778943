"""The checks that other tests rely on must themselves fail."""

import gradsmith as gs
import pytest
from gradsmith.testing import assert_close, gradcheck, gradgradcheck


def leaf(*values):
    return gs.tensor(list(values), dtype=gs.float64, requires_grad=True)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_function_off_the_tape(check):
    with pytest.raises(AssertionError, match="on the tape"):
        check(lambda x: (x * x).detach(), leaf(1.0, 2.0))


def test_one_output_off_the_tape():
    x = leaf(1.0, 2.0)
    assert gradcheck(lambda x: (x * x, gs.ones(2, dtype=gs.float64)), x)
    with pytest.raises(AssertionError, match="input 0, output 1"):
        gradcheck(lambda x: (x * x, (x * 3).detach()), x)


class Wrong(gs.autograd.Function):
    """x squared, with the gradient of x."""

    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g


class WrongTwice(gs.autograd.Function):
    """x cubed, with a first gradient that is right and off the tape."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (3 * x * x).detach()


def test_wrong_gradients():
    with pytest.raises(AssertionError, match="by the tape and"):
        gradcheck(Wrong.apply, leaf(1.0, 2.0))
    assert gradcheck(WrongTwice.apply, leaf(1.0, 2.0))
    with pytest.raises(AssertionError, match="by the tape and"):
        gradgradcheck(WrongTwice.apply, leaf(1.0, 2.0))


def test_a_piecewise_constant_slope():
    assert gradgradcheck(gs.floor, leaf(1.3, 2.6))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_inputs_that_cannot_be_checked(check):
    with pytest.raises(ValueError, match="no input requires grad"):
        check(gs.exp, gs.ones(2))
    with pytest.raises(ValueError, match="contiguous float64"):
        check(gs.exp, gs.ones(2, requires_grad=True))


def test_assert_close():
    assert_close(gs.tensor([1.0, float("nan")]), [1.0, float("nan")])
    with pytest.raises(AssertionError, match="1 of 2 elements differ; worst at"):
        assert_close(gs.tensor([1.0, 2.0]), [1.0, 2.1])
    with pytest.raises(AssertionError, match="shapes differ"):
        assert_close(gs.ones(2), gs.ones(2, 1))
