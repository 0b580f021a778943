"""Losses and distances composed of ops: NumPy references, gradients, and torch beside them."""

import itertools

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.nn import functional as F
from gradsmith.testing import assert_close, gradcheck, gradgradcheck

RNG = np.random.default_rng(9)
X, Y, Z = (RNG.normal(size=(4, 5)) for _ in range(3))
SIGNS = np.array([1.0, -1, -1, 1])
LABELS = np.array([1, 4, 0, 2])
SETS = np.array([[3, 0, -1, 1, 1], [-1, 0, 1, 2, 3], [0, 1, 2, 3, 4], [2, -1, -1, -1, -1]])


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def multi_margin(x, y, p=1, margin=1.0):
    terms = np.maximum(0, margin - np.take_along_axis(x, y[:, None], 1) + x) ** p
    np.put_along_axis(terms, y[:, None], 0.0, 1)
    return terms.sum(1) / x.shape[1]


def multilabel_margin(x, sets):
    found = []
    for row, given in zip(x, sets, strict=True):
        labels = list(given[: list(given).index(-1)]) if -1 in given else list(given)
        others = [i for i in range(len(row)) if i not in labels]
        found.append(sum(max(0, 1 - row[y] + row[i]) for y in labels for i in others) / len(row))
    return np.array(found)


def triplet(a, p, n, margin=1.0, swap=False):
    far = np.linalg.norm(a - n + 1e-6, axis=-1)
    if swap:
        far = np.minimum(far, np.linalg.norm(p - n + 1e-6, axis=-1))
    return np.maximum(0, margin + np.linalg.norm(a - p + 1e-6, axis=-1) - far)


COUNTS = np.array([[0.0, 1, 2, 7, 3]] * 4)
STIRLING = np.where(
    COUNTS > 1,
    COUNTS * np.log(np.maximum(COUNTS, 1))
    - COUNTS
    + 0.5 * np.log(2 * np.pi * np.maximum(COUNTS, 1)),
    0,
)
CASES = [
    ("cosine_embedding_loss", (X, Y, SIGNS), {"margin": -0.1},
     np.where(SIGNS == 1, 1 - cosine(X, Y), np.maximum(0, cosine(X, Y) + 0.1))),
    ("gaussian_nll_loss", (X, Y, Z**2 + 0.1), {"full": True},
     0.5 * (np.log(Z**2 + 0.1) + (X - Y) ** 2 / (Z**2 + 0.1) + np.log(2 * np.pi))),
    ("hinge_embedding_loss", (X.T, SIGNS), {"margin": 0.7},
     np.where(SIGNS == 1, X.T, np.maximum(0, 0.7 - X.T))),
    ("margin_ranking_loss", (X, Y, np.sign(Z)), {"margin": 0.2},
     np.maximum(0, 0.2 - np.sign(Z) * (X - Y))),
    ("multi_margin_loss", (X, LABELS), {}, multi_margin(X, LABELS)),
    ("multi_margin_loss", (X, LABELS), {"p": 2, "margin": 0.5}, multi_margin(X, LABELS, 2, 0.5)),
    ("multilabel_margin_loss", (X, SETS), {}, multilabel_margin(X, SETS)),
    ("multilabel_soft_margin_loss", (X, (Y > 0) * 1.0), {},
     np.logaddexp(0, np.where(Y > 0, -X, X)).mean(1)),
    ("poisson_nll_loss", (X, COUNTS), {"full": True}, np.exp(X) - COUNTS * X + STIRLING),
    ("poisson_nll_loss", (X**2 + 1, COUNTS), {"log_input": False, "eps": 1e-3},
     X**2 + 1 - COUNTS * np.log(X**2 + 1.001)),
    ("soft_margin_loss", (X, np.sign(Y)), {}, np.logaddexp(0, -np.sign(Y) * X)),
    ("triplet_margin_loss", (X, Y, Z), {"margin": 0.6}, triplet(X, Y, Z, 0.6)),
    ("triplet_margin_loss", (X, Y, Z), {"swap": True}, triplet(X, Y, Z, swap=True)),
    ("cosine_similarity", (X, Y), {}, cosine(X, Y)),
    ("pairwise_distance", (X, Y), {"p": 1.0}, np.abs(X - Y + 1e-6).sum(1)),
    ("normalize", (X,), {"p": 3.0}, X / (np.abs(X) ** 3).sum(1, keepdims=True) ** (1 / 3)),
]  # fmt: skip
WITHOUT_REDUCTION = ("cosine_similarity", "pairwise_distance", "normalize")


