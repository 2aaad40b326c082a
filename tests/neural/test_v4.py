"""The simulated V4: maps find their grating, products tell textures from their spectrum, fields are large."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural.cortex.v1 import V1Bank, contrast_of, v1_features
from netphys.neural.cortex.v4 import FREQUENCIES, ORIENTATIONS, V4Bank, energy_maps, sample_v4, v4_features
from netphys.stimuli.classic.scrambling import phase_scrambled

SIDE = 64
BANK = V4Bank.sampled(SIDE, SIDE, n_units=200)


def _grating(orientation: float, frequency: float, *, contrast: float = 1.0, phase: float = 0.0) -> np.ndarray:
    """Contrast image (1, 64, 64) of stripes, angles counter-clockwise."""
    degrees = (np.arange(SIDE) - (SIDE - 1) / 2) * 4.0 / SIDE
    y, x = np.meshgrid(degrees, degrees, indexing="ij")
    angle = np.deg2rad(orientation)
    return contrast * np.cos(2 * np.pi * frequency * (x * np.sin(angle) + y * np.cos(angle)) - phase)[None]


def _dead_leaves(n: int, seed: int) -> np.ndarray:
    """Textures with the statistics of natural images: discs that hide each other (Lee, Mumford and Huang 2001).

    Float (n, 3, 64, 64) in [0, 1].
    """
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images = np.full((n, SIDE, SIDE), np.nan)
    for image in images:
        while np.isnan(image).any():  # front to back: the power law of radii between 2 and 24 pixels
            radius = (draws.uniform(24.0**-2, 2.0**-2)) ** -0.5
            inside = (x - draws.uniform(-8, 72)) ** 2 + (y - draws.uniform(-8, 72)) ** 2 < radius**2
            image[inside & np.isnan(image)] = draws.uniform(0.2, 0.8)
    return np.repeat(images[:, None], 3, axis=1)


def _modulation(natural: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Modulation index of each unit, from mean responses (Freeman et al. 2013)."""
    a, b = natural.mean(axis=0), noise.mean(axis=0)
    return (a - b) / (a + b)


def test_maps_are_of_their_orientation_and_frequency_whatever_the_phase():
    at = 0
    for frequency in FREQUENCIES:
        for orientation in ORIENTATIONS:
            for phase in (0.0, 1.0):
                shown = energy_maps(_grating(orientation, frequency, phase=phase))[0, :, 8:24, 8:24]
                assert shown.mean(axis=(1, 2)).argmax() == at
                assert shown[at].mean() == pytest.approx(1.0, abs=0.05)  # the mirrored border bends some of it
                assert shown[at].std() < 0.05  # energy: no stripes
            at += 1
    oblique = energy_maps(_grating(30.0, 2.0))[0].mean(axis=(1, 2)).reshape(3, 4)
    assert oblique[1, 1] > 2 * oblique[1, 3]  # 30 degrees is nearer to 45 than to 135: angles turn the right way


def test_products_are_of_places_as_far_apart_as_they_say():
    """A unit that multiplies a map with itself a cycle away answers to two patches at that distance."""
    units = BANK.units
    maps = BANK._maps
    for product in units.products:
        shift = maps.shift(product)
        assert max(map(abs, shift)) <= maps.margin // maps.step  # never beyond the margin
        frequency, angle = FREQUENCIES[product.second[0]], np.deg2rad(ORIENTATIONS[product.second[1]])
        moved = np.array([shift[1], -shift[0]]) / 8.0  # places are an eighth of a degree apart; x, y up
        stripes = np.array([np.cos(angle), np.sin(angle)])
        assert np.hypot(*moved) == pytest.approx((product.along + product.across) / frequency, abs=0.09)  # 0.7 places
        if product.along:
            assert abs(moved @ stripes) > 0.9 * np.hypot(*moved)
        if product.across:
            assert abs(moved @ stripes) < 0.1 * np.hypot(*moved)


def test_grey_gives_nothing_and_contrast_is_divided_out():
    grey = np.full((1, 3, SIDE, SIDE), 0.4)
    np.testing.assert_allclose(v4_features(grey, n_units=20), 0.0, atol=1e-10)
    noise = contrast_of(np.random.default_rng(0).uniform(size=(4, 3, SIDE, SIDE)))
    full, half = BANK.respond(noise), BANK.respond(0.5 * noise)
    assert (full > 0).all() and 0.7 < (half / full).mean() < 1.0  # energies would fall to a quarter
    raw = energy_maps(noise)
    np.testing.assert_allclose(energy_maps(0.5 * noise), 0.5 * raw)  # control: energies scale


def test_units_look_only_into_their_fields():
    image = np.zeros((1, SIDE, SIDE))
    image[:, 4:12, 4:12] = np.random.default_rng(0).choice([-1.0, 1.0], size=(8, 8))  # upper left
    units = BANK.units
    response = BANK.respond(image)[0] * (0.02**2 + 1.0)
    far = np.hypot(units.x + 1.5, units.y + 1.5) / units.size
    assert response[far < 0.3].mean() > 20 * response[far > 0.9].mean()
    field = units.receptive_fields
    assert len(field) == 200 and field.size.min() > 2.5 and field.size.max() < 4.5


