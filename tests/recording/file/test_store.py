"""The recording file: one HDF5 that plain h5py and xarray open, chunked for readers of stimuli and of units."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError
from netphys.recording import verify
from netphys.recording.file.bfloat16 import Stored
from netphys.recording.file.entries import Entry
from netphys.recording.file.schema import STATEMENTS, escape, read_header, statement_digest, unescape
from netphys.recording.file.store import Written, chunk_shape, write_recording
from netphys.recording.file.tables import read_columns


class Named(nn.Module):
    """Layers of every number of axes, with names that HDF5 cannot hold as they are."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.add_module("cönv/1 %", nn.Conv2d(3, 4, 3))
            self.relu, self.pair, self.clip = nn.ReLU(inplace=True), Pair(), nn.Conv3d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(getattr(self, "cönv/1 %")(x))
        first, second = self.pair(x)
        self.clip(x[:, :, None].expand(-1, -1, 2, -1, -1))
        return self.relu(second.mean(2))


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.flatten(1), x.flatten(2)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels, ids=["b", "a", "ü/ñ.png", "", "5"])
    path = tmp_path_factory.mktemp("store") / "a recording.h5"
    return netphys.record(Named(), shown, layers="all", into=path), netphys.record(Named(), shown, layers="all")


def test_plain_h5py_reads_it(recorded: Any) -> None:
    file_recording, memory = recorded
    with h5py.File(file_recording.path, "r") as file:
        assert file.attrs["format"] == "netphys-recording-1" and file.attrs["complete"]
        assert json.loads(file.attrs["layers"]) == list(memory.layers)
        assert json.loads(file.attrs["provenance"])["made_by"] == "netphys.record"
        for name in memory.layers:
            group = file["layers"][escape(name)]
            assert group.attrs["layer"] == name and group.attrs["kind"]
            assert np.array_equal(group["activation"][:], memory.array(name))
            assert tuple(dim.label for dim in group["activation"].dims) == memory.dims(name)
            assert group["stimulus_id"].asstr()[:].tolist() == ["b", "a", "ü/ñ.png", "", "5"]
        assert len(file["layers"]) == len(memory.layers) == 6


@pytest.mark.filterwarnings("error")
def test_xarray_opens_every_layer_with_named_dimensions(recorded: Any) -> None:
    file_recording, memory = recorded
    dims = set()
    for name in memory.layers:
        with xr.open_dataset(file_recording.path, group=f"layers/{escape(name)}", engine="h5netcdf") as opened:
            assert opened["activation"].dims == memory.dims(name)
            assert opened["activation"].coords["stimulus_id"].values.tolist() == list(memory.stimulus_ids)
            assert np.array_equal(opened["activation"].values, memory.array(name))
            assert opened["activation"].attrs["units"] == "arbitrary"
        dims.add(memory.dims(name)[1:])
    assert dims == {("unit", "y", "x"), ("unit",), ("unit", "token"), ("unit", "time", "y", "x")}


def test_the_file_has_no_room_left_over_and_no_links(recorded: Any) -> None:
    path = recorded[0].path
    with h5py.File(path, "r") as file:
        assert file.id.get_filesize() == path.stat().st_size
        links: list[Any] = []
        file["layers"].visititems_links(lambda name, link: links.append(type(link)))
        assert set(links) == {h5py.HardLink}


@pytest.mark.parametrize("name", ["a.b", "encoder/0", "é", "a%2Fb", ".", "..", "relu#2", "a b", "[0]", "a\nb", "日本"])
def test_escaped_names_round_trip(name: str) -> None:
    assert unescape(escape(name)) == name and "/" not in escape(name) and escape(name) not in (".", "..")


SHAPES = [
    (1000, (64, 56, 56), 4), (1000, (4096,), 4), (92, (64, 13, 13), 4), (92, (1000,), 4), (2000, (3, 64, 64), 4),
    (5000, (512, 13, 13), 2), (100_000, (768, 197), 4), (50_000, (2048, 7, 7), 2), (300, (64, 111, 111), 4),
    (10, (64, 224, 224), 4), (1000, (16, 8, 14, 14), 4), (7, (5,), 4), (1, (1,), 4), (60_000, (1,), 4),
]  # fmt: skip


