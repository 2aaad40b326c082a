"""Reliability: the formulas, by loops written out; missing presentations; coverage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import f as f_distribution
from scipy.stats import pearsonr

from netphys.errors import NeuralDataError, OptionError
from netphys.neural import NeuralData, average, drop_unreliable, noise_corrected, simulate_cortex
from netphys.neural.quality.reliability import reliability
from netphys.neural.quality.split_halves import half_correlation, spearman_brown


def assembly_of(values: np.ndarray, codes: np.ndarray) -> xr.DataArray:
    coords = {
        "stimulus_id": ("presentation", np.array([f"s{each}" for each in codes])),
        "neuroid_id": ("neuroid", np.array([f"n{at}" for at in range(values.shape[1])])),
    }
    return xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords)


def drawn(counts: np.ndarray, sd: float, n_neuroids: int, seed: int, *, shuffled: bool = True) -> xr.DataArray:
    """Normal signal of variance 1 a neuroid, normal noise: the model that the formulas are of."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    codes = rng.permutation(codes) if shuffled else codes
    signal = rng.normal(size=(len(counts), n_neuroids))
    return assembly_of(signal[codes] + sd * rng.normal(size=(len(codes), n_neuroids)), codes)


def truth_of(counts: np.ndarray, sd: float) -> float:
    """Share of signal in the variance of plain means."""
    return float(1 / (1 + sd**2 * np.mean(1 / counts)))


def looped(values: np.ndarray, codes: np.ndarray, n_splits: int, seed: int) -> float:
    """Mean r over splits of one neuroid, stimulus by stimulus, as the definition reads."""
    rng = np.random.default_rng(seed)
    shown = [values[codes == code] for code in np.unique(codes)]
    r = []
    for _ in range(n_splits):
        halves = []
        for each in shown:
            each = rng.permutation(each[~np.isnan(each)])
            half = len(each) // 2
            if half:
                halves.append((each[:half].mean(), each[half : 2 * half].mean()))
        r.append(pearsonr(*zip(*halves)).statistic)
    return float(np.mean(r))


def test_split_halves_equal_the_loop_over_stimuli():
    counts = np.random.default_rng(0).integers(2, 8, size=30)
    assembly = drawn(counts, 1.0, 3, 0)
    codes = np.array([int(each[1:]) for each in assembly["stimulus_id"].values])
    found = reliability(assembly, n_splits=4000)
    for neuroid in range(2):
        # 300 splits of the loop, standard deviations of one .05 and .10: standard errors .003 and .006
        wanted = looped(assembly.values[:, neuroid], codes, 300, 1)
        assert found.split_half[neuroid] == pytest.approx(wanted, abs=0.02)


def test_two_presentations_have_one_split_and_it_is_exact():
    assembly = drawn(np.full(25, 2), 1.0, 5, 3, shuffled=False)
    first, second = assembly.values[0::2], assembly.values[1::2]
    swapped = reliability(assembly, n_splits=3).split_half
    pairs = [np.corrcoef(first[:, at], second[:, at])[0, 1] for at in range(5)]
    # which of the two is in which half is drawn anew for each stimulus, so r differs from that of first with second
    assert np.abs(swapped - pairs).max() < 0.15
    cube = np.stack([first, second], axis=1)
    cube -= cube.mean(axis=(0, 1))
    np.testing.assert_allclose(half_correlation([cube], n_splits=1, seed=0), pairs, atol=1e-12)


def test_analysis_of_variance_by_hand():
    """Stimuli a: 1, 3; b: 4, 6, 8; c: 9, 11. Means 2, 6, 10, all 6: MSB = 64 / 2, MSE = (2 + 8 + 2) / 4."""
    values = np.array([1.0, 3, 4, 6, 8, 9, 11])
    found = reliability(assembly_of(values[:, None], np.array([0, 0, 1, 1, 1, 2, 2])))
    n0 = (7 - (4 + 9 + 4) / 7) / 2
    harmonic = 3 / (1 / 2 + 1 / 3 + 1 / 2)
    signal = (64 / 2 - 3) / n0
    assert found.noise_variance[0] == pytest.approx(3.0, rel=1e-12)
    assert found.signal_variance[0] == pytest.approx(signal, rel=1e-12)
    assert found.n_repetitions[0] == pytest.approx(harmonic, rel=1e-12)
    assert found.anova[0] == pytest.approx(signal / (signal + 3 / harmonic), rel=1e-12)
    assert found.presentations == (2, 3) and found.n_stimuli[0] == 3


