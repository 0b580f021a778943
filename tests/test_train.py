"""Trainer, metrics, callbacks, and the promise that a resumed run equals the unbroken one."""

import csv
import io
import math
import os
from unittest.mock import Mock

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim, train
from gradsmith.optim import lr_scheduler
from gradsmith.train import metrics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = (X @ RNG.normal(size=(6, 3))).argmax(1)
HELD_OUT = (X[:30], Y[:30])


class Dies(train.Callback):
    """Presses Ctrl-C after some batches."""

    def __init__(self, batches):
        self.left = batches
        self.events = []

    def on_batch_end(self, trainer, logs):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_interrupt(self, trainer):
        self.events.append("interrupt")

    def on_fit_end(self, trainer):
        self.events.append("end")


def net():
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    )


def build(seed=0, scheduled="epoch", **options):
    gs.manual_seed(seed)
    model = net()
    optimizer = optim.AdamW(model.parameters(), 0.02)
    if scheduled == "epoch":
        options["scheduler"] = lr_scheduler.CosineAnnealingLR(optimizer, 6)
    elif scheduled == "batch":
        options["scheduler"] = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=6 * 6)
    elif scheduled == "plateau":
        options["scheduler"] = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    options.setdefault("progress", False)
    return train.Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)


def weights(trainer):
    return [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]


def numbers(trainer):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")}
        for row in trainer.history.rows
    ]


@pytest.mark.parametrize("ignored", [False, True])
def test_loss_does_not_depend_on_the_batch_size(ignored):
    """Batches count by what their loss is a mean of: weights of classes, targets not ignored."""
    target = Y.copy()
    weight = gs.tensor([1.0, 5.0, 0.5])
    if ignored:
        target[:10] = -100
        weight = None
    trainer = build()
    trainer.loss = nn.CrossEntropyLoss(weight=weight)
    losses = [trainer.evaluate((X, target), batch_size=size)["loss"] for size in (4, 10, len(X))]
    assert losses == pytest.approx([losses[-1]] * 3, rel=1e-6)


def test_learns_and_reports():
    trainer = build(metrics=("accuracy", "top2", "f1"))
    history = trainer.fit((X, Y), HELD_OUT, epochs=6, batch_size=16)
    assert len(history) == 6 and history.last["epoch"] == 6
    assert history["loss"][-1] < history["loss"][0] and history["val_accuracy"][-1] > 0.8
    assert history["lr"][0] == 0.02 > history["lr"][-1] > 0
    assert set(history.last) == {
        "epoch", "loss", "accuracy", "top2", "f1", "val_loss", "val_accuracy", "val_top2",
        "val_f1", "lr", "seconds", "samples_per_second",
    }  # fmt: skip
    measured = trainer.evaluate(HELD_OUT)
    assert measured["accuracy"] == history.last["val_accuracy"] and trainer.model.training
    outputs = trainer.predict(X[:30], batch_size=7)
    assert outputs.shape == (30, 3) and not outputs.requires_grad
    assert (outputs.numpy().argmax(1) == Y[:30]).mean() == pytest.approx(measured["accuracy"])
    with pytest.raises(KeyError, match="history has no 'x'; it has epoch, loss"):
        history["x"]


@pytest.mark.parametrize("scheduled", ["epoch", "batch", "plateau"])
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_equals_unbroken_run(tmp_path, scheduled, workers):
    def noise(batch, rng):
        x, y = batch
        return x + gs.tensor(rng.normal(size=tuple(x.shape)).astype(np.float32)), y

    def data():
        dataset = gs.data.TensorDataset(X, Y)
        loader = gs.data.DataLoader(dataset, 16, shuffle=True, num_workers=workers, transform=noise)
        return loader, HELD_OUT

    options = {"scheduled": scheduled, "clip_grad_norm": 1.0, "accumulate": 2}
    whole = build(callbacks=[train.EarlyStopping(patience=9, restore_best=True)], **options)
    whole.fit(*data(), epochs=6)

    def callbacks(*more):
        checkpoint = train.Checkpoint(tmp_path / "c")
        return [checkpoint, train.EarlyStopping(patience=9, restore_best=True), *more]

    dies = Dies(3 * 6 + 2)  # in the fourth epoch
    broken = build(callbacks=callbacks(dies), **options)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(*data(), epochs=6)
    assert dies.events == ["interrupt", "end"] and broken.epoch == 3

    resumed = build(seed=99, callbacks=callbacks(), **options)
    gs.rand(5)
    resumed.fit(*data(), epochs=6, resume=tmp_path / "c")
    assert numbers(resumed) == numbers(whole)
    assert weights(resumed) == weights(whole)


