"""Sequence to sequence: written dates and numbers translated, letter by letter.

An encoder reads a text and leaves its state; a decoder starts from that state and writes the
translation (Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014;
with GRUs, and the state shown to the decoder at every step, Cho et al., 2014). In training the
decoder is given the right letters before (teacher forcing); in use, its own likeliest (greedy).

Two languages: dates in fourteen ways of writing to ISO 8601, "Thursday, 5 March 1998" to
1998-03-05, and English numbers below a million to digits. Pairs are generated. The dates, and
the numbers, of the test part appear nowhere in training, in no way of writing. What counts is a
translation that is right in every letter.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.data import DataLoader, TensorDataset, Vocabulary
from gradsmith.demo.harness import Options, Report, main
from gradsmith.nn.utils.rnn import pack_padded_sequence
from gradsmith.optim.lr_scheduler import OneCycleLR
from gradsmith.train import History
from gradsmith.train.metrics import Accuracy
from gradsmith.train.plotting import new_figure

Pairs = list[tuple[str, str]]
EDGE = "\n"  # begins and ends every translation
PAD = "\0"  # fills short ones up

WAYS = (
    "{d} {month} {y}", "{d:02} {mon} {y}", "{month} {d}, {y}", "{mon} {d:02}, {y}",
    "{weekday}, {d} {month} {y}", "{wd} {d} {mon} {y}", "{weekday}, {month} {d}{th}, {y}",
    "the {d}{th} of {month}, {y}", "{d}{th} {mon} {y}", "{y}, {month} {d}{th}",
    "{d:02}.{m:02}.{y}", "{d}.{m}.{y}", "{d:02}/{m:02}/{y}", "{y}{m:02}{d:02}",
)  # fmt: skip
ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
TENS = [
    "", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
]  # fmt: skip


def dates(count: int, rng: np.random.Generator) -> Pairs:
    """Draw different days of two centuries, each in some way of writing."""
    first = datetime.date(1900, 1, 1)
    pairs = []
    for offset in rng.choice(200 * 365, count, replace=False).tolist():
        day = first + datetime.timedelta(days=offset)
        ends = {1: "st", 2: "nd", 3: "rd"}
        th = "th" if day.day in (11, 12, 13) else ends.get(day.day % 10, "th")
        text = WAYS[rng.integers(len(WAYS))].format(
            d=day.day, m=day.month, y=day.year, th=th,
            month=f"{day:%B}", mon=f"{day:%b}", weekday=f"{day:%A}", wd=f"{day:%a}",
        )  # fmt: skip
        pairs.append((text.lower(), day.isoformat()))
    return pairs


def spelled(number: int) -> str:
    """Write a number below a million in words."""
    if number >= 1000:
        rest = number % 1000
        joint = " and " if 0 < rest < 100 else " "
        return f"{spelled(number // 1000)} thousand" + (joint + spelled(rest) if rest else "")
    if number >= 100:
        rest = number % 100
        return f"{ONES[number // 100]} hundred" + (f" and {spelled(rest)}" if rest else "")
    if number >= 20:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    return ONES[number]


def numbers(count: int, rng: np.random.Generator) -> Pairs:
    """Draw different numbers below a million."""
    return [(spelled(n), str(n)) for n in rng.choice(1_000_000, count, replace=False).tolist()]


class Seq2Seq(nn.Module):
    """An encoder-decoder of GRUs.

    Args:
        source: letters that are read; 0 is padding.
        target: letters that are written.
        hidden: units of each GRU.
    """

    def __init__(self, source: int, target: int, hidden: int = 128) -> None:
        """Create the layers."""
        super().__init__()
        self.read = nn.Embedding(source, 32)
        self.encoder = nn.GRU(32, hidden // 2, batch_first=True, bidirectional=True)
        self.written = nn.Embedding(target, 32)
        self.decoder = nn.GRU(32 + hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, target)

    def encode(self, text: Tensor) -> Tensor:
        """Map texts (N, S) to what is known of them, (1, N, hidden)."""
        lengths = (text != 0).sum(1)
        packed = pack_padded_sequence(self.read(text), lengths, True, enforce_sorted=False)
        _, (forth, back) = self.encoder(packed)
        return gs.cat([forth, back], 1).unsqueeze(0)

    def decode(self, before: Tensor, state: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Map letters (N, T) to scores (N, target, T) of the letters that follow them."""
        everywhere = known[0].unsqueeze(1).expand(-1, before.shape[1], -1)
        output, state = self.decoder(gs.cat([self.written(before), everywhere], 2), state)
        return self.head(output).transpose(1, 2), state

    def forward(self, text: Tensor, before: Tensor) -> Tensor:
        """Score every letter of translations, given those before it (teacher forcing)."""
        known = self.encode(text)
        return self.decode(before, known, known)[0]

    def translate(self, text: Tensor, start: int, length: int) -> Tensor:
        """Write translations (N, length) in evaluation mode, always the likeliest letter."""
        self.eval()
        with gs.no_grad():
            known = state = self.encode(text)
            letters = [gs.full((text.shape[0], 1), start, dtype=gs.int64)]
            for _ in range(length):
                scores, state = self.decode(letters[-1], state, known)
                letters.append(scores.argmax(1))
        return gs.cat(letters[1:], 1)


