"""Matching: moments, histograms and spectra become what they should, on sets in which they were not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from netphys.colorimetry import srgb_to_lab
from netphys.errors import StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.treating.flat import is_ground
from netphys.stimuli.treating.histograms import LEVELS, HistogramSum, ranked
from netphys.stimuli.treating.spectra import amplitudes, rotational_average
from netphys.stimuli.treating.step import Picture
from netphys.stimuli.treatment import Luminance, Treatment, treat


def _greys(n: int = 6, y: int = 32, x: int = 32, seed: int = 0) -> np.ndarray:
    """Grey pictures whose means, contrasts and spectra differ; uint8 (n, 3, y, x)."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(y)[:, None], np.fft.fftfreq(x)[None]) + 0.02
    out = []
    for slope in np.linspace(0.2, 1.5, n):
        noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(y, x))) / radius**slope).real
        noise = noise / noise.std() * rng.uniform(0.04, 0.1) + rng.uniform(0.4, 0.6)
        out.append(np.repeat(np.rint(noise.clip(0, 1) * 255).astype(np.uint8)[None], 3, 0))
    return np.stack(out)


def _colours(n: int = 4, seed: int = 0) -> np.ndarray:
    low = np.random.default_rng(seed).uniform(0.35, 0.65, (n, 3, 8, 8)) + np.linspace(-0.1, 0.1, n)[:, None, None, None]
    return np.rint(low.repeat(4, 2).repeat(4, 3) * 255).astype(np.uint8)


def _all(shown: StimulusSet) -> np.ndarray:
    return shown.images(np.arange(len(shown))).double().numpy()


def _planes(images: np.ndarray) -> np.ndarray:
    return images[:, 0] / (255 if images.dtype == np.uint8 else 1)


def _unclipped(text: str, images: np.ndarray) -> np.ndarray:
    """Treat as `treat` does, but look before the clip and the rounding to float32: float64 (n, y, x)."""
    treated = treat(StimulusSet.from_arrays(images), text)
    out = []
    for each in images:
        picture = Picture(torch.from_numpy(each).float() / 255)
        for step, target in zip(treated._source.treatment.steps, treated._source._targets):
            picture = step.apply(picture, target)
        out.append(picture.values[0].numpy())
    return np.stack(out)


# Luminance


def test_mean_and_contrast_are_matched_to_the_sets_means() -> None:
    images = _greys()
    planes = _planes(images)
    matched = _planes(_all(treat(StimulusSet.from_arrays(images), "luminance()")))
    assert planes.mean((1, 2)).std() > 0.02 and planes.std((1, 2)).std() > 0.01  # control: they differ before
    assert np.abs(matched.mean((1, 2)) - planes.mean((1, 2)).mean()).max() < 1e-6  # of float32
    assert np.abs(matched.std((1, 2)) - planes.std((1, 2)).mean()).max() < 1e-6
    assert np.corrcoef(matched[2].ravel(), planes[2].ravel())[0, 1] > 1 - 1e-9  # a straight line


def test_a_given_mean_and_contrast() -> None:
    shown = StimulusSet.from_arrays(_greys())
    matched = _planes(_all(treat(shown, Treatment(Luminance(mean=0.45, sd=0.07)))))
    assert np.abs(matched.mean((1, 2)) - 0.45).max() < 1e-6 and np.abs(matched.std((1, 2)) - 0.07).max() < 1e-6
    half = _planes(_all(treat(shown, "luminance(sd=0.05)")))
    assert np.ptp(half.mean((1, 2))) < 1e-6 and half.mean() == pytest.approx(_planes(_greys()).mean(), abs=1e-6)
    other = treat(shown, "luminance()", like=StimulusSet.from_arrays(_greys(seed=1)))
    assert abs(_planes(_all(other)).mean() - _planes(_greys()).mean()) > 0.005  # control: another set's target


