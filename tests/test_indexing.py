"""x[...] and x[...] = value against NumPy: every form, and mixtures drawn at random."""

import gradsmith as gs
import numpy as np
import pytest


def pair(*shape):
    a = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return gs.tensor(a), a


BASIC = [
    0,
    -1,
    (1, 2),
    (0, -1, 1),
    slice(None),
    slice(1, None),
    slice(None, -1),
    slice(-2, None),
    slice(5, 1),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(0, 0, -1),
    slice(-100, 100),
    ...,
    (..., 0),
    (0, ...),
    (0, ..., 1),
    None,
    (None, 0, None),
    (slice(None), None, 1),
    (slice(1, 3), slice(None, None, -2), 0),
    (),
    True,
    False,
    (np.int64(1), np.int32(2)),
]
ADVANCED = [
    [0, 2],
    [],
    np.array([3, 0, -1]),
    np.array([[0, 1], [2, 3]]),
    ([0, 1], [1, 2]),
    ([[0], [1]], [1, 2]),
    (slice(None), [0, 2]),
    (slice(1, 3), [0, 2], 1),
    ([0, 1], slice(None), [1, 1]),  # apart: the index dimensions come first
    (0, [0, 2]),
    (..., [0, 1]),
    ([0, 1], None, [1, 2]),
    (None, [0, 1]),
    np.arange(24).reshape(4, 3, 2) % 3 == 0,
    np.array([True, False, True, False]),
    (..., [[True, False], [False, True], [True, True]]),
    (slice(None), np.array([True, False, True])),
    (np.array([True, False, True, False]), [0, 2]),
    np.zeros((4, 3), bool),
    (np.array([1, 2], np.int32),),
    (np.array([1, 2], np.int32), 0),
    ([np.uint8(1), np.uint8(2)], 0),
]


@pytest.mark.parametrize("index", BASIC, ids=str)
def test_basic_is_a_view(index):
    t, a = pair(4, 3, 2)
    expected = a[index]
    got = t[index]
    np.testing.assert_array_equal(got.numpy(), expected)
    assert got.shape == expected.shape
    if got.numel():
        got.fill_(-1.0)
        a[index] = -1.0
        np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize("index", ADVANCED, ids=str)
def test_advanced_is_a_copy(index):
    t, a = pair(4, 3, 2)
    expected = a[index]
    np.testing.assert_array_equal(t[index].numpy(), expected)
    as_tensors = tuple(
        gs.tensor(i) if isinstance(i, np.ndarray) else i
        for i in (index if isinstance(index, tuple) else (index,))
    )
    np.testing.assert_array_equal(t[as_tensors].numpy(), expected)
    if expected.size:
        t[index].fill_(-1.0)
        np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize("index", BASIC + ADVANCED, ids=str)
def test_assignment(index):
    t, a = pair(4, 3, 2)
    a[index] = 7.5
    t[index] = 7.5
    np.testing.assert_array_equal(t.numpy(), a)
    values = np.random.default_rng(0).normal(size=a[index].shape)
    a[index] = values
    t[index] = gs.tensor(values)
    # An index that names a place twice leaves one of its values, not always the same one.
    if len(np.unique(np.arange(24).reshape(4, 3, 2)[index])) == values.size:
        np.testing.assert_array_equal(t.numpy(), a)


def random_index(rng, shape):
    """A NumPy index of a random form; arrays in it broadcast together."""
    entries, used = [], 0
    n = int(rng.integers(1, 4))
    while used < len(shape):
        size = shape[used]
        form = rng.integers(0, 7)
        if form == 0:
            entries.append(int(rng.integers(-size, size)))
        elif form in (1, 2):
            start, stop = rng.integers(-size - 1, size + 2, 2)
            step = int(rng.choice([-3, -2, -1, 1, 2, 3]))
            entries.append(slice(int(start), int(stop), step))
        elif form == 3:
            entries.append(None)
            continue
        elif form == 4:
            entries.append(rng.integers(-size, size, n if rng.random() < 0.7 else (2, n)))
        elif form == 5:
            entries.append(slice(None))
        else:
            break
        used += 1
    if rng.random() < 0.3:
        entries.insert(int(rng.integers(0, len(entries) + 1)), Ellipsis)
    return tuple(entries)


def test_random_indices():
    rng = np.random.default_rng(7)
    tried = 0
    for _ in range(600):
        shape = tuple(rng.integers(1, 5, rng.integers(1, 5)))
        t, a = pair(*map(int, shape))
        index = random_index(rng, shape)
        try:
            expected = a[index]
        except IndexError:
            with pytest.raises((IndexError, ValueError)):
                t[index]
            continue
        # NumPy counts an integer as an index array where arrays are near; PyTorch and we do not.
        if expected.ndim > 8:
            continue
        arrays = any(isinstance(i, np.ndarray) for i in index)
        if arrays and any(isinstance(i, int) for i in index):
            continue
        np.testing.assert_array_equal(t[index].numpy(), expected, err_msg=f"{shape} {index}")
        a[index] = -1.0
        t[index] = -1.0
        np.testing.assert_array_equal(t.numpy(), a, err_msg=f"{shape} {index} = -1")
        tried += 1
    assert tried > 300


@pytest.mark.parametrize("index", [*BASIC, *ADVANCED], ids=str)
def test_gradient(index):
    a = np.random.default_rng(0).normal(size=(4, 3, 2))
    x = gs.tensor(a, requires_grad=True)
    y = x[index]
    seed = np.random.default_rng(1).normal(size=y.shape)
    (y * gs.tensor(seed)).sum().backward()
    expected = np.zeros_like(a)
    np.add.at(expected, index, seed)
    np.testing.assert_allclose(x.grad.numpy(), expected)


