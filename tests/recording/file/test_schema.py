"""A recording's file is checked once: strangers' files end in one line, our own is known by its checksums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError
from netphys.recording import load_recording, verify


def _file(path: Path, **changes: Any) -> h5py.File:
    """Write a small honest recording, with other attributes where told; None leaves one out."""
    attributes = {
        "format": "netphys-recording-1", "complete": True, "digest": "x", "network": "n", "training": "u",
        "keep": "all", "dtype": "float32", "layers": '["fc"]', "provenance": "{}", **changes,
    }  # fmt: skip
    file = h5py.File(path, "w")
    file.attrs.update({key: value for key, value in attributes.items() if value is not None})
    file.create_group("layers")
    return file


def _layer(
    file: h5py.File, name: str = "fc", ids: Any = ("a", "b"), values: Any = None, labels: Any = ("stimulus", "unit")
) -> h5py.Group:
    group = file["layers"].create_group(name)
    group.attrs["kind"] = "Linear"
    data = group.create_dataset("activation", data=np.arange(6.0).reshape(2, 3) if values is None else values)
    for axis, label in enumerate(labels):
        data.dims[axis].label = label
    group.create_dataset("stimulus_id", data=list(ids), dtype=h5py.string_dtype())
    return group


def _two_orders(path: Path) -> None:
    with _file(path, layers='["f1", "f2"]') as file:
        _layer(file, "f1")
        _layer(file, "f2", ids=("b", "a"))


def _with(change: Callable[[h5py.Group], None] | None = None, **given: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with _file(path) as file:
            group = _layer(file, **given)
            if change:
                change(group)

    return write


def _said(**changes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with _file(path, **changes) as file:
            _layer(file)

    return write


def _claim(group: h5py.Group) -> None:
    del group["activation"]
    group.create_dataset("activation", shape=(2, 10**12), dtype="f4", chunks=(1, 1 << 20))


def _outside(group: h5py.Group) -> None:
    del group["activation"]
    group["activation"] = h5py.ExternalLink("/etc/passwd", "/x")


def _integers(group: h5py.Group) -> None:
    del group["stimulus_id"]
    group["stimulus_id"] = [1, 2]


STRANGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "two ids for five rows": (_with(values=np.zeros((5, 3))), "layer 'fc' has 2 stimulus_ids for 5 rows"),
    "ids twice": (_with(ids=("a", "a")), "occur more than once: 'a'"),
    "ids in two orders": (_two_orders, "layers 'f1' and 'f2' have other stimulus_ids"),
    "ids that are numbers": (_with(_integers), "layer 'fc' has no stimulus_id"),
    "a large claim": (_with(_claim), "claims 8000000000000 bytes from 0 bytes on disk"),
    "a link": (_with(_outside), "is a link to elsewhere"),
    "no layers": (_said(layers="[]"), "names no layers"),
    "no list": (_said(layers='"fc"'), "names no layers"),
    "a layer twice": (_said(layers='["fc", "fc"]'), "names a layer twice"),
    "bad JSON": (_said(layers="{"), "its attribute layers is no JSON"),
    "deep JSON": (_said(provenance="[" * 60_000), "its attribute provenance is no JSON"),
    "provenance of another kind": (_said(provenance="3"), "its provenance is no table"),
    "no network": (_said(network=None), "does not say its network"),
    "a network that is no text": (_said(network=np.arange(3)), "does not say its network"),
    "another format": (_said(format=3), r"is not a recording of netphys \(format 3\)"),
    "not complete": (_said(complete=np.arange(2)), "is not a recording of netphys"),
    "a layer that is not there": (_said(layers='["fc", "fd"]'), "lacks the layer 'fd' that it names"),
    "no axes": (_with(labels=()), r"layer 'fc' has the axes \('', ''\)"),
    "integers": (_with(values=np.zeros((2, 3), int)), "layer 'fc' has no activation"),
    "one axis": (_with(values=np.zeros(2), labels=("stimulus",)), "layer 'fc' has no activation"),
    "no activation": (_with(lambda group: group.pop("activation")), "layer 'fc' has no activation"),
    "kind": (_with(lambda group: group.attrs.update(kind=np.arange(2))), "does not say its kind"),
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGE)
def test_what_strangers_write_ends_in_one_line(tmp_path: Path, what: str) -> None:
    write, said = STRANGE[what]
    path = tmp_path / "rec.h5"
    try:
        write(path)
    except OSError as error:  # HDF5 bounds the size of attributes
        pytest.skip(str(error))
    with pytest.raises(RecordingError, match=said) as caught:
        load_recording(path)
    assert "\n" not in str(caught.value)


def test_an_honest_file_of_a_stranger_is_read_without_chunks(tmp_path: Path) -> None:
    """Control: the check does not refuse everything."""
    _with()(tmp_path / "rec.h5")
    loaded = load_recording(tmp_path / "rec.h5")
    assert loaded.array("fc").tolist() == [[0, 1, 2], [3, 4, 5]] and loaded.layer_index("fc") == 0
    assert loaded.select(stimuli=["b"], units=[2, 0]).array("fc").tolist() == [[5, 3]]
    with pytest.raises(RecordingError, match="has no checksums, so that damage cannot be told; record it again"):
        verify(tmp_path / "rec.h5")


# Our own


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten())


def _shown() -> Any:
    return netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8))


def _flip(path: Path, layer: str) -> None:
    with h5py.File(path) as file:
        at = file["layers"][layer]["activation"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at + 3] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_changed_bit_is_found_and_the_file_not_taken(tmp_path: Path, dtype: str) -> None:
    path, options = tmp_path / "rec.h5", {"layers": ["1", "2"], "dtype": dtype}
    made = netphys.record(_net(), _shown(), into=path, **options).array("2").copy()
    verify(path)
    before = path.stat().st_mtime_ns
    netphys.record(_net(), _shown(), into=path, **options)
    assert path.stat().st_mtime_ns == before  # whole, it is taken as it is
    _flip(path, "2")
    where = r"layer '2' is not what was written \(checksum of stimuli 0 to 9, units 0 to 215\)"
    opened = load_recording(path)
    for read in (lambda: opened.array("2"), lambda: opened["2"].values, lambda: verify(path)):
        with pytest.raises(RecordingError, match=f"rec.h5: {where}") as caught:
            read()
        assert "\n" not in str(caught.value)
    said = f"rec.h5 is in the way .*{where}.*--force replaces it"
    with pytest.raises(RecordingError, match=said):
        netphys.record(_net(), _shown(), into=path, **options)
    assert np.array_equal(netphys.record(_net(), _shown(), into=path, force=True, **options).array("2"), made)
    verify(path)


@pytest.mark.parametrize("what", ["signature", "group", "gone"])
def test_a_file_that_is_damaged_after_it_was_opened(tmp_path: Path, what: str) -> None:
    path = tmp_path / "rec.h5"
    opened = netphys.record(_net(), _shown(), layers="2", into=path)
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        at = 0 if what == "signature" else h5py.h5o.get_info(file["layers/2/activation"].id).addr + 8
    data[at] ^= 1
    path.write_bytes(data)
    if what == "gone":
        path.unlink()
    said = "rec.h5 is not there any more" if what == "gone" else "layer '2' is lost: .*rec.h5 cannot be read"
    with pytest.raises(RecordingError, match=said) as caught:
        opened.array("2")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["network", "provenance", "stimulus_id", "sha256"])
def test_what_the_file_says_is_checked_too(tmp_path: Path, what: str) -> None:
    path = tmp_path / "rec.h5"
    netphys.record(_net(), _shown(), layers="2", into=path)
    with h5py.File(path, "r+") as file:
        if what == "stimulus_id":
            file["layers"]["2"]["stimulus_id"][0] = "another"
        elif what == "sha256":
            del file.attrs["sha256"]
        else:
            file.attrs[what] = '{"a": 1}'
    with pytest.raises(RecordingError, match=r"what it says of itself is not what was written \(checksum\)"):
        verify(path)


def test_the_place_of_a_layer_in_its_network(tmp_path: Path) -> None:
    for into in (None, tmp_path / "rec.h5"):
        recording = netphys.record(_net(), _shown(), layers=["2", "1"], into=into)
        assert [recording.layer_index(layer) for layer in recording.layers] == [1, 2]
        assert recording.select(layers="2").layer_index("2") == 2
    mine = netphys.recording.Recording.from_arrays({"b": np.zeros((1, 2)), "a": np.zeros((1, 2))}, ["x"])
    assert mine.layer_index("a") == 1


def test_what_is_in_memory_cannot_be_written_to() -> None:
    values = np.ones((10, 4))
    mine = netphys.recording.Recording.from_arrays({"fc": values}, [str(row) for row in range(10)])
    for recording, layer in ((netphys.record(_net(), _shown(), layers="2"), "2"), (mine, "fc")):
        for view in (recording.array(layer), next(recording.unit_blocks(layer)), recording[layer].values):
            with pytest.raises(ValueError, match="read-only"):
                view[:] = 0
        recording.array(layer).copy()[:] = 0
        assert (recording.array(layer) != 0).any()
    values[0] = 2  # what its owner keeps is his


def _one(path: Path) -> Path:
    netphys.record(_net(), _shown(), layers="0", into=path)
    return path


@pytest.mark.parametrize("what", ["an id", "exchanged ids", "metadata", "header", "contents", "no contents", "facts"])
def test_what_was_changed_is_refused_when_it_is_opened(tmp_path: Path, what: str) -> None:
    path = _one(tmp_path / "a.h5")
    load_recording(path)
    with h5py.File(path, "r+") as file:
        ids = file["layers"]["0"]["stimulus_id"]
        if what == "an id":
            ids[1] = "another"
        elif what == "exchanged ids":
            ids[:2] = [ids[1], ids[0]]
        elif what == "metadata":
            file["stimuli"]["stimulus_id"][0] = file["stimuli"]["stimulus_id"][1]
        elif what == "header":
            file.attrs["network"] = "another"
        elif what == "contents":
            file["contents"][0] = file["contents"][1]
        elif what == "no contents":
            del file["contents"]
        else:
            file["layers"]["0"].attrs["facts"] = file["layers"]["0"].attrs["facts"].replace("Conv2d", "Linear")
    with pytest.raises(RecordingError, match="checksum|contents|describe other"):
        load_recording(path)


def test_a_file_without_that_checksum_still_opens(tmp_path: Path) -> None:
    path = _one(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]
    assert load_recording(path).layers == ("0",)


@pytest.mark.parametrize("chunked", [False, True])
def test_many_ids_that_are_one_long_text_take_no_memory(tmp_path: Path, chunked: bool) -> None:
    """References to one text of 1 MB each: 400 ids would take 400 MB."""
    import tracemalloc

    path, n = tmp_path / "a.h5", 400
    with h5py.File(_one(path), "r+") as file:
        group = file["layers"]["0"]
        del group["stimulus_id"], group["activation"]
        group.create_dataset("activation", data=np.zeros((n, 6), np.float32)).dims[0].label = "stimulus"
        group["activation"].dims[1].label = "unit"
        ids = group.create_dataset("stimulus_id", (n,), h5py.string_dtype(), chunks=(n,) if chunked else None)
        ids[:] = ["A" * (1 << 20)] + ["b"] * (n - 1)
        place = ids.id.get_chunk_info(0).byte_offset if chunked else ids.id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 16 * n] = data[place : place + 16] * n
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(RecordingError, match="claims .* bytes of text from"):
        load_recording(path)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("facts", ['{"places": [[0, 1000000]]}', '{"tokens": [["patch", 1000000]]}'])
def test_facts_must_fit_the_layer_before_they_are_spelt_out(tmp_path: Path, facts: str) -> None:
    path = _one(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["layers"]["0"].attrs["facts"] = facts
    with pytest.raises(RecordingError, match="layer '0' does not say what it is"):
        load_recording(path)
