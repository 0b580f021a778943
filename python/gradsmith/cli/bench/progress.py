"""A bar where tqdm is installed and the output is a terminal; plain lines elsewhere."""

from __future__ import annotations

import importlib
import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]


class Progress:
    """Counts problems; rows are written through it, so that the bar stays below them."""

    def __init__(self, total: int, title: str) -> None:
        """Begin."""
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                tqdm: Any = importlib.import_module("tqdm").tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, desc=title, leave=False, dynamic_ncols=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def begin(self, what: str) -> None:
        """Show what is measured now."""
        if self._bar is not None:
            self._bar.set_postfix_str(what[:60])

    def done(self, line: str) -> None:
        """Write a row."""
        self.note(line)
        self.skip()

    def skip(self, line: str = "") -> None:
        """Count a problem that has no row; say why."""
        if line:
            self.note(line)
        if self._bar is not None:
            self._bar.update()

    def note(self, line: str) -> None:
        """Write a line."""
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.write(line)
