"""Safetensors: round trips, foreign programs, hostile files, and saves that are broken off."""

import contextlib
import json
import math
import os
import struct

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import _safetensors

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]


def tensor_of(dtype, shape=(2, 3)):
    values = gs.tensor(np.arange(math.prod(shape), dtype=np.float64).reshape(shape) - 1.5)
    return (values > 0) if dtype == "bool" else values.to(getattr(gs, dtype))


def same(a, b):
    if isinstance(a, gs.Tensor):
        assert isinstance(b, gs.Tensor) and a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape)
        assert (a.to(gs.float64).numpy() == b.to(gs.float64).numpy()).all()
    elif isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
        assert (a == b).all()
    elif isinstance(a, dict):
        assert list(a) == list(b) and [type(k) for k in a] == [type(k) for k in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b) and (a == b or a != a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (), (0,), (3, 0, 2), (1,), (5, 4, 3, 2)])
def test_dtypes_and_shapes(tmp_path, dtype, shape):
    tensors = {"a": tensor_of(dtype, shape), "b": gs.ones(3)}
    gs.save(tensors, tmp_path / "f")
    same(gs.load(tmp_path / "f"), tensors)


def test_special_values_and_views(tmp_path):
    values = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4e38], np.float32)
    base = gs.tensor(np.arange(12.0).reshape(3, 4))
    saved = {
        "special": gs.tensor(values),
        "bf16": gs.tensor(values).to(gs.bfloat16),
        "transposed": base.transpose(0, 1),
        "sliced": base[:, ::2],
        "leaf": gs.tensor([1.0], requires_grad=True),
    }
    gs.save(saved, tmp_path / "f")
    loaded = gs.load(tmp_path / "f")
    assert loaded["special"].numpy().tobytes() == values.tobytes()
    assert (loaded["transposed"].numpy() == base.numpy().T).all()
    assert (loaded["sliced"].numpy() == base.numpy()[:, ::2]).all()
    assert not loaded["leaf"].requires_grad
    same(loaded["bf16"], saved["bf16"])
    gs.save({"n": gs.tensor([math.nan]).to(gs.bfloat16)}, tmp_path / "f")
    assert math.isnan(gs.load(tmp_path / "f")["n"].to(gs.float32).numpy()[0])


def test_nested_objects(tmp_path):
    obj = {
        "weights": {"a.b": gs.ones(2), "a": {"b": gs.zeros(2)}},
        0: [1, 2.0, True, None, "text", math.inf, -math.inf, math.nan, 2**70, -0.0],
        (None): (gs.ones(1), [(), {}, []]),
        1.5: {"array": np.arange(3, dtype=np.uint16), True: "ü\n\0"},
        "__metadata__": gs.ones(1),
        "scalar": np.float64(3.5),
    }
    gs.save(obj, tmp_path / "f")
    obj["scalar"] = 3.5
    same(gs.load(tmp_path / "f"), obj)
    for simple in (gs.ones(3), 5, [], {}, "x", None):
        gs.save(simple, tmp_path / "f")
        same(gs.load(tmp_path / "f"), simple)


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"a": object()}, "a is a object"),
        ({"a": [1, {"b": {1}}]}, r"a\.1\.b is a set"),
        ({(1, 2): 3}, "key of type tuple"),
        ({"z": np.zeros(2, complex)}, "complex128"),
        ({"a": lambda: 0}, "function"),
    ],
)
def test_what_cannot_be_saved(tmp_path, obj, text):
    with pytest.raises(TypeError, match=text):
        gs.save(obj, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_too_deep(tmp_path):
    obj = []
    for _ in range(70):
        obj = [obj]
    with pytest.raises(TypeError, match="levels deep"):
        gs.save(obj, tmp_path / "f")


def test_both_ways_with_the_safetensors_package(tmp_path):
    other = pytest.importorskip("safetensors.numpy")
    arrays = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "h": np.arange(3, dtype=np.float16),
        "i": np.arange(4),
        "d": np.zeros((2, 0)),
        "b": np.array([True, False, True]),
        "s": np.array(2.5),
    }
    other.save_file(arrays, tmp_path / "theirs", metadata={"format": "np"})
    loaded = gs.load(tmp_path / "theirs")
    for name, array in arrays.items():
        assert (loaded[name].numpy() == array).all() and loaded[name].shape == array.shape
    gs.save(loaded, tmp_path / "ours")
    for name, array in other.load_file(tmp_path / "ours").items():
        assert array.dtype == arrays[name].dtype and (array == arrays[name]).all()
    gs.save({"tree": [gs.ones(2), {"x": 1}]}, tmp_path / "nested")
    assert list(other.load_file(tmp_path / "nested")) == ["tree.0"]


