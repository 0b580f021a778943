"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998)."""

from __future__ import annotations

from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.nn._args import choice

__all__ = ["LeNet"]


class LeNet(nn.Module):
    """Two convolutions with pooling, three linear layers.

    Args:
        num_classes: outputs.
        in_channels: channels of the images.
        activation: "relu", or "tanh" as in 1998.

    Shapes: input (N, in_channels, 28, 28), padded as the original's 32x32 were; output
    (N, num_classes). Parameters: conv1, conv2, fc1, fc2, fc3.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, activation: str = "relu"
    ) -> None:
        """Create the layers."""
        super().__init__()
        choice("LeNet", "activation", activation, ("relu", "tanh"))
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.activation = nn.ReLU() if activation == "relu" else nn.Tanh()
        self.pool = nn.MaxPool2d(2) if activation == "relu" else nn.AvgPool2d(2)

    def forward(self, input: Tensor) -> Tensor:
        """Return one score per class."""
        x = self.pool(self.activation(self.conv1(input)))
        x = self.pool(self.activation(self.conv2(x))).flatten(1)
        x = self.activation(self.fc1(x))
        return self.fc3(self.activation(self.fc2(x)))
