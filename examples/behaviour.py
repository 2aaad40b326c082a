"""Two subjects and a network recognise objects: what is confused, which images are hard, and how far they agree.

Expected: the subjects have one latent pattern of difficulty. Their measured i1n correlate at .54 with 4 trials a pair
and .94 with 32; corrected for noise it is 1, within .1, at any number. The network's difficulty correlates .76 with
theirs in these images, within .1 it is found so. Draws ``behaviour.pdf``.
"""

# %% One latent difficulty of every image against every other object
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from netphys.figures import paper_style
from netphys.neural.behaviour import choices_from_trials, confusion, consistency, i2n

names = np.array(["bear", "bird", "boat", "car", "chair", "dog", "ship", "truck"])
alike = {(0, 5): 1.5, (2, 6): 1.9, (3, 7): 1.6, (0, 1): 0.6, (1, 5): 0.7}
rng = np.random.default_rng(0)
objects = np.repeat(np.arange(8), 12)
image, own = (each - each.reshape(8, 12).mean(axis=1).repeat(12) for each in rng.normal(size=(2, 96)))
gap = np.array([[alike.get((min(i, j), max(i, j)), 0.0) for j in range(8)] for i in range(8)])[objects]
hard = {"subject 2": image, "network": (image + own) / np.sqrt(2)}
odds = {name: 2.2 - gap + 0.8 * each[:, None] for name, each in hard.items()}
truth = {name: np.corrcoef(image, each)[0, 1] for name, each in hard.items()}


def trials(odds, n, seed):
    """Match to sample: an image, then its object and one other to choose from, n times each."""
    shown, other = (np.repeat(each, n) for each in np.nonzero(objects[:, None] != np.arange(8)))
    right = np.random.default_rng(seed).random(len(shown)) < 1 / (1 + np.exp(-odds[shown, other]))
    table = pd.DataFrame({"stimulus_id": [f"image{at}" for at in shown], "truth": names[objects[shown]]})
    table["distractor"], table["choice"] = names[other], np.where(right, table["truth"], names[other])
    return choices_from_trials(table, distractor="distractor")


first = {n: trials(odds["subject 2"], n, 1) for n in (4, 8, 16, 32)}
options = {"kind": "i1n", "correction": "loglinear", "n_splits": 30, "n_bootstraps": 500}
found = {name: [consistency(first[n], trials(each, n, 2), **options) for n in first] for name, each in odds.items()}
for name, row in found.items():
    print(f"{name}, truth {truth[name]:.2f}:", *(f"{each.correlation:.2f} → {each.score:.2f}" for each in row))

# %% The figure
with paper_style():
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    confusion(first[32]).plot(axes[0])
    i2n(first[32], correction="loglinear").plot(axes[1])
    found["subject 2"][0].plot(axes[2])
    for (name, row), colour, x in zip(found.items(), ("#0072B2", "#D55E00"), (0, 0.08)):
        bars = np.array([[each.score - each.ci_low, each.ci_high - each.score] for each in row]).T
        axes[3].errorbar(np.arange(4) + x, [each.score for each in row], bars, color=colour, fmt="o", label=name)
        axes[3].plot(np.arange(4) + x, [each.correlation for each in row], "o:", color=colour, mfc="white")
        axes[3].axhline(truth[name], color=colour, lw=0.7)
    axes[3].set(xticks=range(4), xticklabels=first, ylim=(0, 1.3), xlabel="trials of a pair", ylabel="i1n agreement")
    axes[3].set_title("corrected (filled), measured (open), truth (line)")
    axes[3].legend(loc="lower right", frameon=False)
    figure.savefig("behaviour.pdf")
