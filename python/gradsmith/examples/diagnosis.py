"""Diagnosis: tumours told apart by cross-validation, and a rare finding at a calibrated threshold.

Breast cancer: 569 biopsies with 30 measured features (Street, Wolberg and Mangasarian, 1993; it
comes with scikit-learn), and with --data also the older table with 9 grades (Wolberg and
Mangasarian, 1990). Tables this small are judged by ten-fold cross-validation.

Mammography (Woods et al., 1993; needs --data): 2.3 % of 11,183 spots are calcifications. Accuracy
says nothing here: "never" is right 97.7 % of the time. Three ways to train are compared: as it is,
with class weights in the loss, and with a sampler that draws both classes equally often. The last
two overstate the odds by a known factor, which is taken back (Elkan, "The foundations of
cost-sensitive learning", 2001). The threshold of the alarm is the cheapest on validation data.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith.data import DataLoader, TableEncoder, TensorDataset, WeightedRandomSampler
from gradsmith.demo.harness import Options, Report, find_data, main
from gradsmith.examples import _binary as binary
from gradsmith.train import EarlyStopping
from gradsmith.train.plotting import new_figure

Array = binary.Array

SOURCE = "the UCI repository, or jbrownlee/Datasets on GitHub"
HIDDEN = (32, 16)
MISS = 20.0  # overlooking a calcification costs as much as so many false alarms


def biopsies_1993() -> TensorDataset:
    """Load scikit-learn's table; class 1 is malignant."""
    from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]

    values, benign = load_breast_cancer(return_X_y=True)
    return TensorDataset(values.astype(np.float32), (1 - benign).astype(np.int64))


def biopsies_1990(path: Path) -> TensorDataset:
    """Load the older table without the rows that lack a value; class 1 is malignant."""
    table = gs.data.read_csv(path, header=False)
    values = np.column_stack(list(table.values()))
    values = values[~np.isnan(values).any(1)]
    return TensorDataset(values[:, :-1].astype(np.float32), (values[:, -1] == 4).astype(np.int64))


def network(inputs: int, hidden: tuple[int, ...]) -> gs.Trainer:
    """Return the trainer of a fresh network.

    Its first layer standardises by the mean and the variance of all batches it was trained on, so
    that nothing of a held-out fold gets into them.
    """
    standardise = nn.BatchNorm1d(inputs, momentum=None, affine=False)
    model = nn.Sequential(standardise, *binary.classifier(inputs, hidden, dropout=0.5))
    return binary.trainer(model, weight_decay=0.1)


def breast_cancer(report: Report, name: str, data: TensorDataset) -> nn.Module:
    """Report and draw the accuracy over ten folds, beside logistic regression's; returns an MLP."""
    options = report.options
    inputs, labels = data.tensors
    figure = new_figure(7, 2.5)
    axes = figure.subplots()
    shown: list[str] = []
    trained: list[nn.Module] = []
    for place, (model, hidden) in enumerate((("MLP", (64,)), ("logistic regression", ()))):
        means = []
        for seed in options.seed_range(5):
            gs.manual_seed(seed)
            result = gs.train.cross_validate(
                functools.partial(network, inputs.shape[1], hidden),
                data,
                k=3 if options.quick else 10,
                labels=labels,
                seed=seed,
                epochs=1 if options.quick else 30,
                batch_size=40,
            )
            print(f"{name}, {model}, seed {seed}: {result}", flush=True)
            means.append(100 * result.mean("accuracy"))
            folds = [100 * row["accuracy"] for row in result.rows]
            axes.plot(folds, np.full(len(folds), place + 0.08 * len(means)), "o", alpha=0.4)
            trained.append(result.trainers[0].model)
        target = 97.0 if hidden else None
        report.add(f"{name}, {model}", "accuracy over 10 folds, %", means, target=target)
        shown.append(f"{model}\n{np.mean(means):.2f} %")
    axes.set_title(f"{name}: accuracy of each fold, a row per seed, %")
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(-0.4, 1.8)
    figure.savefig(report.folder() / f"{name.replace(' ', '-')}.png", dpi=75)
    return trained[0]


@dataclass(frozen=True)
class Way:
    """A way to train where positives are rare."""

    name: str
    hidden: tuple[int, ...] = HIDDEN
    class_weights: bool = False
    resampled: bool = False

    @property
    def overstates(self) -> bool:
        """Whether the odds come out too high."""
        return self.class_weights or self.resampled


WAYS = (
    Way("MLP"),
    Way("MLP, class weights", class_weights=True),
    Way("MLP, weighted sampling", resampled=True),
    Way("logistic regression", hidden=()),
)


def fit(way: Way, train: TensorDataset, val: TensorDataset, seed: int, epochs: int) -> nn.Module:
    """Train one network, with the weights of the epoch that orders `val` best.

    Logistic regression, which has but one minimum, is trained to the end.
    """
    gs.manual_seed(seed)
    labels = train.tensors[1]
    sampler = None
    if way.resampled:
        weights = gs.data.sample_weights(labels)
        sampler = WeightedRandomSampler(weights, len(train), generator=seed)
    model = binary.classifier(train.tensors[0].shape[1], way.hidden, dropout=0.2)
    binary.trainer(
        model,
        weight_decay=0.01,
        class_weights=gs.data.class_weights(labels) if way.class_weights else None,
        callbacks=[EarlyStopping("val_auc", patience=8, restore_best=True)] if way.hidden else (),
    ).fit(DataLoader(train, 128, sampler is None, sampler), val, epochs=epochs)
    return model


