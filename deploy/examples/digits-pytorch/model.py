"""The network: two convolutions and two dense layers over 8x8 grey images, about 22 000 weights."""

from __future__ import annotations

import torch
from torch import nn


class Digits(nn.Module):
    """Images [N, 1, 8, 8] with values 0..1 in, probabilities of the ten digits [N, 10] out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classify = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.logits(image), dim=1)
