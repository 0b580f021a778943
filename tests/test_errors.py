"""Bad input raises the right exception, and its message names argument, given and allowed.

Layers, optimizers, data and files have their own tests of bad input in their files.
"""

import operator

import gradsmith as gs
import numpy as np
import pytest


def f(*shape, dtype="float32"):
    return gs.zeros(*shape, dtype=dtype)


def i(*values):
    return gs.tensor(list(values), dtype="int64")


X = f(2, 3)
IMAGES, FILTERS = f(1, 4, 6, 6), f(8, 4, 3, 3)
CUBE = f(2, 3, 4)

# (call, exception, parts of the message)
CASES = {
    # the op that was called is named, not one inside it
    "t of rank 3": (lambda: CUBE.t(), ValueError, "t (2, 3, 4)"),
    "minus bool": (lambda: -gs.tensor([True]), TypeError, "neg bool"),
    "lerp": (lambda: gs.lerp(X, f(4), 0.5), ValueError, "lerp (2, 3) (4,)"),
    "masked_fill": (
        lambda: X.masked_fill(gs.tensor([True] * 4), 1.0),
        ValueError,
        "masked_fill (2, 3) (4,)",
    ),
    "index_put_": (
        lambda: X.index_put_([i(0, 1)], f(4)),
        ValueError,
        "index_put_ values (4,) (2, 3)",
    ),
    "matmul with a number": (lambda: X @ 2, TypeError, "@"),
    # calls
    "missing argument": (lambda: gs.softmax(X), TypeError, "softmax dim"),
    "too many": (lambda: gs.exp(X, X), TypeError, "exp"),
    "unknown keyword": (lambda: gs.softmax(X, 1, along=2), TypeError, "softmax along"),
    "an argument under two names": (lambda: gs.sum(X, dim=1, axis=1), TypeError, "sum dim twice"),
    "given twice": (lambda: gs.softmax(X, 1, dim=1), TypeError, "softmax dim"),
    "not a tensor": (lambda: gs.exp([1.0]), TypeError, "exp input Tensor list"),
    "None": (lambda: gs.exp(None), TypeError, "exp input"),
    "str for int": (lambda: gs.softmax(X, "1"), TypeError, "softmax dim int str"),
    "float for int": (lambda: gs.softmax(X, 1.0), TypeError, "softmax dim int float"),
    "huge int": (lambda: gs.softmax(X, 2**70), ValueError, "softmax dim 64"),
    "str for bool": (lambda: gs.sum(X, 0, "no"), TypeError, "sum keepdim bool str"),
    "str for number": (lambda: gs.leaky_relu(X, "a"), TypeError, "leaky_relu negative_slope"),
    "unknown dtype": (lambda: f(2, dtype="float8"), (TypeError, ValueError), "dtype float32"),
    "unknown device": (lambda: gs.zeros(2, device="tpu"), ValueError, "tpu cpu cuda"),
    # shapes and dims
    "dim": (lambda: gs.softmax(X, 2), (IndexError, ValueError), "softmax 2 -2 1"),
    "negative dim": (lambda: gs.sum(X, -3), (IndexError, ValueError), "sum -3 -2 1"),
    "dim twice": (lambda: gs.sum(X, (0, 0)), ValueError, "sum 0 twice"),
    "broadcast": (lambda: X + f(2, 4), ValueError, "add (2, 3) (2, 4)"),
    "reshape": (lambda: X.reshape(4, 2), ValueError, "reshape (4, 2) 6"),
    "two -1": (lambda: X.reshape(-1, -1), ValueError, "reshape -1"),
    "view of transposed": (lambda: X.t().view(6), ValueError, "view (3, 2) reshape"),
    "negative size": (lambda: f(2, -1), ValueError, "-1"),
    "permute twice": (lambda: X.permute(0, 0), ValueError, "permute twice"),
    "permute rank": (lambda: X.permute(0), ValueError, "permute (2, 3)"),
    "split in one part": (lambda: X.split([2], 1), ValueError, "split (2,) 3"),
    "expand": (lambda: X.expand(4, 3), ValueError, "expand (2, 3) (4, 3)"),
    "squeeze dim": (lambda: X.squeeze(5), (IndexError, ValueError), "squeeze 5"),
    "flatten order": (lambda: CUBE.flatten(2, 1), ValueError, "flatten 2 1"),
    "unflatten": (lambda: X.unflatten(1, (2, 2)), ValueError, "unflatten (2, 2) 3"),
    "narrow": (lambda: X.narrow(1, 2, 2), IndexError, "narrow 2 3"),
    "split size": (lambda: X.split(0), ValueError, "split 0"),
    "split sum": (lambda: X.split((1, 2)), (IndexError, ValueError), "(1, 2) 2"),
    "chunk": (lambda: X.chunk(0), ValueError, "chunk 0"),
    "cat nothing": (lambda: gs.cat([]), ValueError, "cat"),
    "cat shapes": (lambda: gs.cat([X, f(2, 4)]), ValueError, "cat (2, 3) (2, 4) 0"),
    "cat no list": (lambda: gs.cat(X), TypeError, "cat tensors list"),
    "stack shapes": (lambda: gs.stack([X, f(3, 2)]), ValueError, "stack (2, 3) (3, 2)"),
    "pad odd": (lambda: gs.pad(X, (1,)), ValueError, "pad"),
    "pad mode": (lambda: gs.pad(X, (1, 1), "mirror"), ValueError, "mirror reflect"),
    "pad reflect": (lambda: gs.pad(X, (3, 0), "reflect"), ValueError, "reflect 3"),
    "too many dims": (lambda: f(*[1] * 20), ValueError, "20"),
    "too large": (lambda: f(2**40, 2**40), (ValueError, MemoryError), "1099511627776"),
    "no memory": (lambda: f(2**45), MemoryError, ""),
    "overflowing broadcast": (lambda: f(1).expand(2**62), (ValueError, MemoryError), str(2**62)),
    "item of many": (lambda: X.item(), ValueError, "item (2, 3)"),
    "truth of many": (lambda: bool(X), ValueError, "(2, 3)"),
    "len of scalar": (lambda: len(f(())), TypeError, "rank 0"),
    "iterate scalar": (lambda: list(f(())), TypeError, "rank 0"),
    "float index": (lambda: [1, 2][gs.tensor(1.0)], TypeError, "integer"),
    # products
    "matmul sizes": (lambda: X @ X, ValueError, "matmul (2, 3) 3 2"),
    "matmul scalar": (lambda: X @ f(()), ValueError, "matmul ()"),
    "matmul dtypes": (lambda: X @ f(3, 2, dtype="float64"), TypeError, "matmul float32 float64"),
    "matmul bools": (lambda: i(1).bool() @ i(1).bool(), TypeError, "matmul bool"),
    "matmul batch": (lambda: f(2, 3, 4) @ f(3, 4, 5), ValueError, "matmul (2,) (3,)"),
    "bmm rank": (lambda: gs.bmm(X, X), ValueError, "bmm input 3 (2, 3)"),
    "linear": (lambda: gs.linear(X, f(5, 4)), ValueError, "linear (2, 3) 3 (5, 4) 4"),
    "linear bias": (lambda: gs.linear(X, f(5, 3), f(4)), ValueError, "linear bias (5,) (4"),
    "linear activation": (lambda: gs.linear(X, f(5, 3), None, "swish"), ValueError, "swish relu"),
    "dot": (lambda: gs.dot(f(3), f(4)), ValueError, "3 4"),
    # dtypes and devices
    "mean of ints": (lambda: gs.mean(i(1, 2)), TypeError, "mean int64"),
    "softmax of ints": (lambda: gs.softmax(i(1, 2), 0), TypeError, "softmax input int64"),
    "bitwise of floats": (lambda: X & X, TypeError, "bitwise_and float32"),
    "where condition": (lambda: gs.where(X, X, X), TypeError, "where condition bool float32"),
    "int += float": (lambda: operator.iadd(i(1), 0.5), TypeError, "add_ int64"),
    "cuda": (lambda: X.to("cuda:99"), (RuntimeError, ValueError), "cuda"),
    "requires_grad of ints": (lambda: i(1).requires_grad_(), (TypeError, RuntimeError), "int64"),
    "numpy of bfloat16": (lambda: X.bfloat16().numpy(), TypeError, "bfloat16 float32"),
    "numpy on the tape": (lambda: f(2).requires_grad_().numpy(), RuntimeError, "detach"),
    # reductions
    "amax of nothing": (lambda: gs.amax(f(0, 3), 0), ValueError, "amax (0, 3)"),
    "argmax of nothing": (lambda: gs.argmax(f(0)), ValueError, "argmax (0"),
    "norm p": (lambda: gs.norm(X, float("nan")), ValueError, "norm p nan"),
    # values
    "clamp": (lambda: gs.clamp(X), ValueError, "clamp min max"),
    "clamp nan": (lambda: gs.clamp(X, float("nan")), ValueError, "clamp nan"),
    "hardtanh": (lambda: gs.hardtanh(X, 1.0, -1.0), ValueError, "hardtanh min_val 1 max_val -1"),
    "softplus beta": (lambda: gs.softplus(X, -1.0), ValueError, "softplus beta -1"),
    "gelu": (lambda: gs.gelu(X, "erf"), ValueError, "gelu approximate none tanh erf"),
    "dropout": (lambda: gs.dropout(X, 1.5), ValueError, "dropout p [0, 1] 1.5"),
    "dropout nan": (lambda: gs.dropout(X, float("nan")), ValueError, "dropout p nan"),
    "threads": (lambda: gs.set_num_threads(0), ValueError, "0 1 1024"),
    "manual_seed": (lambda: gs.manual_seed("a"), TypeError, "manual_seed seed str"),
    "set_rng_state": (lambda: gs.set_rng_state((1, -1)), ValueError, "set_rng_state 2^64 -1"),
    "register_hook": (lambda: f(2).requires_grad_().register_hook(3), TypeError,
        "register_hook hook int"),
    "arange beyond doubles": (lambda: gs.arange(2**53, 2**53 + 3), ValueError, "arange 2^53"),
    "arange text": (lambda: gs.arange("3"), TypeError, "arange start str"),
    "zeros_like None": (lambda: gs.zeros_like(None), TypeError, "zeros_like input NoneType"),
    "a window in the padding": (lambda: gs.max_pool2d(f(1, 2, 2, 7), (2, 3), None, 1, (3, 1)),
        ValueError, "max_pool2d dilation (3, 1) padding (1, 2, 2, 7)"),
    "arange step": (lambda: gs.arange(0, 5, 0), ValueError, "arange 0"),
    "linspace": (lambda: gs.linspace(0, 1, -1), ValueError, "linspace -1"),
    "randint": (lambda: gs.randint(5, 5, (2,)), ValueError, "randint 5"),
    "normal std": (lambda: f(2).normal_(0, -1), ValueError, "normal_ std -1"),
    "bernoulli p": (lambda: f(2).bernoulli_(2.0), ValueError, "bernoulli_ p 2"),
    "target": (lambda: gs._core.set_target("sse9"), ValueError, "sse9 scalar"),
    # indices
    "index": (lambda: X[2], IndexError, "2"),
    "negative index": (lambda: X[-3], IndexError, "-3"),
    "too many indices": (lambda: X[0, 0, 0], IndexError, "3 (2, 3)"),
    "two ellipses": (lambda: X[..., ...], IndexError, "..."),
    "float index tensor": (lambda: X[X], TypeError, "float32"),
    "str index": (lambda: X["a"], (TypeError, IndexError), "str"),
    "index tensor": (lambda: X[i(0, 2)], IndexError, "2"),
    "mask shape": (lambda: X[gs.zeros(3, dtype="bool")], IndexError, "(3,) (2, 3)"),
    "zero step": (lambda: X[::0], ValueError, "step"),
    "assign shape": (lambda: operator.setitem(X, 0, f(4)), ValueError, "(4,) (3,)"),
    "delete": (lambda: operator.delitem(X, 0), TypeError, "deleted"),
    "index_select": (lambda: gs.index_select(X, 0, i(5)), IndexError, "index_select 5 2"),
    "index_select dtype": (lambda: gs.index_select(X, 0, f(1)), TypeError, "index int64 float32"),
    "index_add source": (lambda: gs.index_add(X, 0, i(0), f(2, 3)), ValueError, "(1, 3) (2, 3)"),
    "gather": (lambda: gs.gather(X, 0, i(0)), ValueError, "gather 1 2"),
    "gather index": (lambda: gs.gather(f(3), 0, i(3)), IndexError, "gather 3"),
    "embedding": (lambda: gs.embedding(i(0, 9), X), IndexError, "embedding 9 1 2"),
    "embedding negative": (lambda: gs.embedding(i(-1), X), IndexError, "embedding -1"),
    "embedding dtype": (lambda: gs.embedding(f(2), X), TypeError, "embedding input int64 float32"),
    "embedding padding": (lambda: gs.embedding(i(0), X, 2), ValueError, "padding_idx 2"),
    "one_hot": (lambda: gs.one_hot(i(0, 4), 3), IndexError, "one_hot 4 3"),
    "one_hot negative": (lambda: gs.one_hot(i(-1), 3), IndexError, "one_hot -1 3"),
    # convolution and pooling
    "conv rank": (lambda: gs.conv2d(X, FILTERS), ValueError, "conv2d input (2, 3)"),
    "conv weight rank": (lambda: gs.conv2d(IMAGES, X), ValueError, "conv2d weight 4 (2, 3)"),
    "conv channels": (lambda: gs.conv2d(f(1, 3, 6, 6), FILTERS), ValueError, "conv2d 4 3"),
    "conv stride": (lambda: gs.conv2d(IMAGES, FILTERS, stride=0), ValueError, "stride 1 (0"),
    "conv negative": (lambda: gs.conv2d(IMAGES, FILTERS, padding=-1), ValueError, "padding 0 (-1"),
    "conv dilation": (lambda: gs.conv2d(IMAGES, FILTERS, dilation=0), ValueError, "dilation 1 (0"),
    "conv groups": (lambda: gs.conv2d(IMAGES, FILTERS, groups=3), ValueError, "groups 3 4 8"),
    "conv no groups": (lambda: gs.conv2d(IMAGES, FILTERS, groups=0), ValueError, "groups 1 0"),
    "conv kernel": (lambda: gs.conv2d(f(1, 4, 2, 2), FILTERS), ValueError, "conv2d 3 x 3 2 x 2"),
    "conv triple": (lambda: gs.conv2d(IMAGES, FILTERS, stride=(1,) * 3), ValueError, "stride pair"),
    "conv bias": (lambda: gs.conv2d(IMAGES, FILTERS, f(4)), ValueError, "bias (8,) (4"),
    "conv dtypes": (lambda: gs.conv2d(IMAGES.double(), FILTERS), TypeError, "float64 float32"),
    "conv ints": (lambda: gs.conv2d(IMAGES.long(), FILTERS.long()), TypeError, "int64"),
    "transposed channels": (lambda: gs.conv_transpose2d(IMAGES, FILTERS), ValueError, "8 4"),
    "output_padding": (lambda: gs.conv_transpose2d(IMAGES, f(4, 2, 3, 3), output_padding=1),
                       ValueError, "output_padding"),
    "pool rank": (lambda: gs.max_pool2d(X, 2), ValueError, "max_pool2d input (2, 3)"),
    "pool kernel": (lambda: gs.max_pool2d(IMAGES, 0), ValueError, "kernel_size 1 (0"),
    "pool stride": (lambda: gs.avg_pool2d(IMAGES, 2, 0), ValueError, "stride 1 (0"),
    "pool padding": (lambda: gs.max_pool2d(IMAGES, 2, 2, 2), ValueError, "padding (2"),
    "pool larger": (lambda: gs.max_pool2d(IMAGES, 9), ValueError, "max_pool2d (9"),
    "pool divisor": (lambda: gs.avg_pool2d(IMAGES, 2, divisor_override=0), ValueError, "divisor"),
    "adaptive size": (lambda: gs.adaptive_avg_pool2d(IMAGES, 0), ValueError, "output_size 1 (0"),
    # losses and norms
    "label": (lambda: gs.cross_entropy(X, i(0, 3)), IndexError, "cross_entropy 3"),
    "negative label": (lambda: gs.cross_entropy(X, i(0, -1)), IndexError, "cross_entropy -1 3"),
    "label shape": (lambda: gs.cross_entropy(X, i(0, 1, 2)), ValueError, "target (2,) (3,)"),
    "label dtype": (lambda: gs.cross_entropy(X, gs.zeros(2, dtype="int32")),
                    (TypeError, ValueError), "target int64 int32"),
    "smoothing": (lambda: gs.cross_entropy(X, i(0, 1), label_smoothing=1.5), ValueError,
                  "label_smoothing [0, 1] 1.5"),
    "smoothing nan": (lambda: gs.cross_entropy(X, i(0, 1), label_smoothing=float("nan")),
                      ValueError, "label_smoothing nan"),
    "class weight": (lambda: gs.cross_entropy(X, i(0, 1), f(2)), ValueError, "weight (3,) (2"),
    "reduction": (lambda: gs.mse_loss(X, X, "avg"), ValueError, "reduction avg mean"),
    "mse shapes": (lambda: gs.mse_loss(X, f(2, 4)), ValueError, "(2, 3) (2, 4)"),
    "huber": (lambda: gs.huber_loss(X, X, delta=0.0), ValueError, "delta 0"),
    "nll": (lambda: gs.nll_loss(X, i(0, 7)), IndexError, "nll_loss 7"),
    "layer_norm": (lambda: gs.layer_norm(X, 4), ValueError, "layer_norm (4,) (2, 3)"),
    "layer_norm eps": (lambda: gs.layer_norm(X, 3, eps=-1.0), ValueError, "eps -1"),
    "layer_norm weight": (lambda: gs.layer_norm(X, 3, f(2)), ValueError, "weight (3,) (2"),
    "group_norm": (lambda: gs.group_norm(f(2, 4, 3), 3), ValueError, "group_norm 3 4"),
    "batch_norm one": (lambda: gs.batch_norm(f(1, 3), f(3), f(3), training=True), ValueError,
                       "batch_norm (1, 3)"),
    "batch_norm stats": (lambda: gs.batch_norm(X, f(2), f(3)), ValueError,
                         "running_mean (3,) (2"),
    "batch_norm none": (lambda: gs.batch_norm(X, None, None), (ValueError, TypeError), "running"),
    "lstm rank": (lambda: gs._core.lstm_layer(X, X, X, X, X), ValueError, "input 3 (2, 3)"),
    "lstm weight": (lambda: gs._core.lstm_layer(f(2, 1, 3), f(1, 4), f(1, 4), f(16, 2), f(16, 4)),
                    ValueError, "w_ih (16, 3) (16, 2)"),
    # optimizer steps
    "step counts": (lambda: gs._core.sgd_step_([X], [], [], 0.1, 0.0, 0.0, 0.0, False, False),
                    ValueError, "sgd_step_ grads 0 1"),
    "lr nan": (lambda: gs._core.sgd_step_([X], [X], [], float("nan"), 0.0, 0.0, 0.0, False, False),
               ValueError, "lr nan"),
    "step shapes": (lambda: gs._core.sgd_step_([X], [f(3)], [], 0.1, 0.0, 0.0, 0.0, False, False),
                    ValueError, "grads (2, 3) (3"),
    "clip norm": (lambda: gs._core.clip_grad_norm_([X], -1.0), ValueError, "max_norm -1"),
    # writing
    "expanded": (lambda: f(1).expand(3).fill_(1.0), ValueError, "expanded clone"),
    "read-only": (lambda: gs.from_numpy(np.broadcast_to(np.ones(1, "f4"), (1,))).fill_(2.0),
                  ValueError, "read-only"),
    "add_ larger": (lambda: f(3).add_(f(2, 3)), ValueError, "(2, 3) (3,)"),
    "copy_": (lambda: f(3).copy_(f(2, 3)), ValueError, "copy_ source (2, 3) (3,)"),
    # making tensors
    "ragged": (lambda: gs.tensor([[1.0], [1.0, 2.0]]), ValueError, ""),
    "strings": (lambda: gs.tensor(["a"]), TypeError, "data numbers"),
    "object": (lambda: gs.tensor(object()), TypeError, "data"),
    "complex": (lambda: gs.from_numpy(np.zeros(2, complex)), TypeError, "Zd float32"),
    "uint16": (lambda: gs.from_numpy(np.zeros(2, np.uint16)), TypeError, "H float32"),
    "big endian": (lambda: gs.from_numpy(np.zeros(2, ">f4")), TypeError, "f float32"),
    "from_numpy list": (lambda: gs.from_numpy([1.0]), TypeError, "list"),
    "data of another dtype": (lambda: setattr(f(2).requires_grad_(), "data", i(1)), TypeError,
                              "int64 float32"),
    "grad of another shape": (lambda: setattr(f(2), "grad", f(3)), (ValueError, TypeError),
                              "grad (2,) (3,)"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    call, error, parts = CASES[name]
    with pytest.raises(error) as e:
        call()
    message = str(e.value)
    words = parts.replace(", ", ",").split()
    plain = message.replace(", ", ",")
    missing = [w for w in words if w not in plain]
    assert not missing, f"{message!r} does not name {missing}"


def test_nothing_is_written_before_an_error():
    x, values = gs.zeros(4), gs.ones(2)
    with pytest.raises(IndexError):
        x.index_put_([i(0, 9)], values)
    with pytest.raises(IndexError):
        gs._core.embedding(i(0, 9), gs.zeros(2, 3))
    params, before = [f(2), f(2)], [gs.ones(2), gs.ones(2)]
    with pytest.raises(ValueError):
        gs._core.sgd_step_(params, [before[0], gs.ones(3)], [], 1.0, 0.0, 0.0, 0.0, False, False)
    assert x.tolist() == [0.0] * 4
    assert params[0].tolist() == [0.0, 0.0]


def test_empty_batches():
    assert gs.cross_entropy(f(0, 3), gs.zeros(0, dtype="int64"), reduction="sum").item() == 0
    assert gs.linear(f(0, 3), f(5, 3)).shape == (0, 5)
    assert gs.conv2d(f(0, 4, 6, 6), FILTERS).shape == (0, 8, 4, 4)
    assert gs.max_pool2d(f(0, 4, 6, 6), 2).shape == (0, 4, 3, 3)
    assert gs.embedding(gs.zeros(0, dtype="int64"), X).shape == (0, 3)
    assert np.isnan(gs.mean(f(0)).item())


def test_errors_leave_the_library_usable():
    for call, error, _ in CASES.values():
        with pytest.raises(error):
            call()
    assert (X + 1).sum().item() == 6
    assert gs.is_grad_enabled()


def test_sizes_beyond_all_memory():
    huge = gs.ones(1).expand(2**60)
    with pytest.raises(MemoryError, match="cat"):
        gs.cat([huge] * 16)
    with pytest.raises(ValueError, match="pad"):
        gs.nn.functional.pad(gs.ones(3), (2**62, 2**62))


def test_shapes_that_change_while_they_are_read():
    itself = []
    itself.append(itself)
    with pytest.raises(TypeError):
        gs.ones(1).view(itself)

    class Clears:
        def __index__(self):
            sizes.clear()
            return 1

    sizes = [Clears(), 2, 3, 4, 5, 6]
    with pytest.raises((RuntimeError, ValueError)):
        gs.ones(1).view(sizes)
