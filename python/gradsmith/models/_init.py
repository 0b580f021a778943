"""How the image models are initialised."""

from __future__ import annotations

from gradsmith.nn import BatchNorm2d, Conv2d, Linear, Module, init

__all__ = ["init_convolutional"]


def init_convolutional(model: Module, linear_std: float | None = None) -> None:
    """Draw convolutions by He's method from their outputs (He et al., 2015), biases as 0.

    Args:
        model: what is changed in place.
        linear_std: deviation of the weights of linear layers, with biases at 0; None leaves them.
    """
    for module in model.modules():
        if isinstance(module, Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, Linear) and linear_std is not None:
            init.normal_(module.weight, 0.0, linear_std)
            init.zeros_(module.bias)
