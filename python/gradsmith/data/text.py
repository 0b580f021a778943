"""Text as numbers: vocabularies of characters or words, and datasets of both."""

from __future__ import annotations

import collections
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

from .dataset import Dataset

__all__ = ["SequenceDataset", "Vocabulary", "tokenize"]

Array = np.ndarray[Any, Any]
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def tokenize(text: str, level: str = "word", lower: bool = True) -> list[str]:
    """Return the tokens of a text: its characters, or its words and punctuation marks.

    Args:
        text: what is taken apart.
        level: "char" or "word".
        lower: whether words become lower case; characters stay as they are.
    """
    if level not in ("char", "word"):
        raise ValueError(f"tokenize: level must be char or word, got {level!r}")
    if level == "char":
        return list(text)
    return _WORD.findall(text.lower() if lower else text)


class Vocabulary:
    """Numbers for tokens, and tokens for numbers.

    Args:
        tokens: in the order of their numbers, each once.
        level: "char" or "word", which decides how texts are taken apart.
        lower: whether words become lower case.
        unknown: the token that stands for those that are not listed; without one they are errors.
        padding: the token that fills texts up; None if there is none.

    Raises:
        ValueError: a token is listed twice, or `unknown` or `padding` is not listed.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        level: str = "word",
        lower: bool = True,
        unknown: str | None = None,
        padding: str | None = None,
    ) -> None:
        """Number the tokens."""
        tokenize("", level)
        self.tokens = list(tokens)
        self.level = level
        self.lower = lower
        self.unknown = unknown
        self.padding = padding
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) != len(self.tokens):
            raise ValueError("Vocabulary: a token is listed twice")
        for name, token in (("unknown", unknown), ("padding", padding)):
            if token is not None and token not in self._numbers:
                raise ValueError(f"Vocabulary: the {name} token {token!r} is not listed")

    @classmethod
    def from_texts(
        cls,
        texts: str | Iterable[str],
        level: str = "word",
        *,
        lower: bool = True,
        min_count: int = 1,
        max_size: int | None = None,
        unknown: str | None = "<unk>",
        padding: str | None = "<pad>",
    ) -> Vocabulary:
        """Number the tokens of texts: padding 0, unknown 1, then by falling frequency.

        Build it from the training texts alone. Characters are sorted instead, and have neither a
        padding nor an unknown token.

        Args:
            texts: one or many.
            level: "char" or "word".
            lower: whether words become lower case.
            min_count: rarer tokens are left out.
            max_size: tokens in all, the special ones included.
            unknown: the token for words left out.
            padding: the token that fills texts of words up.
        """
        if level == "char":
            unknown = padding = None
        counts: collections.Counter[str] = collections.Counter()
        for text in [texts] if isinstance(texts, str) else texts:
            counts.update(tokenize(text, level, lower))
        special = [token for token in (padding, unknown) if token is not None]
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        chosen = [t for t in ranked if counts[t] >= min_count and t not in special]
        if max_size is not None:
            chosen = chosen[: max(max_size - len(special), 0)]
        if level == "char":
            chosen.sort()
        return cls([*special, *chosen], level, lower, unknown, padding)

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Say whether a token is listed."""
        return token in self._numbers

    @property
    def padding_index(self) -> int | None:
        """The number of the padding token."""
        return None if self.padding is None else self._numbers[self.padding]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens.

        Raises:
            ValueError: a token is not listed and there is none for unknown ones.
        """
        tokens = tokenize(text, self.level, self.lower)
        if self.unknown is not None:
            other = self._numbers[self.unknown]
            return [self._numbers.get(token, other) for token in tokens]
        try:
            return [self._numbers[token] for token in tokens]
        except KeyError as error:
            raise ValueError(f"Vocabulary: {error.args[0]!r} is not listed") from None

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text: characters joined, words with spaces between; padding is left out.

        Raises:
            ValueError: a number is none of a token's.
        """
        places = [int(number) for number in numbers]
        for place in places:
            if not 0 <= place < len(self.tokens):
                raise ValueError(
                    f"Vocabulary: {place} is no token's number; there are {len(self.tokens)}"
                )
        listed = [self.tokens[place] for place in places]
        kept = [token for token in listed if self.padding is None or token != self.padding]
        return ("" if self.level == "char" else " ").join(kept)

    def encode_batch(self, texts: Iterable[str], length: int | None = None) -> Tensor:
        """Return texts as (N, length), int64, filled up with the padding token or cut at the end.

        Args:
            texts: what is encoded.
            length: of every row; that of the longest text unless given.

        Raises:
            ValueError: there is no padding token, or `length` is not positive.
        """
        if self.padding_index is None:
            raise ValueError("Vocabulary: encode_batch needs a padding token")
        rows = [self.encode(text) for text in texts]
        if length is None:
            length = max(map(len, rows), default=1) or 1
        if length < 1:
            raise ValueError(f"Vocabulary: length must be positive, got {length}")
        table = np.full((len(rows), length), self.padding_index, np.int64)
        for place, row in enumerate(rows):
            table[place, : len(row)] = row[:length]
        return gs.from_numpy(table)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file."""
        Path(path).write_text(json.dumps(self._settings(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no vocabulary.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Vocabulary: {path} holds no vocabulary: {error}") from None

    def _settings(self) -> dict[str, Any]:
        names = ("tokens", "level", "lower", "unknown", "padding")
        return {name: getattr(self, name) for name in names}


class SequenceDataset(Dataset):
    """Pieces of one long sequence, each with the same piece one place later, as a target.

    Args:
        numbers: the sequence, (T), of integers.
        length: of each piece.
        stride: from one piece to the next; `length`, pieces side by side, unless given.

    Samples are (input int64 (length), target int64 (length)).

    Raises:
        TypeError: the sequence holds other numbers than integers; see `WindowDataset` for those.
        ValueError: `length` or `stride` is not positive, or the sequence is too short for a piece.
    """

    def __init__(self, numbers: Any, length: int, stride: int | None = None) -> None:
        """Check the sizes."""
        given = numbers.detach().numpy() if isinstance(numbers, Tensor) else numbers
        array = np.asarray(given)
        if array.size and array.dtype.kind not in "biu":
            raise TypeError(f"SequenceDataset: numbers must be integers, got {array.dtype}")
        self.numbers = array.astype(np.int64, copy=False)
        stride = length if stride is None else stride
        if self.numbers.ndim != 1 or length < 1 or stride < 1 or self.numbers.size <= length:
            raise ValueError(
                f"SequenceDataset: numbers must be (T), T > length > 0, stride > 0; got shape "
                f"{self.numbers.shape}, length {length}, stride {stride}"
            )
        self.length = length
        self.stride = stride

    def __len__(self) -> int:
        """Count the pieces."""
        return (self.numbers.size - self.length - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one piece and the same one place later."""
        inputs, targets = self.take(np.asarray([range(len(self))[index]]))
        return inputs[0], targets[0]

    def take(self, indices: Array) -> tuple[Tensor, Tensor]:
        """Return several pieces."""
        places = indices[:, None] * self.stride + np.arange(self.length)
        return gs.from_numpy(self.numbers[places]), gs.from_numpy(self.numbers[places + 1])
