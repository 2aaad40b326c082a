"""Occluders: exactly the stated share of the pixels, where the mask says, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from netphys.errors import OptionError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic.occlusion import occluded

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 30), dtype=np.uint8)
KINDS = ("disc", "bars", "bubbles", "edge")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.5, 0.9, 1.0])
def test_the_share_is_exact_and_the_rest_of_the_image_as_it_was(kind: str, fraction: float) -> None:
    shown = occluded(StimulusSet.from_arrays(PIXELS), n=2, fraction=fraction, kind=kind, fill=0.25)  # type: ignore[arg-type]
    images, masks = shown.images(range(6)), shown.get(range(6), "mask")
    assert masks.dtype == torch.bool and (~masks).sum((1, 2)).tolist() == [round(fraction * 1200)] * 6
    originals = torch.from_numpy(PIXELS).repeat_interleave(2, 0).to(torch.float32) / 255
    assert torch.equal(images, torch.where(masks[:, None], originals, 0.25))
    assert shown.metadata["fraction"].tolist() == [fraction] * 6


def test_what_hides_has_the_stated_form() -> None:
    stimuli = StimulusSet.from_arrays(np.zeros((1, 3, 64, 64), dtype=np.uint8))
    pieces = {}
    for kind in KINDS:
        hidden = ~occluded(stimuli, n=20, fraction=0.3, kind=kind).get(range(20), "mask").numpy()  # type: ignore[arg-type]
        pieces[kind] = [ndimage.label(each)[1] for each in hidden]
        if kind == "disc":
            y, x = np.mgrid[:64, :64]
            whole = [
                each
                for each in hidden
                if not (each[0].any() or each[-1].any() or each[:, 0].any() or each[:, -1].any())
            ]
            for each in whole:  # a disc of area A has the radius sqrt(A / pi)
                radius = np.hypot(x - x[each].mean(), y - y[each].mean())[each].max()
                assert radius == pytest.approx(np.sqrt(each.sum() / np.pi), abs=1)
    assert set(pieces["disc"]) == set(pieces["edge"]) == {1}
    assert min(pieces["bars"]) >= 3 and max(pieces["bars"]) <= 7
    visible = occluded(stimuli, n=20, fraction=0.95, kind="bubbles").get(range(20), "mask").numpy()
    assert np.mean([ndimage.label(each)[1] for each in visible]) > 4


def test_occluders_grow_with_the_fraction_at_their_place() -> None:
    stimuli = StimulusSet.from_arrays(PIXELS)
    for kind in KINDS:
        little, much = (occluded(stimuli, fraction=f, kind=kind).get([0], "mask") for f in (0.2, 0.6))  # type: ignore[arg-type]
        assert not (much & ~little).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"fraction": 1.5}, "fraction=1.5"), ({"fill": -1}, "fill=-1"), ({"kind": "bar"}, "no kind 'bar'.*near: 'bars'")],
)
def test_options_that_mean_nothing_are_refused(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        occluded(StimulusSet.from_arrays(PIXELS), **options)
