"""Arrays of any layout in every kind of file: axes, ids, times and what stands along neuroids."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from netphys.errors import NeuralDataError
from netphys.neural import load_neural
from netphys.neural.files.labels import texts_of
from netphys.neural.files.layouts import Layout, laid_out
from netphys.neural.files.time_bins import bins_of, spelt_bins

SIZES = {"stimulus": 6, "neuroid": 5, "repetition": 3, "time": 4}
STIMULI = ["s-b", "s-a", "10", "2", "é", "x y"]
NEUROIDS = [f"n{at}" for at in range(5)]
AREAS = ["V1", "V1", "IT", "V4", "IT"]


@pytest.fixture
def cube() -> np.ndarray:
    """Responses (repetition, stimulus, neuroid, time); stimulus 1 was shown twice, stimulus 4 once."""
    values = np.random.default_rng(5).normal(size=(3, 6, 5, 4))
    values[2, 1] = np.nan
    values[1:, 4] = np.nan
    values[0, 2, 3, 1] = np.nan  # one value is missing, the presentation was
    return values


def _cells(texts: list[str]) -> np.ndarray:
    """A column of MATLAB's cells."""
    out = np.empty((len(texts), 1), dtype=object)
    out[:, 0] = texts
    return out


def _rows(cube: np.ndarray) -> list[tuple[str, int, np.ndarray]]:
    """Presentations by loops: stimulus, repetition, (neuroid, time)."""
    return [
        (STIMULI[at], repetition, cube[repetition, at])
        for repetition in range(3)
        for at in range(6)
        if not np.isnan(cube[repetition, at]).all()
    ]


@pytest.mark.parametrize("axes", itertools.permutations(("repetition", "stimulus", "neuroid", "time")))
def test_axes_in_any_order(tmp_path: Path, cube, axes):
    order = [("repetition", "stimulus", "neuroid", "time").index(each) for each in axes]
    np.savez(tmp_path / "x.npz", x=cube.transpose(order), stimulus_id=np.array(STIMULI), name=np.array(NEUROIDS))
    query = f"variable=x&kind=responses&axes={','.join(axes)}&neuroid=name&time=0:80:20"
    assembly = load_neural(f"{tmp_path / 'x.npz'}?{query}").assembly
    wanted = _rows(cube)
    assert len(wanted) == 15 == assembly.sizes["presentation"]  # 3 x 6, less three that never were
    assert assembly["stimulus_id"].values.tolist() == [each[0] for each in wanted]
    assert assembly["repetition"].values.tolist() == [each[1] for each in wanted]
    np.testing.assert_array_equal(assembly.values, np.stack([each[2] for each in wanted]))
    assert assembly["neuroid_id"].values.tolist() == NEUROIDS
    assert assembly["time_bin_start"].values.tolist() == [0, 20, 40, 60]
    assert assembly["time_bin_end"].values.tolist() == [20, 40, 60, 80]


def test_presentations_with_ids_that_return(tmp_path: Path):
    values = np.arange(12.0).reshape(6, 2)
    shown = ["b", "a", "b", "b", "a", "c"]
    np.savez(tmp_path / "x.npz", x=values.T, shown=np.array(shown), nth=np.array([3, 0, 1, 2, 1, 0]))
    address = f"{tmp_path / 'x.npz'}?variable=x&kind=responses&axes=neuroid,presentation&stimulus=shown"
    data = load_neural(address)
    np.testing.assert_array_equal(data.assembly.values, values)
    assert data.stimulus_ids == ("b", "a", "c") and data.source.endswith("by stimulus_id")
    assert data.assembly["repetition"].values.tolist() == [0, 0, 1, 2, 1, 0]  # counted
    said = load_neural(f"{address}&repetition=nth").assembly
    assert said["repetition"].values.tolist() == [3, 0, 1, 2, 1, 0]
    np.save(tmp_path / "x.npy", values)
    listed = load_neural(f"{tmp_path / 'x.npy'}?kind=responses&axes=presentation,neuroid", ids=shown)
    np.testing.assert_array_equal(listed.assembly.values, values)
    assert listed.assembly["stimulus_id"].values.tolist() == shown and "by order" in listed.source


