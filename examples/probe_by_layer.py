"""What do the layers of an untrained network know about the kind of object, and do they beat pixels?

Expected: pixels tell more than a third of the eight objects on scenes that the probe was not trained on (chance, the
largest class: 0.15), conv2 of the untrained network 5 to 17 % more than pixels do. Draws ``probe_by_layer.pdf``.
"""

# %% What is shown, and who looks
from pathlib import Path

import pandas as pd

import netphys
from netphys.figures import agreement_figure
from netphys.probes import probe

stimuli = netphys.load_stimuli("world:scenes?n=1200&size=64&seed=1")
networks = {"pixels": "netphys:pixels", "untrained AlexNet, small": "netphys:small_alexnet"}

# %% What each layer knows
results = {}
for name, address in networks.items():
    recording = netphys.record(address, stimuli, layers=["pixels", "conv*"][name != "pixels"], keep="pooled")
    results[name] = probe(recording, "object", network=name)  # the same stimuli are tested for all
    print(results[name])

# %% Layer by layer against pixels, paired by stimulus
network, pixels = results["untrained AlexNet, small"], results["pixels"]
against_pixels = network.difference(pixels, pairs=[(layer, "pixels") for layer in network.layers])
print(against_pixels[["layer", "difference", "ci_low", "ci_high", "p"]].round(3).to_string(index=False))

# %% The figure
scores = pd.concat([each.to_frame() for each in results.values()])
figure = agreement_figure(scores.reset_index(drop=True), chance=pixels.chance)
figure.savefig(Path("probe_by_layer.pdf"))
figure.savefig(Path("probe_by_layer.png"))
