"""Sentiment: is a sentence about a film praise or blame? By CNN, by LSTM, and by counting.

The data are 5,331 + 5,331 sentences from reviews (Pang and Lee, 2005). `gs.models.TextCNN` looks
for telling runs of words (Kim, "Convolutional neural networks for sentence classification", 2014:
76.1 % with word vectors learned from scratch, as here). A bidirectional LSTM reads the sentences
packed, so that padding is neither read nor paid for. Beside them stands naive Bayes on words and
pairs of words, hard to beat here (Wang and Manning, "Baselines and bigrams", 2012: 79.0 %).

So little text is soon known by heart. Against that help small word vectors, of which one place
begins with what naive Bayes has counted, dropout, words hidden at random, smoothed labels, an
average of the weights (EMA), and early stopping by validation.

As in the literature, what counts is the mean over ten folds: seed i tests on fold i.
"""

from __future__ import annotations

import collections
import itertools
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.data import DataLoader, Vocabulary, tokenize
from gradsmith.demo.harness import Options, Report, find_data, main, read_text
from gradsmith.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from gradsmith.train import EMA, EarlyStopping, History
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]
Feature = str | tuple[str, str]

SOURCE = "dennybritz/cnn-text-classification-tf on GitHub"
FOLDS = 10
MODELS = ("CNN", "LSTM")
PADDING, UNKNOWN = 0, 1  # as `Vocabulary.from_texts` numbers them
HIDDEN_WORDS = 0.2  # the share that training replaces by UNKNOWN


class BiLSTM(nn.Module):
    """Classifies a text by the strongest responses of an LSTM that reads it in both directions.

    Args:
        words: size of the vocabulary.
        classes: outputs.
        size: of word vectors, and of the memory of each direction.
        dropout: probability for word vectors and for responses.
    """

    def __init__(self, words: int, classes: int, size: int = 64, dropout: float = 0.5) -> None:
        """Create the layers."""
        super().__init__()
        self.embedding = nn.Embedding(words, size, padding_idx=PADDING)
        self.lstm = nn.LSTM(size, size, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * size, classes)

    def forward(self, text: Tensor) -> Tensor:
        """Map texts (N, T) to scores (N, classes)."""
        lengths = (text != PADDING).sum(1)
        vectors = self.dropout(self.embedding(text))
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        # Responses lie above -1, so that padding is never the strongest.
        responses, _ = pad_packed_sequence(self.lstm(packed)[0], True, padding_value=-1.0)
        return self.fc(self.dropout(responses.amax(1)))


def log_ratios(texts: Array, labels: Array, smoothing: int) -> dict[Feature, float]:
    """Return how much likelier each word, and each pair of words, is in praise than in blame.

    The logarithms of these ratios, of all that is in a text, add up to naive Bayes' answer.
    `smoothing` is added to every count.
    """
    counts = [collections.Counter[Feature](), collections.Counter[Feature]()]
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(features(text))
    known = counts[0] | counts[1]
    blame, praise = (count.total() + smoothing * len(known) for count in counts)
    even = float(np.log(blame / praise))
    return {
        f: float(np.log((counts[1][f] + smoothing) / (counts[0][f] + smoothing))) + even
        for f in known
    }


def features(text: str) -> set[Feature]:
    """Return the words of a text and the pairs of neighbours, each once."""
    words = tokenize(text)
    return {*words, *itertools.pairwise(words)}


def build(name: str, vocabulary: Vocabulary, ratios: dict[Feature, float]) -> nn.Module:
    """Return a fresh "CNN" or "LSTM", with small word vectors whose first place is the ratio."""
    words = len(vocabulary)
    model: gs.models.TextCNN | BiLSTM
    if name == "CNN":
        model = gs.models.TextCNN(words, 2, embedding_dim=64, kernel_sizes=(1, 2, 3))
    else:
        model = BiLSTM(words, 2)
    vectors = 0.1 * model.embedding.weight.detach()
    vectors[:, 0] = gs.tensor([ratios.get(word, 0.0) for word in vocabulary.tokens])
    with gs.no_grad():
        model.embedding.weight.copy_(vectors)
    return model


