"""Phase scrambling: the spectrum stays, what is seen goes; and what all variants of a set promise."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netphys.errors import AddressError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic.crowding import crowded
from netphys.stimuli.classic.occlusion import occluded
from netphys.stimuli.classic.scrambling import phase_scrambled, scramble
from netphys.stimuli.classic.variants import VARIANTS, make_variant


def _image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Blobs of 1/f noise of low contrast, with an edge; colours that hang together."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    radius[0, 0] = 1
    plane = np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) / radius).real
    plane = plane / plane.std() + 2 * (np.arange(width) > width / 2)
    planes = np.stack([plane, plane + 0.3 * rng.normal(size=plane.shape), -0.5 * plane])
    return torch.from_numpy((0.5 + 0.03 * planes).clip(0, 1)).to(torch.float32)


def _amplitudes(image: torch.Tensor) -> torch.Tensor:
    return torch.fft.fft2(image.to(torch.float64)).abs()


@pytest.mark.parametrize("shape", [(32, 32), (31, 33), (24, 41)])
@pytest.mark.parametrize("coherence", [0.0, 0.4])
def test_the_amplitude_spectrum_of_each_colour_stays(shape: tuple[int, int], coherence: float) -> None:
    image = _image(*shape)
    shown = phase_scrambled(StimulusSet.from_arrays(image[None]), n=3, coherence=coherence)
    assert shown.get(range(3), "clipped").max() == 0
    for made in shown.images(range(3)):
        # float32 pixels: 1e-7 of a pixel, times the root of their number
        assert torch.allclose(_amplitudes(made), _amplitudes(image), atol=1e-5, rtol=1e-4)
        assert torch.allclose(made.mean((1, 2)), image.mean((1, 2)), atol=1e-6)
        assert (made - image).abs().max() > 0.02
    shuffled = image.flatten(1)[:, torch.randperm(image[0].numel(), generator=torch.Generator().manual_seed(0))]
    error = (_amplitudes(shuffled.view_as(image)) - _amplitudes(image)).abs().mean() / _amplitudes(image).mean()
    assert error > 0.3  # the control: pixels in another order have the mean but not the spectrum


def test_coherence_1_gives_the_image_back_and_less_gives_less() -> None:
    image = _image(32, 32)
    near = [
        np.corrcoef(
            phase_scrambled(StimulusSet.from_arrays(image[None]), n=8, coherence=c).images(range(8)).mean(0).ravel(),
            image.ravel(),
        )[0, 1]
        for c in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert near[-1] == pytest.approx(1, abs=1e-6)
    assert torch.allclose(phase_scrambled(StimulusSet.from_arrays(image[None]), coherence=1).images([0])[0], image)
    assert near == sorted(near)


def test_colours_keep_what_they_have_in_common_and_phases_of_their_own_would_not() -> None:
    image = _image(32, 32)
    made = phase_scrambled(StimulusSet.from_arrays(image[None])).images([0])[0]
    same = np.corrcoef(made.flatten(1))
    assert np.allclose(same, np.corrcoef(image.flatten(1)), atol=1e-4)
    apart = torch.cat([scramble(image[c : c + 1], np.random.default_rng(c)) for c in range(3)])
    assert np.abs(np.corrcoef(apart.flatten(1)) - same).max() > 0.3


def test_random_phases_are_even_at_coherence_0_and_weighted_means_otherwise() -> None:
    """A delta has all phases 0, so that the phases of what is made are those that were added (Dakin et al. 2002)."""
    delta = torch.zeros(1, 64, 64)
    delta[0, 0, 0] = 1
    turns = {
        c: np.angle(np.fft.fft2(scramble(delta, np.random.default_rng(0), c)[0].numpy())).ravel() for c in (0, 0.7)
    }
    assert np.histogram(turns[0], 8, (-np.pi, np.pi))[0] == pytest.approx(512, abs=90)  # 4 standard deviations
    expected = np.angle(0.7 + 0.3 * np.exp(1j * turns[0]))
    assert np.allclose(np.sin(turns[0.7] - expected), 0, atol=1e-9)
    assert np.abs(turns[0.7]).max() <= np.arcsin(0.3 / 0.7) + 1e-9


def test_what_is_clipped_is_counted_and_said_and_shrinking_clips_nothing(caplog: pytest.LogCaptureFixture) -> None:
    strong = torch.zeros(3, 32, 32)
    strong[:, 8:24, 8:24] = 1
    stimuli = StimulusSet.from_arrays((strong[None] * 255).to(torch.uint8), ids=["square"])
    with caplog.at_level(logging.INFO, logger="netphys"):
        clipped = phase_scrambled(stimuli).get([0], "clipped")
    assert 0.05 < float(clipped[0]) < 0.6 and f"square, scrambled: {100 * float(clipped[0]):.1f} %" in caplog.text
    free = scramble(strong, np.random.default_rng(1))
    assert float(((free < 0) | (free > 1)).to(torch.float64).mean()) > 0.05
    shrunk = phase_scrambled(stimuli, fit="shrink")
    assert shrunk.get([0], "clipped")[0] == 0
    ratio = _amplitudes(shrunk.images([0])[0])[:, 1:6, 1:6] / _amplitudes(strong)[:, 1:6, 1:6]
    strongest = _amplitudes(strong)[:, 1:6, 1:6] > 1
    assert ratio[strongest].std() < 1e-3 * ratio[strongest].mean() and ratio[strongest].mean() < 1
    grey = StimulusSet.from_arrays(torch.full((1, 3, 8, 8), 0.25))
    for fit in ("clip", "shrink"):
        assert torch.allclose(phase_scrambled(grey, fit=fit).images([0]), torch.tensor(0.25))  # type: ignore[arg-type]


def test_images_of_several_sizes() -> None:
    shown = phase_scrambled(StimulusSet.from_arrays([_image(16, 16), _image(20, 12)]))
    assert [tuple(each.shape) for each in shown.images([0, 1])] == [(3, 16, 16), (3, 20, 12)]


# What holds of every variant


def test_what_files_went_through_is_said_of_variants_too(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 90, dtype=np.uint8)).save(tmp_path / "grey.png")
    stimuli = StimulusSet.from_folder(tmp_path)
    assert stimuli.conversions == {"grey repeated": 1}
    assert phase_scrambled(stimuli, n=2).conversions == {"grey repeated": 2}


@pytest.mark.parametrize(
    "said",
    ["phase_scrambled(n=2)", "occluded(n=2, kind=bars)", "crowded(n=2, n_flankers=3, size=64, arrangement=ring)"],
)
def test_a_variant_is_the_same_alone_in_any_batch_and_in_any_set(said: str) -> None:
    images = torch.stack([_image(16, 16, seed) for seed in range(8)])
    stimuli = StimulusSet.from_arrays(images, ids=list("abcdefgh"))
    shown = make_variant(stimuli, said, seed=8)
    name = said.partition("(")[0]
    assert shown.ids[4:6] == (f"c~{name}-0", f"c~{name}-1") and len(shown) == 16
    assert shown.metadata["source_id"].tolist()[4:6] == ["c", "c"] and shown.metadata["variant"][0] == name
    alone = shown.images([5])[0]
    assert torch.equal(alone, shown.images([7, 5, 0])[1]) and not torch.equal(alone, shown.images([4])[0])
    if name != "crowded":  # flankers are of the set
        fewer = make_variant(stimuli[["c", "a", "b"]], said, seed=8)
        assert torch.equal(alone, fewer.images([1])[0])
        assert fewer[1].digest == shown[5].digest
        assert torch.equal(
            make_variant(stimuli, said.replace("n=2", "n=1"), seed=8).images([2])[0], shown.images([4])[0]
        )
    assert len({shown[index].digest for index in range(16)}) == 16
    other = make_variant(stimuli, said, seed=9)
    assert other.digest != shown.digest and not torch.equal(other.images([5])[0], alone)
    changed = StimulusSet.from_arrays(1 - images, ids=list("abcdefgh"))
    assert make_variant(changed, said, seed=8).digest != shown.digest
    assert shown.digest == make_variant(stimuli, said, seed=8).digest
    assert alone.dtype == torch.float32


def test_variants_are_named_in_text() -> None:
    stimuli = StimulusSet.from_arrays(_image(16, 16)[None])
    assert set(VARIANTS) == {"crowded", "occluded", "phase_scrambled", "texture_controls"}
    assert make_variant(stimuli, "occluded(kind='bars', fraction=0.25)").metadata["occluder"][0] == "bars"
    assert make_variant(stimuli, "phase_scrambled(seed=3)", seed=1).digest == phase_scrambled(stimuli, seed=3).digest
    by_place = make_variant(stimuli, "phase_scrambled(2, 0.5, fit=shrink)")
    assert by_place.digest == phase_scrambled(stimuli, n=2, coherence=0.5, fit="shrink").digest


def test_addresses_and_arrays_are_varied_as_sets_are(tmp_path: Path) -> None:
    images = torch.stack([_image(16, 16, seed) for seed in range(3)])
    assert phase_scrambled(images).digest == phase_scrambled(StimulusSet.from_arrays(images)).digest
    for index in range(3):
        Image.fromarray(np.full((8, 8, 3), 40 * index, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    files = StimulusSet.from_folder(tmp_path)
    assert occluded(tmp_path).digest == occluded(str(tmp_path)).digest == occluded(files).digest
    assert make_variant(tmp_path, "occluded").digest == occluded(files).digest
    ours = crowded(images, flankers=files, size=64)
    assert ours.digest == crowded(images, flankers=str(tmp_path), size=64).digest
    assert ours.digest == make_variant(images, f"crowded(flankers='{tmp_path}', size=64)").digest
    with pytest.raises(AddressError, match="no stimuli at '/none'"):
        phase_scrambled("/none")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("scrambled", "no variant 'scrambled'; near: 'phase_scrambled'"),
        ("phase_scrambled(coherance=1)", "takes no option 'coherance'; near: 'coherence'"),
        ("phase_scrambled(coherence=2)", "coherence=2: the weight"),
        ("phase_scrambled(fit='cut')", "no fit 'cut'"),
        ("phase_scrambled(x=2)", "takes no option 'x'; there are: 'n', 'coherence', 'fit', 'seed'"),
        ("crowded(xyz=2)", "takes no option 'xyz'; its options: n, n_flankers, spacing, spacing_in, arrangement"),
        ("phase_scrambled(2, n=3)", "is told n twice"),
        ("phase_scrambled(1, 2, 3, 4, 5)", "takes 4 options (n, coherence, fit, seed), not 5"),
        ("phase_scrambled(0.5)", "n=0.5 is not a whole number"),
        ("phase_scrambled(**{'n': 2})", "is not understood"),
        ("phase_scrambled(n=exit())", "is not understood"),
        ("phase_scrambled(n=two)", "n='two' is not a whole number"),
        ("phase_scrambled(n=0)", "n=0: a whole number from 1"),
        ("(", "is not understood"),
    ],
)
def test_variants_that_there_are_not(said: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        make_variant(StimulusSet.from_arrays(_image(16, 16)[None]), said)


def test_stimuli_without_images_have_no_variants() -> None:
    texts = StimulusSet.from_arrays(fields={"text": ["one"]})
    with pytest.raises(StimulusError, match="no images to vary, only text"):
        phase_scrambled(texts)