def test_same_seed_same_run():
    runs = []
    for _ in range(2):
        trainer = build(seed=5)
        trainer.fit((X, Y), epochs=3, batch_size=16)
        runs.append((weights(trainer), numbers(trainer)))
    assert runs[0] == runs[1]


def test_accumulation_equals_a_larger_batch():
    def run(batch_size, accumulate):
        gs.manual_seed(0)
        model = nn.Linear(6, 3)
        optimizer = optim.SGD(model.parameters(), 0.1)
        trainer = train.Trainer(
            model, nn.CrossEntropyLoss(), optimizer, accumulate=accumulate, progress=False
        )
        trainer.fit((X[:72], Y[:72]), epochs=2, batch_size=batch_size, shuffle=False)
        return model.weight.detach().numpy()

    np.testing.assert_allclose(run(24, 1), run(8, 3), rtol=1e-5, atol=1e-6)


def test_short_last_group_still_steps():
    trainer = build(accumulate=4)
    trainer.fit((X, Y), epochs=1, batch_size=16)  # 6 batches: groups of 4 and 2
    assert {state["step"] for state in trainer.optimizer.state.values()} == {2}


def test_clipping_limits_the_step():
    gs.manual_seed(0)
    model = nn.Linear(6, 3)
    before = model.weight.detach().numpy().copy()
    trainer = train.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.SGD(model.parameters(), 1.0),
        clip_grad_norm=1e-3,
        clip_grad_value=0.5,
        progress=False,
    )
    trainer.fit((X, Y), epochs=1, batch_size=90)
    assert np.linalg.norm(model.weight.detach().numpy() - before) <= 1.001e-3


@pytest.mark.parametrize(("mode", "threshold"), [("min", 1e9), ("max", 0.0)])
def test_early_stopping_at_a_value_that_is_good_enough(mode, threshold):
    def epochs(threshold):
        stop = train.EarlyStopping("val_loss", mode=mode, patience=9, threshold=threshold)
        trainer = build(callbacks=[stop])
        return len(trainer.fit((X, Y), HELD_OUT, epochs=3, batch_size=16))

    assert epochs(threshold) == 1
    assert epochs(1e9 - threshold) == 3
    assert epochs(None) == 3


def test_early_stopping_restores_the_best(tmp_path):
    stop = train.EarlyStopping("val_accuracy", patience=1, min_delta=2.0, restore_best=True)
    trainer = build(callbacks=[stop, train.Checkpoint(tmp_path / "{epoch}")])
    trainer.fit((X, Y), HELD_OUT, epochs=9, batch_size=16)
    assert stop.mode == "max" and len(trainer.history) == 3 and stop.best_epoch == 1
    best = gs.load(tmp_path / "1")["model"]
    for name, tensor in trainer.model.state_dict().items():
        assert (tensor.numpy() == best[name].numpy()).all(), name
    again = build(callbacks=[train.EarlyStopping("val_accuracy", patience=1)])
    again.fit((X, Y), HELD_OUT, epochs=9, resume=tmp_path / "3")
    assert len(again.history) == 3  # it had stopped
    trainer.fit((X, Y), HELD_OUT, epochs=9)  # asked for again, it goes on
    assert len(trainer.history) == 4
    with pytest.raises(ValueError, match="no 'val_x' in the logs; available: epoch, loss"):
        build(callbacks=[train.EarlyStopping("val_x", mode="min")]).fit((X, Y), epochs=1)
    with pytest.raises(ValueError, match="whether 'val_x' should fall or rise is not known"):
        train.EarlyStopping("val_x")


def test_checkpoint_files(tmp_path):
    every = train.Checkpoint(tmp_path / "new" / "e{epoch}", every=2)
    best = train.Checkpoint(tmp_path / "best", monitor="loss", save_best_only=True)
    trainer = build(callbacks=[every, best])
    trainer.fit((X, Y), epochs=5, batch_size=32)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["e2", "e4", "e5"]
    assert best.best == min(trainer.history["loss"]) and best.last_saved == str(tmp_path / "best")
    state = gs.load(tmp_path / "new" / "e2")
    assert state["epoch"] == 2 and len(state["history"]) == 2


