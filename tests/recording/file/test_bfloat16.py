"""bfloat16 takes two bytes, holds torch's bits, and everybody reads floats."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from netphys.recording import Recording, load_recording, verify
from netphys.recording.file.bfloat16 import Stored, hdf5_dtype, is_bfloat16, storage_dtype, to_float32
from netphys.recording.file.entries import Entry
from netphys.recording.file.store import Written, write_recording

EVERY = np.arange(1 << 16, dtype=np.uint16)  # all bfloat16 that there are


def _file(path: Path, values: np.ndarray, dtype: str = "bfloat16") -> Recording:
    header = {"digest": "d", "network": "n", "training": "none", "keep": "all", "dtype": dtype, "provenance": {}}
    dims = {2: ("unit",), 3: ("unit", "token"), 4: ("unit", "y", "x")}[values.ndim]
    rows = Written(
        Entry("a", "Linear", dims, values.shape[1:], 0),
        lambda step: ((first, values[first : first + step]) for first in range(0, len(values), step)),
    )
    columns = {"stimulus_id": np.array([f"s{row}" for row in range(len(values))], dtype=object)}
    write_recording(path, [rows], columns, header)
    return load_recording(path)


def test_widening_is_torchs_for_every_value() -> None:
    theirs = torch.from_numpy(EVERY.copy()).view(torch.bfloat16).float()
    assert to_float32(EVERY).tobytes() == theirs.numpy().tobytes()  # NaNs with their payload, too
    assert storage_dtype("bfloat16") == np.uint16 and storage_dtype("float32") == np.float32


def test_rounding_is_to_nearest_even_in_the_way_that_it_goes() -> None:
    """What a recording does: torch rounds into a buffer of uint16."""
    values = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 3.4e38])
    buffer = np.zeros(5, dtype=np.uint16)
    torch.from_numpy(buffer).view(torch.bfloat16).copy_(values)
    assert to_float32(buffer).tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, -1.0, np.inf]
    cut = (values.numpy().view(np.uint32) >> 16).astype(np.uint16)
    assert not np.array_equal(cut, buffer)  # control: cutting off is not rounding


def test_every_value_survives_the_file_and_everybody_reads_it(tmp_path: Path) -> None:
    values = EVERY.reshape(256, 256)
    recording = _file(tmp_path / "r.h5", values)
    wide = to_float32(values)
    assert recording.array("a").tobytes() == wide.tobytes() and recording.dtype("a") == np.float32
    assert recording.tensor("a").dtype == torch.float32
    verify(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        data = file["layers/a/activation"]
        assert is_bfloat16(data) and data.id.get_storage_size() < 2 * values.size + 4096  # and checksums
        assert np.array_equal(data[:].astype("f4"), wide, equal_nan=True)
        assert Stored(data)[3:5, 7:9].tolist() == values[3:5, 7:9].tolist()
    with xr.open_dataset(tmp_path / "r.h5", group="layers/a", engine="h5netcdf") as opened:
        assert np.array_equal(opened["activation"].values, wide, equal_nan=True)


def test_selections_and_memory_read_floats(tmp_path: Path) -> None:
    values = torch.randn(12, 7, 3, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    raw = values.view(torch.uint16).numpy()
    in_file = _file(tmp_path / "r.h5", raw)
    entry = in_file.entry("a")
    in_memory = Recording("n", "none", in_file.stimulus_ids, None, {"dtype": "bfloat16"}, (entry,), {"a": raw})
    expected = values.float().numpy()
    for recording in (in_file, in_memory):
        chosen = recording.select(stimuli=["s9", "s1"], units=[6, 0])
        assert np.array_equal(chosen.array("a"), expected[[9, 1]][:, [6, 0]])
        assert np.array_equal(chosen["a"].isel(x=2).values, expected[[9, 1]][:, [6, 0]][..., 2])
        assert np.array_equal(next(recording.unit_blocks("a")), expected.reshape(12, -1))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_other_dtypes_are_left_alone(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(5, 6)).astype(dtype)
    assert _file(tmp_path / "r.h5", values, dtype).array("a").dtype == dtype
    with h5py.File(tmp_path / "r.h5") as file:
        assert not is_bfloat16(file["layers/a/activation"])
    assert hdf5_dtype(dtype) == np.dtype(dtype)
