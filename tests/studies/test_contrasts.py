"""Paired differences: nothing where nothing differs, the truth where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.rsa import evaluate, rdms
from netphys.studies.contrasts import contrast_findings, contrast_table, rsa_contrasts

NAMES = {"network": "a", "training": "simclr", "control": "b"}


def compared(network, control, brain):
    ids = [str(each) for each in range(len(brain))]
    made = [rdms({"layer": each}, stimulus_ids=ids) for each in (network, control, brain)]
    results = [evaluate(each, made[2], n_bootstraps=300, dataset="IT") for each in made[:2]]
    return rsa_contrasts(NAMES, *results)


def test_a_network_that_is_the_brain_beats_noise_and_equals_itself():
    rng = np.random.default_rng(0)
    brain, noise = rng.normal(size=(40, 30)), rng.normal(size=(40, 30))
    (row,) = compared(brain, noise, brain)
    assert row["difference"] > 0.8 and row["ci_low"] > 0.5 and row["p"] < 1e-6
    (same,) = compared(brain, brain, brain)
    assert same["difference"] == 0 and same["ci_low"] == same["ci_high"] == 0


def test_two_networks_of_noise_do_not_differ():
    """Negative control: over 40 pairs of unrelated networks the interval excludes 0 about as often as it may."""
    rng = np.random.default_rng(1)
    brain = rng.normal(size=(30, 20))
    found = 0
    for _ in range(40):
        (row,) = compared(rng.normal(size=(30, 20)), rng.normal(size=(30, 20)), brain)
        found += row["ci_low"] > 0 or row["ci_high"] < 0
    assert found <= 5  # P(more than 5 of 40 at 5 %) is 0.01


def test_p_is_adjusted_within_a_network_and_dataset_and_the_findings_count():
    base = {**NAMES, "dataset": "IT", "measure": "spearman of correlation RDMs"}
    rows = [
        {**base, "layer": f"l{i}", "layer_index": i, "difference": d, "ci_low": d - 0.1, "ci_high": d + 0.1, "p": p}
        for i, (d, p) in enumerate([(0.3, 0.01), (0.1, 0.04), (-0.2, 0.02)])
    ]
    table = contrast_table(rows)
    assert table["p_adjusted"].tolist() == pytest.approx([0.03, 0.04, 0.03])
    (line,) = contrast_findings(table)
    assert line == "IT · a minus b: above at 2 and below at 1 of 3 layers; most +0.30 [0.20, 0.40] at l0"