def test_balanced_interval_is_that_of_the_intraclass_correlation():
    """Shrout & Fleiss (1979): F = MSB / MSE over the quantiles of F; ours does not assume normality."""
    n, times = 120, 6
    found = reliability(drawn(np.full(n, times), 2.0, 200, 5), method="anova")
    ratio = 1 / (1 - found.anova)
    low = 1 - f_distribution.ppf(0.975, n - 1, n * (times - 1)) / ratio
    high = 1 - f_distribution.ppf(0.025, n - 1, n * (times - 1)) / ratio
    width = (high - low).mean()
    # a jackknife's error has itself an error of about 1 / sqrt(2 n) = 6 % a neuroid: means over 200 agree far better
    assert np.mean(found.low - low) == pytest.approx(0.0, abs=0.05 * width)
    assert np.mean(found.high - high) == pytest.approx(0.0, abs=0.05 * width)


@pytest.mark.parametrize("method", ["split_half", "anova"])
@pytest.mark.parametrize(
    ("counts", "sd"),
    [(np.full(40, 4), 1.0), (np.full(40, 5), 3.0), (np.where(np.arange(100) % 2, 2, 20), 1.5)],
    ids=["even", "odd", "unbalanced"],
)
def test_unbiased_and_covered(counts, sd, method):
    n = 600
    truth = truth_of(counts, sd)
    found = reliability(drawn(counts, sd, n, 7), method=method)
    covered = np.mean((found.low <= truth) & (truth <= found.high))
    assert 0.925 <= covered <= 0.985
    # log(1 - rho) is a log of a ratio of mean squares: its bias is about half the squared error, which t leaves inside
    assert np.median(found.rho) == pytest.approx(truth, abs=0.03)


def test_spread_of_splits_is_no_interval():
    """Control of the coverage: the standard error over splits says how many were drawn, not how many stimuli."""
    counts = np.full(40, 4)
    assembly = drawn(counts, 1.0, 400, 9)
    each = np.array([reliability(assembly, n_splits=1, seed=seed).spearman_brown for seed in range(20)])
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
    inside = np.abs(each.mean(axis=0) - truth_of(counts, 1.0)) <= 2.09 * error
    assert inside.mean() < 0.5


def test_wrong_lengths_of_the_correction_are_seen():
    """Control: k = 2 where a repetition of three is left out, and n0 where plain means are asked for, are biased."""
    found = reliability(drawn(np.full(200, 3), 1.5, 300, 11))
    truth = truth_of(np.full(200, 3), 1.5)
    assert np.mean(found.rho) == pytest.approx(truth, abs=0.01)  # standard error .004
    assert np.mean(spearman_brown(found.split_half, 2.0)) < truth - 0.05
    counts = np.where(np.arange(200) % 2, 2, 20)
    found = reliability(drawn(counts, 1.5, 300, 13))
    n0 = (counts.sum() - (counts**2).sum() / counts.sum()) / 199
    with_n0 = found.signal_variance / (found.signal_variance + found.noise_variance / n0)
    assert np.mean(found.anova) == pytest.approx(truth_of(counts, 1.5), abs=0.015)
    assert np.mean(with_n0) > truth_of(counts, 1.5) + 0.1


def test_correction_after_averaging_not_before():
    """Control: corrected values of single splits, averaged, fall below; noise brings them near the pole at -1."""
    assembly = drawn(np.full(12, 2), 3.0, 300, 15)
    single = np.array([reliability(assembly, n_splits=1, seed=seed).split_half for seed in range(60)])
    after = spearman_brown(single.mean(axis=0))
    before = spearman_brown(single).mean(axis=0)
    assert (before < after).mean() > 0.95 and np.mean(before) < np.mean(after) - 0.005


