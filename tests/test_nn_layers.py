"""Layers composed of ops, against plain NumPy; gradients of first and second order."""

import itertools

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn import functional as F
from gradsmith.testing import assert_close, gradcheck, gradgradcheck

RNG = np.random.default_rng(5)


def leaf(*shape):
    return gs.tensor(RNG.normal(size=shape), requires_grad=True)


# Each on small inputs without ties; second order too.
SMOOTH = [
    (lambda x, w: F.conv3d(x, w, None, (2, 1, 1), 1, (1, 2, 1)), (1, 2, 3, 3, 2), (2, 2, 2, 2, 2)),
    (lambda x, w: F.conv_transpose1d(x, w, None, 2, 1, 1, 1, 2), (2, 2, 3), (2, 1, 2)),
    (
        lambda x, w: F.conv_transpose3d(x, w, None, 2, (1, 0, 0), 1),
        (1, 1, 2, 2, 1),
        (1, 2, 2, 1, 2),
    ),
    (lambda x: F.max_pool1d(x, 3, 2, 1), (2, 1, 7)),
    (lambda x: F.max_pool3d(x, 2, 1), (1, 1, 3, 2, 3)),
    (lambda x: F.avg_pool3d(x, 2, 1, 1, False, False), (1, 1, 2, 3, 2)),
    (lambda x: F.lp_pool2d(x.square() + 1, 3.0, 2), (1, 1, 4, 2)),
    (lambda x: F.pad(x, (-1, 2, 1, 1), "reflect"), (1, 1, 3, 4)),
    (lambda x: F.pad(x, (2, -1), "circular"), (1, 1, 4)),
    (lambda x: F.instance_norm(x), (2, 2, 3)),
    (lambda x: F.local_response_norm(x, 3, 0.5), (1, 4, 2)),
    (lambda x: F.normalize(x), (2, 3)),
    (lambda x, y: F.cosine_similarity(x, y), (2, 3), (2, 3)),
    (lambda x, y: F.pairwise_distance(x, y, 3.0), (2, 3), (2, 3)),
    (lambda x: F.celu(x, 0.7), (7,)),
    (lambda x: F.glu(x), (2, 4)),
    (lambda x: F.softshrink(x, 0.3), (7,)),
    (lambda x, w: F.prelu(x, w), (2, 3, 2), (3,)),
    (lambda x: F.interpolate(x, size=(3, 5), mode="bilinear"), (1, 1, 2, 4)),
    (lambda x: F.interpolate(x, scale_factor=2.0, mode="bicubic"), (1, 1, 2, 3)),
    (lambda x: F.unfold(x, 2, 1, 1, 2), (1, 2, 3, 2)),
    (lambda x: F.fold(x, (3, 3), 2), (1, 4, 4)),
    (lambda x, y, w: F.bilinear(x, y, w), (2, 2), (2, 3), (2, 2, 3)),
]


@pytest.mark.parametrize(("fn", "shapes"), [(fn, shapes) for fn, *shapes in SMOOTH])
def test_gradients(fn, shapes):
    inputs = [leaf(*shape) for shape in shapes]
    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


