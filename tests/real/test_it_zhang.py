"""Zhang et al. 2011, macaque IT: rates, the onset of the response and decoding come out as published with the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import load_neural
from netphys.neural.operations.windows import rebin, window
from netphys.seeds import generator

if TYPE_CHECKING:
    import xarray as xr

pytestmark = pytest.mark.real
CHANCE = 1 / 7


@pytest.fixture(scope="module")
def rasters(real_data: Path) -> Path:
    """The archive of 132 neurons, as it is."""
    file = real_data / "it_zhang" / "rasters.zip"
    if not file.is_file():
        pytest.skip(f"no {file}")
    return file


@pytest.fixture(scope="module")
def by_object(rasters: Path) -> xr.DataArray:
    """All spikes, 1 ms bins, by object."""
    return load_neural(f"{rasters}?stimulus=stimulus_ID&region=IT").assembly


def test_what_was_recorded(rasters: Path, unpacked: Callable[[str], Path]):
    data = load_neural(f"{rasters}?stimulus=combined_ID_position&window=0,500&region=IT")
    assembly = data.assembly
    assert len(data.stimulus_ids) == 21 and assembly.shape == (420, 132) and data.region == "IT"
    assert int((np.isnan(assembly.values).sum(axis=0) == 1).sum()) == 7  # neurons with 419 presentations
    assert np.isnan(assembly.values).sum() == 7
    assert assembly.attrs["pseudo_population"] == 1 and "pseudo-population" in data.source
    assert set(assembly["stimulus_ID"].values) == {"car", "couch", "face", "flower", "guitar", "hand", "kiwi"}
    assert set(assembly["stimulus_position"].values) == {"upper", "middle", "lower"}
    assert assembly["neuroid_id"].values[0] == "bp1001spk_01A" and len(set(assembly["session"].values)) > 5
    folder = load_neural(f"{unpacked('it_zhang')}?stimulus=combined_ID_position&window=0,500&region=IT")
    assert folder.digest == data.digest


def test_labels_are_listed_where_several_could_be_the_stimulus(rasters: Path):
    told = r"stimulus_ID \(7 values\), stimulus_position \(3 values\), combined_ID_position \(21 values\)"
    with pytest.raises(NeuralDataError, match=told):
        load_neural(rasters)


def test_rates_before_and_after_onset(by_object: xr.DataArray):
    before, after = (window(by_object, *span, unit="rate").values for span in ((-500, 0), (0, 500)))
    assert np.nanmean(before) == pytest.approx(10.5, abs=0.05)  # the truth is rounded to 0.1
    assert np.nanmean(after) == pytest.approx(11.3, abs=0.05)


def test_onset_of_the_response(by_object: xr.DataArray):
    truth = [10.8, 9.7, 11.2, 12.6, 12.2, 11.9, 11.4, 11.1, 11.0, 10.9]
    rates = np.nanmean(rebin(by_object, np.arange(0, 501, 50), unit="rate").values, axis=(0, 1))
    # rounded to 0.1, and means over neurons and over presentations differ where a neuron lacks one
    assert rates == pytest.approx(truth, abs=0.06)
    off_by_a_bin = np.nanmean(rebin(by_object, np.arange(-50, 451, 50), unit="rate").values, axis=(0, 1))
    assert np.abs(off_by_a_bin - truth).max() > 1  # control: rasters that begin at column 451


def _decoding(assembly: xr.DataArray, *, shuffled: bool = False, draws: int = 10, folds: int = 6) -> float:
    """Accuracy of the nearest class mean by correlation, counts z-scored by the training folds, 18 presentations an
    object drawn for each neuron apart."""
    objects = np.unique(assembly["stimulus_id"].values)
    values, shown = assembly.values, assembly["stimulus_id"].values
    hits = []
    for draw in range(draws):
        rng = generator(7, "decoding", draw)
        drawn = np.empty((len(objects), 18, values.shape[1]))
        for column in range(values.shape[1]):
            names = rng.permutation(shown) if shuffled else shown
            for at, each in enumerate(objects):
                there = np.flatnonzero((names == each) & ~np.isnan(values[:, column]))
                drawn[at, :, column] = values[rng.permutation(there)[:18], column]
        parts = drawn.reshape(len(objects), folds, 18 // folds, -1)
        for fold in range(folds):
            train = np.delete(parts, fold, axis=1).reshape(len(objects), -1, values.shape[1])
            mean, sd = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
            sd[sd == 0] = 1.0  # a neuron that is silent in the training folds
            templates = (train.mean(axis=1) - mean) / sd
            test = (parts[:, fold].reshape(-1, values.shape[1]) - mean) / sd
            likeness = np.corrcoef(templates, test)[: len(objects), len(objects) :]
            hits.append(likeness.argmax(axis=0) == np.repeat(np.arange(len(objects)), 18 // folds))
    return float(np.mean(hits))


def test_objects_are_decoded_as_well_as_published(by_object: xr.DataArray):
    # accuracies of 10 draws have the standard deviations .013, .008 and .016 (measured over 20 seeds), the published
    # ones, too; ours are of 40 draws: the tolerances are three standard deviations of the difference
    truths = {(-400, -200): (0.153, 0.045), (100, 300): (0.875, 0.03), (300, 500): (0.733, 0.055)}
    for span, (truth, tolerance) in truths.items():
        assert _decoding(window(by_object, *span), draws=40) == pytest.approx(truth, abs=tolerance), span
    shuffled = _decoding(window(by_object, 100, 300), draws=40, shuffled=True)
    assert shuffled == pytest.approx(CHANCE, abs=0.025)  # control: labels permuted within each neuron
