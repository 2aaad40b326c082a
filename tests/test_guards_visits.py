"""What object references of HDF5 lead to: refused where it is elsewhere or too much, and counted each time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from netphys.errors import FileError
from netphys.guards import Visits, require_dataset, require_hard_links


def test_visits_add_up_and_are_held_to_the_size_of_the_file(tmp_path: Path):
    path = tmp_path / "small.h5"
    path.write_bytes(bytes(10_000))
    visits = Visits(path, "c")
    for _ in range(16):  # below 16 MiB the ratio does not count
        visits.count(claimed=2**20, objects=1)
    with pytest.raises(
        FileError, match=r"c, with what it refers to counted each time, claims 16777217 bytes"
    ) as raised:
        visits.count(claimed=1)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
    Visits(path, "c").count(objects=100_000)
    with pytest.raises(FileError, match=r"c refers to more than 100000 objects, each time counted"):
        Visits(path, "c").count(objects=100_001)
    path.write_bytes(bytes(200_000))  # a byte an object
    Visits(path, "c").count(objects=200_000)
    with pytest.raises(FileError, match=r"more than 200000 objects"):
        Visits(path, "c").count(objects=200_001)


def test_one_dataset_and_the_links_of_one_group(tmp_path: Path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((3, 4))
        file.create_dataset("out", (3,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 24)])
        file.create_dataset("huge", (10**5, 10**5), "f8", chunks=(1000, 1000))
        file["null"] = h5py.Empty("f8")
        file.create_group("good")["x"] = file["x"]
        file.create_group("bad")["x"] = h5py.SoftLink("/x")
    with h5py.File(path) as file:
        assert require_dataset(path, file["x"]) == 96 and require_dataset(path, file["null"]) == 0
        require_hard_links(path, file["good"])
        with pytest.raises(FileError, match=r"/out keeps its bytes in another file"):
            require_dataset(path, file["out"])
        with pytest.raises(FileError, match=r"a cell claims 80\.0 GB"):
            require_dataset(path, file["huge"], what="a cell")
        with pytest.raises(FileError, match=r"/bad/x is a link to elsewhere \(SoftLink\)"):
            require_hard_links(path, file["bad"])
