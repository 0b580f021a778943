"""Weights from files with a report, freezing, new heads, learning rates by depth."""

import copy
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import models, nn, optim, transfer
from gradsmith.transfer import torch_file

PUBLISHED = (
    Path(os.environ.get("GRADSMITH_DATA", ".")) / "vision_pretrained/resnet20-12fca82f.safetensors"
)


def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def values(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def test_every_format_gives_the_same_weights(tmp_path):
    source = small()
    state = source.state_dict()
    gs.save(state, tmp_path / "a.safetensors")
    gs.save({"epoch": 3, "model": state}, tmp_path / "b.safetensors")
    np.savez(tmp_path / "c.npz", **{f"module.{k}": v.numpy() for k, v in state.items()})
    for file in sorted(tmp_path.iterdir()):
        target = small()
        report = gs.load_pretrained(target, file)
        assert report.complete and len(report.loaded) == 9 and str(report) == "9 loaded"
        for name, array in values(source).items():
            np.testing.assert_array_equal(values(target)[name], array)


@pytest.mark.torch
@pytest.mark.parametrize("wrapped", [False, True])
def test_torch_files(tmp_path, wrapped):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    )  # fmt: skip
    with torch.no_grad():
        theirs[3].weight = torch.nn.Parameter(torch.randn(16, 3).t())  # not contiguous
    state = theirs.state_dict()
    torch.save({"state_dict": state, "epoch": 1} if wrapped else state, tmp_path / "w.pth")
    model = small()
    assert gs.load_pretrained(model, tmp_path / "w.pth").complete
    for name, tensor in state.items():
        np.testing.assert_array_equal(values(model)[name], tensor.numpy())
    kinds = {
        "f16": torch.randn(3).half(), "bf16": torch.randn(2, 2).bfloat16(),
        "i8": torch.tensor([1, -2], dtype=torch.int8), "bool": torch.tensor([True, False]),
        "none": torch.zeros(0, 3), "scalar": torch.tensor(2.5),
        "param": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    torch.save(kinds, tmp_path / "k.pt")
    for name, tensor in transfer.read_weights(tmp_path / "k.pt").items():
        wide = kinds[name].detach().double().numpy()
        np.testing.assert_array_equal(tensor.double().numpy(), wide)


class Hostile:
    """What a pickle could do."""

    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Hostile()}, 2))
    with pytest.raises(ValueError, match=r"asks for __builtin__\.print"):
        gs.load_pretrained(small(), tmp_path / "bad.pth")
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    with pytest.raises(ValueError, match="its entries are compressed"):
        gs.load_pretrained(small(), tmp_path / "packed.pth")
    storage = torch_file._Storage("<f4", bytes(8))
    for offset, size, stride in (
        (0, (3,), (1,)),
        (1, (2,), (1,)),
        (0, (9,), (0,)),
        (1, (2,), (-1,)),
    ):
        with pytest.raises(ValueError, match="does not lie in its storage"):
            torch_file._rebuild_tensor(storage, offset, size, stride)
    np.savez(tmp_path / "bad.npz", a=np.array([Hostile()], dtype=object))
    with pytest.raises(ValueError, match=r"no \.npz of plain arrays"):
        gs.load_pretrained(small(), tmp_path / "bad.npz")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        gs.load_pretrained(small(), tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        gs.load_pretrained(small(), tmp_path / "none")
    gs.save([1, 2], tmp_path / "list.safetensors")
    with pytest.raises(ValueError, match="no dictionary from names to tensors"):
        gs.load_pretrained(small(), tmp_path / "list.safetensors")
    assert capsys.readouterr().out == ""


@pytest.mark.torch
def test_tensors_that_share_memory_are_bounded(tmp_path):
    torch = pytest.importorskip("torch")
    path, base = tmp_path / "views.pth", torch.arange(50_000.0)
    for views, kind in ((5, torch.float32), (100, torch.float32), (5, torch.int8), (9, torch.int8)):
        shared = base.to(kind)
        torch.save({f"t{at}": shared.view(-1) for at in range(views)}, path)
        stored = 1 + views * (4 if kind is torch.int8 else 1)
        if stored < 8:
            read = transfer.read_weights(path)
            np.testing.assert_array_equal(read["t4"].numpy(), base.numpy())
        else:
            with pytest.raises(ValueError, match="its tensors take more than 8 times the file's"):
                transfer.read_weights(path)


def test_storages_that_share_memory_are_bounded(tmp_path):
    """Many entries of the archive may lie over each other."""
    path = tmp_path / "laid.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("a/data/0", bytes(100_000))
    with zipfile.ZipFile(path) as archive:
        reader = torch_file._Reader(archive, "a/", path.stat().st_size)
        with pytest.raises(ValueError, match="more than 8 times the file's memory"):
            for _ in range(9):
                reader._storages.clear()
                reader.persistent_load(("storage", "FloatStorage", "0", "cpu", 25_000))


def test_byte_arrays_are_refused(tmp_path):
    path = tmp_path / "array.pth"
    with zipfile.ZipFile(path, "w") as archive:  # of a size that nothing in the file backs
        size = (1 << 40).to_bytes(8, "little")
        archive.writestr("a/data.pkl", b"\x80\x05" + pickle.BYTEARRAY8 + size + b".")
    with pytest.raises(ValueError, match="cannot be read"):
        gs.load_pretrained(nn.Linear(1, 1), path)


def test_references_are_not_printed(tmp_path):
    """Tuples of the same tuple twice, 40 deep: 2^40 of them if they were written out."""
    path, twice = tmp_path / "deep.pth", pickle.MEMOIZE + pickle.DUP + pickle.TUPLE2
    head = pickle.MARK + b"X\x07\0\0\0storagectorch\nFloatStorage\n"
    for body in (b")" + 40 * (pickle.DUP + pickle.TUPLE2), b")" + 3 * twice):
        with zipfile.ZipFile(path, "w") as archive:
            tail = b"X\x03\0\0\0cpuK\x01t" + pickle.BINPERSID + b"."
            archive.writestr("a/data.pkl", b"\x80\x04" + head + body + tail)
        with pytest.raises(ValueError, match="reference of unknown kind"):
            gs.load_pretrained(nn.Linear(1, 1), path)


def test_report_and_strictness():
    source, target = small(), small()
    transfer.replace_head(target, 5)
    state = dict(source.state_dict())
    state["extra"] = state.pop("0.bias")
    before = values(target)
    with pytest.raises(ValueError, match=r"3\.weight model \(5, 16\), file \(3, 16\)") as error:
        gs.load_pretrained(target, state)
    assert "0.bias (4,)" in str(error.value) and "extra (4,)" in str(error.value)
    for name, array in values(target).items():
        np.testing.assert_array_equal(array, before[name])
    report = gs.load_pretrained(target, state, strict=False)
    assert report.missing == {"0.bias": (4,)} and report.unexpected == {"extra": (4,)}
    assert list(report.mismatched) == ["3.weight", "3.bias"] and "0.weight" in report.loaded
    np.testing.assert_array_equal(values(target)["0.weight"], values(source)["0.weight"])

    report = gs.load_pretrained(small(), state, rename={"extra": "0.bias"})
    assert report.complete
    drop = gs.load_pretrained(
        small(), state, strict=False, rename=lambda n: None if n == "extra" else n
    )
    assert not drop.unexpected
    with pytest.raises(ValueError, match="gives the name 'a' twice"):
        gs.load_pretrained(small(), state, rename=lambda name: "a")
    with pytest.raises(ValueError, match="nothing fits Linear"):
        gs.load_pretrained(nn.Linear(2, 2), state, strict=False)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs the published weights")
def test_published_weights_of_a_cifar_resnet():
    model = models.resnet20()
    assert gs.load_pretrained(model, PUBLISHED).complete
    assert model.eval()(gs.randn(2, 3, 32, 32)).shape == (2, 10)
    transfer.replace_head(model, 4)
    report = gs.load_pretrained(model, PUBLISHED, strict=False)
    assert list(report.mismatched) == ["linear.weight", "linear.bias"] and not report.missing


def test_frozen_layers_do_not_change():
    gs.manual_seed(0)
    model = small()
    frozen = transfer.freeze(model, ["0", "1"])
    assert frozen == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert transfer.freeze(model, "1") == frozen  # again: no second hook
    before = values(model)
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    x, y = gs.randn(8, 1, 4, 4), gs.randint(0, 3, (8,))

    def step():
        model.train()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    changed = {n for n, array in values(model).items() if not np.array_equal(array, before[n])}
    assert changed == {"3.weight", "3.bias"}
    # As in evaluation, and in a copy too.
    np.testing.assert_array_equal(
        model(x).detach().numpy(), copy.deepcopy(model).eval()(x).detach().numpy()
    )

    trained = transfer.unfreeze(model)
    assert len(trained) == 6 and not model[1]._forward_pre_hooks
    step()
    assert not np.array_equal(values(model)["1.running_mean"], before["1.running_mean"])
    transfer.freeze(model, batch_norm=False)
    assert not model[1]._forward_pre_hooks and not any(p.requires_grad for p in model.parameters())
    assert transfer.unfreeze(model, "3.bias") == ["3.bias"]
    with pytest.raises(ValueError, match="freeze: the model has no '7'; its parts are 0, 1, 2, 3"):
        transfer.freeze(model, "7")


def test_replace_head():
    model = models.LeNet().double()
    transfer.freeze(model)
    head = transfer.replace_head(model, 3)
    assert model.fc3 is head and tuple(head.weight.shape) == (3, 84)
    assert head.weight.dtype == gs.float64 and head.weight.requires_grad
    conv = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(2, 9, 1, bias=False))
    assert transfer.replace_head(conv, 4).bias is None and tuple(conv[1].weight.shape) == (
        4,
        2,
        1,
        1,
    )
    assert tuple(transfer.replace_head(conv, 5, name="0").weight.shape) == (5, 1, 3, 3)
    for bad, text in ((nn.ReLU(), "has no Linear"), (nn.Linear(1, 1), "has no Linear")):
        with pytest.raises(ValueError, match=text):
            transfer.replace_head(bad, 2)
    with pytest.raises(ValueError, match="'pool' is no Linear or Conv2d"):
        transfer.replace_head(model, 2, name="pool")


