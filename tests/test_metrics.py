"""Metrics, history and what callbacks make of them."""

import csv
import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim, train
from gradsmith.train.history import History
from gradsmith.train.metrics import (
    AUC,
    F1,
    Accuracy,
    ConfusionMatrix,
    MeanAbsoluteError,
    TopKAccuracy,
)

SCORES = gs.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0], [1.0, 0.0, 0.5]])


def value(metric, output, target):
    metric.update(output, target)
    return metric.compute()


def test_accuracy():
    assert value(Accuracy(), SCORES, gs.tensor([0, 1, 1, 0])) == 0.75
    assert value(TopKAccuracy(2), SCORES, gs.tensor([2, 2, 1, 1])) == 0.5
    assert math.isnan(Accuracy().compute())


def test_probabilities_are_cut_at_a_half():
    """A Trainer with BCELoss says so to the metrics that it is asked for by name."""
    inputs = gs.tensor([[0.1], [0.4], [0.6], [0.9]])
    labels = gs.tensor([[0.0], [0.0], [1.0], [1.0]])
    names = ["accuracy", "f1", "precision", "recall", "confusion", "auc"]
    model = nn.Sequential(nn.Identity(), nn.Linear(1, 1))
    with gs.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.fill_(0.0)
    optimizer = optim.SGD(model.parameters(), 0.1)
    trainer = gs.Trainer(model, nn.BCELoss(), optimizer, metrics=names, progress=False)
    measured = trainer.evaluate((inputs, labels))
    assert [measured[name] for name in names] == [1.0] * 6
    assert value(ConfusionMatrix(), inputs, labels) == 0.5  # of logits above 0
    assert value(F1(threshold=0.5), inputs, labels) == 1.0


def test_accuracy_along_positions():
    output = SCORES.reshape(2, 2, 3).permute(0, 2, 1)  # (N, C, L)
    assert value(Accuracy(), output, gs.tensor([[0, 1], [1, 0]])) == 0.75
    assert value(TopKAccuracy(2), output, gs.tensor([[2, 2], [1, 1]])) == 0.5


def test_one_logit_per_sample():
    logits, target = gs.tensor([2.0, -1.0, 0.3, -4.0]), gs.tensor([1.0, 0.0, 0.0, 0.0])
    assert value(Accuracy(), logits, target) == 0.75
    assert value(Accuracy(threshold=0.5), logits.sigmoid(), target) == 0.75
    assert value(ConfusionMatrix(), logits, target) == 0.75
    with pytest.raises(ValueError, match="one logit per sample takes the target's shape"):
        Accuracy().update(logits.reshape(4, 1), target)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Accuracy().update(logits, gs.tensor([0.5, 1.5, 2.5, 3.5]))
    with pytest.raises(ValueError, match="class numbers, got float32"):
        Accuracy().update(SCORES, target)


def test_ignored_and_impossible_targets():
    target = gs.tensor([0, -100, 1, -100])
    assert value(Accuracy(), SCORES, target) == 0.5
    assert value(TopKAccuracy(1), SCORES, target) == 0.5
    matrix = ConfusionMatrix()
    assert value(matrix, SCORES, target) == 0.5 and matrix.matrix.sum() == 2
    assert value(F1(ignore_index=7), SCORES, gs.tensor([0, 7, 2, 7])) == 1
    for metric in (Accuracy(), TopKAccuracy(2), ConfusionMatrix()):
        with pytest.raises(ValueError, match="target -1 is outside of the 3 classes"):
            metric.update(SCORES, gs.tensor([0, -1, 1, 2]))
    with pytest.raises(ValueError, match="has 3 classes, expected 2"):
        ConfusionMatrix(2).update(SCORES, gs.tensor([0, 1, 1, 0]))


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: TopKAccuracy(1.5), TypeError, "TopKAccuracy: k must be an int, got float"),
        (lambda: TopKAccuracy(0), ValueError, "TopKAccuracy: k must be at least 1, got 0"),
        (lambda: ConfusionMatrix("x"), TypeError, "ConfusionMatrix: num_classes must be an int"),
        (lambda: F1(num_classes=0), ValueError, "F1: num_classes must be at least 1, got 0"),
        (lambda: Accuracy(threshold="x"), TypeError, "Accuracy: threshold must be a number"),
        (lambda: AUC(ignore_index=0.5), TypeError, "AUC: ignore_index must be an int"),
    ],
)
def test_settings_are_checked(build, error, text):
    with pytest.raises(error, match=text):
        build()