def test_a_presentation_that_never_was_is_not_counted(tmp_path: Path):
    values = np.array([[1.0, 2.0], [np.nan, np.nan], [3.0, np.nan]])
    np.savez(tmp_path / "x.npz", x=values, stimulus_id=np.array(["a", "a", "a"]), day=np.array([1, 1, 2]))
    assembly = load_neural(
        f"{tmp_path / 'x.npz'}?variable=x&kind=responses&axes=presentation,neuroid&session=day"
    ).assembly
    assert assembly["repetition"].values.tolist() == [0, 1] and assembly["session"].values.tolist() == ["1", "2"]
    assert assembly["session"].dims == ("presentation",)
    np.testing.assert_array_equal(assembly.values, values[[0, 2]])


def test_matlab_of_both_versions_and_hdf5_say_the_same(tmp_path: Path, cube, save_73):
    """Fields of structs, cells of char, numbers; version 7.3 has its dimensions reversed."""
    data = {
        "responses": cube.transpose(2, 1, 3, 0),  # neuroid, stimulus, time, repetition
        "ids": _cells(STIMULI),
        "site": {"name": _cells(NEUROIDS), "area": _cells(AREAS), "depth": np.arange(5.0)[:, None]},
        "edges": np.array([[-20.0, 0.0, 20.0, 40.0, 60.0]]),
    }
    savemat(tmp_path / "five.mat", {"data": data})
    save_73(tmp_path / "seven.mat", {"data": data})
    query = (
        "kind=responses&variable=data.responses&axes=neuroid,stimulus,time,repetition&stimulus=data.ids"
        "&neuroid=data.site.name&region=data.site.area&session=data.site.depth&time=data.edges&subject=m"
    )
    five, seven = (load_neural(f"{tmp_path / name}?{query}") for name in ("five.mat", "seven.mat"))
    assert five.digest == seven.digest
    np.testing.assert_array_equal(five.assembly.values, np.stack([each[2] for each in _rows(cube)]))
    assert five.stimulus_ids == tuple(STIMULI) and five.region == "V1+IT+V4" and five.subjects == ("m",)
    assert five.assembly["region"].values.tolist() == AREAS
    assert five.assembly["session"].values.tolist() == ["0", "1", "2", "3", "4"]  # a double of MATLAB, whole
    assert five.assembly["time_bin_start"].values.tolist() == [-20, 0, 20, 40]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("session1/units")
        group["rates"] = cube.transpose(2, 1, 3, 0)
        group["area"] = np.array(AREAS, dtype="S")
        group["edges"] = [-20.0, 0.0, 20.0, 40.0, 60.0]
        group["ids"] = np.array(STIMULI, dtype=h5py.string_dtype())
        group["name"] = NEUROIDS
    query = query.replace("data.site.depth", "1").replace("data.responses", "rates")
    query = query.replace("data.site.", "").replace("data.", "") + "&group=session1/units"
    six = load_neural(f"{tmp_path / 'x.h5'}?{query}")
    drop = six.assembly.drop_vars("session"), five.assembly.drop_vars("session")
    assert drop[0].equals(drop[1])
    assert set(six.assembly["session"].values) == {"1"}  # no variable of that name: the value itself


def test_version_73_read_without_the_transpose_is_another_array(tmp_path: Path, save_73):
    """Control: a file whose dimensions are not reversed comes out turned around."""
    square = np.arange(9.0).reshape(3, 3)
    for reverse in (True, False):
        save_73(tmp_path / "x.mat", {"x": square}, reverse=reverse)
        found = load_neural(f"{tmp_path / 'x.mat'}?kind=responses", ids=["a", "b", "c"]).assembly.values
        assert np.array_equal(found, square) == reverse


