"""Memory shared with NumPy, torch and anything that speaks DLPack or the buffer protocol."""

import array
import gc
import pickle
import weakref

import gradsmith as gs
import numpy as np
import pytest

DTYPES = ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_both_ways(dtype):
    a = np.arange(6).reshape(2, 3).astype(dtype)
    t = gs.from_numpy(a)
    assert t.dtype.name == dtype and t.shape == (2, 3)
    assert t.data_ptr() == a.ctypes.data
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    t[1, 2] = 0
    assert a[1, 2] == 0
    b = t.numpy()
    assert b.dtype == a.dtype and np.shares_memory(a, b)
    b[0, 1] = 0
    assert a[0, 1] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_both_ways(dtype):
    t = gs.tensor(np.arange(6).reshape(2, 3)).to(getattr(gs._core, dtype))
    a = np.from_dlpack(t)
    assert a.dtype == dtype and a.ctypes.data == t.data_ptr()
    t[0, 0] = 1
    assert a[0, 0] == 1
    source = np.arange(6).reshape(2, 3).astype(dtype)
    u = gs.from_dlpack(source)
    assert u.data_ptr() == source.ctypes.data
    u[1, 1] = 0
    assert source[1, 1] == 0


VIEWS = {
    "transposed": lambda a: a.T,
    "step": lambda a: a[:, ::2],
    "negative": lambda a: a[::-1, ::-1],
    "offset": lambda a: a[1:, 1:],
    "scalar": lambda a: a[1, 1, ...],
    "empty": lambda a: a[:0],
    "column": lambda a: a[:, 1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_strides_survive(name):
    whole = np.arange(20, dtype=np.float32).reshape(4, 5)
    a = VIEWS[name](whole)
    t = gs.from_numpy(a)
    np.testing.assert_array_equal(t.numpy(), a)
    np.testing.assert_array_equal((t * 2).numpy(), a * 2)
    np.testing.assert_array_equal(np.from_dlpack(gs.from_dlpack(a)), a)
    if a.size:
        assert t.data_ptr() == a.ctypes.data
        t.fill_(-1.0)
        assert (a == -1).all() and (whole == -1).sum() == a.size


def test_unaligned_is_copied():
    raw = np.zeros(33, np.uint8)
    a = raw[1:].view(np.float32)
    a[:] = np.arange(8)
    assert a.ctypes.data % 4 != 0
    t = gs.from_numpy(a)
    assert t.data_ptr() % 4 == 0
    assert t.tolist() == list(range(8))
    assert (t + 1).tolist() == list(range(1, 9))


def test_strides_that_are_no_multiple_of_an_element():
    records = np.zeros(4, [("tag", "u1"), ("x", "<f4")])
    with pytest.raises(ValueError, match="stride"):
        gs.from_numpy(records["x"])
    assert gs.tensor(np.ascontiguousarray(records["x"])).tolist() == [0.0] * 4


def test_read_only():
    a = np.arange(3.0)
    a.flags.writeable = False
    t = gs.from_numpy(a)
    assert (t + 1).tolist() == [1.0, 2.0, 3.0]
    for change in (lambda: t.add_(1.0), lambda: t[0].fill_(1.0), lambda: t.zero_()):
        with pytest.raises(ValueError, match="read-only"):
            change()
    assert not t.numpy().flags.writeable
    assert not np.from_dlpack(t).flags.writeable
    assert t.clone().numpy().flags.writeable
    assert gs.from_numpy(np.frombuffer(b"\x01\x02", np.uint8)).tolist() == [1, 2]


def test_buffer_protocol():
    buffer = array.array("d", [1.0, 2.0])
    t = gs.from_numpy(buffer)
    t[0] = 5.0
    assert buffer[0] == 5.0
    assert gs.tensor(bytearray(b"ab")).tolist() == [97, 98]


def test_the_array_lives_as_long_as_the_tensor():
    a = np.arange(1000.0)
    reference = weakref.ref(a)
    t = gs.from_numpy(a)
    del a
    gc.collect()
    assert reference() is not None and t[999].item() == 999
    view = t[10:20]
    del t
    assert reference() is not None and view[0].item() == 10
    del view
    gc.collect()
    assert reference() is None


def test_the_memory_lives_as_long_as_the_array():
    t = gs.full((1000,), 3.0)
    a, b = t.numpy(), np.from_dlpack(t)
    before = gs._core.memory_stats()["in_use_bytes"]
    del t
    gs.full((1000,), 4.0)
    assert (a == 3).all() and (b == 3).all()
    del a, b
    gc.collect()
    assert gs._core.memory_stats()["in_use_bytes"] < before


def test_capsules():
    t = gs.ones(2)
    capsule = t.__dlpack__()
    u = gs.from_dlpack(capsule)
    assert u.data_ptr() == t.data_ptr()
    with pytest.raises(ValueError, match="used already"):
        gs.from_dlpack(capsule)
    before = gs._core.memory_stats()["in_use_bytes"]
    for _ in range(10):
        gs.ones(100_000).__dlpack__(max_version=(1, 0))  # never consumed
        gs.ones(100_000).__dlpack__()
    assert gs._core.memory_stats()["in_use_bytes"] == before
    assert t.__dlpack_device__() == (1, 0)
    with pytest.raises(TypeError, match="__dlpack__"):
        gs.from_dlpack(3)
    with pytest.raises(BufferError, match="detach"):
        gs.ones(2).requires_grad_().__dlpack__()
    copied = np.from_dlpack(t, copy=True)
    copied[0] = 9
    assert t[0].item() == 1


def test_numpy_functions_take_tensors():
    t = gs.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(t).sum() == 10
    assert np.asarray(t, dtype=np.int64).tolist() == [[1, 2], [3, 4]]
    assert np.array(t, copy=True).ctypes.data != t.data_ptr()
    np.testing.assert_array_equal(np.linalg.inv(np.eye(2)), gs.eye(2))


def test_tensor_copies():
    a = np.arange(3.0)
    t = gs.tensor(a)
    t.add_(1.0)
    assert a.tolist() == [0.0, 1.0, 2.0]
    assert t.dtype is gs.float64
    assert gs.tensor([1.0, 2.0]).dtype is gs.float32
    assert gs.tensor([1, 2]).dtype is gs.int64
    assert gs.tensor([True]).dtype is gs._core.bool
    assert gs.tensor(1.5).shape == ()
    assert gs.tensor([[], []]).shape == (2, 0)
    assert gs.tensor([gs.tensor([1.0]), gs.tensor([2.0])]).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_pickle(dtype):
    t = gs.tensor([[1, 0], [1, 1]]).to(getattr(gs._core, dtype))
    u = pickle.loads(pickle.dumps(t))
    assert u.dtype is t.dtype and u.tolist() == t.tolist()


# ---- torch ----


def test_what_cannot_be_shared_is_a_buffer_error():
    with pytest.raises(BufferError, match="requires grad"):
        np.from_dlpack(gs.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match=r"cpu.*\(2, 0\)"):
        gs.ones(2).__dlpack__(dl_device=(2, 0))
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.raises(BufferError, match="read-only"):
        gs.from_numpy(frozen).__dlpack__()
    assert gs.from_dlpack(gs.ones(2).__dlpack__(dl_device=(1, 0))).tolist() == [1.0, 1.0]


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_torch_both_ways(dtype):
    torch = pytest.importorskip("torch")
    t = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    for view in (t, t.T, t[:, ::2]):
        u = gs.from_dlpack(view)
        assert u.data_ptr() == view.data_ptr() and u.dtype.name == dtype
        back = torch.from_dlpack(u)
        assert back.data_ptr() == view.data_ptr()
        assert (back == view).all() and back.stride() == view.stride()
    gs.from_dlpack(t)[0, 0] = 1
    assert t[0, 0].item() == 1
    x = gs.ones(3).to(getattr(gs._core, dtype))
    y = torch.from_dlpack(x)
    y[1] = 0
    assert x[1].item() == 0


@pytest.mark.torch
def test_torch_lifetime():
    torch = pytest.importorskip("torch")
    u = gs.from_dlpack(torch.full((1000,), 3.0))
    gc.collect()
    torch.full((1000,), 4.0)
    assert (u == 3.0).all().item()
    y = torch.from_dlpack(gs.full((1000,), 3.0))
    gc.collect()
    gs.full((1000,), 4.0)
    assert (y == 3.0).all()
