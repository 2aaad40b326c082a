"""netphys.objectives.colorization: what the trunk sees, the first loss, colours without an answer, a control."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from netphys.colorimetry import lab_to_srgb, lightness, srgb_to_lab
from netphys.errors import OptionError
from netphys.networks import Preprocess
from netphys.objectives import Clock, Colorization
from netphys.ranks import Alone


def test_the_first_loss_is_that_of_the_best_constant(objectives: Any) -> None:
    objective = objectives.made("colorization", target_side=8)
    batch = objectives.small_batch("colorization", 16, seed=5)  # the training set of `made`
    step, reference = objectives.look(objective, batch), objective.reference(batch)
    assert step.loss.item() == pytest.approx(reference["prior"], rel=1e-5)
    assert reference["oracle"] < reference["prior_by_place"] < reference["prior"] < reference["chance"]
    assert step.out["p"].shape == (16, 8, 8, objective.bins.n) and step.out["f"].shape == (16, 12)


def test_the_trunk_sees_lightness_and_nothing_else(objectives: Any) -> None:
    seen: list[torch.Tensor] = []
    trunk = objectives.small_trunk()
    trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    objective = objectives.made("colorization", trunk)
    batch = objectives.small_batch("colorization")
    objectives.look(objective, batch)
    expected = Colorization.preprocess(Preprocess())(batch["image"])  # what the recorded network will be shown
    assert torch.allclose(seen[-1], expected, atol=1e-6)
    assert torch.equal(seen[-1][:, 0], seen[-1][:, 2])
    grey = objective.colourise(batch["image"])
    again = objective.colourise((lightness(batch["image"]) / 100).expand(-1, 3, -1, -1))
    assert grey.shape == again.shape and not torch.allclose(grey, again)  # L / 100 is not the sRGB of that lightness


def test_targets_are_averaged_in_lab_not_in_bytes(objectives: Any) -> None:
    objective = objectives.made("colorization", target_side=8)
    red_green = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).T.view(3, 1, 2).repeat(1, 16, 8)[None]
    ab = objective._ab(srgb_to_lab(red_green))[0, :, 0, 0]
    both = srgb_to_lab(red_green)[0, 1:, 0, :2]
    assert torch.allclose(ab, both.mean(1), atol=1e-4)
    mixed = srgb_to_lab(red_green.mean(3, keepdim=True))[0, 1:, 0, 0]
    assert (ab - mixed).norm() > 20  # control


def two_colours(n: int = 64) -> dict[str, torch.Tensor]:
    """Images of one grey pattern of lightness, half of them red, half green, both of lightness about 50."""
    # at 50 the green would be clipped, and its lightness would tell it
    a = torch.tensor([40.0, -40.0]).repeat_interleave(n // 2)
    lab = torch.stack([torch.full((n,), 50.0), a, torch.full((n,), 30.0)], 1)
    return {"image": lab_to_srgb(lab[:, :, None, None].expand(-1, -1, 16, 16))}


def test_regression_gives_grey_where_classification_gives_a_colour(objectives: Any) -> None:
    batch = two_colours(16)
    lab = srgb_to_lab(batch["image"])
    assert (lab[:, 0] - 50).abs().max() < 1e-3  # nothing tells them apart
    trunk = torch.nn.Sequential(*objectives.small_trunk(norm=False), torch.nn.Conv2d(12, 2, 1))
    torch.nn.init.zeros_(trunk[-1].weight)
    optimizer = torch.optim.Adam(trunk.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        predicted = trunk((lab[:, :1] / 100).expand(-1, 3, -1, -1))
        (predicted - lab[:, 1:, ::4, ::4]).square().mean().backward()
        optimizer.step()
    assert predicted[:, 0].abs().mean() < 5  # a: neither red nor green
    objective = objectives.made("colorization", target_side=4)
    objective.fit_targets([{"image": two_colours(34)["image"][:33]}])  # one green less, so that there is a mode
    objectives.learn(objective, lambda step: {"image": two_colours(34)["image"][:33]}, 10, 0.01)
    painted = srgb_to_lab(objective.colourise(batch["image"], temperature=0))
    assert painted[:, 1].abs().mean() > 30  # saturated
    mean = srgb_to_lab(objective.colourise(batch["image"], temperature=1))
    assert mean[:, 1].abs().mean() < 10


def coloured_by_lightness(n: int, *, seed: int) -> dict[str, torch.Tensor]:
    """Dark images are blue, bright ones are yellow: a law of colour."""
    level = torch.rand(n, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    noise = 0.05 * torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed + 1))
    tint = torch.where(
        level > 0.5, torch.tensor([0.1, 0.0, -0.3]).view(3, 1, 1), torch.tensor([-0.1, 0, 0.3]).view(3, 1, 1)
    )
    return {"image": (0.2 + 0.6 * level + noise + tint).clamp(0, 1)}


def test_a_law_of_colour_is_learned_and_not_from_the_lightness_of_another(objectives: Any) -> None:
    """Control of the definition: L shuffled among images stays at the prior."""
    fit, held = coloured_by_lightness(256, seed=0), coloured_by_lightness(64, seed=50)
    losses = {}
    for shuffle in (False, True):
        objective = objectives.made("colorization", target_side=4, shuffle=shuffle)
        objective.fit_targets([fit])
        objectives.learn(objective, lambda step: coloured_by_lightness(32, seed=100 + 2 * step), 40, 0.01)
        with torch.no_grad():  # in train mode: the running statistics of norms lag behind 40 steps
            losses[shuffle] = objectives.look(objective, held).loss.item()
        reference = objective.reference(held)
    assert losses[False] < reference["prior"] - 0.3 * (reference["prior"] - reference["oracle"])
    assert losses[True] > reference["prior"] - 0.1 * (reference["prior"] - reference["oracle"])


def sky_and_grass(n: int, *, seed: int) -> dict[str, torch.Tensor]:
    """Blue above, green below, of any lightness: place tells the colour."""
    draw = torch.Generator().manual_seed(seed)
    level = 0.3 + 0.4 * torch.rand(n, 1, 16, 16, generator=draw)
    tint = torch.tensor([[-0.1, 0.0, 0.3], [-0.1, 0.2, -0.2]]).T[None, :, :, None]
    return {"image": level + tint.repeat_interleave(8, 2)}


def test_the_shuffled_control_learns_where_the_sky_is_and_no_more(objectives: Any) -> None:
    objective = objectives.made("colorization", target_side=4, shuffle=True)
    objective.fit_targets([sky_and_grass(256, seed=0)])
    reference = objective.reference(sky_and_grass(64, seed=50))
    assert reference["prior_by_place"] < reference["prior"] - 0.5
    loss = objectives.learn(objective, lambda step: sky_and_grass(32, seed=100 + step), 60, 0.02)
    assert reference["prior_by_place"] - 0.05 < loss < reference["prior"] - 0.3


def test_shuffling_never_leaves_an_image_its_own_lightness(objectives: Any) -> None:
    seen: list[torch.Tensor] = []
    trunk = objectives.small_trunk()
    objective = objectives.made("colorization", trunk, shuffle=True)
    trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    batch = objectives.small_batch("colorization", 5)
    own = lightness(batch["image"]) / 100
    for step in range(9):
        objectives.look(objective, batch, step=step)
        assert all(not torch.allclose(a[:1], b) for a, b in zip(seen[-1], own))
    assert torch.equal(seen[0], seen[4]) and not torch.equal(seen[0], seen[1])  # by the step alone


def test_weights_are_those_of_the_target(objectives: Any) -> None:
    """Moving all predictions to a rare bin leaves the weights as they are."""
    objective = objectives.made("colorization", target_side=4)
    batch = objectives.small_batch("colorization")
    indices, shares = objective.bins.encode(
        objective._ab(srgb_to_lab(batch["image"])).permute(0, 2, 3, 1).reshape(-1, 2)
    )
    weights = objective.bins.rarity[indices[:, 0]]
    with torch.no_grad():
        objective.decoder.head.bias.zero_()[objective.bins.rarity.argmax()] = 5.0
    logs = objective.decoder.head.bias.detach().log_softmax(0)
    expected = -(weights * (shares * logs[indices]).sum(1)).mean()
    assert objectives.look(objective, batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_rebalancing_colours_are_duller(objectives: Any) -> None:
    """One image in eight is colourful; nothing tells which."""
    images = torch.full((64, 3, 16, 16), 0.5)
    images[::8] = torch.tensor([0.75, 0.4, 0.45]).view(3, 1, 1)
    images += 0.02 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    ratio = {}
    for rebalance in (True, False):
        objective = objectives.made("colorization", target_side=4, rebalance=rebalance)
        objective.fit_targets([{"image": images}])
        ratio[rebalance] = objective.chroma_ratio(images, temperature=1.0).item()
    assert ratio[True] > 1.3 * ratio[False]


def test_bits(objectives: Any) -> None:
    objective = objectives.made("colorization", target_side=8)
    objective.fit_targets([two_colours()])
    reference = objective.reference(two_colours())
    found = objective.bits({**reference, "held_out": reference["prior"]})
    assert found.offered == pytest.approx(64) and found.used == 0  # one bit a place
    assert objective.entropy_rate() == pytest.approx(0, abs=1e-3)  # and none beside a neighbour
    assert objective.bits({**reference, "held_out": reference["prior"] - math.log(2)}).used == pytest.approx(64)


def test_state_goes_to_an_objective_of_another_training_set(objectives: Any) -> None:
    objective, other = (objectives.made("colorization", target_side=4) for _ in range(2))
    objective.fit_targets([two_colours()])
    objectives.learn(objective, lambda step: two_colours(8), 2, 0.01)
    held = next(iter(other.decoder.head.parameters()))
    other.load_state_dict(objective.state_dict())
    assert next(iter(other.decoder.head.parameters())) is held  # what an optimizer holds
    batch = two_colours(4)
    assert torch.equal(objectives.look(other.eval(), batch).loss, objectives.look(objective.eval(), batch).loss)


def test_colourising_keeps_the_lightness_and_the_mode(objectives: Any) -> None:
    objective = objectives.made("colorization")
    images = 0.3 + 0.4 * torch.rand(2, 1, 16, 16).expand(-1, 3, -1, -1)
    painted = objective.colourise(images)
    assert (lightness(painted) - lightness(images)).abs().max() < 0.5 and objective.training
    logs = objectives.look(objective.eval(), objectives.small_batch("colorization")).logs
    assert set(logs) == {"loss", "nats", "chroma_ratio"}


@pytest.mark.parametrize(("side", "target"), [(4, 16), (8, 16), (16, 16), (16, 4), (3, 16)])
def test_trunks_of_any_map(side: int, target: int) -> None:
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.AdaptiveAvgPool2d(side))
    objective = Colorization(trunk, size=(16, 16), target_side=target)
    batch = {"image": torch.rand(4, 3, 16, 16)}
    objective.fit_targets([batch])
    assert objective(batch, "main", Clock(0, 1, 0), Alone()).out["p"].shape[1:3] == (target, target)


def test_what_is_refused(objectives: Any) -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 5))
    with pytest.raises(OptionError, match=r"of shape \(n, 5\); a decoder needs a map"):
        Colorization(flat, size=(16, 16))
    objective = Colorization(objectives.small_trunk(), size=(16, 16))
    with pytest.raises(OptionError, match="call fit_targets first"):
        objectives.look(objective, objectives.small_batch("colorization"))
    with pytest.raises(OptionError, match="target_side=99 is not between 1 and the image's 16 pixels"):
        Colorization(objectives.small_trunk(), size=(16, 16), target_side=99)
