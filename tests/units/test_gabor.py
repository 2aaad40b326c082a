"""Planted Gabor functions are found; noise, however smooth, is not called Gabor."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

from netphys.errors import OptionError
from netphys.units.gabor import PARAMETERS, fit_gabors, gabor
from netphys.units.gabor_model import fit_many, peaks
from netphys.units.gabor_null import radial_noise, radial_spectra

SIDE = 9


def planted(n: int, seed: int, side: int = SIDE) -> np.ndarray:
    """Draw parameters: at least two thirds of a period under the envelope's two sd, the centre near the middle."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.12, 0.35, n)
    columns = [
        rng.uniform(-1.5, 1.5, n),
        rng.uniform(-1.5, 1.5, n),
        rng.uniform(0, 180, n),
        frequency,
        rng.uniform(np.maximum(1.2, 0.2 / frequency), 2.5),
        rng.uniform(1.2, 3, n),
        rng.uniform(-180, 180, n),
        rng.uniform(0.5, 2, n),
        rng.normal(size=n),
    ]
    return np.stack(columns, axis=1)


def noisy(filters: np.ndarray, snr: float, seed: int) -> np.ndarray:
    """Add white noise; `snr` is the ratio of variances."""
    rng = np.random.default_rng(seed)
    return filters + rng.normal(size=filters.shape) * filters.std((1, 2), keepdims=True) / np.sqrt(snr)


def smooth_noise(n: int, sd: float, seed: int, side: int = SIDE) -> np.ndarray:
    """Cut patches from noise blurred by a Gaussian."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(n, side + 30, side + 30)), (0, sd, sd))
    return fields[:, 15 : 15 + side, 15 : 15 + side]


def turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the angle between orientations, degrees."""
    return np.abs((a - b + 90) % 180 - 90)


@cache
def fits_of_planted(snr: float):
    return fit_gabors(noisy(gabor(SIDE, planted(200, 1)), snr, 2))


# --- known answers ---------------------------------------------------------------------------------------------------


def test_parameters_of_noiseless_gabors_come_back_with_equivalents_folded() -> None:
    truth = planted(60, 0)
    found, r2 = fit_many(gabor(SIDE, truth))
    # 1e-4: the search ends when a step gains less than 1e-8 of the error
    assert turned(found[:, 2], truth[:, 2]).max() < 1e-4
    for name in ("x", "y", "frequency", "sigma_x", "sigma_y", "amplitude", "offset"):
        column = PARAMETERS.index(name)
        assert np.abs(found[:, column] - truth[:, column]).max() < 1e-4, name
    assert np.abs((found[:, 6] - truth[:, 6] + 180) % 360 - 180).max() < 1e-2
    assert r2.min() > 1 - 1e-8
    assert (
        (found[:, 2] >= 0).all() and (found[:, 2] < 180).all() and (found[:, 7] > 0).all() and (found[:, 3] > 0).all()
    )


def test_equivalent_parameters_draw_the_same() -> None:
    one = np.array([[0.5, -0.3, 30, 0.2, 1.5, 2, 40, 1, 0]])
    same = np.array([[0.5, -0.3, 210, 0.2, 1.5, 2, -40, 1, 0], [0.5, -0.3, 30, 0.2, 1.5, 2, 220, -1, 0]])
    drawn = gabor(SIDE, np.concatenate([one, same]))
    assert np.abs(drawn - drawn[:1]).max() < 1e-12
    found, _ = fit_many(drawn)
    assert np.abs(found - one).max() < 1e-3


@pytest.mark.parametrize(("orientation", "bright"), [(0, "row"), (90, "column"), (45, "rising")])
def test_orientation_is_that_of_the_bars_counter_clockwise_as_seen(orientation: float, bright: str) -> None:
    drawn = gabor(SIDE, np.array([[0, 0, orientation, 0.25, 1.5, 4, 0, 1, 0]]))[0]
    middle = SIDE // 2
    line = {
        "row": drawn[middle, :],
        "column": drawn[:, middle],
        "rising": drawn[np.arange(SIDE)[::-1], np.arange(SIDE)],  # from lower left to upper right, y down
    }[bright]
    assert (line > 0).all()
    # control: y taken upwards would make the other diagonal bright
    falling = np.diagonal(drawn)
    assert bright != "rising" or falling.min() < 0


def test_planted_gabors_in_noise_are_found() -> None:
    """SNR 10 in variance leaves R² = 10/11 at best but for what nine parameters take up; SNR 100: 100/101."""
    truth = planted(200, 1)
    for snr, least_orientation, least_frequency, least_r2 in ((10, 0.9, 0.9, 0.85), (100, 0.995, 0.97, 1)):
        fits = fits_of_planted(snr)
        assert (turned(fits["orientation"], truth[:, 2]) < 2).mean() >= least_orientation
        assert (np.abs(fits["frequency"] / truth[:, 3] - 1) < 0.05).mean() >= least_frequency
        assert (fits.r2 >= 0.9).mean() >= least_r2
        assert fits.fraction >= 0.98


