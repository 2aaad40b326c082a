"""Long CSV tables: one row a response; what every column says, and what is counted where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, load_neural, read_assembly, write_assembly


@pytest.fixture
def assembly() -> xr.DataArray:
    """Four stimuli, shown twice in another order each time, to three neuroids of two regions."""
    return xr.DataArray(
        np.random.default_rng(5).normal(size=(8, 3)) / 3,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.array(["b", "ä", "10", "1.0", "10", "b", "1.0", "ä"])),
            "repetition": ("presentation", np.array([0, 0, 0, 0, 1, 1, 1, 1])),
            "category": ("presentation", np.array(["x", "y", "x", "y", "x", "x", "y", "y"])),
            "luminance": ("presentation", np.arange(8) / 7),
            "neuroid_id": ("neuroid", np.array(["n2", "n10", "n1"])),
            "region": ("neuroid", np.array(["V4", "IT", "IT"])),
            "depth": ("neuroid", np.array([3, 1, 2])),
        },
    )


def _table(assembly: xr.DataArray) -> pd.DataFrame:
    """One row a cell, presentation by presentation."""
    rows = []
    for p in range(assembly.sizes["presentation"]):
        for n in range(assembly.sizes["neuroid"]):
            cell = assembly.isel(presentation=p, neuroid=n)
            rows.append({**{name: each.item() for name, each in cell.coords.items()}, "rate": float(cell)})
    return pd.DataFrame(rows)


def _saved(frame: pd.DataFrame, path: Path, **options) -> Path:
    frame.to_csv(path, index=False, **options)
    return path


def test_back_bit_for_bit_in_order_with_dtypes_and_coordinates(tmp_path, assembly):
    path = _saved(_table(assembly), tmp_path / "long.csv")
    found = load_neural(f"{path}?form=long&value=rate")
    assert found.kind == "assembly" and found.stimulus_ids == ("b", "ä", "10", "1.0")
    assert found.source == "long.csv, presentations by repetition, by stimulus_id" and found.region == "V4+IT"
    xr.testing.assert_identical(found.assembly, assembly)
    for name in assembly.coords:
        assert found.assembly[name].dtype.kind == assembly[name].dtype.kind
    again = read_assembly(write_assembly(found.assembly, tmp_path / "long.nc"))
    np.testing.assert_array_equal(again.values, assembly.values)


def test_the_order_of_rows_changes_no_number(tmp_path, assembly):
    frame = _table(assembly)
    _, plain = average_repetitions(assembly)
    shuffled = frame.sample(frac=1.0, random_state=3)
    found = load_neural(f"{_saved(shuffled, tmp_path / 'shuffled.csv')}?form=long&value=rate").assembly
    ids, means = average_repetitions(found)
    rows = [("b", "ä", "10", "1.0").index(each) for each in ids]
    columns = [["n2", "n10", "n1"].index(each) for each in found["neuroid_id"].values]
    np.testing.assert_allclose(means, plain[rows][:, columns], rtol=0, atol=1e-15)  # the sum of two, in either order
    positions = average_repetitions(assembly.copy(data=shuffled["rate"].to_numpy().reshape(8, 3)))[1]
    assert np.abs(positions - plain).max() > 0.1  # control: values taken by position


def test_repetitions_are_counted_where_no_column_says_them(tmp_path, assembly):
    frame = _table(assembly).drop(columns=["repetition", "luminance", "depth"])
    found = load_neural(f"{_saved(frame, tmp_path / 'counted.csv')}?form=long")  # rate is the only column of numbers
    np.testing.assert_array_equal(found.assembly.values, assembly.values)
    assert found.assembly["repetition"].values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.assembly.attrs == {"pseudo_population": 1} and "not taken as simultaneous" in found.source
    once = frame.iloc[:12]
    single = load_neural(f"{_saved(once, tmp_path / 'once.csv')}?form=long")
    assert single.assembly.attrs == {} and "one presentation a stimulus" in single.source


def test_other_names_and_a_column_that_tells_presentations_apart(tmp_path, assembly):
    frame = _table(assembly).drop(columns="repetition")
    frame["presentation"] = [f"trial {at // 3}" for at in range(24)]
    frame = frame.rename(columns={"stimulus_id": "picture", "neuroid_id": "cell"})
    path = _saved(frame, tmp_path / "named.csv")
    found = load_neural(f"{path}?form=long&stimulus=picture&neuroid=cell&repetition=presentation&value=rate").assembly
    np.testing.assert_array_equal(found.values, assembly.values)
    assert found["repetition"].values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and "pseudo_population" not in found.attrs
    assert found["presentation_"].values.tolist() == [f"trial {at}" for at in range(8)]  # BrainIO's name beside a dim
    with pytest.raises(NeuralDataError, match=r"no column 'pictures' \(stimulus=\); near: 'picture'"):
        load_neural(f"{path}?form=long&stimulus=pictures")


def test_missing_cells_and_missing_words_are_nan(tmp_path, assembly):
    frame = _table(assembly)
    frame["rate"] = frame["rate"].map(repr)
    frame.loc[4, "rate"], frame.loc[7, "rate"] = "", "NA"
    path = _saved(frame.drop(index=[0]), tmp_path / "missing.csv")
    found = load_neural(f"{path}?form=long&value=rate").assembly
    found = found.sel(neuroid=[found["neuroid_id"].values.tolist().index(each) for each in ("n2", "n10", "n1")])
    wanted = assembly.values.copy()
    wanted[0, 0] = wanted[1, 1] = wanted[2, 1] = np.nan
    np.testing.assert_array_equal(found.values, wanted)


def test_time_bins_in_the_order_of_time(tmp_path, assembly):
    parts = []
    for start in (100, 0, 50):
        part = _table(assembly)
        part["time_bin_start"], part["time_bin_end"], part["rate"] = start, start + 50, part["rate"] + start
        parts.append(part)
    path = _saved(pd.concat(parts), tmp_path / "bins.csv")
    found = load_neural(f"{path}?form=long&value=rate").assembly
    assert found.dims == ("presentation", "neuroid", "time_bin") and found["time_bin_end"].values.tolist() == [
        50,
        100,
        150,
    ]
    for at, start in enumerate((0, 50, 100)):
        np.testing.assert_array_equal(found.values[:, :, at], assembly.values + start)
    one = load_neural(f"{_saved(parts[0], tmp_path / 'one.csv')}?form=long&value=rate").assembly
    assert one.dims == ("presentation", "neuroid") and (int(one["time_bin_start"]), int(one["time_bin_end"])) == (
        100,
        150,
    )
    counted = pd.concat(parts).drop(columns=["repetition", "luminance"])
    found = load_neural(f"{_saved(counted, tmp_path / 'counted.csv')}?form=long&value=rate").assembly
    np.testing.assert_array_equal(found.values[:, :, 0], assembly.values)


def test_a_column_goes_where_it_follows_from(tmp_path, assembly):
    frame = _table(assembly)
    frame["session"] = frame["neuroid_id"].map({"n1": "s1", "n2": "s2", "n10": "s1"})
    frame["day"] = [at // 12 for at in range(24)]
    frame["monkey"] = "PE"
    found = load_neural(f"{_saved(frame, tmp_path / 'places.csv')}?form=long&value=rate").assembly
    assert found["session"].dims == ("neuroid",) and found["day"].dims == ("presentation",)
    assert found["day"].dtype == np.int64 and found["monkey"].values.tolist() == ["PE"] * 8
    frame["noise"] = [f"{at}%" for at in range(24)]
    with pytest.raises(NeuralDataError, match=r"'noise' follows neither from the presentation nor from the neuroid"):
        load_neural(f"{_saved(frame, tmp_path / 'neither.csv')}?form=long&value=rate")


def _of_two(assembly: xr.DataArray, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two monkeys whose sites have the same names; the second sees its trials in another order."""
    frame = _table(assembly).drop(columns=["repetition", "luminance", "category"])
    frame["trial"] = np.repeat(np.arange(8), 3)
    other = frame.assign(rate=frame["rate"] + 10, trial=7 - frame["trial"]).iloc[::-1]
    return frame.assign(**{column: "PE"}), other.assign(**{column: "WE"})


