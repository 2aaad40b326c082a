"""What is said of neural data: facts in words, what is left to say, and addresses that would read a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from netphys.errors import FileError, NeuralDataError
from netphys.neural.telling.drawing import agreement
from netphys.neural.telling.suggesting import suggest
from netphys.neural.telling.understanding import understand

IDS = [f"s{at}" for at in range(12)]


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """Responses of 5 neuroids to 12 stimuli, 2 or 3 times each: a signal and noise."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 12, 1)) + 0.5 * rng.normal(size=(5, 12, 3))
    values[:, :4, 2] = np.nan
    np.savez(tmp_path / "trials.npz", trials=values)
    return tmp_path / "trials.npz"


def test_an_assembly_is_told(trials):
    understood = understand(f"{trials}?kind=responses&axes=neuroid,stimulus,repetition&region=V4", ids=IDS)
    facts = understood.facts
    assert facts["what"] == "an assembly of responses"
    assert facts["stimuli"] == "12: s0, s1, s2, s3, ..."
    assert facts["presentations"] == "32, 2 to 3 of each stimulus"
    assert facts["neuroids"].startswith("5: ") and facts["regions"] == "V4 (5)"
    assert facts["joined"] == "by order to the given ids"
    assert "float64" in facts["values"] and "missing" not in facts["values"]
    assert "5 neuroids" in facts["reliability"]
    assert any("subject=NAME" in each for each in understood.unsaid)
    assert not any("region" in each for each in understood.unsaid)  # it was said
    assert len(understood.to_frame()) == 5


def test_without_repetitions_reliability_is_unknown(trials, tmp_path):
    np.save(tmp_path / "once.npy", np.random.default_rng(1).normal(size=(12, 5)))
    understood = understand(f"{tmp_path / 'once.npy'}?kind=responses", ids=IDS)
    assert understood.reliability is None
    assert understood.facts["reliability"] == "unknown: no stimulus was shown twice"


def test_what_would_have_to_be_said(trials):
    understood = understand(str(trials), ids=IDS)
    assert understood.data is None and "holds nothing that can be RDMs" in understood.problem
    assert understood.facts["  trials"] == "5 x 12 x 3"
    assert understood.suggestions  # and what is suggested reads
    for address in understood.suggestions:
        assert understand(address, ids=IDS).data is not None
    with pytest.raises(NeuralDataError, match="nothing to draw"):
        understood.panels()
    with pytest.raises(NeuralDataError, match="holds nothing that can be RDMs"):
        understood.to_frame()


def test_ids_that_are_missing_are_asked_for(trials):
    address = f"{trials}?kind=responses&axes=neuroid,stimulus,repetition"
    assert understand(address).suggestions == (f"{address} --ids FILE.csv:COLUMN",)


def test_what_nothing_said_would_mend_is_raised(tmp_path):
    with pytest.raises(FileError, match="there is no file"):
        understand(tmp_path / "absent.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(FileError, match=r"damaged\.npz"):
        understand(tmp_path / "damaged.npz")


def test_rdms_and_how_subjects_agree(tmp_path, stack, pairs):
    np.save(tmp_path / "rdms.npy", stack)
    understood = understand(tmp_path / "rdms.npy", ids=list("abcdef"))
    each = agreement(understood.data)
    ranks = rankdata(pairs, axis=1)
    for row in range(4):
        others = np.delete(ranks, row, axis=0).mean(axis=0)
        assert each[row] == pytest.approx(spearmanr(pairs[row], others).statistic, abs=1e-12)
    within = [spearmanr(pairs[row], ranks.mean(axis=0)).statistic for row in range(4)]
    assert np.all(np.array(within) > each)  # control: with the subject inside the mean it would be higher
    assert f"mean {each.mean():.3f}" in understood.facts["agreement"]
    assert list(understood.to_frame()["r_others"]) == each.tolist()


RESPONSES = "f.npz?kind=responses&axes={}&region=IT"


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ([92, 92], ("f.npz?region=IT",)),  # an RDM
        ([4186], ("f.npz?region=IT",)),  # a triangle
        ([92, 168], (RESPONSES.format("stimulus,neuroid"),)),
        ([168, 92], (RESPONSES.format("neuroid,stimulus"),)),
        (
            [3, 92, 5],
            tuple(RESPONSES.format(axes) for axes in ("neuroid,stimulus,repetition", "repetition,stimulus,neuroid")),
        ),
        ([3, 4, 5], ()),  # no axis has as many
        ([], ()),
    ],
)
def test_suggestions_follow_the_number_of_stimuli(shape, found):
    ids = [str(at) for at in range(92)]
    told = suggest("f.npz?region=IT&variable=wrong", {"variables": {"it": shape}}, ids=ids)
    assert sorted(told) == sorted(found)
    several = suggest("f.npz", {"variables": {"it": shape, "names": [3]}, "kinds": {"names": "text"}}, ids=ids)
    assert len(several) == len(found) and all("variable=it" in each for each in several)


def test_a_panel_draws_on_the_axes_that_it_is_given(trials):
    from matplotlib.figure import Figure

    understood = understand(f"{trials}?kind=responses&axes=neuroid,stimulus,repetition", ids=IDS)
    titles = [title for title, _ in understood.panels()]
    assert titles == ["Responses", "Presentations", "Reliability"]
    figure = Figure()
    axes = figure.subplots(1, len(titles))
    for ax, (_, draw) in zip(axes, understood.panels()):
        assert draw(ax) is ax
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes[1].patches}
    assert heights == {2: 4, 3: 8}  # stimuli that were shown so often
    assert understood.plot().get_xlabel() == "stimulus"


def test_a_number_of_presentations_that_is_the_same_for_all_is_no_panel(tmp_path):
    np.save(tmp_path / "all.npy", np.random.default_rng(2).normal(size=(12, 5, 4)))
    address = f"{tmp_path / 'all.npy'}?kind=responses&axes=stimulus,neuroid,repetition"
    assert [title for title, _ in understand(address, ids=IDS).panels()] == ["Responses", "Neuroids", "Reliability"]
