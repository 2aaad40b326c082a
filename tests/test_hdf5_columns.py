"""A table in HDF5: what comes back, what is refused, and whose error it is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from netphys.errors import FileError, RecordingError
from netphys.hdf5_columns import (
    fixed_text,
    metadata_frame,
    plain_columns,
    read_columns,
    table_digest,
    write_columns,
    write_fixed_text,
)

IDS = ["b", "a", "c.png"]
TABLE = pd.DataFrame({"category": ["face", "", "Gesicht ü"], "is/odd.": [True, False, True], "n": [1, 2, -3]})


@pytest.mark.parametrize("fixed", [False, True])
def test_a_table_comes_back_in_its_order(tmp_path: Path, fixed: bool) -> None:
    columns = plain_columns(TABLE, IDS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_columns(file, columns, fixed=fixed)
        found = read_columns(tmp_path / "a.h5", file, 3, fixed=fixed)
    assert found is not None and list(found) == ["stimulus_id", "category", "is/odd.", "n"]
    assert table_digest(found) == table_digest(columns) and found["is/odd."].dtype == bool
    assert found["category"].tolist() == ["face", "", "Gesicht ü"]


def test_texts_of_any_length_are_not_read_where_fixed_ones_are_asked_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_columns(file, plain_columns(TABLE, IDS))  # attributes of any length
        with pytest.raises(FileError, match="does not say its name; write it again"):
            read_columns(tmp_path / "a.h5", file, 3, fixed=True)
        write_fixed_text(file, "said", "schön")
        file.attrs["long"], file.attrs["number"] = "of any length", 3
        assert [fixed_text(file, each) for each in ("said", "long", "number", "absent")] == ["schön", None, None, None]


def test_the_error_and_the_remedy_are_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        assert read_columns(path, file, 3) is None
        write_columns(file, plain_columns(TABLE, IDS))
        with pytest.raises(
            RecordingError, match=r"column 'category' of /stimuli is no plain column of 2 .*; record it"
        ):
            read_columns(path, file, 2, error=RecordingError, remedy="record it again")
        with pytest.raises(FileError, match="; write it again"):
            read_columns(path, file, 2)


def test_what_is_left_out_is_said_with_its_keeper(caplog: pytest.LogCaptureFixture) -> None:
    assert list(plain_columns(pd.DataFrame({"a": [[1], [2], [3]]}), IDS, keeper="the stimuli")) == ["stimulus_id"]
    assert "are not kept with the stimuli: 'a'" in caplog.text


def test_the_digest_of_a_table_is_of_names_kinds_and_values() -> None:
    base = plain_columns(TABLE, IDS)
    assert table_digest(dict(reversed(base.items()))) == table_digest(base)
    others = [
        {**base, "n": base["n"].astype(np.float64)},
        {**base, "n": base["n"] + 1},
        {("m" if name == "n" else name): values for name, values in base.items()},
        {**base, "category": np.array(["face", "face", ""], dtype=object)},
    ]
    assert len({table_digest(each) for each in [base, *others]}) == 5


GAPS = pd.DataFrame({"category": ["face", np.nan, ""], "window": [np.nan] * 3, "n": [1.0, np.nan, 3.0]})
GAPS["window"] = GAPS["window"].astype(GAPS["category"].dtype)  # texts, of which none is there


@pytest.mark.parametrize("fixed", [False, True])
def test_missing_texts_stay_missing_and_empty_ones_empty(tmp_path: Path, fixed: bool) -> None:
    columns = plain_columns(GAPS, IDS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_columns(file, columns, fixed=fixed)
        found = read_columns(tmp_path / "a.h5", file, 3, fixed=fixed)
        assert sorted(file["stimuli"]) == [
            "category", "category?missing", "n", "stimulus_id", "window", "window?missing"
        ]  # fmt: skip
        assert file["stimuli/category"].asstr()[:].tolist() == ["face", "", ""]  # as plain h5py reads it
    assert found is not None and found["category"].tolist() == ["face", None, ""]
    assert table_digest(found) == table_digest(columns)
    assert table_digest(found) != table_digest(plain_columns(GAPS.fillna({"category": ""}), IDS))  # control
    shown = metadata_frame(found, None)
    pd.testing.assert_frame_equal(shown[list(GAPS)], GAPS)
    assert shown.isna().sum().sum() == GAPS.isna().sum().sum() == 5
    assert metadata_frame(found, np.array([2, 1]))["category"].isna().tolist() == [False, True]


def test_a_file_that_says_nothing_of_missing_texts_reads_as_before(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_columns(file, plain_columns(GAPS, IDS))
        del file["stimuli/category?missing"]
        found = read_columns(tmp_path / "a.h5", file, 3)
    assert found is not None and found["category"].tolist() == ["face", "", ""]


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ([True, True, False], "column 'category' of /stimuli holds what it says is missing"),
        ([False, True], "column 'category' of /stimuli does not say which of its texts are missing"),
        ([0, 1, 0], "does not say which"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path, mask: list, said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_columns(file, plain_columns(GAPS, IDS))
        del file["stimuli/category?missing"]
        file["stimuli/category?missing"] = mask
        with pytest.raises(FileError, match=said):
            read_columns(tmp_path / "a.h5", file, 3)
