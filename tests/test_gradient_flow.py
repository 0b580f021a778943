"""GradientFlow: norms equal those computed by hand, decay and remedies, both ways to use it."""

import warnings

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim, train
from gradsmith.nn.utils.rnn import pack_sequence
from gradsmith.train import GradientFlow, GradientFlowWarning

KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Reader(nn.Module):
    """Reads a sequence and answers at its end."""

    def __init__(self, kind="rnn", **options):
        super().__init__()
        self.rnn = KINDS[kind](3, 4, batch_first=True, dtype=gs.float64, **options)
        width = 8 if options.get("bidirectional") else 4
        self.head = nn.Linear(width, 1, dtype=gs.float64)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


def once(model, x, y, **options):
    flow = GradientFlow(warn=False, **options)
    with flow.watch(model):
        nn.functional.mse_loss(model(x), y).backward()
        flow.record()
    return flow


def data(steps, seed=0, batch=5):
    rng = np.random.default_rng(seed)
    return gs.tensor(rng.normal(size=(batch, steps, 3))), gs.tensor(rng.normal(size=batch))


@pytest.mark.parametrize("kind", KINDS)
def test_step_norms_are_the_derivatives_of_the_states(kind):
    gs.manual_seed(0)
    model, (x, y) = Reader(kind), data(6)
    plain = nn.functional.mse_loss(model(x), y)
    plain.backward()
    wanted = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    model.zero_grad()
    record = once(model, x, y).records[0]
    for name, param in model.named_parameters():  # listening changes nothing
        np.testing.assert_allclose(param.grad.numpy(), wanted[name], rtol=1e-10)

    # The derivative with respect to the state after step t: the rest of the sequence from it.
    for t in range(6):
        with gs.no_grad():
            _, state = model.rnn(x[:, : t + 1])
        state = state if isinstance(state, tuple) else (state,)
        state = tuple(s.detach().requires_grad_() for s in state)
        given = state if kind == "lstm" else state[0]
        last = model.rnn(x[:, t + 1 :], given)[0][:, -1] if t < 5 else state[0][0]
        loss = nn.functional.mse_loss(model.head(last).squeeze(1), y)
        grads = gs.autograd.grad(loss, state, allow_unused=True)
        for letter, grad in zip("hc", grads, strict=False):
            found = record.steps[f"rnn.{letter}_l0"][t]
            expected = 0.0 if grad is None else np.linalg.norm(grad.numpy())
            if letter == "h" or t < 5:  # the last cell state acts through the last h alone
                assert found == pytest.approx(expected, rel=1e-9)
    assert set(record.layers) == {"rnn", "head"} and set(record.outputs) == {"head"}
    joint = np.sqrt(sum((wanted[n] ** 2).sum() for n in wanted if n.startswith("rnn")))
    assert record.layers["rnn"] == pytest.approx(joint)


def test_layers_directions_and_packed_batches():
    gs.manual_seed(1)
    model = Reader("lstm", num_layers=2, bidirectional=True)
    x, y = data(5)
    record = once(model, x, y).records[0]
    assert len(record.steps) == 8 and all(len(v) == 5 for v in record.steps.values())
    # The answer reads the last position: the backward direction's first step.
    assert np.count_nonzero(record.steps["rnn.h_l1_reverse"]) == 1

    sequences = [gs.tensor(np.random.default_rng(n).normal(size=(n, 3))) for n in (6, 4, 1)]
    packed = pack_sequence(sequences)
    results = []
    for watched in (False, True):
        model.zero_grad()
        flow = GradientFlow(warn=False)
        with flow.watch(model) if watched else gs.enable_grad():
            output, (h, c) = model.rnn(packed)
            (output.data.square().sum() + h.sum() * 2 + (c * c).sum()).backward()
            if watched:
                flow.record()
        grads = [p.grad.numpy().copy() for p in model.rnn.parameters()]
        results.append([output.data.detach().numpy(), h.detach().numpy(), *grads])
    for plain, listened in zip(*results, strict=True):
        np.testing.assert_allclose(listened, plain, rtol=1e-9, atol=1e-12)
    assert len(flow.records[0].steps["rnn.c_l0_reverse"]) == 6


def test_decay_is_the_recurrent_weight():
    model = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=gs.float64)
    for factor in (0.5, 1.25):
        nn.init.constant_(model.weight_ih_l0, 1.0)
        nn.init.constant_(model.weight_hh_l0, factor)
        flow = GradientFlow(warn=False)
        with flow.watch(model):
            model(gs.ones(20, 1, 1, dtype=gs.float64))[0][-1].sum().backward()
            flow.record()
        assert flow.decay() == {"h_l0": pytest.approx(factor)}
        norms = flow.records[0].steps["h_l0"]
        np.testing.assert_allclose(norms, factor ** np.arange(19, -1, -1.0))


