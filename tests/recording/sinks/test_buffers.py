"""Sinks: fed inside the hook, once a layer and batch, in order of execution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError
from netphys.networks import as_network
from netphys.recording import Sink
from netphys.recording.copying import as_torch
from netphys.recording.keep import as_keep
from netphys.recording.layers import probe_layers
from netphys.recording.sinks.buffers import Buffers, Memory, bytes_a_stimulus, check_overflow


class Log:
    """Writes down how it was called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def plan(self) -> dict[str, Any]:
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        self.calls.append(("open", [layer.name for layer in layers], list(stimulus_ids)))

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        self.calls.append((layer, rows.tolist(), tuple(activation.shape)))

    def close(self) -> None:
        self.calls.append("close")

    def state_dict(self) -> dict[str, np.ndarray]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError("nothing was saved")


def test_the_protocol_of_a_pass(tmp_path: Any) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    shown = netphys.StimulusSet.from_arrays(np.zeros((5, 3, 6, 6), np.uint8), ids=list("abcde"))
    expected = [
        ("open", ["0", "2"], list("abcde")),
        ("0", [0, 1], (2, 4, 4, 4)), ("2", [0, 1], (2, 4)), ("0", [2, 3], (2, 4, 4, 4)), ("2", [2, 3], (2, 4)),
        ("0", [4], (1, 4, 4, 4)), ("2", [4], (1, 4)),  # the padding is not shown to anybody
        "close",
    ]  # fmt: skip
    for into in (None, tmp_path / "rec.h5", tmp_path / "rec.h5"):  # a sink is fed although the file is there already
        sink = Log()
        assert isinstance(sink, Sink)
        netphys.record(net, shown, layers=["2", "0"], batch_size=2, sinks=[sink], into=into)
        assert sink.calls == expected


def test_overflow_is_counted_apart_from_what_the_network_made_infinite() -> None:
    def check(values: list[float], stored: str, dtype: torch.dtype) -> None:
        given = torch.tensor(values, dtype=dtype)
        check_overflow("fc", given.to(getattr(torch, stored)), lambda: int(given.isinf().sum()))

    check([65504, -65504, 0], "float16", torch.float32)
    check([np.inf, -np.inf, 1], "float16", torch.float32)
    check([np.nan, 1], "float16", torch.float32)
    check([3e38, np.inf], "float32", torch.float64)
    check([3.38e38, np.inf], "bfloat16", torch.float32)
    check([], "float16", torch.float32)
    with pytest.raises(RecordingError, match="2 activations of 'fc' exceed 65504, too large for float16; say float32"):
        check([1e6, -1e6, np.inf, np.nan], "float16", torch.float32)
    with pytest.raises(RecordingError, match=r"1 activations of 'fc' exceed 3.4028e\+38, too large for float32, the w"):
        check([1e60, -np.inf, 1], "float32", torch.float64)
    with pytest.raises(RecordingError, match=r"1 activations of 'fc' exceed 3.3895e\+38, .* bfloat16; say float32"):
        check([3.4e38, np.inf], "bfloat16", torch.float32)


def _table(net: nn.Module) -> Any:
    return probe_layers(as_network(net), torch.zeros(3, 3, 6, 6))


def test_overflow_is_refused_by_buffers_of_each_dtype() -> None:
    table = _table(nn.Sequential(nn.Conv2d(3, 4, 3)))
    for dtype, largest in (("float16", 7e4), ("bfloat16", 3.4e38), ("float32", 1e300)):
        buffers = Buffers(table, keep=as_keep("all"), dtype=dtype, n_rows=2)
        activation = torch.zeros(2, 4, 4, 4, dtype=torch.float64 if dtype == "float32" else torch.float32)
        activation[0, 0, 0, 0] = torch.inf
        buffers.write("0", 0, activation)
        activation[1, 2, 3, 1] = largest
        with pytest.raises(RecordingError, match=f"1 activations of '0' exceed .* too large for {dtype}"):
            buffers.write("0", 0, activation)
            buffers.finish()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rows_hold_the_moment_that_they_were_written_and_are_used_again(dtype: str) -> None:
    table = _table(nn.Sequential(nn.Conv2d(3, 4, 3)))
    buffers = Buffers(table, keep=as_keep("all"), dtype=dtype, n_rows=5)
    array = buffers.arrays["0"]
    assert array.dtype == (np.uint16 if dtype == "bfloat16" else dtype)
    for seed in range(2):
        first, second = (torch.randn(3 - n, 4, 4, 4, generator=torch.Generator().manual_seed(seed)) for n in (0, 1))
        expected = torch.cat([first, second]).to(getattr(torch, dtype))
        for row, activation in ((0, first), (3, second)):
            buffers.write("0", row, activation)
            activation.relu_()  # what an in-place operation does next
        assert buffers.arrays["0"] is array
        assert torch.equal(as_torch(array, dtype), expected)
        assert not torch.equal(as_torch(array, dtype), expected.relu())  # control: without the copy


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_is_laid_out_as_the_network_does_and_has_the_same_axes(dtype: str) -> None:
    table = _table(nn.Sequential(nn.Conv2d(3, 4, 3)))
    values = torch.randn(5, 4, 4, 4).to(memory_format=torch.channels_last)
    memory = Memory(table, 5, keep=as_keep("all"), dtype=dtype)
    buffers = Buffers(table, keep=as_keep("all"), dtype=dtype, n_rows=5)
    for rows in (np.arange(3), np.arange(3, 5)):
        memory.write("0", rows, values[rows])
        buffers.write("0", int(rows[0]), values[rows])
    found, shard = memory.arrays["0"], buffers.arrays["0"]
    assert found.shape == shard.shape == (5, 4, 4, 4)
    assert np.array_equal(found, shard)
    assert [each // found.itemsize for each in found.strides] == [64, 1, 16, 4]
    assert shard.flags.c_contiguous  # what is written to a file is
    plain = Memory(table, 5, keep=as_keep("all"), dtype=dtype)
    plain.write("0", np.arange(5), values.contiguous())
    assert plain.arrays["0"].flags.c_contiguous
    assert np.array_equal(plain.arrays["0"], found)


def test_memory_that_is_not_there_is_refused() -> None:
    table = _table(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(RecordingError, match="take 256000.0 GB of memory, .* free; record to a file"):
        Memory(table, 10**12, keep=as_keep("all"), dtype="float32")
    with pytest.raises(RecordingError, match="take 128000.0 GB"):
        Memory(table, 10**12, keep=as_keep("all"), dtype="bfloat16")


def test_bytes_a_stimulus() -> None:
    table = _table(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)))
    assert bytes_a_stimulus(table, as_keep("all"), "float32") == 4 * (4 * 16 + 4)
    assert bytes_a_stimulus(table, as_keep("mean"), "float16") == 2 * 8
    assert bytes_a_stimulus(table, as_keep("mean"), "bfloat16") == 2 * 8
