""".npy and .npz files that are malformed: each mistake is one line that says what it is."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import load_neural

IDS = tuple("abcdef")
GOOD = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
HONEST = "{'descr': '<f8', 'fortran_order': False, 'shape': (6, 6), }"


def npy(
    header: str | bytes = HONEST,
    data: bytes = GOOD.tobytes(),
    *,
    magic: bytes = b"\x93NUMPY\x01\x00",
    length: int | None = None,
) -> bytes:
    """A .npy file by its parts."""
    text = header if isinstance(header, bytes) else header.encode("latin1")
    text = text.ljust(117) + b"\n"
    n_bytes = 2 if magic[6:7] in (b"\x01", b"") else 4
    return magic + (len(text) if length is None else length).to_bytes(n_bytes, "little") + text + data


def saved(array: np.ndarray) -> bytes:
    """An array as numpy saves it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(members: list[tuple[str, bytes]], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of members, whatever they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of two members of one name, which is meant
                archive.writestr(name, data)
    return file.getvalue()


def changed(data: bytes, at: int) -> bytes:
    """The bytes, one of them changed."""
    out = bytearray(data)
    out[at] ^= 0xFF
    return bytes(out)


_WHOLE = npz([("x.npy", saved(GOOD))])
NPY: dict[str, tuple[bytes, str]] = {
    "text": (b"0,1,2\n1,0,1\n2,1,0\n", r"no \.npy array \(it begins with b'0,1,2"),
    "a .npz by name of .npy": (_WHOLE, r"no \.npy array \(it begins with b'PK"),
    "magic alone": (b"\x93NUMPY", r"no \.npy array"),
    "version 9": (npy(magic=b"\x93NUMPY\x09\x00"), r"no \.npy array"),
    "a header cut": (npy()[:60], r"array is truncated within its header; fetch it again"),
    "a header of no dict": (npy("[1, 2, 3]"), r"cannot be read as \.npy|header"),
    "a header of no literal": (npy("{'descr': f8()}"), r"cannot be read as \.npy"),
    "a header of nothing": (npy(""), r"cannot be read as \.npy"),
    "a header without a shape": (npy("{'descr': '<f8', 'fortran_order': False}"), r"KeyError: 'shape'|header"),
    "a header without a dtype": (npy("{'fortran_order': False, 'shape': (6, 6)}"), r"KeyError: 'descr'|header"),
    "a dtype of no name": (npy(HONEST.replace("<f8", "<q9")), r"cannot be read as \.npy"),
    "a shape that is a list": (npy(HONEST.replace("(6, 6)", "[6, 6]")), r"claims the shape \[6, 6\]"),
    "a shape of fractions": (npy(HONEST.replace("(6, 6)", "(6.0, 6)")), r"claims the shape \(6\.0, 6\)"),
    "a shape of truths": (npy(HONEST.replace("(6, 6)", "(True, 6)")), r"claims the shape \(True, 6\)"),
    "a row more than there is": (npy(HONEST.replace("(6, 6)", "(7, 6)")), r"claims 336 bytes of data, 288 are there"),
    "bytes behind the end": (npy(data=GOOD.tobytes() + b"more"), r"claims 288 bytes of data, 292 are there"),
    "half the data": (npy(data=GOOD.tobytes()[:144]), r"claims 288 bytes of data, 144 are there"),
    "no data": (npy(data=b""), r"claims 288 bytes of data, 0 are there"),
    "complex numbers": (saved(GOOD.astype(complex)), r"nothing that can be RDMs|complex128"),
    "text for numbers": (saved(GOOD.astype("U3")), r"nothing that can be RDMs; it holds: array \(6, 6\) text"),
    "dates": (saved(GOOD.astype("datetime64[s]")), r"nothing that can be RDMs; it holds: array \(6, 6\) other"),
    "a table of named columns": (saved(np.zeros(15, dtype=[("a", "f8"), ("b", "f8")])), r"nothing that can be RDMs"),
    "one number": (saved(np.array(3.0)), r"nothing that can be RDMs; it holds: array \(\)"),
    "no rows": (saved(np.zeros((0, 6, 6))), r"nothing that can be RDMs; it holds: array \(0, 6, 6\)"),
    "a Python object's header": (npy(HONEST.replace("<f8", "|O")), r"pickled Python objects, which are never read"),
}
NPZ: dict[str, tuple[bytes, str]] = {
    "no archive": (saved(GOOD), r"cannot be read as \.npz"),
    "an archive cut": (_WHOLE[:-30], r"cannot be read as \.npz"),
    "an archive of nothing": (npz([]), r"holds nothing that can be RDMs; it holds: nothing"),
    "a member that is text": (npz([("x.txt", b"0 1")]), r"holds 'x\.txt'; a \.npz file holds arrays"),
    "a folder": (npz([("x/", b"")]), r"holds 'x/'; a \.npz file holds arrays"),
    "a member that is no array": (npz([("x.npy", b"0,1,2")]), r"x is no \.npy array \(it begins with b'0,1,2"),
    "an empty member": (npz([("x.npy", b"")]), r"x is no \.npy array"),
    "a member cut": (npz([("x.npy", saved(GOOD)[:-8])]), r"the header of x claims 288 bytes of data, 280 are there"),
    "a member of more": (npz([("x.npy", saved(GOOD) + b"z")]), r"claims 288 bytes of data, 289 are there"),
    "a member's header spoilt": (npz([("x.npy", npy("{"))]), r"cannot be read as \.npz"),
    "a byte of a member changed": (changed(_WHOLE, 250), r"cannot be read as \.npz.*CRC"),
    "a good and a bad member": (
        npz([("x.npy", saved(GOOD)), ("y.npy", b"\x93NUMPY")]),
        r"y is no \.npy array",
    ),
    "ids too few": (
        npz([("x.npy", saved(GOOD)), ("stimulus_id.npy", saved(np.array(list("abcde"))))]),
        r"stimulus_id|carries no stimulus ids",
    ),
    "ids twice": (
        npz([("x.npy", saved(GOOD)), ("stimulus_id.npy", saved(np.array(list("abcdea"))))]),
        r"'a'.*every stimulus has an id of its own",
    ),
    "two lists of ids that differ": (
        npz(
            [("x.npy", saved(GOOD))]
            + [
                (f"{name}.npy", saved(np.array(list(ids))))
                for name, ids in (("stimulus_id", "abcdef"), ("stimulus_ids", "fedcba"))
            ]
        ),
        r"stimulus_id and stimulus_ids differ",
    ),
    "two of one name": (
        npz([("x.npy", saved(GOOD)), ("x.npy", saved(2 * GOOD))]),
        r"two arrays of the name 'x'|x twice",
    ),
}


def _refused(path: Path, told: str, ids: object) -> None:
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(path, ids=ids)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize(("suffix", "mistake"), [*((".npy", each) for each in NPY), *((".npz", each) for each in NPZ)])
def test_each_mistake_is_one_line(tmp_path: Path, suffix, mistake):
    spoilt, told = (NPY if suffix == ".npy" else NPZ)[mistake]
    path = tmp_path / f"data{suffix}"
    path.write_bytes(spoilt)
    _refused(path, told, None if "ids" in mistake else IDS)


def test_unspoilt_they_load(tmp_path: Path):
    """Control: the builders make files that are read."""
    wanted = GOOD[np.triu_indices(6, 1)][None]
    for version in (1, 2, 3):
        (tmp_path / "data.npy").write_bytes(npy(magic=b"\x93NUMPY" + bytes([version, 0])))
        np.testing.assert_array_equal(load_neural(tmp_path / "data.npy", ids=IDS).dissimilarities, wanted)
    (tmp_path / "data.npz").write_bytes(npz([("x.npy", saved(GOOD)), ("stimulus_id.npy", saved(np.array(IDS)))]))
    assert load_neural(tmp_path / "data.npz").stimulus_ids == IDS
    (tmp_path / "small.npz").write_bytes(npz([("x.npy", saved(GOOD))], compression=zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(load_neural(tmp_path / "small.npz", ids=IDS).dissimilarities, wanted)
