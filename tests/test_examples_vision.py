"""The examples on MNIST, shortened, on digits that are enlarged to its format."""

import gzip
import importlib.util
import json
import struct

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.__main__ import main
from gradsmith.demo.harness import Options
from gradsmith.examples import activations, cnn, mlp
from gradsmith.examples._vision import load_parts

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib", "rich")),
    reason="needs the packages of gradsmith[demo]",
)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    for train, part in ((True, "train"), (False, "t10k")):
        images, labels = (t.numpy() for t in gs.data.datasets.Digits(train).tensors)
        large = np.pad(images[:, 0].repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", large * 255)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder.parent


def run(name, data, out):
    assert main(["demo", name, "--quick", "--data", str(data), "--out", str(out)]) == 0
    folder = out / name
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["quick"] and results["example"] == name
    return results["rows"], gs.load(folder / f"{name}.safetensors")


def test_mlp(data, tmp_path):
    rows, weights = run("mlp", data, tmp_path)
    gradients, losses, *accuracies = rows
    assert gradients["values"][0] < 1e-5 and losses["values"][0] < 1e-6
    assert [row["metric"] for row in accuracies] == ["test accuracy, %"] * 3
    mlp.mlp(dropout=0.2).load_state_dict(weights)


def test_activations(data, tmp_path):
    rows, _ = run("activations", data, tmp_path)
    assert len(rows) == len(activations.ACTIVATIONS) * (len(activations.DEPTHS) + 1)
    gradients = {row["what"]: row["values"][0] for row in rows if "log10" in row["metric"]}
    assert gradients["sigmoid, 20 layers"] < -9 and abs(gradients["ReLU, 20 layers"]) < 3


def test_gain_keeps_the_variance():
    assert activations.gain(gs.nn.ReLU()) == pytest.approx(2**0.5, rel=1e-4)
    assert activations.gain(gs.nn.Tanh()) == pytest.approx(1.5925, rel=1e-3)


def test_cnn(data, tmp_path):
    rows, weights = run("cnn", data, tmp_path)
    assert [row["target"] for row in rows] == [None, 99.3, 99.5]
    cnn.resnet().load_state_dict(weights)


def test_parts_do_not_overlap(data):
    parts = load_parts(Options(data))
    images = [{image.numpy().tobytes() for image in part.tensors[0]} for part in parts]
    assert [len(part) for part in parts] == [1318, 120, 359]
    assert not images[0] & images[1] and not images[0] & images[2]


@pytest.mark.parametrize("name", ["mlp", "activations", "cnn"])
def test_missing_data(name, tmp_path, capsys):
    assert main(["demo", name, "--out", str(tmp_path)]) == 1
    assert "needs --data DIR" in capsys.readouterr().err
    assert main(["demo", name, "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "no file named like train-images" in capsys.readouterr().err
