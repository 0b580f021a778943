"""Trainer: the training loop, with validation, callbacks, checkpoints and exact resume."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import gradsmith as gs
from gradsmith._checks import number
from gradsmith._core import Tensor
from gradsmith.cuda import Graph
from gradsmith.data import DataLoader
from gradsmith.nn import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, Module, NLLLoss
from gradsmith.nn.utils import clip_grad_norm_, clip_grad_value_
from gradsmith.optim import Optimizer
from gradsmith.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from .callbacks import Callback
from .history import History
from .inference import evaluating, predict, to_cpu, to_model
from .loop import Loop
from .metrics import Metric, resolve

__all__ = ["Trainer"]

_CLASSIFICATION = (BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss)


class _Scheduler(Protocol):
    def step(self, *args: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class _MeanLoss:
    """The mean loss over batches, whatever their sizes: each counts as what its loss is a mean of.

    That is samples, or for losses of classes what is not ignored, by the classes' weights.
    """

    def __init__(self, loss: Callable[[Any, Any], Tensor]) -> None:
        self._loss = loss
        self._sum = self._count = 0.0

    def add(self, value: float, target: Any, size: int) -> None:
        count = self._counted(target, size)
        if count:  # a batch of ignored targets has no mean
            self._sum += value * count
            self._count += count

    def value(self) -> float:
        return self._sum / self._count if self._count else math.nan

    def _counted(self, target: Any, size: int) -> float:
        loss = self._loss
        if not isinstance(loss, (CrossEntropyLoss, NLLLoss)):
            return size
        if target.dtype.is_floating_point:  # probabilities of classes
            return size
        counts = target != loss.ignore_index
        if loss.weight is None:
            return float(counts.sum().item())
        return float(loss.weight[target[counts].to(gs.int64)].sum().item())


class Trainer(Loop):
    """Trains, evaluates and applies a model.

    Args:
        model: called with a batch's inputs.
        loss: `loss(output, target)`, a tensor of one element, the mean over the batch.
        optimizer: holds the model's parameters.
        scheduler: a learning-rate schedule; ReduceLROnPlateau watches val_loss, or loss.
        schedule_per: "epoch" or "batch": when the schedule advances. OneCycleLR always advances
            per batch.
        metrics: names ("accuracy", "top5", "f1", ...) or metrics; computed on training and
            validation batches. Unless given, "accuracy" where the loss is cross entropy of scores
            or logits (CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss), else none.
        callbacks: see `gradsmith.train.callbacks`.
        clip_grad_norm: scale gradients down to this joint norm.
        clip_grad_value: cut every gradient to this size.
        accumulate: batches whose gradients are averaged for one optimizer step.
        progress: True, False, or a style of `Progress`.
        check_finite: raise FloatingPointError as soon as the loss is infinite or NaN.
        precision: "float32": as the tensors are. "bf16": matrix products in bfloat16
            (`gs.autocast`, which says where that is faster), in training, evaluation and
            prediction; parameters, their master copies, stay float32.
        capture: on CUDA, record a step as a graph (`gs.cuda.Graph`, which says what that asks of
            model and optimizer) after the first batch, and replay it for every batch of the same
            shapes. Results are the same. A loss that is not finite is noticed after the step, and
            callbacks that look at gradients (`on_gradients`) are refused, as is `accumulate`.

    Batches are sequences: all items but the last go to the model, the last to the loss. Datasets
    and (inputs, target) pairs may be given in place of a DataLoader. Batches are moved to the
    model's device, and metrics see outputs and targets on the CPU.

    Example:
        >>> optimizer = gs.optim.AdamW(model.parameters())
        >>> trainer = gs.Trainer(model, gs.nn.CrossEntropyLoss(), optimizer)
        >>> history = trainer.fit(train, val, epochs=10, batch_size=64)
        >>> trainer.evaluate(test)["accuracy"]
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        *,
        scheduler: _Scheduler | None = None,
        schedule_per: str = "epoch",
        metrics: Iterable[str | Metric] | None = None,
        callbacks: Sequence[Callback] = (),
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        accumulate: int = 1,
        progress: bool | str = True,
        check_finite: bool = True,
        precision: str = "float32",
        capture: bool = False,
    ) -> None:
        """Check and store the settings."""
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be a Module, got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(f"Trainer: loss must be callable, got {type(loss).__name__}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"Trainer: optimizer must be an Optimizer, got {type(optimizer).__name__}"
            )
        if scheduler is not None and not callable(getattr(scheduler, "step", None)):
            raise TypeError(
                f"Trainer: scheduler must have a step(), got {type(scheduler).__name__}"
            )
        for name, limit in (
            ("clip_grad_norm", clip_grad_norm),
            ("clip_grad_value", clip_grad_value),
        ):
            if limit is not None and not number("Trainer", name, limit) >= 0:
                raise ValueError(f"Trainer: {name} must not be negative, got {limit}")
        if schedule_per not in ("epoch", "batch"):
            raise ValueError(f"Trainer: schedule_per must be epoch or batch, got {schedule_per!r}")
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise ValueError(f"Trainer: accumulate must be a positive int, got {accumulate!r}")
        if precision not in ("float32", "bf16"):
            raise ValueError(f"Trainer: precision must be float32 or bf16, got {precision!r}")
        if capture:
            self._check_capture(model, callbacks, accumulate)
        super().__init__(model, callbacks, progress)
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.schedule_per = "batch" if isinstance(scheduler, OneCycleLR) else schedule_per
        if metrics is None:
            metrics = ("accuracy",) if isinstance(loss, _CLASSIFICATION) else ()
        self.metrics = resolve(
            metrics,
            class_probabilities=isinstance(loss, CrossEntropyLoss),
            threshold=0.5 if isinstance(loss, BCELoss) else 0.0,
        )
        self.clip_grad_norm = clip_grad_norm
        self.clip_grad_value = clip_grad_value
        self.accumulate = accumulate
        self.check_finite = check_finite
        self.precision = precision
        self.capture = capture
        self._graph: Graph | None = None

    # -- training --------------------------------------------------------------------------------

    def fit(
        self,
        train: Any,
        val: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train until `epochs` epochs are complete, counting those done before.

        Args:
            train: a DataLoader, a dataset, or a pair (inputs, target).
            val: data to evaluate after every epoch.
            epochs: epochs in all.
            batch_size: for data that is not a DataLoader.
            shuffle: whether training data that is not a DataLoader is shuffled.
            seed: of the shuffling; otherwise the global generator decides.
            resume: a checkpoint to continue from. The run then equals one that was never
                broken off, bit for bit.

        Returns:
            One row of numbers per epoch.

        Raises:
            FloatingPointError: the loss is no longer finite.
            KeyboardInterrupt: Ctrl-C, passed on after the callbacks have finished; the last
                checkpoint is whole.
        """
        loaders = {"train": self._loader("fit", train, batch_size, shuffle, seed)}
        if val is not None:
            loaders["val"] = self._loader("fit", val, max(batch_size, 256), False, seed)
        return self._run(loaders, epochs, resume)

    def _epoch(self) -> dict[str, float]:
        rate = float(self.optimizer.param_groups[0]["lr"])
        start = time.perf_counter()
        logs = self._train_batches(start)
        seconds = time.perf_counter() - start
        speed = logs.pop("samples_per_second")
        self._call("on_validation_start")
        if "val" in self._loaders:
            values = self._measure(self._loaders["val"])
            logs.update({f"val_{name}": value for name, value in values.items()})
        self._call("on_validation_end")
        self.epoch += 1
        if self.scheduler is not None and self.schedule_per == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(logs.get("val_loss", logs["loss"]))
            else:
                self.scheduler.step()
        timing = {"lr": rate, "seconds": seconds, "samples_per_second": speed}
        return {"epoch": self.epoch, **logs, **timing}

    def _train_batches(self, start: float) -> dict[str, float]:
        self.model.train()
        for metric in self.metrics:
            metric.reset()
        mean, samples, self.batch = _MeanLoss(self.loss), 0, 0
        logs: dict[str, float] = {}
        self.optimizer.zero_grad()
        self._graph = None  # parameters may have been replaced since
        for batch in self._loaders["train"]:
            inputs, target, size = self._unpack("fit", batch)
            if self.capture and self.batch:
                output, value = self._replay(inputs, target)
            else:
                output, value = self._eager(inputs, target)
            mean.add(value, target, size)
            samples += size
            for metric in self.metrics:
                metric.update(to_cpu(output), to_cpu(target))
            last = self.batch == self.batches
            logs = {"loss": mean.value(), **self._metric_values(last)}
            logs["samples_per_second"] = samples / max(time.perf_counter() - start, 1e-9)
            self._call("on_batch_end", logs)
        return logs

    def _eager(self, inputs: tuple[Any, ...], target: Any) -> tuple[Any, float]:
        """Learn from one batch; returns the output and the loss."""
        # The last group of batches may be a short one.
        first = self.batch - self.batch % self.accumulate
        group = min(self.accumulate, self.batches - first)
        output, loss = self._forward(inputs, target)
        value = self._checked(loss)
        (loss if group == 1 else loss / group).backward()
        self.batch += 1
        if self.batch - first == group:
            self._call("on_gradients")
            self._clip()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self._after_step()
        return output, value

    def _replay(self, inputs: tuple[Any, ...], target: Any) -> tuple[Any, float]:
        """Do the same by a graph, which is recorded first if there is none yet."""
        if self._graph is None:
            self._graph = Graph(self._whole_step, *inputs, target)
        if not self._graph.fits(*inputs, target):
            return self._eager(inputs, target)
        output, loss = self._graph(*inputs, target)
        value = self._checked(loss)
        self.batch += 1
        self.optimizer.zero_grad()
        self._after_step()
        return output, value

    def _whole_step(self, *batch: Tensor) -> tuple[Any, Tensor]:
        output, loss = self._forward(batch[:-1], batch[-1])
        loss.backward()
        self._clip()
        self.optimizer.step()
        return output, loss

    def _forward(self, inputs: tuple[Any, ...], target: Any) -> tuple[Any, Tensor]:
        with self._autocast():
            output = self.model(*inputs)
            return output, self.loss(output, target)

    def _checked(self, loss: Tensor) -> float:
        value = float(loss.item())
        if self.check_finite and not math.isfinite(value):
            raise FloatingPointError(
                f"fit: the loss is {value} in epoch {self.epoch + 1}, batch {self.batch + 1}; "
                "lower the learning rate, clip gradients, or look for the op with "
                "gs.autograd.detect_anomaly()"
            )
        return value

    def _check_capture(self, model: Module, callbacks: Sequence[Callback], accumulate: int) -> None:
        if any(p.device.type != "cuda" for p in model.parameters()):
            raise ValueError("Trainer: capture=True is for models on a CUDA device")
        if accumulate != 1:
            raise ValueError(f"Trainer: capture=True needs accumulate=1, got {accumulate}")
        for callback in callbacks:
            if type(callback).on_gradients is not Callback.on_gradients:
                raise ValueError(
                    f"Trainer: {type(callback).__name__} looks at gradients within a step, which "
                    "capture=True does not stop for"
                )

    def _train_batch(self, batch: Any) -> float:
        """Make one step with one batch, outside of an epoch; returns the loss."""
        inputs, target, _ = self._unpack("fit", batch)
        with self._autocast():
            loss = self.loss(self.model(*inputs), target)
        self.optimizer.zero_grad()
        loss.backward()
        self._clip()
        self.optimizer.step()
        return float(loss.item())

    def _after_step(self) -> None:
        self._call("on_step_end")
        if self.scheduler is not None and self.schedule_per == "batch":
            self.scheduler.step()

    def _clip(self) -> None:
        if self.clip_grad_value is not None:
            clip_grad_value_(self.model.parameters(), self.clip_grad_value)
        if self.clip_grad_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)

    # -- using the model -------------------------------------------------------------------------

    def evaluate(self, data: Any, *, batch_size: int = 256) -> dict[str, float]:
        """Return loss and metrics over `data`, in evaluation mode and without gradients.

        Args:
            data: a DataLoader, a dataset, or a pair (inputs, target).
            batch_size: for data that is not a DataLoader.
        """
        return self._measure(self._loader("evaluate", data, batch_size, False, None))

    def _measure(self, loader: DataLoader) -> dict[str, float]:
        for metric in self.metrics:
            metric.reset()
        mean, samples = _MeanLoss(self.loss), 0
        with evaluating(self.model), self._autocast():
            for batch in loader:
                inputs, target, size = self._unpack("evaluate", batch)
                output = self.model(*inputs)
                mean.add(self.loss(output, target).item(), target, size)
                samples += size
                for metric in self.metrics:
                    metric.update(to_cpu(output), to_cpu(target))
        if not samples:
            raise ValueError("evaluate: the data has no samples")
        return {"loss": mean.value(), **self._metric_values()}

    def predict(self, inputs: Any, *, batch_size: int = 256) -> Tensor:
        """Return the model's outputs, in evaluation mode and without gradients.

        Args:
            inputs: a tensor or array whose first axis runs over samples, or a tuple of them; or
                a dataset or DataLoader, whose targets are left out.
            batch_size: samples per forward pass.
        """
        with self._autocast():
            return predict(self.model, inputs, batch_size=batch_size)

    def _parts(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
        }

    def _load_parts(self, state_dict: Mapping[str, Any]) -> None:
        if (state_dict["scheduler"] is None) != (self.scheduler is None):
            raise ValueError("load_checkpoint: only one of checkpoint and trainer has a scheduler")
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state_dict["scheduler"])

    # -- helpers ---------------------------------------------------------------------------------

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        device = next((p.device.type for p in self.model.parameters()), "cpu")
        return gs.autocast(device)

    def _metric_values(self, last: bool = True) -> dict[str, float]:
        """Return the metrics' values; those that take long at the last batch only."""
        return {metric.name: metric.compute() for metric in self.metrics if last or metric.running}

    def _unpack(self, owner: str, batch: Any) -> tuple[tuple[Any, ...], Any, int]:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise TypeError(
                f"{owner}: a batch must be a sequence (inputs..., target), "
                f"got {type(batch).__name__}"
            )
        *inputs, target = to_model(self.model, batch)
        return tuple(inputs), target, int(target.shape[0]) if target.shape else 1
