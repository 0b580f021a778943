"""Fraud: forged banknotes, told without fail, and bad credit, where a network has no edge.

Banknotes (Lohweg, 2013): 1,372 images of genuine and forged notes, four numbers for each. German
credit (Hofmann, 1994): 1,000 borrowers, of whom 300 turned out bad, 7 numbers and 13 categories
for each; to lend to a bad one costs 5, to refuse a good one costs 1.

Both are judged by ten-fold cross-validation: a fold is predicted by a network that has seen
nothing of it and was stopped by a validation part of the other folds. Who believes a chance p of
losing 5 against one of missing 1 refuses where 5 p > 1 - p, that is p > 1/6 (Elkan, "The
foundations of cost-sensitive learning", 2001); beside that stands the threshold that was cheapest
on the validation parts. A bootstrap over the rows says how sure a difference is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith.data import Table, TableEncoder
from gradsmith.demo.harness import Options, Report, find_data, main
from gradsmith.examples import _binary as binary
from gradsmith.train import EarlyStopping
from gradsmith.train.plotting import new_figure

Array = binary.Array

SOURCE = "the UCI repository, or jbrownlee/Datasets on GitHub"
MODELS: dict[str, tuple[int, ...]] = {"MLP": (32, 16), "logistic regression": ()}
MISS = 5.0  # the cost matrix that comes with the credit data
EVEN = 1 / (1 + MISS)  # at this chance, to lend costs as much as to refuse


@dataclass
class Prediction:
    """Each row's chance by a network that has not seen it, and that network's threshold.

    `model` is the last fold's.
    """

    chance: Array
    threshold: Array
    model: nn.Module


def cross_predict(
    table: Table, truth: Array, hidden: tuple[int, ...], options: Options, seed: int
) -> Prediction:
    """Predict each of ten folds from the others."""
    gs.manual_seed(seed)
    target = list(table)[-1]
    chance, threshold = np.zeros(table.rows), np.zeros(table.rows)
    folds = 3 if options.quick else 10
    for rest, fold in gs.data.k_fold(table.rows, folds, labels=truth, seed=seed):
        parts = table.take(rest).split((0.85, 0.15), stratify=target, seed=seed)
        encoder = TableEncoder(target).fit(parts[0])
        train, val, asked = map(encoder.dataset, (*parts, table.take(fold)))
        model = binary.classifier(len(encoder.features), hidden, dropout=0.2)
        best = EarlyStopping("val_loss", patience=10, restore_best=True)
        binary.trainer(model, weight_decay=0.1, callbacks=[best]).fit(
            train, val, epochs=2 if options.quick else 80, batch_size=50, seed=seed
        )
        of_val = binary.probabilities(binary.log_odds(model, val.tensors[0]))
        threshold[fold] = binary.cheapest_threshold(of_val, val.tensors[1].numpy(), MISS)
        chance[fold] = binary.probabilities(binary.log_odds(model, asked.tensors[0]))
    return Prediction(chance, threshold, model)


def measure(prediction: Prediction, truth: Array, costly: bool) -> dict[str, Array]:
    """Return what each row adds to each metric."""
    chance = prediction.chance
    found = {"accuracy, %": 100.0 * ((chance > 0.5) == truth)}
    if costly:
        found["cost per borrower, p > 1/6 refused"] = binary.costs(chance, truth, EVEN, MISS)
        found["cost per borrower, validation's threshold"] = binary.costs(
            chance, truth, prediction.threshold, MISS
        )
    return found


def interval(differences: Array) -> list[float]:
    """Return the 95 % bootstrap interval of the mean of differences, one per row."""
    rng = np.random.default_rng(0)
    means = [rng.choice(differences, differences.size).mean() for _ in range(2000)]
    return [float(end) for end in np.quantile(means, (0.025, 0.975))]


def compare(report: Report, name: str, table: Table, costly: bool) -> dict[str, list[Prediction]]:
    """Report both models on a table, and how sure the difference between them is."""
    truth = TableEncoder(list(table)[-1]).fit(table).targets(table)
    found: dict[str, list[Prediction]] = {}
    by_row: dict[str, dict[str, Array]] = {}
    for model, hidden in MODELS.items():
        found[model] = []
        for seed in report.options.seed_range(5):
            found[model].append(cross_predict(table, truth, hidden, report.options, seed))
            print(f"{name}, {model}: seed {seed} is done", flush=True)
        areas = [binary.auc(p.chance, truth) for p in found[model]]
        report.add(f"{name}, {model}", "AUC", areas, digits=4)
        measured = [measure(p, truth, costly) for p in found[model]]
        by_row[model] = {m: np.stack([rows[m] for rows in measured]) for m in measured[0]}
        for metric, values in by_row[model].items():
            higher = metric.startswith("accuracy")
            report.add(f"{name}, {model}", metric, values.mean(1), higher=higher, digits=3)
    mlp, linear = by_row.values()
    for metric in mlp:
        low, high = interval((mlp[metric] - linear[metric]).mean(0))
        what = f"{name}, MLP minus logistic regression, 95 % interval"
        report.add(what, f"{metric}: from", low, digits=3)
        report.add(what, f"{metric}: to", high, digits=3)
    if costly:
        report.add(f"{name}, everybody refused", "cost per borrower", (1 - truth).mean(), digits=3)
    return found


def draw(path: Path, found: dict[str, list[Prediction]], truth: Array) -> None:
    """Draw the cost of every threshold, and reliability, of the credit data."""
    figure = new_figure(10, 4)
    cost, trust = figure.subplots(1, 2)
    thresholds = np.linspace(0, 1, 201)
    for model, predictions in found.items():
        chance = np.stack([p.chance for p in predictions])
        means = [binary.costs(chance, truth[None], t, MISS).mean() for t in thresholds]
        cost.plot(thresholds, means, label=model)
        pooled = np.tile(truth, len(predictions))
        trust.plot(*binary.reliability(chance.ravel(), pooled), marker=".", label=model)
    cost.axvline(EVEN, color="gray", linestyle=":", label="p = 1/6")
    cost.set(title="cost per borrower", xlabel="refused above this chance", ylim=(0.45, 1.55))
    trust.plot([0, 1], [0, 1], color="gray", linestyle=":")
    trust.set(title="reliability", xlabel="predicted chance", ylabel="observed share")
    cost.legend()
    trust.legend()
    figure.savefig(path, dpi=80)


def run(options: Options) -> None:
    """Run the example."""
    report = Report("fraud", options)
    notes, credit = (
        gs.data.read_csv(find_data(options, "tabular", name, SOURCE), header=False)
        for name in ("banknote_authentication.csv", "german.csv")
    )
    found = compare(report, "banknotes", notes, costly=False)
    gs.save(found["MLP"][0].model.state_dict(), report.folder() / "fraud.safetensors")
    found = compare(report, "German credit", credit, costly=True)
    truth = TableEncoder(list(credit)[-1]).fit(credit).targets(credit)
    draw(report.folder() / "fraud.png", found, truth)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("fraud"))
