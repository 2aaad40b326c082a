"""Repetitions grouped by every coordinate but their number: a stimulus shown on two days becomes two stimuli."""

import numpy as np
import xarray as xr

from netphys.neural.operations.averaging import average


def test_averages_grouped_by_all_coordinates():
    data = xr.DataArray(
        np.arange(8.0)[:, None],
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", list("abababab")),
            "repetition": ("presentation", [0, 0, 1, 1, 2, 2, 3, 3]),
            "session": ("presentation", ["mon"] * 4 + ["tue"] * 4),
            "neuroid_id": ("neuroid", ["n"]),
        },
    )
    found = average(data)
    assert found["stimulus_id"].values.tolist() == ["a", "b"] and found.values.ravel().tolist() == [3.0, 4.0]
    assert found["n_repetitions"].values.tolist() == [4, 4] and "session" not in found.coords
    by_all = data.to_dataframe(name="y").groupby(["stimulus_id", "session"])["y"].mean()
    assert len(by_all) == 4  # control
