"""Averaged weights, logs, the rate finder, folds, class weights and the later metrics."""

import json
import math
import struct

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import data, nn, optim, train
from gradsmith.train.callbacks.tensorboard import crc32c, encode_event
from gradsmith.train.metrics import (
    AUC,
    AveragePrecision,
    MeanSquaredError,
    Perplexity,
    R2Score,
    RootMeanSquaredError,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)


def build(seed=0, lr=0.05, **options):
    gs.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr, momentum=0.9)
    options.setdefault("progress", False)
    return train.Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)


def state(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


# -- averages of weights ---------------------------------------------------------------------------


def test_weight_average():
    model = nn.BatchNorm1d(1)
    average = train.WeightAverage(model, decay=0.5, warmup=False)
    for value in (2.0, 4.0):
        nn.init.constant_(model.weight, value)
        model.num_batches_tracked.add_(1)
        average.update()
    # 1 -> 1.5 -> 2.75
    with average.applied():
        assert model.weight.item() == 2.75 and model.num_batches_tracked.item() == 2
    assert model.weight.item() == 4.0
    warm = train.WeightAverage(model, decay=0.999)
    nn.init.constant_(model.weight, 0.0)
    warm.update()
    assert warm.weights["weight"].item() == pytest.approx(4 * 2 / 11)
    with pytest.raises(ValueError, match="decay must lie in"):
        train.EMA(1.0)


def test_ema_validates_the_average_and_resumes(tmp_path):
    class Spy(train.Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, trainer, logs):
            self.seen.append(state(trainer.model))

    spy, ema = Spy(), train.EMA(0.9)
    whole = build(callbacks=[ema, spy])
    history = whole.fit((X, Y), (X, Y), epochs=4, batch_size=16)
    averaged = {name: tensor.numpy() for name, tensor in ema.average.weights.items()}
    assert same(state(whole.model), averaged) and not same(spy.seen[-1], averaged)
    measured = whole.evaluate((X, Y), batch_size=256)
    assert measured["loss"] == history.last["val_loss"]

    plain = build()  # the average changes nothing of the training itself
    plain.fit((X, Y), epochs=4, batch_size=16)
    assert same(state(plain.model), spy.seen[-1])

    broken = build(callbacks=[train.EMA(0.9), train.Checkpoint(tmp_path / "c")])
    broken.fit((X, Y), (X, Y), epochs=2, batch_size=16)
    resumed = build(9, callbacks=[train.EMA(0.9)])
    resumed.fit((X, Y), (X, Y), epochs=4, batch_size=16, resume=tmp_path / "c")
    assert same(state(resumed.model), averaged)


@pytest.mark.parametrize("saved", [False, True])
def test_training_goes_on_after_the_average_was_applied(tmp_path, saved):
    def loader():
        return data.DataLoader(data.TensorDataset(X, Y), 16, shuffle=True, generator=3)

    whole = build(callbacks=[train.EMA(0.9)])
    whole.fit(loader(), (X, Y), epochs=4)
    trainer, batches = build(callbacks=[train.EMA(0.9)]), loader()
    trainer.fit(batches, (X, Y), epochs=2)
    if saved:
        trainer.save_checkpoint(tmp_path / "after")
        averaged, trainer = state(trainer.model), build(9, callbacks=[train.EMA(0.9)])
        batches = loader()
        trainer.load_checkpoint(tmp_path / "after")
        assert same(state(trainer.model), averaged)
        trainer.save_checkpoint(tmp_path / "again")  # before any fit has made use of it
        trainer.load_checkpoint(tmp_path / "again")
    trainer.fit(batches, (X, Y), epochs=4)
    assert same(state(trainer.model), state(whole.model))
    assert trainer.history.rows[-1]["loss"] == whole.history.rows[-1]["loss"]


def test_weights_given_after_the_average_was_applied_are_kept():
    trainer = build(callbacks=[train.EMA(0.9)])
    trainer.fit((X, Y), epochs=1, batch_size=16)
    for param in trainer.model.parameters():
        nn.init.zeros_(param)
    trainer.fit((X, Y), epochs=1, batch_size=16)  # no epoch is left
    averaged = trainer.callbacks[0].average.weights
    trained = trainer.callbacks[0]._trained
    assert not any(trained[name].numpy().any() for name, _ in trainer.model.named_parameters())
    assert same(state(trainer.model), {name: tensor.numpy() for name, tensor in averaged.items()})


def test_an_average_of_another_model_is_refused():
    average = train.EMA(0.9)
    average.load_state_dict({})  # nothing before any fit
    build(callbacks=[average]).fit((X, Y), epochs=1, batch_size=16)
    other = train.WeightAverage(nn.Linear(2, 2))
    state_of = train.WeightAverage(nn.Linear(2, 1)).state_dict()
    with pytest.raises(ValueError, match="does not fit the model at bias, weight"):
        other.load_state_dict(state_of)


def test_an_average_begins_anew_with_another_model():
    ema = train.EMA(0.9)
    build(callbacks=[ema]).fit((X, Y), epochs=1, batch_size=16)
    found = []
    for callback in (train.EMA(0.9), ema):
        trainer = build(9, callbacks=[callback])
        trainer.fit((X, Y), epochs=1, batch_size=16)
        found.append(state(trainer.model))
    assert same(*found)


def test_the_best_weights_are_those_that_were_validated():
    stop = train.EarlyStopping(patience=0, restore_best=True, mode="max", monitor="val_loss")
    trainer = build(callbacks=[stop, train.EMA(0.9)])
    trainer.fit((X, Y), (X, Y), epochs=5, batch_size=16)  # the loss falls: the first epoch is best
    assert trainer.epoch == 2 and stop.best_epoch == 1
    best = trainer.history.rows[0]["val_loss"]
    assert trainer.evaluate((X, Y), batch_size=256)["loss"] == best


# -- logs ------------------------------------------------------------------------------------------


def test_jsonl_log_of_a_resumed_run(tmp_path):
    log, checkpoint = tmp_path / "log.jsonl", train.Checkpoint(tmp_path / "c", every=2)
    build(callbacks=[train.JSONLLogger(log), checkpoint]).fit((X, Y), epochs=2, batch_size=16)
    log.write_text(log.read_text() + '{"epoch": 3, "loss": 1}\n{"epo')  # a run that crashed
    trainer = build(callbacks=[train.JSONLLogger(log)])
    trainer.fit((X, Y), epochs=3, batch_size=16, resume=tmp_path / "c")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3] and rows == trainer.history.rows
    logger = train.JSONLLogger(log)
    logger.on_fit_start(build())
    logger.on_epoch_end(build(), {"loss": math.nan})
    logger.on_fit_end(build())
    assert log.read_text() == '{"loss": null}\n'


