"""netphys.objectives.heads: pooling, a head of another width, a trunk looked at and left as found."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netphys.errors import OptionError
from netphys.objectives.heads import Decoder, LinearHead, Projector, features, n_features, output_shape


def test_features_are_means_over_places_and_tokens() -> None:
    maps = torch.arange(24.0).view(2, 3, 2, 2)
    assert torch.equal(features(maps), maps.mean((2, 3)))
    tokens = torch.arange(24.0).view(2, 4, 3)
    assert torch.equal(features(tokens), tokens.mean(1)) and n_features((4, 3)) == 3 and n_features((5, 2, 2)) == 5
    assert features(maps.bfloat16()).dtype == torch.float32 and features(maps.double()).dtype == torch.float64
    with pytest.raises(OptionError, match=r"a trunk's output is .*, not \(4,\)"):
        features(torch.zeros(4))


def test_a_trunk_is_left_as_it_was_found() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    trunk[1].eval()
    before = {name: each.clone() for name, each in trunk.state_dict().items()}
    generator = torch.get_rng_state()
    assert output_shape(trunk, (8, 10)) == (4, 6, 8)
    assert [each.training for each in trunk] == [True, False, True] and trunk.training
    assert all(torch.equal(before[name], each) for name, each in trunk.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_a_trunk_that_cannot_look_is_named() -> None:
    with pytest.raises(OptionError, match=r"the trunk Linear cannot look at 8 x 8"):
        output_shape(nn.Linear(5, 2), (8, 8))

    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    with pytest.raises(OptionError, match="Pair returns tuple"):
        output_shape(Pair(), (8, 8))
    with pytest.raises(OptionError, match="is a tensor, not tuple"):
        features((torch.zeros(2, 3), torch.zeros(2, 3)))  # type: ignore[arg-type]


def test_an_auxiliary_output_while_learning_is_seen() -> None:
    class Auxiliary(nn.Module):
        def forward(self, images: torch.Tensor) -> object:
            return (images, images) if self.training else images

    trunk = Auxiliary().eval()
    with pytest.raises(OptionError, match="Auxiliary returns tuple while it learns"):
        output_shape(trunk, (8, 8))
    assert not trunk.training


def test_a_head_starts_at_its_bias_and_takes_the_width_of_a_checkpoint() -> None:
    head = LinearHead(5, 0)
    assert head.out_features == 0
    weight = head.weight
    head.resize(3, bias=torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(head(torch.randn(2, 5)), torch.tensor([[1.0, 2.0, 3.0]] * 2)) and head.weight is weight
    other = LinearHead(5, 7)
    other.load_state_dict(head.state_dict())
    assert other.out_features == 3 and torch.equal(other.bias, head.bias)
    with pytest.raises(RuntimeError, match="size mismatch|Missing"):
        nn.Linear(5, 7).load_state_dict(head.state_dict())  # control: what an ordinary one does


def test_projector_and_decoder() -> None:
    assert Projector(6, 10, 4)(torch.randn(3, 6)).shape == (3, 4)
    decoder = Decoder((6, 4, 5), 16, 9)
    logits = decoder(torch.randn(2, 6, 4, 5))
    assert logits.shape == (2, 16, 16, 9) and logits.is_contiguous() and logits.abs().max() == 0
