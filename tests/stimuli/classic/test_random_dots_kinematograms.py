"""Random-dot kinematograms: the stated motion between frames, and nothing in one frame alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from netphys.errors import OptionError
from netphys.stimuli.classic import kinematogram as module
from netphys.stimuli.classic.random_dots import kinematograms


def _clips(shown: object) -> np.ndarray:
    return shown.get(range(len(shown)), "clip")[:, :, 0].numpy() - 0.5  # type: ignore[attr-defined]


def _peak(clips: np.ndarray, lag: int = 1) -> tuple[float, float, float]:
    """Cross-correlation of frames `lag` apart: displacement x to the right, y up, and its height over that of lag 0."""
    spectra = np.fft.fft2(clips)
    power = (spectra[:, lag:] * np.conj(spectra[:, :-lag])).mean((0, 1))
    own = float(np.fft.ifft2((np.abs(spectra) ** 2).mean((0, 1))).real[0, 0])
    surface = np.fft.ifft2(power).real
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    size = clips.shape[-1]
    wrap = lambda k: (k + size // 2) % size - size // 2  # noqa: E731
    return float(wrap(column)), float(-wrap(row)), float(surface.max() / own)


@pytest.mark.parametrize(
    ("direction", "step"), [(0, (3, 0)), (90, (0, 3)), (180, (-3, 0)), (270, (0, -3)), (45, (2, 2)), (225, (-2, -2))]
)
def test_cross_correlation_finds_the_direction_and_the_speed(direction: float, step: tuple[int, int]) -> None:
    shown = kinematograms(4, direction=direction, coherence=0.6, speed=90, frame_rate=30, aperture="square", size=48)
    assert _peak(_clips(shown))[:2] == step  # 90 pixels a second at 30 frames a second: 3 pixels a frame


@pytest.mark.parametrize("coherence", [0.0, 0.25, 0.5, 1.0])
def test_the_share_displaced_is_the_coherence(coherence: float) -> None:
    shown = kinematograms(
        8, direction=0, coherence=coherence, speed=60, aperture="square", size=64, n_frames=12, density=0.05
    )
    clips = _clips(shown)
    spectra = np.fft.fft2(clips)
    surface = np.fft.ifft2((spectra[:, 1:] * np.conj(spectra[:, :-1])).mean((0, 1))).real
    own = np.fft.ifft2((np.abs(spectra) ** 2).mean((0, 1))).real[0, 0]
    # dots wrap around as the transform does; chance overlaps of 46 dots with others, over 88 pairs of frames: 0.02
    assert surface[0, 2] / own == pytest.approx(coherence, abs=0.04)
    assert coherence < 1 or surface[0, 2] / own == pytest.approx(1, abs=1e-6)
    if coherence == 0:
        assert np.abs(surface[0, 2] / own) < 0.03


def test_motion_energy_recovers_the_direction() -> None:
    """The energy at frequencies that drift right over that at those that drift left (Adelson & Bergen 1985)."""
    for direction, sign in ((0.0, 1), (180.0, -1)):
        clips = _clips(kinematograms(8, direction=direction, coherence=0.3, speed=30, size=32))
        energy = (np.abs(np.fft.fftn(clips, axes=(1, 2, 3))) ** 2).mean(0).sum(1)  # (temporal, x) frequencies
        temporal, spatial = np.meshgrid(*(np.fft.fftfreq(n) for n in energy.shape), indexing="ij")
        low = (np.abs(spatial) < 0.2) & (np.abs(temporal) < 0.3)
        rightward = energy[low & (temporal * spatial < 0)].sum()  # cos(2 pi (f x - w t)) drifts right
        leftward = energy[low & (temporal * spatial > 0)].sum()
        assert sign * (rightward - leftward) / (rightward + leftward) > 0.1
    none = _clips(kinematograms(2, coherence=0.0, size=32))
    assert abs(_peak(none)[2]) < 0.35


def _motion(**options: object) -> module._Motion:
    usual = module._Motion(1.5, 10, 200, 1.0, None, "square", 64.0, "anew", "both", 1.0)
    return replace(usual, **options)  # type: ignore[arg-type]


def _moved(x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    """Which dots moved by `step` to the right, frame by frame: (t - 1, dot)."""
    across = (np.diff(x, axis=0) + 32) % 64 - 32
    return (np.abs(across - step) < 1e-9) & (np.abs(np.diff(y, axis=0)) < 1e-9)


def test_signal_dots_are_as_many_as_stated_in_each_frame_and_chosen_anew_or_fixed() -> None:
    x, y, sign = module._tracks(_motion(), 0.0, 0.3, np.random.default_rng(0))
    moved = _moved(x, y, 1.5)
    assert (moved.sum(1) == 60).all() and sign.sum() == 0
    assert (moved.sum(0) == 9).sum() == 0  # 0.3 to the ninth power
    fixed = _moved(*module._tracks(_motion(signal="fixed"), 0.0, 0.3, np.random.default_rng(0))[:2], 1.5)
    assert (fixed == fixed[0]).all() and fixed[0].sum() == 60
    assert np.abs(x).max() <= 32 and np.abs(y).max() <= 32


def test_a_lifetime_puts_its_share_of_dots_anew() -> None:
    x, y, _ = module._tracks(_motion(lifetime=5), 0.0, 1.0, np.random.default_rng(0))
    moved = _moved(x, y, 1.5)
    assert (moved.sum(1) == 160).all()  # one fifth die
    for dot in moved.T:
        runs = np.diff(np.flatnonzero(~np.concatenate([[False], dot, [False]])))
        assert runs.max() <= 5


def test_single_frames_are_strewn_evenly_whatever_moves() -> None:
    """Also the last one, after dots moved by a quarter of the field; the control lets them leave and none come in."""
    last, left = [], []
    for seed in range(20):
        x, _, _ = module._tracks(_motion(), 0.0, 1.0, np.random.default_rng(seed))
        last.append(x[-1])
        left.append(x[0] + 9 * 1.5)
    bins = np.linspace(-32, 32, 9)
    assert stats.chisquare(np.histogram(np.concatenate(last), bins)[0]).pvalue > 0.01
    assert stats.chisquare(np.histogram(np.concatenate(left), bins)[0]).pvalue < 1e-6


def test_a_frame_alone_tells_no_direction() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    def accuracy(frames: np.ndarray, labels: np.ndarray) -> float:
        spectra = np.log(np.abs(np.fft.rfft2(frames)) + 1)[:, :12, :12].reshape(len(frames), -1)
        return cross_val_score(LogisticRegression(C=0.01, max_iter=300), spectra, labels, cv=4).mean()

    shown = kinematograms(200, direction=[0, 90], coherence=1.0, n_frames=3, size=32)
    clips, labels = _clips(shown), shown.metadata["direction"].to_numpy() == 90
    assert abs(accuracy(clips[:, 2], labels) - 0.5) < 3 / np.sqrt(4 * 400)  # three standard errors
    assert accuracy(clips.mean(1), labels) > 0.9  # the control: streaks of a longer exposure


def test_dots_lie_in_the_aperture() -> None:
    shown = kinematograms(aperture="circle", aperture_size=20, size=48, density=0.8)
    used = np.abs(_clips(shown)).max((0, 1)) > 0
    x, y = np.meshgrid(np.arange(48) - 23.5, np.arange(48) - 23.5)
    assert not used[np.hypot(x, y) > 10 + 1.5 * np.sqrt(2) + 0.8].any() and used[np.hypot(x, y) < 9].all()


@pytest.mark.parametrize("aperture", ["square", "circle"])
def test_contrast_is_the_same_up_to_the_edge_of_the_aperture(aperture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control draws each dot once: half of the dots that lie across an edge are then missing there."""

    def at_the_edge() -> float:
        shown = kinematograms(
            60,
            direction=0,
            coherence=0.5,
            n_frames=4,
            size=30,
            aperture=aperture,
            aperture_size=24,
            dot_size=4,
            density=0.3,
        )  # type: ignore[arg-type]
        power = (_clips(shown) ** 2).mean((0, 1))
        x, y = np.meshgrid(np.arange(30) - 14.5, np.arange(30) - 14.5)
        far = np.hypot(x, y) if aperture == "circle" else np.maximum(np.abs(x), np.abs(y))
        assert (power[far > 12.8] == 0).all()
        return float(np.sqrt(power[(far > 10.6) & (far <= 11.5)].mean() / power[far < 8].mean()))

    assert at_the_edge() == pytest.approx(1, abs=0.04)  # about 1000 dots there: 1 / (2 sqrt(1000)) is 0.016
    draw = module._frame

    def once(screen: object, motion: module._Motion, x: np.ndarray, y: np.ndarray, sign: np.ndarray) -> np.ndarray:
        inside = np.hypot(x, y) < 12 if aperture == "circle" else np.ones(len(x), bool)
        return module.draw_dots(screen, x[inside], y[inside], sign[inside], dot_size=motion.dot_size)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_frame", once)
    assert at_the_edge() < 0.93
    monkeypatch.setattr(module, "_frame", draw)