def test_blobs_are_counted_apart() -> None:
    y, x = np.indices((SIDE, SIDE)) - SIDE // 2
    blobs = np.stack([np.exp(-(x**2 + y**2) / (2 * sd**2)) for sd in (0.7, 0.8, 0.9)])
    fits = fit_gabors(np.concatenate([blobs, noisy(gabor(SIDE, planted(20, 3)), 100, 4)]))
    assert fits.is_blob.tolist() == [True] * 3 + [False] * 20
    assert not fits.is_gabor[:3].any() and fits.is_gabor[3:].all()
    assert "20 of 23 filters Gabor-like (87%), 3 blobs" in repr(fits)


def test_scale_sign_and_offset_do_not_change_the_fit() -> None:
    filters = noisy(gabor(SIDE, planted(12, 5)), 10, 6)
    (plain, r2), (changed, same) = fit_many(filters), fit_many(-1000 * filters + 7)
    assert np.abs(r2 - same).max() < 1e-6
    assert turned(plain[:, 2], changed[:, 2]).max() < 0.05  # degrees: where the two searches ended
    assert np.abs(changed[:, 7] / plain[:, 7] - 1000).max() < 1


def test_quarter_turn_turns_the_orientation() -> None:
    filters = noisy(gabor(SIDE, planted(12, 5)), 10, 6)
    plain, _ = fit_many(filters)
    rotated, _ = fit_many(np.rot90(filters, axes=(1, 2)))  # counter-clockwise as seen
    assert turned(rotated[:, 2], plain[:, 2] + 90).max() < 0.05


# --- against a general solver ----------------------------------------------------------------------------------------


def by_scipy(pattern: np.ndarray) -> float:
    """Return R² by bounded least squares over all nine, from 4 phases and 3 widths."""
    k = len(pattern)
    fy, fx = peaks(pattern[None])[0]
    y, x = np.indices((k, k)).reshape(2, -1) - (k - 1) / 2
    half, data = (k - 1) / 2, pattern.ravel()

    def residual(p: np.ndarray) -> np.ndarray:
        sin, cos = np.sin(p[2]), np.cos(p[2])
        u, v = (x - p[0]) * sin + (y - p[1]) * cos, (x - p[0]) * cos - (y - p[1]) * sin
        envelope = np.exp(-(u**2) / (2 * p[4] ** 2) - v**2 / (2 * p[5] ** 2))
        return p[7] * envelope * np.cos(2 * np.pi * p[3] * u + p[6]) + p[8] - data

    low = [-half, -half, -np.inf, 1 / k, 0.5, 0.5, -np.inf, -np.inf, -np.inf]
    high = [half, half, np.inf, 0.5, k, k, np.inf, np.inf, np.inf]
    best = np.inf
    for width in (0.1, 0.25, 0.5):
        for phase in np.arange(4) * np.pi / 2:
            frequency = np.clip(np.hypot(fx, fy), 1 / k + 1e-6, 0.5 - 1e-6)
            start = [0, 0, np.arctan2(fx, fy), frequency, width * k, width * k, phase, np.abs(data).max(), 0]
            best = min(best, 2 * least_squares(residual, start, bounds=(low, high), max_nfev=200).cost)
    return 1 - best / ((data - data.mean()) ** 2).sum()


@pytest.mark.slow
def test_no_worse_than_scipy_from_as_many_starts() -> None:
    for filters, least in ((noisy(gabor(SIDE, planted(12, 7)), 10, 8), 1), (smooth_noise(12, 1.5, 9), 0.9)):
        ours, theirs = fit_many(filters)[1], np.array([by_scipy(each) for each in filters])
        # 1e-5: scipy stops at 1e-8 of a parameter, ours at 1e-8 of the error; local minima differ only in noise
        assert (ours > theirs - 1e-5).mean() >= least
        assert np.median(np.abs(ours - theirs)) < 1e-5


# --- negative controls -----------------------------------------------------------------------------------------------


def test_white_noise_is_not_gabor_and_r2_alone_would_call_it_so() -> None:
    fits = fit_gabors(np.random.default_rng(10).normal(size=(100, SIDE, SIDE)))
    assert fits.fraction <= 0.05 and fits.threshold == 0.7
    without = (fits.r2 >= 0) & (fits["frequency"] * fits["sigma_x"] >= 0.15)  # control: no threshold
    assert without.mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("sd", [1.0, 1.5, 2.5])
def test_smooth_noise_is_not_gabor_and_the_fixed_threshold_would_call_it_so(sd: float) -> None:
    fits = fit_gabors(smooth_noise(200, sd, 11), n_null=400)
    assert fits.fraction <= 0.05 + 3 * 0.019  # 3 standard errors of 5 % of 200 against a quantile of 400
    fixed = (fits.r2 >= 0.7) & (fits["frequency"] * fits["sigma_x"] >= 0.15)
    assert fixed.mean() > 2 * fits.fraction and fixed.mean() > 0.08  # control: 0.7 alone