def test_references_of_hdf5_name_stimuli(tmp_path: Path, responses):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        cells = []
        for at, text in enumerate(["a", "bc", "d", "e", "f", "g"]):
            item = file.create_dataset(f"#refs#/{at}", data=np.array([[ord(each)] for each in text], dtype=np.uint16))
            item.attrs["MATLAB_class"] = np.bytes_("char")
            cells.append(item.ref)
        file.create_dataset("names", data=np.array(cells, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
        file["x"] = responses
    data = load_neural(f"{tmp_path / 'x.h5'}?kind=responses&variable=x&stimulus=names")
    assert data.stimulus_ids == ("a", "bc", "d", "e", "f", "g")


def test_fields_of_struct_arrays_are_the_values_of_their_elements(tmp_path: Path):
    units = np.empty((1, 3), dtype=[("name", object), ("rates", object), ("depth", object)])
    for at in range(3):
        units[0, at] = (f"u{at}", np.arange(6.0)[None] + 10 * at, float(at))
    savemat(tmp_path / "x.mat", {"units": units, "ids": np.array(list("abcdef"))})  # ids: a char matrix
    data = load_neural(
        f"{tmp_path / 'x.mat'}?kind=responses&variable=units.rates&axes=neuroid,stimulus&stimulus=ids"
        "&neuroid=units.name&session=units.depth"
    )
    assert data.stimulus_ids == tuple("abcdef")
    assert data.assembly["neuroid_id"].values.tolist() == ["u0", "u1", "u2"]
    assert data.assembly["session"].values.tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(data.assembly.values, np.arange(6.0)[:, None] + [0, 10, 20])


def test_matlab_drops_axes_of_one_at_the_end(tmp_path: Path, responses):
    savemat(tmp_path / "x.mat", {"x": responses})
    assembly = load_neural(
        f"{tmp_path / 'x.mat'}?kind=responses&axes=stimulus,neuroid,repetition", ids=STIMULI
    ).assembly
    np.testing.assert_array_equal(assembly.values, responses)


def test_a_variable_wins_over_a_literal_only_where_it_lists_neuroids(tmp_path: Path, responses):
    np.savez(tmp_path / "x.npz", IT=responses, area=np.array(["V4", "IT", "V4"]), who=np.array(["a", "b", "a"]))
    base = f"{tmp_path / 'x.npz'}?variable=IT&kind=responses"
    assert load_neural(f"{base}&region=IT", ids=STIMULI).region == "IT"  # the variable IT is the responses
    by_array = load_neural(f"{base}&region=area&subject=who&neuroid_where=region == 'V4'", ids=STIMULI)
    assert by_array.region == "V4" and by_array.subjects == ("a",)
    np.testing.assert_array_equal(by_array.assembly.values, responses[:, [0, 2]])


def test_one_window_without_an_axis_of_time(tmp_path: Path, responses):
    np.save(tmp_path / "x.npy", responses)
    assembly = load_neural(f"{tmp_path / 'x.npy'}?kind=responses&time=70:170:100", ids=STIMULI).assembly
    assert (assembly["time_bin_start"].item(), assembly["time_bin_end"].item()) == (70, 170)
    np.save(tmp_path / "x.npy", responses[..., None])
    one = load_neural(f"{tmp_path / 'x.npy'}?kind=responses&axes=stimulus,neuroid,time&time=70:170:100", ids=STIMULI)
    assert one.assembly.equals(assembly)


def test_choices_are_behaviour(tmp_path: Path):
    chosen = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    np.savez(tmp_path / "x.npz", x=chosen, stimulus_id=np.array(["a", "b", "c"]), names=np.array(["dog", "car"]))
    data = load_neural(f"{tmp_path / 'x.npz'}?variable=x&kind=behaviour&neuroid=names")
    assert data.kind == "behaviour" and data.assembly.dims == ("presentation", "choice")
    assert data.assembly["choice"].values.tolist() == ["dog", "car"]
    np.testing.assert_array_equal(data.assembly.values, chosen)


def test_numbers_keep_their_dtype(tmp_path: Path):
    for dtype in ("uint8", "int16", ">f4", "float64", "bool"):
        np.save(tmp_path / "x.npy", np.ones((3, 2), dtype=dtype))
        assert load_neural(f"{tmp_path / 'x.npy'}?kind=responses", ids=list("abc")).assembly.dtype == np.dtype(dtype)


def test_memory_is_that_of_two_arrays(tmp_path: Path):
    trials = np.random.default_rng(0).normal(size=(50, 640, 10)).astype(np.float32)
    trials[:, 3:, 8:] = np.nan
    np.save(tmp_path / "x.npy", trials)
    address = f"{tmp_path / 'x.npy'}?kind=responses&axes=neuroid,stimulus,repetition"
    load_neural(address, ids=list(map(str, range(640))))  # what is imported at the first call is not counted
    tracemalloc.start()
    load_neural(address, ids=list(map(str, range(640))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.8 * trials.nbytes  # the file's, the assembly's, masks of a quarter, ids as text


def test_one_value_a_stimulus_keeps_its_row_where_it_is_missing(tmp_path: Path, responses):
    responses[2] = np.nan
    np.save(tmp_path / "x.npy", responses)
    assembly = load_neural(f"{tmp_path / 'x.npy'}?kind=responses", ids=STIMULI).assembly
    assert assembly["stimulus_id"].values.tolist() == STIMULI and np.isnan(assembly.values[2]).all()


def test_all_missing_is_refused():
    layout = Layout(("stimulus", "neuroid", "repetition"), ["a"], ["n"])
    with pytest.raises(ValueError, match="every response is NaN"):
        laid_out(np.full((1, 1, 2), np.nan), layout)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 10, 20], [[0, 10], [10, 20], [20, 30]]),
        ([0, 10, 30, 60], [[0, 10], [10, 30], [30, 60]]),
        ([[0, 20], [10, 30], [20, 40]], [[0, 20], [10, 30], [20, 40]]),
        ([[-5.0], [0.0], [5.0]], [[-5, 0], [0, 5], [5, 10]]),
    ],
)
def test_time_bins_from_starts_edges_or_both(values, wanted):
    assert bins_of(np.array(values), 3).tolist() == wanted
    assert bins_of(np.array([5.0, 9.0]), 1).tolist() == [[5.0, 9.0]]
    assert bins_of(np.arange(3, dtype=np.float32) * np.float32(0.7), 3)[2, 1] == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0, 10, 25], r"uneven.* give edges"),
        ([0, 0.01, 0.02], r"these may be seconds"),
        ([20, 10, 0], r"do not grow"),
        ([0, 10, np.nan], r"finite"),
        ([0, 10, 20, 30, 40], r"3 bins have 3 even starts, 4 edges, or \(3, 2\)"),
        (["a", "b", "c"], r"numbers in ms"),
    ],
)
def test_times_that_are_none(values, told):
    with pytest.raises(ValueError, match=told):
        bins_of(np.array(values), 3)
    with pytest.raises(ValueError, match=r"give its two edges"):
        bins_of(np.array([0.0]), 1)


