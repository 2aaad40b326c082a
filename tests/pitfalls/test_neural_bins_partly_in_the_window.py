"""A window that cuts through bins, or that the bins do not fill: the count is of another time than it says."""

import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural.operations.windows import window


def test_bins_partly_in_the_window():
    starts = np.arange(0, 200, 25)
    counts = xr.DataArray(
        np.ones((1, 1, 8), dtype=np.uint8),
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", ["a"]),
            "neuroid_id": ("neuroid", ["n"]),
            "time_bin_start": ("time_bin", starts),
            "time_bin_end": ("time_bin", starts + 25),
        },
        attrs={"unit": "spikes"},
    )
    inside = counts.isel(time_bin=(starts >= 70) & (starts < 170))  # what a mask on starts takes
    assert inside.sum() == 4 and inside["time_bin_start"].min() == 75 and inside["time_bin_end"].max() == 175
    with pytest.raises(NeuralDataError, match=r"start 50 or 75, stop 150 or 175"):
        window(counts, 70, 170)
    with pytest.raises(NeuralDataError, match=r"is not filled: its time bins reach from 150 to 200 ms"):
        window(counts, 150, 250)
    assert window(counts, 75, 175).item() == 4
