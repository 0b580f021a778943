"""Products in bfloat16: bfloat16 tensors, `autocast`, `Trainer(precision="bf16")`, raw kernels."""

from __future__ import annotations

import threading

import gradsmith as gs
import numpy as np
import pytest

U_BF16 = 2.0**-8  # unit roundoff: 8 bits, to nearest
U_F32 = 2.0**-24


def rounded(x: np.ndarray) -> np.ndarray:
    return gs.tensor(x).to(gs.bfloat16).to(gs.float64).numpy()


def factors(m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(m * 1000 + k * 10 + n)
    return (
        rng.standard_normal((m, k), dtype=np.float32),
        rng.standard_normal((k, n), dtype=np.float32),
    )


def bound(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.shape[-1] + 8) * U_F32 * (np.abs(a) @ np.abs(b))


@pytest.mark.parametrize("target", gs.kernels.targets())
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (1, 700, 33), (17, 65, 40), (130, 513, 70)])
def test_autocast_rounds_the_factors_only(target: str, m: int, k: int, n: int) -> None:
    a, b = factors(m, k, n)
    with gs.kernels.use_target(target), gs.autocast("cpu", dtype=gs.bfloat16):
        y = gs.tensor(a) @ gs.tensor(b)
    assert y.dtype == gs.float32
    ra, rb = rounded(a), rounded(b)
    assert np.all(np.abs(y.numpy() - ra @ rb) <= bound(ra, rb))
    with gs.kernels.use_target(target):  # and outside nothing is rounded
        y = gs.tensor(a) @ gs.tensor(b)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert np.all(np.abs(y.numpy() - exact) <= bound(a.astype(np.float64), b.astype(np.float64)))


@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_products_of_bfloat16_tensors(layout: str) -> None:
    a, b = factors(23, 45, 37)
    x, w = gs.tensor(a).to(gs.bfloat16), gs.tensor(b).to(gs.bfloat16)
    if layout == "columns":
        x, w = x.t().contiguous().t(), w.t().contiguous().t()
    elif layout == "strided":
        x = gs.stack([x, x], 2).reshape(23, 90)[:, ::2]
        w = gs.stack([w, w], 2).reshape(45, 74)[:, ::2]
    y = x @ w
    assert y.dtype == gs.bfloat16
    ra, rb = rounded(a), rounded(b)
    error = np.abs(y.to(gs.float64).numpy() - ra @ rb)
    assert np.all(error <= bound(ra, rb) + 1.01 * U_BF16 * np.abs(ra @ rb))
    batch = gs.bmm(gs.stack([x, x]), gs.stack([w, w]))
    assert np.array_equal(batch[1].float().numpy(), y.float().numpy())


def test_linear_of_bfloat16_tensors_with_gradients() -> None:
    a, b = factors(19, 31, 11)
    bias = np.linspace(-1, 1, 11, dtype=np.float32)
    x, w, c = (gs.tensor(v).to(gs.bfloat16).requires_grad_() for v in (a, b.T.copy(), bias))
    y = gs.nn.functional.linear(x, w, c)
    y.float().pow(2).sum().backward()
    ra, rw, rc = rounded(a), rounded(b.T.copy()), rounded(bias)
    want = ra @ rw.T + rc
    grad = 2 * want
    assert y.dtype == x.grad.dtype == w.grad.dtype == c.grad.dtype == gs.bfloat16
    for got, value, size in (
        (y, want, np.abs(ra) @ np.abs(rw.T) + np.abs(rc)),
        (x.grad, grad @ rw, np.abs(grad) @ np.abs(rw)),
        (w.grad, grad.T @ ra, np.abs(grad.T) @ np.abs(ra)),
        (c.grad, grad.sum(0), np.abs(grad).sum(0)),
    ):
        # Output, its gradient and the result are rounded to bfloat16.
        assert np.all(np.abs(got.detach().to(gs.float64).numpy() - value) <= 6 * U_BF16 * size)


def test_gradients_are_products_of_the_same_kind() -> None:
    """The backward pass runs outside of the context, in bfloat16 where the forward pass did."""
    a, b = factors(20, 30, 12)
    x, w = gs.tensor(a, requires_grad=True), gs.tensor(b.T.copy(), requires_grad=True)
    with gs.autocast():
        y = gs.nn.functional.linear(x, w)
    seed = gs.tensor(factors(20, 1, 12)[0] * np.ones((1, 12), np.float32))
    y.backward(seed)
    ra, rb, rg = rounded(a), rounded(b), rounded(seed.numpy())
    assert x.grad.dtype == gs.float32
    assert np.all(np.abs(x.grad.numpy() - rg @ rb.T) <= bound(rg, rb.T))
    assert np.all(np.abs(w.grad.numpy() - rg.T @ ra) <= bound(rg.T, ra))


