"""Quantiles: exact while all fits, within the stated error beyond; and deterministic, whatever else is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError, RecordingError
from netphys.recording.layers import Layer
from netphys.recording.sinks import LayerQuantiles, Mergeable, Quantiles

TOKENS = Layer("attn", "Block", (6, 50), ("unit", "token"))
MAP = Layer("conv", "Conv2d", (3, 10, 10), ("unit", "y", "x"))
IDS = [f"s{at}" for at in range(400)]
Q = (0.0, 0.01, 0.25, 0.5, 0.9, 0.995, 1.0)


def fed(sink: Quantiles, values: torch.Tensor, *, step: int = 8, layer: Layer = TOKENS) -> LayerQuantiles:
    sink.open([layer], IDS)
    for first in range(0, len(values), step):
        sink.write(layer.name, np.arange(first, min(first + step, len(values))), values[first : first + step])
    return sink.close().layers[layer.name]


def drawn(seed: int, n: int = 400, shape: tuple[int, ...] = TOKENS.shape) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).gamma(0.5, 1, (n, *shape)).astype(np.float32))


def ranks_off(found: LayerQuantiles, values: torch.Tensor, q: tuple[float, ...] = Q) -> np.ndarray:
    """Share of all values of a unit between a quantile and where it should be, (unit, q)."""
    every = np.sort(values.transpose(0, 1).flatten(1).numpy(), axis=1)
    at = np.stack([np.searchsorted(own, of.astype(np.float32)) for own, of in zip(every, found.values, strict=True)])
    return np.asarray(at / every.shape[1] - np.array(q))


def test_exact_while_all_fits_equal_to_numpy_and_torch() -> None:
    for n, step in ((1, 1), (2, 1), (20, 7), (40, 40)):
        values = drawn(n, n)
        found = fed(Quantiles(Q, capacity=2000), values, step=step)
        every = values.transpose(0, 1).flatten(1)
        np.testing.assert_array_equal(found.values, np.quantile(every.double().numpy(), Q, axis=1).T)
        known = torch.quantile(every.double(), torch.tensor(Q, dtype=torch.float64), dim=1).T
        np.testing.assert_allclose(found.values, known, rtol=1e-12)  # interpolated otherwise in the last bits
        assert found.rank_error == 0 and found.n == n * 50
    assert "exact" in repr(found)


@pytest.mark.parametrize("step", [1, 8, 40])  # batches that fit, and that enter at a higher level
@pytest.mark.parametrize("capacity", [64, 256])
def test_ranks_are_off_by_no_more_than_is_said(step: int, capacity: int) -> None:
    off = []
    for seed in range(5):
        values = drawn(100 + seed)
        found = fed(Quantiles(Q, capacity=capacity, seed=seed), values, step=step)
        off.append(ranks_off(found, values))
        assert 0 < found.rank_error < 5 / capacity
        assert np.abs(off[-1]).max() < found.rank_error
        np.testing.assert_array_equal(found.values[:, -1], values.amax((0, 2)))
        np.testing.assert_array_equal(found.values[:, 0], values.amin((0, 2)))
    # about as often too high as too low; a value is read between two that are held, half a weight to each side
    middle = np.array(off)[..., 3]
    assert abs(middle.mean()) < 3 * middle.std() / np.sqrt(middle.size) + 0.1 / capacity


def test_the_threshold_of_dissection_at_the_default_capacity() -> None:
    rng = np.random.default_rng(7)
    layer = Layer("conv", "Conv2d", (8, 28, 28), ("unit", "y", "x"))
    values = torch.from_numpy(rng.normal(size=(320, *layer.shape)).clip(0).astype(np.float32))
    found = fed(Quantiles(0.995), values, step=32, layer=layer)
    off = ranks_off(found, values, (0.995,))
    assert np.abs(off).max() < found.rank_error < 1.5e-3
    assert np.abs(off).max() < 5e-4  # four standard deviations of 0.25 / 2048, measured


def test_control_coins_that_always_fall_the_same_way(monkeypatch: Any) -> None:
    from netphys.recording.sinks import sketch

    values, every = drawn(0), sketch._every
    found = fed(Quantiles(Q, capacity=32), values, step=1)
    assert np.abs(ranks_off(found, values)).max() < 0.5 * found.rank_error
    monkeypatch.setattr(sketch, "_every", lambda held, step, first: every(held, step, np.zeros_like(first)))
    found = fed(Quantiles(Q, capacity=32), values, step=1)
    assert np.abs(ranks_off(found, values)).max() > found.rank_error


def test_values_that_come_sorted_and_values_that_are_the_same() -> None:
    values = drawn(1).flatten().sort().values.reshape(400, 1, 300)
    layer = Layer("attn", "Block", (1, 300), ("unit", "token"))
    found = fed(Quantiles(Q, capacity=256), values, layer=layer)
    assert np.abs(ranks_off(found, values)).max() < found.rank_error
    same = fed(Quantiles(Q, capacity=64), torch.full((400, 1, 300), 0.3), layer=layer)
    assert (same.values == np.float32(0.3)).all()


def test_infinite_values_have_their_rank() -> None:
    values = drawn(2, 40)
    values[:, 0] = torch.where(values[:, 0] > 1, torch.inf, values[:, 0])
    found = fed(Quantiles((0.5, 0.995), capacity=4000), values)
    assert np.isfinite(found.values[0, 0]) and np.isposinf(found.values[0, 1]) and np.isfinite(found.values[1:]).all()


def test_the_same_bits_whatever_else_is_recorded() -> None:
    values = drawn(3)
    alone = fed(Quantiles(Q, capacity=64), values)
    sink = Quantiles(Q, capacity=64)
    sink.open([MAP, TOKENS], IDS)
    for first in range(0, 400, 8):
        rows = np.arange(first, first + 8)
        sink.write("conv", rows, drawn(first, 8, MAP.shape))
        sink.write("attn", rows, values[first : first + 8])
    np.testing.assert_array_equal(sink.close().layers["attn"].values, alone.values)
    assert not np.array_equal(fed(Quantiles(Q, capacity=64, seed=1), values).values, alone.values)


def test_batches_in_any_order_are_within_the_stated_error() -> None:
    values = drawn(11)
    sink = Quantiles(Q, capacity=128)
    sink.open([TOKENS], IDS)
    for at in np.random.default_rng(0).permutation(50) * 8:
        sink.write("attn", np.arange(at, at + 8), values[at : at + 8])
    found = sink.close().layers["attn"]
    assert np.abs(ranks_off(found, values)).max() < found.rank_error
    exact = Quantiles(Q, capacity=20_000)
    exact.open([TOKENS], IDS)
    for at in range(392, -1, -8):
        exact.write("attn", np.arange(at, at + 8), values[at : at + 8])
    np.testing.assert_array_equal(
        exact.close().layers["attn"].values, fed(Quantiles(Q, capacity=20_000), values).values
    )


def test_what_it_is_given_is_not_changed() -> None:
    values = drawn(4, 40)
    before = values.clone()
    fed(Quantiles(Q, capacity=8), values, step=1)
    assert torch.equal(values, before)


def test_stop_and_resume_is_the_same_to_the_bit() -> None:
    values = drawn(5)
    whole, first, second = (Quantiles(Q, capacity=64) for _ in range(3))
    for sink in (whole, first, second):
        sink.open([TOKENS], IDS)
    for at in range(0, 400, 8):
        for sink in (whole, first if at < 200 else second):
            sink.write("attn", np.arange(at, at + 8), values[at : at + 8])
        if at == 192:
            second.load_state_dict({key: value.copy() for key, value in first.state_dict().items()})
    reference = whole.state_dict()
    assert reference.keys() == second.state_dict().keys()
    assert all(np.array_equal(value, reference[key]) for key, value in second.state_dict().items())
    assert whole.close().layers["attn"].rank_error == second.close().layers["attn"].rank_error


def test_parts_merge_and_the_stated_error_still_holds() -> None:
    values = drawn(6)
    parts = [Quantiles(Q, capacity=128) for _ in range(4)]
    for index, part in enumerate(parts):
        part.open([TOKENS], IDS)
        for at in range(index * 8, 400, 32):  # every fourth batch, as ranks take them
            part.write("attn", np.arange(at, at + 8), values[at : at + 8])
        if index:
            parts[0].merge(part.state_dict())
    assert isinstance(parts[0], Mergeable)
    found = parts[0].close().layers["attn"]
    assert found.n == 400 * 50 and found.rank_error < 5 / 128
    assert np.abs(ranks_off(found, values)).max() < found.rank_error
    assert np.abs(ranks_off(parts[1].close().layers["attn"], values[:8])).max() > 0.01  # a part alone is another thing


def test_weights_add_up_and_the_state_stays_small() -> None:
    sink = Quantiles(Q, capacity=64)
    sizes = []
    for n in (100, 400):
        fed(sink, drawn(8, n), step=7)
        levels = {key: value.shape[1] for key, value in sink.state_dict().items() if key.startswith("level")}
        assert sum(size << int(key.split("/")[0][5:]) for key, size in levels.items()) == n * 50
        assert max(levels.values()) <= 64
        sizes.append(sum(value.nbytes for value in sink.state_dict().values()))
    assert sizes[1] < 1.6 * sizes[0]  # four times the stimuli: two levels more


def test_what_is_wrong_is_said() -> None:
    values = drawn(9, 8)
    values[5, 4, 0] = torch.nan
    with pytest.raises(RecordingError, match=r"^unit 4 of layer 'attn' is not a number \(NaN\) for stimulus 's5'$"):
        fed(Quantiles(), values)
    with pytest.raises(OptionError, match=r"quantiles lie in \[0, 1\]"):
        Quantiles(95)
    with pytest.raises(OptionError, match="capacity=4: at least 8"):
        Quantiles(0.5, capacity=4)


def test_result() -> None:
    sink = Quantiles((0.5, 0.995), capacity=64)
    found = fed(sink, drawn(10))
    result = sink.close()
    frame = result.to_frame()
    assert list(frame) == ["layer", "unit", "q", "value", "n", "rank_error"] and len(frame) == 12
    np.testing.assert_array_equal(frame.query("q == 0.995")["value"], result.of("attn", 0.995))
    assert f"rank error <= {found.rank_error:.2g} (99%)" in repr(result)
    assert result.plot().get_ylabel() == "activation (a.u.)"