def scatter_conv(x, w, stride, padding, extra, dilation):
    """Transposed convolution in one sample and any number of axes, term by term."""
    axes = w.ndim - 2
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, k, s, d, e in zip(x.shape[1:], w.shape[2:], stride, dilation, extra, strict=True)
    ]
    y = np.zeros((w.shape[1], *full))
    for at in np.ndindex(*x.shape[1:]):
        for tap in np.ndindex(*w.shape[2:]):
            to = tuple(at[a] * stride[a] + tap[a] * dilation[a] for a in range(axes))
            y[(slice(None), *to)] += x[(slice(None), *at)] @ w[(slice(None), slice(None), *tap)]
    return y[(slice(None), *(slice(p, n - p) for p, n in zip(padding, full, strict=True)))]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_convolutions(axes):
    options = {"stride": (2, 3, 1)[:axes], "padding": (1, 0, 1)[:axes]}
    options |= {"output_padding": (1, 2, 0)[:axes], "dilation": (2, 1, 2)[:axes]}
    layer = getattr(nn, f"ConvTranspose{axes}d")(3, 4, (2, 3, 2)[:axes], **options).double()
    x = RNG.normal(size=(2, 3, *(4, 2, 3)[:axes]))
    y = layer(gs.tensor(x))
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    for sample, mine in zip(x, y.detach().numpy(), strict=True):
        expected = scatter_conv(
            sample,
            weight,
            options["stride"],
            options["padding"],
            options["output_padding"],
            options["dilation"],
        )
        assert_close(mine, expected + bias.reshape(-1, *(1,) * axes), rtol=1e-10, atol=1e-12)
    assert_close(layer(gs.tensor(x[0])), y[0], rtol=1e-12)
    assert_close(layer(gs.tensor(x), y.shape[2:]), y, rtol=1e-12)
    assert layer(gs.tensor(x[:0])).shape == (0, *y.shape[1:])


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_of_convolutions(axes, mode):
    layer = getattr(nn, f"Conv{axes}d")(2, 2, 3, padding=1, padding_mode=mode).double()
    plain = getattr(nn, f"Conv{axes}d")(2, 2, 3).double()
    plain.load_state_dict(layer.state_dict())
    x = RNG.normal(size=(1, 2, *(4, 5, 3)[:axes]))
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    padded = np.pad(x, [(0, 0), (0, 0), *[(1, 1)] * axes], mode=name)
    assert_close(layer(gs.tensor(x)), plain(gs.tensor(padded)), rtol=1e-12)
    pad = {"reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}[mode]
    assert (getattr(nn, f"{pad}Pad{axes}d")(1)(gs.tensor(x)).numpy() == padded).all()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_pools_and_their_inverse(axes):
    x = RNG.normal(size=(2, 3, *(5, 6, 4)[:axes]))
    pool = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)
    y, index = pool(gs.tensor(x))
    flat = x.reshape(2, 3, -1)
    for n, c in itertools.product(range(2), range(3)):
        assert (flat[n, c][index[n, c].numpy()] == y[n, c].numpy()).all()
    back = getattr(nn, f"MaxUnpool{axes}d")(2)(y, index, output_size=x.shape)
    assert back.shape == x.shape and back.numpy().sum() == pytest.approx(y.numpy().sum())
    assert (back.numpy().reshape(2, 3, -1) != 0).sum() == y.numel()
    again, _ = pool(back)
    assert (np.maximum(again.numpy(), y.numpy()) == again.numpy()).all()
    mean = getattr(nn, f"AvgPool{axes}d")(2)(gs.tensor(x)).numpy()
    assert mean[0, 0].flat[0] == pytest.approx(x[0, 0][(slice(2),) * axes].mean())
    whole = getattr(nn, f"AdaptiveAvgPool{axes}d")(1)(gs.tensor(x)).numpy()
    assert_close(whole.reshape(2, 3), flat.mean(2), rtol=1e-12)
    most, where = getattr(nn, f"AdaptiveMaxPool{axes}d")(1, return_indices=True)(gs.tensor(x))
    assert (most.numpy().reshape(2, 3) == flat.max(2)).all()
    assert (where.numpy().reshape(2, 3) == flat.argmax(2)).all()
    infinite = getattr(nn, f"LPPool{axes}d")(float("inf"), x.shape[2:])(gs.tensor(x)).numpy()
    assert (infinite.reshape(2, 3) == np.abs(flat).max(2)).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_fractional_pools(axes):
    x = RNG.normal(size=(2, 3, *(9, 8, 7)[:axes]))
    layer = getattr(nn, f"FractionalMaxPool{axes}d")(2, (5, 6, 4)[:axes], return_indices=True)
    gs.manual_seed(4)
    y, index = layer(gs.tensor(x))
    assert y.shape == (2, 3, *(5, 6, 4)[:axes])
    flat = x.reshape(6, -1)
    np.testing.assert_array_equal(
        np.take_along_axis(flat, index.numpy().reshape(6, -1), 1), y.numpy().reshape(6, -1)
    )
    corner = (..., *(slice(-2, None),) * axes)  # the last window ends where the input ends
    expected = x[corner].reshape(2, 3, -1).max(2)
    np.testing.assert_array_equal(y.numpy()[(..., *(-1,) * axes)], expected)
    gs.manual_seed(4)
    again, _ = layer(gs.tensor(x))
    other, _ = layer(gs.tensor(x))
    assert gs.equal(again, y) and not gs.equal(other, y)
    one = getattr(nn, f"FractionalMaxPool{axes}d")((3,) * axes, output_ratio=0.5)
    assert one(gs.tensor(x[0])).shape == (3, *(4, 4, 3)[:axes])
    samples = gs.rand(1, 1, axes, dtype=gs.float64)
    pool = getattr(F, f"fractional_max_pool{axes}d")
    assert gradcheck(
        lambda a: pool(a, 2, 2, _random_samples=samples), [leaf(1, 1, *(4, 3, 3)[:axes])]
    )


