"""Ceilings: rho bounds r^2, its root bounds r; corrected scores; neuroids left out by a rule."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError, OptionError
from netphys.neural import average_repetitions, simulate_cortex
from netphys.neural.quality.ceilings import ceiling, drop_unreliable, noise_corrected
from netphys.neural.quality.reliability import reliability

N, R, SD, SEEDS = 200, 10, 3.0, 300


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, xr.DataArray]:
    """One fixed signal of 200 stimuli, 300 draws of noise of sd 3 in 10 repetitions, each a neuroid."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=N)
    codes = np.tile(np.arange(N), R)
    values = signal[codes, None] + SD * rng.normal(size=(N * R, SEEDS))
    coords = {
        "stimulus_id": ("presentation", codes.astype(str)),
        "neuroid_id": ("neuroid", np.arange(SEEDS).astype(str)),
    }
    return signal, xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords)


def squared(signal: np.ndarray, assembly: xr.DataArray) -> np.ndarray:
    """Squared correlation of the true signal, a perfect model, with the mean responses."""
    _, means = average_repetitions(assembly)
    return np.array([np.corrcoef(signal, each)[0, 1] ** 2 for each in means.T])


def test_a_perfect_model_has_a_corrected_score_of_1(simulated):
    """The check of the definitions (neural data, 1.7): Spearman-Brown is the realised r^2, and r^2 / rho is 1."""
    signal, assembly = simulated
    rho, r2 = reliability(assembly).spearman_brown, squared(signal, assembly)
    variance = signal.var(ddof=1)  # of this draw of the signal; .526 were it 1
    nominal = 1 / (1 + SD**2 / R)
    assert nominal == pytest.approx(0.526, abs=5e-4)
    truth = variance / (variance + SD**2 / R)
    # standard errors over 300 draws: .004 of rho, .003 of r2
    assert rho.mean() == pytest.approx(truth, abs=0.015) and r2.mean() == pytest.approx(truth, abs=0.015)
    assert rho.mean() == pytest.approx(r2.mean(), abs=0.015)
    assert noise_corrected(r2, rho, of="r2").mean() == pytest.approx(1.01, abs=0.03)
    assert noise_corrected(np.sqrt(r2), rho, of="r").mean() == pytest.approx(1.0, abs=0.03)


def test_dividing_twice_is_seen(simulated):
    """Control: (r / rho)^2 gives a perfect model more than 2, as the definitions say (2.14)."""
    signal, assembly = simulated
    rho, r2 = reliability(assembly).spearman_brown, squared(signal, assembly)
    wrong = ((np.sqrt(r2) / rho) ** 2).mean()
    assert wrong == pytest.approx(2.1, abs=0.25)
    assert abs(wrong - 1.01) > 0.03  # what the check above would refuse
    assert noise_corrected(np.sqrt(r2), rho, of="r2").mean() > 1.3  # r taken for r2
    assert noise_corrected(r2, rho, of="r").mean() < 0.8  # r2 taken for r


def test_ceilings_bound_the_best_model(simulated):
    signal, assembly = simulated
    r2 = squared(signal, assembly)
    of_r2, of_r = ceiling(assembly, of="r2"), ceiling(assembly, of="r")
    assert of_r2.mean() == pytest.approx(r2.mean(), abs=0.015)
    assert of_r.mean() == pytest.approx(np.sqrt(r2).mean(), abs=0.015)
    np.testing.assert_allclose(of_r, np.sqrt(of_r2), atol=1e-12)
    np.testing.assert_array_equal(ceiling(reliability(assembly), of="r2"), of_r2)
    assert abs(of_r2.mean() - of_r.mean()) > 0.15  # control: one is not the other


@pytest.mark.parametrize("shared", [0.25, 0.5, 1.0])
def test_the_true_features_reach_the_shared_share(shared):
    """A simulated cortex: the features' best fit, corrected, is q; r^2 itself is q rho (definitions 8)."""
    features = np.random.default_rng(1).normal(size=(400, 5))
    ids = [str(row) for row in range(400)]
    cortex = simulate_cortex(features, ids, region="IT", n_subjects=1, n_neuroids=60, shared=shared, noise=4.0, seed=3)
    _, means = average_repetitions(cortex)
    means = means - means.mean(axis=0)
    scaled = features - features.mean(axis=0)
    fitted = scaled @ np.linalg.lstsq(scaled, means, rcond=None)[0]
    r2 = np.array([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(fitted.T, means.T)])
    rho = reliability(cortex).rho
    # the fit takes 5 / 400 of the noise, too: .01 at q = 1 and rho = .5
    assert noise_corrected(r2, rho, of="r2").mean() == pytest.approx(shared, abs=0.03)
    assert r2.mean() < shared * 0.7  # control: uncorrected