def test_lightness_is_matched_and_colours_are_kept() -> None:
    images = _colours()
    treated = treat(StimulusSet.from_arrays(images), "luminance(channel=lightness)")
    before = srgb_to_lab(torch.from_numpy(images).double() / 255).numpy()
    after = srgb_to_lab(torch.from_numpy(_all(treated))).numpy()
    assert treated._source.clipped_share(np.arange(4)) == 0
    assert np.ptp(before[:, 0].mean((1, 2))) > 5  # control
    assert np.abs(after[:, 0].mean((1, 2)) - before[:, 0].mean((1, 2)).mean()).max() < 1e-3  # of 100
    assert np.abs(after[:, 0].std((1, 2)) - before[:, 0].std((1, 2)).mean()).max() < 1e-3
    assert np.abs(after[:, 1:] - before[:, 1:]).max() < 0.02
    ranks = treat(StimulusSet.from_arrays(images), "histogram(channel=lightness)")
    light = np.sort(srgb_to_lab(torch.from_numpy(_all(ranks))).numpy()[:, 0].reshape(4, -1), axis=1)
    assert np.ptp(light, axis=0).max() < 0.02


def test_what_cannot_be_matched_is_said() -> None:
    colours = StimulusSet.from_arrays(_colours(), ids=list("abcd"))
    for text in ("luminance()", "histogram()", "spectrum()", "joint()"):
        with pytest.raises(
            StimulusError, match="stimulus 'a' is in colour; put grey.. before, or say channel=lightness"
        ):
            treat(colours, text)
    flat = StimulusSet.from_arrays(np.full((1, 3, 8, 8), 99, np.uint8))
    with pytest.raises(StimulusError, match="stimulus '0' is nothing but ground; leave it out"):
        treat(flat, f"histogram(ground={99 / 255})")
    with pytest.raises(StimulusError, match="rescale: the set is uniform"):
        treat(flat, "rescale()").images([0])


@pytest.mark.parametrize("text", ["luminance()", "histogram()", "spectrum()", "spectrum(full)", "joint()", "joint(2)"])
def test_a_uniform_picture_is_refused_when_it_is_measured_and_when_it_is_read(text: str) -> None:
    images = np.concatenate([_greys(2), np.full((1, 3, 32, 32), 99, np.uint8)])
    shown = StimulusSet.from_arrays(images, ids=["a", "b", "blank"])
    said = f"^{text.split('(')[0]}: stimulus 'blank' is uniform; it has no contrast to match; leave it out$"
    with pytest.raises(StimulusError, match=said):
        treat(shown, text)
    like = treat(shown, text, like=shown[:2])
    assert like.images([0, 1]).std() > 0  # control
    with pytest.raises(StimulusError, match=said):
        like.images([2])


@pytest.mark.parametrize("text", ["luminance(ground=0)", "histogram(ground=0)"])
def test_a_uniform_figure_is_refused_whatever_its_ground(text: str) -> None:
    images = _greys(2)
    images[1] = 99
    images[:, :, :10] = 0
    with pytest.raises(StimulusError, match="stimulus '1' is uniform"):
        treat(StimulusSet.from_arrays(images), text)


# Flat regions


def test_ground_is_ground_in_all_colours() -> None:
    pixels = torch.tensor([[128, 128, 128], [128, 127, 126], [0, 127, 128]]).T[..., None] / 255
    assert is_ground(pixels, 0.5)[:, 0].tolist() == [True, False, False]


def _said(caplog: pytest.LogCaptureFixture, text: str, images: np.ndarray) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="netphys"):
        treat(StimulusSet.from_arrays(images), text)
    return [each.getMessage() for each in caplog.records]


def test_flat_regions_that_would_become_noise_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    images = _greys(6)
    assert _said(caplog, "histogram()", images) == []  # control
    images[images == 128] = 129
    images[2:5, :, :17] = 128  # 17 of 32 rows: 53 %
    images[5, :, :6] = 128  # 19 %
    first = "(first: stimulus '2', 53 % at 0.502)"
    for text in ("histogram()", "histogram() | histogram()", "histogram() | joint()"):
        assert _said(caplog, text, images) == [
            "histogram: in 3 of 6 pictures more than a fifth of the pixels have one value, and become noise "
            f"{first}; ground=0.502 leaves such a ground out"
        ]
    assert _said(caplog, "histogram(ground=0.502)", images) == []  # what is said is right
    treated = _planes(_all(treat(StimulusSet.from_arrays(images), "histogram(ground=0.502)")))
    assert (treated[2, :17] == np.float32(128 / 255)).all()
    (joint,) = _said(caplog, "joint(2)", images)
    assert joint.startswith("joint: in 3 of 6") and joint.endswith(
        f"{first}; joint leaves no ground out, histogram(ground=0.502) does"
    )
    assert _said(caplog, "luminance() | spectrum()", images) == []  # neither ranks pixels


