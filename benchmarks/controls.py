"""Objectives beside their negative controls: the same steps, and what is different must show.

    OMP_NUM_THREADS=2 python benchmarks/controls.py [SEED]

SimCLR, without augmentation, and without jitter and grey; colorization, with lightness exchanged among the images of a
batch, and without rebalancing. Each trains a small AlexNet for 150 steps; a linear probe then reads the object, and the
mean colour of the image (in eight classes, by its hue), out of the last layer. Expected: without augmentation the loss
falls at once and the probe for the object stays at the untrained network's; without jitter the loss is lower, the mean
colour is read better and the object worse than with it; with exchanged lightness the loss ends no lower than that of
colours by place alone; without rebalancing predicted colours are paler. Writes ``benchmarks/results/controls.csv``.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import netphys
from netphys.colorimetry import srgb_to_lab
from netphys.probes import probe
from netphys.provenance import versions

RESULTS = Path(__file__).parent / "results" / "controls.csv"
NETWORK = "netphys:small_alexnet?width=32"
N_STEPS = 150
PLAIN = {"crop_scale": [1.0, 1.0], "flip": False, "jitter": 0.0, "grey": 0.0}
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("simclr", "as it is", {}),
    ("simclr", "no augmentation", PLAIN),
    ("simclr", "no jitter, no grey", {"jitter": 0.0, "grey": 0.0}),
    ("colorization", "as it is", {}),
    ("colorization", "lightness exchanged", {"shuffle": True}),
    ("colorization", "no rebalancing", {"rebalance": False}),
)


def hues(stimuli: netphys.StimulusSet) -> list[str]:
    """Class of each image's mean colour: one of eight equal ranges of hue in Lab."""
    lab = srgb_to_lab(stimuli.images(range(len(stimuli)))).mean((2, 3))
    angle = torch.atan2(lab[:, 2], lab[:, 1])
    edges = torch.quantile(angle, torch.arange(1, 8) / 8)
    return [f"hue {each}" for each in torch.bucketize(angle, edges).tolist()]


def main() -> None:
    """Train, probe, write the table."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    training = netphys.load_stimuli("world:scenes?n=5000&first=100000", seed=seed)
    probed = netphys.load_stimuli("world:scenes?n=1600&first=50000", seed=seed)
    colours, rows = hues(probed), []

    def row(network: Any, objective: str, case: str, **more: Any) -> dict[str, Any]:
        recording = netphys.record(network, probed, layers="pool5", keep="pooled", device="cpu")
        read = {name: probe(recording, labels) for name, labels in (("object", "object"), ("hue", colours))}
        found = {f"probe_{name}": round(each.probes[0].accuracy, 3) for name, each in read.items()}
        return {"objective": objective, "case": case, **found, **more}

    rows.append(row(netphys.load_network(NETWORK, seed=seed), "none", "untrained"))
    for objective, case, options in CASES:
        result = netphys.train(
            objective, netphys.load_network(NETWORK, seed=seed), training, n_steps=N_STEPS, options=options, seed=seed,
            device="cpu",
        )  # fmt: skip
        more = {"loss": round(result.held_out, 3)}
        known = result.references
        more |= {key: round(known[key], 3) for key in ("chance", "prior", "prior_by_place") if key in known}
        curve = result.curve["loss"].to_numpy()
        more["loss_at_20"] = round(float(np.nanmean(curve[15:25])), 3)
        if objective == "colorization":
            more["chroma_ratio"] = round(float(result.curve["held_out_chroma_ratio"].iloc[-1]), 3)
        rows.append(row(result.network, objective, case, **more))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(n_steps=N_STEPS, seed=seed, n_test=400)
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key in ("netphys", "torch"):
        table[key] = versions()[key]
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(table.drop(columns=["machine", "netphys", "torch"]).to_string(index=False))


if __name__ == "__main__":
    main()
