"""Figures show what the tidy frame says, text stays text, and the same figure gives the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.figures import agreement_figure, paper_style, rdm_figure, save_figure, sheet_figure
from netphys.scores import tidy
from netphys.stimuli import StimulusSet


@pytest.fixture
def scores():
    rows = []
    for dataset, ceiling in (("monkey", None), ("human", (0.4, 0.6))):
        for network, layers in (("deep", ["a", "b", "c"]), ("twin", ["a", "b", "c"]), ("pixels", ["pixels"])):
            for index, layer in enumerate(layers):
                rows.append(
                    {
                        "network": network,
                        "training": "none",
                        "layer": layer,
                        "layer_index": index,
                        "dataset": dataset,
                        "measure": "spearman of correlation RDMs",
                        "score": 0.1 * (index + 1),
                        "ci_low": 0.1 * index - 0.05,
                        "ci_high": 0.1 * (index + 2),
                        "ceiling_low": ceiling[0] if ceiling else np.nan,
                        "ceiling_high": ceiling[1] if ceiling else np.nan,
                        "ceiling_rule": "2 subjects" if ceiling else "none: one RDM",
                        "p": 0.5 if index == 0 else 1e-4,
                        "n_stimuli": 10,
                    }
                )
    rows.append({**rows[0], "network": "human", "training": "neural", "layer": "RDM", "score": 0.44})
    return tidy(rows)


def words(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_one_panel_a_dataset_with_ceiling_or_the_reason_why_not(scores):
    figure = agreement_figure(scores)
    assert len(figure.axes) == 2
    found = words(figure)
    assert "no noise ceiling: one RDM" in found
    assert "noise ceiling 0.40–0.60" in found
    assert "human: 0.44" in found  # the reference, in the panel of monkey only
    assert sum(word == "human: 0.44" for word in found) == 1


def test_lines_are_at_the_scores_and_twins_share_their_places(scores):
    ax = agreement_figure(scores).axes[0]
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert len(lines) == 2
    np.testing.assert_allclose(lines[0].get_ydata(), [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(lines[0].get_xdata(), lines[1].get_xdata())


def test_markers_are_filled_where_the_score_is_above_0_and_hollow_where_not(scores):
    ax = agreement_figure(scores).axes[0]
    points = [each for each in ax.collections if len(each.get_offsets()) == 3 and len(each.get_facecolors()) == 3]
    white = np.all(points[0].get_facecolors()[:, :3] == 1, axis=1)
    assert white.tolist() == [True, False, False]


def test_rdms_of_any_number_are_arranged(rng=None):
    rng = np.random.default_rng(0)
    for n in (1, 4, 5, 9):
        entries = [(f"rdm {index}", rng.random(15)) for index in range(n)]
        figure = rdm_figure(entries, groups=["x"] * 3 + ["y"] * 3)
        assert set(words(figure)) >= {f"rdm {index}" for index in range(n)} | {"x", "y"}


def test_a_sheet_of_mixed_sizes_shows_every_stimulus(tmp_path):
    images = np.zeros((5, 3, 8, 8), dtype=np.uint8)
    figure = sheet_figure(StimulusSet.from_arrays(images), n=60)
    assert sum(bool(ax.images) for ax in figure.axes) == 5


def test_saved_twice_the_same_bytes_and_text_is_text(scores, tmp_path):
    for name in ("first", "second"):
        save_figure(agreement_figure(scores), tmp_path / name, data=scores, made={"made_by": "test"})
    for suffix in (".pdf", ".png", ".csv", ".json"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()
    assert b"/Type /Font" in (tmp_path / "first.pdf").read_bytes()


def test_no_global_style_is_changed(scores):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with paper_style():
        assert mpl.rcParams["font.size"] == 7.0
    agreement_figure(scores)
    assert dict(mpl.rcParams) == before
