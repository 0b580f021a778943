"""SampleGrid: pictures of a generator's samples while it trains."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsmith.train.plotting import image_grid, new_figure

from .base import Callback

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["SampleGrid"]


class SampleGrid(Callback):
    """Draws the samples of a GANTrainer's fixed noise: images in a grid, points in the plane.

    Args:
        path: the picture; "{epoch}" in it becomes the epoch's number.
        every: draw after every so many epochs, and after the last.
        columns: images side by side.
        value_range: what is black and what is white in images.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
        ValueError: samples are neither images (N, 1 or 3, H, W) nor points (N, 2).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        columns: int = 8,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        """Check and store the settings."""
        if every < 1:
            raise ValueError(f"SampleGrid: every must be at least 1, got {every}")
        self.path = os.fspath(path)
        self.every = every
        self.columns = columns
        self.value_range = value_range
        self.written: list[str] = []

    def on_validation_start(self, trainer: Loop) -> None:
        """Draw if it is time; where weights are averaged, it is the average that draws."""
        epoch = trainer.epoch + 1  # it is counted at its end
        if epoch % self.every and epoch != trainer.epochs:
            return
        gan: Any = trainer
        samples = gan.sample().numpy()
        path = Path(self.path.format(epoch=epoch))
        path.parent.mkdir(parents=True, exist_ok=True)
        if samples.ndim == 4:
            grid = image_grid(samples, self.columns, self.value_range)
            figure = new_figure(grid.shape[1] / 100, grid.shape[0] / 100)
            figure.figimage(
                grid if grid.shape[2] == 3 else grid[..., 0], cmap="gray", vmin=0, vmax=1
            )
            figure.savefig(path, dpi=100)
        elif samples.ndim == 2 and samples.shape[1] == 2:
            self._scatter(samples, gan.reference, path, epoch)
        else:
            raise ValueError(
                f"SampleGrid: samples must be images (N, 1 or 3, H, W) or points (N, 2), "
                f"got shape {samples.shape}"
            )
        self.written.append(str(path))

    def animate(self, path: str | os.PathLike[str], seconds: float = 0.25) -> None:
        """Join the pictures drawn so far into an animated GIF.

        Args:
            path: the animation.
            seconds: how long each picture is shown.

        Raises:
            ModuleNotFoundError: Pillow is not installed; the text says how to install it.
            ValueError: there are no pictures, or all went to one file.
        """
        frames = list(dict.fromkeys(self.written))
        if len(frames) < 2:
            raise ValueError(f"SampleGrid: {len(frames)} pictures, name them by {{epoch}}")
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "animations need Pillow: pip install 'gradsmith[images]'", name="PIL"
            ) from error
        pictures = [Image.open(frame) for frame in frames]
        duration = round(1000 * seconds)
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)
        for picture in pictures:
            picture.close()

    def state_dict(self) -> dict[str, Any]:
        """Return which pictures were drawn."""
        return {"written": self.written}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.written = list(state_dict["written"])

    def _scatter(self, fake: Any, real: Any, path: Path, epoch: int) -> None:
        figure = new_figure(5, 5)
        axes = figure.subplots()
        if real is not None:
            axes.scatter(real[:, 0], real[:, 1], s=8, color="0.75", label="real")
        axes.scatter(fake[:, 0], fake[:, 1], s=8, color="tab:red", label="generated")
        axes.set(title=f"epoch {epoch}", aspect="equal")
        axes.legend(loc="upper right")
        figure.savefig(path, dpi=100)