def test_definition_of_fisher():
    assembly = drawn(np.full(30, 4), 1.0, 4, 17)
    one = [reliability(assembly, n_splits=1, seed=0, average=each).split_half for each in ("r", "fisher")]
    np.testing.assert_allclose(one[0], one[1], atol=1e-12)
    many = [reliability(assembly, average=each).split_half for each in ("r", "fisher")]
    assert (many[1] > many[0]).all() and np.abs(many[1] - many[0]).max() < 0.02


def test_pure_noise_is_near_0_and_stays_negative():
    rng = np.random.default_rng(19)
    codes = np.tile(np.arange(200), 10)
    found = reliability(assembly_of(rng.normal(size=(2000, 600)), codes))
    assert abs(found.spearman_brown.mean()) < 0.02 and abs(found.anova.mean()) < 0.02
    assert (found.rho < 0).mean() > 0.3 and found.clipped.min() == 0.0


@pytest.mark.parametrize("change", ["scale", "shift", "permuted"])
def test_invariances(change):
    counts = np.random.default_rng(21).integers(1, 6, size=40)
    assembly = drawn(counts, 1.0, 6, 21)
    plain = reliability(assembly)
    if change == "permuted":
        order = np.random.default_rng(1).permutation(assembly.sizes["presentation"])
        other = reliability(assembly[order])
        np.testing.assert_allclose(other.anova, plain.anova, atol=1e-10)
        np.testing.assert_allclose(other.rho, plain.rho, atol=0.05)  # other halves are drawn
    else:
        other = reliability(assembly * 1e4 if change == "scale" else assembly + 1e4)
        for name in ("split_half", "spearman_brown", "anova", "low", "high"):
            np.testing.assert_allclose(getattr(other, name), getattr(plain, name), atol=1e-8)  # 1e4 costs 8 digits


def test_missing_presentations_differ_between_neuroids():
    """Each neuroid by itself, its missing rows taken out, has the same values: nothing is shared between patterns."""
    assembly = drawn(np.full(30, 6), 1.0, 8, 23)
    rng = np.random.default_rng(2)
    values = assembly.values.copy()
    for neuroid in range(1, 8):
        values[rng.random(len(values)) < 0.1 * (neuroid % 4), neuroid] = np.nan
    values[:, 7] = np.where(np.isnan(values[:, 3]), np.nan, values[:, 7])  # two of one pattern
    together = reliability(assembly.copy(data=values))
    for neuroid in range(8):
        alone = assembly.copy(data=values)[:, [neuroid]]
        for name in ("split_half", "anova", "low", "high", "n_repetitions", "n_stimuli"):
            got, want = getattr(together, name)[neuroid], getattr(reliability(alone), name)[0]
            assert got == pytest.approx(want, abs=1e-12), (neuroid, name)
        there = alone.isel(presentation=~np.isnan(values[:, neuroid]))
        assert together.anova[neuroid] == pytest.approx(reliability(there).anova[0], abs=1e-12)


def test_nan_is_not_0():
    """Control: missing presentations filled with 0 lower the reliability."""
    assembly = drawn(np.full(60, 6), 1.0, 20, 25) + 3.0
    lost = np.random.default_rng(3).random(assembly.shape) < 0.3
    with_nan = reliability(assembly.where(~lost))
    filled = reliability(assembly.where(~lost, 0.0))
    assert with_nan.rho.mean() == pytest.approx(reliability(assembly).rho.mean(), abs=0.1)
    assert filled.rho.mean() < with_nan.rho.mean() - 0.2


def test_stimuli_shown_once_are_left_out_and_said():
    assembly = drawn(np.array([3] * 20 + [1] * 7), 1.0, 4, 27)
    often = assembly.isel(presentation=[int(each[1:]) < 20 for each in assembly["stimulus_id"].values])
    found = reliability(assembly)
    np.testing.assert_allclose(found.anova, reliability(often).anova, atol=1e-12)
    assert found.n_single.tolist() == [7] * 4 and found.n_stimuli.tolist() == [20] * 4
    assert "3 repetitions of 20 stimuli (7 shown once left out)" in str(found)