@pytest.mark.parametrize(("n_stimuli", "shape", "itemsize"), SHAPES)
def test_chunks_are_neither_small_nor_large(n_stimuli: int, shape: tuple[int, ...], itemsize: int) -> None:
    chunks = chunk_shape(n_stimuli, shape, itemsize)
    n_bytes = math.prod(chunks) * itemsize
    assert all(0 < chunk <= size for chunk, size in zip(chunks, (n_stimuli, *shape))) and chunks[2:] == shape[1:]
    whole = n_stimuli * math.prod(shape) * itemsize
    assert min(1 << 18, whole) <= n_bytes <= 1 << 20


def _read(n_stimuli: int, shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]) -> tuple[float, float]:
    """Bytes read, as a multiple of those wanted, for one stimulus and for one unit."""
    a_map = math.prod(shape[1:]) * itemsize
    rows, columns = math.ceil(n_stimuli / chunks[0]), math.ceil(shape[0] / chunks[1])
    a_chunk = chunks[0] * chunks[1] * a_map
    return columns * a_chunk / (shape[0] * a_map), rows * a_chunk / (n_stimuli * a_map)


@pytest.mark.parametrize(("n_stimuli", "shape", "itemsize"), SHAPES)
def test_one_stimulus_and_one_unit_each_read_little_more_than_is_wanted(
    n_stimuli: int, shape: tuple[int, ...], itemsize: int
) -> None:
    of_stimulus, of_unit = _read(n_stimuli, shape, itemsize, chunk_shape(n_stimuli, shape, itemsize))
    a_map = math.prod(shape[1:]) * itemsize
    # 8 x 8 maps of 4 KiB are the smallest chunk; of smaller ones a chunk holds more, as many units as stimuli,
    # and twice the square root leaves room for chunks that cover the layer evenly
    bound = 8 * 1.15 if a_map >= 1 << 12 else 2 * math.sqrt((1 << 18) / a_map) * 1.15
    if min(shape[0], n_stimuli) >= bound:
        assert of_stimulus <= bound and of_unit <= bound


