"""Histograms: counts equal to numpy's, bit for bit, also of values that lie on edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError, RecordingError
from netphys.recording.layers import Layer
from netphys.recording.sinks import Histogram, HistogramResult, Mergeable

MAP = Layer("conv", "Conv2d", (4, 9, 11), ("unit", "y", "x"))
IDS = [f"s{at}" for at in range(30)]


def fed(sink: Histogram, values: torch.Tensor, *, step: int = 8) -> HistogramResult:
    sink.open([MAP], IDS)
    for first in range(0, len(values), step):
        sink.write("conv", np.arange(first, min(first + step, len(values))), values[first : first + step])
    return sink.close()


def awkward(seed: int, edges: np.ndarray) -> torch.Tensor:
    """Draw values of which a third lies on edges or a bit beside them, and a third is 0."""
    rng = np.random.default_rng(seed)
    shape = (30, *MAP.shape)
    span = edges[-1] - edges[0]
    values = rng.uniform(edges[0] - 0.1 * span, edges[-1] + 0.1 * span, shape).astype(np.float32)
    near = rng.choice(edges, shape).astype(np.float32)
    near = np.choose(
        rng.integers(0, 3, shape), [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, -near)]
    )
    values = np.choose(rng.integers(0, 3, shape), [values, near, np.zeros(shape, np.float32)])
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize(
    ("bins", "span"), [(100, (0, 5)), (7, (-1 / 3, 2.7)), (1, (0, 1)), (1000, (99, 100)), (333, (-1e-6, 1e-6))]
)
def test_equal_bins_are_those_of_numpy_bit_for_bit(bins: int, span: tuple[float, float]) -> None:
    values = awkward(bins, np.linspace(*span, bins + 1))
    found = fed(Histogram(bins, span), values)
    for unit in range(4):
        own = values[:, unit].numpy()
        counts, edges = np.histogram(own, bins, span)
        np.testing.assert_array_equal(found.edges, edges)
        np.testing.assert_array_equal(found.counts["conv"][unit], counts)
        assert found.below["conv"][unit] == (own < edges[0]).sum()
        assert found.above["conv"][unit] == (own > edges[-1]).sum()
        np.testing.assert_array_equal(found.density("conv")[unit], np.histogram(own, found.edges, density=True)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_given_edges_are_compared_as_in_float64(dtype: torch.dtype) -> None:
    edges = np.array([-0.7, -0.1, 0.0, 1 / 3, 0.1 + 0.3, 1.1])  # hardly one of them is a float32
    values = awkward(5, edges).to(dtype)
    found = fed(Histogram(edges), values)
    for unit in range(4):
        counts, _ = np.histogram(values[:, unit].double().numpy(), edges)
        np.testing.assert_array_equal(found.counts["conv"][unit], counts)


def test_control_the_guess_alone_is_wrong_on_edges() -> None:
    values = awkward(100, np.linspace(0, 5, 101)).flatten().numpy()
    inside = values[(values >= 0) & (values <= 5)]
    guess = np.minimum((inside * np.float32(20)).astype(np.int64), 99)
    assert (np.bincount(guess, minlength=100) != np.histogram(inside, 100, (0, 5))[0]).any()


def test_nothing_is_lost_and_order_does_not_matter() -> None:
    values = awkward(1, np.linspace(0, 5, 101))
    values[2, 1, 0, 0], values[3, 1, 0, 0] = np.inf, -np.inf
    one, other = fed(Histogram(50, (0, 5)), values), fed(Histogram(50, (0, 5)), values.flip(0), step=11)
    for kind in ("counts", "below", "above"):
        np.testing.assert_array_equal(getattr(one, kind)["conv"], getattr(other, kind)["conv"])
    total = one.counts["conv"].sum(1) + one.below["conv"] + one.above["conv"]
    assert (total == 30 * 99).all()


def test_stop_and_resume_and_merge_are_the_same_to_the_bit() -> None:
    values = awkward(2, np.linspace(0, 5, 101))
    whole = fed(Histogram(50, (0, 5)), values)
    parts: list[Any] = [Histogram(50, (0, 5)) for _ in range(3)]
    for part in parts:
        part.open([MAP], IDS)
    parts[0].write("conv", np.arange(16), values[:16])
    parts[1].load_state_dict(parts[0].state_dict())
    for part in parts[1:]:
        part.write("conv", np.arange(16, 30), values[16:])
    parts[0].merge(parts[2].state_dict())
    assert isinstance(parts[0], Mergeable)
    for part in parts[:2]:
        np.testing.assert_array_equal(part.close().counts["conv"], whole.counts["conv"])
        np.testing.assert_array_equal(part.close().above["conv"], whole.above["conv"])
    assert not np.array_equal(parts[2].close().counts["conv"], whole.counts["conv"])


def test_what_is_wrong_is_said() -> None:
    values = torch.zeros((8, *MAP.shape))
    values[1, 3, 0, 0] = np.nan
    with pytest.raises(RecordingError, match=r"^unit 3 of layer 'conv' is not a number \(NaN\) for stimulus 's1'$"):
        fed(Histogram(5, (0, 1)), values)
    wrong: list[tuple[Any, Any, str]] = [
        (5, None, "needs range="), (5, (1, 1), "to a larger one"), (0, (0, 1), "at least one bin"),
        ([1.0], None, "at least two"), ([0, 0, 1], None, "larger than the one before"),
        ([0, 1], (0, 1), "edges already"),
    ]  # fmt: skip
    for bins, span, text in wrong:
        with pytest.raises(OptionError, match=text):
            Histogram(bins, span)


def test_result() -> None:
    found = fed(Histogram(10, (0, 5)), awkward(3, np.linspace(0, 5, 11)))
    frame = found.to_frame()
    assert list(frame) == ["layer", "unit", "low", "high", "count"] and len(frame) == 4 * 12
    assert frame["count"].sum() == 30 * 4 * 99
    np.testing.assert_allclose((found.density("conv") * 0.5).sum(1), 1)  # bins are .5 wide
    assert repr(found).startswith("HistogramResult(1 layer x 30 stimuli, 10 bins from 0 to 5, ")
    assert found.plot().get_ylabel() == "density"
