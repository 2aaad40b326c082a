"""The stimuli's metadata travel with a recording: in memory and in the file, selected, checked, never taken for old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import MatchError, RecordingError
from netphys.recording import Recording, load_recording, verify
from netphys.recording.file.tables import plain_columns, table_digest

IDS = ["b", "a", "c.png"]


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "category": ["face", "", "Gesicht ü"],
            "size": np.array([1.5, np.nan, 3], dtype=np.float32),
            "count": [1, 2, -3],
            "is/odd.": [True, False, True],
            "kind": pd.Categorical(["x", "y", "x"]),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
        }
    )


def shown(metadata: pd.DataFrame | None = None) -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels, ids=IDS, metadata=table() if metadata is None else metadata)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x)


def recorded(path: Path, metadata: pd.DataFrame | None = None, **options: Any) -> Recording:
    return netphys.record(Small(), shown(metadata), layers="pool", into=path, **options)


def test_file_and_memory_give_the_table_back(tmp_path: Path) -> None:
    in_file = recorded(tmp_path / "rec.h5").metadata
    in_memory = netphys.record(Small(), shown(), layers="pool").metadata
    pd.testing.assert_frame_equal(in_file, in_memory)
    assert list(in_file.columns) == ["stimulus_id", "category", "size", "count", "is/odd.", "kind", "maybe"]
    assert in_file["stimulus_id"].tolist() == IDS and in_file["category"].tolist() == ["face", "", "Gesicht ü"]
    assert in_file["is/odd."].dtype == bool and in_file["size"].dtype == np.float32
    assert in_file["count"].tolist() == [1, 2, -3] and np.isnan(in_file["maybe"][1])
    verify(tmp_path / "rec.h5")


def test_missing_texts_stay_missing_in_file_and_memory(tmp_path: Path) -> None:
    first = table()[["category", "size"]]
    both = shown(first) + netphys.StimulusSet.from_arrays(np.zeros((1, 3, 8, 8), dtype=np.uint8), ids=["blank"])
    recordings = [netphys.record(Small(), both, layers="pool", into=each) for each in (tmp_path / "rec.h5", None)]
    for recording in recordings:
        pd.testing.assert_frame_equal(recording.metadata[both.metadata.columns], both.metadata)
        assert recording.metadata["category"].isna().tolist() == [False, False, False, True]
        assert recording.metadata["category"][1] == ""  # control: empty is not missing
    verify(tmp_path / "rec.h5")


def test_plain_h5py_reads_a_dataset_a_column(tmp_path: Path) -> None:
    with h5py.File(recorded(tmp_path / "rec.h5").path, "r") as file:
        assert file["stimuli"]["category"].asstr()[:].tolist() == ["face", "", "Gesicht ü"]
        assert file["stimuli"]["count"][:].tolist() == [1, 2, -3]


def test_a_selection_has_its_rows(tmp_path: Path) -> None:
    for recording in (recorded(tmp_path / "rec.h5"), netphys.record(Small(), shown(), layers="pool")):
        chosen = recording.select(stimuli=["c.png", "b"]).select(stimuli=["b", "c.png"]).metadata
        assert chosen["stimulus_id"].tolist() == ["b", "c.png"] and chosen["count"].tolist() == [1, -3]
        table_of_it = recording.metadata
        table_of_it.loc[:, "count"] = 0  # a copy
        assert recording.metadata["count"].tolist() == [1, 2, -3]


def test_features_from_elsewhere_take_a_table_by_id_not_by_place() -> None:
    arrays = {"fc": np.zeros((2, 4))}
    frame = pd.DataFrame({"stimulus_id": ["y", "extra", "x"], "n": [1, 2, 3]})
    assert Recording.from_arrays(arrays, ["x", "y"], metadata=frame).metadata["n"].tolist() == [3, 1]
    assert Recording.from_arrays(arrays, ["x", "y"], metadata=frame[["n"]][:2]).metadata["n"].tolist() == [1, 2]
    assert list(Recording.from_arrays(arrays, ["x", "y"]).metadata.columns) == ["stimulus_id"]
    with pytest.raises(MatchError, match="1 of 2 stimuli of arrays are not among the 3 of the metadata: 'z'"):
        Recording.from_arrays(arrays, ["x", "z"], metadata=frame)
    with pytest.raises(RecordingError, match="2 stimuli but 3 rows of metadata"):
        Recording.from_arrays(arrays, ["x", "y"], metadata=frame[["n"]])


def test_what_is_neither_text_nor_number_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    odd = pd.DataFrame(
        {"list": [[1], [2], [3]], "mixed": ["a", 1, True], "when": pd.date_range("2020", periods=3), "nul": ["\0"] * 3}
    )
    assert list(plain_columns(odd, IDS)) == ["stimulus_id"]
    assert "4 column(s) of the stimuli's metadata are not strings" in caplog.text and "'list', 'mixed'" in caplog.text


def test_a_changed_table_is_another_recording(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    before = recorded(path)
    assert recorded(path).header["digest"] == before.header["digest"]  # control: the same table is the same
    changed = table().assign(category=["face", "", "hand"])
    with pytest.raises(RecordingError, match="holds another recording"):
        recorded(path, changed)
    assert recorded(path, changed, force=True).metadata["category"][2] == "hand"


def test_files_made_before_have_only_ids(tmp_path: Path) -> None:
    path = recorded(tmp_path / "rec.h5").path
    with h5py.File(path, "r+") as file:
        del file["stimuli"]
    with pytest.raises(RecordingError, match="what it says of itself is not what was written"):
        load_recording(path)  # a table that was taken away is seen
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]  # as files were made before
    old = load_recording(path)
    assert list(old.metadata.columns) == ["stimulus_id"]
    assert old.select(stimuli=["a"]).metadata["stimulus_id"].tolist() == ["a"]
    with pytest.raises(RecordingError):
        verify(path)


def _other_ids(group: h5py.Group) -> None:
    group["stimulus_id"][0] = b"z"


def _short(group: h5py.Group) -> None:
    del group["count"]
    group["count"] = [1, 2]
    group["count"].attrs["column"] = "count"


def _any_length(group: h5py.Group) -> None:
    del group["category"]
    group.create_dataset("category", data=["a", "b", "c"], dtype=h5py.string_dtype())
    group["category"].attrs["column"] = "category"


def _compound(group: h5py.Group) -> None:
    del group["count"]
    group["count"] = np.zeros(3, dtype=[("a", "f4")])
    group["count"].attrs["column"] = "count"


def _claim(group: h5py.Group) -> None:
    del group["count"]
    group.create_dataset("count", (10**14,), "f8", chunks=(1 << 20,))


def _not_utf8(group: h5py.Group) -> None:
    group["category"].id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([b"\xff"] * 3, dtype=group["category"].dtype))


def _nameless(group: h5py.Group) -> None:
    del group["count"].attrs["column"]


def _subgroup(group: h5py.Group) -> None:
    group.create_group("more")


_DAMAGES = [_other_ids, _short, _any_length, _compound, _claim, _not_utf8, _nameless, _subgroup]


@pytest.mark.parametrize("damage", _DAMAGES, ids=lambda change: change.__name__)
def test_a_damaged_table_is_one_line(tmp_path: Path, damage: Any) -> None:
    path = recorded(tmp_path / "rec.h5").path
    with h5py.File(path, "r+") as file:
        damage(file["stimuli"])
    with pytest.raises(
        RecordingError, match="record it again|claims|what it says of itself is not what was written"
    ) as caught:
        load_recording(path).metadata  # noqa: B018 - it reads the file
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(RecordingError):
        verify(path)


def test_a_changed_cell_is_seen(tmp_path: Path) -> None:
    path = recorded(tmp_path / "rec.h5").path
    with h5py.File(path, "r+") as file:
        file["stimuli"]["count"][0] = 7
    with pytest.raises(RecordingError, match="what it says of itself is not what was written"):
        verify(path)


def test_the_digest_of_a_table_is_of_names_kinds_and_values() -> None:
    base = plain_columns(table(), IDS)
    assert table_digest(dict(reversed(base.items()))) == table_digest(base)
    others = [
        {**base, "count": base["count"].astype(np.float64)},
        {**base, "count": base["count"] + 1},
        {("counts" if name == "count" else name): values for name, values in base.items()},
        {**base, "category": np.array(["face", "face", ""], dtype=object)},
    ]
    assert len({table_digest(each) for each in [base, *others]}) == 5