@pytest.mark.parametrize("column", ["animal", "monkey", "subject"])
@pytest.mark.parametrize("query", ["&repetition=trial", ""])
def test_sites_of_two_animals_that_are_called_alike_are_two(tmp_path, assembly, column, query):
    first, second = _of_two(assembly, column)
    if not query:
        first, second = first.drop(columns="trial"), second.drop(columns="trial")
    path = _saved(pd.concat([first, second]), tmp_path / "two.csv")
    data = load_neural(f"{path}?form=long&value=rate{query}")
    found = data.assembly
    assert found.shape == (8, 6) and not np.isnan(found.values).any()  # fused: (16, 3), or three of 16 rows
    assert data.subjects == ("PE", "WE") and found["animal"].dims == ("neuroid",)
    assert found["neuroid_id"].values.tolist()[:3] == ["PE/n2", "PE/n10", "PE/n1"]
    assert "neuroids of 2 animals as ANIMAL/neuroid_id" in data.source and found.attrs["pseudo_population"] == 1
    np.testing.assert_array_equal(found.values[:, :3], assembly.values)
    assert ("without trial (other in each animal)" in data.source) == bool(query)
    alone = load_neural(f"{_saved(second, tmp_path / 'we.csv')}?form=long&value=rate{query}").assembly
    for site in ("n1", "n2", "n10"):
        for stimulus in ("b", "10"):
            mine = found.values[found["stimulus_id"] == stimulus][:, found["neuroid_id"].values == f"WE/{site}"]
            its = alone.values[alone["stimulus_id"] == stimulus][:, alone["neuroid_id"].values == site]
            np.testing.assert_array_equal(mine, its)
    named = load_neural(f"{path}?form=long&value=rate{query}&subject={column}")
    xr.testing.assert_identical(named.assembly, found)
    assert load_neural(f"{path}?form=long&value=rate{query}&subject=WE").assembly.shape == (8, 3)


