"""What does a network learn that is only told which two views are of one scene, or what a scene is called?

Expected: after 100 steps both losses on held-out scenes are below those of the untrained network, SimCLR's by more
than 0.5 nats. Below, the first filters before and after. Draws ``train_and_look.pdf``; half a minute on two cores.
"""

# %% Two objectives, the same scenes, the same untrained network
from pathlib import Path

import netphys
from netphys.figures import paper_style
from netphys.training import train

NETWORK = "netphys:small_alexnet?width=8"
scenes = netphys.load_stimuli("world:scenes?n=1000&size=32&seed=5")
results = {
    name: train(name, NETWORK, scenes, n_steps=100, batch_size=64, held_out=128, rate=3e-3, device="cpu")
    for name in ("simclr", "supervised")
}
for result in results.values():
    print(result)

# %% The figure: learning curves, and first filters of the untrained network and of both
filters = {"untrained": netphys.load_network(NETWORK).module.conv1.weight.detach()}
filters |= {name: result.network.module.conv1.weight.detach() for name, result in results.items()}
with paper_style():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[3, 2])
    for ax, (name, result) in zip(above.subplots(1, 2), results.items()):
        result.plot(ax).set_title(name, loc="left", fontsize=8, fontweight="bold")
    for row, (panel, (name, weights)) in enumerate(zip(below.subfigures(1, 3), filters.items())):
        panel.suptitle(f"{name}: first filters", fontsize=7)
        for ax, each in zip(panel.subplots(2, 4).flat, weights):
            ax.imshow((0.5 + 0.5 * each / each.abs().max()).permute(1, 2, 0).numpy())
            ax.set_axis_off()
    figure.savefig(Path("train_and_look.pdf"))
