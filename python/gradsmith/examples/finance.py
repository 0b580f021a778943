"""Finance: an LSTM forecasts tomorrow's return of a share, against a random walk.

If markets are efficient (Fama, 1970), yesterday's prices say nothing of tomorrow's return, and the
best forecast of tomorrow's price is today's: no network should have an edge. Pictures of forecast
prices that follow the true ones closely show only that prices move little in a day; so what is
forecast here is the return, and what counts is the error beside that of "no change".

Nothing leaks: walk-forward, each block of days is forecast by networks that were trained, scaled
and stopped by earlier days alone. Whether a difference is more than chance is asked with Diebold
and Mariano's test ("Comparing predictive accuracy", 1995), on the mean over the shares of each day,
for shares move together: above 1.96 there is an edge, below -1.96 a loss. As a control the same is
done with simulated returns, of which a known part can be forecast: what there is to find would be
found.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.data import WindowDataset
from gradsmith.demo.harness import Options, Report, find_data, main
from gradsmith.train import EarlyStopping
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]

SOURCE = "plotly/datasets on GitHub"
LENGTH = 20  # days that a forecast looks back
BLOCKS = 5  # of the second half of the days, each forecast by a network of its own
MEMORY = 0.25  # of the simulated returns: their square can be forecast


@dataclass(frozen=True)
class Share:
    """Daily log returns of a share: `returns[i]` is from the day before to `days[i]`."""

    days: Array
    returns: Array


def shares(path: Path, day: str, price: str, name: str | None = None) -> list[Share]:
    """Read the shares of a table, adjusted for splits and dividends."""
    table = gs.data.read_csv(path)
    names = np.full(table.rows, "") if name is None else table[name]
    found = []
    for chosen in np.unique(names.astype(str)):
        rows = table.take(names == chosen)
        order = np.argsort(rows[day].astype("datetime64[D]"))
        returns = np.diff(np.log(rows[price][order]))
        found.append(Share(rows[day][order].astype("datetime64[D]")[1:], returns))
    return found


def simulated(like: list[Share], seed: int) -> list[Share]:
    """Draw returns that remember a part of the last one, on the same days."""
    rng = np.random.default_rng([seed, 1])
    found = []
    for share in like:
        returns = rng.normal(0, 0.01, share.days.size)
        for i in range(1, returns.size):
            returns[i] += MEMORY * returns[i - 1]
        found.append(Share(share.days, returns))
    return found


class Forecaster(nn.Module):
    """An LSTM over the last days, and a linear layer."""

    def __init__(self, hidden: int = 16) -> None:
        """Create the layers; the first forecast is that nothing changes."""
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, window: Tensor) -> Tensor:
        """Map windows (N, days, 1) to the next return (N, 1)."""
        _, (last, _) = self.lstm(window)
        return self.head(last[0])


def windows(every: list[Share], scales: Array, first: Array, end: Array) -> list[Array]:
    """Return what precedes each return from `first` to before `end`, and that return.

    Returns are divided by their share's scale. Arrays: windows (N, LENGTH, 1), returns (N, 1),
    days (N), scales (N, 1) and the shares' numbers (N).
    """
    found = []
    for number, share in enumerate(every):
        begin, stop = np.searchsorted(share.days, np.array([first, end]))
        if stop <= max(begin, LENGTH):
            continue  # not traded then
        data = WindowDataset(share.returns / scales[number], LENGTH, part=slice(begin, stop))
        past, came = (tensor.numpy() for tensor in data.take(np.arange(len(data))))
        scale = np.full((len(data), 1), scales[number])
        found.append((past, came, share.days[data.starts], scale, np.full(len(data), number)))
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


@dataclass
class Forecasts:
    """Returns as they came and as they were forecast, (N), with their days and shares.

    `model` is the last block's.
    """

    model: Forecaster
    days: Array
    share: Array
    actual: Array
    lstm: Array
    linear: Array


def walk_forward(every: list[Share], seed: int, quick: bool) -> Forecasts:
    """Forecast the second half of the days, block by block."""
    gs.manual_seed(seed)
    calendar = np.unique(np.concatenate([share.days for share in every]))
    edges = calendar[np.linspace(calendar.size // 2, calendar.size - 1, BLOCKS + 1).astype(int)]
    blocks = []
    for first, end in itertools.pairwise(edges):
        before = calendar[calendar < first]
        stop = before[int(0.8 * before.size)]  # the last fifth decides when training ends
        scales = np.array([share.returns[share.days < stop].std() for share in every])
        train, val, test = (
            windows(every, scales, *part)
            for part in ((calendar[0], stop), (stop, first), (first, end))
        )
        model = Forecaster()
        gs.Trainer(
            model,
            nn.MSELoss(),
            gs.optim.AdamW(model.parameters(), lr=3e-3),
            callbacks=[EarlyStopping("val_loss", patience=5, restore_best=True)],
            clip_grad_norm=1.0,
            progress=False,
        ).fit(
            (train[0], train[1]),
            (val[0], val[1]),
            epochs=2 if quick else 30,
            batch_size=64,
            seed=seed,
        )
        seen, followed = (np.concatenate([a, b]) for a, b in zip(train[:2], val[:2], strict=True))
        weights = np.linalg.lstsq(seen[..., 0], followed, rcond=None)[0]
        past, came, days, scale, share = test
        forecast = gs.train.predict(model, past).numpy()
        columns = (came * scale, forecast * scale, past[..., 0] @ weights * scale)
        blocks.append((days, share, *(column[:, 0] for column in columns)))
    return Forecasts(model, *(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def diebold_mariano(better: Array, days: Array) -> float:
    """Return how many standard errors the mean of `better` is from 0.

    Args:
        better: by how much the squared error is smaller than that of no change, (N).
        days: of each, (N); the test is made on the means of the days, whose variance allows for
            correlation between neighbouring days (Newey and West, 1987).
    """
    _, at = np.unique(days, return_inverse=True)
    daily = np.bincount(at, better) / np.bincount(at)
    count, centred = daily.size, daily - daily.mean()
    reach = int(count ** (1 / 3))
    variance = centred @ centred / count
    for lag in range(1, reach + 1):
        variance += 2 * (1 - lag / (reach + 1)) * (centred[lag:] @ centred[:-lag]) / count
    return float(daily.mean() / math.sqrt(variance / count))


def price_r2(found: Forecasts, forecast: Array) -> float:
    """Return R² of log prices, today's plus a forecast return: high for whatever is forecast."""
    errors = totals = 0.0
    for number in np.unique(found.share):
        own = found.share == number
        price = np.cumsum(found.actual[own])
        errors += float(np.square(found.actual[own] - forecast[own]).sum())
        totals += float(np.square(price - price.mean()).sum())
    return 1 - errors / totals


