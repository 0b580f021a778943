"""Deep learning on hand-written SIMD and CUDA kernels, with PyTorch's habits.

import gradsmith as gs

x = gs.randn(32, 784)
model = gs.nn.Sequential(gs.nn.Linear(784, 128), gs.nn.ReLU(), gs.nn.Linear(128, 10))
loss = gs.nn.functional.cross_entropy(model(x), gs.randint(0, 10, (32,)))
loss.backward()
"""

from __future__ import annotations

import builtins
import importlib
from types import ModuleType as _Module
from typing import TYPE_CHECKING, Any

from . import _core, _tensor
from ._along import *  # noqa: F403
from ._core import *  # noqa: F403
from ._core import (  # named for type checkers; `*` brings the ops
    Tensor,
    device,
    dtype,
    empty_cache,
    from_dlpack,
    from_numpy,
    get_num_threads,
    is_grad_enabled,
    set_num_threads,
    tensor,
)
from ._core import (
    __version__ as __version__,
)
from ._einsum import einsum as einsum
from ._elementwise import *  # noqa: F403
from ._indexed import *  # noqa: F403
from ._order import *  # noqa: F403
from ._products import *  # noqa: F403
from ._random import bernoulli as bernoulli
from ._random import get_rng_state as get_rng_state
from ._random import manual_seed as manual_seed
from ._random import multinomial as multinomial
from ._random import set_rng_state as set_rng_state
from ._shapes import *  # type: ignore[assignment] # noqa: F403 - `trace` is the matrix's here
from ._tensor import as_tensor as as_tensor
from ._tensor import empty_like as empty_like
from ._tensor import full as full  # type: ignore[assignment]
from ._tensor import full_like as full_like
from ._tensor import is_tensor as is_tensor
from ._tensor import max as max
from ._tensor import min as min
from ._tensor import ones_like as ones_like
from ._tensor import rand_like as rand_like
from ._tensor import randint as randint
from ._tensor import randn_like as randn_like
from ._tensor import zeros_like as zeros_like
from .amp import autocast as autocast
from .amp import is_autocast_enabled as is_autocast_enabled  # type: ignore[assignment]
from .autograd import enable_grad as enable_grad
from .autograd import no_grad as no_grad
from .autograd import set_grad_enabled as set_grad_enabled  # type: ignore[assignment]

if TYPE_CHECKING:
    from . import (
        amp,
        autograd,
        cuda,
        data,
        kernels,
        models,
        nn,
        optim,
        testing,
        train,
        transfer,
    )
    from .serialization import load as load
    from .serialization import save as save
    from .train import Trainer as Trainer
    from .transfer import load_pretrained as load_pretrained

bool = _core.bool
double = _core.float64
float = _core.float32
long = _core.int64

# Loaded on first use, so that `import gradsmith` stays quick.
_MODULES = (
    "amp", "autograd", "cuda", "data", "kernels", "models", "nn", "optim", "testing", "train",
    "transfer",
)  # fmt: skip
_LAZY = {
    "load": "serialization",
    "load_pretrained": "transfer",
    "save": "serialization",
    "Trainer": "train",
}

# For `from gradsmith import *`, which must not replace Python's own float, sum, max and so on.
__all__ = [
    name
    for name, value in globals().items()
    if not name.startswith("_")
    and not hasattr(builtins, name)
    and not isinstance(value, _Module)
    and name not in ("annotations", "TYPE_CHECKING", "Any")
]
__all__ += [*_MODULES, *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LAZY:
        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gradsmith' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_LAZY})
