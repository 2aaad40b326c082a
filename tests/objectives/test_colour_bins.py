"""netphys.objectives.colour_bins: which bins there are, soft encoding, rarity, annealed mean, and the way to a file."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from netphys.colorimetry import lab_to_srgb, srgb_to_lab
from netphys.errors import OptionError
from netphys.objectives.colour_bins import ColourBins, gamut_bins
from netphys.objectives.soft_labels import soft_cross_entropy


def colours(n: int = 6, side: int = 8, *, seed: int = 0) -> torch.Tensor:
    """ab (n, 2, side, side) of random colours."""
    draw = torch.Generator().manual_seed(seed)
    tint = torch.rand(n, 3, 1, 1, generator=draw)
    return srgb_to_lab(0.5 * tint + 0.5 * torch.rand(n, 3, side, side, generator=draw))[:, 1:]


def rows(ab: torch.Tensor) -> torch.Tensor:
    return ab.permute(0, 2, 3, 1).reshape(-1, 2)


def fitted(**options: object) -> ColourBins:
    bins = ColourBins(**options)  # type: ignore[arg-type]
    bins.fit(colours())
    return bins


def test_261_bins_of_which_229_have_a_centre_that_a_screen_shows() -> None:
    bins = gamut_bins()
    assert bins.shape == (261, 2) and bins.dtype == np.float32
    centres = torch.from_numpy(bins).double()
    light = torch.linspace(0, 100, 1001, dtype=torch.float64)  # in steps of 0.5 three are missed
    lab = torch.stack([light.expand(261, -1), *(centres[:, i, None].expand(-1, 1001) for i in (0, 1))], 1)
    shown = lab_to_srgb(lab[:, :, :, None], clip=False)
    assert int(((shown >= 0) & (shown <= 1)).all(1).any(1).sum()) == 229


@pytest.mark.slow
def test_all_16_million_colours_fall_into_the_same_bins() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    plane = torch.cartesian_prod(levels, levels)
    found: set[tuple[int, int]] = set()
    for red in levels:
        lab = srgb_to_lab(torch.cat([red.expand(len(plane), 1), plane], 1)[:, :, None])
        cells = torch.round(lab[:, 1:, 0] / 10).to(torch.int64)
        found |= {(a, b) for a, b in torch.unique(cells, dim=0).tolist()}
    assert found == {(round(a / 10), round(b / 10)) for a, b in gamut_bins().tolist()}


def test_soft_encoding_is_that_of_the_five_nearest_of_all() -> None:
    for bins in (ColourBins(), fitted()):
        ab = rows(colours(40, seed=1))
        indices, shares = bins.encode(ab)
        squared, nearest = torch.cdist(ab.double(), bins.centres.double()).square().topk(5, largest=False)
        expected = torch.exp(-squared / (2 * 5**2))
        # 2e-4: squared distances of some 100 in float32; ties may be in any order, and then have equal shares
        assert torch.allclose(shares.double(), expected / expected.sum(1, keepdim=True), atol=2e-4)
        assert (indices == nearest).float().mean() > 0.999
        assert torch.allclose(shares.sum(1), torch.ones(len(ab)), atol=1e-6)


def test_a_centre_is_its_own_bin_and_grey_has_four_equal_neighbours() -> None:
    bins = ColourBins()
    indices, shares = bins.encode(bins.centres)
    assert torch.equal(indices[:, 0], torch.arange(bins.n))
    _, of_grey = bins.encode(torch.zeros(1, 2))
    assert of_grey[0, 1:].std() < 1e-6 and of_grey[0, 0] / of_grey[0, 1] == pytest.approx(math.exp(2), rel=1e-5)


def test_annealed_mean_from_the_mean_to_the_nearest_centre() -> None:
    bins, ab = fitted(), rows(colours(seed=2))
    indices, shares = bins.encode(ab)
    logits = torch.full((len(ab), bins.n), -1e4).scatter(1, indices, shares.log())
    nearest = bins.centres[indices[:, 0]]
    assert torch.equal(bins.decode(logits, 0), nearest)
    clear = shares[:, 0] > 1.5 * shares[:, 1]
    assert (bins.decode(logits, 0.01) - nearest)[clear].abs().max() < 1e-3
    mean = (shares[:, :, None] * bins.centres[indices]).sum(1)
    assert (bins.decode(logits, 1) - mean).abs().max() < 1e-3
    distance = [(bins.decode(logits, t) - nearest).norm(dim=1).mean().item() for t in (1, 0.38, 0.1, 0)]
    assert distance == sorted(distance, reverse=True) and distance[-1] == 0


def test_weights_have_mean_1_under_the_smoothed_prior() -> None:
    bins = fitted()
    assert (bins.smoothed * bins.rarity).sum().item() == pytest.approx(1, abs=1e-5)
    assert bins.frequency.sum().item() == pytest.approx(1, abs=1e-5) and bins.frequency.min() > 0
    inverse = 1 / (0.5 * bins.smoothed + 0.5 / bins.n)
    assert torch.allclose(bins.rarity / bins.rarity[0], inverse / inverse[0], rtol=1e-4)
    assert bins.rarity[bins.smoothed.argmax()] == bins.rarity.min()
    assert torch.equal(fitted(rebalance=False).rarity, torch.ones(bins.n))
    assert fitted(mix=1.0).rarity.std() < 1e-5  # as even as it gets


def test_the_best_constant_reaches_the_weighted_entropy_and_no_other_does() -> None:
    bins = fitted()
    indices, shares = bins.encode(rows(colours()))
    weights = bins.rarity[indices[:, 0]]

    def loss_of(prediction: torch.Tensor) -> float:
        return soft_cross_entropy(prediction.log().expand(len(indices), -1), indices, shares, weights).item()

    entropy = torch.special.entr(bins.constant).sum().item() * weights.mean().item()
    assert loss_of(bins.constant) == pytest.approx(entropy, rel=1e-5)
    assert loss_of(torch.full((bins.n,), 1 / bins.n)) == pytest.approx(
        weights.mean().item() * math.log(bins.n), rel=1e-5
    )
    assert loss_of(bins.frequency) > entropy + 1e-3  # control: the prior of colours is not that of weighed targets


def test_the_best_constant_of_every_place() -> None:
    ab = colours(300, 2, seed=4)
    bins = ColourBins(rebalance=False)
    bins.fit(ab)
    indices, shares = bins.encode(rows(ab))
    dense = torch.zeros(len(indices), bins.n).scatter_add(1, indices, shares).view(300, 4, bins.n)
    expected = (dense.sum(0) + bins.constant) / 301
    assert torch.allclose(bins.constant_by_place, expected, atol=1e-6)
    assert torch.allclose(bins.constant, dense.mean((0, 1)), atol=1e-6)


def test_only_bins_that_occur() -> None:
    kept, every = fitted(), fitted(occurring=False)
    assert kept.n < every.n == 261
    assert torch.equal(every.centres[every.frequency > 0], kept.centres)
    assert torch.allclose(every.frequency[every.frequency > 0], kept.frequency)


def test_entropy_of_neighbours() -> None:
    alternating = torch.tensor([[0.0, 80.0], [67.0, 0.0]])[torch.arange(16) % 2].T.reshape(1, 2, 1, 16)
    bins = ColourBins()
    bins.fit(alternating.expand(3, -1, 8, -1))
    assert torch.special.entr(bins.frequency).sum().item() == pytest.approx(math.log(2))
    assert bins.neighbour_entropy.item() == pytest.approx(0, abs=1e-6)
    noise = alternating[..., torch.randint(2, (16 * 4000,), generator=torch.Generator().manual_seed(0))]
    bins.fit(noise.reshape(1, 2, 400, 160))
    assert bins.neighbour_entropy.item() == pytest.approx(math.log(2), abs=1e-3)


def test_state_goes_to_bins_of_another_training_set() -> None:
    bins, other = fitted(), ColourBins()
    other.fit(colours(2, seed=9))
    assert other.n != bins.n
    other.load_state_dict(bins.state_dict())
    ab = rows(colours(seed=3))
    assert all(torch.equal(a, b) for a, b in zip(other.encode(ab), bins.encode(ab))) and other.fitted
    fresh = ColourBins()
    fresh.load_state_dict(ColourBins().state_dict())
    assert not fresh.fitted


def test_one_colour_is_refused() -> None:
    with pytest.raises(OptionError, match=r"all images have one colour \(a, b near 20, -30\)"):
        ColourBins().fit(torch.tensor([20.0, -30.0]).view(1, 2, 1, 1).expand(4, -1, 3, 3))
    with pytest.raises(OptionError, match="mix=2 is no share"):
        ColourBins(mix=2)
    with pytest.raises(OptionError, match="temperature=3 of the annealed mean"):
        ColourBins().decode(torch.zeros(1, 261), 3)


def test_soft_cross_entropy_against_the_dense_form() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 11, generator=draw, dtype=torch.float64, requires_grad=True)
    indices = torch.stack([torch.randperm(11, generator=draw)[:3] for _ in range(7)])
    shares = torch.rand(7, 3, generator=draw, dtype=torch.float64)
    weights = torch.rand(7, generator=draw, dtype=torch.float64)
    target = torch.zeros(7, 11, dtype=torch.float64).scatter(1, indices, shares)
    dense = -(weights[:, None] * target * logits.log_softmax(1)).sum(1).mean()
    loss = soft_cross_entropy(logits, indices, shares, weights)
    assert loss.item() == pytest.approx(dense.item(), abs=1e-14)
    assert torch.autograd.gradcheck(lambda each: soft_cross_entropy(each, indices, shares, weights), (logits,))
    gradient = torch.autograd.grad(loss, logits)[0]
    assert torch.allclose(gradient, torch.autograd.grad(dense, logits)[0], atol=1e-15)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = soft_cross_entropy(logits.detach().bfloat16(), indices, shares.float(), weights.float())
    assert half.dtype == torch.float32 and half.item() == pytest.approx(dense.item(), rel=0.02)


def test_a_colour_that_no_training_image_shows_has_a_finite_loss() -> None:
    red, blue = (torch.tensor(each)[None, :, None, None].expand(4, 2, 4, 4).clone() for each in ([60.0, 40], [20, -80]))
    near = red.clone()
    near[:, 0, :2] = 40  # two colours, far from the other
    bins = ColourBins(occurring=False)
    bins.fit(near)
    indices, shares = bins.encode(rows(blue))
    assert (bins.frequency[indices] == 0).all()
    for constant in (bins.constant, bins.constant_by_place[0]):
        assert float(constant.min()) > 0 and float(constant.sum()) == pytest.approx(1, abs=1e-5)  # float32
        loss = soft_cross_entropy(constant.log().expand(len(indices), -1), indices, shares)
        assert 0 < float(loss) < math.log(261 * (4 * 16 * 10))  # of 64 places, none rarer than one in 10 by its weight
    assert torch.isfinite(fitted().constant.log()).all()  # with the bins that occur nothing is added
