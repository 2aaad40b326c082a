"""A field that leaves the image is filled up, not shifted inwards: else the patch shows what the unit did not see."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import netphys
from netphys.networks.geometry import receptive_fields
from netphys.units import cut_patches, read_pictures, top_patches


def test_units_crops_shifted_into_the_image() -> None:
    """The activation is the filter on the crop (0 beyond the image), at every border; on a shifted crop it is not."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 7, padding=3, bias=False))
    rng = np.random.default_rng(0)
    stimuli = netphys.StimulusSet.from_arrays(rng.integers(0, 256, (30, 3, 9, 9), dtype=np.uint8))
    layer = top_patches(module, stimuli, layers="0", k=3)["0"]
    pictures = read_pictures(stimuli, module, range(30))
    crops = cut_patches(layer, range(16), pictures, receptive_fields(module, size=(9, 9))["0"])
    weights = module[0].weight.detach().numpy()
    seen = crops.images / 255 * crops.inside[:, :, None]
    assert np.allclose(np.einsum("ukcyx,ucyx->uk", seen, weights), layer.value, atol=1e-4)  # float32 sums of 147
    outside = ~crops.inside.all((2, 3))
    assert outside.mean() > 0.5  # of 81 places 9 are inner ones
    shifted = pictures.images[pictures.rows[layer.stimulus]]
    top, left = (np.clip(crops.boxes[..., at], 0, 2) for at in (0, 2))
    moved = np.stack(
        [
            [shifted[u, k, :, top[u, k] : top[u, k] + 7, left[u, k] : left[u, k] + 7] for k in range(3)]
            for u in range(16)
        ]
    )
    wrong = np.einsum("ukcyx,ucyx->uk", moved / 255, weights)
    assert (np.abs(wrong - layer.value)[outside] > 0.05).mean() > 0.9  # control
