"""Reductions, softmax, losses and normalisation on CUDA, against the CPU; see test_cuda.py."""

import gradsmith as gs
import pytest
from gradsmith import nn
from test_cuda import check, gpu, on_cuda, rand, run_emulated, same
from test_cuda_index import BY_NAME, close, run

REDUCTIONS = ["sum", "mean", "var", "std", "prod", "amax", "amin", "argmax", "argmin", "_max_dim"]
REDUCTIONS += ["_min_dim", "any", "all", "norm", "cumsum", "logsumexp", "sum_to_size"]
SOFTMAX = ["softmax", "log_softmax"]
LOSSES = ["cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]
LOSSES += ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]
NORMS = ["layer_norm", "rms_norm", "group_norm", "batch_norm"]
PREDICATES = ["isnan", "isinf", "isfinite", "logical_not"]


def test_emulated():
    run_emulated(__file__)


@gpu
@pytest.mark.parametrize("dtype", [gs.float32, gs.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", [*REDUCTIONS, *SOFTMAX, *LOSSES, *NORMS, *PREDICATES])
def test_case(name, dtype):
    case = BY_NAME[name]
    for i, sample in enumerate(case.draw()):
        layouts = [None, "transposed", "step"] if sample.layouts and i < 2 else [None]
        for layout in layouts:
            expected = run(case, sample, dtype, layout, "cpu")
            actual = run(case, sample, dtype, layout, "cuda")
            close(actual, expected, case, dtype)
            for y in actual:
                assert not isinstance(y, gs.Tensor) or y.device == gs.device("cuda")


@gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int64", "int32", "uint8", "bool"])
def test_reductions_of_other_dtypes(dtype):
    x = rand(5, 70, low=0, high=3).to(dtype)
    ops = [lambda x: x.sum(1), lambda x: x.argmax(0), lambda x: x.cumsum(1), lambda x: x.any(0)]
    ops += [lambda x: x.all(1), lambda x: x.max(1)[0], lambda x: x.min(0)[1]]
    if x.dtype.is_floating_point:
        ops += [lambda x: x.mean(), lambda x: x.var(0), lambda x: x.softmax(1)]
    for op in ops:
        check(op, x, backward=False)


@gpu
def test_long_reductions():
    x = rand(3, 70_000)
    check(lambda x: x.sum(), x)
    check(lambda x: x.t().var(0), x, rtol=1e-5, atol=1e-9)
    check(lambda x: x.argmax(1), x, backward=False)
    check(lambda x: x.amax(), x)


@gpu
def test_targets_out_of_range():
    x = on_cuda(rand(3, 4))
    loss = nn.functional.cross_entropy(x, gs.tensor([1, -100, 2]).cuda())
    same(loss, nn.functional.cross_entropy(x.cpu(), gs.tensor([1, -100, 2])))
    for bad in (4, -1):
        for op in (nn.functional.cross_entropy, nn.functional.nll_loss):
            with pytest.raises(IndexError, match=rf"target {bad} at position 1 is not a class"):
                op(x, gs.tensor([0, bad, -100]).cuda())
    with pytest.raises(ValueError, match="must be in"):
        nn.functional.binary_cross_entropy(x + 3, x)


@gpu
@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(6), lambda: nn.BatchNorm2d(6)])
def test_running_statistics(make):
    here, there = make(), make().to("cuda")
    shape = (5, 6) if isinstance(here, nn.BatchNorm1d) else (2, 6, 3, 3)
    for step in range(3):
        x = rand(*shape, seed=step)
        same(there(on_cuda(x)), here(x), rtol=1e-5, atol=1e-6)
    for name, buffer in here.named_buffers():
        same(dict(there.named_buffers())[name], buffer, rtol=1e-5)
    here.eval()
    there.eval()
    check_eval = rand(*shape, seed=9)
    same(there(on_cuda(check_eval)), here(check_eval), rtol=1e-5, atol=1e-6)


@gpu
@pytest.mark.parametrize("dtype", [gs.float32, gs.float64], ids=["float32", "float64"])
def test_fused_slopes(dtype):
    x = rand(7, 30, low=-4, high=4, dtype=dtype)
    ops = [gs.relu, gs.sigmoid, gs.tanh, gs.silu, gs.hardsigmoid, gs.hardswish, gs.log_sigmoid]
    ops += [gs.mish, gs.elu, gs.softplus, gs.gelu, lambda x: gs.leaky_relu(x, 0.1)]
    ops += [lambda x: gs.gelu(x, "tanh"), lambda x: x.clamp(-1, 2)]
    for op in ops:
        check(op, x)
        y = on_cuda(x).requires_grad_()
        (fused,) = gs.autograd.grad(op(y).sum(), y)
        (composed,) = gs.autograd.grad(op(y).sum(), y, create_graph=True)
        same(fused, composed.cpu(), 2e-5 if dtype is gs.float32 else 1e-12, 2e-6)
