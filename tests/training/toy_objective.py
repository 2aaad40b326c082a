"""A toy objective with everything that a training must not lose: dropout, two turns, a moving average, fitted targets.

The trunk's features (dropped out) predict what the image looks like on a grid of 2 x 2; a critic learns in a turn of
its own to tell predictions from truth.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from netphys.objectives.contract import Group, Objective, Spec, Step
from netphys.stimuli import StimulusSet
from netphys.stimuli.views import Crop, ViewLaw

NETWORK = "netphys:small_alexnet?width=2"


class Toy(Objective):
    """Predict the image at 2 x 2."""

    name = "toy"
    turns = ("main", "critic")

    def __init__(self, trunk, *, size, normalise=None, dropout=0.2):
        super().__init__(trunk, size=size, normalise=normalise)
        width = trunk(torch.zeros(2, 3, *size)).shape[1]
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(width, 12)
        self.critic = nn.Linear(12, 1)
        self.teacher = copy.deepcopy(self.decoder).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(12))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._options = {"dropout": dropout}

    @property
    def needs(self):
        return {
            "image": Spec("image", (3, *self.size), law=ViewLaw(size=self.size, crop=Crop(scale=(0.5, 1)), flip=0.5))
        }

    def options(self):
        return dict(self._options)

    def groups(self, turn):
        if turn == "critic":
            yield Group(list(self.critic.parameters()), rate=0.5)
        else:
            yield Group([each for each in [*self.trunk.parameters(), self.decoder.weight] if each.ndim >= 2])
            yield Group([each for each in [*self.trunk.parameters(), self.decoder.bias] if each.ndim < 2], decay=False)

    def forward(self, batch, turn, at, ranks):
        images = batch["image"]
        target = self._target(images)
        f = self.dropout(self.trunk(self.normalise(images)).float().mean((2, 3)))
        predicted = self.decoder(f)
        if turn == "critic":
            loss = nn.functional.softplus(self.critic(predicted.detach())) + nn.functional.softplus(
                -self.critic(target)
            )
            return Step(loss.mean(), {})
        loss = (predicted - target).square().mean() + 0.1 * (predicted - self.teacher(f).detach()).square().mean()
        loss = loss - 0.01 * self.critic(predicted).mean()
        return Step(loss, {"size": predicted.detach().abs().mean()}, {"f": f})

    @torch.no_grad()
    def after(self, turn, step, at, ranks):
        if turn == "main":
            self.teacher.weight.lerp_(self.decoder.weight, 0.1)
            self.teacher.bias.lerp_(self.decoder.bias, 0.1)
            self.count += 1

    def fit_targets(self, batches):
        self.centre.copy_(torch.cat([self._target(batch["image"]) for batch in batches]).mean(0))

    def reference(self, batch):
        return {"chance": float(self._target(batch["image"]).square().mean())}

    def _target(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) - self.centre


def shown(n=80, side=32, seed=0):
    """Images of noise on a gradient, four kinds."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (n, 3, 2, 2)).repeat(side // 2, 2).repeat(side // 2, 3)
    pixels = (0.7 * base + 0.3 * rng.integers(0, 256, (n, 3, side, side))).astype(np.uint8)
    import pandas as pd

    return StimulusSet.from_arrays(pixels, metadata=pd.DataFrame({"category": [f"kind {i % 4}" for i in range(n)]}))
