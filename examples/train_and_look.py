"""What does a network learn that is only told which two views are of one scene, or what a scene's object is called?

Expected: after 100 steps both losses on held-out scenes are below those of the untrained network, SimCLR's by more
than 0.5 nats. The nearest neighbour of a new scene shows the same object in 0.21 of cases (untrained; chance 0.12),
0.29 (SimCLR), 0.36 (supervised). Draws ``train_and_look.pdf``; 15 seconds on a free core.
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

# %% Does the nearest neighbour of a new scene show the same object?
new = netphys.load_stimuli("world:scenes?n=600&size=32&seed=6")
objects = new.metadata["category"].to_numpy()
networks = {"untrained": NETWORK} | {name: result.network for name, result in results.items()}
same = {}
for name, network in networks.items():
    recording = netphys.record(network, new, layers="pool5", keep="mean", device="cpu")
    nearness = netphys.rdms(recording, method="correlation").get_matrices()[0]
    nearness[range(600), range(600)] = 9  # a scene is not its own neighbour
    same[name] = float((objects[nearness.argmin(1)] == objects).mean())
    print(f"{name}: {same[name]:.2f} of nearest neighbours show the same object (chance {1 / 8:.2f})")

# %% The figure
with paper_style():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4), layout="constrained")
    *curves, bars = figure.subplots(1, 3, width_ratios=[3, 3, 2])
    for ax, (name, result) in zip(curves, results.items()):
        result.plot(ax).set_title(name, loc="left", fontsize=8, fontweight="bold")
    bars.bar(list(same), list(same.values()), color=["#595959", "#0072B2", "#D55E00"], width=0.6)
    bars.axhline(1 / 8, color="black", linewidth=0.8, linestyle="--")
    bars.set(ylabel="Neighbours with the same object", ylim=(0, None))
    bars.tick_params(axis="x", rotation=30)
    figure.savefig(Path("train_and_look.pdf"))
