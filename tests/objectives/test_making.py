"""netphys.objectives.making, and what holds for every objective: no waiting for a device, state, plain options."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from netphys.errors import OptionError
from netphys.objectives import OBJECTIVES, make_objective
from netphys.objectives.making import check_options

NAMES = sorted(OBJECTIVES)


def test_the_registry() -> None:
    assert NAMES == ["colorization", "simclr", "supervised"]
    assert all(each.reference_paper for each in OBJECTIVES.values())


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("simclear", {}, r"no objective 'simclear'; near: 'simclr'"),
        ("simclr", {"temprature": 1}, r"the objective simclr has no option 'temprature'; near: 'temperature'"),
        ("simclr", {"trunk": 1}, r"the objective simclr has no option 'trunk'"),
        ("simclr", {"temperature": "warm"}, r"temperature of the objective simclr is a number, not 'warm'"),
        ("simclr", {"temperature": True}, r"temperature of the objective simclr is a number, not True"),
        ("simclr", {"projection": 1.5}, r"projection of the objective simclr is a whole number, not 1.5"),
        ("simclr", {"flip": 1}, r"flip of the objective simclr is true or false, not 1"),
        ("simclr", {"crop_scale": 0.4}, r"crop_scale of the objective simclr is a list of 2 numbers, not 0.4"),
        ("simclr", {"crop_scale": [0.4, "1"]}, r"crop_scale of the objective simclr is a list of 2 numbers"),
        ("supervised", {"n_classes": "8"}, r"n_classes of the objective supervised is a whole number, not '8'"),
        ("simclr", {"temperature": None}, r"temperature of the objective simclr is a number, not None"),
    ],
)
def test_what_is_refused_in_one_line(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text) as raised:
        check_options(name, options)
    assert "\n" not in str(raised.value)


def test_options_are_taken_as_files_give_them(objectives: Any) -> None:
    given = {"temperature": 1, "crop_scale": [0.5, 1], "flip": False, "hidden": 5}
    made = make_objective("simclr", objectives.small_trunk(), size=(16, 16), options=given)
    assert made.temperature == 1.0 and made.law.crop.scale == (0.5, 1.0) and made.projector[0].out_features == 5


@pytest.mark.parametrize("name", NAMES)
def test_options_said_make_the_same_objective(objectives: Any, name: str) -> None:
    said = objectives.made(name).options()
    again = make_objective(name, objectives.small_trunk(), size=(16, 16), options=json.loads(json.dumps(said)))
    assert again.options() == said
    with pytest.raises(OptionError) as raised:
        check_options(name, {"?": 0})
    assert all(repr(option) in str(raised.value) for option in said)  # none is forgotten


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_the_device(objectives: Any, name: str) -> None:
    """The CPU's twin of torch.cuda.set_sync_debug_mode: no value is fetched in forward and backward."""
    objective = objectives.made(name)
    batch = objectives.small_batch(name)

    def fetched(spoil: bool) -> int:
        with profile(activities=[ProfilerActivity.CPU]) as record:
            step = objectives.look(objective, batch)
            step.loss.backward()
            if spoil:
                float(step.loss.detach())
        return sum(
            each.count for each in record.key_averages() if each.key in ("aten::_local_scalar_dense", "aten::nonzero")
        )

    assert fetched(spoil=False) == 0
    assert fetched(spoil=True) == 1  # control


@pytest.mark.parametrize("name", NAMES)
def test_everything_learned_is_in_the_state(objectives: Any, name: str) -> None:
    objective = objectives.made(name)
    batch = objectives.small_batch(name)
    objectives.learn(objective, lambda step: batch, 3, 0.01)
    other = make_objective(name, objectives.small_trunk(seed=9), size=(16, 16))
    other.load_state_dict(objective.state_dict())
    objective.eval(), other.eval()
    assert torch.equal(objectives.look(objective, batch).loss, objectives.look(other, batch).loss)
    assert objective.reference(batch) == other.reference(batch)
    state = {key: each for key, each in objective.state_dict().items() if not key.startswith("trunk.0.weight")}
    with pytest.raises(RuntimeError, match="trunk.0.weight"):  # control: one thing is missing
        other.load_state_dict(state)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_is_in_one_group(objectives: Any, name: str) -> None:
    objective = objectives.made(name)
    batch = objectives.small_batch(name)
    objectives.learn(objective, lambda step: batch, 1, 0.01)  # a head that starts at zero sends nothing back at first
    objective.zero_grad()
    objectives.look(objective, batch).loss.backward()
    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in objective.parameters())
    grouped = [id(each) for group in objective.groups("main") for each in group.parameters]
    assert sorted(grouped) == sorted(map(id, objective.parameters()))
    assert all((each.ndim >= 2) == group.decay for group in objective.groups("main") for each in group.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_the_loss_is_in_full_precision(objectives: Any, name: str) -> None:
    objective = objectives.made(name)
    batch = objectives.small_batch(name)
    plain = objectives.look(objective, batch).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = objectives.look(objective, batch)
    assert step.loss.dtype == torch.float32
    assert step.loss.item() == pytest.approx(plain.item(), rel=0.02)  # convolutions are in bfloat16: 3 digits
    assert all(each.grad_fn is None for each in step.logs.values())


@pytest.mark.parametrize("name", NAMES)
def test_normalise_is_applied_to_what_the_trunk_sees(objectives: Any, name: str) -> None:
    seen: list[torch.Tensor] = []
    trunk = objectives.small_trunk()
    trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    batch = objectives.small_batch(name)
    for normalise in (None, lambda images: (images - 0.5) / 0.25):
        objective = make_objective(name, trunk, size=(16, 16), normalise=normalise)
        objective.fit_targets([batch])
        objectives.look(objective, batch)
    plain, normalised = (each for each in seen if len(each) > 2)  # constructions look at two blank images
    assert torch.allclose(normalised, (plain - 0.5) / 0.25, atol=1e-5)