def compare(report: Report, name: str, every: list[Share] | None, like: list[Share]) -> Forecasts:
    """Report the forecasts of some shares, or of simulated ones; returns the first seed's."""
    first: Forecasts | None = None
    rows: dict[tuple[str, str], list[float]] = {}
    for seed in report.options.seed_range(5):
        found = walk_forward(every or simulated(like, seed), seed, report.options.quick)
        first = first or found
        nothing = np.square(found.actual)
        for model, forecast in (("LSTM", found.lstm), ("linear", found.linear)):
            better = nothing - np.square(found.actual - forecast)
            values = {
                "R² of returns over no change, %": 100 * better.sum() / nothing.sum(),
                "Diebold-Mariano statistic": diebold_mariano(better, found.days),
                "right direction, %": 100 * (forecast * found.actual > 0).mean(),
                "R² of prices": price_r2(found, forecast),
            }
            for metric, value in values.items():
                rows.setdefault((model, metric), []).append(float(value))
            shown = ", ".join(f"{metric} {value:.3f}" for metric, value in values.items())
            print(f"{name}, seed {seed}, {model}: {shown}", flush=True)
    assert first is not None
    for (model, metric), listed in sorted(rows.items(), key=lambda row: row[0][1]):
        report.add(f"{name}, {model}", metric, listed, digits=4 if "prices" in metric else 2)
    up = 100 * (first.actual > 0).mean()
    report.add(f"{name}, always up", "right direction, %", up)
    report.add(f"{name}, no change", "R² of prices", price_r2(first, 0 * first.actual), digits=4)
    return first


def draw(path: Path, found: Forecasts, control: Forecasts) -> None:
    """Draw prices that look well forecast, the returns behind them, and those of the control."""
    figure = new_figure(13, 4)
    prices, real, drawn = figure.subplots(1, 3)
    own = found.share == 0
    price = np.exp(np.cumsum(found.actual[own]))
    before = np.concatenate([[1.0], price[:-1]])
    prices.plot(found.days[own], price, label="came")
    prices.plot(found.days[own], before * np.exp(found.lstm[own]), label="LSTM", linewidth=0.8)
    prices.set(title="price of the first share, begun at 1")
    prices.tick_params(axis="x", rotation=30)
    prices.legend()
    for axes, shown, title in ((real, found, "returns, %"), (drawn, control, "simulated, %")):
        axes.scatter(100 * shown.lstm, 100 * shown.actual, s=4, alpha=0.4)
        axes.set(title=title, xlabel="forecast", ylabel="came", xlim=(-2, 2), ylim=(-5, 5))
        axes.axline((0, 0), slope=1, color="gray", linestyle=":")
    figure.savefig(path, dpi=80)


def run(options: Options) -> None:
    """Run the example."""
    report = Report("finance", options)
    market = shares(
        find_data(options, "timeseries", "dash-stock-ticker-demo.csv", SOURCE),
        "Date", "AdjClose", "Stock",
    )  # fmt: skip
    apple = shares(
        find_data(options, "timeseries", "finance-charts-apple.csv", SOURCE),
        "Date", "AAPL.Adjusted",
    )  # fmt: skip
    found = compare(report, "five shares", market, market)
    compare(report, "Apple alone", apple, apple)
    control = compare(report, "simulated returns", None, market)
    gs.save(found.model.state_dict(), report.folder() / "finance.safetensors")
    draw(report.folder() / "finance.png", found, control)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("finance"))
