"""HDF5 files: RDMs as rsatoolbox saves them, and plain datasets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from rsatoolbox.rdm import RDMs

from netphys.errors import NeuralDataError
from netphys.neural import load_neural
from netphys.neural.files.hdf5 import read_saved_rdms


def _saved(path: Path, pairs: np.ndarray, **descriptors: list[str]) -> Path:
    patterns = {"stimulus_id": descriptors.pop("stimulus_id")} if "stimulus_id" in descriptors else {}
    rdms = RDMs(pairs, dissimilarity_measure="correlation", rdm_descriptors=descriptors, pattern_descriptors=patterns)
    rdms.save(str(path), file_type="hdf5")
    return path


def test_rdms_of_rsatoolbox_read_back(tmp_path: Path, pairs):
    names = ["b", "a", "d", "c", "10", "2"]
    path = _saved(tmp_path / "rdms.h5", pairs, stimulus_id=names, subject=["s2", "s1", "s4", "s3"], region=["IT"] * 4)
    data = load_neural(path)
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    assert data.stimulus_ids == tuple(names) and data.subjects == ("s2", "s1", "s4", "s3") and data.region == "IT"
    assert "by stimulus_id" in data.source and "correlation" in data.source
    back = data.to_rdms()
    again = load_neural(_saved(tmp_path / "again.h5", back.dissimilarities, stimulus_id=names))
    np.testing.assert_array_equal(again.dissimilarities, pairs)


def test_region_and_subject_choose_rows(tmp_path: Path, ids, pairs):
    path = _saved(
        tmp_path / "rdms.hdf5",
        pairs,
        subject=["m", "n", "m", "n"],
        region=["V4", "V4", "IT", "IT"],
        stimulus_id=list("abcdef"),
    )
    it = load_neural(f"{path}?region=IT")
    np.testing.assert_array_equal(it.dissimilarities, pairs[2:])
    assert it.subjects == ("m", "n") and it.region == "IT"
    np.testing.assert_array_equal(load_neural(f"{path}?region=V4&subject=n,m").dissimilarities, pairs[[1, 0]])
    with pytest.raises(NeuralDataError, match="several regions: V4, IT; choose one by region="):
        load_neural(path)
    with pytest.raises(NeuralDataError, match=r"several regions"):
        load_neural(f"{path}?subject=m")
    with pytest.raises(NeuralDataError, match=r"no RDM of region 'V1'; near: 'V4'"):
        load_neural(f"{path}?region=V1")


def test_three_rdms_of_three_stimuli_are_vectors_not_a_matrix(tmp_path: Path):
    three = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    data = load_neural(_saved(tmp_path / "three.h5", three, stimulus_id=["a", "b", "c"]))
    np.testing.assert_array_equal(data.dissimilarities, three)


def test_rdms_without_ids_need_a_list(tmp_path: Path, listed, ids, pairs):
    path = _saved(tmp_path / "bare.h5", pairs)
    with pytest.raises(NeuralDataError, match=r"carries no stimulus ids; .* --ids FILE:COLUMN"):
        load_neural(path)
    assert load_neural(path, ids=listed).stimulus_ids == ids


def test_ragged_lists_come_back_in_integer_order(tmp_path: Path):
    ragged = [list(range(at + 1)) for at in range(12)]
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        file["dissimilarities"] = np.ones((1, 3))
        for name in ("rdm_descriptors", "pattern_descriptors"):
            file.create_group(name)
        group = file["rdm_descriptors"].create_group("runs")
        for at, each in enumerate(ragged):
            group[str(at)] = np.array(each)
        file["rdm_descriptors"]["none"] = h5py.Empty("f")
    saved = read_saved_rdms(tmp_path / "ragged.h5")
    assert saved.rdm_descriptors["runs"][1:] == ragged[1:] and saved.rdm_descriptors["none"] == []
    assert sorted(map(str, range(12))) != list(map(str, range(12)))  # control: the order of names is another


def test_plain_datasets(tmp_path: Path, ids, stack, pairs, responses):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["monkey/rdms"] = stack
        file["monkey/rates"] = responses
        file["stimulus_id"] = np.array(ids, dtype=h5py.string_dtype())
    data = load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rdms")
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    assert data.stimulus_ids == ids
    rates = load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rates&kind=responses")
    np.testing.assert_array_equal(rates.assembly.values, responses)
    with pytest.raises(NeuralDataError, match=r"no variable 'monkey/rdm'; near: 'monkey/rdms'"):
        load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rdm")


def test_ids_are_those_beside_the_data_and_never_those_of_another_group(tmp_path: Path, responses):
    ids = {
        name: np.array(list(letters), dtype="S1")
        for name, letters in (("a", "uvwxyz"), ("b", "zyxwvu"), ("", "fedcba"))
    }
    path = tmp_path / "two.h5"

    def write(**held):
        with h5py.File(path, "w") as file:
            for name in ("a", "b"):
                file[f"{name}/resp"] = responses
            for where, values in held.items():
                file[where] = values

    def read(name, **options):
        return "".join(load_neural(f"{path}?variable={name}/resp&kind=responses", **options).stimulus_ids)

    write(**{"a/stimulus_id": ids["a"], "b/stimulus_id": ids["b"]})
    assert (read("a"), read("b")) == ("uvwxyz", "zyxwvu")  # both "uvwxyz" before
    write(**{"a/stimulus_id": ids["a"], "stimulus_id": ids[""]})
    assert (read("a"), read("b")) == ("uvwxyz", "fedcba")  # what lies above is of all below
    write(**{"a/stimulus_id": ids["a"]})
    with pytest.raises(NeuralDataError, match=r"carries no stimulus ids; name the list"):
        read("b")
    assert read("b", ids=list("ghijkl")) == "ghijkl"
    write(**{"b/stimulus_id": np.arange(6)[::-1], "stimulus_id": ids[""]})
    assert read("b") == "543210"
    write(**{"b/stimulus_id": ids["b"], "b/stimulus_ids": ids["a"]})
    with pytest.raises(NeuralDataError, match=r"b/stimulus_id and b/stimulus_ids differ"):
        read("b")
    write(**{"b/stimulus_id": ids["b"], "b/stimulus_ids": ids["b"]})
    assert read("b") == "zyxwvu"


def test_numeric_ids_are_no_rdm(tmp_path: Path, stack, pairs):
    with h5py.File(tmp_path / "numbers.h5", "w") as file:
        file["rdms"], file["stimulus_id"] = stack, np.arange(10, 16)  # six numbers would be an RDM of four stimuli
    data = load_neural(tmp_path / "numbers.h5")
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    assert data.stimulus_ids == tuple(str(each) for each in range(10, 16))
