"""The package's own networks: Gabor energy sees orientation and not phase; pixels are the image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import netphys
from netphys.networks.own import GaborEnergy, Pixels, SmallAlexNet


def grating(wavelength: float, angle: float, phase: float, side: int = 96) -> torch.Tensor:
    """Return a grating of full contrast, (1, 3, y, x) in [0, 1]; `angle` is of its modulation, from the x axis."""
    y, x = torch.meshgrid(torch.arange(side) - side // 2.0, torch.arange(side) - side // 2.0, indexing="ij")
    wave = torch.cos(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength + phase)
    return (0.5 + 0.5 * wave).expand(1, 3, side, side)


def centre(network: torch.nn.Module, image: torch.Tensor, layer: str) -> np.ndarray:
    with netphys.hooks(network, layer) as tape, torch.no_grad():
        network(image)
    maps = tape[layer]
    return maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].numpy()


@pytest.mark.parametrize("scale", range(5))
def test_each_energy_unit_prefers_its_orientation_and_wavelength(scale: int) -> None:
    network = GaborEnergy()
    angles = [math.pi * step / 8 for step in range(8)]
    tuned = np.array([centre(network, grating(GaborEnergy.WAVELENGTHS[scale], a, 0.0), "energy") for a in angles])
    own = tuned[:, 8 * scale : 8 * scale + 8]
    assert own.argmax(0).tolist() == list(range(8))
    orthogonal = own[(np.arange(8) + 4) % 8, np.arange(8)]
    assert (orthogonal < 0.02 * own.max(0)).all()
    waves = [centre(network, grating(w, angles[0], 0.0), "energy")[::8] for w in GaborEnergy.WAVELENGTHS]
    assert np.array(waves)[:, scale].argmax() == scale


def test_energy_does_not_see_phase_and_simple_cells_do() -> None:
    network = GaborEnergy()
    phases = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    images = [grating(8.0, math.pi / 4, phase) for phase in phases]
    unit = 8 * 2 + 2  # wavelength 8, the third orientation
    energy = np.array([centre(network, image, "energy")[unit] for image in images])
    assert np.ptp(energy) / energy.mean() < 0.03
    simple = np.array([centre(network, image, "simple")[unit] for image in images])
    assert np.ptp(simple) / simple.mean() > 2 and (simple == 0).mean() >= 0.4  # control: half-rectified


def test_mean_luminance_is_not_seen_and_contrast_scales() -> None:
    network = GaborEnergy()
    flat = centre(network, torch.full((1, 3, 64, 64), 0.7), "energy")
    seen = grating(8.0, 0.0, 0.0)
    assert flat.max() < 1e-4 * centre(network, seen, "energy").max()
    half = centre(network, 0.5 + (seen - 0.5) / 2, "energy")
    assert np.allclose(2 * half[16], centre(network, seen, "energy")[16], rtol=1e-4)


def test_filters_have_mean_zero_and_norm_one() -> None:
    filters = GaborEnergy().filters
    assert filters.shape[:2] == (80, 1)
    assert filters.flatten(1).sum(1).abs().max() < 1e-4 and torch.allclose(
        filters.flatten(1).norm(dim=1), torch.ones(80)
    )
    even, odd = filters[:40], filters[40:]
    assert torch.allclose(even.flip(-1, -2), even, atol=1e-6) and torch.allclose(odd.flip(-1, -2), -odd, atol=1e-6)


def test_simple_cells_are_the_two_signs_of_both_phases() -> None:
    network, image = GaborEnergy(), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    simple, energy = centre(network, image, "simple"), centre(network, image, "energy")
    even, odd = simple[:40] - simple[80:120], simple[40:80] - simple[120:]
    assert np.allclose(np.hypot(even, odd), energy, rtol=1e-5)
    assert (np.minimum(simple[:80], simple[80:]) == 0).all()


def test_small_alexnet_has_the_shapes_it_says() -> None:
    table = netphys.layers(SmallAlexNet()).set_index("name")["shape"]
    assert table["conv1"] == (64, 32, 32) and table["conv3"] == (192, 8, 8) and table["pool5"] == (256, 4, 4)
    assert list(table.index[:4]) == ["conv1", "norm1", "relu1", "pool1"]


def test_pixels_are_the_image() -> None:
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(Pixels()(image), image)
