"""Progress: how training is going, as a bar on a terminal and as lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from .loop import Loop

__all__ = ["Progress", "format_value"]

_REFRESH_SECONDS = 0.1
_HIDDEN = ("epoch", "seconds", "samples_per_second", "lr")


def format_value(name: str, value: float) -> str:
    """Write one value of the logs: shares in percent, the rest with four digits."""
    shares = ("accuracy", "f1", "precision", "recall", "confusion")
    if name.endswith(shares) or name.removeprefix("val_").startswith("top"):
        return f"{name} {100 * value:.2f} %"
    return f"{name} {value:.4f}"


def _values(logs: Logs) -> str:
    return "  ".join(format_value(k, v) for k, v in logs.items() if k not in _HIDDEN)


def _rate(logs: Logs) -> str:
    return f"{logs['samples_per_second']:,.0f} samples/s"


class Progress(Callback):
    """Shows epoch, loss, metrics and samples per second.

    On a terminal it draws a bar with rich, or tqdm, whichever is installed; elsewhere, and
    without both, it prints one line per epoch.

    Args:
        style: "auto", "rich", "tqdm" or "plain".
        stream: where to write; standard output unless given.
    """

    def __init__(self, style: str = "auto", stream: TextIO | None = None) -> None:
        """Check and store the settings."""
        if style not in ("auto", "rich", "tqdm", "plain"):
            raise ValueError(f"Progress: style must be auto, rich, tqdm or plain, got {style!r}")
        self.style = style
        self.stream = stream
        self._bar: _Bar = _Bar(sys.stdout)

    def on_fit_start(self, trainer: Loop) -> None:
        """Choose the kind of bar."""
        stream = self.stream or sys.stdout
        style = self.style
        if style == "auto":
            style = "plain"
            if stream.isatty():
                installed = [n for n in ("rich", "tqdm") if importlib.util.find_spec(n)]
                style = installed[0] if installed else "plain"
        self._bar = {"rich": _RichBar, "tqdm": _TqdmBar, "plain": _Bar}[style](stream)
        self._next = 0.0

    def on_epoch_start(self, trainer: Loop) -> None:
        """Start a bar."""
        self._bar.start(f"epoch {trainer.epoch + 1}/{trainer.epochs}", trainer.batches)

    def on_batch_end(self, trainer: Loop, logs: Logs) -> None:
        """Move the bar, at most ten times a second."""
        now = time.monotonic()
        if now >= self._next or trainer.batch == trainer.batches:
            self._next = now + _REFRESH_SECONDS
            self._bar.move(trainer.batch, f"{_values(logs)}  {_rate(logs)}")

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Replace the bar by the epoch's line."""
        width = len(str(trainer.epochs))
        head = f"epoch {trainer.epoch:>{width}}/{trainer.epochs}"
        self._bar.stop()
        self._bar.line(f"{head}  {_values(logs)}  {_rate(logs)}")

    def on_interrupt(self, trainer: Loop) -> None:
        """Say where training stopped."""
        self._bar.stop()
        self._bar.line(f"interrupted after {trainer.epoch} of {trainer.epochs} epochs")

    def on_fit_end(self, trainer: Loop) -> None:
        """Remove what is left of a bar."""
        self._bar.stop()


class _Bar:
    """No bar: lines only. The base of the others."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def start(self, label: str, total: int) -> None:
        """Show an empty bar."""

    def move(self, done: int, text: str) -> None:
        """Show how much is done."""

    def stop(self) -> None:
        """Take the bar away; may be called again."""

    def line(self, text: str) -> None:
        """Print one line."""
        print(text, file=self.stream, flush=True)


class _RichBar(_Bar):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console

        self._console = Console(file=stream)
        self._progress: Any = None

    def start(self, label: str, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            transient=True,
            auto_refresh=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(label, total=total, text="")

    def move(self, done: int, text: str) -> None:
        self._progress.update(self._task, completed=done, text=text, refresh=True)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class _TqdmBar(_Bar):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._bar: Any = None

    def start(self, label: str, total: int) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self._bar = tqdm(total=total, desc=label, leave=False, file=self.stream, mininterval=0)

    def move(self, done: int, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
