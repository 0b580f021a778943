"""A character model of Shakespeare: an LSTM reads, predicts each next character, and then writes.

What a language model is worth is the mean of -log p(next character), in nats: its cross entropy, of
which exp is the perplexity. It is measured on the last tenth of the text, which neither training
nor any choice has seen. Beside the LSTM (Graves, 2013) stand two models that count: characters
alone, and the characters before, whose counts of all lengths are interpolated (Witten and Bell,
1991).

The LSTM reads the last tenth twice: as it was trained, and while it goes on learning from each
piece that it has predicted. That is dynamic evaluation (Krause et al., 2018), for texts that differ
from those before.

Training reads the text as streams side by side. A stream's memory is carried from one piece to the
next, while gradients stop at the piece's beginning: truncated backpropagation through time
(Williams and Peng, 1990), without which nothing beyond a piece could be remembered.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, nn
from gradsmith.data import DataLoader, SequenceDataset, Vocabulary
from gradsmith.demo.harness import Options, Report, find_data, main, read_text
from gradsmith.models import CharLSTM
from gradsmith.train import EarlyStopping, History
from gradsmith.train.plotting import new_figure

Numbers = np.ndarray[Any, Any]

STREAMS, EVAL_STREAMS = 32, 8  # read side by side, in training and elsewhere
PIECE = 64  # characters through which gradients flow
TEMPERATURES = (0.3, 0.7, 1.0, 1.3)


# -- counting ----------------------------------------------------------------------------------


def _look_up(keys: Numbers, values: Numbers, wanted: Numbers) -> Numbers:
    """Return the values of keys, which are sorted; 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