def read_records(path):
    """Check the sums of a file's records; return their contents."""

    def masked(part):
        crc = crc32c(part)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    stream, records = path.read_bytes(), []
    while stream:
        length, sum_of_length = struct.unpack("<QI", stream[:12])
        content = stream[12 : 12 + length]
        assert sum_of_length == masked(stream[:8])
        assert struct.unpack("<I", stream[12 + length : 16 + length])[0] == masked(content)
        records.append(content)
        stream = stream[16 + length :]
    return records


def test_tensorboard(tmp_path):
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the standard
    build(callbacks=[train.TensorBoard(tmp_path)]).fit((X, Y), (X, Y), epochs=2, batch_size=16)
    (path,) = tmp_path.iterdir()
    head, *rows = read_records(path)
    assert head.endswith(b"\x1a\x0dbrain.Event:2") and len(rows) == 2
    assert b"loss/train" in rows[0] and b"accuracy/val" in rows[0] and b"\x02lr" in rows[0]
    # wall_time 1.0, step 300, one value: "a" = 0.5
    expected = bytes.fromhex("09 000000000000f03f 10 ac02 2a 0a 0a08 0a01 61 15 0000003f")
    assert encode_event(1.0, 300, [("a", 0.5)]) == expected


def test_tensorboard_of_numbers_beyond_float32():
    for value, bits in ((1e39, "0000807f"), (-1e300, "000080ff"), (math.inf, "0000807f")):
        assert encode_event(1.0, 0, [("a", value)]).endswith(bytes.fromhex(bits))


