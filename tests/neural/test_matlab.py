""".mat files of versions 4, 5, 7 and 7.3 read the same, bit for bit and in the file's order."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat, whosmat

from netphys.errors import FileError, NeuralDataError
from netphys.neural import load_neural
from netphys.neural.files.matlab import matlab_variables, read_matlab


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_every_form_of_rdm_reads_back_bit_for_bit(tmp_path: Path, listed, ids, stack, pairs, save_73, version):
    held = {
        "matrix": stack[2],
        "vector": pairs[2],
        "row": pairs[2][None],
        "column": pairs[2][:, None],
        "first": stack,
        "last": stack.transpose(1, 2, 0),
        "vectors": pairs,
        "single": stack[2].astype(np.float32),
    }
    path = tmp_path / "rdms.mat"
    if version == "7.3":
        save_73(path, held)
    else:
        savemat(path, held, do_compression=version == "7")
    for name in ("matrix", "vector", "row", "column"):
        data = load_neural(f"{path}?variable={name}", ids=listed)
        assert data.kind == "rdms" and data.stimulus_ids == ids and data.subjects == ("subject1",)
        assert data.dissimilarities.dtype == np.float64
        np.testing.assert_array_equal(data.dissimilarities, pairs[[2]])
    for name in ("first", "last", "vectors"):
        np.testing.assert_array_equal(load_neural(f"{path}?variable={name}", ids=listed).dissimilarities, pairs)
    single = load_neural(f"{path}?variable=single", ids=listed).dissimilarities
    np.testing.assert_array_equal(single, pairs[[2]].astype(np.float32).astype(np.float64))


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_struct_arrays_by_index_and_average(tmp_path: Path, listed, sessions, save_73, version):
    struct, held = sessions
    path = tmp_path / "brain.mat"
    if version == "7.3":
        save_73(path, {"RDMs": struct})
    else:
        savemat(path, {"RDMs": struct}, do_compression=version == "7")
    averaged = load_neural(f"{path}?variable=RDMs&average=1", ids=listed)
    np.testing.assert_array_equal(averaged.dissimilarities, held.mean(axis=1))
    assert averaged.subjects == ("ANN", "BOB")
    second = load_neural(f"{path}?index=:,1", ids=listed)
    np.testing.assert_array_equal(second.dissimilarities, held[:, 1])
    assert second.subjects == ("ANN | Session: 2", "BOB | Session: 2")
    one = load_neural(f"{path}?index=1,0&subject=Bob", ids=listed)
    np.testing.assert_array_equal(one.dissimilarities, held[1, [0]])
    assert one.subjects == ("Bob",)
    both = load_neural(f"{path}?index=0", ids=listed)  # sessions of one subject are what is left
    np.testing.assert_array_equal(both.dissimilarities, held[0])
    over_subjects = load_neural(f"{path}?average=0", ids=listed)
    assert over_subjects.subjects == ("Session: 1", "Session: 2")


def test_version_4(tmp_path: Path, listed, stack, pairs):
    savemat(tmp_path / "old.mat", {"rdm": stack[0]}, format="4")
    np.testing.assert_array_equal(load_neural(tmp_path / "old.mat", ids=listed).dissimilarities, pairs[[0]])


def test_a_single_struct_and_a_cell(tmp_path: Path, listed, stack, pairs, save_73):
    cell = np.empty((1, 4), dtype=object)
    for at in range(4):
        cell[0, at] = stack[at]
    savemat(tmp_path / "five.mat", {"one": {"RDM": stack, "name": "all"}, "cell": cell})
    save_73(tmp_path / "seven.mat", {"one": {"RDM": stack, "name": "all"}, "cell": cell})
    for file in ("five.mat", "seven.mat"):
        for name in ("one", "cell"):
            data = load_neural(f"{tmp_path / file}?variable={name}", ids=listed)
            np.testing.assert_array_equal(data.dissimilarities, pairs)


def test_version_73_read_without_the_transpose_is_another_array(tmp_path: Path, listed, sessions, responses, save_73):
    """Control: a file whose dimensions are not reversed comes out wrong, so the reversal is really undone."""
    struct, held = sessions
    save_73(tmp_path / "straight.mat", {"RDMs": struct, "rates": responses}, reverse=False)
    data = load_neural(f"{tmp_path / 'straight.mat'}?variable=RDMs&average=1", ids=listed)
    assert not np.allclose(data.dissimilarities, held.mean(axis=1))
    with pytest.raises(NeuralDataError, match=r"has 3 stimuli, but .* lists 6"):
        load_neural(f"{tmp_path / 'straight.mat'}?variable=rates&kind=responses", ids=listed)
    save_73(tmp_path / "reversed.mat", {"rates": responses})
    right = load_neural(f"{tmp_path / 'reversed.mat'}?kind=responses", ids=listed)
    np.testing.assert_array_equal(right.assembly.values, responses)


def test_text_and_empty_of_version_73(tmp_path: Path, save_73):
    import h5py

    path = save_73(tmp_path / "text.mat", {"word": "häuser", "rdm": np.zeros((3, 3))})
    with h5py.File(path, "a") as file:
        empty = file.create_dataset("nothing", data=np.array([0, 5], dtype=np.uint64))
        empty.attrs["MATLAB_class"], empty.attrs["MATLAB_empty"] = np.bytes_("double"), 1
    held = matlab_variables(path)
    assert held["nothing"].shape == (0, 5) and held["word"].kind == "text"
    assert read_matlab(path, "word").tolist() == ["häuser"]
    assert read_matlab(path, "nothing").size == 0


def test_candidates_are_listed_with_shapes_and_near_names(tmp_path: Path, listed, stack):
    savemat(tmp_path / "two.mat", {"monkey": stack[0], "human": stack[1], "label": "x"})
    with pytest.raises(NeuralDataError) as several:
        load_neural(tmp_path / "two.mat", ids=listed)
    assert "monkey (6, 6); human (6, 6)" in str(several.value) and "?variable=NAME" in str(several.value)
    with pytest.raises(NeuralDataError, match=r"no variable 'monky'; near: 'monkey'"):
        load_neural(f"{tmp_path / 'two.mat'}?variable=monky", ids=listed)
    savemat(tmp_path / "none.mat", {"label": "x", "table": np.zeros((2, 5))})
    with pytest.raises(
        NeuralDataError, match=r"nothing that can be RDMs; it holds: label \(1, 1\) text; table \(2, 5\)"
    ):
        load_neural(tmp_path / "none.mat", ids=listed)


def test_what_a_struct_cannot_give(tmp_path: Path, listed, sessions):
    path = tmp_path / "brain.mat"
    savemat(path, {"RDMs": sessions[0]})
    for query, told in {
        "": r"has axes \(2, 2\) .* choose by index=:,0 or average=1",
        "index=2": r"index 2 is not in 0\.\.1 on axis 0",
        "index=0,0,0": r"index= names 3 axes, RDMs has 2",
        "index=2:": r"index= takes nothing on axis 0",
        "average=2": r"average=2 is no axis left",
        "index=0&average=0": r"average=0 is no axis left",
        "field=RMD": r"no field 'RMD'; near: 'RDM'",
        "field=name&index=0,0": r"holds <U\d+; dissimilarities are real numbers",
        "average=1&subject=ANN": r"gives 2 RDMs, subject= names 1",
        "average=1&subject=ANN,ANN": r"gives 2 RDMs, subject= names 1",
    }.items():
        with pytest.raises(NeuralDataError, match=told) as raised:
            load_neural(f"{path}?variable=RDMs&{query}" if query else f"{path}?variable=RDMs", ids=listed)
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_sparse_and_complex_are_named(tmp_path: Path, listed):
    from scipy.sparse import eye

    savemat(tmp_path / "odd.mat", {"sparse": eye(6).tocsc(), "complex": np.zeros((6, 6), dtype=complex)})
    with pytest.raises(NeuralDataError, match=r"sparse is a sparse matrix; save it as a full"):
        load_neural(f"{tmp_path / 'odd.mat'}?variable=sparse", ids=listed)
    with pytest.raises(NeuralDataError, match=r"complex holds complex numbers; save real ones"):
        load_neural(f"{tmp_path / 'odd.mat'}?variable=complex", ids=listed)


def _same(mine: object, theirs: object) -> None:
    """Compare what two readers made of one value, to the last bit and the dtype."""
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    if theirs.dtype.names:
        for name in theirs.dtype.names:
            _same(mine[name], theirs[name])
    elif theirs.dtype == object:
        for at in np.ndindex(*theirs.shape):
            _same(mine[at], theirs[at])
    else:
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_scipy_on_everything_it_writes(tmp_path: Path, compressed, seed):
    draws = np.random.default_rng(seed)
    held: dict[str, object] = {}
    for dtype in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"):
        shape = tuple(draws.integers(1, 5, size=int(draws.integers(2, 5))))
        held[f"n_{dtype}"] = (draws.normal(size=shape) * 100).astype(dtype)
    held |= {"flag": draws.random((3, 4)) > 0.5, "none": np.zeros((0, 3)), "text": "häuser ∑", "a": "x"}
    held["rows"] = np.array(["one", "three", "fo"])
    cell = np.empty((2, 3), dtype=object)
    for at in np.ndindex(2, 3):
        cell[at] = [draws.normal(size=(2, 2)), "word", np.zeros((0, 0)), {"b": 1.0}][int(draws.integers(4))]
    struct_array = np.empty((2, 2), dtype=[("RDM", object), ("a_longer_name", object)])
    for at in np.ndindex(2, 2):
        struct_array[at] = (draws.normal(size=(3, 3)), "name" * int(draws.integers(1, 9)))
    held |= {"cell": cell, "array": struct_array, "one": {"x": np.arange(3.0), "deep": {"y": "z"}}}
    savemat(tmp_path / "all.mat", held, do_compression=compressed)
    theirs = loadmat(tmp_path / "all.mat")
    listed = {name: shape for name, shape, _ in whosmat(tmp_path / "all.mat")}
    variables = matlab_variables(tmp_path / "all.mat")
    assert list(variables) == list(listed) and set(held) == set(listed)
    for name in held:
        if name not in ("text", "a", "rows"):  # scipy counts rows of text where MATLAB counts characters
            assert variables[name].shape == listed[name]
        _same(read_matlab(tmp_path / "all.mat", name), theirs[name])


def test_only_the_fields_that_are_asked_for_are_read(tmp_path: Path, sessions):
    savemat(tmp_path / "brain.mat", {"RDMs": sessions[0]})
    some = read_matlab(tmp_path / "brain.mat", "RDMs", fields=("name",))
    assert some.dtype.names == ("RDM", "name", "color")
    assert some["RDM"][0, 0, 0] is None and some["name"][0, 1, 0].tolist() == ["IT | BOB | Session: 1"]


def test_level_4_equals_scipy(tmp_path: Path, stack):
    held = {
        "x": stack[0],
        "y": stack[1].astype(np.float32),
        "n": np.arange(6).reshape(2, 3).astype(np.int16),
        "t": "word",
    }
    savemat(tmp_path / "old.mat", held, format="4")
    theirs = loadmat(tmp_path / "old.mat", chars_as_strings=True)
    for name in held:
        mine = read_matlab(tmp_path / "old.mat", name)
        np.testing.assert_array_equal(mine, theirs[name])


def test_the_other_byte_order(tmp_path: Path, listed, stack, pairs):
    """A level-5 file as a machine of the other byte order writes it, made by hand: small element for the name."""
    flags = struct.pack(">IIII", 6, 8, 6, 0)
    dims = struct.pack(">IIii", 5, 8, 6, 6)
    name = struct.pack(">I4s", (1 << 16) | 1, b"x")
    body = flags + dims + name + struct.pack(">II", 9, 288) + stack[0].astype(">f8").T.tobytes()
    header = b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "big.mat").write_bytes(header + struct.pack(">II", 14, len(body)) + body)
    np.testing.assert_array_equal(load_neural(tmp_path / "big.mat", ids=listed).dissimilarities, pairs[[0]])
    np.testing.assert_array_equal(loadmat(tmp_path / "big.mat")["x"], stack[0])


def test_characters_beyond_16_bits_in_every_version(tmp_path: Path):
    """MATLAB counts units of UTF-16 and writes them down the columns, scipy characters; level 4 holds numbers."""
    savemat(tmp_path / "five.mat", {"word": "a😀", "rows": np.array(["a😀", "bcd", "e"])})
    assert read_matlab(tmp_path / "five.mat", "word").tolist() == ["a😀"]
    assert read_matlab(tmp_path / "five.mat", "rows").tolist() == ["a😀 ", "bcd", "e  "]
    units = np.frombuffer("a😀bcd".encode("utf-16-le"), dtype="<u2").reshape(2, 3)
    flags, dims = struct.pack("<IIII", 6, 8, 4, 0), struct.pack("<IIii", 5, 8, 2, 3)
    text = struct.pack("<II", 4, 12) + units.T.tobytes() + bytes(4)
    body = flags + dims + struct.pack("<I4s", (1 << 16) | 1, b"x") + text
    header = b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "own.mat").write_bytes(header + struct.pack("<II", 14, len(body)) + body)
    assert read_matlab(tmp_path / "own.mat", "x").tolist() == ["a😀", "bcd"]
    head = struct.pack("<5i", 1, 1, 3, 0, 2)  # doubles that are chars, 1 x 3
    (tmp_path / "four.mat").write_bytes(head + b"x\0" + units[0].astype("<f8").tobytes())
    assert read_matlab(tmp_path / "four.mat", "x").tolist() == ["a😀"]
    (tmp_path / "half.mat").write_bytes(head + b"x\0" + units[0][[0, 1, 0]].astype("<f8").tobytes())
    with pytest.raises(FileError, match=r"cannot be read as a \.mat file.*(surrogate|decode)"):
        read_matlab(tmp_path / "half.mat", "x")