def test_second_order_gradients() -> None:
    x = gs.tensor(factors(5, 7, 1)[0], requires_grad=True)
    w = gs.tensor(factors(7, 3, 1)[0], requires_grad=True)
    with gs.autocast():
        y = (x @ w).pow(2).sum()
    (g,) = gs.autograd.grad(y, x, create_graph=True)
    g.sum().backward()
    assert x.grad.shape == x.shape and w.grad.shape == w.shape
    # y = |x w|^2: the sum of its gradient is 2 * sum(w w^T x^T), whose gradient in x is 2 w w^T 1.
    rw = rounded(w.detach().numpy())
    want = 2 * np.ones((5, 7)) @ rw @ rw.T
    assert np.allclose(x.grad.numpy(), want, rtol=0, atol=20 * U_BF16 * np.abs(rw @ rw.T).sum())


def test_same_bits_on_every_target_and_for_any_number_of_threads() -> None:
    a, b = factors(300, 700, 290)
    results = {}
    before = gs.get_num_threads()
    try:
        for target in gs.kernels.targets():
            if target in ("scalar", "reference"):  # no fused multiply-add
                continue
            for threads in (1, 2, 3):
                gs.set_num_threads(threads)
                with gs.kernels.use_target(target), gs.autocast():
                    results[target, threads] = (gs.tensor(a) @ gs.tensor(b)).numpy()
    finally:
        gs.set_num_threads(before)
    first = next(iter(results.values()), None)
    for key, value in results.items():
        assert np.array_equal(value, first), key


def test_a_row_has_the_same_bits_alone() -> None:
    a, b = factors(40, 600, 50)
    with gs.autocast():
        whole = (gs.tensor(a) @ gs.tensor(b)).numpy()
        alone = (gs.tensor(a[7:8]) @ gs.tensor(b)).numpy()
    assert np.array_equal(whole[7:8], alone)


def test_other_dtypes_and_threads_are_not_affected() -> None:
    a, b = factors(6, 40, 6)
    x, w = gs.tensor(a).double(), gs.tensor(b).double()
    with gs.autocast():
        assert np.allclose((x @ w).numpy(), a.astype(float) @ b.astype(float), rtol=1e-12)
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(gs.is_autocast_enabled()))
        thread.start()
        thread.join()
        assert seen == [False]
        assert gs.is_autocast_enabled() and gs.is_autocast_enabled("cpu")
        assert not gs.is_autocast_enabled("cuda")
        with gs.autocast(enabled=False):
            assert not gs.is_autocast_enabled()
        assert gs.is_autocast_enabled()
    assert not gs.is_autocast_enabled()


def test_float16_keeps_its_bits() -> None:
    x, w = gs.tensor([[1.001]]).half(), gs.ones(1, 1).half()
    plain = [(x @ w).float().item(), gs.nn.functional.linear(x, w).float().item()]
    with gs.autocast():
        inside = [(x @ w).float().item(), gs.nn.functional.linear(x, w).float().item()]
    assert plain == inside


def test_a_float32_trainer_leaves_the_mode_to_its_caller() -> None:
    trainer = trained("float32")[0]
    inputs = blobs(10)[0]
    with gs.autocast(), gs.no_grad():
        want = trainer.model(inputs).numpy()
        assert np.array_equal(trainer.predict(inputs).numpy(), want)
    assert not np.array_equal(trainer.predict(inputs).numpy(), want)


def test_autocast_decorates() -> None:
    @gs.autocast("cpu")
    def inside() -> bool:
        return gs.is_autocast_enabled()

    assert inside() and not gs.is_autocast_enabled()


def test_autocast_errors() -> None:
    with pytest.raises(ValueError, match="device_type"):
        gs.autocast("xpu")
    with pytest.raises(ValueError, match="dtype"):
        gs.autocast("cpu", dtype=gs.float16)
    with pytest.raises(TypeError, match="enabled"):
        gs.autocast("cpu", enabled=1)  # type: ignore[arg-type]


def test_raw_gemm_in_bfloat16() -> None:
    a, b = factors(9, 50, 21)
    ra, rb = rounded(a), rounded(b)
    out = np.full((9, 21), np.nan, np.float32)
    assert gs.kernels.gemm(a, b, out, compute="bfloat16") is out
    assert np.all(np.abs(out - ra @ rb) <= bound(ra, rb))
    y = gs.kernels.gemm(gs.tensor(a).to(gs.bfloat16), gs.tensor(b).to(gs.bfloat16))
    assert y.dtype == gs.float32
    assert np.array_equal(y.numpy(), out)
    with pytest.raises(ValueError, match="compute"):
        gs.kernels.gemm(a, b, compute="float16")
    with pytest.raises(ValueError, match="compute"):
        gs.kernels.gemm(a.astype(float), b.astype(float), compute="bfloat16")
    with pytest.raises((TypeError, ValueError), match="out"):
        gs.kernels.gemm(
            gs.tensor(a).to(gs.bfloat16),
            gs.tensor(b).to(gs.bfloat16),
            gs.zeros(9, 21, dtype=gs.bfloat16),
        )


