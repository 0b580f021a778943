"""The examples on sequences, run end to end in their quick form on small files made here."""

import importlib.util
import json

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.__main__ import main
from gradsmith.examples import charlm, forecast, memory

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("matplotlib", "rich")),
    reason="needs the packages of gradsmith[demo]",
)


def demo(name, tmp_path, models=1):
    """Run an example; returns the values of its rows, and one of its models' weights."""
    data, out = tmp_path / "data", tmp_path / "out"
    assert main(["demo", name, "--quick", "--data", str(data), "--out", str(out)]) == 0
    folder = out / name
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["quick"] and results["example"] == name
    for row in results["rows"]:
        assert np.isfinite(row["values"]).all(), row
    (picture,) = folder.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    saved = sorted(folder.glob("*.safetensors"))
    assert len(saved) == models
    return {(row["what"], row["metric"]): row["values"] for row in results["rows"]}, gs.load(
        saved[0]
    )


def test_memory(tmp_path):
    rows, weights = demo("memory", tmp_path)
    assert rows["adding: chance", "MSE"] == [1 / 6]
    assert rows["recall, 16 steps: LSTM, chrono", "accuracy, %"][0] > 80
    (rnn,) = rows["untrained RNN", "gradient's change per step back"]
    assert rnn < rows["untrained LSTM, chrono", "gradient's change per step back"][0] < 1
    memory.chrono(memory.TASKS["recall"], 16).load_state_dict(weights)


def test_tasks_of_memory():
    rng = np.random.default_rng(0)
    inputs, sums = (t.numpy() for t in memory.adding([np.empty(50)], rng, 10))
    assert inputs.shape == (50, 10, 2) and sums.shape == (50, 1)
    for half in (slice(5), slice(5, 10)):
        assert (inputs[:, half, 1].sum(1) == 1).all()
    np.testing.assert_allclose(inputs.prod(2).sum(1), sums[:, 0])
    inputs, symbols = (t.numpy() for t in memory.recall([np.empty(50)], rng, 10))
    assert inputs.shape == (50, 11, 16) and (inputs.sum(2) == 1).all()
    assert (inputs[:, 0].argmax(1) == symbols).all() and symbols.max() < 8
    assert (inputs[:, 1:].argmax(2) >= 8).all()


def test_charlm(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "data" / "text").mkdir(parents=True)
    lines = [f"ROMEO:\n{' '.join(rng.choice(['to', 'be', 'or', 'not'], 6))}\n" for _ in range(700)]
    path = tmp_path / "data" / "text" / "tinyshakespeare.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    rows, weights = demo("charlm", tmp_path)
    alone, mixed, lstm, learning = (values[0] for values in rows.values())
    assert mixed < alone and 0 < learning < 1.05 * lstm
    vocabulary = gs.data.Vocabulary.load(tmp_path / "out" / "charlm" / "vocabulary.json")
    assert weights["embedding.weight"].shape[0] == len(vocabulary)
    text = (tmp_path / "out" / "charlm" / "samples.txt").read_text(encoding="utf-8")
    assert text.count("ROMEO:") >= len(charlm.TEMPERATURES)


def test_n_grams_are_probabilities():
    text = np.array([0, 1, 0, 1, 0, 2, 0, 1])
    model = charlm.NGrams(text, 3, 4)
    ways = [np.array([0, 1, last]) for last in range(4)]
    for order in (1, 2, 3):
        # The nats of three characters are those of two and of the last, whose p sum to 1.
        before = 2 * model.nats(np.array([0, 1]))[min(order, 2) - 1]
        p = [np.exp(before - 3 * model.nats(way)[order - 1]) for way in ways]
        np.testing.assert_allclose(sum(p), 1)
    # 0 is 4 of 8, 3 kinds were seen, and the uniform estimate is 1 / 4.
    np.testing.assert_allclose(np.exp(-model.nats(np.array([0]))[0]), (4 + 3 / 4) / 11)


