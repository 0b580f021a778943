"""The examples on tables, prices, reviews and letters, end to end on generated data."""

import datetime
import importlib.util
import json
import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.__main__ import main
from gradsmith.examples import _binary, finance, sentiment, seq2seq

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib", "rich")),
    reason="needs the packages of gradsmith[demo]",
)


def write_rows(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def write_tables(folder, rng):
    tables = folder / "tabular"
    bad = rng.random(150) < 0.4
    grades = np.clip(rng.integers(1, 6, (150, 9)) + 4 * bad[:, None], 1, 10).tolist()
    grades[3][5] = "?"
    rows = [[*row, 4 if b else 2] for row, b in zip(grades, bad, strict=True)]
    write_rows(tables / "breast-cancer-wisconsin.csv", rows)
    rare = np.arange(400) % 10 == 0
    values = (rng.normal(size=(400, 6)) + 2 * rare[:, None]).round(4).tolist()
    rows = [[*row, "'1'" if r else "'-1'"] for row, r in zip(values, rare, strict=True)]
    write_rows(tables / "mammography.csv", rows)
    values = (rng.normal(size=(150, 4)) + 2 * bad[:, None]).round(4).tolist()
    rows = [[*row, int(b)] for row, b in zip(values, bad, strict=True)]
    write_rows(tables / "banknote_authentication.csv", rows)
    rows = [[f"A1{rng.integers(1, 5)}", rng.integers(6, 48), f"A3{2 * b}", 1 + b] for b in bad]
    write_rows(tables / "german.csv", rows)


def write_prices(folder, rng):
    days = [datetime.date(2015, 1, 1) + datetime.timedelta(i) for i in range(160)]
    walks = np.exp(np.cumsum(rng.normal(0, 0.01, (3, 160)), 1)).round(5)
    rows = [["", "Date", "AdjClose", "Stock"]]
    for name, walk, size in zip(("ONE", "TWO"), walks, (160, 100), strict=False):
        rows += [[i, days[i], walk[i], name] for i in reversed(range(size))]  # the latest first
    write_rows(folder / "timeseries" / "dash-stock-ticker-demo.csv", rows)
    rows = [["Date", "AAPL.Adjusted"], *zip(days, walks[2], strict=True)]
    write_rows(folder / "timeseries" / "finance-charts-apple.csv", rows)


def write_reviews(folder, rng):
    (folder / "text").mkdir()
    for kind, word in (("neg", "dull"), ("pos", "fine")):
        words = rng.choice(["a", "film", "that", "is", "very", "tries", word], (60, 9))
        lines = "".join(" ".join(row[: rng.integers(1, 10)]) + " .\n" for row in words)
        (folder / "text" / f"rt-polarity.{kind}").write_text(lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    write_tables(folder, rng)
    write_prices(folder, rng)
    write_reviews(folder, rng)
    return folder


@pytest.mark.parametrize(
    ("name", "models", "rows"),
    [
        ("diagnosis", ["diagnosis", "mammography"], 26),
        ("fraud", ["fraud"], 21),
        ("finance", ["finance"], 30),
        ("sentiment", ["cnn", "lstm"], 4),
        ("seq2seq", ["dates", "numbers"], 4),
    ],
)
def test_example(name, models, rows, data, tmp_path, capsys):
    assert main(["demo", name, "--quick", "--data", str(data), "--out", str(tmp_path)]) == 0
    assert "mean ± spread" in capsys.readouterr().out
    folder = tmp_path / name
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert record["quick"] and len(record["rows"]) == rows
    assert all(math.isfinite(value) for row in record["rows"] for value in row["values"])
    pictures = list(folder.glob("*.png"))
    assert pictures and all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    for model in models:
        assert gs.load(folder / f"{model}.safetensors")


def test_diagnosis_needs_no_data(tmp_path):
    assert main(["demo", "diagnosis", "--quick", "--out", str(tmp_path)]) == 0
    assert gs.load(tmp_path / "diagnosis" / "diagnosis.safetensors")


@pytest.mark.parametrize("name", ["diagnosis", "fraud", "finance", "sentiment"])
def test_missing_data(name, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    if name != "diagnosis":
        assert main(["demo", name, *out]) == 1
        assert "needs --data DIR" in capsys.readouterr().err
    assert main(["demo", name, "--data", str(tmp_path), *out]) == 1
    assert f"neither {tmp_path} nor" in capsys.readouterr().err


def test_threshold_and_reliability():
    chance = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    labels = np.array([0, 0, 1, 0, 1, 1])
    assert _binary.costs(chance, labels, 0.5, 3.0).tolist() == [0, 0, 3, 0, 0, 0]
    assert 0.2 < _binary.cheapest_threshold(chance, labels, miss=3.0) < 0.3
    assert 0.4 < _binary.cheapest_threshold(chance, labels, miss=0.5) < 0.8
    predicted, observed = _binary.reliability(chance, labels, bins=2)
    np.testing.assert_allclose(predicted, [0.2, 0.7])
    np.testing.assert_allclose(observed, [1 / 3, 2 / 3])
    assert _binary.auc(chance, labels) == pytest.approx(8 / 9)


def test_no_forecast_sees_its_day():
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    share = finance.Share(days, np.arange(60.0))
    past, next, on, scale, number = finance.windows([share], np.array([2.0]), days[10], days[40])
    assert on[0] == days[finance.LENGTH] and on[-1] == days[39]
    assert (past[:, -1] * scale < next * scale).all() and (number == 0).all()
    np.testing.assert_allclose(next[:, 0] * 2, share.returns[np.searchsorted(days, on)])
    np.testing.assert_allclose(past[..., -1, 0] * 2 + 1, next[:, 0] * 2)


def test_diebold_mariano():
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(500), 3)
    noise = rng.normal(size=1500)
    assert abs(finance.diebold_mariano(noise, days)) < 3
    assert finance.diebold_mariano(noise + 0.3, days) > 5
    assert finance.diebold_mariano(noise - 0.3, days) < -5


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "zero"),
        (15, "fifteen"),
        (40, "forty"),
        (999, "nine hundred and ninety-nine"),
        (1001, "one thousand and one"),
        (423_605, "four hundred and twenty-three thousand six hundred and five"),
        (100_000, "one hundred thousand"),
    ],
)
def test_numbers_in_words(number, text):
    assert seq2seq.spelled(number) == text


def test_dates_say_what_they_are_translated_to():
    pairs = seq2seq.dates(300, np.random.default_rng(0))
    assert len({answer for _, answer in pairs}) == 300
    for text, answer in pairs:
        day = datetime.date.fromisoformat(answer)
        assert str(day.year) in text and str(day.day) in text
    assert seq2seq.nearest(pairs, [pairs[5][0]]) == [pairs[5][1]]


def test_log_ratios_of_words_and_pairs():
    texts = np.array(["a fine film", "a dull film", "fine , fine", "so dull"], dtype=object)
    ratios = sentiment.log_ratios(texts, np.array([1, 0, 1, 0]), smoothing=1)
    assert ratios["fine"] > 0 > ratios["dull"] and ratios["a", "fine"] > 0
    assert ratios["fine"] - ratios["a"] == pytest.approx(math.log(3))
    vocabulary = gs.data.Vocabulary.from_texts(texts)
    model = sentiment.build("CNN", vocabulary, ratios)
    vectors = dict(zip(vocabulary.tokens, model.embedding.weight.detach().numpy(), strict=True))
    assert vectors["fine"][0] == pytest.approx(ratios["fine"])
    assert not vectors["<pad>"].any() and vectors["<unk>"][0] == 0