def test_automatic_chunks_are_seen_to_read_more() -> None:
    """Control: h5py's own choice, for the layer of the definition."""
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        chunks = file.create_dataset("a", (1000, 64, 56, 56), "f4", chunks=True).chunks
    assert chunks[2:] != (56, 56)  # it splits y and x, the worst for both
    assert max(_read(1000, (64, 56, 56), 4, (1000, 1, 56, 56))) > 8


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "foreign", "incomplete"])
def test_what_is_no_whole_recording_is_refused_in_one_line(tmp_path: Path, recorded: Any, damage: str) -> None:
    path = tmp_path / "rec.h5"
    data = recorded[0].path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"text", "truncated": data[: len(data) // 2]}.get(damage, data))
    if damage == "foreign":
        with h5py.File(path, "w") as file:
            file["x"] = [1]
    if damage == "incomplete":
        with h5py.File(path, "r+") as file:
            del file.attrs["complete"]
    with pytest.raises(RecordingError, match="is damaged or not HDF5|is not a recording of netphys") as caught:
        netphys.load_recording(path)
    assert "\n" not in str(caught.value)


def test_an_absent_recording_says_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no recording at .*rec.h5$"):
        read_header(tmp_path / "rec.h5")
    (tmp_path / "rec.h5.partial").mkdir()
    with pytest.raises(RecordingError, match="rec.h5.partial is one that is not finished: give the same command again"):
        read_header(tmp_path / "rec.h5")


def test_a_file_whose_values_lie_elsewhere_is_refused(tmp_path: Path, recorded: Any) -> None:
    """External raw storage would return the bytes of any file."""
    path, secret = tmp_path / "rec.h5", tmp_path / "secret"
    path.write_bytes(recorded[0].path.read_bytes())
    secret.write_bytes(b"x" * 4096)
    with h5py.File(path, "r+") as file:
        group = file["layers"]["relu"]
        shape = group["activation"].shape
        del group["activation"]
        group.create_dataset("activation", shape, "f4", external=[(str(secret), 0, 4096)])
        for axis, dim in enumerate(("stimulus", "unit", "y", "x")):
            group["activation"].dims[axis].label = dim
    with pytest.raises(RecordingError, match="activation keeps its bytes in another file, which is not read"):
        netphys.load_recording(path)


# What the store writes by itself: compression, checksums of chunks, coordinates, odd arrays


def _written(path: Path, values: np.ndarray, *, entry: Entry | None = None, compression: str | None = None) -> Path:
    entry = entry or Entry("a", "ReLU", ("unit", "y", "x"), values.shape[1:], 0)
    header = {"network": "n", "training": "none", "keep": "all", "dtype": values.dtype.name, "provenance": {}}
    rows = Written(entry, lambda step: ((at, values[at : at + step]) for at in range(0, len(values), step)))
    columns = {"stimulus_id": np.array([f"s{row}" for row in range(len(values))], dtype=object)}
    write_recording(path, [rows], columns, {**header, "digest": "d"}, compression=compression)
    return path


def _rectified(n: int = 24) -> np.ndarray:
    return np.maximum(np.random.default_rng(0).normal(size=(n, 16, 28, 28)), 0).astype("f4")


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compressed_chunks_hold_the_same_bits_in_fewer_bytes(tmp_path: Path, compression: str) -> None:
    values = _rectified()
    plain, packed = _written(tmp_path / "a.h5", values), _written(tmp_path / "b.h5", values, compression=compression)
    assert packed.stat().st_size < 0.8 * plain.stat().st_size
    for path in (plain, packed):
        assert netphys.load_recording(path).array("a").tobytes() == values.tobytes()
        verify(path)
        with h5py.File(path) as file:
            data, size = file["layers/a/activation"], file.id.get_filesize()
            assert data.fletcher32 and data.compression == (compression if path == packed else None)
            assert size == path.stat().st_size  # nothing reserved is left
    with h5py.File(packed) as file:
        assert file.attrs["compression"] == compression and file["layers/a/activation"].shuffle


def test_each_chunk_is_written_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a compressed chunk that is written is unpacked and packed again with the next one."""
    spans: list[tuple[int, int]] = []
    right = Stored.write

    def write(self: Stored, first: int, values: np.ndarray) -> None:
        spans.append((first, first + len(values)))
        right(self, first, values)

    monkeypatch.setattr(Stored, "write", write)
    path = _written(tmp_path / "a.h5", _rectified(43), compression="gzip")
    with h5py.File(path) as file:
        side = file["layers/a/activation"].chunks[0]
    assert 43 % side  # the last row of chunks is a part
    assert spans == [(first, min(first + side, 43)) for first in range(0, 43, side)]


def test_a_unit_that_never_answers_compresses_beyond_what_strangers_may_claim(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.h5", np.zeros((100, 64, 28, 28), "f4"), compression="gzip")
    with h5py.File(path) as file:
        data = file["layers/a/activation"]
        assert data.nbytes / data.id.get_storage_size() > 200  # the guard's usual ratio
    assert not netphys.load_recording(path).array("a").any()
    verify(path)


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_a_damaged_chunk_is_one_line_and_without_the_filter_it_is_silent(
    tmp_path: Path, compression: str | None
) -> None:
    values = _rectified()
    path = _written(tmp_path / "a.h5", values, compression=compression)
    with h5py.File(path) as file:
        info = file["layers/a/activation"].id.get_chunk_info(2)
        chunks = file["layers/a/activation"].chunks
        first, unit = info.chunk_offset[:2]
    data = bytearray(path.read_bytes())
    data[info.byte_offset + info.size // 2] ^= 0x10
    path.write_bytes(data)
    opened = netphys.load_recording(path)
    last = min(first + chunks[0], 24) - 1, min(unit + chunks[1], 16) - 1
    where = rf"stimuli {first} to {last[0]}, units {unit} to {last[1]}"
    said = rf"a.h5: layer 'a' is not what was written \(checksum of {where}\)"
    readers = {
        "array": lambda: opened.array("a"),
        "xarray": lambda: opened["a"].values,
        "blocks": lambda: list(opened.unit_blocks("a", 1 << 10)),
        "tensor": lambda: opened.tensor("a"),
        "item": lambda: opened.dataset("a")[first],
        "verify": lambda: verify(path),
    }
    for name, read in readers.items():
        with pytest.raises(RecordingError, match=said) as caught:
            read()
        assert "\n" not in str(caught.value), name
    far = 0 if first else 20
    assert np.array_equal(opened.read("a", np.array([far])), values[[far]])  # the others are read
    with h5py.File(tmp_path / "c.h5", "w") as file:  # control: without the filter nobody notices
        file.create_dataset("a", data=values, chunks=chunks)
        at = file["a"].id.get_chunk_info(2).byte_offset + 1000
    data = bytearray((tmp_path / "c.h5").read_bytes())
    data[at] ^= 0x10
    (tmp_path / "c.h5").write_bytes(data)
    with h5py.File(tmp_path / "c.h5") as file:
        assert not np.array_equal(file["a"][:], values)


def test_coordinates_of_tokens_are_read_by_xarray(tmp_path: Path) -> None:
    tokens = ("cls", *("register",) * 2, *("patch",) * 6)
    values = np.random.default_rng(0).normal(size=(4, 3, 9)).astype("f4")
    entry = Entry("a", "Block", ("unit", "token"), (3, 9), 0, tokens=tokens, grid=(2, 3))
    path = _written(tmp_path / "a.h5", values, entry=entry)
    with xr.open_dataset(path, group="layers/a", engine="h5netcdf") as opened:
        plain = opened["activation"].load()
    for labelled in (plain, netphys.load_recording(path)["a"]):
        assert labelled["token_kind"].values.tolist() == list(tokens)
        assert labelled["patch_y"].values.tolist() == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
        patches = labelled.isel(token=labelled["token_kind"].values == "patch")
        assert np.array_equal(patches.values, values[:, :, 3:])
        place = labelled.isel(token=(labelled["patch_y"] == 1).values & (labelled["patch_x"] == 2).values)
        assert np.array_equal(place.values, values[:, :, 8:])
    verify(path)
    with h5py.File(path, "r+") as file:
        file["layers/a/patch_x"][4] = 0
    with pytest.raises(RecordingError, match="what it says of itself is not what was written"):
        verify(path)


def test_windows_queries_and_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = [("unit", "window", "y", "x"), ("unit", "query", "key"), ("unit", "window", "query", "key")]
    for n, dims in enumerate(known):
        values = rng.normal(size=(3, 2, *range(3, 2 + len(dims)))).astype("f4")
        path = _written(tmp_path / f"{n}.h5", values, entry=Entry("a", "K", dims, values.shape[1:], 0))
        opened = netphys.load_recording(path)
        assert opened["a"].dims == ("stimulus", *dims) and np.array_equal(opened["a"].values, values)
        with xr.open_dataset(path, group="layers/a", engine="h5netcdf") as plain:
            assert plain["activation"].dims == ("stimulus", *dims)


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", ">f4"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 3, 2, 2), (0, 5), (3, 0), (2, 3, 0)])
def test_arrays_come_back_bit_for_bit(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    flat = values.reshape(-1)
    flat[: min(5, flat.size)] = [np.nan, np.inf, -np.inf, -0.0, 1e-40][: min(5, flat.size)]
    values = np.asfortranarray(flat.reshape(shape))
    dims = {2: ("unit",), 3: ("unit", "token"), 4: ("unit", "y", "x")}[len(shape)]
    entry = Entry("a/ü .", "K", dims, shape[1:], 0)
    native = values.astype(np.dtype(dtype).newbyteorder("="))
    path = _written(tmp_path / "a.h5", native if dtype != ">f4" else values, entry=entry)
    verify(path)
    found = netphys.load_recording(path).array("a/ü .")
    assert found.shape == shape and found.astype(native.dtype).tobytes() == native.tobytes()
    theirs = netphys.recording.Recording.from_arrays({"a": values}, [f"s{row}" for row in range(shape[0])])
    assert theirs.array("a").astype(native.dtype).tobytes() == native.tobytes()


def test_compressions_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="compression='gzib' is not known; near: 'gzip'"):
        _written(tmp_path / "a.h5", _rectified(1), compression="gzib")
    assert not list(tmp_path.iterdir())


def test_a_file_made_before_is_opened(tmp_path: Path, recorded: Any) -> None:
    """Without facts of layers, checksums of chunks, coordinates."""
    path = tmp_path / "old.h5"
    path.write_bytes(recorded[0].path.read_bytes())
    with h5py.File(path, "r+") as file:
        for key in {"plan", "compression", "contents_sha256"} & set(file.attrs):
            del file.attrs[key]
        file.pop("contents", None)
        for group in file["layers"].values():
            del group.attrs["facts"]
            values, dims = group["activation"][:], [dim.label for dim in group["activation"].dims]
            del group["activation"]
            data = group.create_dataset("activation", data=values, chunks=values.shape)
            for axis, dim in enumerate(dims):
                data.dims[axis].label = dim
        said = {key: file.attrs[key] for key in STATEMENTS}
        groups = {unescape(name): group for name, group in file["layers"].items()}
        sums = {name: groups[name].attrs["sha256"] for name in json.loads(file.attrs["layers"])}
        ids = ("b", "a", "ü/ñ.png", "", "5")
        file.attrs["sha256"] = statement_digest(said, sums, ids, read_columns(path, file, 5))
    opened = netphys.load_recording(path)
    verify(path)
    for layer in opened.layers:
        assert np.array_equal(opened.array(layer), recorded[1].array(layer)) and opened.measured(layer) == {}
        assert opened[layer].dims == recorded[1].dims(layer)