@pytest.mark.parametrize(("name", "args", "options", "expected"), CASES)
def test_against_formulas(name, args, options, expected):
    fn = getattr(F, name)
    tensors = [gs.tensor(a) for a in args]
    if name in WITHOUT_REDUCTION:
        assert_close(fn(*tensors, **options), expected, rtol=1e-10)
    else:
        assert_close(fn(*tensors, **options, reduction="none"), expected, rtol=1e-10, atol=1e-14)
        for reduction in ("mean", "sum"):
            found = fn(*tensors, **options, reduction=reduction).item()
            assert found == pytest.approx(getattr(expected, reduction)(), rel=1e-10)
        with pytest.raises(ValueError, match="reduction must be one of mean, sum, none"):
            fn(*tensors, **options, reduction="avg")
        assert fn(*(t.float() if t.dtype is gs.float64 else t for t in tensors)).dtype is gs.float32
    inputs = [gs.tensor(args[0], requires_grad=True), *tensors[1:]]
    if len(args) > 2 and name != "cosine_embedding_loss":
        inputs[1].requires_grad_()
    assert gradcheck(lambda *a: fn(*a, **options), inputs)
    assert gradgradcheck(lambda *a: fn(*a, **options), inputs)


def test_extreme_values():
    far = gs.tensor([-1e3, 1e3], dtype=gs.float64, requires_grad=True)
    loss = F.soft_margin_loss(far, gs.ones(2, dtype=gs.float64), reduction="none")
    assert loss.tolist() == [1000, 0]
    loss.sum().backward()
    assert far.grad.tolist() == [-1, 0]
    same = gs.tensor(X, requires_grad=True)
    F.triplet_margin_loss(same, gs.tensor(X), gs.tensor(Y)).backward()
    zero = gs.zeros(2, 3, dtype=gs.float64, requires_grad=True)
    F.cosine_similarity(zero, gs.ones(2, 3, dtype=gs.float64)).sum().backward()
    assert np.isfinite(same.grad.numpy()).all() and np.isfinite(zero.grad.numpy()).all()


def test_labels_of_no_class_are_named():
    with pytest.raises(IndexError, match="multilabel_margin_loss: target must lie in"):
        F.multilabel_margin_loss(gs.zeros(1, 3), gs.tensor([[0, 3, -1]]))
    F.multilabel_margin_loss(gs.zeros(1, 3), gs.tensor([[0, -1, 7]]))  # not looked at


def test_cosine_similarity_broadcasts():
    """Lengths are taken of what is compared, after broadcasting."""
    ones = gs.ones(4, 3)
    assert F.cosine_similarity(ones, gs.ones(1, 3), dim=0).tolist() == pytest.approx([1.0] * 3)
    assert F.cosine_similarity(ones, gs.ones(3), dim=1).tolist() == pytest.approx([1.0] * 4)
    x, y = gs.tensor(X, requires_grad=True), gs.tensor(Y[:1], requires_grad=True)
    whole = gs.tensor(np.broadcast_to(Y[:1], X.shape).copy(), requires_grad=True)
    for other in (y, whole):
        F.cosine_similarity(x, other, dim=0).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), whole.grad.numpy().sum(0, keepdims=True))


@pytest.mark.parametrize("bad", [-1.0, 1.5, float("nan")])
def test_binary_cross_entropy_is_of_probabilities(bad):
    good, wrong = gs.full((2,), 0.5), gs.tensor([0.5, bad])
    with pytest.raises(ValueError, match=r"argument 'target' must be in \[0, 1\]"):
        F.binary_cross_entropy(good, wrong)
    with pytest.raises(ValueError, match=r"argument 'input' must be in \[0, 1\]"):
        F.binary_cross_entropy(wrong, good)