def test_silent_and_constant_neuroids_have_no_value():
    assembly = drawn(np.full(20, 4), 1.0, 4, 29)
    values = assembly.values.copy()
    values[:, 1] = 0.1  # rounding of its mean is not 0
    values[:, 2] = 0.0
    values[5, 2] = 1.0  # one spike: it is in one half of each split, the other half does not vary
    found = reliability(assembly.copy(data=values))
    assert np.isnan(found.rho).tolist() == [False, True, True, False]
    assert np.isnan(found.anova).tolist() == [False, True, False, False]
    assert "2 without a value" in str(found)


def test_noise_free_repetitions_are_wholly_reliable():
    signal = np.random.default_rng(0).normal(size=(15, 3))
    found = reliability(assembly_of(np.tile(signal, (3, 1)), np.tile(np.arange(15), 3)))
    for value in (found.rho, found.anova, found.low, found.high):
        np.testing.assert_allclose(value, 1.0, atol=1e-12)


def test_counts_and_float32_have_the_values_of_float64():
    counts = np.random.default_rng(31).poisson(5, size=(120, 5))
    codes = np.tile(np.arange(30), 4)
    wanted = reliability(assembly_of(counts.astype(np.float64), codes))
    for dtype in (np.int16, np.uint8, np.float32):
        found = reliability(assembly_of(counts.astype(dtype), codes))
        np.testing.assert_array_equal(found.rho, wanted.rho)


def test_time_bins_are_measured_one_by_one():
    first, second = drawn(np.full(40, 4), 0.5, 6, 33), drawn(np.full(40, 4), 2.0, 6, 33)
    binned = xr.concat([first, second], "time_bin").transpose("presentation", "neuroid", "time_bin")
    binned = binned.assign_coords(time_bin_start=("time_bin", [0, 50]), time_bin_end=("time_bin", [50, 100]))
    found = reliability(binned)
    np.testing.assert_allclose(found.rho[:, 0], reliability(first).rho, atol=1e-12)
    np.testing.assert_allclose(found.low[:, 1], reliability(second).low, atol=1e-12)
    frame = found.to_frame()
    assert len(frame) == 12 and frame["time_bin_start"].tolist()[:2] == [0, 50]
    assert frame["rho"].to_numpy().reshape(6, 2).tolist() == found.rho.tolist()
    assert "most reliable of 2 time bins 0 to 50 ms: median" in str(found)
    assert found.plot(Figure().add_subplot()).get_xlabel() == "time from onset (ms)"


def test_many_chunks_are_one(monkeypatch):
    import netphys.neural.quality.reliability as room

    assembly = drawn(np.full(20, 3), 1.0, 17, 35)
    whole = reliability(assembly)
    monkeypatch.setattr(room, "_CHUNK", 60 * 4)  # four neuroids at a time
    np.testing.assert_allclose(reliability(assembly).to_frame()["low"], whole.to_frame()["low"], atol=1e-12)


def test_the_simulated_cortex_is_measured_as_it_was_made():
    features = np.random.default_rng(0).normal(size=(300, 6))
    ids = [str(row) for row in range(300)]
    for noise in (0.5, 4.0, 20.0):
        cortex = simulate_cortex(features, ids, region="IT", n_subjects=2, n_neuroids=50, noise=noise, seed=1)
        found = reliability(cortex)
        truth = cortex.attrs["reliability"]
        assert np.mean((found.low <= truth) & (truth <= found.high)) > 0.925
        assert found.rho.mean() == pytest.approx(truth, abs=0.03)


def test_frame_and_figure():
    features = np.random.default_rng(0).normal(size=(50, 4))
    cortex = simulate_cortex(features, [str(row) for row in range(50)], region="V4", n_subjects=2, n_neuroids=3)
    found = reliability(cortex, confidence=0.9)
    frame = found.to_frame()
    assert frame.columns[0] == "neuroid_id" and {"animal", "region", "rho", "low", "high"} <= set(frame.columns)
    assert frame["neuroid_id"].tolist() == list(found.neuroid_ids) and frame["n_stimuli"].tolist() == [50] * 6
    assert (frame["low"] < frame["rho"]).all() and (frame["rho"] < frame["high"]).all()
    assert (found.high - found.low < reliability(cortex).high - reliability(cortex).low).all()
    ax = found.plot()
    drawn_values = ax.lines[0].get_ydata()
    np.testing.assert_array_equal(drawn_values, np.sort(found.rho))
    assert "90 % interval" in ax.get_ylabel()
    assert repr(found).startswith("Reliability(6 neuroids: median .") and "4 repetitions of 50 stimuli" in repr(found)


