"""What functions over ops refuse: the errors name function, argument and what is allowed."""

import gradsmith as gs
import pytest

ONES, WIDE = gs.ones(2, 2), gs.ones(2, 2, dtype=gs.float64)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gs.inner([1, 2], ONES), "inner: input must be a Tensor, got list"),
        (lambda: gs.inner(gs.tensor(1.0), 2), "inner: other must be a Tensor, got int"),
        (lambda: gs.diff([1, 2]), "diff: input must be a Tensor, got list"),
        (lambda: gs.diff(ONES, prepend=0.0), "diff: prepend must be a Tensor, got float"),
        (lambda: gs.diff(ONES, append=[1]), "diff: append must be a Tensor, got list"),
        (lambda: gs.cdist([1], ONES), "cdist: x1 must be a Tensor, got list"),
        (lambda: gs.cdist(ONES, 1.0), "cdist: x2 must be a Tensor, got float"),
        (lambda: gs.cdist(ONES, WIDE), "cdist: x2 is float64, x1 float32; the dtypes must agree"),
        (lambda: gs.multinomial([0.0, 1], 1), "multinomial: input must be a Tensor, got list"),
        (lambda: gs.bernoulli([0.5]), "bernoulli: input must be a Tensor, got list"),
        (lambda: gs.tensordot(ONES, [1]), "tensordot: b must be a Tensor, got list"),
        (
            lambda: gs.tensordot(ONES, ONES, dims=1.0),
            "tensordot: dims must be an int or two lists, got float",
        ),
        (lambda: gs.tensordot(ONES, WIDE), "tensordot: b is float64, a float32; the dtypes"),
        (lambda: gs.inner(ONES, WIDE), "inner: other is float64, input float32; the dtypes"),
        (lambda: gs.einsum("ij->i", 5), "einsum: operand 0 must be a Tensor, got int"),
        (lambda: gs.einsum("i,ij", ONES, [5]), "einsum: operand 1 must be a Tensor, got list"),
        (
            lambda: gs.einsum("ij,ij", ONES, WIDE),
            "einsum: operand 1 is float64, operand 0 float32; the dtypes must agree",
        ),
        (lambda: gs.trace([1]), "trace: input must be a Tensor, got list"),
        (lambda: gs.diag_embed([1]), "diag_embed: input must be a Tensor, got list"),
        (lambda: gs.diag_embed(ONES, 1.0), "diag_embed: offset must be an int, got float"),
        (lambda: gs.diag(ONES[0], 1.0), "diag: diagonal must be an int, got float"),
        (lambda: gs.nan_to_num(5), "nan_to_num: input must be a Tensor, got int"),
        (lambda: gs.nan_to_num(ONES, "a"), "nan_to_num: nan must be a Tensor or a number, got str"),
        (lambda: gs.nan_to_num(ONES, neginf=[1]), "nan_to_num: neginf must .* got list"),
        (lambda: gs.cumprod([1], 0), "cumprod: input must be a Tensor, got list"),
        (lambda: gs.cumprod([1], 0, dtype="int64"), "cumprod: input must be a Tensor, got list"),
        (lambda: gs.cummax([1], 0), "cummax: input must be a Tensor, got list"),
        (lambda: gs.logcumsumexp([1], 0), "logcumsumexp: input must be a Tensor, got list"),
        (lambda: gs.mm([1], ONES), "mm: input must be a Tensor, got list"),
        (lambda: gs.mv(ONES, [1]), "mv: vec must be a Tensor, got list"),
        (lambda: gs.addmm(1, ONES, ONES), "addmm: input must be a Tensor, got int"),
        (lambda: gs.addmm(ONES, ONES, ONES, beta="a"), "addmm: beta must .* number, got str"),
        (lambda: gs.take_along_dim(ONES, [0]), "take_along_dim: indices must be a Tensor, got"),
    ],
)
def test_wrong_types_are_named(call, text):
    with pytest.raises(TypeError, match=f"^{text}"):
        call()


@pytest.mark.parametrize("beta", [0, 1, 2.0])
def test_addmm_is_of_the_shape_of_the_product(beta):
    batch = ONES.expand(3, 2, 2)
    for shape in ((), (1,), (2,), (2, 1), (1, 2), (2, 2)):
        x = gs.ones(shape)
        assert gs.addmm(x, ONES, ONES, beta=beta).tolist() == [[2 + beta] * 2] * 2
        assert gs.baddbmm(x, batch, batch, beta=beta).tolist() == [[[2 + beta] * 2] * 2] * 3
    for shape in ((4, 4), (3,), (3, 2, 2), (1, 2, 2)):
        with pytest.raises(ValueError, match=r"addmm: input .* cannot be broadcast to the product"):
            gs.addmm(gs.ones(shape), ONES, ONES, beta=beta)
    for shape in ((4, 4), (2, 2, 2), (1, 3, 2, 2)):
        with pytest.raises(ValueError, match=r"baddbmm: input .* to the product's shape"):
            gs.baddbmm(gs.ones(shape), batch, batch, beta=beta)
    with pytest.raises(ValueError, match="cannot be broadcast"):
        gs.addmm(ONES, ONES[:1], ONES[:, :1], beta=beta)
