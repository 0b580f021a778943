"""Recurrent layers on CUDA: values and gradients as on the CPU; see test_cuda.py."""

import copy

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.testing import assert_close
from test_cuda import gpu, on_cuda, rand, run_emulated, same

LAYERS = {
    "lstm": lambda **kw: nn.LSTM(5, 9, **kw),
    "gru": lambda **kw: nn.GRU(5, 9, **kw),
    "rnn_tanh": lambda **kw: nn.RNN(5, 9, **kw),
    "rnn_relu": lambda **kw: nn.RNN(5, 9, nonlinearity="relu", **kw),
}
DEEP = {"num_layers": 2, "bidirectional": True, "dropout": 0.25}


def test_emulated():
    run_emulated(__file__)


def tensors(found):
    if isinstance(found, gs.Tensor):
        return [found]
    if isinstance(found, nn.utils.rnn.PackedSequence):
        return [found.data]
    return [tensor for part in found for tensor in tensors(part)]


def check_module(model, *inputs, rtol=2e-5, atol=2e-6):
    """The same outputs and gradients on both devices, whatever is nested in the outputs."""
    results = []
    for net, args in (
        (model, [x.detach().requires_grad_() for x in inputs]),
        (copy.deepcopy(model).to("cuda"), [on_cuda(x.detach().requires_grad_()) for x in inputs]),
    ):
        gs.manual_seed(7)
        outputs = tensors(net(*args))
        assert all(y.device == args[0].device for y in outputs)
        terms = [
            (y * rand(*y.shape, seed=i, dtype=y.dtype).to(y.device)).sum()
            for i, y in enumerate(outputs)
        ]
        sum(terms[1:], terms[0]).backward()
        grads = [x.grad for x in args] + [p.grad for p in net.parameters()]
        assert all(g.device == args[0].device for g in grads)
        results.append([*outputs, *grads])
    for here, there in zip(*results, strict=True):
        same(there, here, rtol, atol)


@gpu
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind):
    gs.manual_seed(0)
    check_module(LAYERS[kind](), rand(7, 3, 5))
    check_module(LAYERS[kind](**DEEP), rand(4, 11, 5))
    check_module(LAYERS[kind](bias=False, batch_first=True), rand(3, 4, 5))
    check_module(LAYERS[kind](dtype=gs.float64), rand(4, 2, 5, dtype="float64"), rtol=1e-12)
    check_module(LAYERS[kind](), rand(1, 5))
    large = {"lstm": nn.LSTM, "gru": nn.GRU}.get(kind, nn.RNN)(3, 70)  # a launch for each step
    check_module(large, rand(3, 2, 3))


class WithStates(nn.Module):
    def __init__(self, layer, single):
        super().__init__()
        self.layer, self.single = layer, single

    def forward(self, x, *states):
        return self.layer(x, states[0] if self.single else states)


@gpu
@pytest.mark.parametrize("kind", LAYERS)
def test_initial_states(kind):
    gs.manual_seed(0)
    single = kind != "lstm"
    states = [rand(2, 3, 9, seed=i) for i in range(1 if single else 2)]
    check_module(WithStates(LAYERS[kind](bidirectional=True), single), rand(5, 3, 5), *states)
    with gs.no_grad():
        model = LAYERS[kind]()
        expected = tensors(model(rand(6, 2, 5)))
        actual = tensors(model.to("cuda")(on_cuda(rand(6, 2, 5))))
    for y, e in zip(actual, expected, strict=True):
        same(y, e, 2e-5, 2e-6)


class Packed(nn.Module):
    def __init__(self, layer, lengths):
        super().__init__()
        self.layer, self.lengths = layer, lengths

    def forward(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, self.lengths, enforce_sorted=False)
        output, last = self.layer(packed)
        return nn.utils.rnn.pad_packed_sequence(output)[0], last


@gpu
@pytest.mark.parametrize("kind", LAYERS)
def test_packed_sequences(kind):
    gs.manual_seed(0)
    check_module(Packed(LAYERS[kind](**DEEP), [2, 6, 1, 6]), rand(6, 4, 5))


@gpu
def test_projection_and_empty_sequences():
    gs.manual_seed(0)
    check_module(nn.LSTM(5, 9, num_layers=2, proj_size=4, bidirectional=True), rand(4, 3, 5))
    check_module(Packed(nn.LSTM(5, 9, proj_size=4), [3, 1, 2]), rand(3, 3, 5))
    for shape in ((0, 3, 5), (4, 0, 5)):
        y, (h, c) = nn.LSTM(5, 9).to("cuda")(gs.zeros(*shape, device="cuda"))
        assert tuple(y.shape) == (*shape[:2], 9) and tuple(h.shape) == tuple(c.shape)


@gpu
@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(cell):
    gs.manual_seed(0)
    check_module(cell(5, 9), rand(3, 5))
    check_module(cell(5, 9), rand(5))


@gpu
def test_gradients_of_gradients():
    gs.manual_seed(0)
    results = []
    for device in ("cpu", "cuda"):
        gs.manual_seed(0)
        layer = nn.GRU(3, 4).to(device)
        x = rand(3, 2, 3).to(device).requires_grad_()
        (g,) = gs.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        g.square().sum().backward()
        results.append([g, x.grad, *(p.grad for p in layer.parameters())])
    for here, there in zip(*results, strict=True):
        same(there, here, 1e-4, 1e-6)


@gpu
def test_a_recurrent_network_trains_in_the_trainer():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.lstm(x)[1][0][0])

    def history(device):
        gs.manual_seed(0)
        model = Reader().to(device)
        optimizer = gs.optim.Adam(model.parameters(), lr=0.05)
        trainer = gs.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
        trainer.fit((rand(24, 5, 4), gs.randint(0, 3, (24,))), epochs=2, batch_size=8, seed=1)
        return [row["loss"] for row in trainer.history.rows]

    np.testing.assert_allclose(history("cuda"), history("cpu"), rtol=1e-4)


@gpu
def test_states_on_another_device_raise():
    layer = nn.GRU(5, 9).to("cuda")
    with pytest.raises(ValueError, match="different devices, c"):
        layer(on_cuda(rand(2, 3, 5)), rand(1, 3, 9))
    with pytest.raises(ValueError, match="different devices, c"):
        layer(rand(2, 3, 5))
    assert_close(layer(on_cuda(rand(2, 3, 5)))[1].cpu(), layer.cpu()(rand(2, 3, 5))[1], 2e-5, 2e-6)
