"""netphys.objectives.simclr: which rows are partners, what is asked for, what the numbers say, and its shortcuts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from netphys.errors import OptionError
from netphys.objectives import make_objective
from netphys.objectives.contrast import ntxent, stacked_partners
from netphys.stimuli.views import apply_views


def test_both_views_of_a_sample_are_partners(objectives: Any) -> None:
    objective = objectives.made("simclr").eval()
    batch = objectives.small_batch("simclr", 6)
    step = objectives.look(objective, batch)
    f = objective.trunk(batch["image"][:, 1]).mean((2, 3))  # the second views alone
    assert torch.allclose(step.out["f"][6:], f, atol=1e-6) and step.out["z"].shape == (12, 64)
    assert step.loss.item() == pytest.approx(ntxent(step.out["z"], stacked_partners(12), temperature=0.2).item())
    equal = {"image": batch["image"][:, :1].expand(-1, 2, -1, -1, -1)}
    assert objectives.look(objective, equal).logs["accuracy"] == 1
    mixed = {"image": torch.stack([batch["image"][:, 0], batch["image"][:, 0].roll(1, 0)], 1)}  # control
    assert objectives.look(objective, mixed).logs["accuracy"] == 0


def test_equal_images_are_at_chance(objectives: Any) -> None:
    objective = objectives.made("simclr").eval()
    batch = {"image": torch.full((6, 2, 3, 16, 16), 0.3)}
    step = objectives.look(objective, batch)
    chance = objective.reference(batch)["chance"]
    assert chance == math.log(11) and step.loss.item() == pytest.approx(chance, abs=1e-5)
    found = objective.bits({"chance": chance, "held_out": step.loss.item()})
    assert found.offered == pytest.approx(math.log2(11)) and found.used == pytest.approx(0, abs=1e-5)
    assert objective.bits({"chance": chance, "held_out": 0.0}).used == pytest.approx(math.log2(11))


def test_what_is_asked_of_the_loader(objectives: Any) -> None:
    spec = objectives.made("simclr").needs["image"]
    law = spec.law
    assert spec.group == 2 and spec.shape == (3, 16, 16) and law.size == (16, 16)
    assert law.crop.scale == (0.4, 1.0) and law.flip == 0.5 and law.grey == 0.2 and law.blur is None
    jitter = law.jitter
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue, jitter.p) == (0.4, 0.4, 0.4, 0.1, 0.8)


def test_controls_take_away_what_they_say(objectives: Any) -> None:
    objective = objectives.made("simclr")
    laws = {
        name: make_objective("simclr", objectives.small_trunk(), size=(16, 16), options=options).needs["image"].law
        for name, options in objective.control().items()
    }
    bare = laws["no augmentation"]
    assert bare.crop is None and bare.jitter is None and bare.flip == bare.grey == 0
    assert laws["no colour jitter"].jitter is None and laws["no colour jitter"].crop == objective.law.crop


def test_without_augmentation_it_is_solved_at_once(objectives: Any) -> None:
    """Control: with the law of views the same steps leave the loss where it was."""
    law = objectives.made("simclr").needs["image"].law
    images = objectives.small_batch("supervised", 24, seed=3)["image"]

    def views(step: int, augmented: bool) -> dict[str, torch.Tensor]:
        if not augmented:
            return {"image": images[:, None].expand(-1, 2, -1, -1, -1)}
        tables = [law.table(range(24), seed=0, epoch=step, view=view, image_size=(16, 16)) for view in (0, 1)]
        return {"image": torch.stack([apply_views(images, law, table) for table in tables], 1)}

    losses = {
        augmented: objectives.learn(objectives.made("simclr"), lambda step, a=augmented: views(step, a), 10, 0.01)
        for augmented in (False, True)
    }
    assert losses[False] < 0.6 * losses[True]


def test_what_is_refused(objectives: Any) -> None:
    with pytest.raises(OptionError, match="temperature=0.0 is not above 0"):
        objectives.made("simclr", temperature=0)
    with pytest.raises(OptionError, match=r"crop_scale=\[0.5, 0.2\] is no \(smallest, largest\) share"):
        objectives.made("simclr", crop_scale=[0.5, 0.2])
    with pytest.raises(OptionError, match=r"jitter=3.0 is no strength in \[0, 2.5\]"):
        objectives.made("simclr", jitter=3)
    with pytest.raises(OptionError, match=r"grey=2.0 is no share"):
        objectives.made("simclr", grey=2)
    with pytest.raises(OptionError, match="projection=0 and hidden=None are widths"):
        objectives.made("simclr", projection=0)
