"""Transfer learning: with few labels, a network that has learned something else starts ahead.

Two tasks with 10, 30 and 100 labelled images a class:

- photographs to digits: MNIST for a ResNet-20 that was trained on CIFAR-10 and published by
  Idelbayev (akamaster/pytorch_resnet_cifar10);
- digits to digits: 5 to 9 for a small CNN that has learned 0 to 4 from all their images.

Each is met in three ways: by the same network from scratch; by a new linear layer on its frozen
features (a linear probe); and by training all of it on from there (Kumar et al., 2022), slower
towards the input (Howard and Ruder, 2018). A linear layer on bare pixels stands beside them.
Rates were chosen on images of the training set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, models, nn, optim, transfer
from gradsmith.data.transforms import normalize
from gradsmith.demo.harness import Options, Report, find_data, main
from gradsmith.examples._mnist import load_mnist
from gradsmith.optim.lr_scheduler import CosineAnnealingLR
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]

WAYS = ("pixels, linear", "from scratch", "frozen features", "fine-tuned")
EPOCHS = {10: 30, 30: 12, 100: 5}  # by labelled images a class
BATCH_SIZE = 32


class Task(NamedTuple):
    """New classes for a network that has learned others.

    Args:
        title: for the reader.
        fresh: makes the network with random weights and its old classes.
        weights: what it has learned.
        head: the name of its last layer.
        parts: its other parts from input to output, a learning rate for each group.
        rate: of learning, of the last layer where they differ.
        longer: how many times `EPOCHS` it is trained, as its size allows.
        prepare: turns images (N, 1, 28, 28) into what it reads.
        train: images and labels, of which each run draws a few.
        test: images and labels.
    """

    title: str
    fresh: Callable[[], nn.Module]
    weights: Path | Mapping[str, Tensor]
    head: str
    parts: Sequence[Sequence[str]]
    rate: float
    longer: int
    prepare: Callable[[Array], Array]
    train: tuple[Array, Array]
    test: tuple[Array, Array]

    @property
    def classes(self) -> int:
        """Count the new classes."""
        return int(self.train[1].max()) + 1

    def body(self) -> nn.Module:
        """Return the network as it was learned, frozen, without its last layer."""
        model = self.fresh()
        gs.load_pretrained(model, self.weights)
        transfer.freeze(model)  # the statistics of batch normalisation too
        setattr(model, self.head, nn.Identity())
        return model


def few(labels: Array, count: int, rng: np.random.Generator) -> Array:
    """Return the indices of `count` images of each class."""
    drawn = [rng.permutation(np.flatnonzero(labels == c))[:count] for c in np.unique(labels)]
    return np.concatenate(drawn)


def fit(
    model: nn.Module, groups: Any, rate: float, x: Any, y: Array, epochs: int, seed: int
) -> None:
    """Train with AdamW, whose rates fall to zero along a cosine."""
    optimizer = optim.AdamW(groups, lr=rate, weight_decay=0.01)
    schedule = CosineAnnealingLR(optimizer, epochs * -(-len(y) // BATCH_SIZE))
    trainer = gs.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=schedule,
        schedule_per="batch",
        progress=False,
    )
    trainer.fit((x, y), epochs=epochs, batch_size=BATCH_SIZE, seed=seed)


def linear(features: Any, y: Array, classes: int, epochs: int, seed: int) -> nn.Linear:
    """Train a linear layer; it takes more epochs, which cost next to nothing."""
    layer = nn.Linear(features.shape[1], classes)
    fit(layer, layer.parameters(), 3e-2, features, y, 10 * epochs, seed)
    return layer


def accuracy(model: nn.Module, inputs: Any, labels: Array) -> float:
    """Return the share of inputs that a model classifies rightly, in percent."""
    predicted = gs.train.predict(model, inputs).numpy().argmax(1)
    return 100 * float((predicted == labels).mean())


def meet(
    task: Task, test: Array, test_features: Any, count: int, epochs: int, seed: int
) -> tuple[nn.Module, dict[str, tuple[float, float]]]:
    """Meet a task in all ways with `count` images a class.

    Returns:
        The fine-tuned network, and for each way its accuracy and the seconds it took.
    """
    gs.manual_seed(seed)
    chosen = few(task.train[1], count, np.random.default_rng([seed, count]))
    images, y = task.train[0][chosen], task.train[1][chosen]
    x = task.prepare(images)
    test_images, labels = task.test
    found, clock = {}, time.perf_counter

    start = clock()
    layer = linear(images.reshape(len(y), -1), y, task.classes, epochs, seed)
    seconds = clock() - start
    flat = test_images.reshape(len(labels), -1)
    found["pixels, linear"] = accuracy(layer, flat, labels), seconds

    start = clock()
    model = task.fresh()
    transfer.replace_head(model, task.classes, name=task.head)
    fit(model, model.parameters(), task.rate, x, y, epochs, seed)
    seconds = clock() - start
    found["from scratch"] = accuracy(model, test, labels), seconds

    start = clock()
    model = task.body()
    head = linear(gs.train.predict(model, x), y, task.classes, epochs, seed)
    seconds = clock() - start
    found["frozen features"] = accuracy(head, test_features, labels), seconds

    start = clock() - seconds  # it goes on from the probe
    setattr(model, task.head, head)
    transfer.unfreeze(model)
    groups = transfer.layer_groups(model, task.rate, groups=[*task.parts, task.head])
    fit(model, groups, task.rate, x, y, epochs, seed)
    seconds = clock() - start
    found["fine-tuned"] = accuracy(model, test, labels), seconds
    return model, found


def compare(
    task: Task, seeds: Sequence[int], epochs: dict[int, int], report: Report
) -> tuple[nn.Module, dict[str, Array]]:
    """Meet a task with all sizes and seeds, and report it.

    Returns:
        The last network that was fine-tuned, and for each way the accuracies (sizes, seeds).
    """
    test = task.prepare(task.test[0])
    test_features = gs.train.predict(task.body(), test)  # the same for every probe
    measured = np.zeros((len(WAYS), 2, len(epochs), len(seeds)))  # accuracy and seconds
    for column, seed in enumerate(seeds):
        for row, (count, passes) in enumerate(epochs.items()):
            model, found = meet(task, test, test_features, count, task.longer * passes, seed)
            measured[:, :, row, column] = [found[way] for way in WAYS]
            reached = ", ".join(f"{way} {found[way][0]:.1f} %" for way in WAYS)
            print(f"{task.title}, seed {seed}, {count} a class: {reached}", flush=True)

    metric = f"accuracy on {len(test):,} test images, %"
    for row, count in enumerate(epochs):
        title = f"{task.title}, {count} a class"
        scratch = measured[WAYS.index("from scratch"), 0, row].mean()
        for way, (values, seconds) in zip(WAYS, measured[:, :, row], strict=True):
            report.add(
                f"{title}: {way}",
                metric,
                values,
                target=scratch if way == "fine-tuned" and not row else None,
                seconds=float(seconds.mean()),
                digits=1,
            )
    return model, dict(zip(WAYS, measured[:, 0], strict=True))


def photographs_to_digits(options: Options, test_count: int) -> Task:
    """MNIST for a ResNet-20 that knows CIFAR-10."""
    where = "github.com/akamaster/pytorch_resnet_cifar10, saved as safetensors"
    weights = find_data(options, "vision_pretrained", "resnet20-12fca82f.safetensors", where)
    train, test = (load_mnist(options, part).tensors for part in (True, False))
    kept = np.random.default_rng(0).permutation(len(test[1].numpy()))[:test_count]
    # The published weights expect images shifted and scaled like this.
    scale = normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def prepare(images: Array) -> Array:
        framed = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
        return scale(framed.repeat(3, axis=1))

    return Task(
        "photographs to digits",
        models.resnet20,
        weights,
        "linear",
        [["conv1", "bn1", "layer1"], ["layer2"], ["layer3"]],
        1e-2,
        1,
        prepare,
        (train[0].numpy(), train[1].numpy()),
        (test[0].numpy()[kept], test[1].numpy()[kept]),
    )


def small_cnn() -> nn.Module:
    """Three convolutions and one linear layer, for five digits."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 5),
    )


