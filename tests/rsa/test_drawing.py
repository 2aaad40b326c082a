"""Drawings: what is on the Axes, on the given Axes, and nothing global."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from netphys.errors import MatchError, OptionError  # noqa: E402
from netphys.rsa import evaluate, plot_rdm, rdms  # noqa: E402


@pytest.fixture
def ax():
    figure, axes = plt.subplots(figsize=(2.5, 2.5), layout="constrained")
    yield axes
    plt.close(figure)


def test_rdm_is_drawn_as_percentiles_in_the_given_order(ax):
    values = np.array([3.0, 1.0, 2.0, 40.0, 5.0, 6.0])
    before = dict(matplotlib.rcParams)
    assert plot_rdm(values, ax, order=[3, 2, 1, 0]) is ax
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn[0, 3] == 20 and drawn[2, 3] == 40 and drawn[1, 3] == 0 and drawn[1, 2] == 100  # 2, 3, 1, 40
    assert (np.diag(drawn) == 0).all()
    assert dict(matplotlib.rcParams) == before


def test_stimuli_are_sorted_by_group_and_groups_are_named(ax):
    found = rdms(np.random.default_rng(0).normal(size=(6, 9)), stimulus_ids=list("abcdef"))
    groups = dict(zip("abcdef", ["face", "place", "face", "body", "place", "face"]))
    plot_rdm(found, ax, groups=groups)
    assert [each.get_text() for each in ax.texts] == ["face", "place", "body"]
    rows = [0, 2, 5, 1, 4, 3]
    np.testing.assert_allclose(
        np.asarray(ax.images[0].get_array()), percentiles(found.get_matrices()[0])[np.ix_(rows, rows)]
    )


def percentiles(square):
    from scipy.stats import rankdata

    first, second = np.triu_indices(len(square), 1)
    out = np.zeros_like(square)
    out[first, second] = out[second, first] = 100 * (rankdata(square[first, second]) - 1) / (len(first) - 1)
    return out


def test_many_group_labels_do_not_overlap(ax):
    names = np.repeat([f"group {k}" for k in range(12)], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 25])
    plot_rdm(np.random.default_rng(0).random(36 * 35 // 2), ax, groups=list(names))
    ax.figure.canvas.draw()
    # of the text alone: an annotation's own extent includes its leader
    boxes = sorted((matplotlib.text.Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert boxes[-1].y1 < ax.bbox.y1 + 5 and boxes[0].y0 > ax.bbox.y0 - 5
    assert all(above.y0 >= below.y1 - 1 for below, above in zip(boxes, boxes[1:]))  # within a pixel


def test_names_and_scale_can_be_left_to_another_panel(ax):
    values = np.random.default_rng(0).random(10)
    plot_rdm(values, ax, groups=list("aabbc"), names=False, scale=False)
    assert not ax.texts and not ax.child_axes
    assert len(ax.lines) == 4  # two lines between three groups, each way


def test_missing_pairs_stay_missing(ax):
    values = np.array([3.0, np.nan, 2.0, 40.0, 5.0, 6.0])
    plot_rdm(values, ax)
    assert np.ma.masked_invalid(ax.images[0].get_array()).mask.sum() == 2


def test_errors_of_rdm(ax):
    two = rdms({"a": np.eye(5), "b": np.eye(5)[::-1]}, stimulus_ids=list("vwxyz"))
    for kind, text, call in [
        (OptionError, "draws one RDM, got 2", lambda: plot_rdm(two, ax)),
        (MatchError, "groups: 2 names for 5", lambda: plot_rdm(two[0], ax, groups=["a", "b"])),
        (MatchError, "a group for each", lambda: plot_rdm(two[0], ax, groups={"v": "a"})),
        (MatchError, "'q' is not a stimulus", lambda: plot_rdm(two[0], ax, order=["q"])),
        (OptionError, "row numbers from 0 to 4", lambda: plot_rdm(two[0], ax, order=[9])),
    ]:
        with pytest.raises(kind, match=text):
            call()


def result(n_subjects=3, n_layers=4, networks=1):
    rng = np.random.default_rng(0)
    shared = rng.random(190)
    layers = {f"features.{k}": rng.normal(size=(20, 30)) for k in range(n_layers)}
    models = rdms(layers)
    models.rdm_descriptors["network"] = [f"net{k * networks // n_layers}" for k in range(n_layers)]
    models.dissimilarities[1] = shared
    return evaluate(models, shared + 0.5 * rng.random((n_subjects, 190)), n_bootstraps=50)


def test_profile_shows_layers_intervals_and_ceiling(ax):
    found = result()
    assert found.plot(ax) is ax
    assert [each.get_text() for each in ax.get_xticklabels()] == list(found.layers)
    assert "noise ceiling" in [each.get_text() for each in ax.texts]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), found.scores)
    filled = ax.collections[-1].get_facecolors()
    assert (filled[1, :3] != 1).any() and (filled[0, :3] == 1).all()  # only the true layer is above 0


def test_profile_without_ceiling_says_so(ax):
    result(n_subjects=1).plot(ax)
    assert ax.get_title(loc="right") == "no noise ceiling: one RDM"


def test_models_of_several_networks_stand_side_by_side(ax):
    result(networks=4).plot(ax)
    assert [each.get_text() for each in ax.get_xticklabels()] == ["net0", "net1", "net2", "net3"]
    assert all(line.get_linewidth() == 0 for line in ax.lines[:1])


def test_layers_of_two_networks_have_a_line_and_a_name_each(ax):
    result(networks=2).plot(ax)
    assert [each.get_text() for each in ax.get_legend().get_texts()] == ["net0", "net1"]


def test_without_bootstrap_or_with_many_layers_it_still_draws(ax):
    rng = np.random.default_rng(0)
    models = {f"layer{k}.conv": rng.random(45) for k in range(60)}
    evaluate(models, rng.random((2, 45)), n_bootstraps=0).plot(ax)
    ax.figure.canvas.draw()
    boxes = [each.get_window_extent() for each in ax.get_xticklabels()]
    assert len(boxes) < 60
    assert all(left.x1 <= right.x0 + 1 for left, right in zip(boxes, boxes[1:]))
