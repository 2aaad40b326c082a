"""Six recording sessions as one population: how many neurons does the geometry of 40 stimuli need?

Expected: the RDM of 147 pooled neurons agrees with that of the noise-free law (Spearman above .9), that of 8 less
(below .7), and before the response begins (0-60 ms, control) hardly any does (below .2). The pool is marked: its trials
are unrelated. Draws ``neural_population.pdf``: medians of 20 draws of neurons, bands from 5 to 95 %.
"""

# %% Six sessions of 50 neurons: Poisson spikes in bins of 10 ms, a response from 60 ms on, another gain each day
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from netphys.figures import COLOURS, paper_style
from netphys.neural import pool, population_sizes, subsamples, window, z_score
from netphys.rsa import compare, rdms

rng = np.random.default_rng(0)
ids, starts, features = [f"s{k}" for k in range(40)], np.arange(0, 200, 10), rng.normal(size=(40, 8))


def session(day):
    """Spikes of one day's neurons: 10 repetitions of the stimuli."""
    drive = np.tile(features @ rng.normal(size=(8, 50)), (10, 1))
    rates = 8 + (1 + day) * 5 * np.log1p(np.exp(drive))[:, :, None] * (starts >= 60)  # spikes/s
    coords = {"stimulus_id": ("presentation", ids * 10), "repetition": ("presentation", np.repeat(np.arange(10), 40))}
    coords |= {"neuroid_id": ("neuroid", [f"{day}-{k:02d}" for k in range(50)]), "session": f"day {day}"}
    coords |= {"time_bin_start": ("time_bin", starts), "time_bin_end": ("time_bin", starts + 10)}
    dims, spikes = ("presentation", "neuroid", "time_bin"), rng.poisson(rates * 0.01)
    return xr.DataArray(spikes, dims=dims, coords=coords, attrs={"unit": "spikes"})


# %% One population, and its agreement with the law, over its size
days, law = [session(day) for day in range(6)], rdms(features, stimulus_ids=ids, method="euclidean")
windows, agreement = {"60 to 200 ms": (60, 200), "0 to 60 ms": (0, 60)}, {}
for name, (start, stop) in windows.items():
    population = pool([z_score(window(day, start, stop)) for day in days])
    for n in population_sizes(population, n_sizes=9)[:-1]:  # draws of 300 of 300 do not differ
        draws = [rdms(each, method="euclidean") for each in subsamples(population, n, 20)]
        agreement[name, n] = [float(compare(law, each)[0, 0]) for each in draws]
    print(f"{name}: the RDM of {n} neurons agrees {np.mean(agreement[name, n]):.2f} with the law's")

# %% The figure
with paper_style():
    figure = Figure(figsize=(3.2, 2.4), layout="constrained")
    ax = figure.subplots()
    for colour, name in zip(COLOURS, windows):
        sizes = [n for each, n in agreement if each == name]
        low, middle, high = np.percentile([agreement[name, n] for n in sizes], [5, 50, 95], axis=1)
        ax.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(sizes, middle, "o-", ms=3, color=colour, label=name)
    ax.set(xscale="log", xlabel="neurons", ylabel="agreement with the law (Spearman)", ylim=(-0.2, 1))
    ax.set_xticks([1, 10, 100], ["1", "10", "100"])
    ax.legend(frameon=False, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("neural_population.pdf")
    figure.savefig("neural_population.png", dpi=200)
