"""The examples of GANs and transfer learning, shortened, on enlarged 8x8 digits."""

import json

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.__main__ import main
from gradsmith.models import resnet20
from test_demo import needs_demo, write_idx

pytestmark = needs_demo


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as the examples want it: digits as MNIST, and weights that know nothing."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mnist").mkdir()
    for train, part in ((True, "train"), (False, "t10k")):
        images, labels = (t.numpy() for t in gs.data.datasets.Digits(train).tensors)
        large = np.pad(images[:, 0].repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        write_idx(folder / "mnist" / f"{part}-images-idx3-ubyte.gz", (large * 255)[:400])
        write_idx(folder / "mnist" / f"{part}-labels-idx1-ubyte.gz", labels[:400])
    (folder / "vision_pretrained").mkdir()
    weights = folder / "vision_pretrained" / "resnet20-12fca82f.safetensors"
    gs.save(resnet20().state_dict(), weights)
    return folder


def run(name, folder, *options):
    """Run an example; returns its folder and the rows of its results."""
    assert main(["demo", name, "--quick", "--out", str(folder), *options]) == 0
    results = json.loads((folder / name / "results.json").read_text())
    assert results["example"] == name and results["quick"]
    assert all(np.isfinite(row["values"]).all() for row in results["rows"])
    assert (folder / name / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return folder / name, results["rows"]


def test_ring(tmp_path):
    folder, rows = run("ring", tmp_path)
    assert {row["metric"] for row in rows} == {"modes found, of 8", "good samples, %"}
    generators = gs.load(folder / "ring.safetensors")
    assert list(generators) == [row["what"] for row in rows[::2]]
    assert all(tuple(state["0.weight"].shape) == (128, 2) for state in generators.values())


def test_gan(tmp_path, data):
    folder, rows = run("gan", tmp_path, "--data", str(data))
    judged = [row["what"] for row in rows[1::2]]
    assert judged == ["real images, held out", "the same, blurred 3x3", "noise", "DCGAN", "WGAN-GP"]
    for name in ("dcgan", "wgan-gp"):
        generator = gs.models.DCGANGenerator(64, 1, 4, 28)
        generator.load_state_dict(gs.load(folder / f"{name}.safetensors"))
        assert (folder / f"{name}.gif").read_bytes().startswith(b"GIF")


def test_transfer(tmp_path, data):
    folder, rows = run("transfer", tmp_path, "--data", str(data))
    assert len(rows) == 2 * 2 * 4 and all(0 <= row["values"][0] <= 100 for row in rows)
    model = resnet20()
    model.load_state_dict(gs.load(folder / "photographs-to-digits.safetensors"))
    assert "10.weight" in gs.load(folder / "digits-to-digits.safetensors")


@pytest.mark.parametrize("name", ["gan", "transfer"])
def test_missing_data(name, tmp_path, capsys):
    assert main(["demo", name, "--out", str(tmp_path)]) == 1
    assert "needs --data DIR" in capsys.readouterr().err
    assert main(["demo", name, "--out", str(tmp_path), "--data", str(tmp_path)]) == 1
    wanted = {"gan": "no file named like train-images", "transfer": "resnet20-12fca82f"}
    assert wanted[name] in capsys.readouterr().err