def judge(raw: Array, chance: Array, truth: Array, threshold: float) -> dict[str, float]:
    """Measure how well chances order the cases, how true they are, and what the alarm is worth."""
    alarm = chance > threshold
    hits = (alarm & (truth == 1)).sum()
    return {
        "AUC": binary.auc(chance, truth),
        "1000 x Brier score before": 1000 * binary.brier(raw, truth),
        "1000 x Brier score": 1000 * binary.brier(chance, truth),
        "cost per 1000 cases": 1000 * binary.costs(chance, truth, threshold, MISS).mean(),
        "recall, %": 100 * hits / truth.sum(),
        "precision, %": 100 * hits / max(alarm.sum(), 1),
    }


def mammography(report: Report, path: Path) -> None:
    """Report four ways to find what is rare, and draw how far their chances can be trusted."""
    options = report.options
    table = gs.data.read_csv(path, header=False)
    target = list(table)[-1]
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in WAYS}
    pooled: dict[Way, list[tuple[Array, Array, Array]]] = {way: [] for way in WAYS}
    for seed in options.seed_range(5):
        parts = table.split((0.6, 0.2, 0.2), stratify=target, seed=seed)
        encoder = TableEncoder(target).fit(parts[0])
        train, val, test = map(encoder.dataset, parts)
        share = train.tensors[1].float().mean().item()
        for way in WAYS:
            model = fit(way, train, val, seed, epochs=2 if options.quick else 60)
            # Equal weight for both classes has multiplied the odds by negatives / positives.
            shift = np.log((1 - share) / share) if way.overstates else 0.0
            odds_val, odds = (binary.log_odds(model, part.tensors[0]) for part in (val, test))
            truth_val, truth = (part.tensors[1].numpy() for part in (val, test))
            raw, chance = binary.probabilities(odds), binary.probabilities(odds - shift)
            chance_val = binary.probabilities(odds_val - shift)
            threshold = binary.cheapest_threshold(chance_val, truth_val, MISS)
            values = judge(raw, chance, truth, threshold)
            found[way].append(values)
            pooled[way].append((raw, chance, truth))
            shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
            print(f"mammography, seed {seed}, {way.name}: {shown}", flush=True)
            if way is WAYS[0]:
                gs.save(model.state_dict(), report.folder() / "mammography.safetensors")
    for metric in found[WAYS[0]][0]:
        for way in WAYS:
            if metric.endswith("before") and not way.overstates:
                continue
            report.add(
                f"mammography, {way.name}",
                metric,
                [values[metric] for values in found[way]],
                target=0.92 if metric == "AUC" and way is WAYS[0] else None,
                higher=metric.startswith(("AUC", "recall", "precision")),
                digits=3 if metric == "AUC" else 1,
            )
    draw(report.folder() / "mammography.png", pooled)


def draw(path: Path, pooled: dict[Way, list[tuple[Array, Array, Array]]]) -> None:
    """Draw reliability before and after the odds were put right, and precision over recall."""
    figure = new_figure(13, 4.2)
    before, after, curve = figure.subplots(1, 3)
    for way, results in pooled.items():
        raw, chance, truth = map(np.concatenate, zip(*results, strict=True))
        for axes, values in ((before, raw), (after, chance)):
            predicted, observed = binary.reliability(values, truth)
            shown = observed > 0
            axes.plot(predicted[shown], observed[shown], marker="o", label=way.name)
        ranked = truth[np.argsort(-chance, kind="stable")]
        hits = np.cumsum(ranked)
        curve.plot(hits / hits[-1], hits / np.arange(1, hits.size + 1), label=way.name)
    for axes, title in ((before, "as trained"), (after, "odds put right")):
        axes.plot([1e-3, 1], [1e-3, 1], color="gray", linestyle=":")
        axes.set(title=f"reliability, {title}", xlabel="predicted chance", ylabel="observed share")
        axes.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-3, 1))
    curve.set(title="mammography, test parts", xlabel="recall", ylabel="precision")
    curve.legend()
    figure.savefig(path, dpi=75)


def run(options: Options) -> None:
    """Run the example."""
    report = Report("diagnosis", options)
    path_1990, path_rare = (
        None if options.data is None else find_data(options, "tabular", name, SOURCE)
        for name in ("breast-cancer-wisconsin.csv", "mammography.csv")
    )
    model = breast_cancer(report, "breast cancer 1993", biopsies_1993())
    gs.save(model.state_dict(), report.folder() / "diagnosis.safetensors")
    if path_1990 is not None and path_rare is not None:
        breast_cancer(report, "breast cancer 1990", biopsies_1990(path_1990))
        mammography(report, path_rare)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("diagnosis"))
