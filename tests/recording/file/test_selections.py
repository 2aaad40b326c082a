"""Selections read little more than what is asked for."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import h5py
import numpy as np
import pytest

from netphys.recording.file.selections import read_blocks

SHAPE, CHUNKS = (6000, 400), (512, 128)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("selections") / "large.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.random.default_rng(0).random(SHAPE, dtype=np.float32), chunks=CHUNKS)
        file.create_dataset("contiguous", data=file["a"][:50, :60])
    with h5py.File(path) as file:
        yield file


def _peak(given: Any, rows: Any, units: Any, max_bytes: int) -> int:
    tracemalloc.start()
    for _ in read_blocks(given, rows, units, max_bytes):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("max_bytes", [1, 1 << 16, 1 << 62])
@pytest.mark.parametrize(
    "units", [None, [], [399], [7, 3, 3, 200, 4], list(range(0, 400, 7)), list(range(399, -1, -1))]
)
@pytest.mark.parametrize("rows", [None, [], [5999], [5, 9], [4000, 0, 1, 2, 511, 512], list(range(1000, 1500))])
def test_they_are_what_numpy_gives(data: Any, rows: Any, units: Any, max_bytes: int) -> None:
    for given in (data["a"], data["a"][:]) if max_bytes != 1 or rows == [5, 9] else ():
        chosen, wanted = (None if each is None else np.array(each, dtype=np.int64) for each in (rows, units))
        blocks = list(read_blocks(given, chosen, wanted, max_bytes))
        expected = data["a"][:]
        expected = expected if rows is None else expected[chosen]
        expected = expected if units is None else expected[:, wanted]
        assert np.array_equal(np.concatenate(blocks, axis=1), expected)
        assert max_bytes < 1 << 62 or len(blocks) == 1


def test_a_file_without_chunks(data: Any) -> None:
    rows, units = np.array([40, 3]), np.array([1, 50, 2])
    found = np.concatenate(list(read_blocks(data["contiguous"], rows, units, 100)), axis=1)
    assert np.array_equal(found, data["a"][:50, :60][rows][:, units])


def test_a_few_stimuli_take_the_memory_of_a_few(data: Any) -> None:
    limit = 1 << 18
    rows = np.array([5, 9])
    assert _peak(data["a"], rows, None, limit) < 2 * limit
    assert _peak(data["a"], np.array([7, 3000, 5999]), None, limit) < 3 * limit
    scattered = np.arange(0, 6000, 300)  # one in most chunks
    assert _peak(data["a"], scattered, None, limit) < 3 * limit
    tracemalloc.start()  # control: all rows of as many units as a few rows allow
    step = limit // (2 * 4)
    _ = data["a"][:, :step][rows]
    assert tracemalloc.get_traced_memory()[1] > 20 * limit
    tracemalloc.stop()


def test_one_stimulus_takes_the_time_of_one(data: Any) -> None:
    def best(read: Any) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            read()
            times.append(time.perf_counter() - started)
        return min(times)

    one = best(lambda: list(read_blocks(data["a"], np.array([7]), None, 1 << 62)))
    everything = best(lambda: data["a"][:][[7]])
    assert one < everything / 2