def test_learning_rates_by_depth():
    model = models.LeNet()
    groups = transfer.layer_groups(model, 0.1, 2.0)
    rates = [group["lr"] for group in optim.SGD(groups, 1.0).param_groups]
    assert rates == pytest.approx([0.1 / 16, 0.1 / 8, 0.1 / 4, 0.1 / 2, 0.1])
    assert groups[0]["params"][0] is model.conv1.weight
    groups = transfer.layer_groups(model, 0.1, 10, [["conv1", "conv2"], ["fc1", "fc2"], "fc3"])
    assert [len(group["params"]) for group in groups] == [4, 4, 2]
    transfer.freeze(model, ["conv1", "conv2"])
    assert len(transfer.layer_groups(model, 0.1)) == 3
    assert len(transfer.layer_groups(nn.Sequential(small(), nn.Linear(3, 2)), 1.0)) == 4
    for names, text in (
        ([["fc1", "fc2"], ["fc3", "fc1"]], "'fc1.weight' is in two groups"),
        (["fc3"], "fc1.weight, fc1.bias, fc2.weight, fc2.bias are in no group"),
        (["fc9"], "no 'fc9'"),
    ):
        with pytest.raises(ValueError, match=text):
            transfer.layer_groups(model, 0.1, groups=names)
    transfer.freeze(model)
    with pytest.raises(ValueError, match="all parameters of LeNet are frozen"):
        transfer.layer_groups(model, 0.1)
    with pytest.raises(ValueError, match="lr must be positive"):
        transfer.layer_groups(model, 0.0)


