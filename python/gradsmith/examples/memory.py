"""How far back can a network remember? A plain RNN against an LSTM, over up to 400 steps.

In a recurrent network the gradient of a loss at the last step reaches step t as a product of one
Jacobian per step between. With a tanh network that product shrinks, or grows, exponentially
(Hochreiter, 1991; Bengio, Simard and Frasconi, 1994); an LSTM's cell state is carried on by a sum,
whose Jacobian is the forget gate (Hochreiter and Schmidhuber, 1997; Gers, Schmidhuber and Cummins,
2000). `gs.train.GradientFlow` measures it: the norm of dLoss/dh_t at every step t.

Two tasks show what it means for learning, each with T steps between what matters and the answer:

- adding: each step brings a number in [0, 1] and a marker; the answer is the sum of the two marked
  numbers, one in either half. Always answering 1 has a mean squared error of 1/6.
- recall: the first of T + 1 symbols is one of eight, to be named after T distractors.

The forget gate's bias sets how long an untrained LSTM remembers. 1 is the usual choice; "chrono"
draws log(u), u uniform in [1, T], and so spreads the memories of the units over the length of the
task (Tallec and Ollivier, 2018).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, nn
from gradsmith.data import DataLoader, TensorDataset
from gradsmith.demo.harness import Options, Report, main
from gradsmith.train import EarlyStopping, GradientFlow
from gradsmith.train.plotting import new_figure

Batch = tuple[Tensor, Tensor]

HIDDEN, BATCH = 64, 32
LENGTHS = (50, 100, 200, 400)
TARGETS = {("adding", 400, "LSTM, chrono"): 0.01}
VAL_SEED, TEST_SEED = 1_000, 2_000  # added to the seed of the training sequences
SYMBOLS = 8  # to remember; as many others distract


# -- tasks -------------------------------------------------------------------------------------


def adding(batch: Any, rng: np.random.Generator, length: int) -> Batch:
    """Draw sequences (N, length, 2) of numbers and markers, and their sums (N, 1)."""
    count, half = len(batch[0]), length // 2
    numbers = rng.random((count, length), np.float32)
    markers = np.zeros_like(numbers)
    rows = np.arange(count)
    markers[rows, rng.integers(0, half, count)] = 1
    markers[rows, rng.integers(half, length, count)] = 1
    sums = (numbers * markers).sum(1, keepdims=True)
    return gs.from_numpy(np.stack([numbers, markers], 2)), gs.from_numpy(sums)


def recall(batch: Any, rng: np.random.Generator, length: int) -> Batch:
    """Draw one-hot sequences (N, length + 1, 2 SYMBOLS), and their first symbols (N)."""
    count = len(batch[0])
    symbols = rng.integers(SYMBOLS, 2 * SYMBOLS, (count, length + 1))
    symbols[:, 0] -= SYMBOLS
    one_hot = np.eye(2 * SYMBOLS, dtype=np.float32)[symbols]
    return gs.from_numpy(one_hot), gs.from_numpy(symbols[:, 0].copy())


@dataclass(frozen=True)
class Task:
    """A task: what is drawn, what an answer costs, and when it is learned.

    Args:
        draw: makes inputs (N, steps, features) and answers, anew for every batch.
        features: of each step.
        outputs: of the network.
        loss: of outputs and answers.
        enough: a validation loss at which it is learned.
        metric: what is reported: the mean squared error, or the accuracy in percent.
        chance: the metric of the best answer that ignores the inputs.
        digits: of the metric.
    """

    draw: Callable[[Any, np.random.Generator, int], Batch]
    features: int
    outputs: int
    loss: nn.Module
    enough: float
    metric: str
    chance: float
    digits: int

    def data(self, length: int, count: int, seed: int) -> DataLoader:
        """Return `count` sequences per epoch, drawn anew in each."""
        return DataLoader(
            TensorDataset(np.arange(count)),
            BATCH,
            generator=seed,
            transform=lambda batch, rng: self.draw(batch, rng, length),
        )


TASKS = {
    "adding": Task(adding, 2, 1, nn.MSELoss(), 0.005, "MSE", 1 / 6, 4),
    "recall": Task(
        recall, 2 * SYMBOLS, SYMBOLS, nn.CrossEntropyLoss(), 0.01, "accuracy, %", 100 / SYMBOLS, 1
    ),
}


# -- networks ----------------------------------------------------------------------------------


class LastStep(nn.Module):
    """A recurrent layer, with `batch_first`, and an answer after its last step.

    Args:
        memory: the layer.
        outputs: of the answer.

    Shapes: input (N, T, features), output (N, outputs).
    """

    def __init__(self, memory: nn.RNN | nn.LSTM, outputs: int) -> None:
        """Create the last layer."""
        super().__init__()
        self.memory = memory
        self.head = nn.Linear(memory.hidden_size, outputs)

    def forward(self, input: Tensor) -> Tensor:
        """Return the answers."""
        output, _ = self.memory(input)
        return self.head(output[:, -1])


def gated(features: int, forget: Tensor, enter: Tensor) -> nn.LSTM:
    """Return an LSTM whose forget and input gates start with these biases (HIDDEN)."""
    lstm = nn.LSTM(features, HIDDEN, batch_first=True)
    with gs.no_grad():
        lstm.bias_ih_l0[: 2 * HIDDEN] = gs.cat([enter, forget], 0)
        lstm.bias_hh_l0[: 2 * HIDDEN] = 0.0  # the layer adds the two
    return lstm


def rnn(task: Task, length: int) -> LastStep:
    """Return a network of tanh units."""
    return LastStep(nn.RNN(task.features, HIDDEN, batch_first=True), task.outputs)


def lstm(task: Task, length: int) -> LastStep:
    """Return an LSTM whose forget gates start at a bias of 1."""
    return LastStep(gated(task.features, gs.ones(HIDDEN), gs.zeros(HIDDEN)), task.outputs)


def chrono(task: Task, length: int) -> LastStep:
    """Return an LSTM whose units start with memories of 1 to `length` steps."""
    forget = (1 + (length - 1) * gs.rand(HIDDEN)).log()
    return LastStep(gated(task.features, forget, -forget), task.outputs)


# How each is made, and its learning rate; the plain RNN does better at a lower one.
NETWORKS = {
    "RNN": (rnn, 1e-3),
    "LSTM, bias 1": (lstm, 5e-3),
    "LSTM, chrono": (chrono, 5e-3),
}


# -- the example -------------------------------------------------------------------------------


def gradients(task: Task, model: LastStep, length: int) -> GradientFlow:
    """Measure the gradient at every step, over one batch."""
    flow = GradientFlow(warn=False)
    inputs, answers = next(iter(task.data(length, BATCH, TEST_SEED)))
    with flow.watch(model):
        task.loss(model(inputs), answers).backward()
        flow.record()
    return flow


def learn(
    task: Task, model: LastStep, lr: float, length: int, epochs: int, seed: int
) -> gs.Trainer:
    """Train with Adam on ever new sequences, 100 batches per epoch, until the task is learned."""
    trainer = gs.Trainer(
        model,
        task.loss,
        gs.optim.Adam(model.parameters(), lr=lr),
        clip_grad_norm=1.0,
        callbacks=[EarlyStopping(patience=epochs, threshold=task.enough, restore_best=True)],
        progress=False,
    )
    trainer.fit(
        task.data(length, 100 * BATCH, seed),
        task.data(length, 20 * BATCH, VAL_SEED + seed),
        epochs=epochs,
    )
    return trainer


def run(options: Options) -> None:
    """Measure gradients, then learn both tasks at every length with every network."""
    report = Report("memory", options)
    lengths = (8, 16) if options.quick else LENGTHS
    epochs = 1 if options.quick else 15

    flows = {}
    for name, (build, _) in NETWORKS.items():
        gs.manual_seed(options.seed)
        flows[name] = gradients(TASKS["adding"], build(TASKS["adding"], lengths[-1]), lengths[-1])
        change = flows[name].decay()["memory.h_l0"]
        report.add(f"untrained {name}", "gradient's change per step back", change, digits=3)

    results: dict[tuple[str, str], list[list[float]]] = {}
    for title, task in TASKS.items():
        report.add(f"{title}: chance", task.metric, task.chance, digits=task.digits)
        for length, (name, (build, lr)) in itertools.product(lengths, NETWORKS.items()):
            values, start = [], time.perf_counter()
            for seed in options.seed_range(2):
                gs.manual_seed(seed)
                model = build(task, length)
                trainer = learn(task, model, lr, length, epochs, seed)
                logs = trainer.evaluate(task.data(length, 2000, TEST_SEED + seed))
                values.append(100 * logs["accuracy"] if "accuracy" in logs else logs["loss"])
                print(
                    f"{title}, {length} steps, {name}, seed {seed}: {task.metric} "
                    f"{values[-1]:.{task.digits}f} after {trainer.epoch} epochs",
                    flush=True,
                )
            seconds = (time.perf_counter() - start) / len(values)
            results.setdefault((title, name), []).append(values)
            report.add(
                f"{title}, {length} steps: {name}",
                task.metric,
                values,
                target=TARGETS.get((title, length, name)),
                higher=title == "recall",
                seconds=seconds,
                digits=task.digits,
            )

    folder = report.folder()
    gs.save(model.state_dict(), folder / "memory.safetensors")  # the last: recall, chrono
    draw(folder / "memory.png", flows, lengths, results)
    report.finish()


def draw(
    path: Path,
    flows: dict[str, GradientFlow],
    lengths: tuple[int, ...],
    results: dict[tuple[str, str], list[list[float]]],
) -> None:
    """Draw the gradient at every step, and how well each task is learned at each length."""
    figure = new_figure(12, 4)
    first, *others = figure.subplots(1, 1 + len(TASKS))
    for name, flow in flows.items():
        norms = np.asarray(flow.records[0].steps["memory.h_l0"])
        first.plot(np.where(norms > 0, norms, np.nan), label=name)
    first.set(title="untrained: norm of dLoss/dh_t", xlabel="step t", yscale="log")
    first.legend()
    for axes, (title, task) in zip(others, TASKS.items(), strict=True):
        for name in NETWORKS:
            axes.plot(lengths, np.mean(results[title, name], 1), marker="o", label=name)
        axes.axhline(task.chance, color="grey", ls=":", label="chance")
        axes.set(title=f"{title}: {task.metric}", xlabel="steps", xscale="log")
        axes.set_xticks(lengths, map(str, lengths))
        axes.minorticks_off()
        if task.metric == "MSE":
            axes.set_yscale("log")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    raise SystemExit(main("memory"))
