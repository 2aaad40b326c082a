"""Textures: the statistics of Portilla and Simoncelli are those of the image, and the image is not."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from netphys.errors import OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import textures as module
from netphys.stimuli.classic.scrambling import phase_scrambled
from netphys.stimuli.classic.textures import texture_controls, texture_statistics

needs_plenoptic = pytest.mark.skipif(find_spec("plenoptic") is None, reason="plenoptic is not installed")
GRID = {"n_scales": 2, "n_orientations": 2, "neighbourhood": 3}


def _scales(side: int = 32) -> StimulusSet:
    """Dark rings strewn about: sharp and of one sign, as no phase-scrambled image is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    plane = np.full((side, side), 0.7, dtype=np.float32)
    for at_x, at_y in rng.uniform(0, side, (side * side // 48, 2)):
        across, down = (np.abs((axis - at + side / 2) % side - side / 2) for axis, at in ((x, at_x), (y, at_y)))
        plane[np.abs(np.hypot(across, down) - 3) < 0.8] = 0.2
    return StimulusSet.from_arrays(np.broadcast_to(plane, (1, 3, side, side)).copy(), ids=["rings"])


def _mismatch(image: torch.Tensor, made: torch.Tensor) -> float:
    wanted = texture_statistics(image, **GRID)
    return float((texture_statistics(made, **GRID) - wanted).norm() / wanted.norm())


@needs_plenoptic
@pytest.mark.slow
def test_a_texture_has_the_statistics_of_the_image() -> None:
    stimuli = _scales()
    shown = texture_controls(stimuli, n=2, iterations=8, **GRID)
    made = shown.images([1])
    assert made.shape == (1, 3, 32, 32) and made.dtype == torch.float32 and made.min() >= 0 and made.max() <= 1
    assert torch.equal(made[:, 0], made[:, 1])
    scrambled = phase_scrambled(stimuli, fit="shrink").images([0])
    assert _mismatch(stimuli.images([0]), made) < 0.2 * _mismatch(stimuli.images([0]), scrambled)
    assert shown.get([1], "mismatch")[0] < 0.1
    assert abs(np.corrcoef(made.ravel(), stimuli.images([0]).ravel())[0, 1]) < 0.6


@needs_plenoptic
def test_a_texture_is_the_same_each_time_and_takes_no_global_random_numbers() -> None:
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first, again = (texture_controls(_scales(), n=2, iterations=1, **GRID) for _ in range(2))
    assert torch.equal(again.images([1]), first.images([0, 1])[1:]) and first.digest == again.digest
    assert not torch.equal(first.images([0]), first.images([1]))
    assert first.digest != texture_controls(_scales(), n=2, iterations=2, **GRID).digest
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002


@needs_plenoptic
@pytest.mark.slow
def test_a_texture_of_the_usual_size_and_statistics() -> None:
    stimuli = _scales(128)
    shown = texture_controls(stimuli, iterations=20)
    wanted = texture_statistics(stimuli.images([0]))
    left = [
        float((texture_statistics(each) - wanted).norm())
        for each in (shown.images([0]), phase_scrambled(stimuli, fit="shrink").images([0]))
    ]
    assert left[0] < 0.1 * left[1]


@needs_plenoptic
def test_statistics_do_not_hang_on_where_the_image_begins() -> None:
    image = _scales().images([0])
    moved = torch.roll(image, (8, 4), (2, 3))  # whole pixels of the coarsest scale
    assert torch.allclose(texture_statistics(image, **GRID), texture_statistics(moved, **GRID), atol=1e-6)
    assert _mismatch(image, 1 - image) > 0.1


@needs_plenoptic
@pytest.mark.parametrize("name", ["plenoptic", "torch"])
def test_the_releases_that_make_a_texture_are_part_of_its_digest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, known = texture_controls(_scales(), **GRID).digest, module.releases
    assert texture_controls(_scales(), **GRID).digest == before
    monkeypatch.setattr(module, "releases", lambda *names: {**known(*names), name: "99.0"})
    assert texture_controls(_scales(), **GRID).digest != before


@needs_plenoptic
def test_images_that_have_no_such_statistics() -> None:
    small = StimulusSet.from_arrays(np.full((1, 3, 30, 32), 0.5, dtype=np.float32), ids=["grey"])
    with pytest.raises(StimulusError, match="grey is 30 x 32 pixels; 2 scales .* multiples of 4, at least 12"):
        texture_controls(small, **GRID).images([0])
    flat = StimulusSet.from_arrays(np.full((1, 3, 32, 32), 0.5, dtype=np.float32), ids=["grey"])
    with pytest.raises(StimulusError, match="no texture was found for grey: its statistics are not finite"):
        texture_controls(flat, iterations=2, **GRID).images([0])
    with pytest.raises(OptionError, match="neighbourhood=4"):
        texture_controls(small, neighbourhood=4)


def test_without_plenoptic_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plenoptic", None)
    with pytest.raises(
        StimulusError, match=r"need plenoptic, which is not installed .*pip install 'netphys\[textures\]'"
    ):
        texture_controls(_scales())
