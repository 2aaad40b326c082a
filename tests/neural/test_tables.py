"""Wide CSV tables of responses, and behaviour in CSV: by stimulus, by presentation, by trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import load_neural, read_assembly, write_assembly

VALUES = np.random.default_rng(7).normal(size=(6, 3)) / 3
SHOWN = ["b", "ä", "b", "1.0", "ä", "b"]


def _lines(header: str, first: list[str], values: np.ndarray = VALUES) -> str:
    rows = [f"{name},{','.join(map(repr, map(float, row)))}" for name, row in zip(first, values)]
    return "\n".join([header, *rows]) + "\n"


def _saved(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_presentations_of_repeated_ids_are_counted(tmp_path):
    data = load_neural(f"{_saved(tmp_path / 'wide.csv', _lines('stimulus_id,n1,n2,n3', SHOWN))}?kind=responses")
    np.testing.assert_array_equal(data.assembly.values, VALUES)
    assert data.stimulus_ids == ("b", "ä", "1.0") and data.assembly["stimulus_id"].values.tolist() == SHOWN
    assert data.assembly["repetition"].values.tolist() == [0, 0, 1, 0, 1, 2]
    assert data.source == "wide.csv, by stimulus_id" and data.assembly.attrs == {}  # a row is one moment
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids"):
        load_neural(f"{tmp_path / 'wide.csv'}?kind=responses", ids=SHOWN[:3])


def test_columns_of_text_beside_the_ids_are_coordinates(tmp_path):
    first = [f"{name},{7 - at},{at // 3},{'xy'[at % 2]}" for at, name in enumerate(SHOWN)]
    text = _lines("image_id,repetition,session,category,n1,n2,n3", first)
    found = load_neural(f"{_saved(tmp_path / 'more.csv', text)}?kind=responses").assembly
    np.testing.assert_array_equal(found.values, VALUES)
    assert found["repetition"].values.tolist() == [7, 6, 5, 4, 3, 2]
    assert found["session"].values.tolist() == [0, 0, 0, 1, 1, 1] and found["session"].dims == ("presentation",)
    assert found["category"].values.tolist() == list("xyxyxy")
    assert found["neuroid_id"].values.tolist() == ["n1", "n2", "n3"]


def test_columns_that_the_address_names(tmp_path):
    first = [f"{at},{name},{at // 2}" for at, name in enumerate(SHOWN)]
    path = _saved(tmp_path / "named.csv", _lines("row,picture,trial,n1,n2,n3", first))
    found = load_neural(f"{path}?kind=responses&stimulus=picture&repetition=trial&form=wide").assembly
    assert found["stimulus_id"].values.tolist() == SHOWN and found["repetition"].values.tolist() == [0, 0, 1, 1, 2, 2]
    assert found["neuroid_id"].values.tolist() == ["row", "n1", "n2", "n3"]  # numbers that nobody names are responses
    with pytest.raises(NeuralDataError, match=r"'row', may be ids"):
        load_neural(
            f"{_saved(tmp_path / 'x.csv', _lines('row,n1,n2,n3', list('012345')))}?kind=responses", ids=SHOWN[:1]
        )


def test_one_row_a_neuroid(tmp_path):
    values = VALUES.T  # 3 neuroids x 6 presentations
    first = ["c1,V4,PE", "c2,IT,PE", "c3,IT,WE"]
    text = _lines("neuroid_id,region,animal," + ",".join(SHOWN), first, values)
    path = _saved(tmp_path / "across.csv", text)
    data = load_neural(f"{path}?kind=responses&axes=neuroid,stimulus")
    np.testing.assert_array_equal(data.assembly.values, VALUES)
    assert data.assembly["stimulus_id"].values.tolist() == SHOWN
    assert data.assembly["repetition"].values.tolist() == [0, 0, 1, 0, 1, 2]
    assert data.assembly["neuroid_id"].values.tolist() == ["c1", "c2", "c3"] and data.region == "V4+IT"
    one = load_neural(f"{path}?kind=responses&axes=neuroid,stimulus&subject=WE")
    np.testing.assert_array_equal(one.assembly.values, VALUES[:, 2:])
    with pytest.raises(NeuralDataError, match=r"neuroid 'b' is there 3 times"):  # control: the other way round
        load_neural(f"{path}?kind=responses&axes=stimulus,neuroid")


def test_a_mark_at_the_start_crlf_quotes_and_missing_words(tmp_path):
    text = 'stimulus_id,"n,1",n2\r\n"a ""b"", c",1.5,NA\r\n d ,,-2e-3\r\n'
    (tmp_path / "odd.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = load_neural(f"{tmp_path / 'odd.csv'}?kind=responses").assembly
    np.testing.assert_array_equal(found.values, [[1.5, np.nan], [np.nan, -0.002]])
    assert found["stimulus_id"].values.tolist() == ['a "b", c', "d"]
    assert found["neuroid_id"].values.tolist() == ["n,1", "n2"]


def test_thousands_of_columns(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 4000))
    text = _lines("stimulus_id," + ",".join(f"n{at}" for at in range(4000)), [f"s{at}" for at in range(20)], values)
    found = load_neural(f"{_saved(tmp_path / 'many.csv', text)}?kind=responses").assembly
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize("header", [",image,n1,n2,n3", ",stimulus_id,n1,n2,n3"])
def test_the_index_of_pandas_is_no_list_of_stimuli(tmp_path, header):
    shown = [name.replace("1.0", "c") for name in SHOWN]  # a column of words and numbers may be a spoilt one: asked for
    text = _lines(header, [f"{at},{name}" for at, name in enumerate(shown)])
    data = load_neural(f"{_saved(tmp_path / 'index.csv', text)}?kind=responses")
    np.testing.assert_array_equal(data.assembly.values, VALUES)
    assert data.assembly["stimulus_id"].values.tolist() == shown  # else '0', '1', ..., joined with others by position
    assert data.source == f"index.csv, ids in column {header.split(',')[1]!r}, by stimulus_id"
    assert data.assembly["neuroid_id"].values.tolist() == ["n1", "n2", "n3"]


def test_numbers_of_pictures_beside_the_index_are_named(tmp_path):
    text = _lines(",image_number,n1,n2,n3", [f"{at},{9 - at}" for at in range(6)])
    path = _saved(tmp_path / "numbers.csv", text)
    found = load_neural(f"{path}?kind=responses&stimulus=image_number").assembly
    np.testing.assert_array_equal(found.values, VALUES)
    assert found["stimulus_id"].values.tolist() == list("987654")
    by_list = load_neural(f"{path}?kind=responses&first=values&neuroid=n*", ids=list("abcdef")).assembly
    np.testing.assert_array_equal(by_list.values, VALUES)
    assert by_list["image_number"].values.tolist() == [9, 8, 7, 6, 5, 4]
    with pytest.raises(NeuralDataError, match=r"as pandas' index; say which column names each stimulus"):
        load_neural(f"{path}?kind=responses")


def test_stimuli_named_behind_the_neuroids(tmp_path):
    rows = [f"{','.join(map(repr, map(float, row)))},{name}" for name, row in zip(SHOWN, VALUES)]
    path = _saved(tmp_path / "last.csv", "\n".join(["n1,n2,n3,image", *rows]) + "\n")
    found = load_neural(f"{path}?kind=responses&stimulus=image").assembly
    np.testing.assert_array_equal(found.values, VALUES)
    assert found["stimulus_id"].values.tolist() == SHOWN


def test_a_pattern_says_which_columns_are_neuroids(tmp_path):
    first = [f"{name},{at},{at / 7},{at % 2}" for at, name in enumerate(SHOWN)]
    path = _saved(tmp_path / "extra.csv", _lines("image,trial,rt,category_id,n1,n2,n3", first))
    found = load_neural(f"{path}?kind=responses&neuroid=n*").assembly
    np.testing.assert_array_equal(found.values, VALUES)
    assert found["trial"].values.tolist() == list(range(6)) and found["category_id"].dims == ("presentation",)
    np.testing.assert_array_equal(found["rt"].values, np.arange(6) / 7)
    some = load_neural(f"{path}?kind=responses&neuroid=n3,n1").assembly
    np.testing.assert_array_equal(some.values, VALUES[:, [0, 2]])  # in the order of the table
    with pytest.raises(NeuralDataError, match=r"'trial' is no neuroid by its name"):
        load_neural(f"{path}?kind=responses")


def test_what_is_shown_is_not_whose_it_is_in_wide_form(tmp_path):
    first = [f"{name},{'yes' if name == 'b' else 'no'},V4" for name in SHOWN]
    path = _saved(tmp_path / "animal.csv", _lines("image,animal,region,n1,n2,n3", first))
    data = load_neural(f"{path}?kind=responses")
    assert data.subjects == () and data.region == "V4" and data.assembly["region"].dims == ("neuroid",)
    assert data.assembly["presentation_animal"].values.tolist() == ["yes", "no", "yes", "no", "no", "yes"]
    assert "column 'animal' follows from the stimulus: kept as presentation_animal" in data.source


def test_bare_numbers_above_a_square_are_no_header_of_responses(tmp_path):
    path = _saved(tmp_path / "bare.csv", "1,2,3\n4.5,5,6\n7,8,9\n1,1,1\n")
    found = load_neural(f"{path}?kind=responses", ids=list("abcd")).assembly
    np.testing.assert_array_equal(found.values, [[1, 2, 3], [4.5, 5, 6], [7, 8, 9], [1, 1, 1]])
    ids = load_neural(f"{_saved(path, '3,.5,.25' + chr(10) + '1,.75,1' + chr(10))}?kind=responses&first=ids")
    assert ids.stimulus_ids == ("3", "1") and ids.assembly.shape == (2, 2)


def test_empty_rows_that_a_spreadsheet_adds(tmp_path):
    path = _saved(tmp_path / "wide.csv", _lines("image,n1,n2,n3", SHOWN) + ",,,\n" * 3)
    np.testing.assert_array_equal(load_neural(f"{path}?kind=responses").assembly.values, VALUES)


TRIALS = """stimulus_id,choice,truth,subject,rt,image
a,cat,cat,s1,310,1
b,dog,cat,s1,402,2
a,cat,cat,s2,288,1
c,cat,bird,s2,500,3
"""


def test_trials_become_one_hot(tmp_path):
    data = load_neural(f"{_saved(tmp_path / 'trials.csv', TRIALS)}?kind=behaviour")
    found = data.assembly
    assert data.kind == "behaviour" and found.dims == ("presentation", "choice") and data.stimulus_ids == tuple("abc")
    assert found["choice"].values.tolist() == ["bird", "cat", "dog"]  # bird was never chosen, and was right once
    np.testing.assert_array_equal(found.values, [[0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    assert found["truth"].values.tolist() == ["cat", "cat", "cat", "bird"]
    assert found["repetition"].values.tolist() == [0, 0, 1, 0] and found["rt"].values.tolist() == [310, 402, 288, 500]
    assert data.source == "trials.csv, one row a trial, by stimulus_id" and data.subjects == ("s1", "s2")
    one = load_neural(f"{tmp_path / 'trials.csv'}?kind=behaviour&subject=s2")
    np.testing.assert_array_equal(one.assembly.values, found.values[2:])
    back = read_assembly(write_assembly(found, tmp_path / "trials.nc"))
    np.testing.assert_array_equal(back.values, found.values)
    for name in found.coords:
        np.testing.assert_array_equal(back[name].values, found[name].values)
    with pytest.raises(NeuralDataError, match=r"may not be called 'stimulus_id'; rename it"):
        load_neural(f"{tmp_path / 'trials.csv'}?kind=behaviour&stimulus=image")
    text = TRIALS.replace("stimulus_id,choice", "name,answer")
    path = _saved(tmp_path / "named.csv", text)
    moved = load_neural(f"{path}?kind=behaviour&form=long&stimulus=image&value=answer").assembly
    np.testing.assert_array_equal(moved.values, found.values)
    assert moved["stimulus_id"].values.tolist() == list("1213") and moved["name"].values.tolist() == list("abac")


def test_trials_with_two_choices_offered(tmp_path):
    text = "stimulus_id,choice,truth,distractor\na,cat,cat,dog\nb,dog,cat,dog\nc,cat,bird,cat\n"
    found = load_neural(f"{_saved(tmp_path / 'pairs.csv', text)}?kind=behaviour").assembly
    nan = np.nan
    np.testing.assert_array_equal(found.values, [[nan, 1, 0], [nan, 0, 1], [0, 1, nan]])


def test_trials_without_a_response_and_the_row_numbers_of_pandas(tmp_path):
    text = ",stimulus_id,choice,truth\n7,a,cat,cat\n3,b,,cat\n5,b,dog,dog\n1,c,NA,dog\n"
    data = load_neural(f"{_saved(tmp_path / 'some.csv', text)}?kind=behaviour")
    np.testing.assert_array_equal(data.assembly.values, [[1, 0], [0, 1]])
    assert data.stimulus_ids == ("a", "b") and data.assembly["truth"].values.tolist() == ["cat", "dog"]
    assert data.source == "some.csv, one row a trial, 2 of 4 without a choice left out, by stimulus_id"


def test_codes_of_choices_may_be_numbers(tmp_path):
    text = "stimulus_id,choice\n" + "".join(f"s{at},{at % 3}\n" for at in range(9))
    found = load_neural(f"{_saved(tmp_path / 'codes.csv', text)}?kind=behaviour").assembly
    assert found["choice"].values.tolist() == ["0", "1", "2"] and found.values.sum(axis=0).tolist() == [3, 3, 3]


def test_counts_of_choices_and_probabilities_that_were_rounded(tmp_path):
    path = _saved(tmp_path / "counts.csv", "stimulus_id,cat,dog\na,30,10\nb,0,7\n")
    np.testing.assert_array_equal(load_neural(f"{path}?kind=behaviour").assembly.values, [[30, 10], [0, 7]])
    _saved(path, "stimulus_id,cat,dog,cow\na,0.33,0.33,0.33\nb,0.5,,0.5\n")
    assert load_neural(f"{path}?kind=behaviour").assembly.shape == (2, 3)


def test_probabilities_of_choices_in_wide_form(tmp_path):
    text = "stimulus_id,truth,cat,dog\na,cat,0.75,0.25\nb,dog,0.5,0.5\n"
    data = load_neural(f"{_saved(tmp_path / 'p.csv', text)}?kind=behaviour")
    np.testing.assert_array_equal(data.assembly.values, [[0.75, 0.25], [0.5, 0.5]])
    assert data.kind == "behaviour" and data.assembly["choice"].values.tolist() == ["cat", "dog"]
    assert data.assembly["truth"].values.tolist() == ["cat", "dog"] and data.stimulus_ids == ("a", "b")


def test_rdms_in_csv_are_read_as_before(tmp_path):
    path = _saved(tmp_path / "rdm.csv", ",a,b,c\na,0,1,2\nb,1,0,3\nc,2,3,0\n")
    assert load_neural(path).kind == "rdms" and load_neural(path).stimulus_ids == tuple("abc")
    assert load_neural(f"{path}?kind=responses").assembly.shape == (3, 3)