def test_checkpoint_of_something_else_is_refused(tmp_path):
    gs.save({"weights": gs.ones(2)}, tmp_path / "c")
    with pytest.raises(ValueError, match="no checkpoint of a Trainer"):
        build().fit((X, Y), resume=tmp_path / "c")
    gs.save(gs.ones(2), tmp_path / "c")
    with pytest.raises(ValueError, match="no checkpoint of a Trainer"):
        build().load_checkpoint(tmp_path / "c")
    gs.save({"format": 7}, tmp_path / "c")
    with pytest.raises(ValueError, match="format must be 1, got 7"):
        build().load_checkpoint(tmp_path / "c")
    gs.save({"format": 1}, tmp_path / "c")
    with pytest.raises(ValueError, match=r"it does not fit: 'scheduler' is missing \(in .*c\)"):
        build().load_checkpoint(tmp_path / "c")
    gs.save(build().state_dict() | {"history": 5}, tmp_path / "c")
    with pytest.raises(ValueError, match=r"it does not fit: .*iterable.*\(in .*c\)"):
        build().load_checkpoint(tmp_path / "c")
    build().save_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match="only one of checkpoint and trainer has a scheduler"):
        build(scheduled=None).load_checkpoint(tmp_path / "c")


def test_a_checkpoint_that_does_not_fit_changes_nothing():
    trainer, other = build(seed=1), build(seed=2)
    trainer.fit((X, Y), epochs=1)
    other.fit((X, Y), epochs=2)
    state = other.state_dict()
    state["optimizer"]["state"][0] = {"exp_avg": gs.ones(99)}
    before, optimizer = weights(trainer), trainer.optimizer.state_dict()
    with pytest.raises(ValueError, match=r"exp_avg.*\(99,\)"):
        trainer.load_state_dict(state)
    assert weights(trainer) == before
    assert trainer.epoch == 1
    now = trainer.optimizer.state_dict()
    assert now["state"][0]["step"] == optimizer["state"][0]["step"]
    assert now["state"][0]["exp_avg"].tolist() == optimizer["state"][0]["exp_avg"].tolist()


def test_csv_log_of_a_resumed_run(tmp_path):
    path = tmp_path / "logs" / "log.csv"

    def callbacks():
        return [train.CSVLogger(path), train.Checkpoint(tmp_path / "c{epoch}")]

    build(callbacks=callbacks()).fit((X, Y), epochs=4)
    build(callbacks=callbacks()).fit((X, Y), epochs=5, resume=tmp_path / "c2")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert float(rows[0]["loss"]) > 0


def test_csv_log_takes_columns_that_come_later(tmp_path):
    path = tmp_path / "log.csv"
    trainer = build(callbacks=[train.CSVLogger(path)])
    trainer.fit((X, Y), epochs=2)
    trainer.fit((X, Y), HELD_OUT, epochs=4)
    trainer.fit((X, Y), epochs=5)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [bool(row["val_loss"]) for row in rows] == [False, False, True, True, False]
    assert all(float(row["loss"]) > 0 for row in rows)
    # The new file comes whole: where it cannot be written, the old one stays.
    logger, before = train.CSVLogger(path, append=True), path.read_text()
    logger.on_fit_start(trainer)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, "replace", Mock(side_effect=OSError("disk full")))
        logger.on_epoch_end(trainer, {"epoch": 6, "other": 1.0})
    logger.on_fit_end(trainer)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("style", ["plain", "tqdm", "rich", "auto"])
def test_progress(style):
    if style in ("tqdm", "rich"):
        pytest.importorskip(style)
    stream = io.StringIO()
    trainer = build(callbacks=[train.Progress(style, stream)])
    trainer.fit((X, Y), HELD_OUT, epochs=2, batch_size=16)
    text = stream.getvalue()
    assert "epoch 2/2  loss " in text and "val_accuracy" in text and "samples/s" in text
    dies = build(callbacks=[train.Progress(style, stream), Dies(8)])
    with pytest.raises(KeyboardInterrupt):
        dies.fit((X, Y), epochs=2, batch_size=16)
    assert "interrupted after 1 of 2 epochs" in stream.getvalue()


def test_checkpoint_names(tmp_path):
    best = train.Checkpoint(tmp_path / "{epoch}-{loss:.2f}.st")
    trainer = build(callbacks=[best])
    trainer.fit((X, Y), epochs=1)
    assert best.last_saved == str(tmp_path / f"1-{trainer.history.last['loss']:.2f}.st")
    with pytest.raises(ValueError, match=r"Checkpoint: path .*'val_loss'; there are .*loss"):
        build(callbacks=[train.Checkpoint(tmp_path / "{val_loss}")]).fit((X, Y), epochs=1)


@pytest.mark.parametrize("epochs", [1.5, -1, True, None])
def test_epochs_are_counted(epochs):
    with pytest.raises(ValueError, match="fit: epochs must be a whole number"):
        build().fit((X, Y), epochs=epochs)


