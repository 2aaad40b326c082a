"""Which filters of a first layer are Gabor functions, and how many does noise of the same smoothness give?

Half of an untrained network's 64 filters are replaced by Gabor functions of random colour in noise (SNR 10, variances).
Expected: 32 filters are Gabor-like, exactly the planted ones; R2 alone would call more than 55 of the 64 so.
Draws ``first_layer_filters.pdf``.
"""

# %% A network half of whose filters are known
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import netphys
from netphys.figures import paper_style
from netphys.units.filters import first_layer_filters
from netphys.units.gabor import gabor

network = netphys.load_network("netphys:small_alexnet")
rng = np.random.default_rng(0)
n = 32
parameters = np.stack(
    [*rng.uniform(-1, 1, (2, n)), rng.uniform(0, 180, n), rng.uniform(0.15, 0.3, n), rng.uniform(1.5, 2.2, n),
     rng.uniform(1.5, 2.8, n), rng.uniform(-180, 180, n), np.ones(n), np.zeros(n)], axis=1
)  # fmt: skip
colours = np.where(rng.random((n, 1)) < 0.6, 1, rng.normal(size=(n, 3)))  # most are black and white
planted = colours[:, :, None, None] * gabor(9, parameters)[:, None]
planted += rng.normal(size=planted.shape) * planted.std((1, 2, 3), keepdims=True) / np.sqrt(10)
weights = network.module.conv1.weight
units = rng.permutation(64)[:n]  # where they stand
with torch.no_grad():
    planted *= weights.std().item() / planted.std((1, 2, 3), keepdims=True)
    weights[units] = torch.from_numpy(planted).float()

# %% Which are found
bank = first_layer_filters(network)
fits = bank.fit_gabors()
print(fits)
found = set(np.flatnonzero(fits.is_gabor))
by_r2_alone = int(((fits.r2 > 0) & (fits["frequency"] * fits["sigma_x"] >= 0.15)).sum())
print(f"{len(found & set(units))} of {n} planted ones found; with no threshold {by_r2_alone} of 64 would be Gabor")

# %% The figure
with paper_style():
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    bank.plot(left, order="orientation")
    fits.plot(right)
    figure.savefig(Path("first_layer_filters.pdf"))
    figure.savefig(Path("first_layer_filters.png"))
