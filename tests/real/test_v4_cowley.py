"""Cowley et al. 2023, macaque V4: trials and means of one session agree, and belong to the images beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, load_neural
from netphys.neural.assemblies import first_presentations

pytestmark = pytest.mark.real
TRIALS = "variable=trials_210325&kind=responses&axes=neuroid,stimulus,repetition"


@pytest.fixture(scope="module")
def v4(unpacked: Callable[[str], Path]) -> Path:
    return unpacked("v4_cowley")


@pytest.fixture(scope="module")
def listed(v4: Path) -> str:
    """FILE:COLUMN of the list that the images of the session follow."""
    return f"{v4 / 'images_210325' / 'metadata.csv'}:file"


def test_the_mean_of_the_trials_is_the_mean(v4: Path, listed: str):
    file = v4 / "responses.npz"
    trials = load_neural(f"{file}?{TRIALS}&region=V4&subject=PE&values=count&time=0:100:100", ids=listed)
    mean = load_neural(f"{file}?variable=mean_210325&kind=responses&axes=neuroid,stimulus", ids=listed)
    assert trials.assembly.sizes["neuroid"] == 50 and trials.region == "V4" and trials.subjects == ("PE",)
    assert trials.assembly.attrs["unit"] == "spikes" and trials.assembly["time_bin_end"].item() == 100
    ids, averaged = average_repetitions(trials.assembly)
    assert ids == mean.stimulus_ids
    np.testing.assert_array_equal(averaged.astype(np.float32), mean.assembly.values)  # the file's means are float32
    held = np.load(file)["trials_210325"]
    zeros = np.nan_to_num(held).mean(axis=2).T  # control: presentations that never were, taken for silence
    assert np.abs(zeros - mean.assembly.values).max() > 1


def test_six_to_ten_presentations_and_none_that_was_not(v4: Path, listed: str):
    assembly = load_neural(f"{v4 / 'responses.npz'}?{TRIALS}", ids=listed).assembly
    _, codes = first_presentations(assembly["stimulus_id"].values)
    counts = np.bincount(codes)
    assert counts.min() == 6 and counts.max() == 10 and len(counts) == 640
    assert not np.isnan(assembly.values).any()  # what was not shown is left out, not averaged in
    held = np.load(v4 / "responses.npz")["trials_210325"]
    assert counts.sum() == (~np.isnan(held[0])).sum() == len(assembly)


def test_the_list_is_that_of_the_images(v4: Path, listed: str):
    ids = load_neural(f"{v4 / 'responses.npz'}?{TRIALS}", ids=listed).stimulus_ids
    with (v4 / "images_210325" / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(ids) == [row["file"] for row in rows]
    assert all((v4 / "images_210325" / each).is_file() for each in ids)
    with pytest.raises(NeuralDataError, match=r"has 640 stimuli, but .* lists 1200"):
        load_neural(f"{v4 / 'responses.npz'}?{TRIALS}", ids=f"{v4 / 'images_201025' / 'metadata.csv'}:file")
    with pytest.raises(NeuralDataError, match=r"name one by \?variable=NAME"):
        load_neural(f"{v4 / 'responses.npz'}?kind=responses&axes=neuroid,stimulus", ids=listed)