def test_reader_carries_its_memory():
    gs.manual_seed(0)
    model = charlm.Reader(5, 4, 8, 2).eval()
    text = gs.from_numpy(np.arange(20).reshape(2, 10) % 5)
    with gs.no_grad():
        pieces = gs.cat([model(text[:, :6]), model(text[:, 6:])], 2).numpy()
        whole = model.eval()(text).numpy()
    np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-6)


def test_learning_while_reading_leaves_the_weights():
    gs.manual_seed(0)
    model, text = charlm.Reader(5, 4, 16, 1), np.arange(8001) % 5
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    as_it_is, learning = (charlm.nats_while_learning(model, text, lr) for lr in (1e-9, 1e-2))
    assert learning < as_it_is - 0.1
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def test_validation_pieces_come_from_all_over_the_text():
    learn, val = charlm.held_out(np.arange(10_000))
    assert len(val) == 500 and np.diff(np.flatnonzero(np.diff(val) != 1)).tolist() == [50] * 8
    np.testing.assert_array_equal(np.sort(np.concatenate([learn, val])), np.arange(10_000))


def test_streams_lie_side_by_side():
    batches = [inputs.numpy() for inputs, _ in charlm.streams(np.arange(41), 2, 5)]
    np.testing.assert_array_equal(np.hstack(batches), np.arange(40).reshape(2, 20))


def write_csv(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_series(folder):
    """Write both series, short, in the formats of the real files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    months = np.arange(1200)
    write_csv(
        folder / "monthly-sunspots.csv",
        {
            '"Month"': [f'"{1749 + m // 12}-{m % 12 + 1:02}"' for m in months],
            '"Sunspots"': (50 - 50 * np.cos(months / 21) + 5 * rng.random(1200)).round(1),
        },
    )
    hours = np.arange(1000)
    dust = (80 + 50 * np.sin(hours / 4)).round().astype(int).astype(object)
    dust[[0, 1, 300, 301, 302, 990]] = "NA"
    write_csv(
        folder / "pollution.csv",
        {
            "No": hours + 1, "year": 2010 + hours // 200, "month": hours // 84 % 12 + 1,
            "day": hours // 24 % 28 + 1, "hour": hours % 24, "pm2.5": dust,
            "DEWP": rng.integers(-20, 20, 1000), "TEMP": rng.integers(-10, 30, 1000),
            "PRES": rng.integers(1000, 1030, 1000), "cbwd": rng.choice(["NW", "SE", "cv"], 1000),
            "Iws": rng.random(1000).round(2), "Is": np.zeros(1000, int),
            "Ir": rng.integers(0, 2, 1000),
        },
    )  # fmt: skip


def test_forecast(tmp_path):
    write_series(tmp_path / "data")
    rows, weights = demo("forecast", tmp_path, models=2)
    assert len(rows) == 5 * 3 + 4 and "lstm.weight_ih_l0" in weights
    ahead = "RMSE 1 month ahead, sunspots"
    (linear,) = (v for (what, metric), v in rows.items() if "linear" in what and metric == ahead)
    assert linear < rows["sunspots: persistence", ahead]


def test_gaps_of_the_pollution_are_filled_from_the_past(tmp_path):
    write_series(tmp_path)
    options = forecast.Options(data=tmp_path)
    series = forecast.pollution(options)
    first, last = series.parts[0].dataset, series.parts[2]
    scaled = first.inputs[:, 0] * series.scale + series.mean
    np.testing.assert_allclose(scaled[299:303], scaled[299], rtol=1e-5)
    np.testing.assert_array_equal(first.inputs[298:304, 1] > 0, [0, 0, 1, 1, 1, 0])
    assert 990 in last.dataset.starts and 990 not in last.dataset.starts[last.indices]


@pytest.mark.parametrize(
    ("name", "file"), [("charlm", "tinyshakespeare"), ("forecast", "sunspots")]
)
def test_missing_data_are_named(name, file, tmp_path, capsys):
    assert main(["demo", name, "--out", str(tmp_path)]) == 1
    assert "needs --data DIR" in capsys.readouterr().err
    assert main(["demo", name, "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert file in error and "it can be had at https://" in error
