"""CUDA devices. Tests marked gpu compare with the CPU; they need a device. On machines without one,
test_emulated runs them in a process of its own, where the emulator of tests/cuda_emu stands in.
"""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.testing import assert_close
from op_cases import CASES, call, map_arrays
from op_cases._case import arrays_of, as_list, cast

ROOT = Path(__file__).parents[1]
DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"]


def gpu(test):
    missing = pytest.mark.skipif(not gs.cuda.is_available(), reason=f"no GPU: {gs.cuda.reason()}")
    return pytest.mark.gpu(missing(test))


def run_with(library, *command):
    environment = {**os.environ, "GRADSMITH_CUDA_LIBRARY": str(library)}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=600
    )


# ---- without a device ----

WITHOUT_DEVICE = """
import gradsmith as gs

assert not gs.cuda.is_available() and gs.cuda.device_count() == 0
assert "built without CUDA" in gs.cuda.reason()
for use in (
    lambda: gs.ones(2).to("cuda"),
    lambda: gs.ones(2).cuda(),
    lambda: gs.zeros(2, device="cuda"),
    lambda: gs.tensor([1.0], device="cuda:0"),
    lambda: gs.nn.Linear(2, 2).to("cuda"),
    lambda: gs.cuda.get_device_name(),
    lambda: gs.cuda.synchronize(),
    lambda: gs.cuda.memory_stats("cuda:0"),
):
    try:
        use()
    except RuntimeError as error:
        assert f"no device: {gs.cuda.reason()}" in str(error), error
    else:
        raise AssertionError("nothing was raised")
from gradsmith.cli.info import info

assert f"no device: {gs.cuda.reason()}" in info()
assert (gs.ones(2) + 1).tolist() == [2, 2]
"""


def test_without_a_device(tmp_path):
    result = run_with(tmp_path / "no_such_library.so", "-c", WITHOUT_DEVICE)
    assert result.returncode == 0, result.stderr


def test_import_does_not_load_cuda():
    code = "import gradsmith; assert 'libgradsmith_cuda' not in open('/proc/self/maps').read()"
    if not Path("/proc/self/maps").exists():
        pytest.skip("this system has no /proc/self/maps")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_device_argument():
    with pytest.raises(ValueError, match="must be 'cuda', 'cuda:N' or an index, got 'cpu'"):
        gs.cuda.synchronize("cpu")


def test_cpu_info():
    cpu = gs._core.cpu_info()
    assert cpu["brand"] and cpu["physical_cores"] >= 1 and cpu["usable_cpus"] >= 1
    assert cpu["l1d_bytes"] >= 0 and isinstance(cpu["features"], list)


def emulated_library():
    named = os.environ.get("GRADSMITH_TEST_CUDA_LIBRARY")
    if named:
        return Path(named)
    return ROOT / "build/tests/cpp/cuda_emu/libgradsmith_cuda_emulated.so"


def run_emulated(file):
    """The tests marked gpu in this file, on the emulator."""
    if gs.cuda.is_available():
        pytest.skip("there is a device: the tests marked gpu have run on it")
    library = emulated_library()
    if not library.is_file():
        pytest.skip(
            f"no {library}: build the target gradsmith_cuda_emulated with -DGRADSMITH_TESTS=ON, or "
            "name it in GRADSMITH_TEST_CUDA_LIBRARY"
        )
    pytest_gpu = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", file]
    result = run_with(library, *pytest_gpu)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout and "skipped" not in result.stdout, result.stdout


def test_emulated():
    run_emulated(__file__)


# ---- on a device ----


def rand(*shape, low=-2.0, high=2.0, dtype="float32", seed=0):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return gs.tensor(values, dtype=dtype)


def on_cuda(x):
    y = x.detach().to("cuda")
    assert str(y.device) == "cuda:0"
    return y.requires_grad_(x.requires_grad)


def same(actual, expected, rtol=1e-6, atol=0.0):
    """Equal values, whatever the device."""
    assert actual.dtype is expected.dtype
    assert_close(actual.detach().cpu().double(), expected.detach().double(), rtol, atol)