def test_a_column_that_describes_the_picture_is_no_animal(tmp_path, assembly):
    frame = _table(assembly).drop(columns="region")
    frame["animal"] = frame["stimulus_id"].map({"b": 1, "ä": 0, "10": 1, "1.0": 0})
    frame["region"] = frame["stimulus_id"].map({"b": "x", "ä": "x", "10": "y", "1.0": "z"})
    path = _saved(frame, tmp_path / "picture.csv")
    data = load_neural(f"{path}?form=long&value=rate")
    assert data.subjects == () and data.region == "" and data.assembly.shape == (8, 3)
    assert data.assembly["presentation_animal"].values.tolist() == [1, 0, 1, 0, 1, 1, 0, 0]
    assert "column 'animal' follows from the stimulus: kept as presentation_animal" in data.source
    two = load_neural(f"{path}?form=long&value=rate&subject=animal")  # two animals that saw other stimuli
    assert two.subjects == ("1", "0") and two.assembly.sizes["neuroid"] == 6


def test_a_session_that_changes_within_a_neuroid_is_of_its_presentations(tmp_path, assembly):
    frame = _table(assembly)
    frame["session"] = "day" + frame["repetition"].astype(str)
    found = load_neural(f"{_saved(frame, tmp_path / 'chronic.csv')}?form=long&value=rate").assembly
    assert found.shape == (8, 3) and found["session"].values.tolist() == ["day0"] * 4 + ["day1"] * 4


