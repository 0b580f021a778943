"""Other libraries to compare with: each is one file here, with these functions.

    NEEDS                 the packages to install, as pip names them
    version()             of the library
    threads(count)        a context in which the library uses so many
    mode(tracked)         a context that records gradients, or does not
    prepare(name, case)   what to call for a problem, by the name of the variant (the fastest one
                          counts), or nothing where the library has no such thing

A file imports its library inside of `version` and the others, never at the top.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from ..case import Prepared, Run

__all__ = ["Peer", "load", "names"]


class Peer(Protocol):
    """What a file here has."""

    NEEDS: str

    def version(self) -> str: ...  # noqa: D102
    def threads(self, count: int) -> AbstractContextManager[object]: ...  # noqa: D102
    def mode(self, tracked: bool) -> AbstractContextManager[object]: ...  # noqa: D102
    def prepare(self, name: str, case: Prepared) -> dict[str, Run]: ...  # noqa: D102


def names() -> list[str]:
    """Return the peers that there are, as `--against` takes them."""
    folder = Path(__file__).parent
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if p.stem != "__init__")


def load(name: str) -> Peer:
    """Return a peer whose library can be imported.

    Raises:
        ImportError: saying what to install.
    """
    module: ModuleType = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    peer = cast(Peer, module)
    try:
        peer.version()
    except ImportError as error:
        raise ImportError(
            f"--against {name} needs {peer.NEEDS} ({error}): pip install 'gradsmith[peers]'"
        ) from None
    return peer
