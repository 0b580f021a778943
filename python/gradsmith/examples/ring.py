"""GANs on a ring: which losses find all of eight Gaussians, and how many samples are good.

The data are points of eight Gaussians on a circle (Metz et al., 2017), the smallest set on which a
generator can lose modes. Five losses train the same two networks, in the same number of critic
steps:

- minimax, log(1 - D(fake)), and its non-saturating remedy (both Goodfellow et al., 2014);
- least squares (Mao et al., 2017) and hinge (Lim and Ye, 2017);
- Wasserstein with a gradient penalty (Gulrajani et al., 2017).

Of 2,500 samples one is good within three standard deviations of a mode, where 98.9 % of the real
points lie, and a mode is found if it has a good one (the measure of Srivastava et al., 2017).
Samples come from averaged weights (Yazici et al., 2019); minimax is also shown without, and with
a generator that learns five times as fast as its critic, which is how modes are lost.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith import nn, optim
from gradsmith.data.datasets import GaussianRing
from gradsmith.demo.harness import Options, Report, main
from gradsmith.optim.lr_scheduler import LinearLR
from gradsmith.train import EMA, Callback, GANTrainer, GANWarning
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]

ROUND = 100  # critic steps between two looks
BATCH_SIZE = 128
LATENT = 2  # no more than the data have dimensions


class Recipe(NamedTuple):
    """What tells the ways apart."""

    loss: str
    penalty: float = 0.0
    critic_steps: int = 1
    rate: float = 1e-3  # of the generator; the critic's is 1e-3
    average: float | None = 0.999


RECIPES = {
    "minimax": Recipe("minimax"),
    "non-saturating": Recipe("non_saturating"),
    "least squares": Recipe("least_squares"),
    "hinge": Recipe("hinge"),
    "Wasserstein, penalty": Recipe("wasserstein", penalty=1.0, critic_steps=3),
    "minimax, not averaged": Recipe("minimax", average=None),
    "minimax, fast generator": Recipe("minimax", rate=5e-3, average=None),
}


class Snapshots(Callback):
    """Keeps the samples of fixed noise in some epochs."""

    def __init__(self, epochs: list[int]) -> None:
        self.epochs = epochs
        self.samples: dict[int, Array] = {}

    def on_validation_start(self, trainer: Any) -> None:
        """Keep samples if it is time; where weights are averaged, of the average."""
        if trainer.epoch + 1 in self.epochs:
            self.samples[trainer.epoch + 1] = trainer.sample().numpy()


def mlp(inputs: int, outputs: int) -> nn.Module:
    """Three hidden layers, for the generator and for the critic."""
    width = 128
    return nn.Sequential(
        *(nn.Linear(inputs, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, outputs),
    )


def build(recipe: Recipe, rounds: int, snapshots: Snapshots) -> GANTrainer:
    """Make both networks and their trainer; rates fall to almost zero."""
    generator, critic = mlp(LATENT, 2), mlp(2, 1)
    optimizers = [
        optim.Adam(generator.parameters(), recipe.rate, betas=(0.5, 0.9)),
        optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.9)),
    ]
    averages = [] if recipe.average is None else [EMA(recipe.average)]
    return GANTrainer(
        generator,
        critic,
        *optimizers,
        loss=recipe.loss,
        latent=LATENT,
        critic_steps=recipe.critic_steps,
        penalty=recipe.penalty,
        schedulers=[LinearLR(optimizer, 1.0, 0.02, rounds) for optimizer in optimizers],
        samples=500,
        callbacks=[*averages, snapshots],
        progress=False,
    )


def fit(trainer: GANTrainer, ring: GaussianRing, rounds: int, seed: int) -> list[str]:
    """Train, and return what the trainer warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GANWarning)
        trainer.fit(ring, epochs=rounds, batch_size=BATCH_SIZE, seed=seed)
    return list(dict.fromkeys(str(warning.message) for warning in caught))


def draw(path: Path, ring: GaussianRing, pictures: dict[str, dict[int, Array]]) -> None:
    """Draw the samples of every recipe, a column each, over training."""
    rows = len(next(iter(pictures.values())))
    figure = new_figure(1.4 * len(pictures), 1.4 * rows + 0.4)
    panels = figure.subplots(rows, len(pictures), squeeze=False)
    real = ring.tensors[0].numpy()[:500]
    for column, (name, samples) in zip(panels.T, pictures.items(), strict=True):
        column[0].set_title(name.replace(", ", ",\n"), fontsize=8)
        for axes, (epoch, points) in zip(column, samples.items(), strict=True):
            axes.plot(*real.T, ".", color="0.8", markersize=2)
            axes.plot(*points.T, ".", color="tab:red", markersize=1.5)
            axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), xticks=[], yticks=[], aspect="equal")
            if column[0] is panels[0, 0]:
                axes.set_ylabel(f"{epoch * ROUND:,} steps", fontsize=8)
    figure.savefig(path, dpi=80)


def run(options: Options) -> None:
    """Train with every recipe and seed, count modes and good samples, draw."""
    report = Report("ring", options)
    rounds = 2 if options.quick else 60
    looks = sorted({max(rounds * share // 60, 1) for share in (2, 6, 15, 30, 60)})
    ring = GaussianRing(ROUND * BATCH_SIZE, seed=options.seed)
    pictures, generators = {}, {}
    for name, recipe in RECIPES.items():
        modes, good, seconds = [], [], []
        for seed in options.seed_range(3):
            gs.manual_seed(seed)
            snapshots = Snapshots(looks)
            trainer = build(recipe, rounds, snapshots)
            start = time.perf_counter()
            warned = fit(trainer, ring, rounds, seed)
            seconds.append(time.perf_counter() - start)
            found, share = ring.score(trainer.sample(2500))
            modes.append(found)
            good.append(100 * share)
            print(f"{name}, seed {seed}: {found} of 8 modes, {100 * share:.1f} % good", flush=True)
            for text in warned:
                print(f"  warning: {text}", flush=True)
            if seed == options.seed:
                pictures[name] = snapshots.samples
                generators[name] = trainer.generator.state_dict()
        # That the plain ones lose modes is no failure of the example.
        modes_least, good_least = (None, None) if recipe.average is None else (8, 90)
        report.add(name, "modes found, of 8", modes, target=modes_least, digits=1)
        report.add(
            name,
            "good samples, %",
            good,
            target=good_least,
            seconds=float(np.mean(seconds)),
            digits=1,
        )
    gs.save(generators, report.folder() / "ring.safetensors")
    draw(report.folder() / "ring.png", ring, pictures)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("ring"))