@pytest.mark.torch
def test_both_ways_with_torch(tmp_path):
    torch = pytest.importorskip("torch")
    other = pytest.importorskip("safetensors.torch")
    tensors = {"b": torch.tensor([1.5, -2.25, 3e38]).bfloat16(), "h": torch.ones(2).half()}
    other.save_file(tensors, tmp_path / "theirs")
    loaded = gs.load(tmp_path / "theirs")
    assert loaded["b"].dtype == gs.bfloat16 and loaded["h"].dtype == gs.float16
    assert (loaded["b"].to(gs.float32).numpy() == tensors["b"].float().numpy()).all()
    gs.save(loaded, tmp_path / "ours")
    back = other.load_file(tmp_path / "ours")
    assert torch.equal(back["b"], tensors["b"]) and torch.equal(back["h"], tensors["h"])


# -- hostile files --------------------------------------------------------------------------------


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


DATA = bytes(8)
HOSTILE = {
    "empty": (b"", "fewer than 8"),
    "short": (b"\1\0\0", "fewer than 8"),
    "header beyond the end": (file_of({}, length=10**6), "header claims"),
    "header of 2^64 - 1": (file_of({}, length=2**64 - 1), "header claims"),
    "no JSON": (file_of(b"{nope"), "no valid safetensors"),
    "no object": (file_of(b"[1, 2]"), "does not start with"),
    "leading space": (file_of(b" {}"), "does not start with"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "no valid safetensors"),
    "nested": (file_of(b'{"a":' * 50000 + b"1" + b"}" * 50000), "no valid safetensors"),
    "duplicate names": (
        file_of(b'{"a":%(e)s,"a":%(e)s}' % {b"e": json.dumps(entry()).encode()}, DATA),
        "names something twice",
    ),
    "duplicate fields": (
        file_of(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', DATA),
        "names something twice",
    ),
    "overlap": (
        file_of({"a": entry(), "b": entry(shape=(1,), offsets=(4, 8))}, DATA),
        "overlaps its neighbour",
    ),
    "same bytes twice": (file_of({"a": entry(), "b": entry()}, DATA), "overlaps"),
    "gap": (file_of({"a": entry(offsets=(4, 12))}, bytes(12)), "leaves a gap"),
    "bytes left over": (file_of({"a": entry()}, DATA + b"x"), "the file holds 9"),
    "bytes missing": (file_of({"a": entry()}, DATA[:7]), "the file holds 7"),
    "wrong size": (file_of({"a": entry(shape=(3,))}, DATA), "takes 12 bytes"),
    "huge shape": (file_of({"a": entry(shape=(2**40, 2**40))}, DATA), "takes"),
    "overflowing shape": (file_of({"a": entry(shape=(2**62, 4, 0))}, DATA), "has shape"),
    "negative shape": (file_of({"a": entry(shape=(-2,))}, DATA), "has shape"),
    "float shape": (file_of({"a": entry(shape=(2.0,))}, DATA), "has shape"),
    "bool shape": (file_of({"a": entry(shape=(True, 2))}, DATA), "has shape"),
    "too many axes": (file_of({"a": entry(shape=(1,) * 40 + (2,))}, DATA), "has shape"),
    "backward offsets": (file_of({"a": entry(offsets=(8, 0))}, DATA), "data_offsets"),
    "negative offsets": (file_of({"a": entry(offsets=(-8, 0))}, DATA), "data_offsets"),
    "three offsets": (file_of({"a": entry(offsets=(0, 4, 8))}, DATA), "data_offsets"),
    "unknown dtype": (file_of({"a": entry(dtype="F7")}, DATA), "dtype 'F7'; known are"),
    "dtype is a list": (file_of({"a": entry(dtype=["F32"])}, DATA), "has dtype"),
    "missing field": (file_of({"a": {"dtype": "F32", "shape": [2]}}, DATA), "needs exactly"),
    "entry is a number": (file_of({"a": 5}, DATA), "needs exactly"),
    "bool of 2": (file_of({"a": entry("BOOL", (1,), (0, 1))}, b"\2"), "other than 0 and 1"),
    "metadata": (file_of({"__metadata__": {"a": 1}}), "must map strings to strings"),
    "dtype without tensors": (file_of({"a": entry("U16", (4,))}, DATA), "dtype U16"),
    "tree names nothing": (
        file_of({"__metadata__": {"gradsmith.tree": '{"t": "x"}'}}),
        "structure wrongly",
    ),
    "tree names something twice": (
        file_of(
            {
                "__metadata__": {"gradsmith.tree": '{"l":[{"t":"a"},{"t":"a"}]}'},
                "a": entry(),
            },
            DATA,
        ),
        "structure wrongly: tensor 'a' is missing or named twice",
    ),
    "tree of another kind": (
        file_of({"__metadata__": {"gradsmith.tree": '{"python": "os.system"}'}}),
        "unknown kind of node",
    ),
    "nine axes": (file_of({"a": entry(shape=(1,) * 8 + (2,))}, DATA), r"f: tensor 'a': .*9"),
    "nine axes in a tree": (
        file_of(
            {
                "__metadata__": {"gradsmith.tree": '{"t":"a"}'},
                "a": entry(shape=(1,) * 8 + (2,)),
            },
            DATA,
        ),
        "f describes.*tensor 'a': .*9",
    ),
    "deep tree": (
        file_of({"__metadata__": {"gradsmith.tree": '{"l":[' * 900 + "]}" * 900}}),
        "structure wrongly",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tmp_path, name):
    content, text = HOSTILE[name]
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        gs.load(tmp_path / "f")


def test_every_truncation_and_many_flips_are_handled(tmp_path):
    path = tmp_path / "f"
    gs.save({"a": [gs.ones(3), 1.5], "b": tensor_of("bfloat16")}, path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError):
            gs.load(path)
    rng = np.random.default_rng(0)
    for _ in range(500):
        broken = bytearray(content)
        broken[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with contextlib.suppress(ValueError):
            gs.load(path)


def test_what_cannot_be_written_is_named(tmp_path):
    for obj in ({"a\ud800": gs.ones(1)}, {"x": {"a\ud800": gs.ones(1)}}):
        with pytest.raises(ValueError, match=r"save: the name '.*a\\ud800'"):
            gs.save(obj, tmp_path / "f")
    with pytest.raises(ValueError, match=r"save: a\.0 is an int of"):
        gs.save({"a": [10**5000]}, tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        gs.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        gs.save({}, tmp_path / "no" / "f")
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(ValueError, match="not a regular file"):
        gs.load(tmp_path / "pipe")
    os.close(handle)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch, call, error):
    path = tmp_path / "f"
    gs.save({"a": gs.ones(2)}, path)
    before = path.read_bytes()

    def broken(*args):
        raise error("no")

    monkeypatch.setattr(_safetensors.os, call, broken)
    with pytest.raises(error):
        gs.save({"a": gs.zeros(1000)}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_permissions_and_links(tmp_path):
    path, link = tmp_path / "f", tmp_path / "link"
    gs.save({}, path)
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o600)
    link.symlink_to(path)
    gs.save({"a": gs.ones(1)}, link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o600
    assert list(gs.load(path)) == ["a"]
