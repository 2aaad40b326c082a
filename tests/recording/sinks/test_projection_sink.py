"""Projections of layers beside a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError
from netphys.recording import Sink
from netphys.recording.keep import Projection
from netphys.recording.layers import Layer
from netphys.recording.sinks.contract import Mergeable
from netphys.recording.sinks.projection import ProjectedLayers, RandomProjection

LAYERS = [Layer("conv", "Conv2d", (4, 12, 12), ("unit", "y", "x")), Layer("fc", "Linear", (10,), ("unit",))]
IDS = [f"id-{index}" for index in range(70)]


def _activations() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {each.name: torch.randn(70, *each.shape, generator=random) for each in LAYERS}


def _fed(sink: RandomProjection, batches: Any) -> RandomProjection:
    for first in batches:
        rows = np.arange(first, min(first + 10, 70))
        for name, values in _activations().items():
            sink.write(name, rows, values[rows])
    return sink


def _opened(**options: Any) -> RandomProjection:
    sink = RandomProjection(64, **options)
    sink.open(LAYERS, IDS)
    return sink


def test_it_holds_what_the_keep_of_that_name_keeps() -> None:
    result = _fed(_opened(seed=2), range(0, 70, 10)).close()
    keep = Projection(64, seed=2)
    expected = torch.cat([keep.reduce(part, LAYERS[0]) for part in _activations()["conv"].split(10)])
    assert np.array_equal(result.arrays["conv"], expected.numpy()) and result.stimulus_ids == tuple(IDS)
    assert np.array_equal(result.arrays["fc"], _activations()["fc"].numpy())  # no more than 64 numbers
    assert result.measured["conv"] == keep.measured(LAYERS[0])
    other = _fed(_opened(seed=3), range(0, 70, 10)).close()
    assert not np.array_equal(other.arrays["conv"], result.arrays["conv"])


def test_stopped_or_shared_it_ends_the_same() -> None:
    whole = _fed(_opened(), range(0, 70, 10))
    assert isinstance(whole, Sink) and isinstance(whole, Mergeable)
    stopped, goes_on = _fed(_opened(), range(0, 30, 10)), _opened()
    goes_on.load_state_dict(stopped.state_dict())
    _fed(goes_on, range(30, 70, 10))
    shares = [_fed(_opened(), range(rank * 10, 70, 20)) for rank in (1, 0)]
    assert not np.array_equal(shares[0].result.arrays["conv"], whole.result.arrays["conv"])  # control
    shares[0].merge(shares[1].state_dict())
    for other in (goes_on, shares[0]):
        assert np.array_equal(other.result.arrays["conv"], whole.result.arrays["conv"])
        assert other.result.measured == whole.result.measured
        assert all(np.array_equal(value, whole.state_dict()[key]) for key, value in other.state_dict().items())


def test_a_sink_that_is_opened_again_begins_anew() -> None:
    sink = _fed(_opened(), range(0, 70, 10))
    first = sink.result.measured
    sink.open(LAYERS, IDS)
    assert sink.result.measured["conv"]["n_pairs"] == 0 and not sink.result.arrays["conv"].any()
    assert _fed(sink, range(0, 70, 10)).result.measured == first


def test_only_the_layers_that_are_asked_for() -> None:
    sink = _fed(_opened(layers="kind:Conv2d"), [0])
    assert list(sink.result.arrays) == ["conv"] and sink.plan()["layers"] == ["kind:Conv2d"]
    with pytest.raises(LayerNotFound, match="conf"):
        _opened(layers=["conf"])
    with pytest.raises(OptionError, match="needs k="):
        RandomProjection()


def test_in_one_pass_with_a_recording() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 12, 12), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    sink = RandomProjection(20)
    recording = netphys.record(net, shown, layers=["0", "1"], batch_size=4, sinks=[sink])
    layer = Layer("0", "Conv2d", (8, 10, 10), ("unit", "y", "x"))
    expected = Projection(20).reduce(torch.from_numpy(recording.array("0").copy()), layer)
    assert np.array_equal(sink.result.arrays["0"], expected.numpy())  # of the moment: the ReLU behind is in-place
    again = sink.result.recording("net")
    assert again.stimulus_ids == recording.stimulus_ids and again.shape("0") == (9, 20)


def test_the_result_says_what_was_found() -> None:
    result = _fed(_opened(), range(0, 70, 10)).close()
    assert isinstance(result, ProjectedLayers)
    epsilon = result.measured["conv"]["epsilon"]
    assert repr(result) == (
        f"ProjectedLayers(2 layers x 70 stimuli: error of squared distances {epsilon:.3f} at most (conv))"
    )
    frame = result.to_frame()
    assert frame["layer"].tolist() == ["conv", "fc"] and frame["k"].tolist() == [64, 10]
    assert frame["epsilon"].tolist() == [epsilon, 0.0] and frame["n_pairs"][0] == 315  # 45 a batch of ten
    assert "not measured" in repr(_opened().close())


def test_the_plot_shows_every_layer() -> None:
    axes = _fed(_opened(), range(0, 70, 10)).close().plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["conv", "fc"]
    largest = axes.get_lines()[0].get_ydata()
    assert largest[0] > axes.get_lines()[1].get_ydata()[0] > 0 and largest[1] == 0