def test_unpooling_of_overlapping_windows_counts_once():
    x = gs.tensor([[[0.0, 5.0, 1.0]]], dtype=gs.float64)
    y, index = F.max_pool1d(x, 2, 1, return_indices=True)
    assert F.max_unpool1d(y, index, 2, 1).tolist() == [[[0, 5, 0]]]
    with pytest.raises(ValueError, match=r"max_unpool1d: indices must lie in \[0, 3\)"):
        F.max_unpool1d(y, index + 2, 2, 1)


def test_instance_norm_tracks():
    layer = nn.InstanceNorm2d(3, momentum=0.3, affine=True, track_running_stats=True).double()
    x = RNG.normal(size=(4, 3, 5, 2)) * 2 + 1
    y = layer(gs.tensor(x)).detach().numpy()
    assert_close(y.mean((2, 3)), np.zeros((4, 3)), atol=1e-12)
    assert_close(layer.running_mean, 0.3 * x.mean((0, 2, 3)), rtol=1e-10)
    unbiased = x.reshape(4, 3, -1).var(2, ddof=1).mean(0)
    assert_close(layer.running_var, 0.7 + 0.3 * unbiased, rtol=1e-10)
    layer.eval()
    scale = np.sqrt(layer.running_var.numpy() + layer.eps).reshape(1, 3, 1, 1)
    expected = (x - layer.running_mean.numpy().reshape(1, 3, 1, 1)) / scale
    assert_close(layer(gs.tensor(x)), expected, rtol=1e-10)
    assert layer(gs.tensor(x[0])).shape == (3, 5, 2)
    with pytest.raises(ValueError, match="has 2 channels, num_features is 3"):
        layer(gs.zeros(1, 2, 4, 4, dtype=gs.float64))


def test_batch_norm_of_an_empty_batch():
    layer = nn.BatchNorm3d(2)
    layer(gs.zeros(0, 2, 3, 1, 1)).sum().backward()
    assert layer.running_mean.tolist() == [0, 0] and layer.weight.grad.tolist() == [0, 0]


def test_dropout_of_channels():
    gs.manual_seed(1)
    for layer, shape in (
        (nn.Dropout1d(0.4), (50, 40, 3)),
        (nn.Dropout2d(0.4), (50, 40, 3, 2)),
        (nn.Dropout3d(0.4), (50, 40, 2, 3, 1)),
    ):
        x = gs.ones(*shape)
        flat = layer(x).numpy().reshape(2000, -1)
        assert (flat == flat[:, :1]).all()
        assert set(np.unique(flat)) <= {0.0, np.float32(1 / 0.6)}
        assert (flat[:, 0] == 0).mean() == pytest.approx(0.4, abs=0.05)
        assert layer.eval()(x) is x
    assert F.dropout1d(gs.ones(30, 2)).numpy()[:, 0].tolist().count(0) in range(5, 26)


