"""z-scores over all presentations carry the test stimuli into the training: one odd stimulus moves every other."""

import numpy as np
import xarray as xr

from netphys.neural.operations.sessions import z_score


def test_z_scored_over_test_stimuli():
    rng = np.random.default_rng(0)
    data = xr.DataArray(
        rng.normal(size=(40, 5)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", [f"s{k % 10}" for k in range(40)]),
            "session": ("presentation", ["mon"] * 20 + ["tue"] * 20),
            "neuroid_id": ("neuroid", [f"n{k}" for k in range(5)]),
        },
    )
    training, test = [f"s{k}" for k in range(8)], np.arange(40) % 10 >= 8
    spoilt = data.copy(data=np.where(test[:, None], 100 * data.values, data.values))
    of_training = z_score(data, of=training).values[~test]
    np.testing.assert_array_equal(of_training, z_score(spoilt, of=training).values[~test])
    leaked = np.abs(z_score(data).values - z_score(spoilt).values)[~test]
    assert leaked.max() > 1  # control: over all presentations, responses to training stimuli depend on the test