class NGrams:
    """Predicts a character from counts of what followed the last `order - 1` ones.

    The estimate of every order is mixed with that of the next shorter one. Its weight grows with
    the number of different characters that have followed a context: where anything may follow, a
    context says little (Witten and Bell, 1991).

    Args:
        text: numbers of the characters to learn from.
        order: the characters that are counted together, at least 1.
        size: how many different characters there are.
    """

    def __init__(self, text: Numbers, order: int, size: int) -> None:
        """Count all runs of up to `order` characters, and what they begin with."""
        self.size = size
        self.tables = []
        for n in range(1, order + 1):
            codes = self._codes(text, n)
            runs, hits = np.unique(codes, return_counts=True)
            contexts, seen = np.unique(codes // size, return_counts=True)
            kinds = np.unique(runs // size, return_counts=True)[1]
            self.tables.append((runs, hits, contexts, seen, kinds))

    def _codes(self, text: Numbers, length: int) -> Numbers:
        """Write each run of `length` characters as one number in base `size`."""
        codes = np.zeros(max(len(text) - length + 1, 0), np.int64)
        for offset in range(length):
            codes = codes * self.size + text[offset : offset + len(codes)]
        return codes

    def nats(self, text: Numbers) -> list[float]:
        """Return the mean of -log p over a text, for each order from 1 on."""
        p = np.full(len(text), 1 / self.size)
        means = []
        for n, (runs, hits, contexts, seen, kinds) in enumerate(self.tables, 1):
            codes = self._codes(text, n)
            hit = _look_up(runs, hits, codes)
            total = _look_up(contexts, seen, codes // self.size)
            weight = _look_up(contexts, kinds, codes // self.size)
            shorter = p[n - 1 :]  # the first n - 1 characters keep it, and so do new contexts
            mixed = (hit + weight * shorter) / np.maximum(total + weight, 1)
            p[n - 1 :] = np.where(total > 0, mixed, shorter)
            means.append(float(-np.log(p).mean()))
        return means


# -- reading -----------------------------------------------------------------------------------


class Reader(CharLSTM):
    """A `CharLSTM` that goes on reading where the last batch ended.

    Switching between training and evaluation, as every epoch and every evaluation does, empties
    its memory.
    """

    memory: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> Self:
        """Switch, and forget."""
        self.memory = None
        return super().train(mode)

    def forward(self, input: Tensor) -> Tensor:
        """Return the scores; no gradient flows back into the batch before."""
        scores, (h, c) = self.step(input, self.memory)
        self.memory = (h.detach(), c.detach())
        return scores


def streams(text: Numbers, count: int, length: int) -> DataLoader:
    """Cut a text into `count` streams; batch k holds the k-th piece of each."""
    pieces = SequenceDataset(text, length)
    per_stream = len(pieces) // count
    order = np.arange(count * per_stream).reshape(count, per_stream).T
    return DataLoader(pieces, batch_sampler=order.tolist())


def train(
    model: Reader, text: Numbers, val: Numbers, epochs: int, max_lr: float
) -> tuple[gs.Trainer, History]:
    """Train with AdamW and one cycle of the rate; the epoch that reads `val` best is kept."""
    loader = streams(text, STREAMS, PIECE)
    optimizer = gs.optim.AdamW(model.parameters(), weight_decay=0.05)
    trainer = gs.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=gs.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr, epochs=epochs, steps_per_epoch=len(loader), pct_start=0.1
        ),
        clip_grad_norm=1.0,
        callbacks=[EarlyStopping(patience=3, restore_best=True)],
        precision="bf16",
    )
    history = trainer.fit(loader, streams(val, EVAL_STREAMS, PIECE), epochs=epochs)
    return trainer, history


def nats_while_learning(model: Reader, text: Numbers, lr: float) -> float:
    """Return the nats of a model that learns from each piece, after it has predicted it.

    Its weights are put back afterwards.
    """
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = gs.optim.Adam(model.parameters(), lr=lr)
    losses = []
    model.eval()
    for inputs, targets in streams(text, EVAL_STREAMS, PIECE):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.load_state_dict(weights)
    return float(np.mean(losses))


def held_out(text: Numbers) -> tuple[Numbers, Numbers]:
    """Split a text into what to learn from and a twentieth to choose by.

    The latter is taken in pieces from all over the text: a play has its own names and words, and
    one that is left out altogether is not learned.
    """
    blocks = np.array_split(text, 200)
    chosen = range(10, len(blocks), 20)
    rest = [block for place, block in enumerate(blocks) if place not in chosen]
    return np.concatenate(rest), np.concatenate([blocks[place] for place in chosen])


# -- the example -------------------------------------------------------------------------------


def run(options: Options) -> None:
    """Count, train, measure on the last tenth of the text, and write."""
    report = Report("charlm", options)
    where = "https://github.com/karpathy/char-rnn"
    path = find_data(options, "text", "tinyshakespeare.txt", where)
    text = read_text(path)[: 20_000 if options.quick else None]
    if len(text) < 5_000:
        raise ValueError(f"{path} is too short to learn from: {len(text):,} characters")
    end = len(text) * 9 // 10
    vocabulary = Vocabulary.from_texts(text, "char")  # the alphabet, test text included
    numbers = np.asarray(vocabulary.encode(text))
    known, test = numbers[:end], numbers[end:]
    learn, val = held_out(known)
    print(f"{len(text):,} characters, {len(vocabulary)} different; the last {len(test):,} to test")

    metric = "nats per character, last 10 %"
    order = int(np.argmin(NGrams(learn, 8, len(vocabulary)).nats(val))) + 1
    by_order = NGrams(known, order, len(vocabulary)).nats(test)
    report.add("characters alone", metric, by_order[0], digits=3)
    report.add(f"n-grams up to {order}, Witten-Bell", metric, by_order[-1], digits=3)

    gs.manual_seed(options.seed)
    size = 32 if options.quick else 384
    model = Reader(len(vocabulary), embedding_dim=64, hidden_size=size, num_layers=2, dropout=0.3)
    print(model.summary((1, PIECE), dtype=gs.int64), flush=True)
    start = time.perf_counter()
    trainer, history = train(model, learn, val, 1 if options.quick else 8, max_lr=3e-3)
    seconds = time.perf_counter() - start
    nats = trainer.evaluate(streams(test, EVAL_STREAMS, PIECE))["loss"]
    report.add("LSTM, 2 layers", metric, nats, target=1.5, higher=False, seconds=seconds, digits=3)
    lr = min((1e-4, 3e-4, 1e-3), key=lambda lr: nats_while_learning(model, val, lr))
    report.add(
        f"LSTM that goes on learning, rate {lr:g}",
        metric,
        nats_while_learning(model, test, lr),
        digits=3,
    )

    folder = report.folder()
    gs.save(model.state_dict(), folder / "charlm.safetensors")
    vocabulary.save(folder / "vocabulary.json")
    write(model, vocabulary, folder / "samples.txt", 50 if options.quick else 400, options.seed)
    draw(folder / "charlm.png", history, by_order, nats)
    report.finish()


def write(model: Reader, vocabulary: Vocabulary, path: Path, length: int, seed: int) -> None:
    """Let the model go on from one prompt at several temperatures; print and save it."""
    prompt = "ROMEO:"
    parts = []
    for temperature in TEMPERATURES:
        written = model.generate(vocabulary.encode(prompt), length, temperature, generator=seed)
        parts.append(f"-- temperature {temperature} --\n{prompt}{vocabulary.decode(written)}\n")
    path.write_text("\n".join(parts), encoding="utf-8")
    print("", *parts, sep="\n")


def draw(path: Path, history: History, by_order: list[float], nats: float) -> None:
    """Draw the learning curves, and every model's nats on the test text."""
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    for key, label in (("loss", "training, with dropout"), ("val_loss", "validation")):
        left.plot(history["epoch"], history[key], marker=".", label=label)
    left.set(title="nats per character", xlabel="epoch")
    left.legend()
    right.plot(range(1, len(by_order) + 1), by_order, marker="o", label="n-grams")
    right.axhline(nats, color="tab:red", label="LSTM")
    right.set(title="nats per character, last 10 %", xlabel="order of the n-grams")
    right.legend()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    raise SystemExit(main("charlm"))
