"""Models of text: a character LSTM that writes, and a convolutional classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.nn._args import positive_int
from gradsmith.nn.functional import pad
from gradsmith.train.inference import evaluating

__all__ = ["CharLSTM", "TextCNN"]

State = tuple[Tensor, Tensor]


class CharLSTM(nn.Module):
    """Predicts the next character from those before it (Graves, 2013).

    Args:
        vocab_size: different characters.
        embedding_dim: length of a character's vector.
        hidden_size: units of each LSTM layer.
        num_layers: LSTM layers.
        dropout: probability after every layer.

    Shapes: input (N, T) of character numbers, output (N, vocab_size, T): scores for the character
    after each position, with the classes where `CrossEntropyLoss` wants them. Parameters:
    embedding, lstm, head.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int = 64,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        """Create the layers."""
        super().__init__()
        self.vocab_size = positive_int("CharLSTM", "vocab_size", vocab_size)
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            embedding_dim, hidden_size, num_layers, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, vocab_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the scores, starting from an empty memory."""
        return self.step(input)[0]

    def step(self, input: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the scores and the memory after the last position, starting from `state`."""
        output, state = self.lstm(self.embedding(input), state)
        return self.head(self.dropout(output)).transpose(1, 2), state

    def generate(
        self,
        prompt: Sequence[int],
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: int | np.random.Generator | None = None,
    ) -> list[int]:
        """Continue a text, in evaluation mode and without gradients.

        Args:
            prompt: character numbers to begin with, at least one.
            length: characters to add.
            temperature: below 1 takes likelier characters; 0 always the likeliest.
            top_k: draw among so many of the likeliest characters alone.
            generator: a seed or a NumPy generator.

        Returns:
            The numbers of the added characters.

        Raises:
            ValueError: the prompt is empty, or temperature or top_k is out of range.
        """
        if not len(prompt):
            raise ValueError("generate: prompt must hold at least one character")
        if not temperature >= 0:
            raise ValueError(f"generate: temperature must not be negative, got {temperature}")
        if top_k is not None:
            positive_int("generate", "top_k", top_k)
        rng = np.random.default_rng(generator)
        written: list[int] = []
        with evaluating(self):
            scores, state = self.step(gs.tensor([list(prompt)]))
            while len(written) < length:
                last = scores[0, :, -1].double().numpy()
                written.append(_draw(last, temperature, top_k, rng))
                scores, state = self.step(gs.tensor([written[-1:]]), state)
        return written


def _draw(
    scores: np.ndarray[Any, Any], temperature: float, top_k: int | None, rng: np.random.Generator
) -> int:
    if temperature == 0:
        return int(scores.argmax())
    if top_k is not None and top_k < scores.size:
        scores = np.where(scores < np.sort(scores)[-top_k], -np.inf, scores)
    # The largest of scores with Gumbel noise is a draw from their softmax.
    return int((scores / temperature + rng.gumbel(size=scores.size)).argmax())


class TextCNN(nn.Module):
    """Classifies a text by the strongest response of filters over its words (Kim, 2014).

    Args:
        vocab_size: different words.
        num_classes: outputs.
        embedding_dim: length of a word's vector.
        num_filters: filters of each size.
        kernel_sizes: words that a filter sees.
        dropout: probability before the last layer.
        padding_idx: the number that fills short texts; None if there is none.

    Shapes: input (N, T) of word numbers, output (N, num_classes). Parameters: embedding,
    convs.0, ..., fc.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        embedding_dim: int = 128,
        num_filters: int = 100,
        kernel_sizes: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
        padding_idx: int | None = 0,
    ) -> None:
        """Create the layers."""
        super().__init__()
        if not kernel_sizes:
            raise ValueError("TextCNN: kernel_sizes must not be empty")
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx)
        self.convs = nn.ModuleList(
            nn.Conv1d(embedding_dim, num_filters, size) for size in kernel_sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(num_filters * len(kernel_sizes), num_classes)
        self.widest = max(kernel_sizes)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        x = self.embedding(input).transpose(1, 2)
        if (missing := self.widest - x.shape[2]) > 0:  # a text shorter than a filter
            x = pad(x, (0, missing))
        strongest = [conv(x).relu().amax(2) for conv in self.convs]
        return self.fc(self.dropout(gs.cat(strongest, 1)))
