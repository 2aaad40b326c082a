"""How good are the data? Reliability of 60 neuroids by presentations, and what it says of a model's score.

Expected: with 2, 4, 8 and 16 presentations the median reliability of a simulated cortex is within .05 of the truth,
1 / (1 + 4 / R); a perfect model explains rho of the variance, so that r2 / rho is 1. Draws ``reliability.pdf``.
"""

# %% A cortex whose trial noise has four times the variance of its signal
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from netphys.figures import COLOURS, paper_style
from netphys.neural import average_repetitions, noise_corrected, reliability, simulate_cortex

features = np.random.default_rng(0).normal(size=(300, 8))
ids = [f"image{row:03d}" for row in range(300)]
cortex = simulate_cortex(
    features, ids, region="IT", n_subjects=1, n_neuroids=60, n_repetitions=16, noise=4.0, shared=1.0
)

# %% Reliability, and the score of the true features, by number of presentations
counts = [2, 4, 8, 16]
measured, raw, corrected = {}, {}, {}
for count in counts:
    part = cortex.isel(presentation=cortex["repetition"].values < count)
    measured[count] = reliability(part)
    _, means = average_repetitions(part)
    fitted = np.column_stack([np.ones(300), features])
    residual = means - fitted @ np.linalg.lstsq(fitted, means, rcond=None)[0]
    raw[count] = 1 - residual.var(axis=0) / means.var(axis=0)
    corrected[count] = noise_corrected(raw[count], measured[count].rho, of="r2")
truth = {count: 1 / (1 + 4 / count) for count in counts}
for count in counts:
    print(f"{count:2d} presentations, truth {truth[count]:.2f}: {measured[count]}")

# %% The figure
with paper_style():
    figure = Figure(figsize=(5.6, 2.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    measured[8].plot(left)
    right.plot(counts, [truth[each] for each in counts], color="0.6", lw=1, label="true reliability")
    for values, label, colour in ((raw, "true model, r²", COLOURS[0]), (corrected, "r² / reliability", COLOURS[1])):
        right.plot(counts, [np.nanmean(values[each]) for each in counts], "o", ms=4, color=colour, label=label)
    right.set_xscale("log", base=2)
    right.set_xticks(counts, [str(each) for each in counts])
    right.set(xlabel="presentations of a stimulus", ylabel="share of variance", ylim=(0, 1.2))
    right.legend(frameon=False, loc="lower right")
    right.spines[["top", "right"]].set_visible(False)
    for suffix in ("pdf", "png"):
        figure.savefig(Path(f"reliability.{suffix}"), dpi=200)