def test_negative_and_small_reliability():
    assert np.isnan(noise_corrected([0.2, 0.2, 0.2], [0.05, -0.3, np.nan], of="r2")).all()
    assert noise_corrected(0.2, 0.05, of="r2", at_least=0.01).item() == pytest.approx(4.0)
    assert noise_corrected(-0.1, 0.25, of="r").item() == pytest.approx(-0.2)
    assert noise_corrected(np.ones((3, 2)), [0.5, 1.0], of="r2").tolist() == [[2.0, 1.0]] * 3
    with pytest.raises(OptionError, match=r"at_least=0: it must be above 0"):
        noise_corrected(0.2, 0.5, of="r2", at_least=0)
    with pytest.raises(OptionError, match=r"of='r\^2': it must be 'r2' \(bounded by rho\) or 'r'"):
        noise_corrected(0.2, 0.5, of="r^2")


@pytest.fixture
def mixed() -> xr.DataArray:
    """20 good neuroids, 20 of noise."""
    features = np.random.default_rng(1).normal(size=(80, 5))
    ids = [f"s{row}" for row in range(80)]
    cortex = simulate_cortex(features, ids, region="IT", n_subjects=1, n_neuroids=40, noise=1.0, seed=3)
    values = cortex.values.copy()
    values[:, 20:] = np.random.default_rng(5).normal(size=values[:, 20:].shape)
    return cortex.copy(data=values)


def test_unreliable_neuroids_are_left_out_and_counted(mixed, caplog):
    with caplog.at_level(logging.INFO, logger="netphys"):
        kept = drop_unreliable(mixed, at_least=0.5)
    assert kept["neuroid_id"].values.tolist() == mixed["neuroid_id"].values[:20].tolist()
    assert kept.attrs["n_dropped"] == 20 and kept.attrs["reliability_at_least"] == 0.5
    assert "20 of 40 neuroids left out: reliability below 0.5" in caplog.text
    assert "n_dropped" not in mixed.attrs
    again = drop_unreliable(kept, at_least=0.8)
    assert again.attrs["n_dropped"] == 40 - again.sizes["neuroid"]
    given = drop_unreliable(mixed, at_least=0.5, measured=reliability(mixed))
    xr.testing.assert_identical(given, kept)


def test_the_rule_may_look_at_some_stimuli_only(mixed):
    train = [f"s{row}" for row in range(0, 80, 2)]
    kept = drop_unreliable(mixed, at_least=0.5, of=train)
    assert kept.sizes["presentation"] == mixed.sizes["presentation"]  # of all stimuli
    spoilt = mixed.copy(deep=True)
    other = ~np.isin(mixed["stimulus_id"].values, train)
    spoilt.values[other] = 0.0
    assert drop_unreliable(spoilt, at_least=0.5, of=train)["neuroid_id"].equals(kept["neuroid_id"])
    with pytest.raises(NeuralDataError, match=r"none of 40 neuroids"):
        drop_unreliable(spoilt.isel(neuroid=slice(20, None)).pipe(lambda x: xr.concat([x, x], "neuroid")), at_least=0.9)


def test_what_cannot_be_left_out(mixed):
    for options, told in {
        "none": ({"at_least": 1.0}, r"none of 40 neuroids has a reliability of 1 or more \(the best has \d\.\d+\)"),
        "stimulus": ({"of": ["s0", "s81"]}, r"the assembly has no stimulus 's81'; near: "),
        "one": ({"of": "s0"}, r"of='s0': it is a list of stimulus ids"),
        "two": ({"of": ["s0"], "measured": reliability(mixed)}, r"of= and measured= both say"),
        "others": ({"measured": reliability(mixed[:, :5])}, r"measured= is not of the neuroids of the assembly"),
    }.values():
        with pytest.raises((NeuralDataError, OptionError), match=told):
            drop_unreliable(mixed, **options)
    binned = mixed.expand_dims(time_bin=3, axis=2)
    with pytest.raises(NeuralDataError, match=r"has 3 time bins and one reliability a neuroid is asked for"):
        drop_unreliable(binned)
