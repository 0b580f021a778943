"""GANTrainer: two networks trained against each other, with diagnostics and exact resume."""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.data import TensorDataset
from gradsmith.nn import Module, ModuleDict
from gradsmith.optim import Optimizer

from .callbacks import Callback
from .gan_diagnostics import coverage, diversity
from .gan_losses import GAN_LOSSES, gradient_penalty
from .history import History
from .inference import device_of, evaluating, to_cpu, to_model
from .loop import Loop

__all__ = ["GANTrainer", "GANWarning"]

_PATIENCE = 3  # epochs that must show the same before a warning
_NEIGHBOURS = 5


class GANWarning(UserWarning):
    """The generator has collapsed, or the critic has won."""


class GANTrainer(Loop):
    """Trains a generator against a critic (Goodfellow et al., 2014), in alternating steps.

    Args:
        generator: turns noise `(N, *latent)` into samples.
        critic: the discriminator; gives one score (a logit) per sample, (N) or (N, 1, ...).
        generator_optimizer: holds the generator's parameters.
        critic_optimizer: holds the critic's parameters.
        loss: "minimax", "non_saturating", "least_squares", "hinge" or "wasserstein".
        latent: size or shape of one sample's noise, which is standard normal; or a function from
            a number of samples to their noise, drawn from the global generator.
        critic_steps: steps of the critic, each on a new batch, for one of the generator.
        penalty: weight of the gradient penalty in the critic's loss; 10 for "wasserstein" unless
            given, otherwise 0.
        schedulers: learning-rate schedules of either optimizer, advanced once an epoch.
        callbacks: see `gradsmith.train.callbacks`; `SampleGrid` draws samples as training goes.
        samples: how many samples of fixed noise `sample()` gives, and the diagnostics use.
        progress: True, False, or a style of `Progress`.
        check_finite: raise FloatingPointError as soon as a loss is infinite or NaN.

    `model` holds both networks under the names "generator" and "critic". Rows of the history have
    "critic_loss", "generator_loss", "real_score" and "fake_score" (the critic's means), where the
    loss draws a line between real and fake "critic_accuracy", with a penalty "penalty", and of the
    samples from fixed noise "diversity" and "coverage" (see `gradsmith.train.gan_diagnostics`).

    Raises:
        ValueError: an argument is out of range, or not one of those allowed.

    Example:
        >>> trainer = gs.train.GANTrainer(generator, critic, g_opt, c_opt, loss="wasserstein",
        ...                               latent=64, critic_steps=5)
        >>> trainer.fit(images, epochs=20, batch_size=64)
        >>> trainer.sample(16)
    """

    def __init__(
        self,
        generator: Module,
        critic: Module,
        generator_optimizer: Optimizer,
        critic_optimizer: Optimizer,
        *,
        loss: str = "non_saturating",
        latent: int | Sequence[int] | Callable[[int], Tensor] = 64,
        critic_steps: int = 1,
        penalty: float | None = None,
        schedulers: Sequence[Any] = (),
        callbacks: Sequence[Callback] = (),
        samples: int = 64,
        progress: bool | str = True,
        check_finite: bool = True,
    ) -> None:
        """Check and store the settings."""
        for name, module in (("generator", generator), ("critic", critic)):
            if not isinstance(module, Module):
                given = type(module).__name__
                raise TypeError(f"GANTrainer: {name} must be a Module, got {given}")
        for name, optimizer in (
            ("generator_optimizer", generator_optimizer),
            ("critic_optimizer", critic_optimizer),
        ):
            if not isinstance(optimizer, Optimizer):
                given = type(optimizer).__name__
                raise TypeError(f"GANTrainer: {name} must be an Optimizer, got {given}")
        if loss not in GAN_LOSSES:
            raise ValueError(
                f"GANTrainer: loss must be one of {', '.join(GAN_LOSSES)}; got {loss!r}"
            )
        for name, count, least in (("critic_steps", critic_steps, 1), ("samples", samples, 0)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(
                    f"GANTrainer: {name} must be an int of at least {least}, got {count!r}"
                )
        super().__init__(
            ModuleDict({"generator": generator, "critic": critic}), callbacks, progress
        )
        self.generator = generator
        self.critic = critic
        self.generator_optimizer = generator_optimizer
        self.critic_optimizer = critic_optimizer
        self.loss = GAN_LOSSES[loss]
        self.penalty = self.loss.penalty if penalty is None else penalty
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise ValueError(f"GANTrainer: penalty must be finite, not negative, got {penalty}")
        self.latent = latent
        self.critic_steps = critic_steps
        self.schedulers = list(schedulers)
        self.samples = samples
        self.check_finite = check_finite
        self.critic_updates = 0
        self.fixed_noise: Tensor | None = None  # drawn when training starts
        self.reference: np.ndarray[Any, Any] | None = None  # the first real samples of the epoch

    # -- training --------------------------------------------------------------------------------

    def fit(
        self,
        train: Any,
        *,
        epochs: int = 1,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train until `epochs` epochs are complete, counting those done before.

        Args:
            train: real samples: a tensor or array, a dataset or a DataLoader. Where a batch is a
                sequence, its first item is used.
            epochs: epochs in all; one is a pass of the critic through the data.
            batch_size: for data that is not a DataLoader.
            shuffle: whether training data that is not a DataLoader is shuffled.
            seed: of the shuffling; otherwise the global generator decides.
            resume: a checkpoint to continue from. The run then equals one that was never
                broken off, bit for bit.

        Returns:
            One row of numbers per epoch.

        Raises:
            FloatingPointError: a loss is no longer finite.
            KeyboardInterrupt: Ctrl-C, passed on after the callbacks have finished.
        """
        if isinstance(train, (Tensor, np.ndarray)):
            train = TensorDataset(train)
        if self.fixed_noise is None and self.samples:
            self.fixed_noise = self._noise(self.samples)
        loaders = {"train": self._loader("fit", train, batch_size, shuffle, seed)}
        return self._run(loaders, epochs, resume)

    def _epoch(self) -> dict[str, float]:
        rate = float(self.generator_optimizer.param_groups[0]["lr"])
        start = time.perf_counter()
        self.model.train()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        logs: dict[str, float] = {}
        seen, self.batch = 0, 0
        reference: list[np.ndarray[Any, Any]] = []
        for batch in self._loaders["train"]:
            real = batch[0] if isinstance(batch, (tuple, list)) else batch
            (real,) = to_model(self.critic, (real,))
            if seen < self.samples:
                reference.append(to_cpu(real).numpy()[: self.samples - seen].copy())
            measured = self._critic_step(real)
            if self.critic_updates % self.critic_steps == 0:
                measured["generator_loss"] = self._generator_step(real.shape[0])
            self.batch += 1
            seen += real.shape[0]
            for name, value in measured.items():
                sums[name] = sums.get(name, 0.0) + value * real.shape[0]
                counts[name] = counts.get(name, 0) + real.shape[0]
            logs = {name: sums[name] / max(counts[name], 1) for name in sums}
            speed = seen / max(time.perf_counter() - start, 1e-9)
            self._call("on_batch_end", {**logs, "samples_per_second": speed})
        timing = {"lr": rate, "seconds": time.perf_counter() - start, "samples_per_second": speed}
        if reference:
            self.reference = np.concatenate(reference)
        self._call("on_validation_start")
        if self.reference is not None:
            logs.update(self._measure(self.reference))
        self._call("on_validation_end")
        self.epoch += 1
        for scheduler in self.schedulers:
            scheduler.step()
        row = {"epoch": self.epoch, **logs, **timing}
        for text in _diagnoses([*self.history.rows, row]):
            warnings.warn(text, GANWarning, stacklevel=4)
        return row

    def _critic_step(self, real: Tensor) -> dict[str, float]:
        with gs.no_grad():
            fake = self.generator(self._noise(real.shape[0]))
        if fake.shape != real.shape:
            raise ValueError(
                f"fit: the generator gives samples of shape {tuple(fake.shape)}, "
                f"the data has {tuple(real.shape)}"
            )
        self.critic_optimizer.zero_grad()
        real_score, fake_score = self.critic(real), self.critic(fake)
        loss = self.loss.critic(real_score, fake_score)
        measured = {
            "critic_loss": self._finite("critic", loss),
            "real_score": real_score.mean().item(),
            "fake_score": fake_score.mean().item(),
        }
        if (line := self.loss.threshold) is not None:
            right = (real_score > line).float().mean() + (fake_score <= line).float().mean()
            measured["critic_accuracy"] = right.item() / 2
        if self.penalty:
            penalty = gradient_penalty(self.critic, real, fake)
            measured["penalty"] = self._finite("penalty", penalty)
            loss = loss + self.penalty * penalty
        loss.backward()
        self._call("on_gradients")
        self.critic_optimizer.step()
        self.critic_optimizer.zero_grad()
        self.critic_updates += 1
        return measured

    def _generator_step(self, count: int) -> float:
        self.generator_optimizer.zero_grad()
        with _without_gradients(self.critic):
            loss = self.loss.generator(self.critic(self.generator(self._noise(count))))
            value = self._finite("generator", loss)
            loss.backward()
        self._call("on_gradients")
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad()
        self._call("on_step_end")
        return value

    def _finite(self, name: str, loss: Tensor) -> float:
        value = loss.item()
        if self.check_finite and not math.isfinite(value):
            raise FloatingPointError(
                f"fit: the loss of the {name} is {value} in epoch {self.epoch + 1}, batch "
                f"{self.batch + 1}; lower the learning rates, or penalise the critic's gradient"
            )
        return float(value)

    def _noise(self, count: int) -> Tensor:
        where = device_of(self.generator)
        if callable(self.latent):
            return self.latent(count).to(where)
        shape = (self.latent,) if isinstance(self.latent, int) else tuple(self.latent)
        dtype = next((p.dtype for p in self.generator.parameters()), gs.float32)
        return gs.randn(count, *shape, dtype=dtype, device=where)

    # -- using and judging the generator -----------------------------------------------------------

    def sample(self, count: int | None = None, *, batch_size: int = 256) -> Tensor:
        """Return samples, in evaluation mode and without gradients.

        Args:
            count: how many, of new noise; None gives those of the fixed noise, the same points of
                the latent space each time.
            batch_size: samples per forward pass.
        """
        if count is None and self.fixed_noise is None:
            self.fixed_noise = self._noise(self.samples)
        noise = self.fixed_noise if count is None else self._noise(count)
        assert noise is not None
        (noise,) = to_model(self.generator, (noise,))  # a checkpoint's lies on the CPU
        with evaluating(self.generator):
            starts = range(0, max(noise.shape[0], 1), batch_size)
            return gs.cat([self.generator(noise[at : at + batch_size]) for at in starts], 0)

    def _measure(self, real: np.ndarray[Any, Any]) -> dict[str, float]:
        fake = to_cpu(self.sample()).numpy()
        if min(len(real), len(fake)) <= _NEIGHBOURS:
            return {}
        return {
            "diversity": diversity(real, fake),
            "coverage": coverage(real, fake, _NEIGHBOURS),
        }

    # -- state -------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        return {
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "critic_updates": self.critic_updates,
            "fixed_noise": self.fixed_noise,
        }

    def _load_parts(self, state_dict: Mapping[str, Any]) -> None:
        states = state_dict["schedulers"]
        if len(states) != len(self.schedulers):
            raise ValueError(
                f"load_checkpoint: it has {len(states)} schedulers, "
                f"the trainer has {len(self.schedulers)}"
            )
        self.generator_optimizer.load_state_dict(state_dict["generator_optimizer"])
        self.critic_optimizer.load_state_dict(state_dict["critic_optimizer"])
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        self.critic_updates = state_dict["critic_updates"]
        self.fixed_noise = state_dict["fixed_noise"]


@contextlib.contextmanager
def _without_gradients(module: Module) -> Iterator[None]:
    """Spare the work for gradients of parameters that are not to be changed."""
    params = [param for param in module.parameters() if param.requires_grad]
    for param in params:
        param.requires_grad_(False)
    try:
        yield
    finally:
        for param in params:
            param.requires_grad_()


def _collapsed(row: Mapping[str, float]) -> bool:
    return row.get("diversity", math.inf) < 0.1


def _critic_won(row: Mapping[str, float]) -> bool:
    return row.get("critic_accuracy", 0.0) >= 0.99


_DIAGNOSES: tuple[tuple[Callable[[Mapping[str, float]], bool], str], ...] = (
    (
        _collapsed,
        "the generator has collapsed: samples from different noise are almost the same; take "
        "loss='wasserstein' with a gradient penalty, more critic steps, or lower learning rates",
    ),
    (
        _critic_won,
        "the critic tells all samples apart, which leaves the generator little gradient; take "
        "loss='non_saturating' or 'wasserstein', a smaller or slower critic, or fewer of its steps",
    ),
)


def _diagnoses(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what the last epochs, but not the one before them, have in common."""
    recent, before = rows[-_PATIENCE:], rows[:-_PATIENCE][-1:]
    return [
        text
        for shows, text in _DIAGNOSES
        if len(recent) == _PATIENCE and all(map(shows, recent)) and not any(map(shows, before))
    ]