def test_every_8_bit_ground_is_left_out_by_what_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for level in range(0, 256, 15):
        images = _greys(1)
        images[:, :, :16] = level
        (said,) = _said(caplog, "histogram()", images)
        ground = said.rsplit("ground=", 1)[1].split()[0]
        assert _said(caplog, f"histogram(ground={ground})", images) == []


def test_flat_regions_that_no_ground_stands_for_are_said_without_one(caplog: pytest.LogCaptureFixture) -> None:
    images = _greys(2)
    images[:, :, :10] = 0
    images[:, :, 20:] = 255
    (said,) = _said(caplog, "histogram(ground=0)", images)  # one ground is out already
    assert said.endswith("a fifth of the pixels that are not ground have one value, and become noise "
                         "(first: stimulus '0', 55 % at 1)")  # fmt: skip
    coloured = _colours(2)
    coloured[:, :, :16] = np.array([200, 30, 30], np.uint8)[:, None, None]
    (said,) = _said(caplog, "histogram(channel=lightness)", coloured)
    assert "50 % at 0.43" in said and "ground=" not in said
    coloured[:, :, :16] = 77
    (said,) = _said(caplog, "histogram(channel=lightness)", coloured)
    assert said.endswith("ground=0.302 leaves such a ground out")  # a pixel value, not a lightness
    beyond = _greys(2)  # different values beyond the range are no flat region, though they count at one level
    assert (beyond[:, 0] > 102).mean((1, 2)).min() > 0.2
    assert _said(caplog, "brightness(0.6) | histogram()", beyond) == []
    beyond[:, :, :10] = 250
    (said,) = _said(caplog, "brightness(0.6) | histogram()", beyond)
    assert "at 1.58" in said and "ground=" not in said


# Histograms


def test_histograms_are_exactly_the_mean_one() -> None:
    images = _greys()
    matched = _planes(_all(treat(StimulusSet.from_arrays(images), "histogram()")))
    values = np.sort(matched.reshape(6, -1), axis=1)
    assert np.ptp(values, axis=0).max() == 0
    pooled = np.sort(_planes(images).ravel())  # of one size: the mean histogram is that of all pixels
    n = values.shape[1]
    levels = np.unique(pooled)
    target = np.searchsorted(pooled, levels, side="right") / len(pooled)
    found = np.searchsorted(values[0], levels.astype(np.float32) + 1e-6, side="right") / n
    assert np.abs(found - target).max() <= 1 / n  # to one pixel
    unmatched = np.sort(_planes(images).reshape(6, -1), axis=1)
    assert np.ptp(unmatched, axis=0).max() > 0.1  # control
    for before, after in zip(_planes(images), matched):  # darker stays darker
        order = np.argsort(before.ravel(), kind="stable")
        steps = np.diff(before.ravel()[order]) > 0
        assert (np.diff(after.ravel()[order])[steps] >= 0).all()


def test_a_set_of_one_picture_keeps_it() -> None:
    one = _greys(1)
    assert np.abs(_planes(_all(treat(StimulusSet.from_arrays(one), "histogram()"))) - _planes(one)).max() < 1e-7
    assert np.abs(_planes(_all(treat(StimulusSet.from_arrays(one), "spectrum(full)"))) - _planes(one)).max() < 1e-6


