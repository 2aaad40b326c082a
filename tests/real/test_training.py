"""Photographs teach: both pretext objectives leave those who learn nothing behind, and a control does not."""

from __future__ import annotations

import pytest

import netphys

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def photographs(unpacked):
    return netphys.load_stimuli(f"{unpacked('tiny_imagenet')}?where=split == 'train'")


def trained(objective, photographs, **options):
    return netphys.train(
        objective, "netphys:small_alexnet?width=32", photographs, n_steps=120, options=options, device="cpu"
    )


def test_colorization_learns_more_than_the_prior_and_nothing_from_exchanged_lightness(photographs):
    result = trained("colorization", photographs)
    assert result.held_out < result.references["prior_by_place"] - 0.05
    control = trained("colorization", photographs, shuffle=True)
    assert control.held_out > result.held_out + 0.05


def test_simclr_tells_views_of_photographs_apart(photographs):
    result = trained("simclr", photographs, crop_scale=[0.2, 1.0])
    assert result.held_out < result.references["chance"] - 1.0
    assert float(result.curve["spread_z"].iloc[-1]) > 0.3  # no collapse