def test_a_loss_that_explodes_is_reported():
    trainer = build()
    trainer.loss = lambda output, target: nn.functional.cross_entropy(output, target) * math.inf
    with pytest.raises(FloatingPointError, match="loss is inf in epoch 1, batch 1; lower the"):
        trainer.fit((X, Y))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: build(metrics=("acc",)), ValueError, "'acc' is not known"),
        (lambda: build(metrics=("f1", "f1")), ValueError, "share a name"),
        (lambda: build(accumulate=0), ValueError, "accumulate must be a positive int"),
        (lambda: build(schedule_per="step"), ValueError, "epoch or batch, got 'step'"),
        (lambda: train.Trainer(1, 2, 3), TypeError, "model must be a Module, got int"),
        (lambda: train.Trainer(net(), 2, 3), TypeError, "loss must be callable"),
        (lambda: train.Trainer(net(), len, 3), TypeError, "optimizer must be an Optimizer"),
        (
            lambda: build(scheduled=None, scheduler="x"),
            TypeError,
            r"scheduler must have a step\(\), got str",
        ),
        (lambda: build(clip_grad_norm="x"), TypeError, "clip_grad_norm must be a number, got str"),
        (lambda: build(clip_grad_value=-1.0), ValueError, "clip_grad_value must not be negative"),
        (lambda: build(callbacks=["x"]), TypeError, r"callbacks must be .*, got \['x'\]"),
        (lambda: build(metrics=[3]), TypeError, "metrics: must be names and Metrics, got int"),
        (lambda: build(metrics=3), TypeError, "metrics: must be names and Metrics, got int"),
        (lambda: build().fit((X, Y[:5])), ValueError, "first sizes must be equal"),
        (lambda: build().fit((X[:0], Y[:0])), ValueError, "train has no batches"),
        (lambda: build().fit(3), TypeError, "got int"),
        (lambda: build().fit((X,)), TypeError, "a batch must be a sequence"),
        (lambda: build().evaluate((X[:0], Y[:0])), ValueError, "no samples"),
        (lambda: build().predict(X[:0]), ValueError, "no samples"),
        (lambda: train.EarlyStopping(patience=-1), ValueError, "patience"),
        (lambda: train.EarlyStopping(patience=1.5), TypeError, "patience must be an int"),
        (lambda: train.EarlyStopping(min_delta=math.nan), ValueError, "min_delta must be finite"),
        (lambda: train.EarlyStopping(monitor=3), TypeError, "monitor must be a str, got int"),
        (lambda: train.Checkpoint("x", every=0), ValueError, "every"),
        (lambda: train.Progress("loud"), ValueError, "style must be"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()


def value(metric, output, target, parts=3):
    metric.reset()
    for o, t in zip(np.array_split(output, parts), np.array_split(target, parts), strict=True):
        metric.update(gs.tensor(o), gs.tensor(t))
    return metric.compute()


def test_metrics():
    output = np.random.default_rng(1).normal(size=(50, 4))
    target = np.random.default_rng(2).integers(0, 4, 50)
    predicted = output.argmax(1)
    assert value(metrics.Accuracy(), output, target) == pytest.approx((predicted == target).mean())
    second = np.argsort(-output, axis=1)[:, :2]
    expected = (second == target[:, None]).any(1).mean()
    assert value(metrics.TopKAccuracy(2), output, target) == pytest.approx(expected)
    assert value(metrics.MeanAbsoluteError(), output, output * 0) == pytest.approx(
        abs(output).mean()
    )
    confusion = metrics.ConfusionMatrix()
    value(confusion, output, target)
    assert confusion.matrix.sum() == 50
    assert confusion.matrix[1, 2] == ((target == 1) & (predicted == 2)).sum()
    assert math.isnan(metrics.Accuracy().compute()) and math.isnan(metrics.F1().compute())
    binary = value(metrics.Accuracy(), np.array([-1.0, 2.0, 3.0]), np.array([0, 1, 0]))
    assert binary == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="one more axis"):
        value(metrics.Accuracy(), output, output[:, :2])
    sklearn = pytest.importorskip("sklearn.metrics")
    for ours, theirs in (
        (metrics.F1, sklearn.f1_score),
        (metrics.Precision, sklearn.precision_score),
        (metrics.Recall, sklearn.recall_score),
    ):
        for average in ("macro", "micro"):
            expected = theirs(target, predicted, average=average)
            assert value(ours(average), output, target) == pytest.approx(expected)