IMAGE, COLUMNS = RNG.normal(size=(2, 4, 6, 8)), RNG.normal(size=(2, 12, 20))
BESIDE_TORCH = [
    ("TripletMarginLoss", (), {"swap": True, "p": 1.5}, (X, Y, Z)),
    ("TripletMarginWithDistanceLoss", (), {"margin": 0.4, "swap": True}, (X, Y, Z)),
    ("CosineSimilarity", (), {"dim": 0}, (X, Y)),
    ("CosineSimilarity", (), {}, (X * 1e-9, Y)),
    ("PairwiseDistance", (3.0,), {"keepdim": True}, (X, Y[:1])),
    ("PixelShuffle", (2,), {}, (IMAGE,)),
    ("PixelUnshuffle", (2,), {}, (IMAGE,)),
    ("ChannelShuffle", (2,), {}, (IMAGE,)),
    ("Unfold", ((2, 3),), {"dilation": 2, "padding": 1, "stride": (1, 2)}, (IMAGE,)),
    ("Fold", ((5, 6), (2, 2)), {}, (COLUMNS,)),
    ("Fold", ((5, 6), (2, 2)), {}, (COLUMNS[0],)),
    ("Upsample", (), {"size": (9, 5)}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": 1.7}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "nearest-exact"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": 2.5, "mode": "bilinear"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (0.6, 2.0), "mode": "bilinear"}, (IMAGE,)),
    ("Upsample", (), {"size": (9, 3), "mode": "bilinear", "align_corners": True}, (IMAGE,)),
    ("Upsample", (), {"size": (9, 3), "mode": "bicubic", "align_corners": False}, (IMAGE,)),
    ("Upsample", (), {"size": (13, 3), "mode": "bicubic", "align_corners": True}, (IMAGE,)),
    ("Upsample", (), {"size": 7, "mode": "linear"}, (IMAGE[0],)),
    ("Upsample", (), {"size": (3, 9, 4), "mode": "trilinear"}, (IMAGE[None],)),
    ("Upsample", (), {"size": (3, 4), "mode": "area"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.1, 2.1), "mode": "nearest"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.1, 2.1), "mode": "nearest-exact"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.1, 2.1), "mode": "bilinear"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.1, 2.1), "mode": "bicubic"}, (IMAGE,)),
    ("Upsample", (), {"scale_factor": (1.05, 1.1, 2.2), "mode": "trilinear"}, (IMAGE[None],)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (IMAGE,)),
    ("UpsamplingNearest2d", (), {"scale_factor": 3}, (IMAGE,)),
    ("LPPool2d", (float("inf"), 3), {"stride": 2, "ceil_mode": True}, (IMAGE,)),
    ("MaxPool3d", (2,), {"dilation": (1, 2, 1), "ceil_mode": True, "padding": 1}, (IMAGE,)),
    ("AvgPool3d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}, (IMAGE,)),
    ("AvgPool3d", (2,), {"divisor_override": 3}, (IMAGE,)),
    ("ConvTranspose3d", (2, 4, (2, 3, 1), 2, 1, 1, 2), {"dilation": 2}, (IMAGE[None],)),
    ("Conv3d", (2, 4, (2, 3, 1)), {"padding": "same", "groups": 2, "dilation": 2}, (IMAGE[None],)),
    ("Conv3d", (2, 4, 3), {"padding": 1, "padding_mode": "circular"}, (IMAGE[None],)),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "options", "arrays"), BESIDE_TORCH)