def loader(
    texts: Array, labels: Array, vocabulary: Vocabulary, training: bool, seed: int
) -> DataLoader:
    """Return batches of word numbers, padded to the longest sentence of each, and labels."""

    def join(batch: list[tuple[str, int]]) -> tuple[Tensor, Tensor]:
        sentences, answers = zip(*batch, strict=True)
        return vocabulary.encode_batch(sentences), gs.tensor(answers)

    def hide(batch: tuple[Tensor, Tensor], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        numbers = batch[0].numpy()
        hidden = (rng.random(numbers.shape) < HIDDEN_WORDS) & (numbers != PADDING)
        return gs.from_numpy(np.where(hidden, UNKNOWN, numbers)), batch[1]

    return DataLoader(
        list(zip(texts.tolist(), labels.tolist(), strict=True)),
        64 if training else 256,
        shuffle=training,
        collate_fn=join,
        generator=seed,
        transform=hide if training else None,
    )


def fit(name: str, model: nn.Module, train: DataLoader, val: DataLoader, epochs: int) -> History:
    """Train with the weights of the epoch that is best on `val`."""
    optimizer = gs.optim.AdamW(model.parameters(), lr=1e-3 if name == "CNN" else 2e-3)
    trainer = gs.Trainer(
        model,
        nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer,
        callbacks=[EMA(0.99), EarlyStopping("val_accuracy", patience=2, restore_best=True)],
        clip_grad_norm=3.0,
    )
    return trainer.fit(train, val, epochs=epochs)


def draw(path: Path, curves: dict[str, History], found: dict[str, list[float]]) -> None:
    """Draw how the first fold was learned, and the accuracy of every fold."""
    figure = new_figure(11, 4)
    learned, folds = figure.subplots(1, 2)
    for number, (name, history) in enumerate(curves.items()):
        for key, style in (("accuracy", "--"), ("val_accuracy", "-")):
            values = 100 * np.array(history[key])
            label = f"{name}, {'training' if style == '--' else 'validation'}"
            learned.plot(history["epoch"], values, style, color=f"C{number}", label=label)
    learned.set(title="accuracy, first fold, %", xlabel="epoch")
    learned.legend()
    for place, accuracies in enumerate(found.values()):
        folds.plot(accuracies, np.full(len(accuracies), place), "o", alpha=0.5)
        folds.plot(np.mean(accuracies), place, "k|", markersize=20)
    folds.set(title="test accuracy of each fold, and the mean, %", ylim=(len(found) - 0.5, -0.5))
    folds.set_yticks(range(len(found)), list(found))
    figure.savefig(path, dpi=80)


def read(options: Options) -> tuple[Array, Array]:
    """Read the sentences and whether each is praise, 1, or blame, 0."""
    blame, praise = (
        read_text(find_data(options, "text", f"rt-polarity.{kind}", SOURCE), "replace").splitlines()
        for kind in ("neg", "pos")
    )
    labels = np.repeat([0, 1], [len(blame), len(praise)])
    return np.array(blame + praise, dtype=object), labels


def run_fold(
    report: Report, texts: Array, labels: Array, rest: Array, test: Array, seed: int
) -> tuple[dict[str, Array], dict[str, History]]:
    """Return what each model takes for praise in one fold, and how the networks learned."""
    gs.manual_seed(seed)
    rest = np.random.default_rng(seed).permutation(rest)
    val, train = np.split(rest, [len(rest) // 9])
    vocabulary = Vocabulary.from_texts(texts[train], min_count=2)
    vocabulary.save(report.folder() / "vocabulary.json")
    batches, held, asked = (
        loader(texts[rows], labels[rows], vocabulary, rows is train, seed)
        for rows in (train, val, test)
    )
    ratios = log_ratios(texts[rest], labels[rest], smoothing=1)
    sums = [sum(ratios.get(f, 0.0) for f in features(text)) for text in texts[test]]
    praised = {"naive Bayes, words and pairs": np.array(sums) > 0}
    # Little of rare words, which would tell the training sentences their own labels.
    ratios = log_ratios(texts[train], labels[train], smoothing=10)
    histories, chances = {}, []
    for name in MODELS:
        print(f"fold {seed % FOLDS}, {name}", flush=True)
        model = build(name, vocabulary, ratios)
        epochs = 1 if report.options.quick else 10
        histories[name] = fit(name, model, batches, held, epochs)
        chances.append(gs.train.predict(model, asked).softmax(1).numpy()[:, 1])
        praised[name] = chances[-1] > 0.5
        gs.save(model.state_dict(), report.folder() / f"{name.lower()}.safetensors")
    praised["CNN and LSTM, averaged"] = np.mean(chances, 0) > 0.5
    return praised, histories


def run(options: Options) -> None:
    """Run the example."""
    report = Report("sentiment", options)
    texts, labels = read(options)
    folds = gs.data.k_fold(len(texts), FOLDS, labels=labels, seed=0)
    found: dict[str, list[float]] = {}
    curves: list[dict[str, History]] = []
    for seed in options.seed_range(FOLDS):
        rest, test = folds[seed % FOLDS]
        praised, histories = run_fold(report, texts, labels, rest, test, seed)
        curves.append(histories)
        for name, answers in praised.items():
            found.setdefault(name, []).append(100 * float((answers == labels[test]).mean()))
            print(f"  {name}: {found[name][-1]:.2f} % of the test fold", flush=True)
    for name, accuracies in found.items():
        target = spent = None
        if name in MODELS:
            target = 76.0
            spent = float(np.mean([sum(histories[name]["seconds"]) for histories in curves]))
        report.add(name, "test accuracy, %", accuracies, target=target, seconds=spent)
    draw(report.folder() / "sentiment.png", curves[0], found)
    report.finish()


if __name__ == "__main__":
    raise SystemExit(main("sentiment"))
