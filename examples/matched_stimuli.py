"""Two kinds of scenes differ in brightness; after matching, brightness tells nothing of the kind.

Expected: mean grey alone tells forests from beaches in more than 95 of 100 pairs before matching; after it all
pictures have the same mean within half a grey level, and brightness tells the kind in 50 of 100, by chance. Matched
spectra leave the pictures' phases, so that a forest stays a forest. Draws ``matched_stimuli.pdf``.
"""

# %% The stimuli, and what is done to them
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import netphys
from netphys.figures import paper_style
from netphys.stimuli.drawing import draw_stimulus
from netphys.stimuli.statistics import plot_histograms

scenes = netphys.load_stimuli("world:scenes?n=200&size=64&seed=5").where("scene in ['forest', 'beach']")
is_forest = (scenes.metadata["scene"] == "forest").to_numpy()
sets = {
    "grey": scenes.treated("grey()"),
    "luminance": scenes.treated("grey() | luminance(sd=0.12)"),
    "histogram": scenes.treated("grey() | histogram()"),
    "spectrum": scenes.treated("grey() | spectrum()"),
}


# %% What brightness alone tells
def pairs_told(values):
    """Share of (forest, beach) pairs in which the beach is brighter; half where it is so by less than half a level."""
    difference = values[~is_forest][:, None] - values[is_forest][None]
    return float(np.where(np.abs(difference) < 0.5 / 255, 0.5, difference > 0).mean())


tables = {name: each.statistics() for name, each in sets.items()}
told = {name: pairs_told(table["mean"].to_numpy()) for name, table in tables.items()}
for name, table in tables.items():
    spread = f"sd of the means {table['mean'].std():.4f}, of the contrasts {table['sd'].std():.4f}"
    print(f"{name:<10} brightness tells the kind in {100 * told[name]:.0f} of 100 pairs; {spread}")

# %% The figure
with paper_style():
    figure = Figure(figsize=(7.0, 3.05))
    grid = figure.add_gridspec(4, 6, left=0.09, right=0.62, bottom=0.01, top=0.99, hspace=0.06, wspace=0.04)
    shown = [*np.flatnonzero(is_forest)[:3], *np.flatnonzero(~is_forest)[:3]]
    for row, (name, each) in enumerate(sets.items()):
        for column, place in enumerate(shown):
            ax = draw_stimulus(each, int(place), figure.add_subplot(grid[row, column]))
            if column == 0:
                ax.text(-0.08, 0.5, name, ha="right", va="center", transform=ax.transAxes)
    for bottom, name in ((0.65, "grey"), (0.14, "luminance")):
        kinds = {"forests": sets[name][is_forest], "beaches": sets[name][~is_forest]}
        ax = plot_histograms(kinds, figure.add_axes((0.71, bottom, 0.27, 0.28)))
        ax.set(title=name, ylim=(0, 9))
    for suffix in (".pdf", ".png"):
        figure.savefig(Path("matched_stimuli").with_suffix(suffix))
