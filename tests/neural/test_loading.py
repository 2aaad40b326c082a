"""Addresses of neural data: what they may say, what the answer is, and every line that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import AddressError, FileError, NeuralDataError
from netphys.neural import load_neural


def test_importing_the_room_is_light():
    code = (
        "import sys, netphys.neural; "
        "print([m for m in ('torch','xarray','h5py','scipy','pandas','rsatoolbox','matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_answer_says_what_it_is(tmp_path: Path, listed, stack, pairs, ids):
    np.savez(tmp_path / "brain.npz", IT=stack)
    data = load_neural(f"{tmp_path / 'brain.npz'}?region=IT&subject=a,b,c,d", ids=listed)
    assert (
        repr(data)
        == f"NeuralData(brain: 4 RDMs of IT (a, b, c, d), 6 stimuli; brain.npz, variable IT, by order to {listed})"
    )
    rdms = data.to_rdms()
    np.testing.assert_array_equal(rdms.dissimilarities, pairs)
    np.testing.assert_array_equal(rdms.get_matrices(), stack)
    assert list(rdms.rdm_descriptors["subject"]) == ["a", "b", "c", "d"]
    assert list(rdms.rdm_descriptors["region"]) == ["IT"] * 4 and list(rdms.rdm_descriptors["dataset"]) == ["brain"] * 4
    assert list(rdms.pattern_descriptors["stimulus_id"]) == list(ids)
    rdms.dissimilarities[:] = 0.0
    assert data.dissimilarities.any()  # the RDMs are a copy
    assert load_neural(tmp_path / "brain.npz", ids=listed, name="set").name == "set"
    with pytest.raises(AttributeError):
        data.region = "V4"
    assert data.truth is None and data.assembly is None


def test_an_assembly_makes_no_rdms_here(tmp_path: Path, listed, responses):
    np.save(tmp_path / "rates.npy", responses)
    data = load_neural(f"{tmp_path / 'rates.npy'}?kind=responses&region=IT&subject=m", ids=listed)
    assert repr(data).startswith(
        "NeuralData(rates: assembly of IT from 1 animal, 6 presentations, 3 neuroids, 6 stimuli; "
    )
    with pytest.raises(FileError, match=r"rates is an assembly .* netphys\.rdms\(data\.assembly\)"):
        data.to_rdms()


def test_the_digest_is_of_contents(tmp_path: Path, listed, ids, stack, responses):
    np.save(tmp_path / "one.npy", stack)
    np.savez(tmp_path / "two.npz", x=stack, y=stack + np.eye(6) * 0)
    first = load_neural(tmp_path / "one.npy", ids=listed)
    assert first.digest == load_neural(f"{tmp_path / 'two.npz'}?variable=x", ids=listed, name="other").digest
    changed = stack.copy()
    changed[0, 0, 1] = changed[0, 1, 0] = np.nextafter(stack[0, 0, 1], 9)  # the last bit of one dissimilarity
    np.save(tmp_path / "three.npy", changed)
    others = [
        load_neural(tmp_path / "three.npy", ids=listed),
        load_neural(f"{tmp_path / 'one.npy'}?region=IT", ids=listed),
        load_neural(f"{tmp_path / 'one.npy'}?subject=a,b,c,d", ids=listed),
        load_neural(tmp_path / "one.npy", ids=ids[::-1]),
        load_neural(f"{tmp_path / 'one.npy'}?index=:3", ids=listed),
    ]
    assert len({first.digest, *(each.digest for each in others)}) == 6
    np.save(tmp_path / "rates.npy", responses)
    rates = load_neural(f"{tmp_path / 'rates.npy'}?kind=responses", ids=listed)
    assert rates.digest == load_neural(f"{tmp_path / 'rates.npy'}?kind=responses&name=z", ids=listed).digest
    assert rates.digest != load_neural(f"{tmp_path / 'rates.npy'}?kind=responses&region=IT", ids=listed).digest


def test_addresses_that_lead_nowhere(tmp_path: Path, listed, stack):
    np.save(tmp_path / "rdm.npy", stack)
    (tmp_path / "empty.npz").touch()
    (tmp_path / "data.edf").write_bytes(b"x")
    (tmp_path / "data.npzz").write_bytes(b"x")
    for address, told in {
        tmp_path: r"is a folder; neural data are a file",
        tmp_path / "absent.mat": r"there is no file .*absent\.mat",
        tmp_path / "empty.npz": r"is empty \(0 bytes\)",
        tmp_path / "data.edf": r"end in \.mat, .*, \.nc4, \.nwb, \.zip, not in '\.edf'",
        tmp_path / "data.npzz": r"not in '\.npzz'; near: '\.npz'",
        "catalogue:k92": r"the catalogue has no set 'k92'",
        "world:cortx?region=IT": r"there is no 'world:cortx' of neural data; near: 'world:cortex'",
        "a\0b.npy": r"cannot be read|there is no file",
        "x" * 5000 + ".npy": r"cannot be read|there is no file",
    }.items():
        with pytest.raises(FileError, match=told) as raised:
            load_neural(address, ids=listed)
        assert "\n" not in str(raised.value)


def test_options_that_are_not_understood(tmp_path: Path, listed, stack):
    np.save(tmp_path / "rdm.npy", stack)
    for query, told in {
        "varible=x": r"takes no option 'varible'",
        "indx=0": r"takes no option 'indx'; near: 'index'",
        "group=x": r"takes no option 'group'",  # an option of netCDF
        "index=a": r"index=a is not understood",
        "index=-1": r"index 's'|index=-1|is not in 0\.\.3",
        "index=::0": r"index=::0 is not understood",
        "average=x": r"average=x is not understood",
        "kind=rdm": r"kind=rdm is not understood \(one of rdms, responses, behaviour; near: 'rdms'",
        "stack=up": r"stack=up is not understood",
        "axes=neuroid": r"axes=neuroid is not understood",
        "subject=a,,b": r"subject=a,,b is not understood",
        "index": r"'index' is not key=value",
        "index=0&index=1": r"says index twice",
    }.items():
        with pytest.raises((AddressError, FileError), match=told):
            load_neural(f"{tmp_path / 'rdm.npy'}?{query}", ids=listed)


@pytest.mark.parametrize("suffix", [".mat", ".npz", ".npy", ".h5", ".nc", ".nc4"])
def test_a_file_of_another_kind_than_its_suffix(tmp_path: Path, listed, suffix):
    path = tmp_path / f"data{suffix}"
    path.write_bytes(b"this is a text, whatever its name says, and long enough to hold a header of any kind" * 4)
    with pytest.raises(FileError) as raised:
        load_neural(path, ids=listed)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def _table(path: Path, first: str, names: list[str], values: np.ndarray) -> Path:
    """A CSV table with a column of ids."""
    header = ",".join([first, *(f"n{at}" for at in range(values.shape[1]))])
    rows = [",".join([name, *map(str, row)]) for name, row in zip(names, values.tolist())]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_row_with_an_id_is_a_stimulus_or_a_subject_and_which_is_asked(tmp_path):
    values = np.random.default_rng(0).random((4, 6))  # 6 neuroids, or the pairs of 4 stimuli
    path = _table(tmp_path / "amb.csv", "stimulus_id", list("abcd"), values)
    with pytest.raises(NeuralDataError, match=r"amb\.csv: .*say kind=responses or kind=rdms$"):
        load_neural(path)
    responses = load_neural(f"{path}?kind=responses")
    assert responses.kind == "assembly" and responses.stimulus_ids == tuple("abcd")
    with pytest.raises(NeuralDataError, match="carries no stimulus ids; name the list that its 4 rows follow"):
        load_neural(f"{path}?kind=rdms")  # ids of rows are no stimuli
    rdms = load_neural(f"{path}?kind=rdms", ids=list("wxyz"))
    assert rdms.subjects == tuple("abcd") and rdms.stimulus_ids == tuple("wxyz")
    np.testing.assert_array_equal(rdms.dissimilarities, values)
    np.savez(tmp_path / "amb.npz", r=values, stimulus_id=list("abcd"))
    with pytest.raises(NeuralDataError, match="say kind=responses or kind=rdms$"):
        load_neural(tmp_path / "amb.npz")
    np.savez(tmp_path / "five.npz", r=values[:, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]], stimulus_id=list("abcde"))
    assert load_neural(tmp_path / "five.npz").stimulus_ids == tuple("abcde")  # control: ids that can be no rows'
    twice = _table(tmp_path / "twice.csv", "subject", list("abca"), values)
    with pytest.raises(NeuralDataError, match=r"several RDMs of one subject: a \(2\); choose by index="):
        load_neural(f"{twice}?kind=rdms", ids=list("wxyz"))


def test_rdms_of_several_regions_are_no_subjects(tmp_path):
    from rsatoolbox.rdm import RDMs

    pairs = np.random.default_rng(0).random((4, 15))
    told = {"subject": ["a", "b", "a", "b"], "region": ["V1", "V1", "IT", "IT"]}
    RDMs(pairs, rdm_descriptors=told, pattern_descriptors={"stimulus_id": list("uvwxyz")}).save(str(tmp_path / "r.h5"))
    with pytest.raises(NeuralDataError, match=r"r\.h5 holds RDMs of several regions: V1, IT; choose one by region="):
        load_neural(tmp_path / "r.h5")
    it = load_neural(f"{tmp_path / 'r.h5'}?region=IT")
    assert it.subjects == ("a", "b") and it.region == "IT"
    np.testing.assert_array_equal(it.dissimilarities, pairs[2:])
    assert load_neural(f"{tmp_path / 'r.h5'}?index=0:2").region == "V1"
    told["region"] = ["IT"] * 4
    RDMs(pairs, rdm_descriptors=told, pattern_descriptors={"stimulus_id": list("uvwxyz")}).save(str(tmp_path / "s.h5"))
    with pytest.raises(NeuralDataError, match=r"several RDMs of one subject: a \(2\), b \(2\); choose by index="):
        load_neural(tmp_path / "s.h5")
    assert load_neural(f"{tmp_path / 's.h5'}?index=2:4").subjects == ("a", "b")
    assert len(load_neural(f"{tmp_path / 's.h5'}?average=0").subjects) == 1


def test_a_table_of_text_says_how_it_is_read(tmp_path):
    (tmp_path / "long.csv").write_text("stimulus_id,neuroid_id,value\na,n0,1.0\nb,n0,2.0\n")
    with pytest.raises(
        NeuralDataError, match=r"columns of text \(stimulus_id, neuroid_id\) .*form=long.*kind=behaviour"
    ):
        load_neural(tmp_path / "long.csv")
    (tmp_path / "bad.csv").write_text("id,x,y,z\na,1,2,3\nb,1,oops,3\n")
    with pytest.raises(NeuralDataError, match=r"holds a cell that is no number \('oops'\)"):  # control: one cell
        load_neural(tmp_path / "bad.csv")


def test_a_field_of_a_struct_says_of_what_it_is(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "s.mat", {"data": {"rates": np.random.default_rng(0).random((4, 6)), "day": "monday"}})
    with pytest.raises(NeuralDataError, match=r"data\.rates is a field of the struct data; of responses say kind=resp"):
        load_neural(f"{tmp_path / 's.mat'}?variable=data.rates")


@pytest.mark.parametrize("address", ["", " ", "?kind=responses"])
def test_an_empty_address_is_refused(address, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuralDataError, match="the address of neural data is empty"):
        load_neural(address)


@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".xlsx"])
def test_a_table_that_is_no_csv_is_to_be_saved_as_one(suffix, tmp_path):
    (tmp_path / f"x{suffix}").write_text("a\n")
    with pytest.raises(NeuralDataError, match="save it as CSV"):
        load_neural(tmp_path / f"x{suffix}")