def test_nan_is_never_right():
    output = gs.full((4, 3), math.nan)
    assert value(Accuracy(), output, gs.tensor([0, 0, 0, 0])) == 0
    assert value(TopKAccuracy(2), output, gs.tensor([0, 0, 0, 0])) == 0
    assert value(Accuracy(), gs.full((2,), math.nan), gs.tensor([0, 1])) == 0
    with pytest.raises(ValueError, match="output holds NaN"):
        ConfusionMatrix().update(output, gs.tensor([0, 0, 0, 0]))


def test_metrics_follow_the_loss():
    def metrics(loss, **given):
        model = nn.Linear(2, 2)
        trainer = gs.Trainer(model, loss, optim.SGD(model.parameters(), 0.1), **given)
        return [metric.name for metric in trainer.metrics]

    assert metrics(nn.CrossEntropyLoss()) == ["accuracy"]
    assert metrics(nn.MSELoss()) == []
    assert metrics(nn.MSELoss(), metrics=["mae"]) == ["mae"]
    assert value(MeanAbsoluteError(), gs.ones(3), gs.zeros(3)) == 1


@pytest.mark.parametrize(
    ("loss", "classes", "target"),
    [
        (nn.CrossEntropyLoss(), 3, SCORES.softmax(1)),
        (nn.BCEWithLogitsLoss(), 1, gs.tensor([[0.9], [0.1], [0.9], [0.1]])),
        (nn.BCEWithLogitsLoss(), 3, (SCORES > 1).float()),
    ],
)
def test_soft_targets_in_training(loss, classes, target):
    model = nn.Linear(classes, classes, bias=False)
    with gs.no_grad():
        model.weight.copy_(gs.eye(classes))
    inputs = SCORES if classes == 3 else gs.tensor([[2.0], [-2.0], [-2.0], [-2.0]])
    trainer = gs.Trainer(model, loss, optim.SGD(model.parameters(), 0.1), progress=False)
    expected = {3: 1.0, 1: 0.75}[classes]
    if isinstance(loss, nn.BCEWithLogitsLoss) and classes == 3:
        expected = float(((SCORES > 0) == (SCORES > 1)).float().mean().item())
    assert trainer.evaluate((inputs, target))["accuracy"] == pytest.approx(expected)


def test_history_with_and_without_validation():
    history = History()
    history.rows += [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_loss": 3.0}]
    np.testing.assert_array_equal(history["val_loss"], [math.nan, 3.0])
    with pytest.raises(KeyError, match="no 'mae'; it has epoch, loss, val_loss"):
        history["mae"]


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val_loss", "min"),
        ("val_mae", "min"),
        ("val_mse", "min"),
        ("val_error", "min"),
        ("perplexity", "min"),
        ("val_accuracy", "max"),
        ("val_top5", "max"),
        ("f1", "max"),
    ],
)
def test_mode_from_the_name(monitor, mode):
    assert train.EarlyStopping(monitor).mode == mode


def test_a_torn_line_of_the_log(tmp_path):
    model = nn.Linear(2, 1)
    path = tmp_path / "log.csv"

    def trainer():
        return gs.Trainer(
            model,
            nn.MSELoss(),
            optim.SGD(model.parameters(), 0.1),
            callbacks=[train.CSVLogger(path), train.Checkpoint(tmp_path / "state")],
            progress=False,
        )

    data = (gs.randn(8, 2), gs.randn(8, 1))
    trainer().fit(data, epochs=2)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:3]]))  # as a crash leaves it
    trainer().fit(data, epochs=3, resume=tmp_path / "state")
    with path.open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "3"]


def test_predict_takes_a_list_of_rows():
    model = nn.Linear(2, 1)
    rows = [[1.0, 2.0], [3.0, 4.0]]
    assert (
        train.predict(model, rows).numpy() == train.predict(model, gs.tensor(rows)).numpy()
    ).all()