def test_assignment_casts_and_broadcasts():
    t = gs.zeros(2, 3, dtype="int64")
    t[0] = gs.tensor([1.0, 2.0, 3.0])
    t[:, 1] = True
    assert t.tolist() == [[1, 1, 3], [0, 1, 0]]
    f = gs.zeros(2, 3)
    f[:] = np.arange(3)
    assert f.tolist() == [[0.0, 1.0, 2.0]] * 2


def test_overlapping_assignment():
    t = gs.arange(6)
    t[1:] = t[:-1]
    assert t.tolist() == [0, 0, 1, 2, 3, 4]
    t = gs.arange(6)
    t[:] = gs.flip(t, (0,))
    assert t.tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("flag", [np.True_, np.False_, np.array(True), np.array(False)])
def test_numpy_truth_values(flag):
    a = np.arange(3.0)
    t = gs.tensor(a)
    assert t[flag].shape == a[flag].shape
    assert t[flag, 1:].shape == a[flag, 1:].shape
    t[flag] = 5.0
    a[flag] = 5.0
    np.testing.assert_array_equal(t.numpy(), a)


def test_iteration_and_unpacking():
    t, a = pair(3, 2)
    assert [r.tolist() for r in t] == a.tolist()
    first, *rest = t
    assert first.tolist() == [0.0, 1.0] and len(rest) == 2
    assert len(t) == 3
    assert max(gs.tensor([1, 5, 2])).item() == 5


def test_assignment_writes_where_the_tensor_lies():
    """In any layout, from its own memory, and adding at repeated places."""
    for view in (lambda t: t, lambda t: t.transpose(0, 1), lambda t: gs.flip(t, (1,))):
        base, _ = pair(4, 6)
        t, expected = view(base), view(base).numpy().copy()
        t[[2, 0]] = t[[0, 1]]
        expected[[2, 0]] = expected[[0, 1]]
        t[:, [1, 3]] = -1.0
        expected[:, [1, 3]] = -1.0
        np.testing.assert_array_equal(t.numpy(), expected)
        ones = gs.ones(3, t.shape[1], dtype="float64")
        t.index_put_([gs.tensor([1, 1, 0])], ones, accumulate=True)
        np.add.at(expected, [1, 1, 0], 1.0)
        np.testing.assert_array_equal(t.numpy(), expected)
    t = gs.arange(4)
    t[[3, 2, 1, 0]] = t
    assert t.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("index", [[0, 1, 1], 1, [[0, 1, 1]]])
def test_uint8_is_neither_mask_nor_numbers(index):
    """A mask in torch, row numbers in NumPy."""
    x, index = gs.arange(3), gs.tensor(index, dtype=gs.uint8)
    for wrong in (index, (..., index), index.numpy()):
        with pytest.raises(TypeError, match=r"\.to\(gs\.bool\) .* \.to\(gs\.int64\)"):
            x[wrong]
        with pytest.raises(TypeError, match=r"\.to\(gs\.bool\) .* \.to\(gs\.int64\)"):
            x[wrong] = 0
    assert x.tolist() == [0, 1, 2]


def test_only_indexing_counts_from_the_end():
    x, last, row = gs.arange(4.0), gs.tensor([-1]), gs.ones(1)
    for call in (
        lambda i: x.gather(0, i),
        lambda i: x.index_select(0, i),
        lambda i: x.index_add(0, i, row),
        lambda i: x.scatter_add(0, i, row),
        lambda i: gs.zeros(4).scatter_add_(0, i, row),
    ):
        for wrong in (last, last + 5):
            with pytest.raises(IndexError, match=r"\w: index (-1|4) \(at .*\[0, 4\)"):
                call(wrong)
    with pytest.raises(IndexError, match=r"gather: index 1 .*\[0, 1\)"):  # of a scalar too
        gs.tensor(2.0).gather(0, gs.tensor(1))
    with pytest.raises(IndexError, match=r"take_along_dim: index must lie in \[0, 4\), got -1"):
        gs.take_along_dim(x, last)
    with pytest.raises(IndexError, match=r"take_along_dim: index must lie in \[-4, 4\), got -5"):
        gs.take_along_dim(x, last - 4, 0)
    with pytest.raises(IndexError, match=r"index: index -5 \(at position 0\) .*\[-4, 4\)"):
        x[last - 4]
    assert x[last].tolist() == x[-1:].tolist() == gs.take_along_dim(x, last, 0).tolist() == [3]


def test_gradients_at_negative_indices():
    x = gs.arange(6.0).reshape(3, 2).requires_grad_()
    gs.testing.gradcheck(lambda x: x[[-1, 0, -1]] ** 2, [x.double()])
    gs.testing.gradgradcheck(lambda x: x[[-1, 0, -1]] ** 3, [x.double()])
    (x[[-1, 0, -1]].half() * 2).sum().backward()
    assert x.grad.tolist() == [[2, 2], [0, 0], [4, 4]]


def test_assigned_lists_keep_their_digits():
    x = gs.zeros(2, dtype=gs.float64)
    x[[0, 1]] = [0.1, 0.2]
    assert x.tolist() == [0.1, 0.2]


def test_assignment_counts_as_a_change():
    x = gs.ones(3, requires_grad=True)
    factor = gs.tensor([1.0, 2.0, 3.0])
    y = (x * factor).sum()
    factor[[0, 1]] = 5.0
    with pytest.raises(RuntimeError, match="changed"):
        y.backward()