@pytest.mark.parametrize("make", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_keeps_mean_and_variance(make):
    gs.manual_seed(2)
    x = gs.randn(400, 300, 2)
    y = make(0.3)(x).numpy()
    assert abs(y.mean()) < 0.02 and y.std() == pytest.approx(1, abs=0.02)
    assert make(0.3).eval()(x) is x
    assert (make(1.0)(x).numpy() == 0).all()


def test_random_activations():
    gs.manual_seed(3)
    x = gs.tensor(np.full(4000, -1.0))
    y = nn.RReLU(0.1, 0.5)(x).numpy()
    assert -0.5 <= y.min() < -0.49 and -0.11 < y.max() <= -0.1
    assert_close(nn.RReLU(0.1, 0.5).eval()(x), np.full(4000, -0.3), rtol=1e-12)
    logits = gs.tensor(np.log([[0.2, 0.8]] * 4000), requires_grad=True)
    draws = F.gumbel_softmax(logits, hard=True)
    assert draws.detach().numpy()[:, 1].mean() == pytest.approx(0.8, abs=0.03)
    (draws * gs.tensor([0.0, 1.0], dtype=gs.float64)).sum().backward()
    assert np.abs(logits.grad.numpy()).max() > 0


def test_shuffles():
    x = RNG.normal(size=(2, 8, 3, 2))
    y = nn.PixelShuffle(2)(gs.tensor(x)).numpy()
    assert y.shape == (2, 2, 6, 4)
    for c, i, j in itertools.product(range(2), range(6), range(4)):
        assert (y[:, c, i, j] == x[:, c * 4 + i % 2 * 2 + j % 2, i // 2, j // 2]).all()
    assert (nn.PixelUnshuffle(2)(gs.tensor(y)).numpy() == x).all()
    z = nn.ChannelShuffle(2)(gs.tensor(x)).numpy()
    assert (z == x[:, [0, 4, 1, 5, 2, 6, 3, 7]]).all()


def test_upsample():
    x = gs.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=gs.float64)
    big = nn.Upsample(scale_factor=2)(x)
    assert big.tolist() == np.kron(x.numpy(), np.ones((2, 2))).tolist()
    assert nn.UpsamplingNearest2d(size=(3, 1))(x).tolist() == [[[[1.0], [1.0], [3.0]]]]
    corners = nn.UpsamplingBilinear2d(size=3)(x)
    assert corners.tolist() == [[[[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]]]
    half = F.interpolate(x, scale_factor=2, mode="bilinear")
    assert half[0, 0, 0].tolist() == [1, 1.25, 1.75, 2]


def test_unfold_is_what_a_convolution_reads():
    x, w = leaf(2, 3, 5, 4), leaf(4, 3, 2, 3)
    columns = F.unfold(x, (2, 3), (2, 1), 1, (1, 2))
    product = w.reshape(4, -1) @ columns
    expected = F.conv2d(x, w, None, (1, 2), 1, (2, 1))
    assert_close(product, expected.reshape(2, 4, -1), rtol=1e-10, atol=1e-12)
    z = gs.tensor(RNG.normal(size=columns.shape))
    back = F.fold(z, (5, 4), (2, 3), (2, 1), 1, (1, 2))
    left, right = (columns * z).sum().item(), (x * back).sum().item()
    assert left == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    layer = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=2).double()
    flat = np.array([5, 2, 1, 1, 2, 0])
    offsets = [0, 3, 3, 4, 5]  # the second bag is empty, the fourth holds padding alone
    table = layer.weight.detach().numpy()
    expected = []
    for bag in np.split(flat, offsets[1:]):
        rows = table[bag[bag != 2]]
        expected.append(getattr(rows, mode)(0) if len(rows) else np.zeros(3))
    y = layer(gs.tensor(flat), gs.tensor(offsets))
    assert_close(y, np.array(expected), rtol=1e-12)
    y.sum().backward()
    assert layer.weight.grad.numpy()[[2, 3]].sum() == 0
    pairs = layer(gs.tensor(flat.reshape(2, 3)))
    assert_close(pairs, layer(gs.tensor(flat), gs.tensor([0, 3])), rtol=1e-12)


def test_tables_have_dense_gradients():
    """`sparse` stands where PyTorch has it; only False is taken."""
    layer = nn.EmbeddingBag(6, 3, None, 2.0, False, "sum", False)
    index, offsets, factors = gs.tensor([5, 1, 1]), gs.tensor([0, 2]), gs.tensor([1.0, 2.0, 3.0])
    bags = F.embedding_bag(
        index, layer.weight, offsets, None, 2.0, False, "sum", False, factors, False
    )
    assert_close(bags, layer(index, offsets, factors).detach().numpy())
    for make in (nn.Embedding, nn.EmbeddingBag):
        with pytest.raises(ValueError, match="sparse must be False, gradients are dense"):
            make(6, 3, sparse=True)
    with pytest.raises(ValueError, match="embedding: sparse must be False"):
        F.embedding(index, layer.weight, sparse=True)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_nothing_pass_a_gradient(mode):
    layer = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=2)
    for index, offsets in (([], [0, 0]), ([2, 2], [0, 1])):
        y = layer(gs.tensor(index, dtype=gs.int64), gs.tensor(offsets))
        y.sum().backward()
        assert y.tolist() == [[0, 0, 0]] * 2 and not layer.weight.grad.numpy().any()


@pytest.mark.parametrize("make", [nn.Embedding, nn.EmbeddingBag])
def test_gradients_divided_by_frequency(make):
    # PyTorch's EmbeddingBag takes the frequency of another index: [0, 0, 1] gives row 1 a half.
    layer = make(
        4, 2, scale_grad_by_freq=True, **({"mode": "sum"} if make is nn.EmbeddingBag else {})
    )
    rows = layer(gs.tensor([[0, 3, 0], [0, 1, 3]]))
    (rows * gs.arange(1, 1 + rows.numel()).reshape(rows.shape)).sum().backward()
    if make is nn.Embedding:
        expected = [[13 / 3, 16 / 3], [9, 10], [0, 0], [7, 8]]
    else:
        expected = [[5 / 3, 8 / 3], [3, 4], [0, 0], [2, 3]]
    assert_close(layer.weight.grad, np.array(expected), rtol=1e-6)
    with pytest.raises(ValueError, match="scale_grad_by_freq goes with modes 'sum' and 'mean'"):
        nn.EmbeddingBag(4, 2, scale_grad_by_freq=True, mode="max")


def test_embedding_max_norm_and_pretrained():
    table = gs.tensor(RNG.normal(size=(4, 3)) * 5)
    layer = nn.Embedding.from_pretrained(table, max_norm=1.0)
    assert not layer.weight.requires_grad
    norms = np.linalg.norm(layer(gs.tensor([1, 1, 3])).numpy(), axis=1)
    assert_close(norms, np.ones(3), rtol=1e-6)
    assert np.linalg.norm(layer.weight.detach().numpy()[0]) > 1


def adaptive_pair(torch, **options):
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], 2.0, **options).double()
    ours = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], 2.0, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: gs.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.torch
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("labels", [[3, 0, 19, 14, 10, 9, 4, 15, 1], [0, 3, 1], [], 12])
def test_adaptive_softmax_beside_torch(head_bias, labels):
    torch = pytest.importorskip("torch")
    ours, theirs = adaptive_pair(torch, head_bias=head_bias)
    labels = np.array(labels, np.int64)
    x = RNG.normal(size=(*labels.shape, 8)) * 3
    a, b = gs.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (y, loss), (expected, their_loss) = ours(a, gs.tensor(labels)), theirs(b, torch.tensor(labels))
    assert_close(y, expected.detach().numpy(), rtol=1e-10)
    if not labels.size:
        return
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-10)
    loss.backward()
    their_loss.backward()
    for mine, other in zip([a, *ours.parameters()], [b, *theirs.parameters()], strict=True):
        if other.grad is None:
            assert mine.grad is None
        else:
            assert_close(mine.grad, other.grad.numpy(), rtol=1e-10, atol=1e-13)
    if labels.ndim:
        assert_close(ours.log_prob(a), theirs.log_prob(b).detach().numpy(), rtol=1e-10)
        assert ours.predict(a).tolist() == theirs.predict(b).tolist()
        assert_close(ours.log_prob(a).exp().sum(1), np.ones(len(x)), rtol=1e-12)


