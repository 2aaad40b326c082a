"""Figures of what training changed: every number is where it belongs, and what is not found stays hollow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from netphys.figures import differences_figure


@pytest.fixture
def table():
    rows = [
        {
            "network": network,
            "control": "untrained",
            "layer": layer,
            "layer_index": index,
            "dataset": dataset,
            "measure": measure,
            "difference": 0.1 * (index + 1) * sign,
            "ci_low": 0.1 * (index + 1) * sign - 0.05,
            "ci_high": 0.1 * (index + 1) * sign + 0.05,
            "p_adjusted": 0.01 if index else 0.3,
        }
        for network, sign in (("a", 1), ("b", -1))
        for dataset, measure in (("IT", "spearman of RDMs"), ("object", "accuracy of a probe"))
        for index, layer in enumerate(["conv1", "conv2", "conv3"])
    ]
    return pd.DataFrame(rows)


def test_one_panel_a_dataset_with_its_own_measure(table):
    figure = differences_figure(table)
    first, second = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["IT", "object"]
    assert "spearman" in first.get_ylabel() and "accuracy" in second.get_ylabel()
    lines = [line for line in first.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(lines[0].get_ydata(), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(lines[1].get_ydata(), [-0.1, -0.2, -0.3])
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["conv1", "conv2", "conv3"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["a − untrained", "b − untrained"]


def test_only_what_is_found_is_filled(table):
    ax = differences_figure(table).axes[0]
    markers = [each for each in ax.collections if len(each.get_offsets()) == 3]
    faces = markers[0].get_facecolors()
    assert np.allclose(faces[0][:3], 1) and not np.allclose(faces[1][:3], 1)
    everything = differences_figure(table.assign(p_adjusted=0.01)).axes[0]  # control: were all found, all are filled
    faces = [each for each in everything.collections if len(each.get_offsets()) == 3][0].get_facecolors()
    assert not np.allclose(faces[0][:3], 1)


def test_networks_keep_the_colours_they_are_given(table):
    ax = differences_figure(table, colours={"a": "#112233", "b": "#445566"}).axes[0]
    assert [line.get_color() for line in ax.lines if len(line.get_xdata()) == 3] == ["#112233", "#445566"]
