"""The command line: info, paths, and the demos with their promises."""

import gzip
import importlib.util
import re
import shlex
import struct
import subprocess
import sys
import time
from pathlib import Path

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.__main__ import main
from gradsmith.data.transforms import random_affine, random_shift
from gradsmith.examples import EXAMPLES

needs_demo = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib", "rich")),
    reason="needs the packages of gradsmith[demo]",
)


def accuracy(text):
    line = next(line for line in text.splitlines() if line.startswith("held-out accuracy"))
    return float(line.split()[2])


@needs_demo
def test_digits_demo_keeps_its_promises(tmp_path):
    command = [sys.executable, "-m", "gradsmith", "demo", "--seed", "1", "--out", str(tmp_path)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        waited = time.perf_counter() - start
        text = first + process.stdout.read()
    assert process.returncode == 0 and accuracy(text) >= 98, text
    assert first.startswith(f"gradsmith {gs.__version__}: a CNN on 8x8 handwritten digits")
    assert waited < 5  # a second on an idle machine
    assert "loaded back: 359 of 359 predictions are the same" in text
    for part in ("samples/s", "digit  images  right  accuracy", "val_accuracy"):
        assert part in text
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert "0.weight" in gs.load(tmp_path / "digits.safetensors")


@needs_demo
def test_lstm_demo_learns(tmp_path, capsys):
    assert main(["demo", "lstm", "--epochs", "12", "--out", str(tmp_path)]) == 0
    assert accuracy(capsys.readouterr().out) >= 90


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@needs_demo
def test_mnist_demo_on_enlarged_digits(tmp_path, capsys):
    for train, part in ((True, "train"), (False, "t10k")):
        images, labels = (t.numpy() for t in gs.data.datasets.Digits(train).tensors)
        large = np.pad(images[:, 0].repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", (large * 255)[:700])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels[:700])
    out = tmp_path / "out"
    options = ["demo", "mnist", "--data", str(tmp_path), "--out", str(out), "--epochs", "3"]
    assert main(options) == 0
    assert accuracy(capsys.readouterr().out) >= 60 and (out / "mnist.png").exists()


@needs_demo
def test_interrupted_demo_resumes(tmp_path, capsys, monkeypatch):
    tmp_path = tmp_path / "a folder"
    options = ["demo", "lstm", "--epochs", "2", "--seed", "5", "--out", str(tmp_path)]
    whole = main(options), gs.load(tmp_path / "lstm.safetensors")

    def press(self, trainer, logs):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gs.train.Progress, "on_batch_end", press)
        assert main(options) == 130
    text = capsys.readouterr()
    assert "interrupted after 1 of 2 epochs" in text.out and text.err.strip() == "interrupted"
    (line,) = re.findall("continue with: gradsmith (.*)", text.out)
    assert main(shlex.split(line)) == whole[0] == 0
    for name, tensor in gs.load(tmp_path / "lstm.safetensors").items():
        assert (tensor.numpy() == whole[1][name].numpy()).all()


@pytest.mark.parametrize(
    ("absent", "wanted"),
    [
        (["sklearn"], "scikit-learn"),
        (["matplotlib", "sklearn"], "scikit-learn, matplotlib"),
        (["rich", "tqdm"], "rich or tqdm"),
    ],
)
def test_missing_packages_are_named_in_one_line(monkeypatch, capsys, absent, wanted):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else found(name) or True
    )
    assert main(["demo"]) == 1
    line = capsys.readouterr().err
    assert line == f"gradsmith: the demo needs {wanted}: pip install 'gradsmith[demo]'\n"


@needs_demo
def test_bad_data_folder(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["demo", "mnist", *out]) == 1
    assert "needs --data DIR" in capsys.readouterr().err
    assert main(["demo", "mnist", "--data", str(tmp_path), *out]) == 1
    assert "no file named like train-images" in capsys.readouterr().err
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"junk")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"junk")
    assert main(["demo", "mnist", "--data", str(tmp_path), *out]) == 1
    assert "is no IDX file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["demo", "--seed", "-1"], ["demo", "--epochs", "0"], ["fly"]])
def test_bad_options(options, capsys):
    with pytest.raises(SystemExit) as exit:
        main(options)
    assert exit.value.code == 2 and "error: argument" in capsys.readouterr().err


def test_info_and_help(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for part in (gs.__version__, np.__version__, "target", "threads", "caches", "CUDA"):
        assert part in text
    assert main([]) == 2 and "usage: gradsmith" in capsys.readouterr().out


def test_augmentation():
    rng = np.random.default_rng(0)
    images = rng.random((40, 2, 8, 8), dtype=np.float32)
    same = random_affine(images, rng, 0, 0, 0)
    np.testing.assert_allclose(same, images, atol=1e-6)
    moved = random_affine(images, rng, 10, 0.8, 0.1)
    assert moved.shape == images.shape and moved.dtype == np.float32
    assert moved.min() >= 0 and moved.max() <= 1 and abs(moved - images).max() > 0.05
    shifted = random_shift(images, np.random.default_rng(3), 2)
    found = [
        np.array_equal(shifted[:, :, 2:-2, 2:-2], images[:, :, 2 + a : 6 + a, 2 + b : 6 + b])
        for a in range(-2, 3)
        for b in range(-2, 3)
    ]
    assert sum(found) == 1


@needs_demo
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_a_script_too(name, tmp_path):
    """It gets as far as looking for its data, or refuses a wrong option."""
    script = Path(gs.__file__).parent / "examples" / f"{name}.py"
    command = [sys.executable, script, "--quick", "--out", tmp_path, "--data", tmp_path / "none"]
    if not EXAMPLES[name].data:
        command[2:] = ["--epochs", "3"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert re.search("holds|no folder|does not apply", done.stderr), done.stderr