def test_keys_that_nest_deeply_are_refused(tmp_path):
    path = tmp_path / "deep.pth"
    with zipfile.ZipFile(path, "w") as archive:  # {((((1,),),),): None}: hashing it would not end
        archive.writestr("a/data.pkl", b"\x80\x02}K\x01" + b"\x85" * 300000 + b"Ns.")
    with pytest.raises(ValueError, match="a key of type tuple"):
        gs.load_pretrained(nn.Linear(1, 1), path)
    np.savez(tmp_path / "wide.npz", weight=np.zeros((1, 1), np.uint64))
    with pytest.raises(ValueError, match="of plain arrays"):
        gs.load_pretrained(nn.Linear(1, 1), tmp_path / "wide.npz")


def test_replace_head_keeps_the_settings_of_a_convolution():
    model = nn.Sequential(
        nn.Conv2d(4, 6, (2, 4), padding="same", groups=2, padding_mode="circular", dilation=(1, 2))
    )
    old, new = model[0], transfer.replace_head(model, 8)
    assert repr(new) == repr(old).replace("4, 6,", "4, 8,") and new.padding == old.padding
    assert tuple(new(gs.ones(1, 4, 6, 6)).shape) == (1, 8, 6, 6)
    with pytest.raises(ValueError, match="divisible by groups"):
        transfer.replace_head(model, 3)


@pytest.mark.parametrize("at", range(20))
def test_a_damaged_end_of_a_zip_file(tmp_path, at):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
    whole = path.read_bytes()
    # A zip64 locator, which Python writes for huge archives alone, stands before the last 22 bytes.
    locator = bytearray(struct.pack("<4sLQL", b"PK\x06\x07", 0, len(whole) - 22, 1))
    locator[at] ^= 0x40
    path.write_bytes(whole[:-22] + bytes(locator) + whole[-22:])
    with pytest.raises(ValueError, match="load_pretrained: "):
        gs.load_pretrained(small(), path)


@pytest.mark.torch
def test_old_torch_files_are_called_so(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        ValueError, match=r"is a PyTorch file of the format before 1.6; .*torch.save"
    ):
        transfer.read_weights(path)


@pytest.mark.parametrize("name", ["w.npz", "w.pt"])
def test_truncated_zip_files_are_called_so(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as stream:
        np.savez(stream, weight=np.ones((4, 4)))
    whole = path.read_bytes()
    for length in (4, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{re.escape(name)} is a truncated zip file"):
            transfer.read_weights(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_called_so(tmp_path, protocol):
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"w": [1.0, 2.0]}, protocol))
    with pytest.raises(ValueError, match=r"w\.pkl is a pickle, .*numpy\.savez\("):
        transfer.read_weights(path)