def digits_to_digits(options: Options) -> Task:
    """Digits 5 to 9 for a network that learns 0 to 4 first."""
    gs.manual_seed(0)  # what was learned before is the same for every seed
    parts = []
    for train in (True, False):
        images, labels = (t.numpy() for t in load_mnist(options, train).tensors)
        parts.append([(images[half], labels[half] % 5) for half in (labels < 5, labels >= 5)])
    (old, new), (old_test, new_test) = parts
    model = small_cnn()
    trainer = gs.Trainer(model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters()))
    trainer.fit(old, epochs=2, batch_size=64, seed=0)
    print(f"0 to 4: {100 * trainer.evaluate(old_test)['accuracy']:.2f} % of test images right")
    return Task(
        "digits to digits",
        small_cnn,
        model.state_dict(),
        "10",
        [["0"], ["3"], ["6"]],
        3e-3,
        2,
        lambda images: images,
        new,
        new_test,
    )


def draw(path: Path, results: dict[str, dict[str, Array]], counts: Sequence[int]) -> None:
    """Draw accuracy over the number of labels: means, and every seed as a dot."""
    figure = new_figure(10, 4.2)
    panels = figure.subplots(1, len(results))
    for axes, (title, accuracy) in zip(panels, results.items(), strict=True):
        for way, values in accuracy.items():
            (line,) = axes.plot(counts, values.mean(1), label=way)
            for seed in values.T:
                axes.plot(counts, seed, ".", color=line.get_color(), alpha=0.5)
        axes.set(title=title, xscale="log", xlabel="labelled images a class")
        axes.set_ylabel("accuracy on test images, %")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=80)


def run(options: Options) -> None:
    """Compare from scratch, frozen and fine-tuned on both tasks."""
    report = Report("transfer", options)
    epochs = {5: 1, 10: 1} if options.quick else EPOCHS
    seeds = options.seed_range(3)
    tasks = [
        photographs_to_digits(options, 50 if options.quick else 5000),
        digits_to_digits(options),
    ]
    results = {}
    for task in tasks:
        model, results[task.title] = compare(task, seeds, epochs, report)
        name = task.title.replace(" ", "-")
        gs.save(model.state_dict(), report.folder() / f"{name}.safetensors")
    draw(report.folder() / "transfer.png", results, list(epochs))
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("transfer"))
