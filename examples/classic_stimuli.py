"""What physiologists show, one row a kind; and what is true of each: a grating's frequency is in its spectrum.

Expected: the grating of 2 cycles/degree on a screen of 8 degrees has its spectral peak at 16 cycles an image, and
nothing else above a hundredth of it. Draws ``classic_stimuli.pdf``.
"""

# %% One address a row; scenes and objects come from the generated world
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import netphys
from netphys.figures import paper_style
from netphys.stimuli.classic import cutouts_from_masks, objects_on_backgrounds
from netphys.stimuli.drawing import draw_stimulus

SCREEN = "size=128&degrees=8"
scenes = netphys.load_stimuli("world:scenes?n=40&size=128&seed=3")
rows = {
    "gratings": f"classic:gratings?orientation=0:180:30&spatial_frequency=1&diameter=6&{SCREEN}",
    "Gabors": f"classic:gabors?orientation=0:180:30&spatial_frequency=1.5&sigma=0.8&{SCREEN}",
    "drifting": f"classic:gratings?direction=30&temporal_frequency=10&n_frames=6&frames=true&{SCREEN}",
    "bars": f"classic:bars?orientation=0:180:30&width=0.4&length=4&{SCREEN}",
    "checks": f"classic:checkerboards?check=0.25,0.5,1&phase=0,0.5&{SCREEN}",
    "noise": f"classic:noise?n=2&alpha=0,1,1.5&{SCREEN}",
    "stereograms": "classic:stereograms?n=6&disparity=6&size=96",
    "moving dots": "classic:kinematograms?direction=0&coherence=0.5&n_frames=6&size=96&frames=true",
    "scenes": scenes,
    "scrambled": "world:scenes?n=6&size=128&seed=3&variant=phase_scrambled()",
    "occluded": "world:scenes?n=6&size=128&seed=3&variant=occluded(fraction=0.4, kind=bubbles)",
    "crowded": "world:scenes?n=6&seed=3&variant=crowded(n_flankers=4, target_size=40, size=160, arrangement=ring)",
    "objects": objects_on_backgrounds(cutouts_from_masks(scenes)[:6], scenes[30:], n_per_object=1, size=128),
    "matched": "world:scenes?n=6&size=128&seed=3&treatment=grey() | luminance(0.5, 0.15)",
    "eye's view": "world:scenes?n=6&size=128&seed=3&treatment=field(12, 128, 8) | aperture(7.5, 1.5)",
}
sets = {name: netphys.load_stimuli(each) if isinstance(each, str) else each for name, each in rows.items()}

# %% A grating's spectrum
grating = netphys.load_stimuli(f"classic:gratings?orientation=90&spatial_frequency=2&{SCREEN}").images([0])[0, 0]
spectrum = np.abs(np.fft.rfft2(grating.numpy() - 0.5))
peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
rest = np.delete(spectrum.ravel(), spectrum.argmax()).max() / spectrum.max()
print(f"peak at {peak[1]} cycles an image along x, {peak[0]} along y; the largest other amplitude is {rest:.1e} of it")

# %% The sheet
with paper_style():
    figure = Figure(figsize=(5.2, 0.78 * len(sets)))
    grid = figure.add_gridspec(len(sets), 7, left=0.005, right=0.995, bottom=0.003, top=0.997, hspace=0.05, wspace=0.04)
    for row, (name, stimuli) in enumerate(sets.items()):
        label = figure.add_subplot(grid[row, 0])
        label.set_axis_off()
        label.text(1, 0.5, name, ha="right", va="center")
        for column in range(min(6, len(stimuli))):
            draw_stimulus(stimuli, column, figure.add_subplot(grid[row, column + 1]))
    for suffix in (".pdf", ".png"):
        figure.savefig(Path("classic_stimuli").with_suffix(suffix))