def check(fn, *inputs, backward=True, rtol=2e-5, atol=2e-6):
    """The same values and gradients on both devices."""
    here = [x.detach().requires_grad_(backward and x.dtype.is_floating_point) for x in inputs]
    there = [on_cuda(x) for x in here]
    expected, actual = fn(*here), fn(*there)
    assert actual.device == gs.device("cuda")
    same(actual, expected, rtol, atol)
    if not (backward and expected.requires_grad):
        return
    seed = rand(*expected.shape, seed=1, dtype=expected.dtype)
    expected.backward(seed)
    actual.backward(on_cuda(seed))
    for x, y in zip(here, there, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            assert str(y.grad.device) == "cuda:0"
            same(y.grad, x.grad, rtol, atol)


UNARY = {
    **dict.fromkeys(["sqrt", "rsqrt", "reciprocal"], (0.1, 3.0)),
    **dict.fromkeys(["log", "log1p", "log2", "log10"], (0.1, 3.0)),
    **dict.fromkeys(["asin", "acos"], (-0.9, 0.9)),
    **dict.fromkeys(["neg", "abs", "sign", "square", "floor", "ceil", "round", "trunc"], (-2, 2)),
    **dict.fromkeys(["exp", "exp2", "expm1", "sin", "cos", "sinh", "cosh", "tanh"], (-2, 2)),
    **dict.fromkeys(["atan", "erf", "sigmoid", "log_sigmoid", "relu", "relu6"], (-2, 2)),
    **dict.fromkeys(["silu", "gelu", "mish", "softsign", "hardsigmoid"], (-2, 2)),
    "tan": (-1.2, 1.2),
}


@gpu
@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    low, high = UNARY[name]
    op = getattr(gs, name)
    check(op, rand(3, 65, low=low, high=high))
    check(op, rand(5, 7, low=low, high=high, dtype="float64"), rtol=1e-10, atol=1e-12)
    check(lambda x: op(x.t()[1:, ::2]), rand(6, 9, low=low, high=high))
    check(op, rand(8, low=low, high=high, dtype="bfloat16"), rtol=2e-2)
    check(op, rand(0, 3))
    check(op, rand(low=max(low, 0.1), high=high))


@gpu
def test_unary_with_parameters():
    x = rand(4, 33)
    check(lambda x: x.gelu("tanh"), x)
    check(lambda x: x.clamp(-0.5, 1), x)
    check(lambda x: x.clamp(max=0.25), x)
    check(lambda x: gs.hardtanh(x, -1, 0.5), x)
    for op in (gs.leaky_relu, gs.elu, gs.selu, gs.softplus, gs.hardswish):
        check(op, x)
    for op in (gs.neg, gs.abs, gs.sign, gs.square, gs.relu):
        check(op, gs.tensor([-3, 0, 5]))


@gpu
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_binary(name):
    op = getattr(gs, name)
    a, b = rand(3, 65), rand(3, 65, low=0.5, high=3.0, seed=2)
    check(op, a, b)
    check(lambda a, b: op(a.t(), b.t()), a, b)
    check(op, a.double(), b.double(), rtol=1e-12)
    check(op, a.bfloat16(), b.bfloat16(), rtol=2e-2)
    check(op, a[:, :1], b, backward=False)
    check(op, a[0], b[:, None], backward=False)
    check(lambda a: op(a, 1.5), a)
    check(lambda a: op(2, a), b)
    check(lambda a: op(a, gs.tensor(1.5)), a)
    i, j = gs.tensor([-7, 5, 2**40]), gs.tensor([2, 3, 7])
    check(op, i, j)
    check(op, i, j.to("int32"))
    check(op, a[0, :3], j, backward=False)
    if name != "div":
        check(lambda i: op(i, 2**60 + 1), i)  # more digits than a double has


@gpu
def test_remainders_angles_and_bits():
    a, b = rand(5, 7), rand(5, 7, low=0.5, high=2, seed=2)
    for op in (gs.remainder, gs.floor_divide, gs.atan2):
        check(op, a, b, backward=op is not gs.floor_divide)
        check(op, a.double(), -b.double(), backward=False)
        check(lambda x, op=op: op(x, 0.75), a, backward=False)
    for large in (gs.tensor([2.0**23 + 1, -(2.0**23) - 1]), gs.tensor([2.0**52 + 1]).double()):
        check(lambda x: x // 1, large, backward=False)  # a half cannot be added
    i, j = gs.tensor([-7, 5, 0, 2**40]), gs.tensor([3, -2, 5, 7])
    for dtype in ("int64", "int32", "uint8"):
        x, y = i.abs().to(dtype), j.abs().to(dtype)
        for op in (lambda x, y: x // y, lambda x, y: x % y, lambda x, y: x & y):
            check(op, x, y)
        for op in (lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x):
            check(op, x, y)
    check(lambda x, y: x // y, i, j)
    check(lambda x, y: x % y, i, j)
    check(lambda x: ~x, gs.tensor([True, False]))


@gpu
def test_binary_more():
    a, b = rand(3, 5, low=0.5, high=2), rand(3, 5, seed=2)
    check(gs.pow, a, b, backward=False)
    check(lambda x: x**3, b, backward=False)
    for op in (gs.eq, gs.ne, gs.lt, gs.le, gs.gt, gs.ge):
        check(op, a.round(), b.round())
        check(lambda x, op=op: op(x, 1), a.round())
        check(op, gs.tensor([1, 2, 3]), gs.tensor([3, 2, 1]))
    on, off = gs.tensor([True, True, False, False]), gs.tensor([True, False, True, False])
    for op in (gs.logical_and, gs.logical_or, gs.logical_xor):
        check(op, on, off)
        check(op, a, b.round())
    check(lambda x, y: (x & y) | (x ^ y), on, off)
    check(lambda x, y: gs.lerp(x, y, 0.25), a, b)


@gpu
@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_casts(source, target):
    x = gs.tensor([0, 1, 2, 77, 100], dtype=source)
    check(lambda x: x.to(target), x)
    check(lambda x: x[::2].to(target), x)
    y = gs.zeros(5, dtype=target, device="cuda")
    assert_close(y.copy_(x).cpu().float(), x.to(target).float())


@gpu
def test_copies():
    x = gs.arange(60, dtype="float32").reshape(3, 4, 5)
    views = [x, x.transpose(0, 2), x[1:, ::2], x.flip(0, 2), x[:, :1].expand(3, 6, 5), x[0:0]]
    views += [x[1, 2, 3], x.permute(2, 0, 1)[::2]]
    for v in views:
        assert_close(v.to("cuda").cpu(), v)
    y = on_cuda(x)
    same = [y, y.transpose(0, 2), y[1:, ::2], y.flip(0, 2), y[:, :1].expand(3, 6, 5), y[0:0]]
    for v, w in zip(views, [*same, y[1, 2, 3], y.permute(2, 0, 1)[::2]], strict=True):
        assert_close(w.cpu(), v)
        assert_close(w.clone().cpu(), v)
        assert_close(w.contiguous().reshape(-1).cpu(), v.reshape(-1))
    assert y.to("cuda") is y and y.cuda() is y and y.to("cuda", copy=True) is not y
    z = gs.zeros(5, 3)
    z.t().copy_(y[:, 0])
    assert_close(z, x[:, 0].t())
    y[:, 0].copy_(gs.ones(5))
    assert (y.cpu()[:, 0] == 1).all() and (y.cpu()[:, 1] == x[:, 1]).all()
    a, b = rand(2, 3), rand(2, 3, seed=4)
    for join in (gs.cat, gs.stack):
        check(lambda a, b, join=join: join([a, b], 1), a, b)
    check(lambda a: gs.pad(a, (1, 2, 0, 1), value=0.5), a)
    check(lambda a: a[1].unsqueeze(1).expand(3, 1).flip(0)[:2].squeeze(1), a, backward=False)


@gpu
def test_creation():
    assert gs.zeros(2, 3, device="cuda").tolist() == [[0] * 3] * 2
    for dtype in DTYPES:
        x = gs.full((2, 2), 3, dtype=dtype, device="cuda")
        assert (
            x.dtype.name == dtype
            and x.cpu().float().tolist() == [[float(dtype != "bool") * 2 + 1] * 2] * 2
        )
    assert gs.ones_like(x).device == gs.device("cuda") and gs.empty_like(x).is_contiguous()
    assert gs.eye(2, device="cuda").tolist() == [[1, 0], [0, 1]]
    assert gs.arange(3, device="cuda").tolist() == [0, 1, 2]
    assert gs.linspace(0, 1, 3, device="cuda").tolist() == [0, 0.5, 1]
    for make in (
        lambda d: gs.randn(5, device=d),
        lambda d: gs.randint(0, 99, (5,), device=d),
        lambda d: gs.empty(5, device=d).uniform_(1, 2),
        lambda d: gs.empty(5, device=d).bernoulli_(0.5),
    ):
        gs.manual_seed(3)
        expected = make("cpu")
        gs.manual_seed(3)
        assert_close(make("cuda").cpu(), expected)


@gpu
def test_values():
    x = gs.tensor([[1.5, 2.0]], device="cuda")
    assert x[0, 1].item() == 2 and float(x[0, 0]) == 1.5 and int(x[0, 1]) == 2 and bool(x[0, 0])
    assert x.tolist() == [[1.5, 2.0]] and x.bfloat16().tolist() == x.tolist()
    assert repr(x) == "tensor([[1.5, 2. ]], device='cuda:0')"
    assert "bfloat16" in repr(x.bfloat16())
    with pytest.raises(TypeError, match="numpy: the tensor is on cuda:0; copy it with"):
        x.numpy()
    with pytest.raises(TypeError, match="on cuda:0"):
        np.asarray(x)
    with pytest.raises(ValueError, match="exactly one element"):
        x.item()
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.device == x.device and again.tolist() == x.tolist()


@gpu
@pytest.mark.parametrize(
    "a, b",
    [
        ((5, 7), (7, 3)),
        ((7,), (7, 3)),
        ((5, 7), (7,)),
        ((7,), (7,)),
        ((2, 5, 7), (7, 3)),
        ((2, 5, 7), (2, 7, 3)),
        ((3, 1, 5, 7), (2, 7, 3)),
        ((5, 0), (0, 3)),
        ((0, 4), (4, 3)),
        ((130, 70), (70, 129)),
    ],
)
def test_matmul(a, b):
    broadcast = len(a) == 4
    check(gs.matmul, rand(*a), rand(*b, seed=1), backward=not broadcast, atol=2e-5)
    if len(a) > 1 and len(b) > 1 and not broadcast:
        check(
            lambda x, y: gs.matmul(x.transpose(-2, -1), y.transpose(-2, -1)),
            rand(*a[:-2], a[-1], a[-2]),
            rand(*b[:-2], b[-1], b[-2], seed=1),
            atol=2e-5,
        )
    check(
        gs.matmul,
        rand(*a, dtype="float64"),
        rand(*b, seed=1, dtype="float64"),
        backward=not broadcast,
        rtol=1e-12,
        atol=1e-12,
    )
    check(gs.matmul, rand(*a).half(), rand(*b, seed=1).half(), backward=False, rtol=1e-2, atol=1e-2)


@gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_16_bits(dtype):
    x, w, b = (rand(*s, dtype=dtype, seed=i) for i, s in enumerate([(9, 24), (17, 24), (17,)]))
    bounds = {"rtol": 1e-2, "atol": 4e-2}
    check(lambda x, w: x @ w.t(), x, w, **bounds)
    check(lambda x, w, b: gs._core.linear(x, w, b, activation="gelu"), x, w, b, **bounds)
    y = on_cuda(x) @ on_cuda(w).t()
    assert y.dtype is x.dtype and y.device == gs.device("cuda")


FLOAT32_MATH = """
import gradsmith as gs

gs.manual_seed(0)
a, b = gs.randn(20, 130), gs.randn(130, 12)
exact = (a.double() @ b.double()).float()
print(float((a.cuda() @ b.cuda() - exact.cuda()).abs().max()))
"""


@gpu
def test_float32_math(monkeypatch):
    errors = {}
    for math in ("fma", "tf32x3", "tf32"):
        monkeypatch.setenv("GRADSMITH_CUDA_FLOAT32", math)
        command = [sys.executable, "-c", FLOAT32_MATH]
        errors[math] = float(subprocess.run(command, capture_output=True, check=True).stdout)
    assert max(errors["fma"], errors["tf32x3"]) < 1e-5 < 1e-3 < errors["tf32"] < 0.1, errors
    assert errors["fma"] != errors["tf32x3"]
    monkeypatch.setenv("GRADSMITH_CUDA_FLOAT32", "fast")
    result = subprocess.run([sys.executable, "-c", FLOAT32_MATH], capture_output=True, text=True)
    assert "must be 'fma', 'tf32x3' or 'tf32'" in result.stderr


@gpu
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh", "gelu", "silu"])
def test_linear(activation):
    x, w, b = rand(6, 9), rand(4, 9, seed=1), rand(4, seed=2)

    def op(*args):
        return gs._core.linear(*args, activation=activation)

    check(op, x, w, b, atol=1e-5)
    check(op, x, w, b, backward=False, atol=1e-5)
    check(op, rand(2, 3, 9), w, b, atol=1e-5)
    check(op, rand(9), w, b, atol=1e-5)
    check(op, x, w, atol=1e-5)
    check(op, x.double(), w.double(), b.double(), rtol=1e-12, atol=1e-12)


@gpu
def test_module():
    gs.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Tanh())
    twin = copy.deepcopy(model).to("cuda")
    x = rand(5, 8)
    seed = rand(5, 4, seed=1)
    model(x).backward(seed)
    twin(on_cuda(x)).backward(on_cuda(seed))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert isinstance(q, nn.Parameter) and q.grad.device == gs.device("cuda")
        assert_close(q.grad.cpu(), p.grad, 1e-5, 1e-6)
    state = twin.state_dict()
    assert all(v.device == gs.device("cuda") for v in state.values())
    model.load_state_dict(state)  # across devices
    for net in (model, twin):
        gs.optim.SGD(net.parameters(), lr=0.1).step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(q.cpu(), p, 1e-5, 1e-6)


@gpu
def test_autograd():
    x = on_cuda(rand(3, 4).requires_grad_())
    y = x * x * x
    (g,) = gs.autograd.grad(y, x, gs.ones_like(y), create_graph=True)
    (gg,) = gs.autograd.grad(g, x, gs.ones_like(g))
    assert_close(gg.cpu(), (6 * x.detach()).cpu(), 1e-6)
    here = rand(3).requires_grad_()
    (here.to("cuda") * 3).to("cpu").backward(gs.ones(3))
    assert here.grad.tolist() == [3, 3, 3] and str(here.grad.device) == "cpu"
    for _ in range(2):
        (x * 2).backward(gs.ones_like(x))
    assert x.grad.tolist() == [[4.0] * 4] * 3
    with gs.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="produced NaN"):
        gs.log(x * 0 - 1)
    bias = on_cuda(rand(4).requires_grad_())
    (x.detach() + bias).backward(gs.ones_like(x))
    assert bias.grad.tolist() == [3.0] * 4


@gpu
def test_mixed_devices_raise():
    here, there = gs.ones(2, 2), gs.ones(2, 2, device="cuda")
    for op in (gs.add, gs.mul, gs.lt, gs.maximum, gs.matmul, gs.logical_and):
        for a, b in ((here, there), (there, here)):
            with pytest.raises(ValueError, match=r"on different devices, c\w+(:0)? and c"):
                op(a, b)
    with pytest.raises(ValueError, match="different devices"):
        gs.nn.functional.linear(there, there, here[0])
    with pytest.raises(ValueError, match="different devices"):
        here.add_(there)
    with pytest.raises(ValueError, match="a result on cuda:0 cannot be stored on cpu"):
        gs.tensor(1.0).add_(there[0, 0])
    with pytest.raises(ValueError, match="different devices"):
        gs.cat([here, there])
    with pytest.raises(ValueError, match="different devices"):
        here.index_add(0, gs.tensor([0, 1]), there)
    with pytest.raises(ValueError, match="different devices"):
        gs.nn.functional.cross_entropy(here, gs.tensor([0, 1]).cuda())
    with pytest.raises(ValueError, match="the output on cuda:0"):
        on_cuda(rand(2).requires_grad_()).exp().backward(gs.ones(2))
    with pytest.raises(ValueError, match="grad: is on cpu"):
        there.grad = here


@gpu
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_op(case):
    """The CPU's result, on the device; with one argument on the CPU the same or a clear error."""
    for sample in case.draw():
        expected = call(case, sample, gs.float32)
        count = len(list(arrays_of(sample.args)))
        for on_cpu in [None, *range(count)] if count > 1 else [None]:
            places = iter([at != on_cpu for at in range(count)])

            def tensor(a, places=places):
                t = gs.tensor(cast(a, gs.float32))
                return t.cuda() if next(places, True) else t

            args = map_arrays(sample.args, tensor), map_arrays(sample.kwargs, tensor)
            try:
                actual = as_list(case.op(*args[0], **args[1]))
            except ValueError as error:
                if on_cpu is None or "different devices" not in str(error):
                    raise
                continue
            for y, e in zip(actual, expected, strict=True):
                if isinstance(y, gs.Tensor):
                    same(y, e, rtol=1e-4, atol=1e-5)
                    assert on_cpu is not None or y.device == gs.device("cuda")


@gpu
def test_memory_and_devices():
    gs.cuda.synchronize()
    before = gs.cuda.memory_allocated()
    x = gs.zeros(1 << 18, device="cuda")
    assert gs.cuda.memory_allocated() - before >= 1 << 20
    assert gs.cuda.max_memory_allocated() >= gs.cuda.memory_allocated("cuda:0")
    del x
    assert gs.cuda.memory_allocated() == before
    assert set(gs.cuda.memory_stats()) >= {"in_use_bytes", "peak_bytes", "cached_bytes"}
    gs.cuda.empty_cache()
    assert gs.cuda.get_device_name() and gs.cuda.get_device_capability(0) >= (5, 0)
    assert gs.cuda.total_memory() > 0 and gs.cuda.reason() == ""
    with pytest.raises(RuntimeError, match="device index 9 out of range"):
        gs.zeros(1, device="cuda:9")
    with pytest.raises(MemoryError, match="cannot allocate"):
        gs.empty(1 << 44, device="cuda")
    from gradsmith.cli.info import info

    assert f"cuda:0 {gs.cuda.get_device_name()} (capability" in info()