def test_spelt_bins():
    assert spelt_bins("edges") is None and spelt_bins("0:10") is None
    with pytest.raises(ValueError, match="whole number of WIDTHs"):
        spelt_bins("0:100:30")


def test_texts_of_cells_numbers_and_bytes():
    assert texts_of(np.array([1.0, 2.0])) == ["1.0", "2.0"]  # "1" and 1.0 do not match, but in MATLAB
    assert texts_of(np.array([1.0, 2.0]), matlab=True) == ["1", "2"]
    assert texts_of(np.array(["ab ", "c  "]), matlab=True) == ["ab", "c"]
    assert texts_of(np.array(["é".encode(), b"b"])) == ["é", "b"]
    with pytest.raises(ValueError, match="element 2 is not one text"):
        texts_of(np.array([np.array(["a"]), np.array(["b", "c"])], dtype=object))
    with pytest.raises(ValueError, match="NaN names nothing"):
        texts_of(np.array([np.nan]))


def test_fields_are_listed_where_one_is_missing(tmp_path: Path, responses, save_73):
    for save, name in ((savemat, "five.mat"), (save_73, "seven.mat")):
        save(tmp_path / name, {"data": {"rates": responses, "inner": {"ids": _cells(STIMULI)}}})
        base = f"{tmp_path / name}?kind=responses&variable="
        for variable, told in {
            "data": r"data is a struct; name one of its fields by variable=data\.FIELD: .*rates",
            "data.inner": r"variable=data\.inner\.FIELD: ids",
            "data.rate": r"data has no field 'rate'; near: 'rates'",
            "dat.rates": r"has no variable 'dat'; near: 'data'",
            "data.rates.x": r"data\.rates is no struct and has no field 'x'",
        }.items():
            with pytest.raises(NeuralDataError, match=told):
                load_neural(base + variable, ids=STIMULI)
