"""Data are joined to stimuli by id; by order only to a list that the user names, and the source says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.matching import match_stimuli
from netphys.neural import load_neural, read_ids


@pytest.fixture
def file(tmp_path: Path, stack) -> Path:
    np.save(tmp_path / "rdm.npy", stack[0])
    return tmp_path / "rdm.npy"


def test_a_list_by_column_by_sequence_or_in_the_address(file, listed, ids):
    by_column = load_neural(file, ids=listed)
    assert by_column.stimulus_ids == ids and by_column.source == f"rdm.npy, by order to {listed}"
    by_sequence = load_neural(file, ids=list(ids))
    assert by_sequence.stimulus_ids == ids and by_sequence.source == "rdm.npy, by order to the given ids"
    assert load_neural(f"{file}?ids={listed}").stimulus_ids == ids
    assert load_neural(f"{file}?ids={listed}", ids=list("abcdef")).stimulus_ids == ids  # what an address says wins
    assert by_column.digest == by_sequence.digest


def test_ids_are_relative_to_the_working_directory(file, listed, ids, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert load_neural("rdm.npy", ids="metadata.csv:file").source == "rdm.npy, by order to metadata.csv:file"


def test_rows_follow_the_list_and_not_the_position_of_a_model(file, listed, ids, stack):
    """A model whose rows stand in another order still meets its own stimuli."""
    data = load_neural(file, ids=listed)
    model_ids = [ids[at] for at in (3, 0, 5, 1, 4, 2)]
    match = match_stimuli(model_ids, data.stimulus_ids)
    assert [model_ids[row] for row in match.model_rows] == list(ids)
    assert match.model_rows.tolist() != list(range(6))  # control: joined by position, rows would be others


def test_mistakes_of_a_list(file, listed, tmp_path):
    table = listed.removesuffix(":file")
    (tmp_path / "twice.csv").write_text("file\na\nb\na\nc\nd\ne\n")
    (tmp_path / "lost.csv").write_text("id,file\n1,nan\n2,b\n")
    (tmp_path / "gap.csv").write_text("id,file\n1,a\n2,\n")
    for ids, told in {
        None: r"carries no stimulus ids; name the list that its 6 rows follow: --ids FILE:COLUMN",
        table: r"is not FILE:COLUMN; say for example --ids metadata\.csv:file",
        f"{table}:fiel": r"has no column 'fiel'; near: 'file'",
        "absent.csv:file": r"there is no file absent\.csv",
        f"{tmp_path / 'twice.csv'}:file": r"'a'; every stimulus has an id of its own",
        f"{tmp_path / 'gap.csv'}:file": r"column 'file' is empty in row 3",
        ("a", "b", "c"): r"rdm\.npy has 6 stimuli, but the given ids lists 3",
        ("a", "b", "", "d", "e", "f"): r"entry 3 of 6 of the given ids is ''",
        ("a", "b", "c", "d", "e", None): r"entry 6 of 6 of the given ids is None",
        f"{tmp_path / 'lost.csv'}:file": r"column 'file' is empty in row 2 \('nan'\)",
        ("a",) * 6: r"the given ids occur more than once: 'a'",
    }.items():
        with pytest.raises(NeuralDataError, match=told) as raised:
            load_neural(file, ids=ids)
        assert "\n" not in str(raised.value)


def test_read_ids_of_a_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "bom.csv").write_bytes("\ufefffile,kind\n a ,x\nü,y\n".encode())
    assert read_ids(f"{tmp_path / 'bom.csv'}:file") == ("a", "ü")
