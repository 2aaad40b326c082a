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


def boxes(ax):
    """Boxes of the names of levels in pixels, without their halos."""
    return {text.get_text(): text.get_window_extent() for text in ax.texts}


def overlaps(a, b):
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@pytest.mark.parametrize(
    ("ceiling", "levels"),
    [
        ((0.70, 0.79), [0.74]),
        ((0.30, 0.37), [0.30, 0.31, 0.36]),
        ((0.16, 0.56), [0.30, 0.302, 0.304, 0.306, 0.308, 0.31, 0.312, 0.314]),
        ((np.nan, np.nan), [0.29, 0.30]),
    ],
)
def test_names_of_close_levels_do_not_overlap(scores, ceiling, levels):
    rows = scores[(scores["dataset"] == "human") & (scores["training"] != "neural")].copy()
    rows[["ceiling_low", "ceiling_high"]] = ceiling
    marks = [{**rows.iloc[0], "network": f"data {at}", "training": "neural", "score": at} for at in levels]
    ax = agreement_figure(tidy([*rows.to_dict("records"), *marks])).axes[0]
    found = boxes(ax)
    assert len(found) == 1 + len(levels)
    pairs = [(a, b) for a in found for b in found if a < b]
    assert not any(overlaps(found[a], found[b]) for a, b in pairs)
    assert all(ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1 + 1 for box in found.values())
    assert all(text.get_path_effects() for text in ax.texts)
    if len(levels) > 1:  # control: all just above their levels at the left, as they were
        heights = [ax.transData.transform((0, level))[1] for level in levels]
        tall = next(iter(found.values())).height
        assert min(np.diff(sorted(heights))) < tall


def test_a_network_has_the_colour_of_its_own_drawing(scores):
    import matplotlib.pyplot as plt

    from netphys.colours import colours_of
    from netphys.rsa import evaluate, rdms

    rng = np.random.default_rng(0)
    models = rdms({f"{at}": rng.normal(size=(10, 5)) for at in range(6)})
    models.rdm_descriptors["network"] = ["deep"] * 2 + ["twin"] * 2 + ["third"] * 2
    result = evaluate(models, rng.random((2, 45)), n_bootstraps=0)
    figure, ax = plt.subplots()
    result.plot(ax)
    own = [line.get_color() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_label() in result.networks]
    plt.close(figure)
    drawn = agreement_figure(result.to_frame())
    assert own == list(colours_of(["deep", "twin", "third"]).values())
    assert [line.get_color() for line in drawn.legends[0].get_lines()] == own
    assert ax.get_ylabel() == drawn.axes[0].get_ylabel() == "Agreement of RDMs (Spearman's ρ)"
