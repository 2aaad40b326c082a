"""Networks that look at several fields of a stimulus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError, StimulusError
from netphys.networks import Network, Preprocess
from netphys.recording.showing import padded, prepared, shown


class Both(nn.Module):
    """Two eyes, one convolution for both, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.join = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(8, 2, 1, bias=False)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.join(torch.cat([self.eye(left), self.eye(right)], 1))


class Hears(nn.Module):
    """An image and its sound."""

    def __init__(self) -> None:
        super().__init__()
        self.ear, self.eye = nn.Linear(16, 4), nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        return self.eye(image).mean((2, 3)) * self.ear(sound)


class Fields:
    """A source of several fields, drawn at random."""

    def __init__(self, n: int, **shapes: tuple[int, ...]) -> None:
        draw = np.random.default_rng(0)
        self.fields = tuple(shapes)
        self.values: dict[str, Any] = {
            name: torch.from_numpy(
                draw.integers(0, 256, (n, *shape), dtype=np.uint8)
                if len(shape) == 3
                else draw.standard_normal((n, *shape)).astype(np.float32)
            )
            for name, shape in shapes.items()
        }

    def read(self, field: str, indices: np.ndarray) -> torch.Tensor:
        return self.values[field][indices]

    def digests(self, indices: np.ndarray) -> list[int]:
        return [int(index) for index in indices]


def _stimuli(n: int, **shapes: tuple[int, ...]) -> tuple[netphys.StimulusSet, dict[str, torch.Tensor]]:
    import pandas as pd

    source = Fields(n, **shapes)
    table = pd.DataFrame({"stimulus_id": [f"s{each}" for each in range(n)]})
    return netphys.StimulusSet(source, table, name="pairs"), source.values


def test_two_eyes_are_recorded_as_by_hand() -> None:
    stimuli, values = _stimuli(7, left=(3, 8, 8), right=(3, 8, 8))
    net = Both()
    recording = netphys.record(Network(net, fields=("left", "right")), stimuli, layers="all", batch_size=4)
    left, right = (values[each].float() / 255 for each in ("left", "right"))
    assert {"eye", "eye#2", "join"} <= set(recording.layers)
    for layer, expected in {"eye": net.eye(left), "eye#2": net.eye(right), "join": net(left, right)}.items():
        # a batch of four and one of seven differ in the last bits
        assert np.allclose(recording.array(layer), expected.detach(), rtol=1e-5, atol=1e-6)
    swapped = netphys.record(Network(net, fields=("right", "left")), stimuli, layers="eye", batch_size=4)
    assert np.array_equal(swapped.array("eye"), recording.array("eye#2"))  # control: the order is that of `fields`
    assert (
        swapped.header["digest"]
        != netphys.record(Network(net, fields=("left", "right")), stimuli, layers="eye", batch_size=4).header["digest"]
    )


def test_an_image_with_its_sound_and_gradients() -> None:
    stimuli, values = _stimuli(5, image=(3, 6, 6), sound=(16,))
    net = Hears()
    network = Network(net, Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), fields=("image", "sound"))
    recording = netphys.record(network, stimuli, layers=["ear", "eye"], batch_size=2, gradient_of="output[1]")
    seen = (values["image"].float() / 255 - 0.5) / 0.5
    assert np.allclose(recording.array("ear"), net.ear(values["sound"]).detach(), rtol=1e-5, atol=1e-6)
    assert np.allclose(recording.array("eye"), net.eye(seen).detach(), rtol=1e-5, atol=1e-6)
    by_hand = torch.zeros(5, 4)
    by_hand[:, 1] = net.eye(seen).mean((2, 3))[:, 1]
    assert np.allclose(recording.array("ear/gradient"), by_hand.detach(), rtol=1e-5, atol=1e-6)


def test_stimuli_that_mix_are_seen_by_either_field() -> None:
    class Mixes(Both):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.join(torch.cat([self.eye(left), self.eye(right - right.mean(0, keepdim=True))], 1))

    stimuli, _ = _stimuli(4, left=(3, 8, 8), right=(3, 8, 8))
    network = Network(Mixes(), fields=("left", "right"))
    netphys.record(network, stimuli, layers="eye")  # the left eye alone is a stimulus' own
    with pytest.raises(RecordingError, match="layer 'eye#2' of Mixes cannot be recorded"):
        netphys.record(network, stimuli, layers="eye#2")


def test_a_network_may_prepare_its_fields_itself() -> None:
    stimuli, values = _stimuli(3, left=(3, 8, 8), right=(3, 8, 8))

    def halves(fields: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(fields[name].float() / 510 for name in ("left", "right"))

    network = Network(Both(), halves, fields=("left", "right"))
    made = prepared(network, shown(network, stimuli, [0, 1]), "cpu")
    assert all(torch.equal(a, values[name][:2].float() / 510) for a, name in zip(made, ("left", "right")))
    wrong = Network(Both(), lambda fields: fields["left"], fields=("left", "right"))
    with pytest.raises(OptionError, match="preprocess of Both returned no tuple of tensors for left, right"):
        prepared(wrong, shown(wrong, stimuli, [0]), "cpu")


def test_errors() -> None:
    stimuli, _ = _stimuli(3, left=(3, 8, 8), sound=(4,))
    with pytest.raises(StimulusError, match="Both looks at 'lefft', which pairs does not have; near: 'left'"):
        netphys.record(Network(Both(), fields=("lefft", "left")), stimuli, layers="eye")
    for fields in ((), "image"):
        with pytest.raises(OptionError, match="a tuple of at least one name of a field"):
            Network(Both(), fields=fields)  # type: ignore[arg-type]


def test_batches_are_filled_up_with_the_last_stimulus() -> None:
    first, second = padded((torch.arange(3.0), torch.arange(6.0).reshape(3, 2)), 5)
    assert first.tolist() == [0, 1, 2, 2, 2] and second[3:].tolist() == [[4, 5], [4, 5]]


def test_a_network_that_is_given_too_little_says_what_helps() -> None:
    stimuli, _ = _stimuli(2, image=(3, 8, 8))
    with pytest.raises(RecordingError, match=r"\?fields=left,right in its address says what it looks at"):
        netphys.record(Both(), stimuli, layers="eye")
