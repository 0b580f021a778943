"""Recurrent layers and batches of sequences: beside torch's, and what they refuse."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn.utils import rnn as sequences

RNG = np.random.default_rng(0)
KINDS = [("LSTM", {}), ("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})]
OPTIONS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"bias": False, "batch_first": True},
]
LENGTHS = [3, 7, 1, 7, 5]
PROJECTED = [{**o, "proj_size": 2} for o in OPTIONS]
LAYERS = [(*kind, o) for kind in KINDS for o in OPTIONS] + [("LSTM", {}, o) for o in PROJECTED]


def given_states(kind, options, batch, hidden):
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    sizes = [options.get("proj_size", hidden), hidden][: 2 if kind == "LSTM" else 1]
    return [floats(rows, batch, size) for size in sizes]


def floats(*shape):
    return RNG.normal(size=shape)


def states_of(result):
    return list(result) if isinstance(result, tuple) else [result]


def both(torch, kind, arguments, options):
    """Return our layer and torch's with the same weights, in float64."""
    ours = getattr(nn, kind)(*arguments, **options, dtype=gs.float64)
    theirs = getattr(torch.nn, kind)(*arguments, **options, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def same_gradients(torch, ours, theirs, ours_in, theirs_in, ours_out, theirs_out):
    weights = [floats(*y.shape) for y in theirs_out]
    sum((y * gs.tensor(w)).sum() for y, w in zip(ours_out, weights, strict=True)).backward()
    sum((y * torch.tensor(w)).sum() for y, w in zip(theirs_out, weights, strict=True)).backward()
    for y, z in zip(ours_out, theirs_out, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-14)
    mine, other = [*ours_in, *ours.parameters()], [*theirs_in, *theirs.parameters()]
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "more", "options"), LAYERS, ids=str)
def test_layers(kind, more, options, given):
    torch = pytest.importorskip("torch")
    ours, theirs = both(torch, kind, (3, 5), {**options, **more})
    count = 2 if kind == "LSTM" else 1
    arrays = [floats(4, 6, 3)]
    if given:
        arrays += given_states(kind, options, 4 if options.get("batch_first") else 6, 5)
    a = [gs.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    hx = [tuple(t[1:]) if count == 2 else t[1] for t in (a, b)] if given else [None, None]
    y, h = ours(a[0], hx[0])
    z, g = theirs(b[0], hx[1])
    same_gradients(torch, ours, theirs, a, b, [y, *states_of(h)], [z, *states_of(g)])


@pytest.mark.torch
@pytest.mark.parametrize(("kind", "more", "options"), LAYERS, ids=str)
@pytest.mark.parametrize("given", [False, True])
def test_packed_sequences(kind, more, options, given):
    torch = pytest.importorskip("torch")
    theirs_rnn = torch.nn.utils.rnn
    ours, theirs = both(torch, kind, (3, 5), {**options, **more})
    first = options.get("batch_first", False)
    x = floats(5, 7, 3) if first else floats(7, 5, 3)
    count = 2 if kind == "LSTM" else 1
    arrays = [x, *(given_states(kind, options, 5, 5) if given else [])]
    a = [gs.tensor(v, requires_grad=True) for v in arrays]
    b = [torch.tensor(v, requires_grad=True) for v in arrays]
    hx = [tuple(t[1:]) if count == 2 else t[1] for t in (a, b)] if given else [None, None]
    packed = sequences.pack_padded_sequence(a[0], LENGTHS, first, enforce_sorted=False)
    other = theirs_rnn.pack_padded_sequence(b[0], LENGTHS, first, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == other.batch_sizes.tolist()
    y, h = ours(packed, hx[0])
    z, g = theirs(other, hx[1])
    same_gradients(torch, ours, theirs, a, b, [y.data, *states_of(h)], [z.data, *states_of(g)])
    for options in ({}, {"batch_first": True}, {"padding_value": -2.0, "total_length": 9}):
        mine, lengths = sequences.pad_packed_sequence(y, **options)
        wanted, _ = theirs_rnn.pad_packed_sequence(z, **options)
        assert lengths.tolist() == LENGTHS
        np.testing.assert_allclose(
            mine.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-14
        )


@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "options"), [("LSTMCell", {}), ("GRUCell", {}), ("RNNCell", {"nonlinearity": "relu"})]
)
@pytest.mark.parametrize("shape", [(4,), ()])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(kind, options, shape, bias):
    torch = pytest.importorskip("torch")
    ours, theirs = both(torch, kind, (3, 5), {**options, "bias": bias})
    count = 2 if kind == "LSTMCell" else 1
    arrays = [floats(*shape, 3), *(floats(*shape, 5) for _ in range(count))]
    a = [gs.tensor(v, requires_grad=True) for v in arrays]
    b = [torch.tensor(v, requires_grad=True) for v in arrays]
    h = ours(a[0], tuple(a[1:]) if count == 2 else a[1])
    g = theirs(b[0], tuple(b[1:]) if count == 2 else b[1])
    same_gradients(torch, ours, theirs, a, b, states_of(h), states_of(g))
    zero = states_of(ours(a[0]))[0]
    np.testing.assert_allclose(
        zero.detach().numpy(), states_of(theirs(b[0]))[0].detach().numpy(), rtol=1e-12
    )


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"proj_size": 2}, {"proj_size": 2, "bidirectional": True}])
@pytest.mark.parametrize("packed", [False, True])
def test_second_derivatives_of_lstm(options, packed):
    torch = pytest.importorskip("torch")
    ours, theirs = both(torch, "LSTM", (3, 4), options)
    x = floats(4, 3, 3)
    gradients = []
    for lib, layer in ((gs, ours), (torch, theirs)):
        given = lib.from_numpy(x.copy()).requires_grad_()
        run = lib.nn.utils.rnn.pack_padded_sequence(given, [4, 2, 1]) if packed else given
        y = layer(run)[0]
        y = y.data if packed else y
        inputs = [given, *layer.parameters()]
        first = lib.autograd.grad((y * y * y).sum(), inputs, create_graph=True)
        norm = sum(((g * g).sum() for g in first), start=0.0)
        gradients.append([g.numpy() for g in lib.autograd.grad(norm, inputs)])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_unbatched_input_is_a_batch_of_one():
    for kind, more in KINDS:
        layer = getattr(nn, kind)(3, 5, num_layers=2, bidirectional=True, **more)
        x = gs.tensor(floats(4, 3).astype(np.float32))
        y, h = layer(x)
        z, g = layer(x.unsqueeze(1))
        assert y.shape == (4, 10) and states_of(h)[0].shape == (4, 5)
        np.testing.assert_array_equal(y.detach().numpy(), z.squeeze(1).detach().numpy())
        hx = states_of(h)
        again, _ = layer(x, tuple(hx) if kind == "LSTM" else hx[0])
        assert again.shape == y.shape and not np.array_equal(
            again.detach().numpy(), y.detach().numpy()
        )
        assert states_of(g)[0].shape == (4, 1, 5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_packed_sequence_has_the_bits_of_the_sequence_alone(kind, threads):
    before = gs.get_num_threads()
    gs.set_num_threads(threads)
    try:
        layer = getattr(nn, kind)(9, 33, bidirectional=True)
        items = [gs.tensor(floats(n, 9).astype(np.float32)) for n in (11, 2, 7, 7, 1)]
        with gs.no_grad():
            packed, h = layer(sequences.pack_sequence(items, enforce_sorted=False))
            for i, y in enumerate(sequences.unpack_sequence(packed)):
                alone, g = layer(items[i])
                assert (y.numpy() == alone.numpy()).all()
                assert (states_of(h)[0][:, i].numpy() == states_of(g)[0].numpy()).all()
    finally:
        gs.set_num_threads(before)


def test_a_projection_is_shown_and_counted():
    layer = nn.LSTM(3, 5, num_layers=2, proj_size=2)
    assert repr(layer) == "LSTM(3, 5, proj_size=2, num_layers=2)"
    products = 2 * 5 * (4 * (3 + 2) + 2) + 2 * 5 * (4 * (2 + 2) + 2)
    assert layer.summary((7, 1, 3)).flops == 7 * (products + 2 * 5 * 14)


def test_dropout_is_between_layers_in_training():
    layer = nn.GRU(4, 8, 2, dropout=0.5)
    x = gs.randn(3, 2, 4)
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_sequences_to_batches_and_back():
    items = [gs.tensor(floats(n, 2)) for n in (2, 4, 1)]
    padded = sequences.pad_sequence(items, padding_value=9.0)
    assert padded.shape == (4, 3, 2) and padded[3, 0].tolist() == [9.0, 9.0]
    left = sequences.pad_sequence(items, batch_first=True, padding_side="left")
    assert left.shape == (3, 4, 2) and (left[2, 3] == items[2][0]).all().item()
    for one, other in zip(sequences.unpad_sequence(padded, [2, 4, 1]), items, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    packed = sequences.pack_sequence(items, enforce_sorted=False)
    assert packed.data.shape == (7, 2) and packed.to(gs.float32).data.dtype is gs.float32
    for one, other in zip(sequences.unpack_sequence(packed), items, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


X = gs.zeros(4, 2, 3)
REFUSED = [
    (lambda: nn.GRU(3, 0), ValueError, "GRU: hidden_size must be at least 1, got 0"),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu"), ValueError, "RNN: nonlinearity"),
    (lambda: nn.GRU(3, 4, dropout=2.0), ValueError, "GRU: dropout"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "LSTM: proj_size must be in .*4"),
    (
        lambda: nn.LSTM(3, 4, proj_size=2)(X, (gs.zeros(1, 2, 4), gs.zeros(1, 2, 4))),
        ValueError,
        r"LSTM: h_0 must have shape \(1, 2, 2\)",
    ),
    (lambda: nn.GRU(5, 4)(X), ValueError, "GRU: input has 3 features, input_size is 5"),
    (lambda: nn.RNN(3, 4)(gs.zeros(3)), ValueError, "RNN: input must have 2 or 3 axes"),
    (lambda: nn.GRU(3, 4)(X, gs.zeros(1, 3, 4)), ValueError, r"h_0 must have shape \(1, 2, 4\)"),
    (lambda: nn.GRU(3, 4)(X, (X, X)), TypeError, "GRU: h_0 must be a Tensor, got tuple"),
    (lambda: nn.LSTM(3, 4)(X, X), TypeError, "LSTM: hx must be a pair"),
    (lambda: nn.GRUCell(3, 4)(X), ValueError, "GRUCell: input must have shape"),
    (lambda: nn.RNNCell(3, 4)(X[0], gs.zeros(2, 5)), ValueError, "RNNCell: h must have shape"),
    (lambda: sequences.pack_padded_sequence(X, [4]), ValueError, r"shape \(2,\), got \(1,\)"),
    (lambda: sequences.pack_padded_sequence(X, [4, 5]), ValueError, r"\[1, 4\], got 4 to 5"),
    (lambda: sequences.pack_padded_sequence(X, [4, 0]), ValueError, r"\[1, 4\], got 0 to 4"),
    (lambda: sequences.pack_padded_sequence(X, [1, 4]), ValueError, "enforce_sorted=False"),
    (lambda: sequences.pack_padded_sequence(X, [1.5, 1]), TypeError, "must be integers"),
    (lambda: sequences.pack_padded_sequence(gs.zeros(3), [1]), ValueError, "2 axes or more"),
    (lambda: sequences.pad_sequence([]), ValueError, "no sequences"),
    (lambda: sequences.pad_sequence([X], padding_side="up"), ValueError, "padding_side"),
    (
        lambda: sequences.pad_packed_sequence(
            sequences.pack_padded_sequence(X, [4, 2]), total_length=3
        ),
        ValueError,
        "at least the longest sequence's 4, got 3",
    ),
    (
        lambda: gs._core.gru_layer(X, *(gs.zeros(*s) for s in ((2, 4), (12, 3), (12, 4))),
                                   batch_sizes=gs.tensor([2, 2])),
        ValueError, r"gru: argument 'input' must have rank 2, got shape \(4, 2, 3\)",
    ),
    (
        lambda: gs._core.gru_layer(X[0], *(gs.zeros(*s) for s in ((2, 4), (12, 3), (12, 4))),
                                   batch_sizes=gs.tensor([1, 2])),
        ValueError, r"gru: argument 'batch_sizes' must never rise .* \[0, 2\], got 2 at 1",
    ),
    (
        lambda: gs._core.gru_layer(X[0], *(gs.zeros(*s) for s in ((2, 4), (12, 3), (12, 4))),
                                   batch_sizes=gs.tensor([2, 1])),
        ValueError, "gru: argument 'batch_sizes' must add up to the input's 2 rows, got 3",
    ),
    (
        lambda: gs._core.rnn_layer(X, *(gs.zeros(*s) for s in ((2, 4), (4, 3), (4, 4))),
                                   nonlinearity="sin"),
        ValueError, "rnn: argument 'nonlinearity' must be 'tanh' or 'relu', got 'sin'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
