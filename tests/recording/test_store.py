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
from netphys.errors import RecordingError
from netphys.recording.schema import escape, read_header, unescape
from netphys.recording.store import chunk_shape


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
