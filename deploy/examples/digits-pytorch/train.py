"""Trains weights.pt and picks samples.npz (64 held-out rows, the golden inputs). Ten seconds on one core.

    python3 train.py        # with the pytorch toolchain: $(agents/toolchains/prepare pytorch)/bin/python3
"""

from __future__ import annotations

import numpy as np
import torch
from data import split
from model import Digits
from torch import nn

EPOCHS = 40


def main() -> None:
    torch.manual_seed(7)
    torch.set_num_threads(1)  # one thread, one seed: the same weights again
    images, held_out, labels, held_out_labels = split()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model.logits(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        schedule.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {total / len(x):.4f}")
    torch.save(model.eval().state_dict(), "weights.pt")
    np.savez("samples.npz", image=held_out[:64], labels=held_out_labels[:64])
    print("now run check.py")


if __name__ == "__main__":
    main()
