"""Labels of rasters: conditions that each neuron's own presentations meet, names of pictures; links to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from netphys.errors import NeuralDataError
from netphys.neural import load_neural

ONSET, N_MS = 6, 20


def _cell(texts: list[str]) -> np.ndarray:
    """A row of MATLAB's cells."""
    out = np.empty((1, len(texts)), dtype=object)
    out[0, :] = texts
    return out


def _neuron(seed: int) -> dict[str, Any]:
    """3 objects, each at 2 places twice, in an order of the neuron's own: the place is no function of the object."""
    draw = np.random.default_rng(seed)
    shown = [(obj, place) for obj in ("car", "face", "hand") for place in ("upper", "lower")] * 2
    shown = [shown[at] for at in draw.permutation(len(shown))]
    return {
        "raster_data": draw.integers(0, 4, size=(len(shown), N_MS)).astype(np.uint8),
        "raster_labels": {
            "object": _cell([obj for obj, _ in shown]),
            "place": _cell([place for _, place in shown]),
            "animal": _cell([str(obj == "face") for obj, _ in shown]),
        },
        "raster_site_info": {"unit": "ABC"[seed % 3], "alignment_event_time": float(ONSET)},
    }


@pytest.fixture
def neurons() -> dict[str, dict[str, Any]]:
    return {"n1": _neuron(1), "n2": _neuron(2), "n3": _neuron(3)}


@pytest.fixture
def folder(tmp_path: Path, neurons) -> Path:
    made = tmp_path / "rasters"
    made.mkdir()
    for name, each in neurons.items():
        savemat(made / f"{name}.mat", each)
    return made


def _labels(neuron: dict[str, Any], name: str) -> list[str]:
    return neuron["raster_labels"][name][0].tolist()


def test_a_condition_on_a_label_that_differs_within_a_stimulus(folder, neurons):
    """Position tolerance: objects at one place; each neuron's rows by hand."""
    data = load_neural(f"{folder}?stimulus=object&window=0,10&where=place == 'upper'")
    assembly = data.assembly
    assert assembly.shape == (6, 3) and set(assembly["place"].values) == {"upper"}
    assert not np.isnan(assembly.values).any()
    lower = load_neural(f"{folder}?stimulus=object&window=0,10&where=place == 'lower'").assembly
    assert not np.array_equal(assembly.values, lower.values)  # control: the place is seen
    for at, (name, each) in enumerate(neurons.items()):
        sums = each["raster_data"][:, ONSET - 1 : ONSET + 9].sum(axis=1, dtype=int)
        for obj in ("car", "face", "hand"):
            rows = [
                r
                for r, (shown, place) in enumerate(zip(_labels(each, "object"), _labels(each, "place")))
                if (shown, place) == (obj, "upper")
            ]
            found = assembly.values[assembly["stimulus_id"].values == obj, at]
            assert found.tolist() == sums[rows].tolist(), name
    assert "18 of 36 presentations of single neurons, where place == 'upper'" in data.source
    whole = load_neural(f"{folder}?stimulus=object&window=0,10")
    assert "place" not in whole.assembly.coords and whole.assembly.shape == (12, 3)
    assert "without place (not one value a stimulus; where= takes it)" in whole.source


def test_conditions_on_stimuli_and_repetitions(folder):
    whole = load_neural(f"{folder}?stimulus=object&window=0,10").assembly
    first = load_neural(f"{folder}?stimulus=object&window=0,10&where=repetition == 0 and stimulus_id != 'car'").assembly
    kept = (whole["repetition"].values == 0) & (whole["stimulus_id"].values != "car")
    wanted = whole.isel(presentation=kept)
    order = [wanted["stimulus_id"].values.tolist().index(each) for each in first["stimulus_id"].values]
    np.testing.assert_array_equal(first.values, wanted.values[order])
    for condition, told in {
        "plce == 'upper'": r"rasters: condition .*no coordinate 'plce'; near: 'place'",
        "place == 'left'": r"rasters: .*'left'",
        "place": "rasters: ",
    }.items():
        with pytest.raises(NeuralDataError, match=told):
            load_neural(f"{folder}?stimulus=object&window=0,10&where={condition}")


def test_a_neuron_that_saw_none_of_what_is_asked_stays_and_is_said(folder, neurons):
    neurons["n2"]["raster_labels"]["place"] = _cell(["upper"] * 12)
    savemat(folder / "n2.mat", neurons["n2"])
    data = load_neural(f"{folder}?stimulus=object&window=0,10&where=place == 'lower'")
    assert data.assembly["neuroid_id"].values.tolist() == ["n1", "n2", "n3"]
    assert np.isnan(data.assembly.values).all(axis=0).tolist() == [False, True, False]
    assert "1 neuron saw none, NaN" in data.source


def test_a_label_of_pictures_is_not_the_monkeys(folder):
    data = load_neural(f"{folder}?stimulus=object&window=0,10")
    assert data.subjects == () and "animal" not in data.assembly.coords
    assert set(data.assembly["label_animal"].values) == {"True", "False"}
    assert "label animal as label_animal" in data.source
    for name in ("animal", "label_animal"):  # as the file has it, and as it is shown
        chosen = load_neural(f"{folder}?stimulus=object&window=0,10&subject=m1&where={name} == 'True'")
        assert chosen.subjects == ("m1",) and chosen.stimulus_ids == ("face",)


@pytest.mark.parametrize("name", ["n4.mat", "deep/n4.NPZ"])
def test_a_link_to_a_file_that_was_not_fetched(folder, name: str):
    """As git-annex and DataLad leave them; control: without the link the others load."""
    assert load_neural(f"{folder}?stimulus=object&window=0,10").assembly.sizes["neuroid"] == 3
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to("../.git/annex/objects/nope")
    with pytest.raises(NeuralDataError, match=rf"{name} is a link that leads to nothing; fetch what") as raised:
        load_neural(f"{folder}?stimulus=object&window=0,10")
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)


def test_links_that_lead_somewhere_are_followed_and_others_are_no_rasters(folder, tmp_path):
    (folder / "n3.mat").rename(tmp_path / "key")  # as git-annex does
    (folder / "n3.mat").symlink_to(tmp_path / "key")
    (folder / "README.md").symlink_to(tmp_path / "absent")
    (folder / ".n9.mat").symlink_to(tmp_path / "absent")
    assert load_neural(f"{folder}?stimulus=object&window=0,10").assembly.sizes["neuroid"] == 3