def test_beside_torch(name, args, options, arrays):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(*args, **options).double()
    theirs = getattr(torch.nn, name)(*args, **options).double()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(gs.from_numpy(other.detach().numpy()))
    if name in ("Conv3d", "ConvTranspose3d"):
        arrays = (arrays[0].reshape(2, 2, 2, 6, 8),)
    a = [gs.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, expected = ours(*a), theirs(*b)
    assert_close(y, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = RNG.normal(size=tuple(expected.shape))
    (y * gs.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for mine, other in zip([*a, *ours.parameters()], [*b, *theirs.parameters()], strict=True):
        grad = other.grad.numpy()
        assert_close(mine.grad, grad, rtol=1e-10, atol=1e-11 * np.abs(grad).max())


def paths_of(target, steps, classes, blank):
    """All paths that spell a target, by trying every one."""
    for path in itertools.product(range(classes), repeat=steps):
        joined = [c for c, before in zip(path, (None, *path), strict=False) if c != before]
        if [c for c in joined if c != blank] == list(target):
            yield path


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_counts_every_path(blank):
    scores = RNG.normal(size=(4, 5, 3))
    logs = scores - np.log(np.exp(scores).sum(2, keepdims=True))
    one, other = (c for c in range(3) if c != blank)
    targets = [[one, other], [one, one], [other], [], [one, other, one]]
    expected = [
        -np.log(sum(np.exp(logs[range(4), n, path].sum()) for path in paths_of(t, 4, 3, blank)))
        for n, t in enumerate(targets)
    ]
    joined = gs.tensor([c for target in targets for c in target])
    sizes = gs.tensor([len(target) for target in targets])
    found = nn.CTCLoss(blank, "none")(gs.tensor(logs), joined, [4] * 5, sizes)
    assert_close(found, np.array(expected), rtol=1e-10)

    def loss(x):
        return F.ctc_loss(x, joined, (4, 4, 2, 3, 4), sizes, blank)

    assert gradcheck(loss, [gs.tensor(logs, requires_grad=True)])
    assert gradgradcheck(loss, [gs.tensor(logs, requires_grad=True)])


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_beside_torch(reduction, zero_infinity):
    torch = pytest.importorskip("torch")
    scores, targets = RNG.normal(size=(12, 6, 7)) * 3, RNG.integers(1, 7, (6, 5))
    targets[0] = 2  # repetitions need blanks between them
    times, sizes = [12, 12, 7, 9, 0, 3], [5, 3, 0, 4, 0, 5 if zero_infinity else 1]
    a, b = gs.tensor(scores, requires_grad=True), torch.tensor(scores, requires_grad=True)
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    y = nn.CTCLoss(**options)(a.log_softmax(2), gs.tensor(targets), times, sizes)
    expected = torch.nn.CTCLoss(**options)(b.log_softmax(2), torch.tensor(targets), times, sizes)
    assert_close(y, expected.detach().numpy(), rtol=1e-10)
    y.sum().backward()
    expected.sum().backward()
    assert_close(a.grad, b.grad.numpy(), rtol=1e-10, atol=1e-12)
    one = nn.CTCLoss()(a[:, 1].log_softmax(1), gs.tensor(targets[1]), 12, gs.tensor(5))
    theirs = torch.nn.CTCLoss()(b[:, 1].log_softmax(1), torch.tensor(targets[1]), torch.tensor(12),
                                torch.tensor(5))  # fmt: skip
    assert one.item() == pytest.approx(theirs.item(), rel=1e-10)


def test_ctc_of_what_cannot_be():
    flat = gs.zeros(3, 1, 2, dtype=gs.float64, requires_grad=True)
    too_long = (gs.tensor([[1, 1, 1]]), [3], [3])
    assert nn.CTCLoss(reduction="sum")(flat, *too_long).item() == np.inf
    loss = nn.CTCLoss(reduction="sum", zero_infinity=True)(flat, *too_long)
    loss.backward()
    assert loss.item() == 0 and not flat.grad.numpy().any()
    never = gs.tensor([[[0.0, -np.inf]]] * 3, requires_grad=True)  # a probability of 0
    nn.CTCLoss()(never, gs.tensor([[1]]), [3], [1]).backward()
    assert np.isfinite(never.grad.numpy()).all()
    assert F.ctc_loss(flat.half(), gs.tensor([[1]]), [3], [1]).dtype is gs.float16


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"log_probs": gs.zeros(3)}, ValueError, r"log_probs must be floating, \(T, N, C\)"),
        ({"input_lengths": [4, 3]}, ValueError, "input_lengths must not exceed 3, got 4"),
        ({"input_lengths": [3]}, ValueError, r"input_lengths must be 2 whole numbers from 0"),
        ({"target_lengths": [1, -1]}, ValueError, r"target_lengths must be 2 .*, got \[1, -1\]"),
        ({"target_lengths": [1.0, 1.0]}, ValueError, "target_lengths must be 2 whole numbers"),
        ({"target_lengths": [3, 1]}, ValueError, r"targets \(2, 2\) do not fit target_lengths"),
        ({"targets": gs.tensor([1, 2])}, ValueError, r"targets \(2,\) do not fit"),
        ({"targets": gs.tensor([[1, 4], [1, 1]])}, ValueError, "classes from 0 to 3 .*, got 4"),
        ({"targets": gs.tensor([[1, 2], [0, 1]])}, ValueError, "without the blank 0, got 0"),
        ({"targets": gs.ones(2, 2)}, TypeError, "targets must hold integers, got float32"),
        ({"blank": 4}, ValueError, r"blank must lie in \[0, 4\), got 4"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of mean, sum, none"),
    ],
)
def test_ctc_checks(change, error, text):
    given = {"log_probs": gs.zeros(3, 2, 4), "targets": gs.tensor([[1, 2], [3, 0]])}
    given |= {"input_lengths": [3, 3], "target_lengths": [2, 1]}
    F.ctc_loss(**given)
    with pytest.raises(error, match=f"ctc_loss: .*{text}"):
        F.ctc_loss(**given | change)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_beside_torch(mode):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.EmbeddingBag(6, 3, mode=mode, padding_idx=2, include_last_offset=True)
    ours = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=2, include_last_offset=True).double()
    ours.load_state_dict({"weight": gs.tensor(theirs.double().weight.detach().numpy().copy())})
    index, offsets = np.array([5, 2, 1, 1, 2, 0, 3]), np.array([0, 3, 3, 4, 6, 7])
    factors = RNG.normal(size=7) if mode == "sum" else None
    given = [None if factors is None else make(factors) for make in (gs.tensor, torch.tensor)]
    y = ours(gs.tensor(index), gs.tensor(offsets), given[0])
    expected = theirs(torch.tensor(index), torch.tensor(offsets), given[1])
    assert_close(y, expected.detach().numpy(), rtol=1e-10)
    weights = RNG.normal(size=(5, 3))
    (y * gs.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    assert_close(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_multi_margin_refuses_other_classes_and_sizes():
    scores = gs.ones(2, 5)
    for target in ([-1, 0], [5, 0]):
        with pytest.raises(ValueError, match="classes from 0 to 4"):
            nn.functional.multi_margin_loss(scores, gs.tensor(target))
    with pytest.raises(ValueError, match="one class for each of the 2 rows"):
        nn.functional.multi_margin_loss(scores, gs.tensor([1]))


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_targets_of_another_shape_are_broadcast(name):
    loss = getattr(F, name)
    x, y = gs.tensor(X[:, :1]), gs.tensor(Y[0])
    with pytest.warns(UserWarning, match=rf"{name}: target of shape \(5,\) .* \(4, 1\)") as seen:
        found = loss(x, y, reduction="none")
    assert seen[0].filename == __file__
    assert_close(found, loss(*gs.broadcast_tensors(x, y), reduction="none"))
    with pytest.raises(ValueError, match=rf"{name}: .*\(4, 5\).*\(4,\)"):
        loss(gs.tensor(X), gs.tensor(Y[:, 0]))
    layers = {
        "mse": nn.MSELoss,
        "l1": nn.L1Loss,
        "smooth_l1": nn.SmoothL1Loss,
        "huber": nn.HuberLoss,
    }
    layer = layers[name.removesuffix("_loss")]()
    with pytest.warns(UserWarning, match=f"{name}: target of shape"):
        assert_close(layer(x, y), found.mean())


@pytest.mark.parametrize("layer", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss])
def test_what_is_no_tensor_is_named(layer):
    name = {nn.MSELoss: "mse", nn.L1Loss: "l1", nn.HuberLoss: "huber"}.get(layer, "smooth_l1")
    x = gs.ones(2)
    for loss in (layer(), getattr(F, f"{name}_loss")):
        for args, text in (
            ((x, [1, 2.0]), "'target' must be a Tensor, got list"),
            ((x, 1.0), "'target' must be a Tensor, got float"),
            (([1, 2.0], x), "'input' must be a Tensor, got list"),
        ):
            with pytest.raises(TypeError, match=f"^{name}_loss: argument {text}$"):
                loss(*args)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using a target size", "ignore:.*is broadcast against")
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_targets_are_broadcast_as_in_torch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = gs.tensor(X[:, :1], requires_grad=True), torch.tensor(X[:, :1])
    theirs.requires_grad_()
    found = getattr(F, name)(ours, gs.tensor(Y))
    wanted = getattr(torch.nn.functional, name)(theirs, torch.tensor(Y))
    found.backward(), wanted.backward()
    np.testing.assert_allclose(found.item(), wanted.item(), rtol=1e-12)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)