def test_adaptive_softmax_starts_again():
    layer = nn.AdaptiveLogSoftmaxWithLoss(16, 100, [10, 50])
    before = layer.state_dict()["tail.1.0.weight"].numpy().copy()
    assert layer.tail[1][0].weight.shape == (1, 16) and layer.head.weight.shape == (12, 16)
    layer.reset_parameters()
    assert not (layer.tail[1][0].weight.detach().numpy() == before).all()
    assert "cutoffs=[10, 50]" in repr(layer)


def test_parameter_containers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.items = nn.ParameterList([gs.ones(2), nn.Parameter(gs.zeros(3))])
            self.named = nn.ParameterDict({"a": gs.ones(1)})

    net = Net()
    assert list(net.state_dict()) == ["items.0", "items.1", "named.a"]
    net.items.append(gs.ones(4))
    assert len(net.items) == 3 and net.items[-1].shape == (4,) and len(net.items[1:]) == 2
    net.items[0] = gs.zeros(5)
    assert [p.shape[0] for p in net.items] == [5, 3, 4]
    net.named["b"] = gs.ones(2)
    del net.named["a"]
    assert list(net.named) == ["b"] and "b" in net.named and "ParameterDict" in repr(net)
    with pytest.raises(IndexError, match="index 3 out of range for 3"):
        net.items[3]
    with pytest.raises(TypeError, match="ParameterDict: values must be tensors, got int"):
        net.named["c"] = 1