class Translator:
    """A network with the alphabets of both sides."""

    def __init__(self, pairs: Pairs) -> None:
        """Take the letters from pairs."""
        texts, translations = zip(*pairs, strict=True)
        self.source, self.target = (
            Vocabulary([PAD, *special, *sorted(set("".join(side)))], "char", padding=PAD)
            for side, special in ((texts, ()), (translations, (EDGE,)))
        )
        self.model = Seq2Seq(len(self.source), len(self.target))
        self.longest = max(map(len, translations))

    def dataset(self, pairs: Pairs) -> TensorDataset:
        """Return (text, translation without its last letter, translation without its first)."""
        text = self.source.encode_batch([text for text, _ in pairs])
        framed = self.target.encode_batch([f"{EDGE}{answer}{EDGE}" for _, answer in pairs])
        return TensorDataset(text, framed[:, :-1], framed[:, 1:])

    def __call__(self, texts: list[str]) -> list[str]:
        """Translate texts."""
        start = self.target.encode(EDGE)[0]
        answers = []
        for first in range(0, len(texts), 500):
            batch = self.source.encode_batch(texts[first : first + 500])
            written = self.model.translate(batch, start, self.longest + 1).numpy()
            answers += [self.target.decode(row).split(EDGE)[0] for row in written]
        return answers


def nearest(known: Pairs, texts: list[str]) -> list[str]:
    """Give each text the translation of the known one that shares most pairs of letters with it."""

    def counts(texts: list[str]) -> np.ndarray[Any, Any]:
        table = np.zeros((len(texts), 1024), np.float32)
        for row, text in enumerate(texts):
            for first, second in itertools.pairwise(text):
                table[row, (31 * ord(first) + ord(second)) % 1024] += 1
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    best = (counts(texts) @ counts([text for text, _ in known]).T).argmax(1)
    return [known[i][1] for i in best]


def share_right(answers: list[str], pairs: Pairs) -> float:
    """Return how many translations are right in every letter, in percent."""
    return 100 * float(np.mean([a == b for a, (_, b) in zip(answers, pairs, strict=True)]))


def train(translator: Translator, pairs: Pairs, val: Pairs, seed: int, epochs: int) -> History:
    """Train for a fixed number of epochs."""
    loader = DataLoader(translator.dataset(pairs), 128, shuffle=True, generator=seed)
    optimizer = gs.optim.AdamW(translator.model.parameters(), weight_decay=1e-4)
    trainer = gs.Trainer(
        translator.model,
        nn.CrossEntropyLoss(ignore_index=0),
        optimizer,
        scheduler=OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * len(loader)),
        metrics=[Accuracy(ignore_index=0)],
        clip_grad_norm=1.0,
    )
    return trainer.fit(loader, translator.dataset(val), epochs=epochs)


def language(
    report: Report, name: str, draw_pairs: Callable[..., Pairs], epochs: int
) -> tuple[History, list[str]]:
    """Report one language over the seeds; returns the last one's history and some translations."""
    options = report.options
    sizes = (400, 50, 50) if options.quick else (20_000, 1000, 2000)
    exact, seconds, known = [], [], []
    for seed in options.seed_range(3):
        gs.manual_seed(seed)
        pairs = draw_pairs(sum(sizes), np.random.default_rng(seed))
        seen, val, test = pairs[: sizes[0]], pairs[sizes[0] : -sizes[2]], pairs[-sizes[2] :]
        translator = Translator(seen)
        print(f"{name}, seed {seed}: {len(seen):,} pairs to learn from", flush=True)
        history = train(translator, seen, val, seed, 1 if options.quick else epochs)
        seconds.append(sum(history["seconds"]))
        texts = [text for text, _ in test]
        answers = translator(texts)
        exact.append(share_right(answers, test))
        known.append(share_right(nearest(seen[:5000], texts), test))
        for (text, right), answer in zip(test, answers, strict=True):
            if answer != right:
                print(f"  wrong: {text} -> {answer}", flush=True)
    metric = "held-out strings exactly right, %"
    report.add(
        f"{name}, GRU encoder-decoder", metric, exact, target=99.0, seconds=float(np.mean(seconds))
    )
    report.add(f"{name}, most similar text seen", metric, known)
    gs.save(translator.model.state_dict(), report.folder() / f"{name}.safetensors")
    shown = [f"{text}\n    → {answer}" for text, answer in zip(texts[:5], answers[:5], strict=True)]
    return history, shown


def run(options: Options) -> None:
    """Run the example."""
    report = Report("seq2seq", options)
    figure = new_figure(12, 4)
    curves, samples = figure.subplots(1, 2, width_ratios=[2, 3])
    lines = []
    for name, draw_pairs, epochs in (("dates", dates, 8), ("numbers", numbers, 6)):
        history, shown = language(report, name, draw_pairs, epochs)
        wrong = 100 * (1 - np.array(history["val_accuracy"]))
        curves.semilogy(history["epoch"], np.maximum(wrong, 1e-3), marker=".", label=name)
        lines += shown
    curves.set(title="wrong letters, validation", xlabel="epoch", ylabel="%")
    curves.legend()
    samples.axis("off")
    samples.set_title("held-out texts and their translations")
    samples.text(0, 1, "\n".join(lines), va="top", fontsize=10, wrap=True)
    figure.savefig(report.folder() / "seq2seq.png", dpi=75)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("seq2seq"))