def test_fields_grow_from_v1_to_v4():
    small = V1Bank.sampled(SIDE, SIDE, n_units=300).units.receptive_fields.size
    large = BANK.units.receptive_fields.size
    # 4 to 7 times in linear dimension (Desimone and Schein 1987), less here: the image spans 4 degrees
    assert 3.0 < np.median(large) / np.median(small) < 5.5
    assert (small < np.median(large)).mean() > 0.95


def test_v4_tells_textures_from_their_spectrum_and_v1_does_not():
    textures = _dead_leaves(40, seed=0)
    first, second = (np.asarray(phase_scrambled(textures, seed=seed).images(range(40))) for seed in (0, 1))
    v4 = [v4_features(shown, n_units=200) for shown in (textures, first, second)]
    v1 = [v1_features(shown, n_units=200) for shown in (textures, first, second)]
    v4_index, v1_index = _modulation(v4[0], v4[1]), _modulation(v1[0], v1[1])
    assert v4_index.mean() > 0.04 and (v4_index > 0).mean() > 0.9
    assert v1_index.mean() < 0.01
    for responses in (v4, v1):  # control: scrambled once, scrambled twice
        assert abs(_modulation(responses[1], responses[2]).mean()) < 0.015


def test_products_tell_more_than_their_means():
    """Control: products of means, what V4 would be without the pairing of places, do not tell textures."""
    textures = _dead_leaves(40, seed=0)
    scrambled = np.asarray(phase_scrambled(textures, seed=0).images(range(40)))
    index = {}
    for name, unpaired in (("paired", False), ("unpaired", True)):
        found = []
        for shown in (textures, scrambled):
            energy = energy_maps(contrast_of(shown, max_side=64)).reshape(40, 12, -1)
            if unpaired:  # the same energies at places that have nothing to do with each other
                order = np.random.default_rng(0)
                energy = np.stack([energy[:, at][:, order.permutation(energy.shape[2])] for at in range(12)], axis=1)
            products = np.einsum("sap,sbp->sab", energy, energy) / energy.shape[2]
            a, b = np.triu_indices(12, 1)
            found.append(products[:, a, b] / energy.mean(axis=(1, 2))[:, None] ** 2)
        index[name] = _modulation(*found).mean()
    assert index["paired"] > 0.05 and abs(index["unpaired"]) < 0.02


def test_kinds_and_sizes_of_images():
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)
    bytes_, floats = v4_features(noise, n_units=20), v4_features(noise / np.float64(255), n_units=20)
    np.testing.assert_allclose(bytes_, floats, rtol=1e-10)
    one_by_one = np.concatenate([v4_features(noise[[at]], n_units=20) for at in range(3)])
    np.testing.assert_allclose(one_by_one, bytes_, rtol=1e-10)
    many = v4_features(np.concatenate([noise] * 30), n_units=20)  # more than a batch
    np.testing.assert_allclose(many, np.concatenate([bytes_] * 30), rtol=1e-10)
    large = noise.repeat(4, axis=2).repeat(4, axis=3)
    np.testing.assert_allclose(v4_features(large, n_units=20), bytes_, rtol=1e-9)  # averaged down to 64
    for shape in ((14, 14), (33, 47), (20, 64), (64, 20)):
        odd = np.random.default_rng(1).uniform(size=(2, 3, *shape))
        assert np.isfinite(v4_features(odd, n_units=20)).all()


def test_units_are_drawn_one_by_one():
    many, first = sample_v4(50, pixels_per_degree=16.0), sample_v4(10, pixels_per_degree=16.0)
    np.testing.assert_array_equal(first.x, many.x[:10])
    np.testing.assert_array_equal(first.reads, many.reads[:10])
    assert not np.array_equal(first.x, sample_v4(10, pixels_per_degree=16.0, seed=1).x)
    kinds = sample_v4(500, pixels_per_degree=16.0)
    pairs = [(p.first[0] != p.second[0], p.first[1] != p.second[1]) for p in kinds.products]
    counts = np.bincount(kinds.reads.ravel(), minlength=len(pairs))
    of_frequency = sum(count for count, (other, _) in zip(counts, pairs) if other) / counts.sum()
    of_orientation = sum(count for count, (_, other) in zip(counts, pairs) if other) / counts.sum()
    assert of_frequency == pytest.approx(1 / 3, abs=0.04) and of_orientation == pytest.approx(1 / 3, abs=0.04)
    np.testing.assert_allclose(kinds.weights.sum(axis=1), 1.0)
    coarse = sample_v4(5, pixels_per_degree=3.5)  # one frequency: no products of two
    assert all(product.first[0] == product.second[0] == 0 for product in coarse.products)


def test_mistakes():
    noise = np.random.default_rng(0).uniform(size=(2, 3, 12, 12))
    for shown, n_units, told in (
        (noise, 5, r"V4 needs images of at least 14 pixels a side"),
        (noise[0], 5, r"needs images \(n, 3, height, width\)"),
        (np.ones((2, 3, 64, 64)), 0, r"V4 needs at least 1 unit, not 0"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            v4_features(shown, n_units=n_units)