def test_a_figures_histogram_leaves_the_ground() -> None:
    images = _greys()
    images[:, :, :, :12] = 0
    images[1, :, :, :20] = 0
    matched = _planes(_all(treat(StimulusSet.from_arrays(images), "histogram(ground=0)")))
    assert (matched[_planes(images) == 0] == 0).all()
    quantiles = [
        np.quantile(after[before > 0], np.linspace(0.1, 0.9, 9)) for before, after in zip(_planes(images), matched)
    ]
    assert np.ptp(quantiles, axis=0).max() < 0.01
    raw = [np.quantile(before[before > 0], np.linspace(0.1, 0.9, 9)) for before in _planes(images)]
    assert np.ptp(raw, axis=0).max() > 0.05  # control


def test_equal_pixels_are_ranked_by_what_is_around_them_and_never_by_chance() -> None:
    plane = np.full((21, 21), 0.5)
    plane[:, 11:] = 1
    order = ranked(plane)
    assert sorted(order.tolist()) == list(range(441)) and (ranked(plane) == order).all()
    place = np.empty(441, int)
    place[order] = np.arange(441)
    place = place.reshape(21, 21)
    assert place[:, 10].min() > place[:, 8:10].max() and place[:, 8].min() > place[:, :7].max()  # near the light: later
    assert place[:, 11].max() < place[:, 12].min()
    alike = place[:, :7]  # a uniform ground: in no direction
    y, x = np.mgrid[:21, :7]
    assert abs(np.corrcoef(alike.ravel(), y.ravel())[0, 1]) < 0.25  # 3 standard errors of 147
    assert abs(np.corrcoef(alike.ravel(), x.ravel())[0, 1]) < 0.25
    near = np.full((31, 15), 0.5)
    near[5, 5] = 1  # around (5, 6) there is a little light at once; around (25, 6) more, farther away
    near[23, 4:9] = 1
    assert list(ranked(near)).index(5 * 15 + 6) > list(ranked(near)).index(25 * 15 + 6)
    distinct = np.random.default_rng(0).random((9, 11))
    assert (ranked(distinct) == np.argsort(distinct, axis=None)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 9)])
def test_tiny_pictures_are_ranked_too(shape: tuple[int, int]) -> None:
    assert sorted(ranked(np.zeros(shape)).tolist()) == list(range(shape[0] * shape[1]))


def test_the_mean_histogram_weighs_each_picture_alike_and_is_the_same_in_any_order() -> None:
    small, large = np.zeros((4, 4)), np.ones((40, 40))
    total, turned = HistogramSum(), HistogramSum()
    for each in (small, large):
        total.add(each)
    for each in (large, small):
        turned.add(each)
    found = total.mean()
    assert found.cumulated[0] == 0.5 and found.cumulated[-1] == 1 and len(found.cumulated) == LEVELS
    assert (found.cumulated == turned.mean().cumulated).all()
    assert found.values(10).tolist() == [0.0] * 5 + [1.0] * 5


# Spectra


@pytest.mark.parametrize("shape", [(32, 32), (31, 31), (24, 40), (33, 20)])
def test_rotational_averages_are_the_mean_one(shape: tuple[int, int]) -> None:
    images = _greys(5, *shape)
    before = np.array([rotational_average(amplitudes(each), shape) for each in _planes(images)])
    after = [rotational_average(amplitudes(each), shape) for each in _unclipped("spectrum()", images)]
    target = before.mean(0)
    assert np.abs(np.array(after) / target - 1).max() < 1e-6
    assert np.abs(before / target - 1).max() > 0.3  # control
    phase = np.angle(np.fft.fft2(_planes(images)[0]) / np.fft.fft2(_unclipped("spectrum()", images)[0]))
    assert np.abs(phase).max() < 1e-4  # places stay, but for float32 where there is little amplitude


def test_a_rotational_average_is_that_of_the_whole_plane() -> None:
    for shape in ((8, 8), (9, 12), (7, 5)):
        plane = np.random.default_rng(0).random(shape)
        whole = np.abs(np.fft.fft2(plane))
        radius = np.rint(np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None]) * min(shape))
        found = rotational_average(amplitudes(plane), shape)
        expected = [whole[radius == each].mean() for each in range(len(found)) if (radius == each).any()]
        assert np.allclose([each for each in found if each > 0], expected, rtol=1e-12)


