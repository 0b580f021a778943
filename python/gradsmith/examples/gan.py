"""GANs draw digits, and a classifier says how well.

Two generators of the same kind learn from MNIST:

- DCGAN (Radford, Metz and Chintala, 2016): the discriminator tells real from fake, with batch
  normalisation in both networks;
- WGAN-GP (Gulrajani et al., 2017): the critic estimates a distance, held to slopes of 1 by a
  penalty on its gradient, whose own gradient is of second order, through convolutions.

Samples come from averaged weights (Yazici et al., 2019). A LeNet that has learned the same digits
judges them, by analogues of the inception score (Salimans et al., 2016) and the Frechet distance
(Heusel et al., 2017). Its numbers mean little alone, so real images that neither it nor the
generators have seen are judged too, and what bad generators would give: blur and noise.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, models, nn, optim
from gradsmith.data import DataLoader, RandomSampler, TensorDataset
from gradsmith.data.datasets import stratified_split
from gradsmith.demo.harness import Options, Report, main
from gradsmith.examples._mnist import load_mnist
from gradsmith.train import EMA, GANTrainer, SampleGrid
from gradsmith.train.gan_diagnostics import frechet_distance, inception_score
from gradsmith.train.plotting import image_grid, new_figure

Array = np.ndarray[Any, Any]

LATENT = 64
BATCH_SIZE = 64
ROUND = 100  # critic steps between two pictures


class Recipe(NamedTuple):
    """What tells the two kinds apart; ten times the paper's rate suits so small a WGAN-GP."""

    loss: str
    norm: str  # of the critic; a penalty on single gradients forbids batch normalisation
    critic_steps: int
    rate: float
    betas: tuple[float, float]
    average: float


RECIPES = {
    "DCGAN": Recipe("non_saturating", "batch", 1, 2e-4, (0.5, 0.999), 0.998),
    "WGAN-GP": Recipe("wasserstein", "layer", 3, 1e-3, (0.0, 0.9), 0.995),
}


def build(recipe: Recipe, features: int, grid: SampleGrid) -> GANTrainer:
    """Make both networks and their trainer, with `grid` to draw as it goes."""
    generator = models.DCGANGenerator(LATENT, 1, features, 28)
    critic = models.DCGANDiscriminator(1, features, 28, norm=recipe.norm)
    return GANTrainer(
        generator,
        critic,
        optim.Adam(generator.parameters(), recipe.rate, recipe.betas),
        optim.Adam(critic.parameters(), recipe.rate, recipe.betas),
        loss=recipe.loss,
        latent=LATENT,
        critic_steps=recipe.critic_steps,
        samples=40,
        callbacks=[EMA(recipe.average), grid],
    )


class Judge:
    """A LeNet as the measure of images.

    Args:
        images: (N, 1, 28, 28) in [0, 1] to learn from.
        labels: (N).
        real: images that generated ones are compared with.
        epochs: passes through the images.
        seed: of weights and order.
    """

    def __init__(self, images: Array, labels: Array, real: Array, epochs: int, seed: int) -> None:
        gs.manual_seed(seed)
        model = models.LeNet()
        trainer = gs.Trainer(model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters(), 2e-3))
        trainer.fit((images, labels), epochs=epochs, batch_size=BATCH_SIZE, seed=seed)
        self.last = model.fc3
        model.add_module("fc3", nn.Identity())  # the model now gives what its last layer read
        self.model = model
        self.real = self.features(real)

    def features(self, images: Any) -> Tensor:
        """Return 84 numbers for each image."""
        return gs.train.predict(self.model, images)

    def answers(self, features: Tensor) -> Array:
        """Return the probabilities of the ten digits."""
        return nn.functional.softmax(gs.train.predict(self.last, features), 1).numpy()

    def __call__(self, images: Any) -> tuple[float, float]:
        """Return inception score and Frechet distance of images in [0, 1]."""
        features = self.features(images)
        distance = frechet_distance(self.real.numpy(), features.numpy())
        return inception_score(self.answers(features)), distance


