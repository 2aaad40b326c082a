"""Recordings of one network merge into what one recording of all would have been; what does not fit is named."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError
from netphys.recording import Recording, load_recording, verify
from netphys.recording.file.merging import merge_recordings, missing_of

IDS = [f"s{row}" for row in range(40)]


def _net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 9, 3), nn.Flatten())


def _shown(ids: Any = IDS, **more: Any) -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (len(IDS), 3, 9, 9), dtype=np.uint8)
    table = {"size": np.arange(len(IDS)) + 0.5, "name": [f"n{each}" for each in IDS]}
    rows = [IDS.index(each) for each in ids]
    metadata = pd.DataFrame(more) if more else pd.DataFrame(table).iloc[rows]
    return netphys.StimulusSet.from_arrays(pixels[rows], ids=list(ids), metadata=metadata.reset_index(drop=True))


def _record(path: Path, layers: Any, ids: Any = IDS, **options: Any) -> Path:
    options = {"batch_size": 8, **options}
    net = options.pop("net", None) or _net()
    netphys.record(net, options.pop("shown", None) or _shown(ids), layers=layers, into=path, **options)
    return path


def _same(merged: Recording, whole: Recording) -> None:
    """Bits, ids, layers, metadata."""
    assert merged.layers == whole.layers and merged.stimulus_ids == whole.stimulus_ids
    assert merged.metadata.equals(whole.metadata)
    for layer in whole.layers:
        assert merged.array(layer).tobytes() == whole.array(layer).tobytes()
        assert merged.dims(layer) == whole.dims(layer) and merged.layer_index(layer) == whole.layer_index(layer)
    verify(merged.path)


def test_more_layers_are_what_one_recording_holds(tmp_path: Path) -> None:
    whole = load_recording(_record(tmp_path / "whole.h5", ["0", "1", "3"]))
    parts = [_record(tmp_path / "a.h5", ["3", "1"]), _record(tmp_path / "b.h5", "0")]
    merged = merge_recordings(parts, into=tmp_path / "c.h5")
    _same(merged, whole)  # in order of execution, whatever the order of the parts
    said = merged.header["provenance"]
    assert [each["file"] for each in said["merged_from"]] == ["a.h5", "b.h5"]
    assert [each[0] for each in said["options"]["layers"]] == ["0", "1", "3"]
    assert repr(merged).startswith("Recording(Sequential: 3 layers x 40 stimuli")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_more_stimuli_are_what_one_recording_holds(tmp_path: Path, dtype: str) -> None:
    whole = load_recording(_record(tmp_path / "whole.h5", ["0", "3"], dtype=dtype))
    cuts = (IDS[:13], IDS[13:14], IDS[14:])
    parts = [_record(tmp_path / f"{n}.h5", ["0", "3"], cut, dtype=dtype) for n, cut in enumerate(cuts)]
    _same(merge_recordings(parts, into=tmp_path / "c.h5"), whole)


def test_a_grid_of_both_and_any_order_of_stimuli(tmp_path: Path) -> None:
    whole = load_recording(_record(tmp_path / "whole.h5", ["0", "3"]))
    parts = [
        _record(tmp_path / "a.h5", "0", IDS[:20]),
        _record(tmp_path / "b.h5", "3", IDS[25::-1]),  # another order, and more than a part of the grid
        _record(tmp_path / "c.h5", ["3", "0"], IDS[:19:-1]),
    ]
    merged = merge_recordings(parts, into=tmp_path / "m.h5")
    assert set(merged.stimulus_ids) == set(IDS) and merged.layers == ("0", "3")
    ours, theirs = merged.select(stimuli=IDS), whole
    for layer in ("0", "3"):
        assert ours.array(layer).tobytes() == theirs.array(layer).tobytes()
    assert ours.metadata.reset_index(drop=True).equals(theirs.metadata)
    verify(merged.path)


def test_a_merged_recording_merges_again_and_replaces_a_part(tmp_path: Path) -> None:
    whole = load_recording(_record(tmp_path / "whole.h5", ["0", "1"]))
    a, b = _record(tmp_path / "a.h5", "0", IDS[:20]), _record(tmp_path / "b.h5", "0", IDS[20:])
    c = _record(tmp_path / "c.h5", "1")
    with pytest.raises(RecordingError, match=r"a.h5 is there already; --force replaces it"):
        merge_recordings([a, b], into=a)
    merge_recordings([a, b], into=a, force=True, compression="gzip")
    _same(merge_recordings([load_recording(a), load_recording(c)], into=tmp_path / "d.h5"), whole)
    assert not list(tmp_path.glob(".*"))  # neither locks nor temporary files


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    path = _record(tmp_path / "a.h5", ["0", "3"], IDS[:5])
    missing = missing_of(path, ["0", "1", "2"], ["s1", "s7"])
    assert missing.layers == ("1", "2") and missing.stimulus_ids == ("s7",) and missing
    assert not missing_of(path, ["3"], ["s4"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"net": _net(1)}, "differ in network "),
        ({"dtype": "float16"}, "differ in .*dtype"),
        ({"batch_size": 7}, "differ in batch_size"),
        ({"seed": 3}, "differ in seed"),
        ({"keep": "mean"}, "differ in .*keep"),
    ],
)
def test_what_was_made_otherwise_is_refused_and_named(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    parts = [_record(tmp_path / "a.h5", "0"), _record(tmp_path / "b.h5", "3", **options)]
    with pytest.raises(RecordingError, match=f"b.h5 cannot be merged with .*a.h5: they {said}") as caught:
        merge_recordings(parts, into=tmp_path / "c.h5")
    assert "\n" not in str(caught.value) and not (tmp_path / "c.h5").exists()


def test_contradictions_are_refused_and_equal_bits_are_not(tmp_path: Path) -> None:
    """Two parts of the same digest, one with other values: the sabotage that the comparison must see."""
    a, b = _record(tmp_path / "a.h5", "0", IDS[:20]), _record(tmp_path / "b.h5", "0", IDS[10:])
    assert len(merge_recordings([a, b], into=tmp_path / "c.h5")) == 40
    other = np.random.default_rng(1).integers(0, 256, (30, 3, 9, 9), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(
        other, ids=IDS[10:], metadata=_shown(IDS[10:]).metadata.drop(columns="stimulus_id")
    )
    netphys.record(_net(), shown, layers="0", into=b, batch_size=8, force=True)
    with pytest.raises(RecordingError, match="contradict each other: layer '0' has other activations|is another than"):
        merge_recordings([a, b], into=tmp_path / "d.h5")
    assert not (tmp_path / "d.h5").exists()
    same = _record(tmp_path / "e.h5", "3", IDS[10:])
    with pytest.raises(RecordingError, match="name the same stimuli, but other things were shown|is another than"):
        merge_recordings([b, same], into=tmp_path / "d.h5")


def test_metadata_are_joined_by_stimulus(tmp_path: Path) -> None:
    a = _record(tmp_path / "a.h5", "0", IDS[:2], shown=_shown(IDS[:2], size=[1.0, 2.0], n=[1, 2]))
    b = _record(tmp_path / "b.h5", "0", IDS[2:4], shown=_shown(IDS[2:4], size=[3.0, np.nan], text=["x", None]))
    table = merge_recordings([a, b], into=tmp_path / "c.h5").metadata
    assert table["size"].tolist()[:3] == [1, 2, 3] and table["n"].isna().tolist() == [False, False, True, True]
    assert table["text"].isna().tolist() == [True, True, False, True] and table["text"][2] == "x"
    c = _record(tmp_path / "d.h5", "3", IDS[:2], shown=_shown(IDS[:2], size=[1.0, 9.0], n=[1, 2]))
    with pytest.raises(RecordingError, match="says other 'size' of stimulus 's1' than another part"):
        merge_recordings([a, c], into=tmp_path / "e.h5")


def test_gaps_selections_and_wrong_names_are_refused(tmp_path: Path) -> None:
    a, b = _record(tmp_path / "a.h5", "0", IDS[:5]), _record(tmp_path / "b.h5", "3", IDS[3:8])
    with pytest.raises(RecordingError, match="layer '0' was not recorded to 3 of 8 stimuli, first 's5'"):
        merge_recordings([a, b], into=tmp_path / "c.h5")
    for odd in (load_recording(a).select(stimuli=["s1"]), Recording.from_arrays({"0": np.zeros((1, 2))}, ["a"])):
        with pytest.raises(RecordingError, match="neither selections nor memory"):
            merge_recordings([odd], into=tmp_path / "c.h5")
    with pytest.raises(OptionError, match="a recording is an HDF5 file: .*c.h5"):
        merge_recordings([a], into=tmp_path / "c.txt")
    with pytest.raises(OptionError, match="no recordings"):
        merge_recordings([], into=tmp_path / "c.h5")


@pytest.mark.parametrize("place", ["values", "text"])
def test_a_damaged_part_is_never_merged(tmp_path: Path, place: str) -> None:
    a, b = _record(tmp_path / "a.h5", "0"), _record(tmp_path / "b.h5", "3")
    if place == "values":
        with h5py.File(b) as file:
            at = file["layers"]["3"]["activation"].id.get_chunk_info(0).byte_offset + 5
        data = bytearray(b.read_bytes())
        data[at] ^= 1
        b.write_bytes(data)
    else:
        with h5py.File(b, "r+") as file:
            file["layers"]["3"]["stimulus_id"][4] = "another"
    with pytest.raises(RecordingError, match=r"b.h5: .*not what was written \(checksum"):
        merge_recordings([a, b], into=tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists() and not list(tmp_path.glob(".*"))


def test_memory_does_not_grow_with_the_stimuli(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 24, 24), dtype=np.uint8)
        ids = [str(row) for row in range(n)]
        parts = []
        for name, rows in (("a", slice(0, n // 2)), ("b", slice(n // 2, n))):
            shown = netphys.StimulusSet.from_arrays(pixels[rows], ids=ids[rows])
            parts.append(_record(tmp_path / f"{name}{n}.h5", "0", shown=shown))
        tracemalloc.start()
        merge_recordings(parts, into=tmp_path / f"c{n}.h5")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(400), peak(2000)
    a_layer = 2000 * 6 * 22 * 22 * 4  # 23 MB: a merge that held the layer would show
    assert many < few + a_layer / 8


def _with_plan(path: Path, layers: Any, ids: Any, *, contents: bool) -> Path:
    """Write a recording that says its plan, and what its stimuli are."""
    from netphys.recording.file.schema import read_schema
    from netphys.recording.file.store import Written, write_recording

    _record(path, layers, ids)
    shown = _shown(ids)
    header, entries, stimulus_ids = read_schema(path)
    made = load_recording(path)
    plan = netphys.recording.recorder.recording_plan(_net(), shown, layers=layers, batch_size=8)
    assert netphys.recording.recorder.recording_digest(plan) == header["digest"]
    more = {"plan": plan, "contents": shown._source.digests(shown._rows) if contents else ()}
    columns = {"stimulus_id": np.array(stimulus_ids, dtype=object)}
    columns |= {name: made.metadata[name].to_numpy() for name in ("size",)}
    columns |= {"name": made.metadata["name"].to_numpy(dtype=object)}
    arrays = {each.name: made.array(each.name) for each in entries}

    def rows(name: str) -> Any:
        return lambda step: ((first, arrays[name][first : first + step]) for first in range(0, len(ids), step))

    path.unlink()
    write_recording(path, [Written(each, rows(each.name)) for each in entries], columns, {**header, **more})
    verify(path)
    return path


@pytest.mark.parametrize("contents", [True, False])
def test_the_digest_is_that_of_one_recording_where_that_can_be_told(tmp_path: Path, contents: bool) -> None:
    whole = load_recording(_record(tmp_path / "whole.h5", ["0", "1"]))
    parts = [_with_plan(tmp_path / f"{each}.h5", each, IDS, contents=contents) for each in ("1", "0")]
    assert merge_recordings(parts, into=tmp_path / "c.h5").header["digest"] == whole.header["digest"]
    before = (tmp_path / "c.h5").stat().st_mtime_ns
    netphys.record(_net(), _shown(), layers=["0", "1"], into=tmp_path / "c.h5", batch_size=8)
    assert (tmp_path / "c.h5").stat().st_mtime_ns == before  # taken as it is
    cuts = (IDS[:13], IDS[13:])
    parts = [_with_plan(tmp_path / f"cut{n}.h5", ["0", "1"], cut, contents=contents) for n, cut in enumerate(cuts)]
    merged = merge_recordings(parts, into=tmp_path / "d.h5", repeatable=True)
    assert (merged.header["digest"] == whole.header["digest"]) == contents  # control: else it cannot be told
    _same(merged, whole)
    unknown = merge_recordings(parts, into=tmp_path / "e.h5")  # whether the network draws at random
    assert unknown.header["digest"] != whole.header["digest"]
    again = merge_recordings([unknown, _record(tmp_path / "f.h5", "2")], into=tmp_path / "g.h5")
    parts = [tmp_path / "whole.h5", tmp_path / "f.h5"]
    assert again.header["digest"] != merge_recordings(parts, into=tmp_path / "h.h5").header["digest"]


class Drawing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) + torch.rand(len(x), 3)


def test_a_network_that_draws_is_not_taken_for_one_recording(tmp_path: Path) -> None:
    net = nn.Sequential(Drawing())
    cuts = (IDS[:16], IDS[16:])
    parts = [_record(tmp_path / f"{n}.h5", "0", cut, net=net) for n, cut in enumerate(cuts)]
    merged, whole = (
        merge_recordings(parts, into=tmp_path / "m.h5"),
        load_recording(_record(tmp_path / "w.h5", "0", net=net)),
    )
    assert not np.array_equal(merged.array("0"), whole.array("0"))  # it drew otherwise
    assert merged.header["digest"] != whole.header["digest"]


@pytest.mark.parametrize("order", [1, -1])
def test_damage_that_a_chunks_checksum_cannot_tell_is_not_merged(tmp_path: Path, order: int) -> None:
    """Words of zeros become words of ones, which are the same to Fletcher-32."""
    a, b = _record(tmp_path / "a.h5", "1", IDS[:20][::order]), _record(tmp_path / "b.h5", "1", IDS[20:])
    with h5py.File(a) as file:
        chunk = file["layers"]["1"]["activation"].id.get_chunk_info(0)
    data = bytearray(a.read_bytes())
    values = np.frombuffer(data, np.float32, chunk.size // 4 - 1, chunk.byte_offset)
    place = chunk.byte_offset + 4 * int(np.flatnonzero(values == 0)[3])
    data[place : place + 2] = b"\xff\xff"
    a.write_bytes(data)
    load_recording(a).array("1")  # control: reading does not notice
    other = _record(tmp_path / "ids.h5", "1", IDS[19::-1])  # with it a merge has the first part's rows in another order
    for parts in ([a, b], [b, a], [other, a]):
        with pytest.raises(RecordingError, match=r"a.h5: layer '1' is not what was written \(checksum\)|contradict"):
            merge_recordings(parts, into=tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()


def test_numbers_are_joined_as_floats_where_they_are_the_same(tmp_path: Path) -> None:
    def part(name: str, ids: Any, n: Any) -> Path:
        return _record(tmp_path / name, "0", ids, shown=_shown(ids, n=n))

    a, b = part("a.h5", IDS[:2], [1, 2]), part("b.h5", IDS[2:4], [3.5, np.nan])
    found = merge_recordings([a, b], into=tmp_path / "c.h5").metadata["n"].tolist()
    assert found[:3] == [1, 2, 3.5] and np.isnan(found[3])
    big = part("d.h5", IDS[4:6], [2**60 + 1, 2])
    with pytest.raises(RecordingError, match="column 'n' of the metadata is of another kind"):
        merge_recordings([big, b], into=tmp_path / "e.h5")
    other = _record(tmp_path / "f.h5", "0", IDS[:2])
    with pytest.raises(RecordingError, match="column 'n' of the metadata has whole numbers that no float holds"):
        merge_recordings([big, other], into=tmp_path / "e.h5")


def test_what_projections_measured_is_joined(tmp_path: Path) -> None:
    cuts, keep = (IDS[:16], IDS[16:]), "projection?k=20&s=3"
    parts = [_record(tmp_path / f"{n}.h5", "0", cut, keep=keep) for n, cut in enumerate(cuts)]
    merged = merge_recordings(parts, into=tmp_path / "m.h5").measured("0")
    each = [load_recording(part).measured("0") for part in parts]
    assert merged["epsilon"] == max(one["epsilon"] for one in each) and merged["k"] == 20
    assert merged["n_pairs"] == sum(one["n_pairs"] for one in each)
    squares = sum(one["n_pairs"] * one["epsilon_rms"] ** 2 for one in each)
    assert np.isclose(merged["epsilon_rms"], (squares / merged["n_pairs"]) ** 0.5, rtol=1e-12)
