"""Moments: equal to those of all values at once, also where a mean is a million standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from netphys.errors import OptionError, RecordingError
from netphys.recording.layers import Layer
from netphys.recording.sinks import Mergeable, Moments, MomentsResult

MAP = Layer("conv", "Conv2d", (5, 6, 7), ("unit", "y", "x"))
DENSE = Layer("fc/0", "Linear", (9,), ("unit",))
IDS = [f"s{at}" for at in range(40)]


def opened(over: Any = "positions", layers: tuple[Layer, ...] = (MAP,)) -> Moments:
    sink = Moments(over)
    sink.open(layers, IDS)
    return sink


def fed(values: torch.Tensor, over: Any = "positions", *, step: int = 8, layer: Layer = MAP) -> MomentsResult:
    sink = opened(over, (layer,))
    for first in range(0, len(values), step):
        sink.write(layer.name, np.arange(first, min(first + step, len(values))), values[first : first + step])
    return sink.close()


def drawn(seed: int, *shape: int, mean: float = 0.0, sd: float = 1.0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(mean, sd, shape)
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize(("mean", "sd"), [(0, 1), (1e4, 1e-2), (-3e5, 1), (1e-20, 1e-19), (0, 1e25)])
def test_equal_to_numpy_and_scipy(mean: float, sd: float) -> None:
    values = drawn(0, 40, 5, 6, 7, mean=mean, sd=sd)
    found = fed(values).layers["conv"]
    every = values.double().transpose(0, 1).flatten(1).numpy()
    known = stats.describe(every, axis=1, ddof=0)
    assert found.n == known.nobs == 40 * 42
    # float32 sums of deviations, not of values: 1e-6 of a standard deviation, whatever the mean
    np.testing.assert_allclose(found.mean, known.mean, rtol=0, atol=1e-6 * every.std())
    np.testing.assert_allclose(found.variance, known.variance, rtol=1e-6)
    np.testing.assert_array_equal([found.min, found.max], known.minmax)


def test_control_the_textbook_formula_in_float32_fails() -> None:
    values = drawn(0, 40, 5, 6, 7, mean=1e4, sd=1e-2).transpose(0, 1).flatten(1)
    n = values.shape[1]
    naive = ((values**2).sum(1) - values.sum(1) ** 2 / n) / n
    truth = values.double().var(1, correction=0)
    assert float((naive - truth).abs().max() / truth.max()) > 100


def test_control_joining_means_that_were_rounded_to_float32_fails() -> None:
    values = drawn(3, 40, 5, 6, 7, mean=1e4, sd=1e-2)
    squares = mean = torch.zeros(5, dtype=torch.float64)
    n = 0
    for batch in values.split(8):
        variance, own = torch.var_mean(batch, (0, 2, 3), correction=0)  # each right to the last bit of float32
        own_n, apart = batch.numel() // 5, own.double() - mean
        squares = squares + variance.double() * own_n + apart**2 * n * own_n / (n + own_n)
        mean, n = mean + apart * own_n / (n + own_n), n + own_n
    truth = values.double().var((0, 2, 3), correction=0)
    assert float((squares / n / truth - 1).abs().max()) > 1e-4
    np.testing.assert_allclose(fed(values).layers["conv"].variance, truth, rtol=1e-6)


def test_batches_that_drift_far_apart() -> None:
    values = drawn(1, 40, 5, 6, 7, sd=1e-3) + torch.arange(40)[:, None, None, None] ** 3  # the first mean is far off
    every = values.double().transpose(0, 1).flatten(1)
    for step in (1, 7, 40):
        found = fed(values, step=step).layers["conv"]
        np.testing.assert_allclose(found.variance, every.var(1, correction=0), rtol=1e-6)
        np.testing.assert_allclose(found.mean, every.mean(1), rtol=1e-6)


def test_positions_apart() -> None:
    values = drawn(2, 40, 5, 6, 7, mean=1e4, sd=1e-2)
    found = fed(values, "none").layers["conv"]
    assert found.mean.shape == MAP.shape and found.dims == MAP.dims and found.n == 40
    every = values.double().numpy()
    np.testing.assert_allclose(found.mean, every.mean(0), rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.variance, every.var(0), rtol=1e-6)
    np.testing.assert_array_equal(found.min, every.min(0))
    np.testing.assert_array_equal(found.max, every.max(0))


@pytest.mark.parametrize("over", ["positions", "none"])
def test_dense_layers_and_other_memory_formats(over: Any) -> None:
    dense = drawn(4, 40, 9)
    found = fed(dense, over, layer=DENSE).layers["fc/0"]
    np.testing.assert_allclose(found.variance, dense.double().numpy().var(0), rtol=1e-6)
    values = drawn(5, 40, 5, 6, 7)
    last = values.contiguous(memory_format=torch.channels_last)
    one, other = fed(values, over).layers["conv"], fed(last, over).layers["conv"]
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    values = drawn(6, 40, 5, 6, 7, mean=3).to(dtype)
    found, every = fed(values).layers["conv"], values.double().transpose(0, 1).flatten(1).numpy()
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(found.variance, every.var(1), rtol=tolerance)
    np.testing.assert_allclose(found.mean, every.mean(1), rtol=tolerance)


def test_order_of_batches_and_their_cuts_matter_in_the_last_bits_alone() -> None:
    values = drawn(7, 40, 5, 6, 7, mean=1)
    reference = fed(values).layers["conv"]
    sink = opened()
    for first in (32, 0, 16, 8, 24):
        sink.write("conv", np.arange(first, first + 8), values[first : first + 8])
    for found in (sink.close().layers["conv"], fed(values, step=13).layers["conv"]):
        np.testing.assert_allclose(found.variance, reference.variance, rtol=1e-6)
        np.testing.assert_array_equal(found.max, reference.max)
    assert not np.array_equal(fed(values * 1.001).layers["conv"].variance, reference.variance)


@pytest.mark.parametrize("over", ["positions", "none"])
def test_stop_and_resume_is_the_same_to_the_bit_and_parts_merge(over: Any) -> None:
    values = drawn(8, 40, 5, 6, 7, mean=2)
    whole = opened(over)
    first, second, apart = opened(over), opened(over), opened(over)
    assert isinstance(first, Mergeable)
    for at in range(0, 40, 8):
        rows, batch = np.arange(at, at + 8), values[at : at + 8]
        whole.write("conv", rows, batch)
        if at < 16:
            first.write("conv", rows, batch)
            continue
        if at == 16:
            second.load_state_dict({key: value.copy() for key, value in first.state_dict().items()})
        second.write("conv", rows, batch)
        apart.write("conv", rows, batch)
    reference = whole.state_dict()
    assert all(np.array_equal(value, reference[key]) for key, value in second.state_dict().items())
    first.merge(apart.state_dict())
    np.testing.assert_allclose(first.close().layers["conv"].variance, whole.close().layers["conv"].variance, rtol=1e-6)
    assert first.close().layers["conv"].n == whole.close().layers["conv"].n


def test_what_is_no_number_is_refused_by_name() -> None:
    for bad, word in ((np.nan, "not a number"), (np.inf, "infinite")):
        values = drawn(9, 8, 5, 6, 7)
        values[3, 2, 1, 1] = bad
        sink = opened()
        with pytest.raises(RecordingError, match=rf"^unit 2 of layer 'conv' is {word}.* for stimulus 's11'$"):
            sink.write("conv", np.arange(8, 16), values)
        assert sink.close().layers["conv"].n == 0
    with pytest.raises(OptionError, match="over='units': 'positions'"):
        Moments("units")  # type: ignore[arg-type]


def test_result() -> None:
    values = drawn(10, 40, 5, 6, 7)
    values[:, 1] = 0
    found = fed(values)
    assert repr(found) == "MomentsResult(1 layer x 40 stimuli, 1 of 5 units constant)"
    frame = found.to_frame()
    assert list(frame) == ["layer", "unit", "n", "mean", "variance", "sd", "min", "max"] and len(frame) == 5
    places = fed(values, "none").to_frame()
    assert list(places)[:4] == ["layer", "unit", "y", "x"] and len(places) == 5 * 42
    row = places.query("unit == 2 and y == 3 and x == 4").iloc[0]
    assert row["max"] == float(values[:, 2, 3, 4].max())
    assert found.plot().get_ylabel() == "activation (a.u.)"
