"""Files from strangers: claims are refused before memory is taken, and no foreign byte is read."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from netphys.errors import FileError
from netphys.neural import describe_file, load_neural


class _Marked:
    """An object whose unpickling would be seen."""

    touched = False

    def __reduce__(self):
        return (_mark, ())


def _mark() -> None:
    _Marked.touched = True


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def _refused(path: Path, told: str, ids: object = tuple("abc")) -> None:
    """Loading and describing take no memory and say one line that names the file."""
    for call in (lambda: load_neural(path, ids=ids), lambda: describe_file(path)):
        tracemalloc.start()
        with pytest.raises(FileError, match=told) as raised:
            call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)
        assert peak < 50 * 2**20


def test_npy_header_that_claims_more_than_there_is(tmp_path: Path):
    (tmp_path / "huge.npy").write_bytes(_header((10**12,)) + b"\0" * 24)
    _refused(tmp_path / "huge.npy", r"claims 8000000000000 bytes of data, 24 are there")
    (tmp_path / "deep.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{")
    _refused(tmp_path / "deep.npy", r"has a header of 2147483648 bytes")
    (tmp_path / "negative.npy").write_bytes(_header((3, 3)).replace(b"(3, 3)", b"(-3,3)") + b"\0" * 72)
    _refused(tmp_path / "negative.npy", r"claims the shape \(-3, 3\)")


def test_npy_and_npz_of_pickled_objects_stay_closed(tmp_path: Path):
    objects = np.array([_Marked(), _Marked(), _Marked()], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=objects)
    for file in ("objects.npy", "objects.npz"):
        _refused(tmp_path / file, r"pickled Python objects, which are never read")
    (tmp_path / "pickle.npy").write_bytes(objects.dumps())
    _refused(tmp_path / "pickle.npy", r"no \.npy array")
    assert not _Marked.touched
    np.load(tmp_path / "objects.npy", allow_pickle=True)
    assert _Marked.touched  # control: the file would have done it


def test_npz_bombs(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", _header((25 * 10**6,)) + bytes(200 * 10**6))
    assert (tmp_path / "bomb.npz").stat().st_size < 250_000
    _refused(tmp_path / "bomb.npz", r"claims 200000128 bytes from \d+ bytes on disk, more than 200:1")
    with zipfile.ZipFile(tmp_path / "parts.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for at in range(40):  # each below the size from which the ratio counts, together above it
            archive.writestr(f"x{at}.npy", _header((10**5,)) + bytes(8 * 10**5))
    _refused(tmp_path / "parts.npz", r"the archive claims")
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("x.npy", _header((10**12,)) + bytes(24))
    _refused(tmp_path / "member.npz", r"the header of x claims 8000000000000 bytes")
    with zipfile.ZipFile(tmp_path / "foreign.npz", "w") as archive:
        archive.writestr("../evil.py", b"x")
    _refused(tmp_path / "foreign.npz", r"holds '\.\./evil\.py'; a \.npz file holds arrays")
    with zipfile.ZipFile(tmp_path / "lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", _header((3, 3)) + bytes(72))
    _refused(tmp_path / "lzma.npz", r"a \.npz file holds arrays")


def test_a_small_constant_array_is_no_bomb(tmp_path: Path):
    np.savez_compressed(tmp_path / "flat.npz", x=1.0 - np.eye(300))
    assert load_neural(tmp_path / "flat.npz", ids=[str(at) for at in range(300)]).dissimilarities.min() == 1.0


@pytest.mark.parametrize("suffix", [".h5", ".mat", ".nc"])
@pytest.mark.parametrize(
    "attack", ["external storage", "external link", "soft link", "virtual", "huge", "within a group"]
)
def test_hdf5_that_points_elsewhere(tmp_path: Path, suffix, attack):
    secret = np.arange(9, dtype=np.float64).tobytes()
    (tmp_path / "secret.bin").write_bytes(secret)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(9.0).reshape(3, 3)
    path = tmp_path / f"attack{suffix}"
    with h5py.File(path, "w") as file:
        file["honest"] = 1.0 - np.eye(3)
        if attack == "external storage":
            file.create_dataset("x", (3, 3), "f8", external=[(str(tmp_path / "secret.bin"), 0, 72)])
        elif attack == "external link":
            file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        elif attack == "soft link":
            file["x"] = h5py.SoftLink("/honest")
        elif attack == "virtual":
            layout = h5py.VirtualLayout((3, 3), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3, 3))
            file.create_virtual_dataset("x", layout)
        elif attack == "huge":
            file.create_dataset("x", (10**6, 10**6), "f8", chunks=(1000, 1000))
        else:
            file.create_group("a/b")["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    told = {
        "external storage": r"/x keeps its bytes in another file",
        "external link": r"/x is a link to elsewhere \(ExternalLink\)",
        "soft link": r"/x is a link to elsewhere \(SoftLink\)",
        "virtual": r"/x is a virtual dataset",
        "huge": r"/x claims 8000\.0 GB",
        "within a group": r"/a/b/x is a link to elsewhere",
    }
    _refused(path, told[attack])


def test_hdf5_of_fill_values_and_of_loops(tmp_path: Path):
    with h5py.File(tmp_path / "fill.h5", "w") as file:
        file.create_dataset("x", (5000, 5000), "f8", chunks=(100, 100))  # 200 MB of nothing
    _refused(tmp_path / "fill.h5", r"/x claims 200000000 bytes from 0 bytes")
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        group = file.create_group("a")
        group["again"] = group  # a group that holds itself
        group["x"] = 1.0 - np.eye(3)
    loop = load_neural(f"{tmp_path / 'loop.h5'}?variable=a/x", ids=list("abc"))
    assert loop.dissimilarities.tolist() == [[1.0, 1.0, 1.0]]


def test_mat_elements_that_claim_more_than_there_is(tmp_path: Path):
    from scipy.io import savemat

    savemat(tmp_path / "good.mat", {"x": 1.0 - np.eye(3)})
    good = (tmp_path / "good.mat").read_bytes()
    (tmp_path / "claim.mat").write_bytes(good[:132] + struct.pack("<I", 2**31) + good[136:])
    _refused(tmp_path / "claim.mat", r"is truncated: an element claims 2147483648 bytes")
    savemat(tmp_path / "bomb.mat", {"x": np.zeros(25 * 10**6)}, do_compression=True)
    _refused(tmp_path / "bomb.mat", r"a compressed variable claims \d+ bytes from \d+ bytes on disk")


def test_netcdf3_header_that_claims_more_than_there_is(tmp_path: Path):
    from scipy.io import netcdf_file

    with netcdf_file(tmp_path / "good.nc", "w") as file:
        file.createDimension("presentation", 3)
        file.createDimension("neuroid", 3)
        file.createVariable("data", "d", ("presentation", "neuroid"))[:] = np.eye(3)
    good = (tmp_path / "good.nc").read_bytes()
    at = good.index(b"presentation") + len("presentation")
    (tmp_path / "claim.nc").write_bytes(good[:at] + struct.pack(">I", 2**27) + good[at + 4 :])
    _refused(tmp_path / "claim.nc", r"claims|cannot be read as netCDF")