def test_history_plot(tmp_path):
    pytest.importorskip("matplotlib")
    trainer = build(callbacks=[train.HistoryPlot(tmp_path / "new" / "curves.png")])
    trainer.fit((X, Y), (X, Y), epochs=2, batch_size=16)
    assert (tmp_path / "new" / "curves.png").stat().st_size > 5000
    assert len(trainer.history.plot(tmp_path / "h.png").axes) == 3  # loss, accuracy, lr
    assert (tmp_path / "h.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="no epochs"):
        train.History().plot()


# -- rates, folds and weights ----------------------------------------------------------------------


def test_rate_finder_leaves_no_trace(tmp_path):
    trainer, untouched = build(), build()
    gs.manual_seed(3)
    found = train.find_lr(trainer, (X, Y), low=1e-4, high=100.0, steps=60, batch_size=16)
    assert 1e-3 < found.suggestion < 5 and len(found.rates) == len(found.losses) <= 60
    assert found.rates[0] == 1e-4 and min(found.losses) < found.losses[0]
    assert same(state(trainer.model), state(untouched.model)) and not trainer.optimizer.state
    assert trainer.optimizer.param_groups[0]["lr"] == 0.05 and trainer.model[0].weight.grad is None
    drawn = gs.rand(3).numpy()
    gs.manual_seed(3)
    np.testing.assert_array_equal(drawn, gs.rand(3).numpy())
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").is_file()
    with pytest.raises(ValueError, match="low must be below high"):
        train.find_lr(trainer, (X, Y), low=1.0, high=0.1)


def test_rate_finder_keeps_the_mode():
    trainer = build()
    trainer.model.eval()
    train.find_lr(trainer, (X, Y), steps=5, batch_size=16)
    assert not any(module.training for module in trainer.model.modules())


def test_k_fold():
    for options in ({}, {"shuffle": False}, {"labels": np.arange(23) % 3}):
        folds = data.k_fold(23, 4, **options)
        held_out = np.concatenate([fold for _, fold in folds])
        assert sorted(held_out.tolist()) == list(range(23))
        assert {fold.size for _, fold in folds} == {5, 6}
        assert all(np.intersect1d(rest, fold).size == 0 for rest, fold in folds)
    assert data.k_fold(6, 3, shuffle=False)[1][1].tolist() == [2, 3]
    labels = np.repeat([0, 1, 2], (20, 10, 5))
    for _, fold in data.k_fold(35, 5, labels=gs.tensor(labels), seed=1):
        assert np.bincount(labels[fold]).tolist() == [4, 2, 1]
    for k in (1, 24, True):
        with pytest.raises(ValueError, match="k must be a whole number in"):
            data.k_fold(23, k)
    with pytest.raises(ValueError, match="2 labels for 23 samples"):
        data.k_fold(23, labels=[0, 1])


def test_cross_validation():
    result = train.cross_validate(build, (X, Y), 3, labels=Y, epochs=8, batch_size=16)
    assert len(result.rows) == 3 and result.mean("accuracy") > 0.7
    accuracies = [row["accuracy"] for row in result.rows]
    assert result.std("accuracy") == pytest.approx(np.std(accuracies, ddof=1))
    assert str(result).startswith("loss ") and "±" in str(result)
    assert len({id(trainer.model) for trainer in result.trainers}) == 3


def test_weights_against_unequal_classes():
    labels = [0, 0, 0, 0, 0, 0, 1, 1, 3]
    weights = data.class_weights(gs.tensor(labels)).numpy()
    np.testing.assert_allclose(weights, [9 / 18, 9 / 6, 0, 9 / 3], rtol=1e-6)
    assert data.class_weights(labels, 6).shape == (6,)
    sampler = data.WeightedRandomSampler(data.sample_weights(labels), 3000, generator=0)
    counts = np.bincount(np.asarray(labels)[list(sampler)])
    assert (np.abs(counts[[0, 1, 3]] - 1000) < 100).all()
    for bad in ([], [-1], [7]):
        with pytest.raises(ValueError, match="class_weights: labels must be classes from 0"):
            data.class_weights(bad, 3)


def test_predict_takes_datasets_too():
    trainer = build()
    whole = trainer.predict(X).numpy()
    dataset = data.TensorDataset(X, Y)
    for inputs in (dataset, data.DataLoader(dataset, 7), data.TensorDataset(X), (X,)):
        np.testing.assert_allclose(trainer.predict(inputs).numpy(), whole, rtol=1e-5, atol=1e-6)


# -- metrics ---------------------------------------------------------------------------------------


def value(metric, *batches):
    for output, target in batches:
        metric.update(gs.tensor(output), gs.tensor(target))
    return metric.compute()


def test_ranking():
    scores, truth = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    assert value(AUC(), (scores, truth)) == 0.75
    assert value(AUC(), (scores[:1], truth[:1]), (scores[1:], truth[1:])) == 0.75
    assert value(AUC(), (np.zeros(4), truth)) == 0.5  # ties count half
    assert value(AveragePrecision(), (scores, truth)) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(value(AUC(), (scores[:2], truth[:2]))) and math.isnan(AUC().compute())
    two = np.column_stack([-scores, scores])
    assert value(AUC(), (two, truth.astype(np.int64))) == 0.75
    with pytest.raises(ValueError, match="must be 0 or 1"):
        value(AUC(), (scores, truth + 1))
    with pytest.raises(ValueError, match="holds NaN"):
        value(AUC(), (scores * np.nan, truth))


def test_ranking_against_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    truth = RNG.integers(0, 2, 200)
    scores = np.round(truth + RNG.normal(size=200), 1)  # with ties
    pair = (scores, truth.astype(np.float64))
    assert value(AUC(), pair) == pytest.approx(sk.roc_auc_score(truth, scores))
    expected = sk.average_precision_score(truth, scores)
    assert value(AveragePrecision(), pair) == pytest.approx(expected)
    logits, classes = RNG.normal(size=(100, 4)), RNG.integers(0, 4, 100)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = sk.roc_auc_score(classes, shares, multi_class="ovr")
    assert value(AUC(), (logits, classes)) == pytest.approx(expected)


def test_regression_and_perplexity():
    output, target = RNG.normal(size=(2, 30)) + 1e3
    parts = ((output[:11], target[:11]), (output[11:], target[11:]))
    mse = np.mean((output - target) ** 2)
    assert value(MeanSquaredError(), *parts) == pytest.approx(mse)
    assert value(RootMeanSquaredError(), *parts) == pytest.approx(math.sqrt(mse))
    assert value(R2Score(), *parts) == pytest.approx(1 - mse / target.var())
    assert value(R2Score(), (target, target)) == 1 and math.isnan(R2Score().compute())
    for metric in (MeanSquaredError(), R2Score()):
        with pytest.raises(ValueError, match="must be alike"):
            value(metric, (output[:, None], target))
    logits, classes = RNG.normal(size=(9, 5)), RNG.integers(0, 5, 9)
    loss = nn.functional.cross_entropy(gs.tensor(logits), gs.tensor(classes)).item()
    assert value(Perplexity(), (logits, classes)) == pytest.approx(math.exp(loss))
    assert value(Perplexity(), (np.zeros((3, 7)), np.array([0, -100, 3]))) == pytest.approx(7)


def test_metrics_by_name():
    metrics = ("auc", "perplexity", "average_precision")
    trainer = build(metrics=metrics)
    seen = []

    class Spy(train.Callback):
        def on_batch_end(self, trainer, logs):
            seen.append("auc" in logs)

    trainer.callbacks.append(Spy())
    history = trainer.fit((X, Y), (X, Y), epochs=2, batch_size=16)
    assert seen == [False, False, False, True] * 2  # what takes long, once an epoch
    assert history.last["val_auc"] > 0.7 and history.last["perplexity"] < 3
    regression = train.Trainer(
        nn.Linear(4, 1), nn.MSELoss(), trainer.optimizer, metrics=("mse", "rmse", "mae", "r2")
    )
    assert regression.evaluate((X, Y[:, None].astype(np.float32)))["rmse"] > 0
    assert train.EarlyStopping("val_auc").mode == "max"
    assert train.EarlyStopping("val_rmse").mode == "min"
