"""Random-dot stereograms: the stated disparity between the eyes, and nothing in either eye alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from netphys.errors import OptionError
from netphys.stimuli.classic import stereogram as module
from netphys.stimuli.classic.random_dots import stereograms
from netphys.stimuli.classic.surfaces import Surface

SIDE = 48  # pixels; the figure is the middle 24


def _eye(shown: object, field: str) -> np.ndarray:
    return shown.get(range(len(shown)), field)[:, 0].numpy()  # type: ignore[attr-defined]


def _best_shift(left: np.ndarray, right: np.ndarray, shifts: np.ndarray) -> tuple[float, float]:
    """Match: the shift s at which left(x) is most like, or most unlike, right(x - s); and their correlation there."""
    found = []
    for shift in shifts:
        moved = np.roll(right, shift, axis=-1)[..., 12:-12]
        found.append(np.corrcoef(moved.ravel(), left[..., 12:-12].ravel())[0, 1])
    best = int(np.argmax(np.abs(found)))
    if 0 < best < len(found) - 1:  # a parabola through the top
        low, top, high = found[best - 1 : best + 2]
        return shifts[best] + 0.5 * (low - high) / (low - 2 * top + high), found[best]
    return float(shifts[best]), found[best]


@pytest.mark.parametrize("disparity", [-5.0, 0.0, 2.5, 6.0])
def test_the_figure_has_the_stated_disparity_and_the_ground_none(disparity: float) -> None:
    shown = stereograms(6, disparity=disparity, size=96)
    left, right = _eye(shown, "left"), _eye(shown, "right")
    inside, _ = _best_shift(left[:, 30:66, 20:76], right[:, 30:66, 20:76], np.arange(-10, 11))
    outside, height = _best_shift(left[:, :22], right[:, :22], np.arange(-10, 11))
    assert inside == pytest.approx(disparity, abs=0.25)  # a parabola through samples of a triangle is off by less
    assert outside == pytest.approx(0, abs=0.01) and height == pytest.approx(1)


def test_correlation_is_the_share_of_dots_that_both_eyes_have_and_below_0_they_are_inverted() -> None:
    heights = {}
    for correlation in (-1.0, -0.5, 0.0, 0.5, 1.0):
        shown = stereograms(12, disparity=4, shape="field", correlation=correlation, size=64)
        left, right = _eye(shown, "left"), _eye(shown, "right")
        heights[correlation] = np.corrcoef(left[..., 4:].ravel(), right[..., :-4].ravel())[0, 1]
    # what lies over a dot may be another dot in each eye, so that the picture's correlation is less between the ends
    assert heights[1.0] == pytest.approx(1, abs=1e-6) and heights[-1.0] == pytest.approx(-1, abs=1e-6)
    assert abs(heights[0.0]) < 0.05 and 0.3 < heights[0.5] < 0.55 and -0.55 < heights[-0.5] < -0.3


def test_disparity_maps_agree_with_the_pictures() -> None:
    """What both eyes see at x in the left picture is at x - d in the right one, on a curved surface."""
    shown = stereograms(4, disparity=7, shape="surface", size=96)
    left, right = _eye(shown, "left"), _eye(shown, "right")
    maps, seen = _eye_map(shown, "disparity_left"), _eye_map(shown, "disparity")
    assert np.abs(seen).max(axis=(1, 2)) == pytest.approx(7, rel=0.01)
    columns = np.arange(96)
    for sign, low, high in ((1, 0.75, 1.0), (-1, -0.2, 0.45)):  # the opposite sign is the control
        pairs = []
        for one, other, depth in zip(left, right, maps):
            for row in range(96):
                at = columns - sign * depth[row]
                good = np.isfinite(at) & (at >= 0) & (at <= 95)
                pairs.append(np.stack([one[row, good], np.interp(at[good], columns, other[row])]))
        assert low < np.corrcoef(np.concatenate(pairs, 1))[0, 1] <= high


def _eye_map(shown: object, field: str) -> np.ndarray:
    return shown.get(range(len(shown)), field).numpy()  # type: ignore[attr-defined]


def test_what_one_eye_alone_sees_is_as_wide_as_the_disparity() -> None:
    shown = stereograms(disparity=[6, -6], size=96)
    for field in ("disparity_left", "disparity_right"):
        near, far = _eye_map(shown, field)
        assert np.isnan(near[48]).sum() == 6 and np.isnan(far[48]).sum() == 6
        assert not np.isnan(near[10]).any() and not np.isnan(far[10]).any()
    assert np.nanmax(_eye_map(shown, "disparity")[0]) == 6


# No monocular cue. The figure's borders are where one would be: on its left and right, |disparity| wide.


def _border_statistics(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of the strips about the figure's left and right borders, a value a picture."""
    strips = np.concatenate([pictures[:, 12:36, 6:18], pictures[:, 12:36, 30:42]], axis=1)
    centred = strips - 0.5
    return {
        "mean": strips.mean((1, 2)),
        "variance": strips.var((1, 2)),
        "density": (np.abs(centred) > 0.01).mean((1, 2)),
        "autocorrelation of 2": (centred[:, :, 2:] * centred[:, :, :-2]).mean((1, 2)),
        "autocorrelation of 8": (centred[:, :, 8:] * centred[:, :, :-8]).mean((1, 2)),
        "edges": np.abs(np.diff(strips, axis=2)).mean((1, 2)),
    }


