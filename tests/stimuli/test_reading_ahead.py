"""Batches are read ahead, in order, with errors at their place and no thread left; sets are held on the device."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import DeviceError, OptionError, StimulusError
from netphys.networks import Preprocess
from netphys.stimuli import StimulusSet, load_stimuli
from netphys.stimuli import reading_ahead as module
from netphys.stimuli.readers.worker_pool import WORKERS, close_workers
from netphys.stimuli.reading_ahead import batches_of, hold, read_ahead

Write = Callable[..., Path]


def _threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("netphys-reading")]


def _images(n: int = 10, size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


@pytest.mark.parametrize(("batch_size", "start"), [(1, 0), (3, 0), (3, 4), (10, 0), (64, 0), (4, 9), (4, 10)])
def test_batches_are_the_set_in_order(batch_size: int, start: int) -> None:
    shown = StimulusSet.from_arrays(_images())
    batches = list(shown.batches(batch_size, start=start))
    rows = [int(row) for part, _ in batches for row in part]
    assert rows == list(range(start, 10)) and all(len(part) == len(images) for part, images in batches)
    assert all(len(part) == batch_size for part, _ in batches[:-1])
    assert all(torch.equal(images, shown.images(part)) for part, images in batches) and not _threads()


def test_selections_and_other_fields_are_read_too() -> None:
    shown = StimulusSet.from_arrays(_images(), fields={"n": np.arange(10.0)}).subset([7, 2, 5])
    assert [values.tolist() for _, values in shown.batches(2, field="n")] == [[7.0, 2.0], [5.0]]


def test_what_cannot_be_asked_for_is_said_at_once() -> None:
    shown = StimulusSet.from_arrays(_images(), name="few")
    with pytest.raises(OptionError, match="batch_size=0: at least 1"):
        batches_of(shown, 0)
    for start in (-1, 11):
        with pytest.raises(OptionError, match=rf"start={start}: few has stimuli 0 to 9"):
            batches_of(shown, start=start)
    with pytest.raises(StimulusError, match="few has no field 'imgae'; near: 'image'"):
        batches_of(shown, field="imgae")
    assert not _threads()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_error_comes_at_its_batch_after_those_before(
    image_folder: Write, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKERS, workers)
    folder = image_folder({f"{index}.png": index for index in range(8)})
    (folder / "5.png").write_bytes(b"broken")
    rows = []
    with pytest.raises(StimulusError, match="image 5.png is broken"):
        for part, _ in StimulusSet.from_folder(folder).batches(2):
            rows.append(part.tolist())
    assert rows == [[0, 1], [2, 3]] and not _threads()
    close_workers()


def test_it_is_read_ahead_but_not_far() -> None:
    read: list[int] = []
    coming = read_ahead(lambda part: read.append(part) or part, range(100))
    assert not read and next(coming) == (0, 0)  # nothing before the first is asked for
    until = time.monotonic() + 5
    while len(read) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.02)  # control: it could read on, and does not
    assert read == [0, 1, 2]
    coming.close()
    assert not _threads()


def test_reading_runs_beside_the_use() -> None:
    """Reading and using take 10 ms each: one after the other 200 ms."""

    def took(batches: Any) -> float:
        start = time.perf_counter()
        for _ in batches:
            time.sleep(0.01)
        return time.perf_counter() - start

    def read(part: int) -> int:
        time.sleep(0.01)
        return part

    beside = min(took(read_ahead(read, range(10))) for _ in range(3))
    after = took((part, read(part)) for part in range(10))  # control
    assert beside < 0.17 < 0.2 <= after


@pytest.mark.parametrize("stop", ["break", "error", "interrupt", "forgotten"])
def test_however_it_ends_the_thread_does_too(stop: str) -> None:
    shown = StimulusSet.from_arrays(_images(1000, 8))
    batches = shown.batches(1)
    next(batches)
    assert _threads()  # control: there is one
    if stop == "break":
        for _ in batches:
            break
        batches.close()
    elif stop == "forgotten":
        del batches
        gc.collect()
    else:
        with pytest.raises(KeyboardInterrupt if stop == "interrupt" else ValueError):
            batches.throw(KeyboardInterrupt() if stop == "interrupt" else ValueError())
    assert not _threads()


def test_torch_is_set_as_where_it_is_asked_for() -> None:
    before = torch.get_num_threads()
    seen = lambda _: (torch.get_num_threads(), torch.is_grad_enabled())  # noqa: E731
    try:
        torch.set_num_threads(1)
        with torch.no_grad():
            assert {value for _, value in read_ahead(seen, range(3))} == {(1, False)}
        assert {value for _, value in read_ahead(seen, range(3))} == {(1, True)}
    finally:
        torch.set_num_threads(before)


def test_a_recording_read_ahead_is_the_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import netphys
    from netphys.recording import passing

    module_ = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Dropout(0.5), torch.nn.ReLU()).eval()
    shown = load_stimuli("world:scenes?n=9&size=32")
    ahead = netphys.record(module_, shown, layers="2", batch_size=4)

    def plain(_: Any, stimuli: StimulusSet, batch_size: int, firsts: Any) -> Any:
        for first in firsts:
            rows = np.arange(first, min(first + batch_size, len(stimuli)))
            yield rows, (stimuli.images(rows),)

    monkeypatch.setattr(passing, "batches_shown", plain)
    assert np.array_equal(ahead.array("2"), netphys.record(module_, shown, layers="2", batch_size=4).array("2"))


def test_a_held_set_is_the_set(image_folder: Write) -> None:
    folder = image_folder({f"{index}.png": index for index in range(70)})
    shown = StimulusSet.from_folder(folder)
    held = shown.held("cpu")
    assert held.digest == shown.digest and held.ids == shown.ids and held.metadata.equals(shown.metadata)
    assert held.name == shown.name and held.conversions == shown.conversions
    digest, images = shown.digest, shown.images([5, 66, 5])
    for file in folder.iterdir():
        file.unlink()
    assert torch.equal(held.images([5, 66, 5]), images) and held.images([0]).dtype == torch.uint8
    assert held.subset([66, 5]).images([0, 1]).equal(images[1:].contiguous())
    held.images([0]).zero_()
    assert held.images([0]).max() > 0 and StimulusSet.from_arrays(held.images(range(70)), ids=held.ids).digest == digest


def test_generated_images_are_held_as_they_are_and_other_fields_are_read() -> None:
    shown = load_stimuli("world:scenes?n=5&size=32").subset([4, 1, 2])
    held = hold(shown, "cpu")
    assert held.images(range(3)).dtype == torch.float32 and torch.equal(held.images(range(3)), shown.images(range(3)))
    other = next(each for each in shown.fields if each != "image")
    assert str(held.get([1], other)) == str(shown.get([1], other)) and held.digest == shown.digest


def _mixed(sizes: Sequence[int]) -> StimulusSet:
    return StimulusSet.from_arrays([_images(1, size)[0] for size in sizes])


@pytest.mark.parametrize("sizes", [[4, 5] * 3, [4] * 70 + [5], [4] * 64 + [5] * 6])
def test_images_of_several_sizes_are_held_in_a_list(sizes: list[int]) -> None:
    shown = _mixed(sizes)
    held = shown.held("cpu")
    for rows in (range(len(sizes)), [0, 0], [len(sizes) - 1]):
        got, wanted = held.images(rows), shown.images(rows)
        assert type(got) is type(wanted) and all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    prepared = Preprocess(resize=(6, 6))
    assert torch.equal(prepared(held.images([0, len(sizes) - 1])), prepared(shown.images([0, len(sizes) - 1])))


def test_what_does_not_fit_is_refused_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StimulusSet.from_arrays(_images(100), name="many")
    need = 100 * 3 * 4 * 4
    assert len(hold(shown, "cpu", budget=need)) == 100  # control: it fits by a byte
    said = (
        f"the images of many take about {need} bytes, more than the {need - 1} that may be held on cpu; "
        "do not hold them (they are read batch by batch), or select fewer"
    )
    with pytest.raises(StimulusError) as caught:
        hold(shown, "cpu", budget=need - 1)
    assert str(caught.value) == said and not _threads()
    monkeypatch.setattr(module, "_free", lambda place: 2 * need - 2)
    with pytest.raises(StimulusError, match=f"more than the {need - 1} that may be held"):
        hold(shown, "cpu")
    with pytest.raises(StimulusError, match="texts has no images to hold; it has text"):
        hold(StimulusSet.from_arrays(fields={"text": ["a"]}, name="texts"), "cpu")
    with pytest.raises(DeviceError):
        hold(shown, "cuda:99")


def test_free_memory_is_that_of_the_machine() -> None:
    assert 1 << 20 < module._free(torch.device("cpu")) < 1 << 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_images_held_on_cuda_are_prepared_there() -> None:
    shown = StimulusSet.from_arrays(_images())
    held = shown.held("cuda")
    assert held.images([3, 1]).device.type == "cuda" and held.digest == shown.digest
    torch.testing.assert_close(
        Preprocess(resize=8)(held.images([3]), "cuda").cpu(), Preprocess(resize=8)(shown.images([3]))
    )
