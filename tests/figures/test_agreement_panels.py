"""Panels of several measures: each has its own scale, label and level of chance."""

from __future__ import annotations

import pytest

from netphys.figures import agreement_figure
from netphys.scores import tidy


def rows(dataset: str, measure: str, low: float):
    return [
        {
            "network": "net", "training": "simclr", "layer": f"conv{i}", "layer_index": i, "dataset": dataset,
            "measure": measure, "score": low + 0.1 * i, "ci_low": low + 0.1 * i - 0.02, "ci_high": low + 0.1 * i + 0.02,
            "ceiling_rule": "none", "n_stimuli": 40, "n_units": 8, "p": 0.01, "seed": 0,
        }
        for i in range(3)
    ]  # fmt: skip


@pytest.fixture
def scores():
    probed = rows("object", "accuracy of a linear probe on object", 0.5)
    return tidy([*probed, *rows("V1", "spearman of RDMs", 0.1), *rows("IT", "spearman of RDMs", 0.2)])


def test_panels_of_one_measure_share_a_scale_others_do_not(scores):
    probe, first, second = agreement_figure(scores, chance={"object": 0.14}).axes
    assert first.get_ylim() == second.get_ylim() != probe.get_ylim()
    assert "Accuracy" in probe.get_ylabel() and "Spearman" in first.get_ylabel() and second.get_ylabel() == ""


def test_chance_is_drawn_where_it_is_known(scores):
    probe, first, _ = agreement_figure(scores, chance={"object": 0.14}).axes
    assert any("chance 0.14" in text.get_text() for text in probe.texts)
    assert not any("chance" in text.get_text() for text in first.texts)  # control: a correlation has none