def between(noise: Tensor, steps: int) -> Tensor:
    """Return a walk between neighbouring points of noise, two by two (White, 2016).

    Normal noise lies near a sphere, so the way goes along it rather than through its middle.

    Args:
        noise: (2 N, latent).
        steps: of each walk, ends included.

    Returns:
        Noise (N * steps, latent).
    """
    start, end = noise[::2].unsqueeze(1), noise[1::2].unsqueeze(1)
    share = gs.linspace(0, 1, steps).reshape(1, -1, 1)
    cosine = nn.functional.cosine_similarity(start, end, 2).unsqueeze(2)
    angle = cosine.acos()
    walk = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()
    return walk.reshape(-1, noise.shape[1])


def draw(path: Path, grids: dict[str, Array]) -> None:
    """Lay grids of images in [0, 1] out, three side by side."""
    figure = new_figure(9, 4.4)
    for axes, (title, images) in zip(figure.subplots(2, 3).flat, grids.items(), strict=True):
        axes.imshow(image_grid(images, 8)[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    figure.savefig(path, dpi=80)


def run(options: Options) -> None:
    """Train both, judge them, draw."""
    report = Report("gan", options)
    folder = report.folder()
    features, rounds, judged, epochs = (4, 2, 100, 1) if options.quick else (16, 60, 10_000, 2)
    images, labels = (t.numpy() for t in load_mnist(options).tensors)
    seen, unseen = stratified_split(labels, 1 / 6, seed=0)
    test_images, test_labels = (t.numpy() for t in load_mnist(options, False).tensors)
    held_out = images[unseen][:judged]
    blurred = nn.functional.avg_pool2d(gs.tensor(held_out), 3, 1, 1)

    judge = Judge(images[seen], labels[seen], test_images, epochs, options.seed)
    right = judge.answers(judge.real).argmax(1) == test_labels
    report.add("the judge", "accuracy on test images, %", 100 * right.mean())

    verdicts: dict[str, list[tuple[float, float]]] = {
        "real images, held out": [judge(held_out)],
        "the same, blurred 3x3": [judge(blurred)],
        "noise": [judge(np.random.default_rng(0).random(held_out.shape, np.float32))],
    }
    seconds: dict[str, float] = {}
    samples: dict[str, Array] = {"real": held_out[:40]}
    walks: dict[str, Array] = {"real, blurred": blurred.numpy()[:40]}
    dataset = TensorDataset(2 * images[seen] - 1)  # generators end in tanh
    for seed in options.seed_range(1):
        for name, recipe in RECIPES.items():
            gs.manual_seed(seed)
            file = name.lower()
            frames = folder / "frames" / f"{file}-{{epoch}}.png"
            grid = SampleGrid(frames, every=max(rounds // 12, 1))
            trainer = build(recipe, features, grid)
            sampler = RandomSampler(dataset, num_samples=ROUND * BATCH_SIZE, generator=seed)
            start = time.perf_counter()
            trainer.fit(DataLoader(dataset, BATCH_SIZE, sampler=sampler), epochs=rounds)
            seconds[name] = time.perf_counter() - start
            grid.animate(folder / f"{file}.gif")
            gs.save(trainer.generator.state_dict(), folder / f"{file}.safetensors")

            gs.manual_seed(seed)  # all are judged by samples of the same noise
            noise = gs.randn(judged, LATENT)
            drawn = (gs.train.predict(trainer.generator, noise) + 1) / 2
            verdicts.setdefault(name, []).append(judge(drawn))
            walk = gs.train.predict(trainer.generator, between(noise[:10], 8))
            samples[name] = drawn[:40].numpy()
            walks[f"{name}: walks between samples"] = (walk.numpy() + 1) / 2

    _, blur = verdicts["the same, blurred 3x3"][0]
    for name, pairs in verdicts.items():
        scores, distances = zip(*pairs, strict=True)
        generated = name in RECIPES  # of whom more than blur is asked
        report.add(
            name,
            "inception score by LeNet, of 10",
            scores,
            target=9 if generated else None,
            seconds=seconds.get(name),
        )
        report.add(
            name,
            "Frechet distance of LeNet's features",
            distances,
            target=blur if generated else None,
            higher=False,
        )
    draw(folder / "gan.png", {**samples, **walks})
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("gan"))