def test_summary_counts_both_kinds_of_convolution():
    there, back = nn.Conv3d(2, 3, 2, 2), nn.ConvTranspose3d(3, 2, 2, 2)
    flops = nn.Sequential(there, back).summary((1, 2, 4, 4, 4)).flops
    assert flops == 3 * 8 * (2 * 2 * 8 + 1) + 3 * 8 * 2 * 2 * 8 + 2 * 64


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.ConvTranspose2d(2, 3, 3, padding="same"), TypeError, "padding must be an int"),
        (lambda: nn.ConvTranspose1d(2, 3, 3, padding_mode="reflect"), ValueError, "padding_mode"),
        (
            lambda: nn.ConvTranspose1d(2, 3, 3, 2)(gs.zeros(1, 2, 4), (12,)),
            ValueError,
            r"output_size must lie between \[9\] and \[10\]",
        ),
        (
            lambda: F.conv3d(gs.zeros(1, 2, 3, 3, 3), gs.zeros(4, 1, 2, 2, 2)),
            ValueError,
            "2 channels",
        ),
        (lambda: F.max_pool1d(gs.zeros(3), 2), ValueError, r"\(N, C, L\) or \(C, L\), got \(3,\)"),
        (lambda: nn.ReflectionPad2d((1, 2)), ValueError, "an int or 4 ints"),
        (lambda: nn.ZeroPad1d(1.5), TypeError, "padding must be ints, got float"),
        (lambda: F.glu(gs.zeros(3)), ValueError, "size of dim -1 must be even"),
        (lambda: F.prelu(gs.zeros(2, 3), gs.zeros(2)), ValueError, "3 channels"),
        (lambda: nn.RReLU(0.5, 0.1), ValueError, "must not exceed"),
        (lambda: nn.Softmax2d()(gs.zeros(2, 3)), ValueError, "Softmax2d: input must be"),
        (lambda: nn.PixelShuffle(2)(gs.zeros(1, 3, 2, 2)), ValueError, "divisible by 4"),
        (lambda: F.interpolate(gs.zeros(1, 1, 2)), ValueError, "either size or scale_factor"),
        (
            lambda: F.interpolate(gs.zeros(1, 1, 2), 4, mode="bilinear"),
            ValueError,
            "does not fit",
        ),
        (lambda: F.unfold(gs.zeros(1, 1, 2, 2), 3), ValueError, "does not fit"),
        (lambda: F.fold(gs.zeros(1, 4, 3), 3, 2), ValueError, "fold: input must be"),
        (lambda: nn.EmbeddingBag(3, 2, mode="min"), ValueError, "mode must be one of"),
        (lambda: nn.EmbeddingBag(3, 2)(gs.tensor([0])), ValueError, "one and offsets"),
        (lambda: nn.FractionalMaxPool2d(2), ValueError, "either output_size or output_ratio"),
        (lambda: nn.FractionalMaxPool2d(2, 3, 0.5), ValueError, "either output_size or"),
        (lambda: nn.FractionalMaxPool3d(2, output_ratio=1.5), ValueError, r"3 numbers in \(0, 1\)"),
        (lambda: F.fractional_max_pool2d(gs.zeros(1, 4, 4), 2), ValueError, "either output_size"),
        (
            lambda: nn.FractionalMaxPool2d(2, 4)(gs.zeros(1, 4, 9)),
            ValueError,
            r"at \(4, 4\) places do not fit input \(4, 9\)",
        ),
        (
            lambda: F.fractional_max_pool2d(gs.zeros(1, 4, 4), 2, 2, None, False, gs.zeros(1, 2)),
            ValueError,
            r"_random_samples must be \(1, 1, 2\)",
        ),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, []), ValueError, "cutoffs must rise"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3, 3]), ValueError, r"got \[3, 3\]"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [9]), ValueError, "stay below n_classes 9"),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3])(gs.zeros(2, 4), gs.tensor([0, 9])),
            ValueError,
            r"integers from 0 to 8, got int64 with \[0, 9\]",
        ),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3])(gs.zeros(2, 4), gs.tensor([0])),
            ValueError,
            r"got \(2, 4\) and \(1,\)",
        ),
        (lambda: nn.TripletMarginLoss(margin=0.0), ValueError, "margin must be positive"),
        (lambda: nn.MultiMarginLoss(p=3), ValueError, "p must be 1 or 2"),
        (
            lambda: nn.GaussianNLLLoss()(gs.zeros(2), gs.zeros(2), gs.tensor([-1.0, 1.0])),
            ValueError,
            "var must not be negative",
        ),
        (lambda: F.dropout3d(gs.zeros(2, 2)), ValueError, "4 or 5 axes"),
        (lambda: F.instance_norm(gs.zeros(2, 3, 1)), ValueError, "more than one value"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_unflatten_of_an_empty_batch():
    assert tuple(nn.Unflatten(1, (2, -1))(gs.ones(0, 4)).shape) == (0, 2, 2)
    with pytest.raises(IndexError, match="unflatten: dim 3 is out of range"):
        nn.Unflatten(3, (2, -1))(gs.ones(0, 4))


@pytest.mark.parametrize("layer", [nn.Softmax, nn.LogSoftmax, nn.Softmin])
def test_the_axis_of_softmax(layer):
    name = layer.__name__
    for shape, axis in (((), 0), ((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)):
        x = gs.randn(shape)
        assert_close(layer()(x), layer(axis)(x))
    with pytest.raises(TypeError, match=": argument 'input' must be a Tensor, got list"):
        layer()([1.0])
    function = getattr(F, {nn.LogSoftmax: "log_softmax"}.get(layer, name.lower()))
    x = gs.tensor([[0, 3]], dtype=gs.uint8)
    assert_close(function(x, dtype=gs.float32), layer(1)(gs.tensor([[0.0, 3.0]])))
    with pytest.raises(TypeError, match=f"^{name}: dim must be an int, got str"):
        layer("x")
    with pytest.raises(TypeError, match=f"^{name}: got unexpected arguments"):
        layer(1, 2)


def test_divisors_and_betas_that_are_zero():
    for pool in (nn.AvgPool2d, nn.AvgPool3d):
        with pytest.raises(ValueError, match=f"{pool.__name__}: divisor_override must not be 0"):
            pool(2, divisor_override=0)
    with pytest.raises(ValueError, match="divisor_override"):
        nn.functional.avg_pool2d(gs.ones(1, 1, 2, 2), 2, divisor_override=0)
    with pytest.raises(ValueError, match="softplus: argument 'beta'"):
        nn.functional.softplus(gs.ones(2), 0.0)
