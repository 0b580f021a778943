"""DCGAN: a convolutional generator and its critic (Radford, Metz and Chintala, 2016)."""

from __future__ import annotations

from collections.abc import Callable

from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.nn import init
from gradsmith.nn._args import choice, positive_int

__all__ = ["DCGANDiscriminator", "DCGANGenerator"]

_NORMS: dict[str, Callable[[int], nn.Module | None]] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda channels: None,
}


def _doublings(owner: str, image_size: int) -> tuple[int, int]:
    """Return the side, 4 to 7, at which to start, and how often it doubles to the image's."""
    side, count = positive_int(owner, "image_size", image_size), 0
    while side > 7 and side % 2 == 0:
        side, count = side // 2, count + 1
    if not 4 <= side <= 7 or not count:
        raise ValueError(
            f"{owner}: image_size must be 4, 5, 6 or 7 times a power of two, got {image_size}"
        )
    return side, count


def _initialise(model: nn.Module) -> None:
    """Draw weights normally with deviation 0.02, as the paper does; factors of norms around 1."""
    for module in model.modules():
        if isinstance(module, (nn.ConvTranspose2d, nn.Conv2d)):
            init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            init.normal_(module.weight, 1.0, 0.02)
            init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """Grows an image from noise by transposed convolutions.

    Args:
        latent: length of the noise.
        channels: of the images.
        features: channels of the layer before the last; each one before it has twice as many.
        image_size: height and width: 4, 5, 6 or 7 times a power of two (28, 32, 64, ...).

    Shapes: input (N, latent) or (N, latent, 1, 1), output (N, channels, image_size, image_size) in
    [-1, 1]. Parameters: main.0.weight, main.1.weight, ..., as in PyTorch's example of 64x64 images.
    """

    def __init__(
        self, latent: int = 100, channels: int = 3, features: int = 64, image_size: int = 64
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        side, count = _doublings("DCGANGenerator", image_size)
        self.latent = positive_int("DCGANGenerator", "latent", latent)
        width = features * 2 ** (count - 1)
        layers = [
            nn.ConvTranspose2d(latent, width, side, 1, 0, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for _ in range(count - 1):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(),
            ]
            width //= 2
        self.main = nn.Sequential(
            *layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()
        )
        _initialise(self)

    def forward(self, input: Tensor) -> Tensor:
        """Return an image for each sample of noise."""
        return self.main(input.reshape(-1, self.latent, 1, 1))


class DCGANDiscriminator(nn.Module):
    """Judges images by strided convolutions; gives logits, without the sigmoid of the paper.

    Args:
        channels: of the images.
        features: channels of the first layer; each one after it has twice as many.
        image_size: height and width, as of `DCGANGenerator`.
        norm: "batch"; "layer" (one group over all channels) or "none" where a gradient penalty
            needs the samples of a batch to be independent.

    Shapes: input (N, channels, image_size, image_size), output (N). Parameters: main.0.weight,
    main.2.weight, ..., as in PyTorch's example of 64x64 images.
    """

    def __init__(
        self, channels: int = 3, features: int = 64, image_size: int = 64, norm: str = "batch"
    ) -> None:
        """Create and initialise the layers."""
        super().__init__()
        side, count = _doublings("DCGANDiscriminator", image_size)
        choice("DCGANDiscriminator", "norm", norm, tuple(_NORMS))
        layers: list[nn.Module] = [
            nn.Conv2d(channels, features, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
        ]
        width = features
        for _ in range(count - 1):
            layers.append(nn.Conv2d(width, width * 2, 4, 2, 1, bias=False))
            width *= 2
            normalise = _NORMS[norm](width)
            layers += [nn.LeakyReLU(0.2)] if normalise is None else [normalise, nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(width, 1, side, 1, 0, bias=False))
        _initialise(self)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per image, larger for those that look real."""
        return self.main(input).reshape(-1)