def test_empty_rows_at_the_end_are_of_the_spreadsheet(tmp_path, assembly):
    path = _saved(_table(assembly), tmp_path / "long.csv")
    text = path.read_text(encoding="utf-8")
    path.write_text(text + ",,,,,,,\n" * 3, encoding="utf-8")
    np.testing.assert_array_equal(load_neural(f"{path}?form=long&value=rate").assembly.values, assembly.values)
    path.write_text(text + ",,,,,,,\n" + text.splitlines()[1] + "\n", encoding="utf-8")
    with pytest.raises(NeuralDataError, match=r"'stimulus_id' is empty in row 26"):
        load_neural(f"{path}?form=long&value=rate")


def test_choices_of_address_and_list_of_ids(tmp_path, assembly):
    path = _saved(_table(assembly), tmp_path / "long.csv", encoding="utf-8-sig", lineterminator="\r\n")
    found = load_neural(f"{path}?form=long&value=rate&region=IT&subject=PE", ids=["b", "ä", "10", "1.0"])
    assert found.assembly["neuroid_id"].values.tolist() == ["n10", "n1"] and found.subjects == ("PE",)
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids"):
        load_neural(f"{path}?form=long&value=rate", ids=["ä", "b", "10", "1.0"])


def test_quotes_blanks_and_the_row_numbers_of_pandas(tmp_path, assembly):
    frame = _table(assembly)
    frame["stimulus_id"] = frame["stimulus_id"].map(lambda each: f'{each}, "big"\nline')
    frame.to_csv(tmp_path / "quoted.csv", quoting=1)  # with pandas' row numbers, every cell in quotes
    found = load_neural(f"{tmp_path / 'quoted.csv'}?form=long&value=rate")
    assert found.stimulus_ids[0] == 'b, "big"\nline'
    np.testing.assert_array_equal(found.assembly.values, assembly.values)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_as_pandas_on_random_tables(tmp_path, seed):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(12 * 3 * 9)[: 12 * 3 * 9 - 40]  # forty cells are missing, the others in any order
    stimulus, repetition, neuroid = np.unravel_index(cells, (12, 3, 9))
    frame = pd.DataFrame({"stimulus_id": [f"s{at}" for at in stimulus], "repetition": repetition})
    frame["neuroid_id"], frame["rate"] = (
        [f"n{at}" for at in neuroid],
        rng.normal(size=len(cells)) * 10.0 ** rng.integers(-9, 9),
    )
    found = load_neural(f"{_saved(frame, tmp_path / 'random.csv')}?form=long&value=rate").assembly
    theirs = frame.pivot(index=["stimulus_id", "repetition"], columns="neuroid_id", values="rate")
    rows = list(zip(found["stimulus_id"].values, found["repetition"].values))
    np.testing.assert_array_equal(found.values, theirs.loc[rows, found["neuroid_id"].values].to_numpy())
    assert len(rows) == len(theirs) and np.isnan(found.values).any()


def test_a_claim_of_more_memory_than_the_table_has(tmp_path):
    lines = [f"s{at},n{at},{at}" for at in range(5000)]
    (tmp_path / "diagonal.csv").write_text("stimulus_id,neuroid_id,rate\n" + "\n".join(lines))
    with pytest.raises(Exception, match=r"claims 200000000 bytes from") as raised:
        load_neural(f"{tmp_path / 'diagonal.csv'}?form=long")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_million_rows_in_seconds(tmp_path):
    stimuli, neuroids = np.repeat(np.arange(10_000), 100), np.tile(np.arange(100), 10_000)
    rate = np.random.default_rng(0).poisson(4, 10**6)
    frame = pd.DataFrame({"stimulus_id": stimuli, "neuroid_id": neuroids, "rate": rate})
    path = _saved(frame, tmp_path / "big.csv")
    found = load_neural(f"{path}?form=long&value=rate").assembly
    np.testing.assert_array_equal(found.values, rate.reshape(10_000, 100))
