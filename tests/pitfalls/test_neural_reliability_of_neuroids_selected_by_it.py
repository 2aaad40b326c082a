"""Neuroids chosen for their reliability look more reliable, on the data that chose them, than they are."""

from __future__ import annotations

import numpy as np
import xarray as xr

from netphys.neural.quality.ceilings import drop_unreliable
from netphys.neural.quality.reliability import reliability


def test_neuroids_selected_by_their_reliability_are_measured_on_other_stimuli():
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(80), 4)
    noise = xr.DataArray(
        rng.normal(size=(320, 600)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", codes.astype(str)),
            "neuroid_id": ("neuroid", np.arange(600).astype(str)),
        },
    )
    train = [str(each) for each in range(40)]
    test = noise.isel(presentation=codes >= 40)
    assert abs(reliability(test).rho.mean()) < 0.05  # nothing in these data is reliable
    same = reliability(drop_unreliable(test, at_least=0.2)).rho
    assert same.mean() > 0.2  # the trap: chosen and measured on the same stimuli
    held_out = drop_unreliable(noise, at_least=0.2, of=train).isel(presentation=codes >= 40)
    assert held_out.sizes["neuroid"] > 50
    assert abs(reliability(held_out).rho.mean()) < 3 * 0.25 / np.sqrt(held_out.sizes["neuroid"])  # 3 standard errors
