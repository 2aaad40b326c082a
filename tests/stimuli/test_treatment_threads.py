"""A treated set has the same pixels and the same digest whatever the number of torch's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import torch

from netphys.colorimetry import lightness, srgb_to_lab
from netphys.stimuli import StimulusSet
from netphys.stimuli.treating.steady import by_blocks, rounded
from netphys.stimuli.treatment import _BY_KEYWORD, treat

SIZE = (183, 211)  # a channel has more than 32768 elements, which torch shares between threads, and no whole vectors
TEXTS = [
    "grey()", "grey(lightness)", "grey(linear)", "resize(150)", "resize(200, bicubic)", "resize(150, nearest)",
    "field(8, 224, 5)", "rotate(20)", "flip()", "crop(150)", "pad(250)", "contrast(2)", "contrast(2, about=mean)",
    "brightness(0.1)", "blur(2)", "lowpass(9)", "highpass(2)", "bandpass(2, 9)", "aperture(edge=0.3)", "clip()",
    "rescale()", "rescale(grey)", "grey(lightness) | luminance()", "grey(linear) | luminance()",
    "grey(lightness) | spectrum()", "grey(linear) | spectrum(full)", "grey(lightness) | histogram()",
    "grey(lightness) | joint(1)", "luminance(channel=lightness)", "luminance(channel=lightness) | rescale()",
    "histogram(channel=lightness)", "spectrum(channel=lightness)", "joint(1, channel=lightness)",
    "luminance(channel=lightness) | rotate(20) | resize(150, bicubic) | grey() | luminance()",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _images(n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, *SIZE), dtype=np.uint8)


def _at(threads: int, make: Callable[[], object]) -> object:
    torch.set_num_threads(threads)
    return make()


def test_every_step_is_there() -> None:
    assert {each.split("(")[0].strip() for text in TEXTS for each in text.split("|")} == set(_BY_KEYWORD)


@pytest.mark.parametrize("text", TEXTS)
def test_pixels_and_digests_do_not_depend_on_threads(text: str) -> None:
    shown = StimulusSet.from_arrays(_images())

    def made() -> tuple[str, torch.Tensor]:
        treated = treat(shown, text)
        return treated.digest, treated.images([0, 1])

    (digest, images), (other, again) = _at(1, made), _at(2, made)
    assert digest == other and torch.equal(images, again)


@pytest.mark.parametrize("convert", [lightness, srgb_to_lab])
def test_colours_in_blocks_do_not_depend_on_threads_and_whole_ones_do(convert: Callable) -> None:
    values = [torch.from_numpy(_images(1, seed)[0]).float() / 255 for seed in range(8)]
    steady = [[_at(n, lambda each=each: by_blocks(convert, each)) for n in (1, 2, 3)] for each in values]
    assert all(torch.equal(first, second) and torch.equal(first, third) for first, second, third in steady)
    whole = [[_at(n, lambda each=each: convert(each[None])[0]) for n in (1, 2)] for each in values]
    assert any(not torch.equal(first, second) for first, second in whole)  # control
    for blocks, (found, _) in zip(steady, whole):
        assert torch.allclose(blocks[0].float(), found, atol=1e-3)  # of 100: float32 in a cube root


def test_colours_in_blocks_are_the_same_for_equal_pixels() -> None:
    flat = torch.tensor([0.2, 0.7, 0.4])[:, None, None].expand(3, 91, 103)
    assert all(len(each.unique()) == 1 for each in by_blocks(srgb_to_lab, flat))
    assert by_blocks(srgb_to_lab, flat[:, :1, :1]).shape == (3, 1, 1)


def test_what_is_measured_has_nine_digits() -> None:
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-500, 500).clip(-200, 200)
    kept = rounded(values)
    assert np.abs(kept / values - 1).max() < 1e-9 and (rounded(kept) == kept).all()
    nudged = values * (1 + 3e-16)
    assert (nudged != values).sum() > 500 and (rounded(nudged) == kept).mean() > 0.999  # control, and what it is for
    assert rounded(np.array([0.0, 0.5, 1.0, -0.25])).tolist() == [0, 0.5, 1, -0.25]


def test_sums_in_another_order_make_the_same_targets() -> None:
    images = np.repeat(np.random.default_rng(0).random((24, 1, 20, 20), dtype=np.float32), 3, 1)
    table = pd.DataFrame({"stimulus_id": [str(each) for each in range(24)]})
    shown = StimulusSet.from_arrays(images, metadata=table)
    turned = shown.subset(np.random.default_rng(1).permutation(24))
    means = [np.mean([float(each.double().mean()) for each in every.images(range(24))]) for every in (shown, turned)]
    assert means[0] != means[1]  # control: unrounded sums differ
    for text in ("luminance()", "histogram()", "spectrum()", "spectrum(full)", "joint(1)", "rescale()"):
        found = [treat(shown, text, like=each)._source.targets for each in (shown, turned)]
        assert found[0] == found[1]
