"""Functions composed in Python on CUDA: values and gradients as on the CPU; see test_cuda.py."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from test_cuda import check, gpu, on_cuda, rand, run_emulated, same

F = nn.functional
INTS = gs.tensor([3, 1, 3, 0, 7, 1])


def test_emulated():
    run_emulated(__file__)


@gpu
def test_rearranging():
    x = rand(3, 4)
    check(lambda x: gs.repeat_interleave(x, 2, 1), x)
    check(lambda x: gs.repeat_interleave(x, gs.tensor([2, 0, 1]).to(x.device), 0), x)
    index = gs.tensor([[0, 3, 0], [2, 1, 2]])
    check(lambda x, y: gs.scatter(x, 1, index.to(x.device), y), x, rand(2, 3, seed=1))
    check(lambda x: gs.scatter(x, 0, index[:, :1].to(x.device) % 3, 7.0), x)
    with pytest.raises(IndexError, match=r"scatter: index must lie in \[0, 2\), got 0 to 3"):
        gs.scatter(on_cuda(rand(3, 2)), 1, on_cuda(index), 1.0)
    for fn in (gs.tril, gs.triu, gs.diag, lambda x: gs.roll(x, 1, 0), lambda x: gs.tile(x, 2)):
        check(fn, x)
    check(lambda x: gs.diag_embed(x, 1), x)
    check(lambda x: gs.take_along_dim(x, index.to(x.device), 1), rand(2, 4))


@gpu
def test_writing_by_index():
    x, src = rand(3, 4), rand(3, 5, seed=1)
    index = gs.tensor([[0, 3, 0, 1, 0], [2, 1, 2, 2, 2], [0, 0, 0, 0, 1]])
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for own in (False, True):
            check(
                lambda x, s, reduce=reduce, own=own: gs.scatter_reduce(
                    x, 1, index.to(x.device), s, reduce, include_self=own
                ),
                x,
                src,
            )
    check(lambda x: gs.scatter(x, 1, index[:, :2].to(x.device), 2.0, reduce="multiply"), x)
    check(lambda x: x.index_fill(1, index[1, :2].to(x.device), 2.0), x)
    check(lambda x, s: x.index_copy(1, index[1, :2].to(x.device), s), x, src[:, :2].contiguous())
    check(lambda x, s: x.masked_scatter(x > 0, s), x, src)
    check(lambda x: gs.where(x > 0)[1], x, backward=False)
    check(lambda x: x.unfold(1, 2, 1), x)
    check(lambda x: x.clamp(x * 0 - 0.1, x.detach().abs() / 2), x)
    for dtype in (gs.int32, gs.uint8, gs.float16):
        whole = (x.abs() * 9).floor().to(dtype)
        check(lambda x: x.scatter_add(1, index[:, :2].to(x.device), x), whole, backward=False)


@gpu
def test_along_axes_and_products():
    x, y = rand(3, 7), rand(2, 7, seed=1)
    check(lambda x: gs.cummax(x, 1).values, x)
    check(lambda x: gs.cummin(x, 1).indices, x, backward=False)
    check(lambda x: gs.logcumsumexp(x, 1), x)
    check(lambda x: gs.diff(x, 2), x)
    check(gs.erfc, x)
    check(gs.fmod, x * 5, rand(3, 7, seed=2).abs() + 0.5)
    check(gs.inner, x, y, atol=1e-5)
    check(gs.cdist, x, y, atol=1e-5)
    check(lambda x: gs.nan_to_num(1 / x.floor()), x, backward=False)
    check(lambda x: gs.bucketize(x, gs.tensor([-0.5, 0.5], device=x.device)), x, backward=False)
    ints = (x * 100).long()
    for scale in (1, 2**40):  # in float64, and beyond it
        check(lambda i, scale=scale: (i * scale) @ (i * scale).T, ints, backward=False)
    check(lambda i: gs.div(i, 7, rounding_mode="trunc"), ints, backward=False)
    gs.manual_seed(1)
    here = gs.multinomial(x.abs(), 3, replacement=True)
    gs.manual_seed(1)
    same(gs.multinomial(on_cuda(x.abs()), 3, replacement=True), here)


@gpu
def test_order_and_sets():
    x = rand(4, 5)
    check(lambda x: gs.sort(x, 1).values, x)
    check(lambda x: gs.topk(x, 2).values, x)
    check(lambda x: gs.median(x), x)
    check(lambda x: gs.quantile(x, gs.tensor([0.25, 0.6], device=x.device), 1), x)
    for at in range(3):
        check(lambda i, at=at: gs.unique(i, return_inverse=True, return_counts=True)[at], INTS)
    check(lambda i: gs.unique(i.reshape(2, 3), dim=0), INTS)
    check(gs.bincount, INTS)
    check(lambda i, w: gs.bincount(i, w, 10), INTS, rand(6), backward=False)
    check(gs.isin, INTS, gs.tensor([7, 3]))
    check(gs.isin, INTS, gs.tensor([], dtype="int64"))
    places = gs.tensor([-1.0, 0.5, 2.0, float("nan"), 9.0])
    for right in (False, True):
        for known in ([0.5, 2.0, 2.0, 3.0], [1.0, float("nan")], []):
            known = gs.tensor(known, dtype="float32")
            check(
                lambda k, v, right=right: gs.searchsorted(k, v, right),
                known,
                places,
                backward=False,
            )
            found = gs.searchsorted(known, places, right).numpy()
            side = "right" if right else "left"
            np.testing.assert_array_equal(
                found, np.searchsorted(known.numpy(), places.numpy(), side)
            )


@gpu
def test_images():
    x = rand(2, 3, 5, 6)
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        check(lambda x, mode=mode: F.interpolate(x, (7, 4), mode=mode), x)
    check(lambda x: F.unfold(x, 2, padding=1), x)
    check(lambda x: F.fold(F.unfold(x, 2), (5, 6), 2), x)
    check(lambda x: F.pad(x, (1, 2), mode="reflect"), x)

    def there_and_back(x):
        y, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(y, places, 2, output_size=(5, 6))

    check(there_and_back, x)
    weight = rand(3, 2, 2, 3, 3, seed=1)
    check(lambda x, w: F.conv_transpose3d(x, w, stride=2), rand(1, 3, 2, 3, 3), weight, atol=1e-5)


@gpu
def test_tables():
    weight, index = rand(9, 3), INTS
    offsets = gs.tensor([0, 2, 2, 5])
    for mode in ("sum", "mean", "max"):
        check(
            lambda w, mode=mode: F.embedding_bag(
                index.to(w.device), w, offsets.to(w.device), mode=mode, padding_idx=1
            ),
            weight,
        )
    check(lambda w: F.embedding_bag(index.reshape(2, 3).to(w.device), w), weight)
    layer = nn.Embedding(9, 3, max_norm=1.0)
    twin = nn.Embedding(9, 3, max_norm=1.0).to("cuda")
    twin.load_state_dict(layer.state_dict())
    same(twin(on_cuda(index)), layer(index))
    same(twin.weight, layer.weight)


@gpu
def test_losses():
    x, labels = rand(4, 5), gs.tensor([[1, 2, -1, 0, 0]] * 4)
    check(lambda x: F.multilabel_margin_loss(x, labels.to(x.device)), x)
    check(lambda x: F.multi_margin_loss(x, labels[0, :4].abs().to(x.device)), x)
    gs.manual_seed(0)
    assert F.gumbel_softmax(on_cuda(x), hard=True).sum(1).tolist() == [1.0] * 4


@gpu
def test_indices_are_on_the_tensors_device():
    here = rand(4, 3)
    there, rows = on_cuda(here), gs.tensor([0, 2])
    for x, index in ((there, rows), (here, rows.cuda()), (there, here > 0), (here, there > 0)):
        with pytest.raises(ValueError, match=f"different devices, {x.device} and {index.device}"):
            x[index]
        with pytest.raises(ValueError, match=f"different devices, {x.device} and {index.device}"):
            x[index] = 1.0
    for index in ([0, 2], np.array([0, 2]), gs.tensor(1), here.numpy() > 0):
        same(there[index], here[index])
    there[[0, 2]] = [[1.0, 2.0, 3.0]]
    assert there[0].tolist() == [1.0, 2.0, 3.0]
    for fn in (gs.isin, gs.searchsorted):
        with pytest.raises(ValueError, match="different devices"):
            fn(there[0], here[0])