def test_the_frame_rate_is_part_of_the_digest_and_the_generator_too(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = (kinematograms(size=24, frame_rate=rate) for rate in (30, 60))
    assert slow.digest != fast.digest
    monkeypatch.setattr(module, "releases", lambda *names: {"numpy": "9.9"})
    assert kinematograms(size=24, frame_rate=30).digest != slow.digest


def test_a_clip_is_the_same_alone_in_any_batch_whatever_n_and_whatever_else_is_there() -> None:
    options = {"size": 24, "n_frames": 4}
    many = kinematograms(3, coherence=[0.2, 0.8], direction=[0, 90], seed=3, **options)
    few = kinematograms(2, coherence=0.8, direction=[90, 45], seed=3, **options)
    assert torch.equal(many.get([5, 10], "clip")[1], few.get([1], "clip")[0])
    assert many[9:11].digest == few[:2].digest
    assert few.digest != kinematograms(2, coherence=0.8, direction=[90, 45], seed=4, **options).digest
    assert many[0].digest == kinematograms(coherence=0.2, direction=0, seed=3, **options).digest
    assert many.ids[10] == "kinematogram-a90-c0.8-px24-s3-i1" and many.name == "classic:kinematograms"
    assert many.get([0], "clip").shape == (1, 4, 3, 24, 24) and many.get([0], "clip").dtype == torch.float32


def test_n_is_of_each_direction_and_coherence() -> None:
    """All combinations are there, the coherence fastest but the number; and no two have the same dots."""
    shown = kinematograms(n=2, coherence=[0, 0.5, 1], direction=[0, 90], size=24, n_frames=2, aperture="square")
    table = shown.metadata
    assert table["direction"].tolist() == [0] * 6 + [90] * 6 and table["index"].tolist() == [0, 1] * 6
    assert table["coherence"].tolist() == [0, 0, 0.5, 0.5, 1, 1] * 2
    assert (table[["size", "unit", "n_frames"]] == [24, "pixel", 2]).all(axis=None) and table["degrees"].isna().all()
    first = _clips(shown)[:, 0].reshape(12, -1)
    assert (np.abs(np.corrcoef(first) - np.eye(12)) < 0.5).all()
    assert len(kinematograms(size=24)) == 4


def test_polarity_and_degrees() -> None:
    light, dark = (kinematograms(1, polarity=p, size=32).get([0], "clip") for p in ("light", "dark"))
    assert light.min() == 0.5 and light.max() == 1 and torch.allclose(light - 0.5, 0.5 - dark, atol=6e-8)
    angles = kinematograms(1, speed=4.0, dot_size=0.25, size=32, degrees=4)
    pixels = kinematograms(1, speed=32.0, dot_size=2, size=32)
    assert torch.allclose(angles.get([0], "clip"), pixels.get([0], "clip"), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"coherence": 1.2}, "coherence=1.2"),
        ({"lifetime": 1}, "lifetime=1: a whole number from 2"),
        ({"speed": 2000}, "half the aperture"),
        ({"aperture": "disc"}, "no aperture='disc'; there are: 'circle', 'square'"),
        ({"signal": "new"}, "no signal='new'"),
        ({"aperture_size": 100}, "aperture_size=100.*at most the screen, 64 pixels"),
        ({"n": 0}, "n=0: a whole number"),
        ({"direction": [0, 90, 0]}, "direction says 0.0 twice"),
        ({"aperture_size": 2, "size": 1, "dot_size": 0.5}, "at most the screen, 1 pixel;"),
        ({"density": 5}, "density=5"),
        ({"dot_size": 9, "aperture_size": 9}, "dot_size=9: smaller than the aperture, 9 pixels"),
        ({"seed": 1.5}, "seed=1.5: a whole number"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        kinematograms(**options)
