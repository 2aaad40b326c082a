"""Gram: inner products of all stimuli, equal to float64's, in one pass or in many, and what distances follow."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError
from netphys.recording.gram_passes import gram
from netphys.recording.layers import Layer
from netphys.recording.measuring import measure
from netphys.recording.sinks import Gram, GramResult
from netphys.recording.sinks import gram as module

MAP = Layer("conv", "Conv2d", (5, 40, 70), ("unit", "y", "x"))  # 14,000 features: four blocks
IDS = [f"s{at}" for at in range(21)]


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(2))


def shown(n: int = 21) -> Any:
    images = np.random.default_rng(1).integers(0, 256, (n, 3, 12, 12), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(images, ids=[f"s{at}" for at in range(n)])


def fed(values: torch.Tensor, *, step: int = 8) -> GramResult:
    sink = Gram()
    sink.open([MAP], IDS)
    for first in range(0, len(values), step):
        sink.write("conv", np.arange(first, min(first + step, len(values))), values[first : first + step])
    return sink.close()


def drawn(seed: int, mean: float = 0.0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(mean, 1, (21, *MAP.shape))
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize("rectified", [False, True])
def test_equal_to_float64(mean: float, rectified: bool) -> None:
    values = drawn(0, mean).clamp_min(0) if rectified else drawn(0, mean)
    found = fed(values)
    flat = values.flatten(1).double().numpy()
    exact = flat @ flat.T
    length = np.sqrt(np.diag(exact))
    assert np.abs((found.matrix("conv") - exact) / np.outer(length, length)).max() < 1e-6
    assert np.array_equal(found.matrix("conv"), found.matrix("conv").T)
    np.testing.assert_allclose(found.sums["conv"], flat.sum(1), rtol=0, atol=1e-6 * np.abs(flat).sum(1).max())
    assert found.n_features == {"conv": 14000}


def test_control_half_precision_products_are_not_within_the_tolerance() -> None:
    values = drawn(0).flatten(1)
    exact, half = (values.double() @ values.double().T), (values.bfloat16() @ values.bfloat16().T).double()
    length = exact.diag().sqrt()
    assert float(((half - exact) / torch.outer(length, length)).abs().max()) > 1e-5


def test_products_are_exact_where_float32_is_set_to_less(monkeypatch: Any) -> None:
    values = drawn(2)
    flat = values.flatten(1).double().numpy()
    plain = fed(values).matrix("conv")
    monkeypatch.setattr(module, "_lowered", lambda device: True)
    exact = fed(values).matrix("conv")
    np.testing.assert_allclose(exact, flat @ flat.T, rtol=1e-12, atol=1e-9)
    assert not np.array_equal(exact, plain)


def test_distances_from_the_matrix_are_those_of_the_features() -> None:
    values = drawn(3, 0.5).clamp_min(0)
    values[1:4] = values[0] + 0.3 * values[1:4]  # some stimuli are alike
    found, flat = fed(values), values.flatten(1).double().numpy()
    matrix = found.matrix("conv")
    diagonal = np.diag(matrix)
    squared = diagonal[:, None] + diagonal - 2 * matrix
    # 1e-6 of the products cancels to a few of it of a distance between near ones
    np.testing.assert_allclose(squared, cdist(flat, flat, "sqeuclidean"), rtol=1e-5, atol=1e-6 * diagonal.max())
    covariance = found.covariance("conv")
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(1 - covariance / np.outer(sd, sd), cdist(flat, flat, "correlation"), atol=3e-6)
    centred = flat - flat.mean(0)
    np.testing.assert_allclose(found.centred("conv"), centred @ centred.T, rtol=0, atol=1e-6 * diagonal.max())
    np.testing.assert_allclose(found.centred("conv").sum(0), 0, atol=1e-8 * diagonal.max())


def test_several_passes_give_the_bits_of_one_and_those_of_a_recording(caplog: Any) -> None:
    net, stimuli = small(), shown()
    options: Any = {"layers": ["0", "2"], "batch_size": 4, "device": "cpu"}
    recording = netphys.record(net, stimuli, **options)
    a_stimulus = 4 * sum(int(np.prod(recording.array(name).shape[1:])) for name in ("0", "2"))
    one = gram(net, stimuli, **options)
    (sink,) = measure(net, stimuli, sinks=[Gram()], **options)
    for name in one.layers:
        flat = torch.from_numpy(np.array(recording.array(name))).flatten(1)
        tile = module.inner_products(flat[8:12], flat[4:8])
        np.testing.assert_array_equal(one.matrix(name)[8:12, 4:8], tile)
    for n_held, n_passes in ((4, 6), (9, 3), (12, 2), (20, 2), (100, 1)):
        with caplog.at_level(logging.INFO, logger="netphys"):
            found = gram(net, stimuli, memory=n_held * a_stimulus, **options)
        assert f"in 2 layers: {n_passes} pass{'es' * (n_passes > 1)}" in caplog.records[-1].getMessage()
        for name in one.layers:
            for other in (one, sink):
                np.testing.assert_array_equal(found.matrix(name), other.matrix(name))
                np.testing.assert_array_equal(found.sums[name], other.sums[name])
    assert one.stimulus_ids == tuple(stimuli.ids) and one.made["seed"] == 0 and one.network


def test_permuted_stimuli_permute_the_matrix_and_other_images_do_not() -> None:
    net, stimuli = small(), shown()
    order = np.random.default_rng(0).permutation(21)
    one = gram(net, stimuli, layers="2", batch_size=4).matrix("2")
    other = gram(net, stimuli.subset([stimuli.ids[at] for at in order]), layers="2", batch_size=4).matrix("2")
    np.testing.assert_allclose(other, one[np.ix_(order, order)], rtol=1e-5, atol=1e-6 * one.max())
    assert not np.allclose(other, one, rtol=1e-3)


def test_what_is_kept_can_be_less() -> None:
    net, stimuli = small(), shown(6)
    found = gram(net, stimuli, layers="2", keep="mean")
    means = np.array(netphys.record(net, stimuli, layers="2", keep="mean").array("2"), np.float64)
    np.testing.assert_allclose(found.matrix("2"), means @ means.T, rtol=1e-6)
    assert found.n_features == {"2": 4}


def test_stop_and_resume_is_the_same_to_the_bit() -> None:
    values = drawn(4)
    whole, first, second = Gram(), Gram(), Gram()
    for sink in (whole, first, second):
        sink.open([MAP], IDS)
    for at in range(0, 21, 4):
        rows, batch = np.arange(at, min(at + 4, 21)), values[at : at + 4]
        whole.write("conv", rows, batch)
        (first if at < 12 else second).write("conv", rows, batch)
        if at == 8:
            second.load_state_dict({key: value.copy() for key, value in first.state_dict().items()})
    np.testing.assert_array_equal(whole.close().matrix("conv"), second.close().matrix("conv"))
    np.testing.assert_array_equal(whole.close().sums["conv"], second.close().sums["conv"])
    assert not np.array_equal(whole.close().matrix("conv"), first.close().matrix("conv"))


def test_what_is_wrong_is_said(caplog: Any) -> None:
    sink = Gram(memory=4 * 14000 * 20)
    with pytest.raises(RecordingError, match=r"\(21 stimuli x 14000 numbers\), more than memory=1120000; netphys"):
        sink.open([MAP], IDS)
    with pytest.raises(RecordingError, match="memory=100 does not hold one batch of 32 stimuli, .* fewer layers"):
        gram(small(), shown(), layers="2", memory=100)
    values = drawn(5)
    values[9, 3, 0, 0] = torch.inf
    with pytest.raises(RecordingError, match=r"^unit 3 of layer 'conv' is infinite for stimulus 's9'$"):
        fed(values)
    found = fed(drawn(5))
    with pytest.raises(LayerNotFound, match="no layer 'conv1' in GramResult.*near: 'conv'"):
        found.matrix("conv1")
    two = gram(small(), shown(4), layers=["0", "2"])
    with pytest.raises(OptionError, match="one of 2 layers can be drawn; there are: '0', '2'"):
        two.plot()


def test_result() -> None:
    found = gram(small(), shown(5), layers=["0", "2"])
    frame = found.to_frame()
    assert list(frame) == ["layer", "stimulus_id", "other_id", "inner_product"] and len(frame) == 2 * 15
    row = frame.query("layer == '2' and stimulus_id == 's1' and other_id == 's3'")["inner_product"].item()
    assert row == found.matrix("2")[1, 3]
    assert "2 layers x 5 stimuli, mean cosine of two stimuli in 2 " in repr(found)
    assert found.plot(layer="2").get_title() == "2"