def _naive(shown: object) -> tuple[np.ndarray, np.ndarray]:
    """A control: a square is cut out, shifted and pasted; what it leaves bare stays grey."""
    left = _eye(shown, "left")
    right = left.copy()
    right[:, 12:36, 12:36] = 0.5
    right[:, 12:36, 6:30] = left[:, 12:36, 12:36]
    return left, right


def test_no_statistic_of_one_eye_at_the_figures_border_differs_from_the_ground(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure = stereograms(50, disparity=[6, -6], size=SIDE, seed=1)
    ground = stereograms(100, disparity=0, size=SIDE, seed=2)
    plain = _border_statistics(_eye(ground, "left"))
    for field in ("left", "right"):
        found = _border_statistics(_eye(figure, field))
        for name, values in found.items():
            p = stats.ks_2samp(values, plain[name]).pvalue
            assert p > 0.05 / 12, (field, name, p)  # 12 tests of Kolmogorov and Smirnov, Bonferroni
    # two ways to do it wrong are seen: a square shifted as it is, and what is uncovered not filled with fresh dots
    assert {"variance", "density"} <= _detected(_border_statistics(_naive(ground)[1]), plain)
    monkeypatch.setattr(module, "_filled", lambda surface, dots, eye: np.ones(len(dots.x)))
    assert {"variance", "density"} <= _detected(_border_statistics(_eye(figure, "left")), plain)


def _detected(found: dict[str, np.ndarray], plain: dict[str, np.ndarray]) -> set[str]:
    return {name for name in found if stats.ks_2samp(found[name], plain[name]).pvalue < 0.05 / 12}  # as is asked above


def _told_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Share of held-out pictures that a classifier of local means and variances gets right; half is chance."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    pictures = torch.from_numpy(np.concatenate([first, second]))[:, None] - 0.5
    pools = torch.nn.functional.avg_pool2d
    features = [pools(pictures.abs(), 4), pools(pictures, 4), pools((pictures[..., 1:] - pictures[..., :-1]).abs(), 4)]
    table = torch.cat([each.flatten(1) for each in features], 1).numpy()
    labels = np.repeat([0, 1], [len(first), len(second)])
    classifier = LogisticRegression(C=0.01, max_iter=500)
    return float(cross_val_score(classifier, table, labels, cv=4).mean())


@pytest.mark.parametrize(
    ("shape", "n"),
    [
        ("square", 80),
        pytest.param("square", 500, marks=pytest.mark.slow),
        pytest.param("surface", 500, marks=pytest.mark.slow),
    ],
)
def test_a_classifier_of_one_eye_alone_is_at_chance(shape: str, n: int) -> None:
    figure = stereograms(n, disparity=6, shape=shape, size=SIDE, seed=3)  # type: ignore[arg-type]
    ground = stereograms(n, disparity=0, size=SIDE, seed=4)
    # Three standard errors: of a share of 2 n, times 1.45, since folds share pictures to learn from; ground told from
    # ground (16 pairs of 500) gave a standard deviation of .023 where the share alone has .016
    chance = 3 * 1.45 / np.sqrt(4 * 2 * n)
    for field in ("left", "right"):
        assert abs(_told_apart(_eye(figure, field), _eye(ground, field)) - 0.5) < chance
    if shape == "square":
        assert _told_apart(_naive(figure)[1], _eye(ground, "right")) > 0.9


def test_a_slope_changes_no_density(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slope draws dots together for one eye and apart for the other: 10 pixels of 48, so one part in five."""
    ramp = stereograms(40, disparity=10, shape=lambda x, y: x / 24, size=SIDE, density=0.3)
    flat = stereograms(40, disparity=0, size=SIDE, density=0.3, seed=5)
    for field in ("left", "right"):
        assert stats.ttest_ind(_dotted(ramp, field), _dotted(flat, field)).pvalue > 0.01
    monkeypatch.setattr(Surface, "stretch", lambda self, x, y, eye: np.ones_like(x))
    for field in ("left", "right"):  # drawn as it lies
        assert stats.ttest_ind(_dotted(ramp, field), _dotted(flat, field)).pvalue < 1e-6


def _dotted(shown: object, field: str) -> np.ndarray:
    return (np.abs(_eye(shown, field) - 0.5) > 0.01).mean((1, 2))


def test_a_pair_is_the_same_alone_in_any_batch_whatever_n_and_whatever_else_is_there() -> None:
    many = stereograms(3, disparity=[1, 2, 3], size=32, seed=9)
    few = stereograms(2, disparity=[5, 2], size=32, seed=9)
    for field in many.fields:
        alone = many.get([4], field)
        for same in (many.get([5, 4], field)[1:], few.get([3], field), many.subset([4]).get([0], field)):
            assert torch.equal(torch.nan_to_num(alone), torch.nan_to_num(same))
    assert many[3:5].digest == few[2:].digest and many[3].digest != many[4].digest
    assert many.digest != stereograms(3, disparity=[1, 2, 3], size=32, seed=8).digest
    assert many.digest != stereograms(3, disparity=[1, 2, 3], size=32, seed=9, contrast=0.9).digest
    assert many[0].digest == stereograms(disparity=1, size=32, seed=9).digest  # of its own disparity alone
    assert many.ids[4] == "stereogram-square-d2-px32-s9-i1" and many.name == "classic:stereograms"
    both = many + stereograms(3, disparity=[1, 2, 3], size=32, seed=9, correlation=-1)
    assert len(both) == 18
    state = torch.random.get_rng_state()
    many.get([0], "left")
    assert torch.equal(state, torch.random.get_rng_state())


def test_n_is_of_each_disparity() -> None:
    shown = stereograms(2, disparity=[-4, 0, 4], size=48, position=(3, -2))
    table = shown.metadata
    assert table["disparity"].tolist() == [-4, -4, 0, 0, 4, 4] and table["index"].tolist() == [0, 1] * 3
    assert (table[["size", "unit", "x", "y"]] == [48, "pixel", 3, -2]).all(axis=None) and table["degrees"].isna().all()
    left = _eye(shown, "left").reshape(6, -1)
    assert (np.abs(np.corrcoef(left) - np.eye(6)) < 0.5).all()  # no two have the same dots
    assert len(stereograms(disparity=[-4, 4])) == 2


def test_no_disparity_is_minus_0() -> None:
    shown = stereograms(disparity=[-4, -0.0], size=32)
    for field in ("disparity", "disparity_left", "disparity_right"):
        values = _eye_map(shown, field)
        assert (values == 0).any() and not np.signbit(values[values == 0]).any()
    assert shown.ids[1] == "stereogram-square-d0-px32-s0-i0"


def test_degrees_contrast_and_density() -> None:
    pixels = stereograms(disparity=4, dot_size=2, size=64, contrast=0.5, density=0.2)
    angles = stereograms(disparity=0.5, dot_size=0.25, size=64, degrees=8, contrast=0.5, density=0.2)
    assert torch.allclose(pixels.get([0], "right"), angles.get([0], "right"), atol=1e-6)
    assert angles.metadata["unit"][0] == "degree" and angles.get([0], "disparity").max() == 0.5
    values = _eye(stereograms(20, disparity=4, dot_size=2, size=64, contrast=0.5, density=0.2), "left")
    assert values.min() >= 0.25 and values.max() <= 0.75 and values.dtype == np.float32
    # a place is bare where the centre of no dot lies within half a dot: exp(-density); averaged over a dot's pixels
    bare = 1 - np.abs(values - 0.5).mean() / 0.25
    assert bare == pytest.approx(np.exp(-0.2), abs=0.02)


def test_the_generators_release_is_part_of_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stereograms(size=16, seed=3).digest
    assert stereograms(size=np.int64(16), seed=np.int64(3)).digest == before  # type: ignore[arg-type]
    monkeypatch.setattr(module, "releases", lambda *names: {"numpy": "9.9"})
    assert stereograms(size=16, seed=3).digest != before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"correlation": 2}, "correlation=2.0: between -1"),
        ({"density": 0}, "density=0.0: the area of all dots"),
        ({"dot_size": 0.001}, "more than 1,000,000"),
        ({"disparity": 200}, "smaller than the screen, 128 pixels"),
        ({"shape": "disk"}, "no shape='disk'; near: 'disc'"),
        ({"shape": lambda x, y: 1.0}, "returns as many finite numbers"),
        ({"contrast": 0}, "contrast=0.0: above 0"),
        ({"n": 0}, "n=0: a whole number from 1"),
        ({"disparity": [1, 2, 1]}, "disparity says 1.0 twice"),
        ({"disparity": "near"}, "disparity='near': a number"),
        ({"position": (1, 2, 3)}, "two numbers, x to the right"),
        ({"size": 0}, "size=0"),
        ({"seed": 1.5}, "seed=1.5: a whole number is wanted"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        stereograms(**options)
