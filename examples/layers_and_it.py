"""Which layer of an untrained AlexNet agrees best with a simulated IT?

Expected: every score lies between 0.1 and 0.5, far below the noise ceiling (its lower bound is above 0.6); the truth
behind the data scores inside the ceiling. Draws ``layers_and_it.pdf``.
"""

# %% What is shown, and who looks
from pathlib import Path

import netphys
from netphys.figures import paper_style

stimuli = netphys.load_stimuli("world:scenes?n=100&size=64&seed=5")
network = netphys.load_network("torchvision:alexnet?resize=64")

# %% What the layers do, and what the brain does
recording = netphys.record(network, stimuli, layers=["features.*"], device="cpu")
brain = netphys.load_neural("world:cortex?region=IT&seed=5", stimuli=stimuli)
responses = netphys.rdms(brain)

# %% Do they agree?
result = netphys.evaluate(netphys.rdms(recording), responses, n_bootstraps=500)
truth = netphys.rdms({"truth": brain.truth}, stimulus_ids=brain.stimulus_ids)
best_possible = netphys.evaluate(truth, responses, n_bootstraps=0)
print(result)
print(f"the truth behind the data: {best_possible.scores[0]:.2f}")

# %% The figure
with paper_style():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.6), layout="constrained")
    ax = result.plot(figure.subplots())
    ax.set_title("untrained AlexNet, simulated IT", fontsize=8, loc="left")
    figure.savefig(Path("layers_and_it.pdf"))
    figure.savefig(Path("layers_and_it.png"))