def test_spearman_brown_known_values():
    assert spearman_brown(0.5).item() == pytest.approx(2 / 3)
    assert spearman_brown(0.25, 4).item() == pytest.approx(4 / 7)
    assert np.isnan(spearman_brown(-1.0)) and np.isnan(spearman_brown(-0.6, 3))
    assert spearman_brown(spearman_brown(0.3, 5), 1 / 5).item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_splits": 0}, r"n_splits=0: it must be a whole number, 1 or more"),
        ({"n_splits": True}, r"n_splits=True"),
        ({"method": "anov"}, r"method='anov': it must be 'split_half' or 'anova'; near: 'anova'"),
        ({"average": "z"}, r"average='z': it must be 'r' or 'fisher'"),
        ({"confidence": 95}, r"confidence=95: it must be between 0 and 1"),
    ],
)
def test_options_that_are_none(options, told):
    with pytest.raises(OptionError, match=told):
        reliability(drawn(np.full(5, 2), 1.0, 2, 0), **options)


def test_what_has_no_reliability():
    with pytest.raises(NeuralDataError, match=r"0 of 5 stimuli were shown twice or more; reliability needs 3 at least"):
        reliability(drawn(np.full(5, 1), 1.0, 2, 0))
    with pytest.raises(NeuralDataError, match=r"2 of 9 stimuli were shown twice"):
        reliability(drawn(np.array([2, 2] + [1] * 7), 1.0, 2, 0))
    infinite = drawn(np.full(5, 2), 1.0, 2, 0)
    infinite.values[3, 1] = np.inf
    with pytest.raises(NeuralDataError, match=r"holds infinity; a response that is missing is NaN"):
        reliability(infinite)
    with pytest.raises(NeuralDataError, match=r"has no coordinate 'stimulus_id'"):
        reliability(drawn(np.full(5, 2), 1.0, 2, 0).drop_vars("stimulus_id"))


def test_neural_data_are_taken_and_averages_refused():
    cortex = simulate_cortex(
        np.random.default_rng(0).normal(size=(20, 3)),
        [f"s{at}" for at in range(20)],
        region="IT",
        n_subjects=1,
        n_neuroids=4,
        n_repetitions=6,
    )
    data = NeuralData(
        "assembly", tuple(f"s{at}" for at in range(20)), ("subject1",), "IT", "it", "made", assembly=cortex
    )
    np.testing.assert_array_equal(reliability(data).rho, reliability(cortex).rho)
    assert noise_corrected(0.4, reliability(data), of="r2").shape == (4,)
    assert set(reliability(data).to_frame()["n_repetitions"]) == {6.0}
    kept = drop_unreliable(data, at_least=-1.0, of=SimpleNamespace(ids=[f"s{at}" for at in range(10)]))
    assert kept.sizes["neuroid"] == 4
    with pytest.raises(NeuralDataError, match="reliability needs every presentation a row; .* means of up to 6"):
        reliability(average(cortex))


def test_of_two_presentations_every_split_is_another(monkeypatch):
    """Control: before, ten shuffles were ten splits, however many were asked for."""
    cortex = simulate_cortex(
        np.random.default_rng(0).normal(size=(30, 3)),
        [f"s{at}" for at in range(30)],
        region="IT",
        n_subjects=1,
        n_neuroids=5,
        n_repetitions=2,
        noise=3.0,
    )
    few, many = (reliability(cortex, n_splits=n).split_half for n in (10, 1000))
    assert np.abs(few - many).max() > 1e-6
    others = [reliability(cortex, n_splits=100, seed=seed).split_half for seed in range(20)]
    assert np.std(others, axis=0).max() < 0.006  # of 100 splits .0023 and less here; of ten .0075
