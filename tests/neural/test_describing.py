"""What ``netphys info`` says of a file of neural data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from scipy.io import savemat

from netphys.neural import describe_file


def test_arrays_by_name(tmp_path: Path, stack, sessions, save_73):
    np.savez(tmp_path / "a.npz", IT=stack, EVC=stack)
    described = describe_file(tmp_path / "a.npz")
    assert described["variables"] == {"IT": [4, 6, 6], "EVC": [4, 6, 6]}
    assert described["kind"] == "arrays" and described["n_stimuli"] == 6
    np.save(tmp_path / "b.npy", stack[0])
    assert describe_file(tmp_path / "b.npy")["n_stimuli"] == 6
    for file in ("c.mat", "d.mat"):
        if file == "c.mat":
            savemat(tmp_path / file, {"RDMs": sessions[0], "one": stack})
        else:
            save_73(tmp_path / file, {"RDMs": sessions[0], "one": stack})
        described = describe_file(tmp_path / file)
        assert described["variables"] == {"RDMs": [1, 2, 2], "one": [4, 6, 6]}
        assert described["kinds"] == {"RDMs": "struct", "one": "numbers"} and described["n_stimuli"] == 6
    savemat(tmp_path / "e.mat", {"RDMs": sessions[0], "other": {"x": 1.0}})
    assert describe_file(tmp_path / "e.mat")["n_stimuli"] == 6  # of the struct's field RDM


def test_rdms_and_assemblies(tmp_path: Path, pairs, responses):
    from rsatoolbox.rdm import RDMs

    RDMs(pairs, rdm_descriptors={"subject": list("abcd"), "region": ["IT"] * 4}).save(str(tmp_path / "r.h5"))
    assert describe_file(tmp_path / "r.h5") == {
        "kind": "rdms",
        "variables": {"dissimilarities": [4, 15]},
        "n_stimuli": 6,
        "subjects": ["a", "b", "c", "d"],
        "region": "IT",
    }
    coords = {
        "image_id": ("presentation", ["x", "y", "x", "y", "z", "z"]),
        "neuroid_id": ("neuroid", list("abc")),
        "animal": ("neuroid", ["m", "m", "n"]),
        "region": ("neuroid", ["IT", "V4", "IT"]),
    }
    array = xr.DataArray(responses, dims=("presentation", "neuroid"), coords=coords)
    for engine in ("scipy", "h5netcdf"):
        array.to_dataset(name="data").to_netcdf(tmp_path / "n.nc", engine=engine)
        described = describe_file(tmp_path / "n.nc")
        assert described["kind"] == "assembly" and described["variables"]["data"] == [6, 3]
        assert (described["n_stimuli"], described["subjects"], described["region"]) == (3, ["m", "n"], "IT+V4")


def test_other_files_are_not_described(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"x")
    assert describe_file(tmp_path / "x.png") is None
