"""HDF5 from strangers: references to labels, text that multiplies, lists of their own lengths, files of MATLAB."""

from __future__ import annotations

import shutil
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import describe_file, load_neural

RATES = np.arange(12.0).reshape(4, 3)


def _labels(path: Path, *made: dict[str, Any], matlab_class: str = "") -> str:
    """Write responses of 4 stimuli and references that name them; gives the address that reads them."""
    with h5py.File(path, "w") as file:
        file["x"] = RATES
        items = [file.create_dataset(f"#refs#/{at}", **each) for at, each in enumerate(made)]
        for item in items:
            if matlab_class:
                item.attrs["MATLAB_class"] = np.bytes_(matlab_class)
        refs = np.array([items[at % len(items)].ref for at in range(4)], dtype=h5py.ref_dtype)
        file.create_dataset("names", data=refs)
    return f"{path}?kind=responses&variable=x&stimulus=names"


def _units(text: str) -> dict[str, Any]:
    return {"data": np.frombuffer(text.encode("utf-16-le"), dtype="<u2")[:, None]}


def _refused(address: str, told: str, **options: Any) -> None:
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(address, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value) and address.partition("?")[0] in str(raised.value)
    assert peak < 150 * 2**20 and time.monotonic() - started < 8


def test_chars_of_matlab_by_its_class_and_numbers_as_numbers(tmp_path: Path):
    words = ["a😀", "häuser", "中文", "d"]
    address = _labels(tmp_path / "text.h5", *map(_units, words), matlab_class="char")
    assert load_neural(address).stimulus_ids == tuple(words)
    numbers = [{"data": np.array([[each]], dtype=np.uint16)} for each in (7, 8, 9, 10)]
    for matlab_class in ("uint16", ""):
        address = _labels(tmp_path / "numbers.h5", *numbers, matlab_class=matlab_class)
        assert load_neural(address).stimulus_ids == ("7", "8", "9", "10")  # "\x07" and a line's end before
    half = _labels(tmp_path / "half.h5", *map(_units, "abc"), {"data": np.array([[0xD83D]], "u2")}, matlab_class="char")
    _refused(half, r"names refers to no text in entry 4: .*(surrogate|end of data)")


def test_labels_whose_bytes_are_elsewhere_or_are_none(tmp_path: Path):
    (tmp_path / "secret.bin").write_bytes(bytes(range(96)))
    external = {"shape": (4,), "dtype": "u1", "external": [(str(tmp_path / "secret.bin"), 0, 96)]}
    address = _labels(tmp_path / "external.h5", external)
    # its name is taken out of the table of its group
    raw = bytearray((tmp_path / "external.h5").read_bytes())
    at = raw.find(b"SNOD")
    while at >= 0:
        if struct.unpack_from("<H", raw, at + 6)[0] == 1:
            struct.pack_into("<H", raw, at + 6, 0)
        at = raw.find(b"SNOD", at + 1)
    (tmp_path / "external.h5").write_bytes(raw)
    _refused(address, r"what names refers to in entry 1 keeps its bytes in another file")
    huge = {"shape": (1,), "dtype": "S1000000000", "chunks": (1,)}
    _refused(_labels(tmp_path / "huge.h5", huge), r"claims 1000000000 bytes from 0 bytes")


def test_many_references_to_one_label(tmp_path: Path):
    n = 90_000
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        one = file.create_dataset("one", data=np.zeros(10_000, dtype="u1"), compression="gzip")
        file.create_dataset("x", data=np.zeros((n, 1)), compression="gzip")
        refs = file.create_dataset("names", (n,), h5py.ref_dtype, chunks=(1000,), compression="gzip")
        refs[:] = np.array([one.ref] * n, dtype=h5py.ref_dtype)
    _refused(f"{path}?kind=responses&variable=x&stimulus=names", r"names, .* counted each time, claims \d+ bytes from")
    with h5py.File(path, "r+") as file:
        del file["names"]
        refs = file.create_dataset("names", (200_000,), h5py.ref_dtype, chunks=(1000,), compression="gzip")
        refs[:] = np.array([file["one"].ref] * 200_000, dtype=h5py.ref_dtype)
    _refused(f"{path}?kind=responses&variable=x&stimulus=names", r"names refers to more than \d+ objects")


