"""netphys.objectives.supervised: the first loss, its gradient, memory, the floor of smoothing, and a control."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from netphys.errors import OptionError
from netphys.objectives import make_objective


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_first_loss_is_ln_q_exactly(objectives: Any, smoothing: float) -> None:
    objective = objectives.made("supervised", n_classes=4, smoothing=smoothing)
    step = objectives.look(objective, objectives.small_batch("supervised"))
    assert step.loss.item() == torch.tensor(4.0).log().item()
    assert step.out["f"].shape == (8, 12) and not step.logs["loss"].requires_grad


def test_gradient_of_the_logits(objectives: Any) -> None:
    """(p - y) / B, through the bias of the head, whose gradient is its sum over the batch."""
    objective = objectives.made("supervised", objectives.small_trunk(norm=False).double(), n_classes=4).double()
    with torch.no_grad():
        objective.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    batch = {name: each.double() if each.is_floating_point() else each
             for name, each in objectives.small_batch("supervised").items()}  # fmt: skip
    step = objectives.look(objective, batch)
    gradient = torch.autograd.grad(step.loss, [step.out["p"]], retain_graph=True)[0]
    expected = (step.out["p"].softmax(1) - torch.nn.functional.one_hot(batch["label"], 4)) / 8
    assert torch.allclose(gradient, expected, atol=1e-15)
    assert torch.allclose(torch.autograd.grad(step.loss, [objective.head.bias])[0], expected.sum(0), atol=1e-14)


def noise(n: int, *, seed: int) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def memory(objectives: Any) -> Any:
    """An objective whose trunk keeps places: it has parameters enough to know 64 images by heart."""
    trunk = torch.nn.Sequential(*objectives.small_trunk(), torch.nn.Flatten())
    return objectives.made("supervised", trunk, n_classes=4)


def test_64_images_are_memorised(objectives: Any) -> None:
    batch = {"image": noise(64, seed=1), "label": torch.randint(4, (64,), generator=torch.Generator().manual_seed(2))}
    assert objectives.learn(memory(objectives), lambda step: batch, 50, 0.02) < 0.01


def coloured(n: int, *, seed: int) -> dict[str, torch.Tensor]:
    """Noise whose brightest channel (of three), or none, is the class."""
    labels = torch.arange(n) % 4
    tint = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])[labels]
    return {"image": 0.7 * noise(n, seed=seed) + 0.3 * tint[:, :, None, None], "label": labels}


def accuracy(objectives: Any, objective: Any, batch: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        return float(objectives.look(objective.eval(), batch).logs["accuracy"])


def test_permuted_labels_are_memorised_and_not_known(objectives: Any) -> None:
    """Control of the definition: labels permuted once. The same training with its own labels generalises."""
    train, held = coloured(64, seed=3), coloured(400, seed=4)
    permuted = {**train, "label": torch.arange(64) // 4 % 4}  # every class has each label equally often
    right, wrong = memory(objectives), memory(objectives)
    objectives.learn(right, lambda step: train, 30, 0.02)
    assert accuracy(objectives, right, held) > 0.7
    assert objectives.learn(wrong, lambda step: permuted, 50, 0.02) < 0.05
    # 3 sd of 1/4 for 64: what was learned by heart are 64 labels, however many images are then asked about
    assert abs(accuracy(objectives, wrong, held) - 0.25) < 3 * math.sqrt(0.25 * 0.75 / 64)


def test_the_control_of_the_objective_stays_at_chance(objectives: Any) -> None:
    """Better than ln Q on held-out samples by less than 3 standard errors of trainings; with their own labels by more.

    Accuracy would tell little: a network that knows nothing still names one colour alike, right or wrong at once.
    """
    train, held = coloured(64, seed=3), coloured(200, seed=4)

    def gain(seed: int, options: dict[str, Any]) -> float:
        draw = torch.Generator().manual_seed(seed)

        def shown(step: int) -> dict[str, torch.Tensor]:  # in another order each step, as a training shows them
            order = torch.randperm(64, generator=draw)
            return {name: each[order] for name, each in train.items()}

        objective = objectives.made("supervised", n_classes=4, **options)
        objectives.learn(objective, shown, 15, 0.01)
        with torch.no_grad():
            return math.log(4) - float(objectives.look(objective.eval(), held).loss)

    (control,) = objectives.made("supervised", n_classes=4).control().values()
    for options, few, many in ((control, -math.inf, 3), ({}, 3, math.inf)):
        gains = torch.tensor([gain(seed, options) for seed in range(5)])
        assert few < float(gains.mean() / (gains.std() / 5**0.5)) < many


def test_references_and_the_floor_of_smoothing(objectives: Any) -> None:
    objective = objectives.made("supervised", n_classes=4, smoothing=0.1)
    batch = objectives.small_batch("supervised", 16)
    found = objective.reference(batch)
    assert found["chance"] == math.log(4) and found["prior"] == pytest.approx(math.log(4))  # four equal classes
    p = 0.9 + 0.1 / 4
    assert found["oracle"] == pytest.approx(-p * math.log(p) - 3 * 0.025 * math.log(0.025))
    with torch.no_grad():  # a perfect head: logits are the logarithm of the smoothed target
        perfect = torch.full((16, 4), 0.025).scatter(1, batch["label"][:, None], p).log()
    loss = torch.nn.functional.cross_entropy(perfect, batch["label"], label_smoothing=0.1)
    assert loss.item() == pytest.approx(found["oracle"], abs=1e-6)


def test_bits_of_a_coin(objectives: Any) -> None:
    objective = make_objective("supervised", objectives.small_trunk(), size=objectives.SIZE, options={"n_classes": 2})
    coin = {"image": noise(8, seed=1), "label": torch.arange(8) % 2}
    objective.fit_targets([coin])
    reference = objective.reference(coin)
    known = objective.bits({**reference, "held_out": 0.0})
    assert known.offered == pytest.approx(1, abs=1e-12) and known.used == pytest.approx(1, abs=1e-12)  # float64
    half = objective.bits({**reference, "held_out": reference["prior"] / 2})
    assert half.used == pytest.approx(0.5, abs=1e-12)
    assert objective.bits({**reference, "held_out": reference["prior"]}).used == 0
    assert objective.bits({**reference, "held_out": 9.0}).used == 0


def test_names_of_classes_are_in_the_state(objectives: Any) -> None:
    objective = objectives.made("supervised")
    objective.set_classes(["bird", "Käfer", "車"])
    objective.fit_targets([{"label": torch.tensor([0, 1, 2, 2])}])
    objectives.learn(objective, lambda step: {"image": noise(4, seed=0), "label": torch.tensor([0, 1, 2, 2])}, 2, 0.1)
    other = objectives.made("supervised")  # thinks of four classes
    other.load_state_dict(objective.state_dict())
    assert other.classes == ("bird", "Käfer", "車") and other.counts.tolist() == [1, 1, 2]
    batch = {"image": noise(4, seed=1), "label": torch.tensor([0, 1, 2, 0])}
    assert torch.equal(objectives.look(other.eval(), batch).loss, objectives.look(objective.eval(), batch).loss)


def test_what_is_refused(objectives: Any) -> None:
    objective = objectives.made("supervised", n_classes=4)
    with pytest.raises(OptionError, match=r"label 7 is outside the 4 classes"):
        objective.fit_targets([{"label": torch.tensor([0, 7])}])
    with pytest.raises(OptionError, match=r"n_classes=4, but the labels have 2 classes"):
        objective.set_classes(["a", "b"])
    with pytest.raises(OptionError, match="two or more different names"):
        objective.set_classes(["a", "a"])
    with pytest.raises(OptionError, match=r"smoothing=1\.0 is no share"):
        objectives.made("supervised", smoothing=1.0)
    with pytest.raises(OptionError, match="nothing to tell apart below 2"):
        objectives.made("supervised", n_classes=1)
    with pytest.raises(OptionError, match=r"all 2 labels are of one class"):
        objectives.made("supervised").__class__(objectives.small_trunk(), size=(16, 16)).fit_targets(
            [{"label": torch.tensor([0, 0])}]
        )
