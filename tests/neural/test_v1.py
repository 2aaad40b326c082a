"""The simulated V1: complex cells ignore phase, simple cells do not, contrast saturates, units follow the counts."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural.cortex.v1 import V1Bank, contrast_of, sample_v1, v1_features

SIDE = 64
BANK = V1Bank.sampled(SIDE, SIDE, n_units=200)
UNITS = BANK.units
INSIDE = np.flatnonzero(
    np.maximum(np.abs(UNITS.x), np.abs(UNITS.y)) + 2.5 * np.maximum(UNITS.width, UNITS.length) < 2.0
)


def _gratings(
    unit: int, phases=(0.0,), *, contrast: float = 1.0, turn: float = 0.0, octaves: float = 0.0
) -> np.ndarray:
    """The preferred grating of a unit, float (phase, 3, 64, 64) in [0, 1], turned or of another frequency."""
    degrees = (np.arange(SIDE) - (SIDE - 1) / 2) * 4.0 / SIDE
    y, x = np.meshgrid(degrees, degrees, indexing="ij")
    angle = np.deg2rad(UNITS.orientation[unit] + turn)
    across = (x - UNITS.x[unit]) * np.sin(angle) + (y - UNITS.y[unit]) * np.cos(angle)
    frequency = UNITS.frequency[unit] * 2.0**octaves
    waves = [0.5 + 0.5 * contrast * np.cos(2 * np.pi * frequency * across - phase) for phase in phases]
    return np.repeat(np.stack(waves)[:, None], 3, axis=1)


def _modulation(responses: np.ndarray) -> float:
    """Half the range over phases, relative to the mean."""
    return float((responses.max() - responses.min()) / 2 / responses.mean())


def _responses(shown: np.ndarray, **how) -> np.ndarray:
    """Responses of the 200 units."""
    return BANK.respond(contrast_of(shown), **how)


def test_phase_invariance_of_complex_cells_and_not_of_simple_ones():
    phases = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    assert len(INSIDE) >= 8
    for unit in INSIDE[:8]:
        shown = _gratings(unit, phases)
        assert _modulation(_responses(shown, normalise=False)[:, unit]) < 0.02  # definitions 7.4
        assert _modulation(_responses(shown)[:, unit]) < 0.02  # the pool's energy is invariant, too
        assert _modulation(_responses(shown, cells="simple", normalise=False)[:, unit]) > 1.0  # control


def test_the_preferred_grating_is_preferred_and_scaled_to_one():
    for unit in INSIDE[:8]:
        best = _responses(_gratings(unit), normalise=False)[0, unit]
        assert best == pytest.approx(1.0, abs=0.02)
        for change in ({"turn": 90.0}, {"octaves": 1.0}, {"octaves": -1.0}):
            assert _responses(_gratings(unit, **change), normalise=False)[0, unit] < 0.75 * best


def test_contrast_normalisation_saturates():
    unit = INSIDE[0]
    plain = [_responses(_gratings(unit, contrast=c), normalise=False)[0, unit] for c in (0.5, 1.0)]
    divided = [_responses(_gratings(unit, contrast=c))[0, unit] for c in (0.05, 0.5, 1.0)]
    assert plain[1] / plain[0] == pytest.approx(2.0, rel=1e-9)  # control: without it contrast scales
    assert 1.0 < divided[2] / divided[1] < 1.4
    assert divided[1] / divided[0] < 6.0  # ten times the contrast


def test_grey_gives_nothing_and_responses_are_not_negative():
    grey = np.full((1, 3, SIDE, SIDE), 0.3)
    np.testing.assert_allclose(v1_features(grey, n_units=200), 0.0, atol=1e-10)
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)
    assert (v1_features(noise, n_units=50) > 0).all()


def test_kinds_of_images(ids):
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)
    bytes_, floats = v1_features(noise, n_units=20), v1_features(noise / np.float64(255), n_units=20)
    np.testing.assert_allclose(bytes_, floats, rtol=1e-12)
    one_by_one = np.concatenate([v1_features(noise[[at]], n_units=20) for at in range(3)])
    np.testing.assert_allclose(one_by_one, bytes_, rtol=1e-12)  # products of other sizes round otherwise
    coarse = contrast_of(noise.repeat(4, axis=2).repeat(4, axis=3))  # 256 pixels, averaged down to 96
    assert coarse.shape == (3, 96, 96) and coarse.mean() == pytest.approx(contrast_of(noise).mean(), abs=1e-12)
    for bad, told in (
        (noise[0], r"needs images \(n, 3, height, width\)"),
        (noise.astype(np.int32), r"uint8 or float"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            v1_features(bad)
    with pytest.raises(NeuralDataError, match=r"no cells 'hypercomplex'"):
        v1_features(noise, cells="hypercomplex")
    with pytest.raises(NeuralDataError, match=r"at least 1 unit"):
        v1_features(noise, n_units=0)


def test_units_follow_the_published_counts_and_are_drawn_one_by_one():
    many = sample_v1(4000, pixels_per_degree=100.0)  # no frequency is cut
    counts = np.histogram(many.frequency, [0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])[0]
    np.testing.assert_allclose(
        counts / 4000, np.array([4, 4, 8, 25, 32, 26, 28, 12]) / 139, atol=0.03
    )  # 4 standard errors
    orientations = np.histogram(many.orientation, [-22.5, 22.5, 67.5, 112.5, 157.5])[0]
    np.testing.assert_allclose(orientations / 4000, np.array([66, 49, 77, 54]) / 246, atol=0.03)
    first = sample_v1(10, pixels_per_degree=100.0)
    np.testing.assert_array_equal(first.frequency, many.frequency[:10])
    assert sample_v1(200, pixels_per_degree=16.0).frequency.max() <= 0.3 * 16.0
    assert not np.array_equal(first.x, sample_v1(10, pixels_per_degree=100.0, seed=1).x)
