"""What a plain hook records of AlexNet, and what the layers did: in-place ReLU overwrites what a hook keeps.

Expected: the plain hook's "convolutions" hold no negative value (5 of 5 wrong on a CPU), netphys' hold about half.
Draws ``in_place_operations.pdf``.
"""

# %% A plain hook that keeps what it was given
from pathlib import Path

import torch
from matplotlib.figure import Figure

import netphys
from netphys.figures import COLOURS, paper_style

network = netphys.load_network("torchvision:alexnet")
images = network.prepare(netphys.load_stimuli("world:scenes?n=8&size=64").images(range(8)))
convolutions = {name: each for name, each in network.module.named_modules() if isinstance(each, torch.nn.Conv2d)}
kept = {}
handles = [
    each.register_forward_hook(lambda _, __, output, name=name: kept.update({name: output.detach().numpy()}))
    for name, each in convolutions.items()
]
with torch.no_grad():
    network.module(images)
for handle in handles:
    handle.remove()

# %% The same with netphys
with netphys.hooks(network, ["kind:Conv2d"]) as tape, torch.no_grad():
    network.module(images)
negative = {name: ((kept[name] < 0).mean(), (tape[name] < 0).float().mean().item()) for name in kept}
for name, (plain, right) in negative.items():
    print(f"{name}: {plain:.0%} negative by a plain hook, {right:.0%} in truth")

# %% The figure
with paper_style():
    figure = Figure(figsize=(3.4, 2.2), layout="constrained")
    ax = figure.subplots()
    for shift, (label, which) in enumerate([("plain hook", 0), ("netphys", 1)]):
        heights = [100 * pair[which] for pair in negative.values()]
        ax.bar([i + 0.36 * shift for i in range(len(heights))], heights, 0.34, color=COLOURS[1 - shift], label=label)
    ax.set_xticks([i + 0.18 for i in range(len(negative))], list(negative), fontsize=6)
    ax.set(ylabel="negative activations (%)", ylim=(0, 100))
    ax.legend(frameon=False, fontsize=7)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path("in_place_operations.pdf"))
    figure.savefig(Path("in_place_operations.png"))