def test_full_spectra_are_the_mean_one() -> None:
    images = _greys()
    before = np.abs(np.fft.fft2(_planes(images)))
    after = np.abs(np.fft.fft2(_unclipped("spectrum(full)", images)))
    assert np.abs(after / before.mean(0) - 1).max() < 1e-6
    rotational = np.abs(np.fft.fft2(_unclipped("spectrum()", images)))
    assert np.abs(rotational / before.mean(0) - 1).max() > 0.1  # control: directions differ still
    matched = _unclipped("spectrum(full)", images)
    assert np.ptp(matched.mean((1, 2))) < 1e-6 and np.ptp(matched.std((1, 2))) < 1e-6  # moments follow (Parseval)


def test_where_a_picture_has_nothing_it_gets_nothing() -> None:
    bars = np.broadcast_to((np.arange(32) % 4 < 2) * np.uint8(100) + np.uint8(50), (1, 3, 32, 32))  # 8 cycles, alone
    shown = np.concatenate([bars, _greys(2)])
    out = _unclipped("spectrum()", shown)
    found = amplitudes(out[0])
    assert np.isfinite(out).all() and np.sort(found.ravel())[-2] > 1e-3 > 1e6 * np.sort(found.ravel())[-3]
    assert out[0].mean() == pytest.approx(_planes(shown).mean(), abs=1e-6)


def _shape(spectra: np.ndarray) -> np.ndarray:
    """Take the level away: logarithms of rotational averages about their mean."""
    return np.log(spectra) - np.log(spectra).mean(-1, keepdims=True)


@pytest.mark.parametrize("last", ["histogram", "spectrum"])
def test_joint_matching_converges_but_for_a_contrast_in_common(last: str) -> None:
    images = _greys(n=5)
    images[:, :, :9] = 128  # far from a normal distribution, so that one pass is not enough

    def measured(text: str) -> tuple[np.ndarray, np.ndarray]:
        matched = _unclipped(f"luminance() | {text}", images)
        spectra = np.array([rotational_average(amplitudes(each), (32, 32)) for each in matched])[:, 1:17]
        values = np.sort(matched.reshape(5, -1), axis=1)
        return spectra, values

    target_spectra, target_values = measured("spectrum()")[0], measured("histogram()")[1]
    unlike = []
    for n in (1, 3, 10, 30):
        spectra, values = measured(f"joint(iterations={n}, last={last})")
        if last == "histogram":
            assert np.abs(values - target_values).max() < 1e-6  # what is last is exact
            unlike.append(np.abs(_shape(spectra) - _shape(target_spectra)).mean())
        else:
            assert np.abs(spectra / target_spectra - 1).max() < 1e-6
            unlike.append(np.ptp(values, axis=0).mean())
    assert unlike == sorted(unlike, reverse=True) and unlike[-1] < 0.5 * unlike[0]
    spectra, values = measured(f"{last}()")  # control: one alone leaves the other unmatched
    alone = (
        np.abs(_shape(spectra) - _shape(target_spectra)).mean()
        if last == "histogram"
        else np.ptp(values, axis=0).mean()
    )
    assert alone > 2 * unlike[-1]


def test_rescaling_brings_the_whole_set_into_range_by_one_line() -> None:
    images = _greys()
    bent = _unclipped("contrast(6) | spectrum()", images)
    ranged = treat(StimulusSet.from_arrays(images), "contrast(6) | spectrum() | rescale()")
    found = _planes(_all(ranged))
    assert bent.min() < 0 and bent.max() > 1 and found.min() == 0 and found.max() == 1
    assert np.abs(found - (bent - bent.min()) / np.ptp(bent)).max() < 1e-6
    assert ranged._source.clipped_share(np.arange(6)) == 0
    about = _planes(_all(treat(StimulusSet.from_arrays(images), "contrast(6) | spectrum() | rescale(grey)")))
    gain = (about - 0.5) / (bent - 0.5)
    assert np.abs(about - 0.5).max() == pytest.approx(0.5) and np.ptp(gain[np.abs(bent - 0.5) > 0.05]) < 1e-5
    inside = treat(StimulusSet.from_arrays(images), "rescale(grey)")  # what is in range stays
    assert np.abs(_planes(_all(inside)) - _planes(images)).max() < 1e-7