def test_vanishing_and_exploding_are_told_apart_with_a_remedy():
    gs.manual_seed(0)
    x, y = data(40)
    for scale, kind, remedy in ((0.3, "vanishing", "LSTM"), (9.0, "exploding", "clip")):
        model = Reader("rnn", nonlinearity="tanh" if scale < 1 else "relu")
        nn.init.orthogonal_(model.rnn.weight_hh_l0)
        with gs.no_grad():
            model.rnn.weight_hh_l0.mul_(scale)
        flow = GradientFlow(patience=2)
        with flow.watch(model), pytest.warns(GradientFlowWarning, match=remedy) as caught:
            for _ in range(4):
                model.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                flow.record()
        assert any(f.kind == kind and f.along == "time" for f in flow.diagnose())
        texts = [str(w.message) for w in caught]
        assert len(texts) == len(set(texts))  # once each


def test_the_remedy_for_an_lstm_is_not_an_lstm():
    gs.manual_seed(0)
    flow = once(Reader("lstm"), *data(60))
    (first, second) = flow.diagnose()
    assert {first.where, second.where} == {"rnn.h_l0", "rnn.c_l0"}
    assert "forget gates" in first.text and "use an LSTM" not in first.text


def test_a_deep_sigmoid_network_vanishes_and_a_relu_one_does_not():
    x, y = gs.randn(16, 8), gs.randn(16, 1)
    for activation, found in ((nn.Sigmoid, True), (nn.ReLU, False)):
        gs.manual_seed(0)
        layers = []
        for _ in range(12):
            layers += [nn.Linear(8, 8), activation()]
            nn.init.kaiming_uniform_(layers[-2].weight, nonlinearity="relu")
        flow = once(nn.Sequential(*layers, nn.Linear(8, 1)), x, y)
        assert [f.where for f in flow.diagnose()] == (["0"] if found else [])
        assert list(flow.records[0].outputs) == [str(2 * i) for i in range(13)]


def test_with_a_trainer_every_few_steps_and_resumed(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 7, 3)), rng.normal(size=40)

    def build():
        gs.manual_seed(0)
        model = Reader("gru")
        flow = GradientFlow(every=3, warn=False)
        callbacks = [flow, train.Checkpoint(tmp_path / "c")]
        optimizer = optim.Adam(model.parameters())
        options = {"callbacks": callbacks, "progress": False, "accumulate": 2}
        return flow, train.Trainer(model, nn.MSELoss(), optimizer, **options)

    whole, trainer = build()
    trainer.fit((x, y), epochs=4, batch_size=8)  # 3 steps an epoch
    assert [record.step for record in whole.records] == [0, 3, 6, 9]
    assert "_direction" not in trainer.model.rnn.__dict__ and not trainer.model.head._forward_hooks
    flow, trainer = build()
    trainer.fit((x, y), epochs=2, batch_size=8)
    flow, trainer = build()
    trainer.fit((x, y), epochs=4, batch_size=8, resume=tmp_path / "c")
    assert flow.records == whole.records


def test_cells_in_a_loop_of_ones_own():
    gs.manual_seed(0)
    cell, flow = nn.LSTMCell(2, 3), GradientFlow(warn=False)
    x = gs.randn(5, 4, 2)
    with flow.watch(cell):
        for _ in range(2):
            state = None
            for t in range(5):
                state = cell(x[t], state)
            state[0].sum().backward()
            flow.record()
            with gs.no_grad():
                cell(x[0])  # evaluation is not listened to
    assert [len(record.steps["h"]) for record in flow.records] == [5, 5]
    assert flow.records[0].steps["h"][-1] == pytest.approx(np.sqrt(12))
    with pytest.raises(RuntimeError, match="watch"):
        flow.record()


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    flow = once(Reader("lstm"), *data(6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(flow.plot(tmp_path / "flow.png").axes) == 2
    assert (tmp_path / "flow.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="nothing has been recorded"):
        GradientFlow().plot()


@pytest.mark.parametrize(
    ("options", "text"),
    [({"every": 0}, "every"), ({"patience": True}, "patience"), ({"vanishing": -1}, "vanishing")],
)
def test_bad_settings(options, text):
    with pytest.raises(ValueError, match=text):
        GradientFlow(**options)
