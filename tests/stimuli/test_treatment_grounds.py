"""Figures on a uniform ground: matched without it, and followed through the steps of a treatment."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.stimuli import StimulusSet
from netphys.stimuli.treatment import treat


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


def _all(shown: StimulusSet) -> np.ndarray:
    return shown.images(np.arange(len(shown))).double().numpy()


def _planes(images: np.ndarray) -> np.ndarray:
    return images[:, 0] / (255 if images.dtype == np.uint8 else 1)


def test_figures_on_a_ground_are_matched_without_it() -> None:
    images = _greys()
    images[:, :, :10] = 128  # a ground of an 8-bit mean grey
    images[0, :, 10:20] = 128
    figures = [each[0][each[0] != 128] / 255 for each in images]
    matched = _all(treat(StimulusSet.from_arrays(images), "luminance(ground=0.5)"))
    for before, after in zip(images, matched):
        assert np.allclose(after[0][before[0] == 128], 128 / 255, atol=1e-7)
        figure = after[0][before[0] != 128]
        within = np.abs(before[0].astype(int) - 127.5) > 1  # 127 is ground, too
        figure = after[0][within]
        assert figure.mean() == pytest.approx(_of_figures(images, np.mean), abs=1e-6)
        assert figure.std() == pytest.approx(_of_figures(images, np.std), abs=1e-6)
    whole = _all(treat(StimulusSet.from_arrays(images), "luminance()"))  # control: the ground moves
    assert np.ptp(whole[:, 0, 0, 0]) > 0.01 and len(figures) == 6


def _of_figures(images: np.ndarray, measure: object) -> float:
    inside = [each[0][np.abs(each[0].astype(int) - 127.5) > 1] / 255 for each in images]
    return float(np.mean([measure(each) for each in inside]))


def _in_middle(n: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A figure of n x n pixels, one of which `luminance(0.5, 0.1)` makes 0.5, on mean grey; and its place."""
    values = np.random.default_rng(seed).uniform(0.6, 0.9, n * n)
    values[0] = values[1:].mean()  # the mean of all, then
    image = np.full((1, 3, n + 6, n + 6), 0.5, np.float32)
    image[..., 2:-4, 2:-4] = values.reshape(n, n)
    inside = np.zeros(image.shape[2:], dtype=bool)
    inside[2:-4, 2:-4] = True
    return image, inside


@pytest.mark.parametrize(
    "step", ["luminance(0.5, 0.1, ground=0.5)", "histogram(ground=0.5) | luminance(0.5, 0.1, ground=0.5)"]
)
def test_a_figure_stays_figure_when_it_becomes_as_grey_as_its_ground(step: str) -> None:
    image, inside = _in_middle()
    shown, last = StimulusSet.from_arrays(image), "luminance(0.3, 0.05, ground=0.5)"
    between = _planes(_all(treat(shown, step)))[0]
    assert (np.abs(between[inside] - 0.5) < 0.001).any()  # such a pixel there is
    once, then = _planes(_all(treat(shown, f"{step} | {last}")))[0], _planes(_all(treat(treat(shown, step), last)))[0]
    assert once[inside].mean() == pytest.approx(0.3, abs=1e-6) and once[inside].std() == pytest.approx(0.05, abs=1e-6)
    assert np.allclose(once[~inside], between[~inside], atol=1e-7)
    assert abs(then[inside].mean() - 0.3) > 1e-3  # control: a treatment of its own sees pixels alone


@pytest.mark.parametrize(
    "move",
    [
        "flip()",
        "rotate(90)",
        "crop(11)",
        "rotate(45)",
        "pad(17)",
        "pad(17, 0.1)",
        "field(8, 26, 4, interpolation=nearest)",
        "field(8, 26, 4, ground=0.1, interpolation=nearest)",
        "resize(20)",
    ],
)
def test_a_figure_follows_what_moves_it(move: str) -> None:
    image, inside = _in_middle()
    moving = f"luminance(0.5, 0.1, ground=0.5) | {move}"
    moved = treat(StimulusSet.from_arrays(image, fields={"figure": inside[None]}), moving)
    before, figure = _planes(_all(moved))[0], moved.get([0], "figure")[0].numpy()
    if "0.1" in move:  # pixels that are added around are no ground, then
        figure = figure | (np.abs(before - 0.1) < 1e-6)
        assert figure[0].all()
    after = _planes(_all(treat(StimulusSet.from_arrays(image), f"{moving} | luminance(0.3, 0.05, ground=0.5)")))[0]
    assert after[figure].mean() == pytest.approx(0.3, abs=1e-6) and after[figure].std() == pytest.approx(0.05, abs=1e-6)
    assert np.array_equal(after[~figure], before[~figure])


def test_what_an_aperture_hides_is_figure_no_more() -> None:
    image, inside = _in_middle()
    text = "luminance(0.5, 0.1, ground=0.5) | aperture(5, 0, unit=pixel)"
    after = _planes(_all(treat(StimulusSet.from_arrays(image), f"{text} | luminance(0.3, 0.05, ground=0.5)")))[0]
    y, x = np.mgrid[-6:7, -6:7]
    seen = np.hypot(y, x) <= 2.5
    assert after[seen].mean() == pytest.approx(0.3, abs=1e-6) and (after[~seen] == 0.5).all() and inside[seen].all()
