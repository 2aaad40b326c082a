"""Conditions on presentations and neuroids, in the language that stimuli are chosen by."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import NetphysError, NeuralDataError
from netphys.neural.operations.selecting import coordinates_of, select, where


@pytest.fixture
def assembly() -> xr.DataArray:
    """Six presentations of three stimuli in two sessions; four neuroids in two regions of two animals; two bins."""
    return xr.DataArray(
        np.arange(48.0).reshape(6, 4, 2),
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", np.array(["c", "a", "b", "a", "c", "b"])),
            "variation": ("presentation", np.array([0, 3, 6, 3, 0, 6])),
            "object name": ("presentation", np.array(["car", "face", "tree", "face", "car", "tree"])),
            "session": ("presentation", np.array(["mon", "mon", "mon", "tue", "tue", "tue"])),
            "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3", "n4"])),
            "animal": ("neuroid", np.array(["Chabo", "Chabo", "Tito", "Tito"])),
            "region": ("neuroid", np.array(["IT", "V4", "IT", "V4"])),
            "time_bin_start": ("time_bin", [70, 170]),
            "species": "macaque",
        },
        attrs={"identifier": "test", "unit": "spikes"},
    )


def test_where_keeps_what_meets_the_condition_and_all_coordinates(assembly):
    found = where(assembly, presentations="variation >= 3 and session == 'tue'", neuroids="region == 'IT'")
    xr.testing.assert_identical(found, assembly.isel(presentation=[3, 5], neuroid=[0, 2]))
    assert found.attrs == assembly.attrs and found["time_bin_start"].values.tolist() == [70, 170]
    quoted = where(assembly, presentations="`object name` in ['car', 'tree'] and not variation == 6")
    assert quoted["stimulus_id"].values.tolist() == ["c", "c"]
    assert where(assembly, neuroids="species == 'macaque'").sizes["neuroid"] == 4  # without a dim: holds for all
    opposite = where(assembly, neuroids="region != 'IT'")  # control
    assert opposite["neuroid_id"].values.tolist() == ["n2", "n4"]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(6)))
def test_where_does_not_depend_on_the_order_of_presentations(order):
    data = xr.DataArray(
        np.arange(6.0)[:, None],
        dims=("presentation", "neuroid"),
        coords={"stimulus_id": ("presentation", list("cabacb")), "neuroid_id": ("neuroid", ["n"])},
    )
    found = where(data.isel(presentation=order), presentations="stimulus_id == 'a' or stimulus_id > 'b'")
    assert sorted(found.values.ravel().tolist()) == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"presentations": "varation == 3"}, r"presentations have no coordinate 'varation'; near: 'variation'"),
        ({"neuroids": "variation == 3"}, r"neuroids have no coordinate 'variation'; it is one of presentations"),
        ({"presentations": "`obj name` == 'car'"}, r"no coordinate 'obj name'; near: 'object name'"),
        ({"neuroids": "region == 'TI'"}, r"no neuroid of the assembly meets .* region is never 'TI'; near: 'IT'"),
        ({"presentations": "variation > 9"}, r"no presentation of the assembly meets 'variation > 9'"),
        ({"presentations": "stimulus_id.str.len() > 0"}, r"more than columns, values and comparisons"),
        ({"presentations": "__import__('os').system('true')"}, r"more than columns, values and comparisons"),
        ({"presentations": "@assembly == 3"}, r"is not understood"),
        ({"presentations": "variation =! 3"}, r"is not understood"),
    ],
)
def test_conditions_that_are_refused(assembly, asked, said):
    with pytest.raises(NeuralDataError, match=said) as error:
        where(assembly, **asked)
    assert "\n" not in str(error.value)


def test_behaviour_has_presentations_but_no_neuroids(assembly):
    choices = assembly.isel(time_bin=0, drop=True).rename(neuroid="choice")
    assert where(choices, presentations="variation == 3").sizes == {"presentation": 2, "choice": 4}
    with pytest.raises(NeuralDataError, match=r"is on neuroids, which the assembly has not"):
        where(choices, neuroids="region == 'IT'")


def test_select_by_values_in_the_order_of_the_data(assembly):
    found = select(assembly, stimuli=["b", "a"], animals="Tito", regions=["IT", "V4"], sessions="mon")
    xr.testing.assert_identical(found, assembly.isel(presentation=[1, 2], neuroid=[2, 3]))
    shown = type("Set", (), {"ids": ("a", "c")})()
    assert select(assembly, stimuli=shown)["stimulus_id"].values.tolist() == ["c", "a", "a", "c"]
    assert select(assembly, neuroids=np.array(["n4", "n1"]))["neuroid_id"].values.tolist() == ["n1", "n4"]
    one = assembly.drop_vars("session").assign_coords(session="mon")
    assert select(one, sessions="mon").sizes == assembly.sizes


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stimuli": ["a", "z"]}, r"no stimulus_id 'z'; there are: 'c', 'a', 'b'"),
        ({"animals": "Titto"}, r"no animal 'Titto'; near: 'Tito'"),
        ({"neuroids": ["n7", "n8"]}, r"no neuroid_id 'n7' \(and 1 more\)"),
        ({"neuroids": "n1", "regions": "V4"}, r"no neuroid has all that was asked \(neuroid_id 'n1', region 'V4'\)"),
    ],
)
def test_selections_that_are_refused(assembly, asked, said):
    with pytest.raises(NetphysError, match=said):
        select(assembly, **asked)
    with pytest.raises(NeuralDataError, match=r"no coordinate 'region'"):
        select(assembly.drop_vars("region"), regions="IT")


def test_coordinates_as_a_table(assembly):
    table = coordinates_of(assembly.set_index(presentation=["stimulus_id", "session"]), "presentation")
    assert set(table.columns) == {"variation", "object name", "species", "stimulus_id", "session"}
    assert table["stimulus_id"].tolist() == ["c", "a", "b", "a", "c", "b"] and list(table.index) == list(range(6))
    both = where(assembly.set_index(presentation=["stimulus_id", "session"]), presentations="session == 'tue'")
    assert both["stimulus_id"].values.tolist() == ["a", "c", "b"]
