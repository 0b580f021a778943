"""Which device is meant."""

from __future__ import annotations

from gradsmith._core import device as _Device

Where = int | str | _Device


def index(device: Where) -> int:
    """Return the number of a CUDA device, given by number, name or `gs.device`."""
    if isinstance(device, int) and not isinstance(device, bool):
        return device
    if not isinstance(device, (str, _Device)):
        raise TypeError(
            "cuda: device must be 'cuda', 'cuda:N', an index or a gs.device, "
            f"got {type(device).__name__}"
        )
    chosen = _Device(device)
    if chosen.type != "cuda":
        raise ValueError(f"cuda: device must be 'cuda', 'cuda:N' or an index, got '{chosen}'")
    return int(chosen.index)