def blobs(n: int) -> tuple[gs.Tensor, gs.Tensor]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 16)) * 2
    label = rng.integers(0, 4, n)
    x = centres[label] + rng.standard_normal((n, 16))
    return gs.tensor(x.astype(np.float32)), gs.tensor(label)


def trained(precision: str) -> tuple[gs.Trainer, float]:
    gs.manual_seed(3)
    model = gs.nn.Sequential(gs.nn.Linear(16, 64), gs.nn.ReLU(), gs.nn.Linear(64, 4))
    trainer = gs.Trainer(
        model,
        gs.nn.CrossEntropyLoss(),
        gs.optim.AdamW(model.parameters(), lr=1e-2),
        progress=False,
        precision=precision,
    )
    data = blobs(512)
    trainer.fit(data, epochs=5, batch_size=64, seed=1)
    return trainer, trainer.evaluate(data)["accuracy"]


def test_trainer_in_bf16_reaches_the_accuracy_of_float32() -> None:
    plain, want = trained("float32")
    half, got = trained("bf16")
    assert want > 0.9 and abs(got - want) < 0.02
    weights = [p.detach().numpy() for p in half.model.parameters()]
    assert all(w.dtype == np.float32 for w in weights)
    assert any(np.any(rounded(w) != w) for w in weights)  # masters keep what bfloat16 cannot
    other = [p.detach().numpy() for p in plain.model.parameters()]
    assert any(not np.array_equal(v, w) for v, w in zip(other, weights, strict=True))
    assert not gs.is_autocast_enabled()
    inputs = blobs(10)[0]
    with gs.autocast(), gs.no_grad():
        want_output = half.model(inputs).numpy()
    assert np.array_equal(half.predict(inputs).numpy(), want_output)


def test_trainer_precision_errors() -> None:
    model = gs.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="precision"):
        gs.Trainer(
            model, gs.nn.MSELoss(), gs.optim.SGD(model.parameters(), lr=0.1), precision="fp8"
        )


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_recurrent_layers_round_as_their_cells_do(kind: str, steps: int) -> None:
    """A layer against its steps written with `linear`, whose products are tested above."""
    gs.manual_seed(5)
    layer = getattr(gs.nn, kind)(24, 40)
    x = gs.randn(steps, 7, 24, requires_grad=True)
    state = [gs.zeros(7, 40), gs.zeros(7, 40)]
    cell = getattr(gs.nn, kind + "Cell")(24, 40)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    with gs.autocast():
        y = layer(x)[0]
        outputs = []
        for step in x:
            if kind == "LSTM":
                state = list(cell(step, tuple(state)))
            else:
                state[0] = cell(step, state[0])
            outputs.append(state[0])
        want = gs.stack(outputs)
    plain = layer(x)[0]
    # Both round the same numbers, but a state that differs in its last bits may round differently.
    assert np.abs((y - want).detach().numpy()).max() < (1e-5 if steps == 1 else 0.02)
    assert not np.array_equal(y.detach().numpy(), plain.detach().numpy())
    weights = list(layer.parameters())
    got = gs.autograd.grad(y.pow(2).sum(), [x, *weights])
    other = gs.autograd.grad(want.pow(2).sum(), [x, *cell.parameters()])
    for a, b in zip(got, other, strict=True):
        assert np.abs((a - b).numpy()).max() <= 0.05 * (1 + np.abs(b.numpy()).max())


def test_recurrent_first_step_is_exact() -> None:
    """With one step and no state the gates are one product: bound as for any other."""
    gs.manual_seed(6)
    layer, x = gs.nn.RNN(50, 30, bias=False), gs.randn(1, 4, 50)
    with gs.autocast(), gs.no_grad():
        y = layer(x)[0].numpy()[0]
    ra, rb = rounded(x.numpy()[0]), rounded(layer.weight_ih_l0.detach().numpy()).T
    assert np.all(np.abs(y - np.tanh(ra @ rb)) <= bound(ra, rb) + 4 * U_F32)


def test_recurrent_second_order_gradients() -> None:
    layer, x = gs.nn.GRU(3, 4), gs.randn(2, 2, 3, requires_grad=True)
    with gs.autocast():
        y = layer(x)[0].pow(2).sum()
    (g,) = gs.autograd.grad(y, x, create_graph=True)
    g.pow(2).sum().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


def test_explain_tells_that_both_are_packed() -> None:
    a, b = factors(20, 300, 3000)
    (entry,) = gs.kernels.explain("gemm", a, b, compute="bfloat16")
    assert any("pairs of depths" in reason for reason in entry.reasons)
    assert not any("streamed" in reason for reason in entry.reasons)
