"""A layer of 65,536 numbers in 1,000: what a sparse random projection costs the distances between stimuli.

Expected: the relative error of squared distances, as the recordings measured it in their own pass, falls as sqrt(2/k);
at k = 1,000 the distances between stimuli correlate above .98 with the exact ones. Draws ``random_projection.pdf``.
"""

# %% Record one layer whole, and projected to several sizes, in one pass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import netphys
from netphys.figures import COLOURS, paper_style
from netphys.recording.sinks import RandomProjection

network = netphys.load_network("torchvision:resnet18?resize=128")
stimuli = netphys.load_stimuli("world:scenes?n=96&size=64")
layer, sizes = "layer1.1.conv2", [32, 100, 320, 1000, 3200]
sinks = [RandomProjection(k) for k in sizes]
exact = netphys.record(network, stimuli, layers=layer, sinks=sinks).array(layer).reshape(len(stimuli), -1)
projected = {k: sink.result.arrays[layer] for k, sink in zip(sizes, sinks)}


# %% Squared distances between all stimuli
def distances(x):
    """Return the squared distances of all pairs of rows."""
    squares = (x.astype(np.float64) ** 2).sum(1)
    both = squares[:, None] + squares - 2 * x.astype(np.float64) @ x.T.astype(np.float64)
    return both[np.triu_indices(len(x), 1)]


truth = distances(exact)
correlation = {k: np.corrcoef(truth, distances(each))[0, 1] for k, each in projected.items()}
errors = [sink.result.measured[layer]["epsilon_rms"] for sink in sinks]
slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
print(f"error: slope {slope:.2f} (expected -0.5); distances correlate {correlation[1000]:.4f} at k = 1000")

# %% The figure
with paper_style():
    figure = Figure(figsize=(4.6, 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(sizes, np.sqrt(2 / np.array(sizes)), color="0.6", lw=1, label=r"$\sqrt{2/k}$")
    left.loglog(sizes, errors, "o", ms=4, color=COLOURS[0], label="measured")
    left.set(xlabel="numbers kept, k", ylabel="error of squared distances (rms)")
    left.set_yticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    left.minorticks_off()
    left.legend(frameon=False)
    kept = distances(projected[1000])
    limits = (0, 1.05 * kept.max() / 1000)
    right.plot(truth / 1000, kept / 1000, ".", ms=1, color=COLOURS[0], rasterized=True)
    right.plot(limits, limits, color="0.6", lw=1, zorder=0)
    right.set(xlim=limits, ylim=limits, xlabel="squared distance, exact (10³)", ylabel="from 1,000 numbers (10³)")
    right.set_aspect("equal")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    for suffix in ("pdf", "png"):
        figure.savefig(Path(f"random_projection.{suffix}"))
