"""Forecasting with an LSTM, always beside forecasts that are simple and hard to beat.

- sunspots: the monthly mean numbers of 1749 to 1983, forecast for each of the next twelve months
  from the last eleven years, about one cycle of the sun;
- air pollution: fine dust (PM2.5) in Beijing, hour by hour from 2010 to 2014 with the weather
  (Liang et al., 2015), forecast one hour ahead from the last day.

The rivals: persistence (it stays as it is), the season (as one cycle or one day ago), and a linear
autoregression on the very same windows. The network forecasts the change from the last value, so
that it begins as persistence and has only to learn what persistence misses.

Parts follow each other in time: the first to learn from, the second to choose by, the last to test.
Scales and categories are those of the first. Gaps are filled with the last measurement before, as
in a forecast they would have to be; a gap is never a target.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, nn
from gradsmith.data import (
    DataLoader,
    Standardizer,
    Subset,
    Table,
    TableEncoder,
    WindowDataset,
    read_csv,
    time_split,
)
from gradsmith.demo.harness import Options, Report, find_data, main
from gradsmith.train import EarlyStopping
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]
Batch = tuple[Tensor, Tensor]


# -- data --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """A series as windows in three parts; the first column of a window is what is forecast.

    Args:
        unit: of what is forecast.
        mean: what 0 in the windows is in that unit.
        scale: what a step of 1 is.
        parts: windows (length, features) with targets (horizon), to learn, choose and test.
        step: what a step of time is.
        season: steps after which things repeat; at most a window's length.
        leads: steps ahead for which errors are reported, from 1.
    """

    unit: str
    mean: float
    scale: float
    parts: list[Subset]
    step: str
    season: int
    leads: tuple[int, ...]

    def arrays(self, part: int) -> tuple[Array, Array]:
        """Return all windows (N, length, features) and targets (N, horizon) of a part."""
        windows, targets = self.parts[part].take(np.arange(len(self.parts[part])))
        return windows.numpy(), targets.numpy()

    def errors(self, forecasts: Array) -> list[float]:
        """Return the RMSE of forecasts (N, horizon) for the test part, for each of the leads."""
        squares = np.square(forecasts - self.arrays(2)[1]).mean(0)
        return [self.scale * float(squares[lead - 1]) ** 0.5 for lead in self.leads]


def windows(
    values: Array, measured: Array, length: int, horizon: int, shares: tuple[float, ...]
) -> list[Subset]:
    """Cut a series (T, features) into windows whose targets, of the first column, were measured."""
    parts = []
    for part in time_split(len(values), shares):
        every = WindowDataset(values, length, horizon, targets=0, part=part)
        complete = measured[every.starts[:, None] + np.arange(horizon)].all(1)
        parts.append(Subset(every, np.flatnonzero(complete)))
    return parts


def sunspots(options: Options) -> Series:
    """Read the sunspot numbers; 0 stays 0, so that a window times a number is a window."""
    where = "https://github.com/jbrownlee/Datasets"
    path = find_data(options, "timeseries", "monthly-sunspots.csv", where)
    numbers = read_csv(path)["Sunspots"]
    shares = (0.7, 0.15, 0.15)
    scale = float(numbers[time_split(len(numbers), shares)[0]].std())
    parts = windows(numbers[:, None] / scale, np.isfinite(numbers), 132, 12, shares)
    return Series("sunspots", 0.0, scale, parts, "month", season=132, leads=(1, 6, 12))


def pollution(options: Options) -> Series:
    """Read the dust, the weather and the direction of the wind; add the time of day and year."""
    where = "https://archive.ics.uci.edu/dataset/381"
    table = read_csv(find_data(options, "timeseries", "pollution.csv", where))
    dust = table["pm2.5"]
    measured = np.isfinite(dust)
    last = np.maximum.accumulate(np.where(measured, np.arange(len(dust)), 0))
    day, year = 2 * np.pi * table["hour"] / 24, 2 * np.pi * table["month"] / 12
    columns = Table(
        {
            "dust": dust[last],
            "gap": ~measured,
            **{name: table[name] for name in ("DEWP", "TEMP", "PRES", "cbwd")},
            "wind": np.log1p(table["Iws"]),
            **{name: table[name] > 0 for name in ("Is", "Ir")},  # hours of snow, of rain
            "day, sin": np.sin(day),
            "day, cos": np.cos(day),
            "year, sin": np.sin(year),
            "year, cos": np.cos(year),
        }
    )
    shares = (0.6, 0.2, 0.2)  # three years, one, and one
    first = columns.take(time_split(columns.rows, shares)[0])
    values = TableEncoder().fit(first).transform(columns)
    scaler = Standardizer().fit(first["dust"])
    parts = windows(values, measured, 24, 1, shares)
    return Series(
        "ug/m3", float(scaler.mean), float(scaler.std), parts, "hour", season=24, leads=(1,)
    )


# -- forecasts ---------------------------------------------------------------------------------


def linear(series: Series) -> tuple[Callable[[Array], Array], str]:
    """Fit the change from the last value by ridge regression on the last few steps.

    Returns:
        What forecasts from windows, and what was chosen on the second part: steps and penalty.
    """
    learned, targets = series.arrays(0)
    judged, truth = series.arrays(1)

    def features(windows: Array, steps: int) -> Array:
        flat = windows[:, -steps:].reshape(len(windows), -1)
        return np.column_stack([flat, np.ones(len(flat))]).astype(np.float64)

    def fit(steps: int, penalty: float) -> Callable[[Array], Array]:
        x = features(learned, steps)
        change = targets - learned[:, -1, :1]
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ change)
        return lambda windows: windows[:, -1, :1] + features(windows, steps) @ weights

    choices = {
        f"{steps} {series.step}s, penalty {penalty}": fit(steps, penalty)
        for steps in (6, 12, 24, 48, 96, 132)
        if steps <= learned.shape[1]
        for penalty in (1, 10, 100, 1000)
    }
    best = min(choices, key=lambda name: float(np.square(choices[name](judged) - truth).mean()))
    return choices[best], best


class Forecaster(nn.Module):
    """An LSTM that forecasts how the first feature will differ from its last value.

    Args:
        features: per step.
        hidden_size: of the LSTM.
        horizon: steps to forecast.

    Shapes: input (N, T, features), output (N, horizon).
    """

    def __init__(self, features: int, hidden_size: int, horizon: int) -> None:
        """Create the layers."""
        super().__init__()
        self.lstm = nn.LSTM(features, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(hidden_size, horizon)

    def forward(self, input: Tensor) -> Tensor:
        """Return the forecasts."""
        _, (hidden, _) = self.lstm(input)
        return input[:, -1, :1] + self.head(self.dropout(hidden[0]))


def rescaled(batch: Batch, rng: np.random.Generator) -> Batch:
    """Multiply each window and its target by a number of its own.

    Cycles of the sun differ several-fold; the next may be stronger than any to learn from.
    """
    windows, targets = batch
    factors = np.exp(rng.uniform(-0.5, 0.5, (len(windows), 1))).astype(np.float32)
    by = gs.from_numpy(factors)
    return windows * by.unsqueeze(2), targets * by


def train(
    series: Series,
    hidden_size: int,
    seed: int,
    *,
    epochs: int,
    lr: float,
    transform: Callable[[Batch, np.random.Generator], Batch] | None = None,
) -> gs.Trainer:
    """Train an LSTM with AdamW; the epoch that forecasts the second part best is kept."""
    gs.manual_seed(seed)
    learn, choose, _ = series.parts
    window, target = learn[0]
    model = Forecaster(window.shape[1], hidden_size, len(target))
    optimizer = gs.optim.AdamW(model.parameters(), lr=lr)
    trainer = gs.Trainer(
        model,
        nn.MSELoss(),
        optimizer,
        scheduler=gs.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        clip_grad_norm=1.0,
        callbacks=[EarlyStopping(patience=epochs // 3, restore_best=True)],
    )
    loader = DataLoader(learn, 64, shuffle=True, generator=seed, transform=transform)
    trainer.fit(loader, choose, epochs=epochs)
    return trainer


# -- the example -------------------------------------------------------------------------------


def compare(
    report: Report,
    name: str,
    series: Series,
    target: float | None,
    variants: dict[str, dict[str, Any]],
) -> tuple[dict[str, Array], gs.Trainer]:
    """Report the rivals' and the LSTMs' errors on the test part.

    Args:
        report: gets a row for each forecast and lead.
        name: of what is forecast.
        series: the data.
        target: of the LSTMs' errors.
        variants: settings of `train` for each LSTM.

    Returns:
        Forecasts of the test part by method, of the first seed; and what trained the last LSTM.
    """
    inputs, truth = series.arrays(2)
    horizon = truth.shape[1]

    def add(method: str, errors: list[list[float]], **settings: Any) -> None:
        for lead, values in zip(series.leads, zip(*errors, strict=True), strict=True):
            ahead = f"{lead} {series.step}{'s' if lead > 1 else ''} ahead"
            metric = f"RMSE {ahead}, {series.unit}"
            report.add(f"{name}: {method}", metric, values, higher=False, **settings)

    predict, chosen = linear(series)
    start = inputs.shape[1] - series.season
    forecasts = {
        "persistence": np.repeat(inputs[:, -1, :1], horizon, 1),
        f"as {series.season} {series.step}s ago": inputs[:, start : start + horizon, 0],
        f"linear, {chosen}": predict(inputs),
    }
    for method, values in forecasts.items():
        add(method, [series.errors(values)])

    for method, settings in variants.items():
        trainers, begin = [], time.perf_counter()
        for seed in report.options.seed_range(3):
            print(f"\n{name}: {method}, seed {seed}", flush=True)
            trainers.append(train(series, seed=seed, **settings))
        seconds = (time.perf_counter() - begin) / len(trainers)
        outputs = [trainer.predict(inputs).numpy() for trainer in trainers]
        add(method, [series.errors(o) for o in outputs], target=target, seconds=seconds)
        forecasts[method] = outputs[0]
    return forecasts, trainers[0]


def run(options: Options) -> None:
    """Forecast both series."""
    report = Report("forecast", options)
    quick = options.quick
    sun, dust = sunspots(options), pollution(options)
    slow = {"hidden_size": 32, "epochs": 1 if quick else 60, "lr": 3e-3}
    fast = {"hidden_size": 64, "epochs": 1 if quick else 15, "lr": 1e-3}
    forecasts, trainer = compare(
        report,
        "sunspots",
        sun,
        None,
        {"LSTM": slow, "LSTM, rescaled cycles": {**slow, "transform": rescaled}},
    )
    hourly, other = compare(report, "PM2.5", dust, 26.5, {"LSTM": fast})

    folder = report.folder()
    gs.save(trainer.model.state_dict(), folder / "sunspots.safetensors")
    gs.save(other.model.state_dict(), folder / "pollution.safetensors")
    draw(folder / "forecast.png", (sun, forecasts), (dust, hourly))
    report.finish()


def draw(path: Path, *results: tuple[Series, dict[str, Array]]) -> None:
    """Draw the truth and some forecasts of the farthest lead, over a stretch of the test part."""
    figure = new_figure(10, 7)
    for axes, (series, forecasts) in zip(figure.subplots(2, 1), results, strict=True):
        lead = series.leads[-1]
        lines = {"measured": series.arrays(2)[1], **dict(list(forecasts.items())[2:])}
        for method, values in lines.items():
            style = {"color": "black", "lw": 3, "alpha": 0.4} if method == "measured" else {"lw": 1}
            end = values[-400:, lead - 1]
            axes.plot(series.mean + series.scale * end, label=method, **style)
        axes.set(
            title=f"{series.unit}, forecast {lead} {series.step}(s) ahead",
            xlabel=f"{series.step}, the last of the test part",
        )
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    raise SystemExit(main("forecast"))