def test_text_of_many_entries_and_one_long_one(tmp_path: Path):
    """numpy gives every entry the room of the longest: 20,000 entries, one of a million characters, 80 GB."""
    path = tmp_path / "long.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((20_000, 1))
        text = np.full(20_000, "a", dtype=object)
        text[7] = "b" * 1_000_000
        file.create_dataset("stimulus_id", data=text, dtype=h5py.string_dtype())
        file["few"], file["names"] = RATES, np.array(["a", "b", "c", "d" * 1000], dtype=h5py.string_dtype())
    _refused(f"{path}?kind=responses&variable=x", r"stimulus_id, .* claims 80000000000|claims 80\.0 GB")
    few = load_neural(f"{path}?kind=responses&variable=few&stimulus=names")  # control
    assert few.stimulus_ids[3] == "d" * 1000


def test_one_long_label_among_many_of_matlab(tmp_path: Path):
    from scipy.io import savemat

    names = np.empty((20_000, 1), dtype=object)
    names[:, 0] = "a"
    names[3, 0] = "b" * 1_000_000
    savemat(tmp_path / "x.mat", {"x": np.zeros((20_000, 1)), "names": names})
    address = f"{tmp_path / 'x.mat'}?kind=responses&variable=x&stimulus=names"
    _refused(address, r"stimulus=names has a text of 1000000 characters among 20000")


def test_lists_of_their_own_lengths_are_no_labels_and_no_responses(tmp_path: Path):
    path = tmp_path / "lists.h5"
    with h5py.File(path, "w") as file:
        file["x"] = RATES
        lists = file.create_dataset("v", (4,), h5py.vlen_dtype("f8"))
        for at in range(4):
            lists[at] = np.arange(at + 1.0)
        file.create_dataset("r", (4,), h5py.regionref_dtype)
    for query in ("variable=x&stimulus=v", "variable=v"):
        with pytest.raises(NetphysError, match=r"v holds a list of its own length in each entry"):
            load_neural(f"{path}?kind=responses&{query}", ids=None if "stimulus" in query else list("abcd"))
    with pytest.raises(NetphysError, match=r"r refers to parts of arrays"):
        load_neural(f"{path}?kind=responses&variable=x&stimulus=r")


def test_a_file_of_matlab_is_not_read_as_plain_hdf5(tmp_path: Path, save_73, stack):
    """Its axes are reversed: read as it stands, an array is another."""
    save_73(tmp_path / "own.mat", {"x": RATES, "rdm": stack[0]})
    shutil.copy(tmp_path / "own.mat", tmp_path / "own.h5")
    shutil.copy(tmp_path / "own.h5", tmp_path / "bare.hdf5")
    with (tmp_path / "bare.hdf5").open("r+b") as raw:  # without the text before it: the attributes say it
        raw.write(bytes(128))
    with h5py.File(tmp_path / "text.h5", "w", userblock_size=512) as file:
        file["x"] = RATES
    with (tmp_path / "text.h5").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    with h5py.File(tmp_path / "struct.h5", "w") as file:
        file.create_group("s").attrs["MATLAB_class"] = np.bytes_("struct")
        file["s/x"] = RATES
    told = r"is a MATLAB 7\.3 file, whose axes are reversed here: name it \.mat"
    for name in ("own.h5", "bare.hdf5", "text.h5", "struct.h5"):
        for query in ("?kind=responses&variable=x", "?variable=rdm"):
            _refused(f"{tmp_path / name}{query}", told, ids=list("abcdef"))
        with pytest.raises(NetphysError, match=told):
            describe_file(tmp_path / name)
    data = load_neural(f"{tmp_path / 'own.mat'}?kind=responses&variable=x", ids=list("abcd"))
    np.testing.assert_array_equal(data.assembly.values, RATES)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = RATES
    assert load_neural(f"{tmp_path / 'plain.h5'}?kind=responses", ids=list("abcd")).stimulus_ids  # control
