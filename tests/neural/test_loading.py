"""Addresses of neural data: what they may say, what the answer is, and every line that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import AddressError, FileError
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