@pytest.mark.slow
def test_periodic_noise_would_set_the_threshold_too_low() -> None:
    """Control of the null: noise whose own transform is scaled wraps round, and smooth patches pass its threshold."""
    patterns = smooth_noise(200, 2.5, 11)
    phases = np.fft.fft2(np.random.default_rng(12).normal(size=(200, SIDE, SIDE)))
    frequency = np.fft.fftfreq(SIDE)
    ring = np.rint(np.hypot(frequency[:, None], frequency) * SIDE).astype(int).ravel()
    gain = [
        np.sqrt(np.bincount(ring, np.abs(np.fft.fft2(p)).ravel() ** 2) / np.bincount(ring, np.abs(z).ravel() ** 2))
        for p, z in zip(patterns, phases)
    ]
    periodic = np.fft.ifft2(phases * np.array(gain)[:, ring].reshape(200, SIDE, SIDE)).real
    threshold = max(0.7, np.quantile(fit_many(periodic)[1], 0.95))
    assert (fit_many(patterns)[1] >= threshold).mean() > 0.15


def test_the_noise_has_the_radial_spectrum_and_not_the_orientation() -> None:
    one = gabor(SIDE, np.array([[0, 0, 90, 0.25, 1.8, 2.5, 0, 1, 0]]))
    noise = radial_noise(one, 2000, seed=0)
    wanted, there = radial_spectra(one)[0], radial_spectra(noise).mean(0)
    assert np.abs(there - wanted).max() < 0.15 * wanted.max()  # a patch of a field has borders, which leak
    spectra = (np.abs(np.fft.fft2(noise)) ** 2).mean(0)
    assert 0.8 < spectra[0, 2] / spectra[2, 0] < 1.25  # vertical and horizontal bars are as strong
    own = np.abs(np.fft.fft2(one[0])) ** 2
    assert own[0, 2] > 20 * own[2, 0]  # control: the pattern's are not


def test_the_noise_depends_on_its_seed_alone() -> None:
    patterns = smooth_noise(3, 1.0, 0)
    assert np.array_equal(radial_noise(patterns, 10, seed=1), radial_noise(patterns, 10, seed=1))
    assert not np.array_equal(radial_noise(patterns, 10, seed=1), radial_noise(patterns, 10, seed=2))


# --- mistakes and edges ----------------------------------------------------------------------------------------------


def test_constant_filters_are_missing_and_do_not_count() -> None:
    filters = noisy(gabor(SIDE, planted(4, 13)), 100, 14)
    filters[1] = 0.3
    fits = fit_gabors(filters)
    assert np.isnan(fits.r2).tolist() == [False, True, False, False]
    assert not fits.is_gabor[1] and fits.fraction == 0.75
    assert fits.to_frame().r2.isna().tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("patterns", "options", "message"),
    [
        (
            np.zeros((4, 5, 5)),
            {},
            r"a Gabor function has 9 parameters and fits anything of 5 x 5 pixels; .* at least 7 x 7",
        ),
        (np.ones((4, 9, 9)), {}, "no pattern for a Gabor fit varies over its pixels"),
        (np.full((4, 9, 9), np.nan), {}, "a value that is not finite"),
        (np.zeros((9, 9)), {}, r"are \(unit, y, x\), not an array of shape \(9, 9\)"),
        (np.zeros((4, 9, 9)), {"n_null": 50}, "n_null=50 noise filters are too few .* at least 200"),
    ],
)
def test_mistakes_are_one_line(patterns: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        fit_gabors(patterns, **options)
    assert "\n" not in str(caught.value)


def test_a_small_filter_would_be_fitted_whatever_it_is() -> None:
    """Control of the refusal: white noise of 3 x 3 is fitted nearly as well as a noisy planted Gabor."""
    _, r2 = fit_many(np.random.default_rng(15).normal(size=(30, 3, 3)))
    assert np.median(r2) > 0.85


def test_frame_and_saved_files(tmp_path) -> None:
    fits = fits_of_planted(100)
    frame = fits.to_frame()
    assert list(frame) == ["unit", *PARAMETERS, "r2", "is_gabor", "is_blob"] and len(frame) == 200
    path = fits.save(tmp_path)
    assert path.read_text().count("\n") == 201 and '"threshold"' in (tmp_path / "gabors.json").read_text()


def test_the_drawing_shows_both_distributions_and_the_threshold() -> None:
    from matplotlib.figure import Figure

    fits = fits_of_planted(100)
    ax = fits.plot(Figure().subplots())
    assert ax.get_title(loc="left").startswith(f"{fits.is_gabor.sum()} of 200 Gabor-like")
    assert ax.lines[0].get_xdata()[0] == fits.threshold
    texts = {each.get_text() for each in ax.get_legend().get_texts()}
    assert texts == {"200 noise filters, same spectrum", "200 filters", f"threshold, R² = {fits.threshold:.2f}"}
